# syntax=docker/dockerfile:1
# The server: on a CPU, or with `--build-arg VARIANT=cuda` on an NVIDIA GPU. See docs/operations.md.
ARG VARIANT=cpu

FROM python:3.12.12-slim-bookworm@sha256:593bd06efe90efa80dc4eee3948be7c0fde4134606dd40d8dd8dbcade98e669c AS base
ARG TORCH_VERSION=2.13.0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY constraints.txt ./
# Without pip: what serves installs nothing.
RUN python -m venv --without-pip /venv

# torch first and on its own: it is the large layer, and it must keep the build chosen here.
FROM base AS torch-cpu
# Empty: the index that pip is set up with.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV EXTRAS=[cpu]
RUN pip --python /venv/bin/python install --no-cache-dir -c constraints.txt "torch==${TORCH_VERSION}" \
    ${TORCH_INDEX:+--index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple}

FROM base AS torch-cuda
ENV EXTRAS=
RUN pip --python /venv/bin/python install --no-cache-dir -c constraints.txt "torch==${TORCH_VERSION}"

# hadolint ignore=DL3006
FROM torch-${VARIANT} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY training training
COPY models/*.py models/
# Without headers and tests of torch: nobody compiles against it here.
RUN pip --python /venv/bin/python install --no-cache-dir -c constraints.txt ".${EXTRAS}" \
 && rm -rf /venv/lib/python3*/site-packages/torch/include \
           /venv/lib/python3*/site-packages/torch/test

FROM python:3.12.12-slim-bookworm@sha256:593bd06efe90efa80dc4eee3948be7c0fde4134606dd40d8dd8dbcade98e669c
ARG VERSION=0.1.0
ARG REVISION=unknown
# The second licence is that of the checkpoint, for non-commercial research: its README.md has it.
LABEL org.opencontainers.image.title="Visage" \
      org.opencontainers.image.description="Faces of people who do not exist, on demand" \
      org.opencontainers.image.source="https://github.com/visage-faces/visage" \
      org.opencontainers.image.documentation="https://github.com/visage-faces/visage/tree/main/docs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-faces-128 AND LicenseRef-faces-64" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12.12-slim-bookworm"
RUN groupadd --gid 10001 visage \
 && useradd --uid 10001 --gid visage --no-create-home --home-dir /tmp --no-log-init visage
COPY --from=build /venv /venv
# No VOLUME: an anonymous one would keep an old checkpoint where a new image has a new one.
# Mount a folder of checkpoints here to serve others.
COPY models/checkpoints /checkpoints
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    VISAGE_HOST=0.0.0.0 \
    VISAGE_PORT=8000 \
    VISAGE_CHECKPOINTS=/checkpoints/faces-128 \
    VISAGE_LOG_FORMAT=json
# By number, so that an orchestrator can tell that this is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['VISAGE_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["python", "-m", "service"]
