#!/bin/sh
# A tour of the module with redis-cli: every line beginning with $ is a command you can type.
#
#   examples/tour.sh [redis-cli options, such as -p 6380]
#
# REDIS_CLI names the program. It uses the keys tour:*, and removes them and its rule when it is done.
set -eu
options=$*

say() { printf '\n# %s\n' "$*"; }

# Shows a command, runs it, and ends the tour where its reply is an error.
cli() {
  printf '$ redis-cli'
  for word; do
    case $word in *[!A-Za-z0-9:._-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  printf '\n'
  # shellcheck disable=SC2086 # the options are separate words
  "${REDIS_CLI:-redis-cli}" -3 -e --no-raw $options "$@" </dev/null
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
cli TS.RANGE 'ts:{tour:rack-1:temperature}' - +

say 'Which rule each setting comes from'
cli ANOMALY.CONFIG RESOLVE tour:rack-1:temperature

say 'A sensor is a key'
cli DEL tour:rack-1:temperature 'ts:{tour:rack-1:temperature}'
cli ANOMALY.CONFIG DEL 'tour:*:temperature'
