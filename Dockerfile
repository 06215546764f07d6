# The package and Ray, for a container or a cluster (docs/scale.md):
#   docker build -t dtql-robot .                             for CPUs
#   docker build -t dtql-robot:cuda --build-arg TORCH=cuda . for NVIDIA GPUs (the driver comes from the host)
# scripts/check_container.sh runs these steps without a container engine.
FROM debian:bookworm
ARG TORCH=cpu
WORKDIR /opt/dtql-robot
COPY . .
RUN TORCH=$TORCH scripts/setup.sh container
ENV PATH=/opt/dtql-robot/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["dtql-robot", "--help"]
