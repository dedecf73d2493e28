#!/bin/sh
# A tour of the module with redis-cli: every line beginning with $ is a command you can type.
#
#   examples/tour.sh [redis-cli options, such as -p 6380]
#
# REDIS_CLI names the program (after `make build` there is one: REDIS_CLI=.cache/redis74/bin/redis-cli). It uses the keys
# tour:*, and removes them and its rule when it ends, however it ends.
set -eu
options=$*
program=${REDIS_CLI:-redis-cli}
sensor=tour:rack-1:temperature
rule='tour:*:temperature'

command -v "$program" >/dev/null || {
  echo "$0: there is no $program; name one: REDIS_CLI=.cache/redis74/bin/redis-cli $0 (it is there after \`make build\`)" >&2
  exit 1
}

# A command of ours, not of the tour.
# shellcheck disable=SC2086 # the options are separate words
quiet() { "$program" $options "$@" </dev/null 2>/dev/null; }

leave() {
  status=$?
  trap - EXIT
  quiet DEL "$sensor" "ts:{$sensor}" >/dev/null || :
  quiet ANOMALY.CONFIG DEL "$rule" >/dev/null || :
  exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$*"; }

# Shows a command, runs it, and ends the tour where its reply is an error.
cli() {
  printf '$ redis-cli'
  for word; do
    case $word in *[!A-Za-z0-9:._-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
  failed=0
  # shellcheck disable=SC2086 # the options are separate words
  reply=$("$program" -3 -e --no-raw $options "$@" </dev/null) || failed=$?
  # redis-cli shows the bytes of a degree sign one by one.
  printf '%s\n' "$reply" | sed 's/\\xc2\\xb0/°/g'
  return "$failed"
}

say 'One rule for every sensor it matches: limits, a unit, and two normal readings to call it over'
cli ANOMALY.CONFIG SET 'tour:*:temperature' max 28 critical-max 30 unit °C clear 2

say 'Readings: key, time in Unix milliseconds or *, value'
cli ANOMALY.ADD tour:rack-1:temperature 1754300000000 22.5
cli ANOMALY.ADD tour:rack-1:temperature 1754300060000 29.1
cli ANOMALY.ADD tour:rack-1:temperature 1754300120000 31.9 EXPLAIN

say 'The alerts are entries of a stream: read it, block on it, or give it a consumer group'
cli XREVRANGE anomaly:alerts + - COUNT 1

say 'What is wrong at this moment, and that somebody is on it'
cli ANOMALY.ALERTS MATCH 'tour:*'
cli ANOMALY.ACK tour:rack-1:temperature BY alice COMMENT 'fan replaced'

say 'Several readings at once; the second normal one ends the episode'
cli ANOMALY.MADD tour:rack-1:temperature 1754300180000 24.0 tour:rack-1:temperature 1754300240000 23.1
cli XREVRANGE anomaly:alerts + - COUNT 1

say 'Everything that is known of a sensor, and its readings'
cli ANOMALY.INFO tour:rack-1:temperature
if [ -n "$(quiet COMMAND LIST FILTERBY PATTERN ts.range)" ]; then
  cli TS.RANGE 'ts:{tour:rack-1:temperature}' - +
else
  say 'This server has no TimeSeries module: readings are judged and not archived, so there is no TS.RANGE'
fi

say 'Which rule each setting comes from'
cli ANOMALY.CONFIG RESOLVE tour:rack-1:temperature

say 'A sensor is a key'
cli DEL tour:rack-1:temperature 'ts:{tour:rack-1:temperature}'
cli ANOMALY.CONFIG DEL 'tour:*:temperature'
