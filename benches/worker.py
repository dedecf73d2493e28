#!/usr/bin/env python3
"""The worker that people write: a consumer group, ten entries at a time, a deque for each device, numpy, TS.ADD, XADD, XACK.

    worker.py PORT STREAM ALERTS THRESHOLD

`anomaly bench` runs it to have something to compare with. It does what the tutorials do, with the C parser of redis-py: an
entry is scored against the last 30 readings of its device, the reading itself excluded, archived, told of when it is abnormal
(and then not learnt), and acknowledged. It makes its consumer group, says `ready`, and goes on until it is killed.
"""
import sys
from collections import defaultdict, deque

import numpy
import redis

WINDOW = 30
port, stream, alerts, threshold = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
server = redis.Redis(port=port, decode_responses=True, protocol=2)
server.xgroup_create(stream, "worker", id="0", mkstream=True)
windows = defaultdict(lambda: deque(maxlen=WINDOW))
print("ready", flush=True)

while True:
    for _, entries in server.xreadgroup("worker", "one", {stream: ">"}, count=10, block=1000) or []:
        for entry, fields in entries:
            device, at, value = fields["device_id"], int(fields["timestamp"]), float(fields["temperature"])
            server.ts().add("ts:" + device, at, value, chunk_size=1024, duplicate_policy="last", labels={"sensor": device})
            window, abnormal = windows[device], False
            if len(window) == WINDOW:
                mean, deviation = numpy.mean(window), numpy.std(window, ddof=1)
                abnormal = deviation > 0 and abs(value - mean) > threshold * deviation
            if abnormal:
                alert = {"sensor": device, "ts": at, "value": value, "score": float(abs(value - mean) / deviation)}
                server.xadd(alerts, alert, maxlen=100_000, approximate=True)
            else:
                window.append(value)
            server.xack(stream, "worker", entry)
