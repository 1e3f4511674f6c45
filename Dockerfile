# The server in a container: no root, no compiler, no model but the built-in one.
#
#     docker build -t bark-stream .                                              # what the package index calls torch
#     docker build -t bark-stream --build-arg TORCH_OPTIONS="--index-url URL" .  # the CPU index of the PyTorch project
#     docker build -t bark-stream:cuda --build-arg DEVICE=cuda .
#     docker run --gpus all -p 127.0.0.1:8765:8765 bark-stream:cuda serve --device cuda
#
# Nothing is downloaded but Python packages; models come in by the volume.

ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG DEVICE=cpu
ARG TORCH="torch==2.13.0"
ARG TORCH_OPTIONS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
RUN python -m venv /opt/bark-stream
# CUDA's libraries are gigabytes: an image for the CPU stops here, before it downloads them.
RUN if [ "${DEVICE}" = cpu ]; then \
        report="$(/opt/bark-stream/bin/pip install --quiet --dry-run --report - ${TORCH_OPTIONS} "${TORCH}")"; \
        if grep -qE '"name": "(nvidia|cuda)-' <<< "${report}"; then \
            echo "This package index serves torch with CUDA. For the CPU, pass the CPU index of the PyTorch project:" \
                "--build-arg TORCH_OPTIONS='--index-url URL'; for CUDA, --build-arg DEVICE=cuda" >&2; \
            exit 1; \
        fi; \
    fi
RUN /opt/bark-stream/bin/pip install --quiet ${TORCH_OPTIONS} "${TORCH}"
COPY pyproject.toml README.md LICENSE ./
COPY bark_stream bark_stream
COPY server server
COPY clients clients
RUN /opt/bark-stream/bin/pip install --quiet "${TORCH}" ".[serve,http]"
COPY deploy/healthcheck.py /opt/bark-stream/healthcheck.py

FROM python:${PYTHON_VERSION}-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home bark && install -d -o bark /models
COPY --from=build /opt/bark-stream /opt/bark-stream
ENV PATH=/opt/bark-stream/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/models/hub \
    BARK_STREAM_HOST=0.0.0.0
USER 10001
WORKDIR /models
VOLUME /models
EXPOSE 8765
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "/opt/bark-stream/healthcheck.py"]
ENTRYPOINT ["bark-stream"]
CMD ["serve"]
