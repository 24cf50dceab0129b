# The board: Jetson TX2 with JetPack 4.6.1 or a later 4.6.x (L4T 32.7, Python 3.6, TensorRT 8.2).
#
# CUDA, cuDNN and TensorRT stay out of the image: on L4T 32 the container runtime (--runtime nvidia)
# mounts JetPack's own into the container, so an engine always meets the release that the board has.
# Build it on the board, from the root of the repository:
#   docker build --file docker/jetson.Dockerfile --tag clipedge-jetson:0.1.0 .

# Stage 1: the wheel. setuptools for Python 3.6 cannot read this project's metadata.
# Debian 11: newer C libraries start threads by clone3, which the Docker of JetPack 4.6 (20.10.7)
# may forbid: "can't start new thread".
FROM python:3.11.9-slim-bullseye AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m pip install --no-cache-dir --constraint constraints.txt build setuptools
COPY LICENSE README.md pyproject.toml ./
COPY benchmarks/ benchmarks/
COPY export/ export/
COPY jetson/ jetson/
COPY trainside/ trainside/
RUN python3 -m build --wheel --no-isolation --outdir /dist .

# Stage 2: the Python packages, with a compiler and CUDA's headers for pycuda. Plain Ubuntu of the
# board's release: the container runtime mounts nothing over the CUDA installed here.
FROM arm64v8/ubuntu:18.04 AS packages
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential ca-certificates curl python3-dev python3-venv \
    && curl --fail --silent --show-error --location \
        --output /etc/apt/trusted.gpg.d/jetson-ota-public.asc \
        https://repo.download.nvidia.com/jetson/jetson-ota-public.asc \
    && echo "deb https://repo.download.nvidia.com/jetson/common r32.7 main" \
        > /etc/apt/sources.list.d/nvidia-jetson.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        cuda-cudart-dev-10-2=10.2.300-1 \
        cuda-driver-dev-10-2=10.2.300-1 \
        cuda-nvcc-10-2=10.2.300-1 \
        cuda-nvprof-10-2=10.2.300-1 \
        libcurand-dev-10-2=10.1.2.300-1 \
    && rm -rf /var/lib/apt/lists/*
# pycuda's setup.py finds CUDA by nvcc on the PATH, and its stub of libcuda beside it.
ENV PATH=/opt/clipedge/bin:/usr/local/cuda-10.2/bin:$PATH
WORKDIR /src
COPY docker/requirements-board.txt ./
# The bundled pip is 9.0.1, which knows no wheel for this processor; 21.3.1 is the last for 3.6.
RUN python3 -m venv --system-site-packages /opt/clipedge \
    && python3 -m pip install --no-cache-dir pip==21.3.1 wheel==0.37.1
RUN python3 -m pip install --no-cache-dir --constraint requirements-board.txt numpy \
    && python3 -m pip install --no-cache-dir --requirement requirements-board.txt
COPY --from=wheel /dist/ /dist/
RUN python3 -m pip install --no-cache-dir --no-deps /dist/*.whl

# Stage 3: what runs. NVIDIA's OpenCV 4.1.1 has GStreamer, for cameras, and a window.
FROM nvcr.io/nvidia/l4t-base:r32.7.1
ENV DEBIAN_FRONTEND=noninteractive
COPY --from=packages /etc/apt/trusted.gpg.d/jetson-ota-public.asc /etc/apt/trusted.gpg.d/
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && echo "deb https://repo.download.nvidia.com/jetson/common r32.7 main" \
        > /etc/apt/sources.list.d/nvidia-jetson.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        gstreamer1.0-plugins-good \
        libopencv=4.1.1-2-gd5a58aa75 \
        libopencv-python=4.1.1-2-gd5a58aa75 \
        python3 \
        v4l-utils \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 --groups video clipedge
COPY --from=packages /opt/clipedge/ /opt/clipedge/
# NVIDIA's container toolkit from 1.10 on mounts CUDA and TensorRT only where the image asks for it.
ENV NVIDIA_DRIVER_CAPABILITIES=all \
    NVIDIA_REQUIRE_JETPACK="csv-mounts=all" \
    NVIDIA_VISIBLE_DEVICES=all \
    PATH=/opt/clipedge/bin:$PATH
WORKDIR /work
USER 1000
CMD ["gesture-demo", "--help"]
