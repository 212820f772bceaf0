# The operator's image: the package and nothing else, as a user without rights.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt LICENSE ./
COPY operator operator
# Nothing installs packages at run time, so the installers do not stay.
RUN python -m venv /opt/troth \
    && /opt/troth/bin/pip install --no-cache-dir --constraint constraints.txt '.[operator,issuer,gateway,review,kafka,nats,otel]' \
    && /opt/troth/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Troth" \
      org.opencontainers.image.description="Kubernetes operator for trust between services" \
      org.opencontainers.image.source="https://github.com/troth-dev/troth" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/troth /opt/troth
# The chart runs `troth` by name.
ENV PATH=/opt/troth/bin:$PATH
USER 65532:65532
ENTRYPOINT ["/opt/troth/bin/troth"]
CMD ["run"]
