# Stands in for postgres:17, as far as deploy/compose.yaml relies on it.
# hadolint ignore=DL3006 # Made by the tests a moment before.
FROM fluxpay-stand-in
ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY postgres.sh /usr/local/bin/
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/postgres.sh"]
