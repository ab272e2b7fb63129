"""Is it alive, can it serve, how is it doing."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.deps import AdaptersDep
from app.api.schemas.service import Health, Ready
from app.services import health

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def get_health() -> Health:
    """The process answers; nothing else is asked."""
    return Health(status="ok")


@router.get("/readyz")
def get_readiness(adapters: AdaptersDep) -> Ready:
    """503 when it cannot serve. A broker that is down only degrades: jobs are still accepted."""
    return Ready.model_validate(health.readiness(adapters.engine, adapters.settings))


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(adapters: AdaptersDep) -> Response:
    """Prometheus: this process's requests, and the whole service's jobs, queues and workers."""
    adapters.telemetry.note_stats(health.stats_or_none(adapters.sessions, adapters.settings))
    return Response(generate_latest(adapters.telemetry.registry), media_type=CONTENT_TYPE_LATEST)
