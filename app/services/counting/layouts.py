"""What a job's rows become under its base and spec: laid out in a child, kept by content."""

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
    """Of what its rows come from."""


@dataclass(frozen=True)
class LayoutRequest:
    asked: figures.FiguresRequest
    rows: Source
    held_out: Source | None
    model_path: Path

    @property
    def key(self) -> str:
        """Of everything the figures depend on, and of nothing else."""
        spec, training = self.asked.spec, self.asked.spec.training
        share = spec.validation.fraction if spec.validation else None
        held_out = self.held_out.fingerprint if self.held_out else None
        parts = [
            *(figures.VERSION, self.rows.fingerprint, held_out),
            [*tokenizer_hashes(self.model_path), sha256_of(self.model_path / "config.json")],
            *(spec.template, self.asked.chat_template, self.asked.marks, spec.train_on),
            *(training.max_length, training.packing, spec.on_invalid_row),
            *(share, training.seed if share else None),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Layouts(StoredResults):
    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, "layout", AT_A_TIME)

    def of(self, wanted: LayoutRequest) -> Answer:
        """Raises Measuring when it takes longer than a request should; the counting goes on."""
        try:
            found = self.get(store_keys.layout(wanted.key), partial(self._lay, wanted))
        except StillRunning:
            raise Measuring(wanted.rows.dataset_id) from None
        return Answer.model_validate_json(found)

    def _lay(self, wanted: LayoutRequest, out: Path) -> None:
        rows = self._fetched(wanted.rows, out.with_name("rows.jsonl"))
        held_out = wanted.held_out and self._fetched(wanted.held_out, out.with_name("held.jsonl"))
        asked, model = wanted.asked.model_dump_json(), wanted.model_path.absolute()
        arguments = [asked, model, rows, out, *([held_out] if held_out else [])]
        try:
            child.run("app.core.datasets.layout.program", arguments, ())
        except ChildFailed as failed:
            _log.warning("layout_failed", dataset=wanted.rows.dataset_id, said=failed.said)
            raise not_measured(failed) from failed

    def _fetched(self, source: Source, path: Path) -> Path:
        with path.open("wb") as file:
            file.writelines(datasets.all_rows(self.storage, source.dataset_id))
        return path
