#!/bin/sh
# The server suite on every server the module is for, and one table of how it went.
#
#   scripts/test-matrix.sh [SERVER]...    default: redis74 redis8 valkey80 valkey81
#
# Valkey 8.0 is the one compatible with Redis 7.2: it is a fork of it and says so in INFO. Being without TimeSeries, TLS, I/O
# threads, the refusal of Redis 6.0 and 7.0, and what Redis 8.2 and Valkey 9 do differently (which are fetched for it), are tests of
# the suite itself, so they run on each. What a server cannot do is left out and told: after MOVE and COPY to another database Valkey 8.1.1 leaves the client
# there as soon as any module listens to keyspace events. Logs: target/matrix/SERVER.log.
# Exit status: 1 if a test failed anywhere.
set -eu
cd "$(dirname -- "$0")/.."
[ $# -gt 0 ] || set -- redis74 redis8 valkey80 valkey81
cache=$(readlink -f -- "${BOOTSTRAP_CACHE:-.cache}")
for server in redis6 redis7 redis82 valkey9 "$@"; do
  [ -e "$cache/$server/stamp" ] || scripts/bootstrap.sh "$server"
done
[ -e "$cache/env" ] || scripts/bootstrap.sh
. "$cache/env"
mkdir -p target/matrix
failed=0 table=
for server in "$@"; do
  log=target/matrix/$server.log program=$cache/$server/bin/redis-server
  version=$("$program" --version | sed 's/ server//; s/ sha=.*//; s/ v=/ /')
  echo "test-matrix: $version, see $log" >&2
  ANOMALY_MATRIX=1 ANOMALY_REDIS_SERVER=$program cargo test --locked -p anomaly-tests --test server -- --nocapture >"$log" 2>&1 || failed=1
  result=$(sed -n 's/^test result: \([A-Za-z]*\)\. \([0-9]* passed\); \([0-9]* failed\);.*finished in \(.*\)$/\1 | \2 | \3 | \4/p' "$log" | tail -1)
  skipped=$(grep -c '^SKIPPED: ' "$log" || true)
  table="$table$version | ${result:-did not run | | |} | $skipped
"
done
printf '\nserver | suite | passed | failed | took | skipped in part\n%s' "$table" | column -t -s '|'
for server in "$@"; do
  sed -n 's/^.*\(SKIPPED: .*\)$/'"$server"': \1/p; s/^test \(.*\) \.\.\. FAILED$/'"$server"': FAILED \1/p' "target/matrix/$server.log" | sort -u
done
exit $failed
