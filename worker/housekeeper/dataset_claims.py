"""Claims on datasets that housekeepers import or validate: one process at a time, under a lease.

If that process dies, the lease expires and another one does the work again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from app.core.datasets.status import DatasetStatus
from app.core.db.models import NOW, Dataset
from app.core.db.session import Sessions, transaction
from app.core.settings import Settings
from worker.housekeeper.repeated import repeated


@dataclass(frozen=True)
class Claims:
    settings: Settings
    sessions: Sessions

    def take(self, where: ColumnElement[bool]) -> Dataset | None:
        """Claim the oldest unclaimed dataset in `validating` that matches `where`, if any."""
        free = (Dataset.lease_until.is_(None)) | (Dataset.lease_until < NOW)
        oldest = (
            select(Dataset)
            .where(Dataset.status == DatasetStatus.VALIDATING, free, where)
            .order_by(Dataset.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with transaction(self.sessions) as session:
            dataset = session.scalar(oldest)
            if dataset is not None:
                dataset.progress = None  # left by a process that died
                self._hold(session, dataset.id)
        return dataset

    @contextmanager
    def held(self, dataset_id: str) -> Iterator[None]:
        """Renew the claim from a background thread while the block runs."""

        def renew() -> None:
            with transaction(self.sessions) as session:
                self._hold(session, dataset_id)

        with repeated(renew, self.settings.renew_seconds):
            yield

    def release(self, dataset_id: str, **values: Any) -> bool:
        """Write the result and give up the claim.

        Return False if the dataset was deleted meanwhile: objects stored for it may have been
        written after the deletion.
        """
        unfinished = (Dataset.id == dataset_id, Dataset.status == DatasetStatus.VALIDATING)
        is_deleted = select(Dataset.id).where(
            Dataset.id == dataset_id, Dataset.deleted_at.is_not(None)
        )
        with transaction(self.sessions) as session:
            session.execute(
                update(Dataset).where(*unfinished).values(lease_until=None, progress=None, **values)
            )
            return session.scalar(is_deleted) is None

    def _hold(self, session: Session, dataset_id: str) -> None:
        until = NOW + timedelta(seconds=self.settings.lease_seconds)
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(lease_until=until))
