# The service as an image: no weights, no compiler, no root. ./models is mounted; jobs live in the volume /data.
#
#   docker build -t ai-engine .                                                    for NVIDIA cards (CUDA 13)
#   docker build -t ai-engine:cpu --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu .
#
# Behind a proxy with its own certificate: --secret id=ca,src=ca.pem.
# With wheels of your own, or a mirror:    --build-arg PIP_FIND_LINKS=<URL>, --build-arg PIP_INDEX_URL=<URL>.
# With pymeshlab (GPL-3):                  --build-arg PYMESHLAB_VERSION=2025.7.post1
# With a C compiler, which COMPILE needs:  --build-arg COMPILER_PACKAGES="gcc libc6-dev"

# Not bookworm: from Python 3.12 on the job engine needs SQLite 3.42, and Debian 12 has 3.40.
ARG PYTHON_IMAGE=python:3.12-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
ARG TORCH_INDEX_URL=https://pypi.org/simple
ARG PIP_INDEX_URL
ARG PIP_FIND_LINKS
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/sh", "-euc"]
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
# The largest step first, alone: it is done again only when the version of torch changes.
ARG TORCH_VERSION=2.13.0
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    pip --python /opt/venv/bin/python install --index-url "${TORCH_INDEX_URL}" "torch==${TORCH_VERSION}"
COPY requirements.txt .
ARG PYMESHLAB_VERSION
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    pip --python /opt/venv/bin/python install -r requirements.txt \
        ${PYMESHLAB_VERSION:+"pymeshlab==${PYMESHLAB_VERSION}"}


FROM ${PYTHON_IMAGE}
ARG PYMESHLAB_VERSION
ARG COMPILER_PACKAGES
LABEL org.opencontainers.image.title="AI Engine" \
      org.opencontainers.image.description="A picture in, a printable mesh at your webhook." \
      org.opencontainers.image.licenses="Apache-2.0"
# What pymeshlab loads; without libopengl0 it imports and has no filter.
# hadolint ignore=DL3008,SC2086
RUN if [ -n "${PYMESHLAB_VERSION}${COMPILER_PACKAGES}" ]; then \
        apt-get update && apt-get install -y --no-install-recommends \
            ${PYMESHLAB_VERSION:+libcom-err2 libgl1 libopengl0} ${COMPILER_PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    fi; \
    useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin engine \
    && install -d -o 10001 -g 10001 /data
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    LOG_FORMAT=json
WORKDIR /app
COPY main.py LICENSE requirements.txt ./
COPY ai_engine ai_engine
COPY hy3dgen hy3dgen
# Bytecode now: the root file system is read-only later.
RUN python -m compileall -q main.py ai_engine hy3dgen && mkdir models

USER 10001:10001
# Every import that serving needs works for this user, with the libraries of this image alone.
RUN NUMBA_DISABLE_JIT=1 python -c "import main, rembg, ai_engine.api.app, ai_engine.worker.process, ai_engine.pipeline.shape_model" \
    && if [ -n "${PYMESHLAB_VERSION}" ]; then \
        python -c "import pymeshlab as p; m = p.MeshSet(); m.create_sphere(); m.meshing_decimation_quadric_edge_collapse()"; \
    fi
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["python", "main.py"]
CMD ["serve"]
