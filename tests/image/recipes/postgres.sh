#!/bin/sh
# What the postgres image does before it serves, as far as deploy/compose.yaml relies on it: the
# volume is filled once, as its owner, with the password from a file; the scripts that were put
# into /docker-entrypoint-initdb.d run against a server without a port; only then it listens.
set -eu
data=/var/lib/postgresql/data

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$data" /var/run/postgresql
    chown postgres:postgres "$data" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$data/PG_VERSION" ]; then
    initdb --pgdata="$data" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 \
        --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 > /dev/null
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    pg_ctl --pgdata="$data" --wait --silent --options="-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        "$script"
    done
    pg_ctl --pgdata="$data" --wait --silent --mode=fast stop
fi
exec postgres -D "$data" -c listen_addresses='*'
