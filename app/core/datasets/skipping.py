"""Rows of a dataset that a job leaves out: how many may be, and which they were."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.datasets import bad_rows
from app.core.datasets.bad_rows import Found
from app.core.db.models import Dataset
from app.core.events.log import Entry

CODE = "too_many_rows_skipped"
HINT = "Repair the rows, or raise `max_skip_share` if the rest is what you want to train on."
SHOWN_ROWS = 100


@dataclass(frozen=True)
class Skipped:
    """Of one dataset, under `on_invalid_row: skip`."""

    dataset_id: str
    num_rows: int
    num_skipped: int

    @classmethod
    def of(cls, dataset: Dataset) -> "Skipped":
        """A dataset that was judged."""
        rows, good = dataset.num_rows or 0, dataset.num_valid_rows or 0
        return cls(dataset.id, rows, rows - good)

    @property
    def share(self) -> float:
        return self.num_skipped / self.num_rows if self.num_rows else 0.0

    def objection(self, max_share: float) -> str | None:
        """A sentence where the share is over what the job allows."""
        if self.share <= max_share:
            return None
        return (
            f"{self.num_skipped:,} of the {self.num_rows:,} rows of dataset {self.dataset_id!r} "
            f"({self.share:.1%}) would be skipped; `max_skip_share` allows {max_share:.1%}."
        )

    def entry(self, found: Sequence[Found]) -> Entry:
        """The event that names the rows, from the errors of the dataset's report."""
        rows = bad_rows.rows(found)
        data = {
            "code": "rows_skipped",
            "pointer": "/on_invalid_row",
            "hint": f"GET /datasets/{self.dataset_id}/report says what is wrong with each.",
            "dataset": self.dataset_id,
            "num_skipped": self.num_skipped,
            "num_rows": self.num_rows,
            "share": round(self.share, 6),
            "rows": rows[:SHOWN_ROWS],
            "rows_truncated": self.num_skipped > len(rows[:SHOWN_ROWS]),
        }
        message = (
            f"{self.num_skipped:,} of the {self.num_rows:,} rows of dataset {self.dataset_id!r} "
            f"are skipped: they cannot be trained on."
        )
        return Entry("warning", message, "warning", data)
