#!/usr/bin/env python3
"""What the stream hook costs: XADD with the module against the same XADD on the same server without it.

    . .cache/env && scripts/bench-streams.py [ROUNDS]

Pipeline of 32, 3,200 devices. The contestants take turns in every round, so that the machine's moods meet all of them; what
counts is the ratio within a round, printed as its median with the smallest and largest. Needs `make build`.
"""
import os, socket, statistics, subprocess, sys, tempfile, time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
REQUESTS, DEVICES = 300_000, 3_200
TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
MODULE = os.path.abspath(f"{TARGET}/release/libredis_anomaly.so")
SERVER, CLI = os.environ["ANOMALY_REDIS_SERVER"], os.environ["ANOMALY_REDIS_CLI"]
BENCHMARK, SERIES = os.environ["ANOMALY_REDIS_BENCHMARK"], os.environ.get("ANOMALY_TIMESERIES")


class Server:
    def __init__(self, *modules):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = str(s.getsockname()[1])
        self.dir = tempfile.TemporaryDirectory()
        load = [word for module in modules for word in ("--loadmodule", *module)]
        self.process = subprocess.Popen(
            [SERVER, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", self.dir.name, *load],
            stdout=subprocess.DEVNULL)
        while self.cli("PING").strip() != "PONG":
            time.sleep(0.05)

    def cli(self, *words):
        return subprocess.run([CLI, "-p", self.port, *words], capture_output=True, text=True).stdout

    def xadd(self, stream):
        """XADDs per second."""
        words = ["XADD", stream, "MAXLEN", "~", "10000", "*", "device_id", "__rand_int__", "temperature", "22.5"]
        out = subprocess.run([BENCHMARK, "-p", self.port, "-P", "32", "-c", "20", "-n", str(REQUESTS), "-r", str(DEVICES),
                              "--csv", *words], capture_output=True, text=True, check=True).stdout
        return float(out.splitlines()[-1].split('","')[1])

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.dir.cleanup()


def main():
    if not os.path.exists(MODULE):
        sys.exit(f"{MODULE} is missing: make build")
    plain = Server(*([[SERIES]] if SERIES else []))
    scored = Server(*([[SERIES]] if SERIES else []), [MODULE, "archive", "off"])
    scored.cli("ANOMALY.WATCH", "SET", "watched")
    archived = Server([SERIES], [MODULE]) if SERIES else None
    contestants = [("no module", plain, "watched"), ("unwatched", scored, "other"), ("scored", scored, "watched")]
    if archived:
        archived.cli("ANOMALY.WATCH", "SET", "watched")
        contestants.append(("scored and archived", archived, "watched"))
    servers = [plain, scored] + ([archived] if archived else [])
    try:
        rounds = []
        for name, server, stream in contestants:  # warm-up: sensors and series are made
            server.xadd(stream)
        for _ in range(ROUNDS):
            rounds.append({name: server.xadd(stream) for name, server, stream in contestants})
        print(f"{'XADD, pipeline 32':<22}{'per second':>12}{'of no module':>14}{'min':>7}{'max':>7}")
        for name, _, _ in contestants:
            ratios = [r[name] / r["no module"] for r in rounds]
            rate = statistics.median(r[name] for r in rounds)
            print(f"{name:<22}{rate:>12,.0f}{statistics.median(ratios):>14.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}")
    finally:
        for server in servers:
            server.close()


main()
