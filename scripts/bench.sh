#!/bin/sh
# Runs `anomaly bench` on what was built, and records it; `make bench` calls it with the set-up's environment.
#
# The worker in Python that it compares with needs redis-py and numpy, which go into $BOOTSTRAP_CACHE/bench-python by pip, once.
# BENCH_PYTHON=no leaves that worker out.
set -eu
cd -- "$(dirname -- "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cache=${BOOTSTRAP_CACHE:-.cache}
python=$cache/bench-python
stamp="redis 8.1.0, hiredis 3.5.0, numpy 2.4.6"
if [ "${BENCH_PYTHON:-}" = no ]; then
  echo "bench: the worker in Python is left out, as BENCH_PYTHON asks" >&2
else
  if [ "$(cat "$python/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$python"
    echo "bench: redis-py and numpy for the worker in Python, 30 MB" >&2
    { "${PYTHON:-python3}" -m venv "$python" &&
      "$python/bin/pip" install -q --disable-pip-version-check redis==8.1.0 hiredis==3.5.0 numpy==2.4.6 &&
      echo "$stamp" >"$python/stamp"; } >&2 || echo "bench: NOT COMPARED with a worker in Python: pip could not fetch it (its message is above)" >&2
  fi
  [ ! -e "$python/stamp" ] || export ANOMALY_BENCH_PYTHON="$python/bin/python"
fi
exec "$target/release/anomaly" bench "$@"
