# syntax=docker/dockerfile:1
# CPU by default; for another build of torch: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128

FROM python:3.12.12-slim-bookworm AS build
ARG TORCH_VERSION=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# torch first and on its own: it is the large layer, and it must keep the build chosen here.
RUN pip install "torch==${TORCH_VERSION}" --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service
COPY training training
COPY models models
RUN pip install -c constraints.txt '.[cpu]'

FROM python:3.12.12-slim-bookworm
LABEL org.opencontainers.image.title="Visage" \
      org.opencontainers.image.description="Faces of people who do not exist, on demand" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home visage
COPY --from=build /venv /venv
COPY models/checkpoints /checkpoints
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VISAGE_HOST=0.0.0.0 \
    VISAGE_CHECKPOINTS=/checkpoints/faces-64 \
    VISAGE_LOG_FORMAT=json
USER visage
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "service"]
