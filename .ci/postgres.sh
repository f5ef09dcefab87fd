#!/usr/bin/env bash
# A PostgreSQL server for the tests, thrown away afterwards: a fresh cluster in a directory of its own, on a
# free port of the loopback, without a password, and without the care for power cuts that costs time.
#
#   .ci/postgres.sh start [DIR]     print the URL for PRESTOW_TEST_POSTGRES; DIR is made, by default a new one
#   .ci/postgres.sh stop DIR        stop the server, and remove DIR
#
# The server refuses to run as root; then it runs as the user `postgres`, or as `nobody`. Where there is no
# server and we are root on a Debian machine, it is installed.
set -euo pipefail

say() { echo "postgres.sh: $*" >&2; }

programs() {
  local found
  found=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb 2>/dev/null | sort -V | tail -n 1 || true)
  [ -n "$found" ] && found=$(readlink -f "$found") && [ -x "$(dirname "$found")/pg_ctl" ] && dirname "$found"
}

install() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  say "no PostgreSQL here: installing it"
  local log
  log=$(mktemp)
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >"$log" 2>&1; then
    tail -n 3 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

owner() { id -u postgres >/dev/null 2>&1 && echo postgres || echo nobody; }

# Whatever environment there is, that of the server is its own.
as_owner() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && runuser -u "$(owner)" -- env -i PATH="$PATH" LC_ALL=C.UTF-8 "$@")
  else
    (cd / && env -i PATH="$PATH" HOME="${HOME:-/}" LC_ALL=C.UTF-8 "$@")
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
  local bin dir port try
  bin=$(programs) || { install && bin=$(programs); } || { say "there is no PostgreSQL, and it cannot be installed"; return 1; }
  dir=${1:-$(mktemp -d "${TMPDIR:-/tmp}/prestow-postgres.XXXXXX")}
  mkdir -p "$dir"
  [ "$(id -u)" = 0 ] && chown "$(owner)" "$dir"
  as_owner "$bin/initdb" -D "$dir/data" -U prestow -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 ||
    { tail -n 3 "$dir/initdb.log" >&2; return 1; }
  for try in 1 2 3; do # another program may take the port first
    port=$(free_port)
    if as_owner "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/data/log" -o "-c listen_addresses=127.0.0.1 -c port=$port \
      -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c max_connections=200" start >&2; then
      echo "$dir" >"$dir/data/directory"
      echo "CREATE DATABASE prestow" | "$bin/psql" -q -h 127.0.0.1 -p "$port" -U prestow -d postgres >&2
      echo "postgresql://prestow@127.0.0.1:$port/prestow"
      return 0
    fi
  done
  tail -n 5 "$dir/data/log" >&2
  return 1
}

stop() {
  local dir=${1:?which directory?} bin
  [ -f "$dir/data/directory" ] || { say "$dir is none of mine"; return 1; }
  bin=$(programs)
  as_owner "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null || true
  rm -rf "$dir"
}

case "${1:-}" in
  start) start "${2:-}" ;;
  stop) stop "${2:-}" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
