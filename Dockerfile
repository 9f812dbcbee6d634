# One image, two commands:
#   docker run infertap sidecar     (beside a model)
#   docker run infertap storage     (central storage; its archive in /var/lib/infertap)
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /source
# --build-arg COMPILE=1 compiles the hot modules; the image runs the same source without.
ARG COMPILE=0
RUN if [ "$COMPILE" = 1 ]; then \
      apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev; \
    fi
# What storage may be asked for; with sinks into object stores or Delta tables: --build-arg EXTRAS=clickhouse,kafka,delta
ARG EXTRAS=clickhouse,kafka
# First what the project needs, which seldom changes; then the project itself, from a wheel of this source.
RUN python -m venv /opt/infertap
COPY pyproject.toml setup.py README.md LICENSE ./
COPY infertap infertap
COPY sidecar sidecar
COPY storage storage
RUN INFERTAP_COMPILE=$COMPILE pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/infertap/bin/pip install --no-cache-dir --disable-pip-version-check \
      "infertap[$EXTRAS] @ file://$(ls /wheels/infertap-*.whl)" \
 && /opt/infertap/bin/pip uninstall --yes pip

FROM python:${PYTHON}
# For the init container of redirect mode alone; the sidecar itself has no privilege to use it.
RUN apt-get update && apt-get install -y --no-install-recommends iptables && rm -rf /var/lib/apt/lists/*
# A number, so that Kubernetes can tell that it isn't root.
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/infertap
COPY --from=build /opt/infertap /opt/infertap
# Nothing is written but to /var/lib/infertap: the root file system may be read-only.
ENV PATH=/opt/infertap/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    INFERTAP_SPOOL_DIR=/var/lib/infertap/spool \
    INFERTAP_ARCHIVE=/var/lib/infertap/archive
VOLUME /var/lib/infertap
USER 65532:65532
# Health is asked for over HTTP (/healthz, /readyz), by whoever runs the container.
ENTRYPOINT ["infertap"]
CMD ["--help"]
