# Image of the API, the housekeeper and the migrations: everything except the worker, without torch.
# The housekeeper validates datasets and the API draws plots: pyarrow and matplotlib are for them.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/tunesmith
RUN useradd --uid 10001 --create-home tunesmith && install -d -o tunesmith /data

# Dependencies first: this layer stays until pyproject.toml or constraints.txt changes.
COPY pyproject.toml constraints.txt docker/dependencies.py ./
RUN python dependencies.py > requirements.txt && pip install --no-cache-dir -c constraints.txt -r requirements.txt

COPY README.md LICENSE ./
COPY app app
COPY worker worker
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps .

USER 10001
ENV TUNESMITH_DATA_DIR=/data TUNESMITH_MODELS_DIR=/models TUNESMITH_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "uvicorn", "app.main:create_app", "--factory", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "5"]
