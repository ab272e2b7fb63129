"""One thing that `tunesmith doctor` has found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    verdict: Literal["ok", "note", "bad"]
    """`bad`: something will not work; `note`: for information."""
    subject: str
    text: str
