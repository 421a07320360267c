# The worker, which trains.
#   CPU:   docker build -f deploy/worker.Dockerfile -t katagami-worker .
#   CUDA:  docker build -f deploy/worker.Dockerfile --build-arg TORCH=cuda -t katagami-worker:cuda .
# The CUDA image carries NVIDIA's libraries (about 5 GB); the host needs only its
# driver and container toolkit. One worker process uses one GPU.
FROM rust:1.95-bookworm AS build
ARG TORCH=cpu
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    LIBTORCH="$(TORCH=$TORCH KATAGAMI_CACHE=/libtorch scripts/libtorch.sh)" && export LIBTORCH \
    && cargo build --profile dist --locked --no-default-features --features worker --bin katagami-worker \
    && cp target/dist/katagami-worker /katagami-worker

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/cache/katagami --create-home katagami
# The executable looks for libtorch where it was built against it.
COPY --from=build /libtorch /libtorch
COPY --from=build /katagami-worker /usr/local/bin/katagami-worker
USER katagami
VOLUME /var/cache/katagami
ENTRYPOINT ["katagami-worker"]
CMD ["run", "--device", "auto", "--cache", "/var/cache/katagami"]
