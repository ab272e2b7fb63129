"""Pages for a person with a browser: the front page, and the contract in readable form."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app import __version__
from app.api.answers.contract_page import contract_page
from app.api.answers.html import answer, page

router = APIRouter(include_in_schema=False)
_LINKS = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "jobs": "/jobs",
    "datasets": "/datasets",
    "models": "/models",
    "queue": "/queue",
    "workers": "/workers",
    "health": "/readyz",
}
_TEXTS = {
    "docs": "the HTTP contract, to read",
    "openapi": "the HTTP contract, for programs",
    "jobs": "jobs, newest first",
    "datasets": "datasets, newest first",
    "models": "base models of this server",
    "queue": "jobs that wait, and why",
    "workers": "workers and their devices",
    "health": "whether this server can take requests",
}


@router.get("/")
def get_front_page(request: Request) -> Response:
    """Greet a person with a page, and a program with the same links as JSON."""
    if "text/html" in request.headers.get("accept", ""):
        return answer(page("Tunesmith", _front(str(request.base_url).rstrip("/"))))
    body: dict[str, Any] = {"name": "Tunesmith", "version": __version__, "links": _LINKS}
    return JSONResponse(body, headers={"Vary": "Accept"})


@router.get("/docs")
def get_docs(request: Request) -> Response:
    """Return the contract as a page. Rendered once: the contract does not change."""
    state = request.app.state
    if not hasattr(state, "contract_page"):
        state.contract_page = contract_page(request.app.openapi())
    return answer(state.contract_page)


def _front(url: str) -> str:
    rows = "".join(
        f"<tr><td><a href='{path}'>{path}</a><td>{_TEXTS[name]}" for name, path in _LINKS.items()
    )
    first = escape(
        f"tunesmith submit SPEC.json --dataset ROWS.jsonl --follow --url {url}\n"
        f"curl {url}/datasets -F file=@ROWS.jsonl"
    )
    return (
        f"<h1>Tunesmith {__version__}</h1>"
        "<p>Fine-tuning as a job API: post a job, watch it learn, download a verified adapter. "
        "This server is running.</p>"
        f"<table>{rows}</table><h2>To begin with</h2><pre>{first}</pre>"
    )
