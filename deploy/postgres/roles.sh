#!/bin/sh
# Run once, by the postgres image, when its volume is empty: the role that migrates, the role that
# serves, and the database. Neither role is a superuser. The passwords go in by stdin, so that no
# list of processes shows them.
set -eu

psql --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<SQL
CREATE ROLE fluxpay_owner LOGIN CREATEROLE PASSWORD '$(cat /run/secrets/owner-password)';
CREATE ROLE fluxpay_app LOGIN PASSWORD '$(cat /run/secrets/app-password)';
CREATE DATABASE fluxpay OWNER fluxpay_owner;
SQL
