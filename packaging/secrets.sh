#!/usr/bin/env bash
# Makes the secrets of compose.postgres.yaml, in the folder `secrets` beside it. Those that exist stay as they are.
set -euo pipefail
cd "$(dirname "$0")"
# Nobody else reaches the files by their path. In a container they have the same mode, and are read by its own user.
mkdir -p -m 700 secrets
umask 022
secret() { [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }
for name in postgres heroes replication; do
    secret "${name}_password" "$(od -An -N 24 -t x1 /dev/urandom | tr -d ' \n')"
done
password=$(<secrets/heroes_password)
# After a failover the standby is the one that can be written.
secret database_url "postgres://heroes:$password@primary,standby/heroes?target_session_attrs=read-write"
secret read_urls "postgres://heroes:$password@standby/heroes"
