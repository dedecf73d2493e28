#!/bin/sh
# Instructions that core takes for a reading, by detector, within 5 % of those recorded in src/core/instructions.txt.
#
#   scripts/instructions.sh            compare
#   UPDATE=1 scripts/instructions.sh   record
#
# callgrind counts what is executed, so the figure is the same on a busy machine. A run of N readings is taken off one of
# 2 N: what is left is N readings of a warm sensor. Another compiler makes other code: with another rustc than the recorded
# one nothing is compared, and that is said.
set -eu
cd "$(dirname -- "$0")/.."
table=src/core/instructions.txt
readings=${READINGS:-20000}
skip() { echo "instructions: NOT CHECKED: $*" >&2; exit 0; }
command -v valgrind >/dev/null || skip "valgrind is missing (Debian: apt-get install valgrind)"
rustc=$(rustc --version)
if [ -z "${UPDATE:-}" ]; then
  recorded=$(sed -n 's/^# by \(rustc .*\)$/\1/p' $table)
  [ "$recorded" = "$rustc" ] || skip "$table was recorded with $recorded, this is $rustc (UPDATE=1 records anew)"
fi
cargo build --quiet --locked --profile counted -p anomaly-core --bin instructions
target=${CARGO_TARGET_DIR:-target}
# count READINGS SETTING...
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/counted/instructions" "$@" 2>&1 |
    sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p'
}
measured=$(
  while read -r name settings; do
    # shellcheck disable=SC2086 # settings are words
    once=$(count "$readings" $settings) twice=$(count $((2 * readings)) $settings)
    [ -n "$once" ] && [ -n "$twice" ] || { echo "instructions: callgrind told nothing of $name" >&2; exit 1; }
    echo "$name $(((twice - once + readings / 2) / readings))"
  done <<EOT
limits min 0 max 100
zscore zscore 6 window 30
mad mad 12 window 30
ewma ewma 8
rate rate 100
cusum cusum 50
stuck stuck 60000 auto off
auto auto on
recent zscore 6 window 30 recent 60
all zscore 6 mad 12 window 30 ewma 8 cusum 50 min 0 max 100
EOT
)
if [ -n "${UPDATE:-}" ]; then
  printf '# Instructions per reading in core, recorded by scripts/instructions.sh\n# by %s\n%s\n' "$rustc" "$measured" >$table
  cat $table
  exit 0
fi
printf '%s\n' "$measured" | awk -v table=$table '
  BEGIN { while ((getline line < table) > 0) if (line !~ /^#/) { split(line, word, " "); recorded[word[1]] = word[2] } }
  { if (!($1 in recorded)) { printf "instructions: %s is not recorded\n", $1; bad = 1; next }
    change = ($2 / recorded[$1] - 1) * 100
    if (change > 5 || change < -5) { printf "instructions: %s takes %d a reading, %+.1f %% of the recorded %d\n", $1, $2, change, recorded[$1]; bad = 1 }
    seen[$1] = 1 }
  END { for (name in recorded) if (!(name in seen)) { printf "instructions: %s was not counted\n", name; bad = 1 }
    if (bad) { print "instructions: if that is meant, UPDATE=1 scripts/instructions.sh records it"; exit 1 }
    print "instructions: as recorded, within 5 %" }' >&2
