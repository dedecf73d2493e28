#!/bin/sh
# What each crate may depend on, proved by cargo's own dependency tree, and where `unsafe` may stand.
set -eu
cd -- "$(dirname -- "$0")/.."
failed=

# forbid CRATE NAME...   no NAME among what CRATE needs to run
forbid() {
  crate=$1
  shift
  tree=$(cargo tree --locked --edges normal --target all --prefix none --format '{p}' -p "$crate")
  # An empty or unreadable tree would forbid nothing.
  printf '%s\n' "$tree" | grep -q "^$crate v" || { echo "boundaries: cargo tree says nothing of $crate" >&2; exit 1; }
  for name in "$@"; do
    if printf '%s\n' "$tree" | grep -q "^$name v"; then
      echo "boundaries: $crate must not depend on $name: cargo tree -p $crate -e normal -i $name" >&2
      failed=yes
    fi
  done
}

forbid anomaly-core redis-module redis
forbid anomaly-seat redis-module redis
forbid redis-anomaly tokio hyper axum reqwest http redis clap rustls ring native-tls openssl openssl-sys
# TLS of the program is that of rustls: no OpenSSL of whatever version has to be there.
forbid anomaly redis-module redis-anomaly native-tls openssl openssl-sys
forbid anomaly-tests redis-module redis-anomaly anomaly-core

[ -n "$(find src/module -name '*.rs')" ] || { echo "boundaries: src/module has no source" >&2; exit 1; }
# By what is found, not by an exit status: grep has three of them.
found=$(find . -name '*.rs' ! -path './src/module/*' ! -path './src/seat/*' ! -path './target/*' ! -path './.*' -exec grep -nHw unsafe {} + || true)
if [ -n "$found" ]; then
  printf '%s\n' "$found" "boundaries: unsafe stands outside src/module and src/seat" >&2
  failed=yes
fi

[ -z "$failed" ] || exit 1
echo "boundaries: kept"
