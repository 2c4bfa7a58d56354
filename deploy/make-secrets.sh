#!/bin/sh
# Writes into deploy/secrets what compose.yaml hands to its containers: passwords made by chance,
# and the URLs that hold them. What is there already is kept, so it may be run again.
#
# The folder is closed to everybody else on this machine. The files in it are open for reading,
# since the containers that read them run as users of their own.
set -eu
cd "$(dirname "$0")"
umask 022
mkdir -p secrets
chmod 700 secrets

chance() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# What is written is there in full or not at all.
keep() {
    [ -s "secrets/$1" ] && return
    printf '%s\n' "$2" > "secrets/$1.new"
    mv "secrets/$1.new" "secrets/$1"
    echo "wrote deploy/secrets/$1"
}

for name in postgres-password owner-password app-password valkey-password admin-token grafana-password; do
    keep "$name" "$(chance)"
done
keep owner-database-url "postgresql://fluxpay_owner:$(cat secrets/owner-password)@postgres/fluxpay"
keep database-url "postgresql://fluxpay_app:$(cat secrets/app-password)@postgres/fluxpay"
keep redis-url "redis://:$(cat secrets/valkey-password)@valkey:6379/0"
keep valkey.conf "requirepass $(cat secrets/valkey-password)"
