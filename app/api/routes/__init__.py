"""Every route of the native face."""

from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.api.routes import (
    artifacts,
    catalogue,
    datasets,
    events,
    fleet,
    health,
    history,
    imports,
    jobs,
    lengths,
    overlaps,
    preview,
    problems,
    uploads,
)

ROUTERS: tuple[APIRouter, ...] = (
    uploads.router,
    imports.router,
    datasets.router,
    lengths.router,
    overlaps.router,
    problems.router,
    preview.router,
    jobs.router,
    events.router,
    history.router,
    artifacts.router,
    catalogue.router,
    fleet.router,
    health.router,
)


def methods_of(path: str) -> set[str]:
    """What can be asked of a path: a 405 owes it, and routers only see one route at a time."""
    found: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                found |= route.methods or set()
    return found
