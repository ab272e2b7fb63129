"""Is it alive, can it serve, how is it doing."""

from fastapi import APIRouter

from app.api.schemas.base import Answer

router = APIRouter(tags=["service"])


class Health(Answer):
    status: str


@router.get("/healthz")
async def get_health() -> Health:
    """The process answers; nothing else is asked."""
    return Health(status="ok")
