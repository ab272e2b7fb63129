"""A few rows as the trainer will see them: rendered, tokenized, with the loss mask."""

import json
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from app.core.datasets.layout.long_rows import LongRows, usual
from app.core.db.models import Dataset
from app.core.db.session import commit
from app.core.errors import Invalid, Problem, Unavailable
from app.core.models import ModelInfo, find_model
from app.core.sandbox import child
from app.core.sandbox.child import REFUSED, ChildFailed, Limits
from app.core.settings import Settings
from app.core.storage import Storage
from app.core.templates import registry
from app.core.templates.template import Template
from app.services import datasets
from app.services.caller import Caller
from app.services.lengths import check_template, path_of

AT_A_TIME = 4
_LIMITS = Limits(cpu_seconds=10, wall_seconds=30)
_WAIT_SECONDS = 10.0
_DEFAULT_LENGTH = 1024
_log = structlog.get_logger(__name__)


class PreviewFailed(Invalid):
    code = "preview_failed"


class PreviewBusy(Unavailable):
    code = "preview_busy"


@dataclass(frozen=True)
class PreviewRequest:
    model: str
    revision: str | None
    template: str
    train_on: str | None
    """None: the default of a job with this template."""
    max_length: int | None
    """None: the default of a job on this model."""
    packing: bool
    on_long_row: LongRows | None
    """None: the default of a job."""
    rows: Collection[int] | None
    """Numbers of canonical rows, from 0; None: `n` rows from `offset`."""
    offset: int
    n: int


@dataclass(frozen=True)
class Previews:
    """Sandboxed children that render rows, a few at a time: each loads a tokenizer."""

    _turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(AT_A_TIME)
    )

    def run(self, model: Path, request: Iterator[bytes]) -> dict[str, Any]:
        """Render rows in a child. Raises PreviewFailed, or PreviewBusy if too many are running."""
        if not self._turns.acquire(timeout=_WAIT_SECONDS):
            raise PreviewBusy("Too many previews are running; try again in a moment.")
        try:
            with tempfile.TemporaryDirectory(prefix="tunesmith-preview-") as folder:
                out = Path(folder) / "shown.json"
                child.run("app.core.datasets.layout.preview", (model, out), request, _LIMITS)
                found: dict[str, Any] = json.loads(out.read_bytes())
                return found
        except ChildFailed as failed:
            _log.warning("preview_failed", status=failed.status, said=failed.said)
            raise PreviewFailed(_reason(failed)) from failed
        finally:
            self._turns.release()


def show(
    session: Session,
    caller: Caller,
    dataset_id: str,
    request: PreviewRequest,
    *,
    settings: Settings,
    storage: Storage,
    previews: Previews,
) -> dict[str, Any]:
    """Answer GET /datasets/{id}/preview. Releases the connection before reading rows."""
    dataset = datasets.validated(session, caller, dataset_id)
    base = find_model(settings, request.model, request.revision)
    template = registry.find(settings.templates_dir, request.template, "?template")
    check_template(dataset, base, template.name)
    path = path_of(base)
    numbers = _numbers(dataset, request)
    commit(session)
    setting = _setting(request, base, template)
    rendering = {
        "chat_template": template.chat_template,
        "special_tokens": list(template.special_tokens),
    }
    found = datasets.lines(storage, dataset, numbers)
    shown = previews.run(path.absolute(), _request(setting | rendering, found))
    total = dataset.num_valid_rows or 0
    size = len(shown["data"])
    has_next = request.rows is None and request.offset + size < total
    return {
        "dataset": dataset_id,
        "model": base.id,
        **setting,
        **shown,
        "num_rows": total,
        "has_more": has_next or size < len(found),
    }


def _setting(request: PreviewRequest, base: ModelInfo, template: Template) -> dict[str, Any]:
    """Return the requested settings, with a job's defaults where none are given."""
    length = request.max_length or min(_DEFAULT_LENGTH, base.max_length or _DEFAULT_LENGTH)
    return {
        "template": template.name,
        "train_on": _train_on(template.name, request.train_on),
        "max_length": length,
        "packing": request.packing,
        "on_long_row": request.on_long_row or usual(packed=request.packing),
    }


def _train_on(template: str, given: str | None) -> str:
    if template != "text":
        return given or "completion"
    if given == "completion":
        message = 'Template "text" has no separate answer.'
        hint = 'Set `train_on` to "all", or leave it out.'
        problem = Problem("?train_on", "invalid_combination", message, hint)
        raise Invalid(f"{message} {hint}", errors=[problem])
    return "all"


def _numbers(dataset: Dataset, request: PreviewRequest) -> Collection[int]:
    if request.rows is None:
        return range(request.offset, request.offset + request.n)
    total = dataset.num_valid_rows or 0
    unknown = next((number for number in request.rows if number >= total), None)
    if unknown is not None:
        message = f"There is no row {unknown}: {dataset.id!r} has {total:,} valid rows, from row 0."
        problem = Problem("?rows", "out_of_range", message, "GET .../rows lists them.")
        raise Invalid(message, errors=[problem])
    return frozenset(request.rows)


def _request(head: dict[str, Any], found: list[tuple[int, bytes]]) -> Iterator[bytes]:
    yield json.dumps(head).encode() + b"\n"
    for number, line in found:
        yield b"%d\t%s\n" % (number, line)


def _reason(failed: ChildFailed) -> str:
    if failed.status == REFUSED:
        return failed.said.strip()
    if failed.status < 0:
        return "Rendering these rows takes too long: request fewer, or check the template."
    return "These rows could not be rendered with this model."
