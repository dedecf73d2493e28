#!/bin/sh
# A part of the server suite with the server under valgrind: no report that has a frame of the module's, and at the orderly end
# of each server no byte of the module's that nobody knows of any more.
#
#   scripts/test-valgrind.sh [TEST-FILTER]...
#
# The server is Valkey 8.0, because it takes jemalloc from a shared library: a stand-in that hands every call to libc lets
# valgrind see each allocation, the module's too, which all go through the server's allocator. By default: ADD and MADD, the
# hook, samples that wait, DUMP and RESTORE with damaged payloads, RDB files and AOFs of every version, rules, endings, episodes, timers,
# backtests. Left out are tests of speed (and one in which a replica has to catch up with producers that never rest), those that
# need a million readings, one whose
# server ends in the midst of a backtest (what the thread holds is lost then), and those in which a silence is told of within
# some milliseconds. Reports: target/valgrind/*.log.
# Exit status: 1 if there is a report of the module's or a test failed.
set -eu
cd "$(dirname -- "$0")/.."
command -v valgrind >/dev/null || { echo "valgrind is missing (Debian: apt-get install valgrind)" >&2; exit 2; }
[ $# -gt 0 ] || set -- add:: hook:: last_ids:: samples::no_command samples::within samples::replicas_and samples::a_series right_entry:: order:: series:: dump:: stored:: rules:: endings:: episodes:: \
  backtest::it_tells backtest::match_replays backtest::a_panic backtest::readings_before backlog::a_glob dead_letters:: panics:: replication::an_rdb_file silence::a_rule_that_comes_later \
  silence::an_inactive_sensor silence::a_sensor_that_sends_nothing silence::timers_follow silence::sensors_deleted
cache=$(readlink -f -- "${BOOTSTRAP_CACHE:-.cache}")
[ -e "$cache/valkey80/stamp" ] || scripts/bootstrap.sh valkey80
[ -e "$cache/env" ] || scripts/bootstrap.sh
. "$cache/env"
out=$PWD/target/valgrind
rm -rf "$out"
mkdir -p "$out/lib"
cat >"$out/stand-in.c" <<'EOC'
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
void sdallocx(void *p, size_t n, int f) { (void)n; (void)f; free(p); }
size_t nallocx(size_t n, int f) { (void)f; return n; }
void malloc_stats_print(void *w, void *a, const char *o) { (void)w; (void)a; (void)o; }
int mallctl(const char *name, void *old, size_t *len, void *new, size_t newlen) {
  (void)new; (void)newlen;
  if (old && len) { memset(old, 0, *len); if (!strcmp(name, "arenas.page")) *(size_t *)old = 4096; }
  return 0;
}
EOC
gcc -shared -fPIC -Wl,-soname,libjemalloc.so.2 -o "$out/lib/libjemalloc.so.2" "$out/stand-in.c"
# The compressor of RDB strings reads its hash table before it wrote it, by design, with any module or none.
cat >"$out/suppressions" <<'EOC'
{
  lzf
  Memcheck:Cond
  fun:lzf_compress
}
{
  lzf8
  Memcheck:Value8
  fun:lzf_compress
}
EOC
root=$cache/valkey80/root
cat >"$out/server" <<EOC
#!/bin/sh
case "\$1" in --version) exec "$cache/valkey80/bin/redis-server" --version ;; esac
LD_LIBRARY_PATH="$out/lib:$root/usr/lib/x86_64-linux-gnu:$cache/redis74/lib" exec valgrind --quiet --vgdb=no --error-limit=no \\
  --num-callers=30 --leak-check=full --show-leak-kinds=definite --suppressions="$out/suppressions" --log-file="$out/%p.log" "$root/usr/bin/valkey-server" "\$@"
EOC
chmod +x "$out/server"
status=0
ANOMALY_END_GENTLY=1 ANOMALY_REDIS_SERVER=$out/server RUST_BACKTRACE=0 cargo test --locked -p anomaly-tests --test server -- "$@" --skip million \
  --skip 100_000 --skip fleet --skip shutdowns_and_kills --skip goes_midway --skip joins_under_traffic --skip a_save_in_the_middle || status=$?
ls "$out"/*.log >/dev/null 2>&1 || { echo "no server ran under valgrind" >&2; exit 1; }
reports=$(cat "$out"/*.log | grep -c 'redis_anomaly\|anomaly_core' || true)
servers=$(ls "$out"/*.log | wc -l)
if [ "$reports" = 0 ]; then
  echo "valgrind: $servers servers, no report with a frame of the module's"
else
  echo "valgrind: $servers servers, $reports frames of the module's in reports:" >&2
  grep -l 'redis_anomaly\|anomaly_core' "$out"/*.log >&2
  status=1
fi
exit "$status"
