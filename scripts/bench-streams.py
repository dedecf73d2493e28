#!/usr/bin/env python3
"""What the stream hook costs: XADD with the module against the same XADD on the same server without it.

    . .cache/env && scripts/bench-streams.py [ROUNDS]

Pipeline of 32 on 8 connections, 3,200 devices, values without alarms. What is compared is the processor time of the server's
process per XADD, which other processes hardly disturb. The contestants take turns in every round, so that the machine's moods
meet all of them; what counts is the ratio within a round, printed as its median with the smallest and largest: of a server
whose core is busy, the share of its throughput that is left. Needs `make build`.
"""
import os, random, resource, socket, statistics, subprocess, sys, tempfile, time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
REQUESTS, DEVICES, PIPELINE, CONNECTIONS = 128_000, 3_200, 32, 8
TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
MODULE = os.path.abspath(f"{TARGET}/release/libredis_anomaly.so")
SERVER, CLI = os.environ["ANOMALY_REDIS_SERVER"], os.environ["ANOMALY_REDIS_CLI"]
SERIES = os.environ.get("ANOMALY_TIMESERIES")
TICKS = os.sysconf("SC_CLK_TCK")


def command(*words):
    words = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Server:
    def __init__(self, *modules):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.dir = tempfile.TemporaryDirectory()
        load = [word for module in modules for word in ("--loadmodule", *module)]
        self.process = subprocess.Popen(
            [SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir.name, *load],
            stdout=subprocess.DEVNULL)
        while self.cli("PING").strip() != "PONG":
            time.sleep(0.05)
        self.sockets = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(CONNECTIONS)]

    def cli(self, *words):
        return subprocess.run([CLI, "-p", str(self.port), *words], capture_output=True, text=True).stdout

    def cpu(self):
        """Seconds of processor time so far, to a nanosecond where the kernel tells it."""
        with open(f"/proc/{self.process.pid}/schedstat") as stat:
            return int(stat.read().split()[0]) / 1e9

    def run(self, batches):
        """Nanoseconds of processor time per XADD."""
        before = self.cpu()
        for at in range(0, len(batches), CONNECTIONS):
            turn = list(zip(self.sockets, batches[at:at + CONNECTIONS]))
            for s, batch in turn:
                s.sendall(batch)
            for s, _ in turn:
                lines = 0
                while lines < 2 * PIPELINE:  # each reply is a bulk string: its length, and itself
                    got = s.recv(1 << 16)
                    if b"-ERR" in got:
                        sys.exit(got.decode())
                    lines += got.count(b"\n")
        return (self.cpu() - before) / (len(batches) * PIPELINE) * 1e9

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.dir.cleanup()


class Load:
    """Batches of XADDs: devices take turns, and the clock moves."""

    def __init__(self, with_time):
        self.name, self.with_time, self.turn = "timed" if with_time else "plain", with_time, 0
        self.start = int(time.time() * 1000) - 3_600_000

    def entry(self, stream):
        self.turn += 1
        device, at = self.turn % DEVICES, self.start + self.turn // DEVICES * 1000
        extra = ["timestamp", str(at)] if self.with_time else []
        value = f"{22 + random.random():.2f}"
        return command("XADD", stream, "MAXLEN", "~", "10000", "*", "device_id", f"{self.name}-{device:04}", "temperature", value, *extra)

    def batches(self, stream):
        return [b"".join(self.entry(stream) for _ in range(PIPELINE)) for _ in range(REQUESTS // PIPELINE)]


def main():
    if not os.path.exists(MODULE):
        sys.exit(f"{MODULE} is missing: make build")
    series = [[SERIES]] if SERIES else []
    plain, scored = Server(*series), Server(*series, [MODULE, "archive", "off"])
    servers = [plain, scored]
    contestants = [("no module", plain, "watched"), ("unwatched", scored, "other"), ("scored", scored, "watched")]
    if SERIES:
        archived = Server([SERIES], [MODULE])
        servers.append(archived)
        contestants.append(("scored and archived", archived, "watched"))
    for server in servers[1:]:
        server.cli("ANOMALY.WATCH", "SET", "watched")
        server.cli("ANOMALY.CONFIG", "SET", "*", "zscore", "3", "window", "30")
    try:
        for shape, with_time in [("XADD without a time", False), ("XADD with a time", True)]:
            load, rounds = Load(with_time), []
            for turn in range(ROUNDS + 1):
                took = {name: server.run(load.batches(stream)) for name, server, stream in contestants}
                if turn > 0:  # in the first, sensors and series are made
                    rounds.append(took)
            print(f"{shape:<24}{'server ns/XADD':>16}{'of no module':>14}{'min':>7}{'max':>7}")
            for name, _, _ in contestants:
                ratios = [took["no module"] / took[name] for took in rounds]
                ns = statistics.median(took[name] for took in rounds)
                print(f"  {name:<22}{ns:>16,.0f}{statistics.median(ratios):>14.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}")
        print(scored.cli("INFO", "anomaly").split("anomaly_late")[0].strip())
    finally:
        for server in servers:
            server.close()


main()
