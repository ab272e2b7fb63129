# Image of a worker: Celery and the trainer. CUDA is part of the torch wheel; the host needs the NVIDIA Container Toolkit.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/tunesmith
RUN useradd --uid 10001 --create-home tunesmith && install -d -o tunesmith /data

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir -c constraints.txt '.[worker]'

USER 10001
ENV TUNESMITH_DATA_DIR=/data TUNESMITH_MODELS_DIR=/models
# SIGTERM starts Celery's warm shutdown; the grace period is `stop_grace_period` in the compose file.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-m", "worker.health"]
CMD ["python", "-m", "worker"]
