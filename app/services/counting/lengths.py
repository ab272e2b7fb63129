"""Token lengths of a dataset's rows, by tokenizer and template: counted once, stored by content."""

import hashlib
import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from app.core import store_keys
from app.core.errors import Conflict, Invalid
from app.core.sandbox import child
from app.core.sandbox.child import REFUSED, ChildFailed
from app.core.sandbox.pace import TOO_SLOW
from app.core.storage import Storage
from app.services.counting.background import StillRunning
from app.services.counting.stored import StoredResults
from app.services.datasets import all_rows

if TYPE_CHECKING:
    from app.core.datasets.tokens.lengths import Measured

VERSION = 4
"""Incremented when the same rows would be counted differently."""
AT_A_TIME = 2
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
)
_log = structlog.get_logger(__name__)


class Measuring(Conflict):
    code = "dataset_measuring"

    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            f"The tokens of dataset {dataset_id!r} are being counted; try again in a moment.",
            current="measuring",
            allowed=[],
            retry_after_seconds=5,
        )


class NotMeasured(Invalid):
    code = "dataset_not_measured"


def tokenizer_hashes(model_path: Path) -> list[str | None]:
    """Hash every file that determines the tokens of a row."""
    return [sha256_of(model_path / name) for name in _TOKENIZER]


def not_measured(failed: ChildFailed) -> NotMeasured:
    if failed.status == REFUSED:
        return NotMeasured(failed.said.strip())
    if failed.status == -TOO_SLOW:
        return NotMeasured("These rows take far too long with this template: check its loops.")
    return NotMeasured("The tokens of this dataset could not be counted with this model.")


@dataclass(frozen=True)
class LengthsRequest:
    dataset_id: str
    fingerprint: str
    """Hash of all that the dataset's rows derive from."""
    model_path: Path
    template: str
    chat_template: str | None
    """Replaces the model's own."""
    train_on: str

    @property
    def key(self) -> str:
        """Hash of everything the numbers depend on, and nothing else."""
        hashes = tokenizer_hashes(self.model_path)
        kind = "chat" if self.chat_template else self.template
        parts = [VERSION, self.fingerprint, hashes, kind, self.chat_template, self.train_on]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class TokenLengths(StoredResults):
    """Counts in children, at most two at a time; a second request for a key shares the first's."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, "measure", AT_A_TIME)

    def of(self, request: LengthsRequest) -> "Measured":
        """Raises Measuring if it takes longer than a request should; the counting continues."""
        try:
            return _load(self.get(store_keys.lengths(request.key), partial(self._measure, request)))
        except StillRunning:
            raise Measuring(request.dataset_id) from None

    def _measure(self, request: LengthsRequest, out: Path) -> None:
        speech = out.with_name("chat_template.jinja")
        if request.chat_template is not None:
            speech.write_text(request.chat_template, encoding="utf-8")
        model = request.model_path.absolute()
        arguments = (model, request.template, speech, request.train_on, out)
        rows = all_rows(self.storage, request.dataset_id)
        try:
            child.run("app.core.datasets.tokens.measure", arguments, rows)
        except ChildFailed as failed:
            _log.warning("measure_failed", dataset_id=request.dataset_id, said=failed.said)
            raise not_measured(failed) from failed


def _load(data: bytes) -> "Measured":
    # Imported here: an API that counts nothing need not load numpy.
    import numpy as np

    from app.core.datasets.tokens.lengths import Measured

    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Measured(*(arrays[name] for name in Measured._fields))


def sha256_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
