# One image for every process of FluxPay: the subcommand says which, as in `docker run IMAGE worker`.
#
#     docker build --tag fluxpay:local .
#
# BASE is any image with Python 3.11 or newer and its pip; name one with a digest to pin it. Behind
# a mirror, hand pip its configuration as a secret, and the mirror's certificate authority with it:
# `--secret id=pip.conf,src=… --secret id=ca.pem,src=…`, where pip.conf says `cert =
# /run/secrets/ca.pem`. Neither is kept in a layer. The same sources, base and SOURCE_DATE_EPOCH
# give the same layers, bit for bit.
ARG BASE=python:3.13-slim-trixie

# ---- dependencies: wheels by the hashes of the lock, installed and compiled ------------------------
# hadolint ignore=DL3006 # BASE carries its tag or digest.
FROM ${BASE} AS dependencies
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
WORKDIR /build
COPY requirements-image.lock requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    python3 -m pip download --quiet --require-hashes --only-binary=:all: --dest wheels \
        --requirement requirements-image.lock \
    && python3 -m venv --without-pip backend \
    && python3 -m pip --python backend/bin/python install --quiet --require-hashes \
        --only-binary=:all: --requirement requirements-build.lock
# Nobody checks the byte code at run time, so starts are quick although nothing can be written. The
# files are dated 1970: this layer depends on base and lock alone, and is pushed and pulled once.
RUN python3 -m venv --without-pip /opt/fluxpay \
    && python3 -m pip --python /opt/fluxpay/bin/python install --quiet --no-compile --no-index \
        --require-hashes --find-links wheels --requirement requirements-image.lock \
    && rm /opt/fluxpay/bin/*ctivate* \
    && /opt/fluxpay/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/fluxpay \
    && mkdir -p root/opt root/etc \
    && cp -a /opt/fluxpay root/opt/ \
    && { cat /etc/passwd && echo 'fluxpay:x:10001:10001::/nonexistent:/usr/sbin/nologin'; } \
        > root/etc/passwd \
    && { cat /etc/group && echo 'fluxpay:x:10001:'; } > root/etc/group \
    && find root -exec touch --no-dereference --date=@0 {} +

# ---- application: our own wheel, in a tree of its own ---------------------------------------------
FROM dependencies AS application
# .dockerignore lets through what belongs to the package, and nothing else.
COPY . source
ARG SOURCE_DATE_EPOCH=0
RUN python3 -m pip --python backend/bin/python wheel --quiet --no-index --no-deps \
        --no-build-isolation --wheel-dir wheels ./source \
    && python3 -m pip --python /opt/fluxpay/bin/python install --quiet --no-compile --no-index \
        --no-deps --find-links wheels --root /build/application fluxpay \
    && python3 -m compileall -q --invalidation-mode unchecked-hash \
        -s /build/application -p / application \
    && find application -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# ---- runtime: the base and these two layers -------------------------------------------------------
# hadolint ignore=DL3006 # As above.
FROM ${BASE}
LABEL org.opencontainers.image.title="FluxPay" \
      org.opencontainers.image.description="A multi-tenant payment API with a double-entry ledger" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=dependencies /build/root/ /
COPY --from=application /build/application/ /
ENV PATH=/opt/fluxpay/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 8081
# It asks what `serve` answers; whoever runs another subcommand switches it off. Kubernetes ignores it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["fluxpay", "health"]
ENTRYPOINT ["fluxpay"]
CMD ["serve"]
