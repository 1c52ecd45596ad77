#!/bin/sh
# Starts a throw-away PostgreSQL cluster, prints its address, and removes it when the standard input ends: also when the
# tests that asked for it were killed. The first argument is this file. With the folder of another one's socket as the
# second, it is a standby of that one. It stops and starts PostgreSQL when a line of the standard input says so.
# PostgreSQL refuses to run as root, so root becomes its user first.
set -eu
if [ "$(id -u)" = 0 ]; then
    # The script goes along as text, because that user may not be able to read it here.
    cd /
    exec runuser -u postgres -- sh -c "$(cat "$1")" sh "$@"
fi
programs=$(dirname "$(readlink -f "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")")
# In memory, where there is room: each database is some hundred files.
room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
[ "${room:-0}" -lt 2000000 ] || export TMPDIR=/dev/shm
folder=$(mktemp -d)
trap 'trap - EXIT INT TERM; "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1; rm -rf "$folder"; exit' EXIT INT TERM
if [ $# -gt 1 ]; then
    "$programs/pg_basebackup" -D "$folder/data" -U postgres -h "$2" -R -c fast -N >"$folder/log" 2>&1 ||
        { cat "$folder/log" >&2; exit 1; }
else
    "$programs/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$folder/log" 2>&1 ||
        { cat "$folder/log" >&2; exit 1; }
fi
# It listens on a socket in the folder only, so no port can be taken. What is lost in a crash is lost anyway. Nothing begins by
# itself in a database in which a test counts what is going on.
start() {
    "$programs/pg_ctl" -D "$folder/data" -w -t 300 -l "$folder/log" start >/dev/null \
        -o "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=1000 -c autovacuum=off
            -c fsync=off -c max_wal_size=128MB"
}
start || { cat "$folder/log" >&2; exit 1; }
echo "postgres://postgres@localhost/postgres?host=$folder"
while read -r command; do
    case $command in
    stop) "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null ;;
    start) start ;;
    esac
    echo "$command"
done
