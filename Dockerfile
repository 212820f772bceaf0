# The operator's image: the package and nothing else, as a user without rights.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY operator operator
RUN python -m venv /opt/troth \
    && /opt/troth/bin/pip install --no-cache-dir --constraint constraints.txt '.[operator,issuer,gateway,kafka,nats]'

FROM python:3.13-slim
COPY --from=build /opt/troth /opt/troth
USER 65532:65532
ENTRYPOINT ["/opt/troth/bin/troth"]
CMD ["run"]
