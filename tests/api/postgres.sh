#!/bin/sh
# Starts a throw-away PostgreSQL cluster, prints its address, and removes it when the standard input ends: also when the
# tests that asked for it were killed. PostgreSQL refuses to run as root, so root becomes its user first.
set -eu
if [ "$(id -u)" = 0 ]; then
    # The script goes along as text, because that user may not be able to read it here.
    cd /
    exec runuser -u postgres -- sh -c "$(cat "$1")"
fi
programs=$(dirname "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")
folder=$(mktemp -d)
trap 'trap - EXIT INT TERM; "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1; rm -rf "$folder"; exit' EXIT INT TERM
"$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; exit 1; }
# It listens on a socket in the folder only, so no port can be taken. What is lost in a crash is lost anyway. Nothing begins by
# itself in a database in which a test counts what is going on.
"$programs/pg_ctl" -D "$folder/data" -w -t 300 -l "$folder/log" start >/dev/null \
    -o "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=1000 -c fsync=off -c autovacuum=off" ||
    { cat "$folder/log" >&2; exit 1; }
echo "postgres://postgres@localhost/postgres?host=$folder"
cat >/dev/null
