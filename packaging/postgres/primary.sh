#!/usr/bin/env bash
# Runs once, when the volume of the primary is new: roles, the database, and a slot for the standby.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username postgres --dbname postgres \
    --set heroes="$(</run/secrets/heroes_password)" --set replication="$(</run/secrets/replication_password)" <<'SQL'
CREATE ROLE heroes LOGIN PASSWORD :'heroes';
CREATE ROLE replication LOGIN REPLICATION PASSWORD :'replication';
CREATE DATABASE heroes OWNER heroes TEMPLATE template0 ENCODING 'UTF8';
SELECT pg_create_physical_replication_slot('standby');
SQL
# The rule of the image for `all` databases does not include replication.
echo 'host replication replication samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
