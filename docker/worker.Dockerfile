# Image of a worker: Celery and the trainer. CUDA is part of the torch wheel; the host needs the NVIDIA Container Toolkit.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/tunesmith
RUN useradd --uid 10001 --create-home tunesmith && install -d -o tunesmith /data
# Triton compiles its launcher when a trainer first uses a kernel. The base image pins the release of Debian.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

# Dependencies first: this layer stays until pyproject.toml or constraints.txt changes.
COPY pyproject.toml constraints.txt docker/dependencies.py ./
RUN python dependencies.py worker > requirements.txt && pip install --no-cache-dir -c constraints.txt -r requirements.txt

COPY README.md LICENSE ./
COPY app app
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps .

USER 10001
# Devices are numbered as nvidia-smi shows them. Compiled kernels are kept for all runs of this worker.
ENV TUNESMITH_DATA_DIR=/data TUNESMITH_MODELS_DIR=/models \
  CUDA_DEVICE_ORDER=PCI_BUS_ID TRITON_CACHE_DIR=/home/tunesmith/.triton
# SIGTERM starts Celery's warm shutdown; the grace period is `stop_grace_period` in the compose file.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-m", "worker.health"]
CMD ["python", "-m", "worker"]
