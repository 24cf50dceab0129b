# The workstation: training, export and TensorRT engines for its own GPU. CUDA 13 needs a GPU of
# compute capability 7.5 or above: not for a Titan Xp (6.1), which CUDA 12 and TensorRT 8.6 were the
# last to serve. From the root of the repository:
#   docker build --file docker/train.Dockerfile --tag clipedge-train:0.1.0 .

# Stage 1: the wheel and the Python packages, with a compiler and CUDA's headers for pycuda.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS packages
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt docker/requirements-train.txt ./
RUN python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
        build setuptools
# The large and slow ones first: a change in this project does not fetch them again.
# TensorRT's libraries are on NVIDIA's index alone.
RUN python3 -m venv /opt/clipedge \
    && /opt/clipedge/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
        numpy torch \
    && /opt/clipedge/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url https://pypi.nvidia.com --requirement requirements-train.txt
COPY LICENSE README.md pyproject.toml ./
COPY benchmarks/ benchmarks/
COPY export/ export/
COPY jetson/ jetson/
COPY trainside/ trainside/
RUN /opt/build/bin/python -m build --wheel --no-isolation --outdir /dist . \
    && /opt/clipedge/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
        "$(echo /dist/*.whl)[train,export,cpu]"

# Stage 2: what runs. torch brings its own CUDA libraries; pycuda needs curand beside the driver.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04
ENV DEBIAN_FRONTEND=noninteractive
# Ubuntu 24.04 gives uid 1000 to a user of its own.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libcurand-13-0 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && userdel --remove ubuntu \
    && useradd --create-home --uid 1000 --groups video clipedge
COPY --from=packages /opt/clipedge/ /opt/clipedge/
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/clipedge/bin:$PATH
WORKDIR /work
USER 1000
CMD ["train-clips", "--help"]
