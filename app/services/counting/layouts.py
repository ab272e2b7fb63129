"""Layout figures of a job's rows, by base model and spec: counted in a child, stored by content."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from app.core import store_keys
from app.core.datasets.layout import figures
from app.core.datasets.layout.figures import Answer
from app.core.sandbox import child
from app.core.sandbox.child import ChildFailed
from app.core.storage import Storage
from app.services import datasets
from app.services.counting.background import StillRunning
from app.services.counting.lengths import Measuring, not_measured, sha256_of, tokenizer_hashes
from app.services.counting.stored import StoredResults

AT_A_TIME = 2
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    dataset_id: str
    fingerprint: str
    """Hash of all that its rows derive from."""


@dataclass(frozen=True)
class LayoutRequest:
    parameters: figures.FiguresRequest
    rows: Source
    held_out: Source | None
    model_path: Path

    @property
    def key(self) -> str:
        """Hash of everything the figures depend on, and nothing else."""
        spec, training = self.parameters.spec, self.parameters.spec.training
        share = spec.validation.fraction if spec.validation else None
        held_out = self.held_out.fingerprint if self.held_out else None
        parts = [
            *(figures.VERSION, self.rows.fingerprint, held_out),
            [*tokenizer_hashes(self.model_path), sha256_of(self.model_path / "config.json")],
            *(spec.template, self.parameters.chat_template, self.parameters.marks, spec.train_on),
            *(training.max_length, training.packing, spec.on_invalid_row, spec.on_long_prompt),
            training.per_device_train_batch_size,
            *(spec.on_long_row, spec.max_skip_share, self.parameters.invalid),
            *(share, training.seed if share else None),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Layouts(StoredResults):
    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, "layout", AT_A_TIME)

    def of(self, request: LayoutRequest) -> Answer:
        """Raises Measuring if it takes longer than a request should; the counting continues."""
        try:
            found = self.get(store_keys.layout(request.key), partial(self._lay_out, request))
        except StillRunning:
            raise Measuring(request.rows.dataset_id) from None
        return Answer.model_validate_json(found)

    def counted(self, request: LayoutRequest) -> Answer | None:
        """Return the figures if they were counted earlier, else None."""
        found = self.known(store_keys.layout(request.key))
        return None if found is None else Answer.model_validate_json(found)

    def _lay_out(self, request: LayoutRequest, out: Path) -> None:
        rows = self._fetched(request.rows, out.with_name("rows.jsonl"))
        held_out = request.held_out and self._fetched(request.held_out, out.with_name("held.jsonl"))
        parameters, model = request.parameters.model_dump_json(), request.model_path.absolute()
        arguments = [parameters, model, rows, out, *([held_out] if held_out else [])]
        try:
            child.run("app.core.datasets.layout.program", arguments, ())
        except ChildFailed as failed:
            _log.warning("layout_failed", dataset=request.rows.dataset_id, said=failed.said)
            raise not_measured(failed) from failed

    def _fetched(self, source: Source, path: Path) -> Path:
        with path.open("wb") as file:
            file.writelines(datasets.all_rows(self.storage, source.dataset_id))
        return path
