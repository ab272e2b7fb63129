"""Invalid rows of a dataset that a job skips: how many it may skip, and which they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.datasets import bad_rows
from app.core.datasets.bad_rows import Found
from app.core.db.models import Dataset
from app.core.events.log import Entry
from app.core.jobs.failures import TooManySkipped

CODE = TooManySkipped.code
HINT = TooManySkipped.hint
SHOWN_ROWS = 100


@dataclass(frozen=True)
class Skipped:
    """The rows of one dataset that `on_invalid_row: skip` leaves out."""

    dataset_id: str
    num_rows: int
    num_skipped: int

    @classmethod
    def of(cls, dataset: Dataset) -> "Skipped":
        """Count the invalid rows of a dataset that has been validated."""
        rows, good = dataset.num_rows or 0, dataset.num_valid_rows or 0
        return cls(dataset.id, rows, rows - good)

    @property
    def share(self) -> float:
        return self.num_skipped / self.num_rows if self.num_rows else 0.0

    def objection(self, max_share: float) -> str | None:
        """Return an error message if the share exceeds what the job allows, else None."""
        if self.share <= max_share:
            return None
        return (
            f"{self.num_skipped:,} of the {self.num_rows:,} rows of dataset {self.dataset_id!r} "
            f"({self.share:.1%}) would be skipped; `max_skip_share` allows {max_share:.1%}."
        )

    def entry(self, found: Sequence[Found]) -> Entry:
        """Return the event that lists the rows, from the errors in the dataset's report."""
        rows = bad_rows.rows(found)
        data = {
            "code": "rows_skipped",
            "pointer": "/on_invalid_row",
            "hint": f"GET /datasets/{self.dataset_id}/report shows what is wrong with each.",
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
