"""All routes of the native API."""

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
    pages,
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
    pages.router,
)


def methods_of(path: str) -> set[str]:
    """Return the methods of a path, for the Allow header of a 405: a router matches one route."""
    found: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                found |= route.methods or set()
    return found
