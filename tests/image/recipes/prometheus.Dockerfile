# Stands in for prom/prometheus, as far as deploy/compose.yaml relies on it.
# hadolint ignore=DL3006 # Made by the tests a moment before.
FROM fluxpay-stand-in
RUN install --directory --owner=65534 --group=65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/usr/bin/prometheus"]
