"""What a job's rows become under its base and spec: laid out in a child, kept by content."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from app.core.datasets import child
from app.core.datasets.child import ChildFailed
from app.core.datasets.layout import figures
from app.core.datasets.layout.figures import Answer
from app.core.storage import Storage
from app.services import datasets
from app.services.background import WAIT_SECONDS, Background, StillRunning
from app.services.measures import Measuring, not_measured, sha256_of, tokenizer_hashes

AT_A_TIME = 2
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    dataset_id: str
    fingerprint: str
    """Of what its rows come from."""


@dataclass(frozen=True)
class Wanted:
    asked: figures.Wanted
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


@dataclass
class Layouts:
    storage: Storage
    wait_seconds: float = WAIT_SECONDS
    _work: Background = field(default_factory=lambda: Background("layout", AT_A_TIME))

    def get(self, wanted: Wanted) -> Answer:
        """Raises Measuring when it takes longer than a request should; the counting goes on."""
        key = f"layouts/{wanted.key}.json"
        kept = self._read(key)
        if kept is not None:
            return kept
        try:
            return self._work.result(key, partial(self._lay, key, wanted), self.wait_seconds)
        except StillRunning:
            raise Measuring(wanted.rows.dataset_id) from None

    def close(self) -> None:
        self._work.close()

    def _lay(self, key: str, wanted: Wanted) -> Answer:
        with tempfile.TemporaryDirectory(prefix="tunesmith-layout-") as name:
            folder = Path(name)
            out = folder / "layout.json"
            rows = self._fetched(wanted.rows, folder / "rows.jsonl")
            held_out = wanted.held_out and self._fetched(wanted.held_out, folder / "held.jsonl")
            asked, model = wanted.asked.model_dump_json(), wanted.model_path.absolute()
            arguments = [asked, model, rows, out, *([held_out] if held_out else [])]
            try:
                child.run("app.core.datasets.layout.program", arguments, ())
            except ChildFailed as failed:
                _log.warning("layout_failed", dataset=wanted.rows.dataset_id, said=failed.said)
                raise not_measured(failed) from failed
            found = Answer.model_validate_json(out.read_bytes())
            self.storage.write_file(key, out)
        return found

    def _fetched(self, source: Source, path: Path) -> Path:
        """A dataset without a good row has no rows to read."""
        with path.open("wb") as file:
            for chunk in self._rows(source):
                file.write(chunk)
        return path

    def _rows(self, source: Source) -> Iterator[bytes]:
        try:
            yield from self.storage.read(datasets.rows_key(source.dataset_id))
        except FileNotFoundError:
            return

    def _read(self, key: str) -> Answer | None:
        try:
            return Answer.model_validate_json(b"".join(self.storage.read(key)))
        except FileNotFoundError:
            return None
