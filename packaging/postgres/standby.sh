#!/usr/bin/env bash
# Copies the primary when the volume of the standby is new, and follows it from then on.
set -euo pipefail
if [ ! -e "$PGDATA" ]; then
    # A copy that was interrupted is not complete, so it has another name until it is.
    rm -rf "$PGDATA.new"
    PGPASSWORD=$(</run/secrets/replication_password) pg_basebackup --pgdata "$PGDATA.new" --host primary \
        --username replication --slot standby --wal-method stream --checkpoint fast --write-recovery-conf
    mv "$PGDATA.new" "$PGDATA"
fi
exec postgres
