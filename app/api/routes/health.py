"""Liveness, readiness and Prometheus metrics."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.deps import AdaptersDep
from app.api.schemas.service import Health, Ready
from app.services import health

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def get_health() -> Health:
    """Check that the process responds, without checking its dependencies."""
    return Health(status="ok")


@router.get("/readyz")
def get_readiness(adapters: AdaptersDep) -> Ready:
    """Check that this server can serve requests. 503 if it cannot; without a broker it is only
    `degraded`.
    """
    return Ready.model_validate(health.readiness(adapters.engine, adapters.settings))


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(adapters: AdaptersDep) -> Response:
    """Get metrics for Prometheus: requests of this process, and jobs, queues and workers of the
    whole service.
    """
    adapters.telemetry.note_stats(health.stats_or_none(adapters.sessions, adapters.settings))
    return Response(generate_latest(adapters.telemetry.registry), media_type=CONTENT_TYPE_LATEST)
