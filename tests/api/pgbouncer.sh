#!/bin/sh
# Starts a throw-away PgBouncer before a PostgreSQL, prints the folder of its socket, and removes it when the standard
# input ends. The arguments are this file, the folder of the socket of PostgreSQL, and the mode. PgBouncer refuses to run
# as root, so root becomes the user of PostgreSQL first.
set -eu
if [ "$(id -u)" = 0 ]; then
    cd /
    exec runuser -u postgres -- sh -c "$(cat "$1")" sh "$@"
fi
program=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
[ -x "$program" ] || exit 1
folder=$(mktemp -d)
trap 'trap - EXIT INT TERM; kill $process 2>/dev/null; rm -rf "$folder"; exit' EXIT INT TERM
cat >"$folder/pgbouncer.ini" <<INI
[databases]
* = host=$2 user=postgres
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $folder
auth_type = any
pool_mode = $3
max_client_conn = 1000
default_pool_size = 20
logfile = $folder/log
INI
"$program" -q "$folder/pgbouncer.ini" >"$folder/out" 2>&1 &
process=$!
while [ ! -S "$folder/.s.PGSQL.6432" ]; do
    kill -0 $process 2>/dev/null || { cat "$folder/out" "$folder/log" >&2; exit 1; }
    sleep 0.02
done
echo "$folder"
cat >/dev/null
