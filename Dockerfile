# syntax=docker/dockerfile:1
# Two stages: the first builds the Debian package with everything the tree says, the second has only that package. Nothing is
# downloaded when the container runs.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY . .
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git dpkg-dev binutils xz-utils \
    && ./scripts/run --setup-only \
    && packaging/build-deb /dist \
    && rm -rf /var/lib/apt/lists/*

FROM debian:bookworm-slim
COPY --from=build /dist/ /tmp/dist/
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends /tmp/dist/*.deb curl \
    && rm -rf /var/lib/apt/lists/* /tmp/dist
# By name: the package makes the user, whose number is the system's choice. Kubernetes is given a number by the chart.
# hadolint ignore=DL3066
USER lookalike
VOLUME ["/var/lib/lookalike", "/var/backups/lookalike"]
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["curl", "-fsS", "http://127.0.0.1:5000/readyz"]
# Beyond loopback a server wants API keys, or to be told that the network in front protects it: LOOKALIKE_INSECURE=1.
ENTRYPOINT ["lookalike"]
CMD ["serve", "--data", "/var/lib/lookalike", "--backup-dir", "/var/backups/lookalike", "--listen", "0.0.0.0:5000"]
