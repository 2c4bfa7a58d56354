# Stands in for valkey/valkey, as far as deploy/compose.yaml relies on it.
# hadolint ignore=DL3006 # Made by the tests a moment before.
FROM fluxpay-stand-in
WORKDIR /var/lib/valkey
# hadolint ignore=DL3066 # The number is Debian's to choose.
USER valkey
