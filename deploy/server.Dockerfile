# The server, the edge agent and every command for people: no libtorch, no Python.
# Build from the repository's root:  docker build -f deploy/server.Dockerfile -t katagami .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --profile dist --locked --no-default-features --features server,edge --bin katagami \
    && cp target/dist/katagami /katagami

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/katagami --create-home katagami
COPY --from=build /katagami /usr/local/bin/katagami
USER katagami
VOLUME /var/lib/katagami
EXPOSE 8750
ENTRYPOINT ["katagami"]
# Behind a load balancer that ends TLS; without one use --tls-cert and --tls-key.
CMD ["serve", "--listen", "0.0.0.0:8750", "--behind-proxy", "--data", "/var/lib/katagami", "--workers", "0"]
