#!/bin/sh
# Runs the demonstration on what was built; `make demo` calls it with the set-up's environment.
set -eu
cd -- "$(dirname -- "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# the server runs in a directory of its own
case $target in /*) ;; *) target=$PWD/$target ;; esac
set -- --server "$ANOMALY_REDIS_SERVER" --module "$target/release/libredis_anomaly.so" --seconds "${DEMO_SECONDS:-60}" "$@"
[ -z "${ANOMALY_TIMESERIES:-}" ] || set -- --timeseries "$ANOMALY_TIMESERIES" "$@"
exec "$target/release/anomaly" demo "$@"
