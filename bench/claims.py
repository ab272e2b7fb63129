"""Claims per second with eight concurrent claimers: SKIP LOCKED against one lock around each claim.

Both sides write the same rows (job, attempt, event); they differ only in how claimers are isolated.
"""

import threading
import time
from collections.abc import Callable

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.core.db.models import NOW, Dataset, Job
from app.core.db.session import Sessions, transaction
from app.core.ids import new_id
from app.core.jobs import lifecycle
from app.core.settings import DEFAULT_PROJECT
from bench.rounds import Side, compare
from bench.servers import fresh_database

JOBS = 400
CLAIMERS = 8

Claim = Callable[[Session], bool]


def main() -> None:
    with fresh_database() as sessions:
        compare(
            "claims",
            Side("skip_locked", lambda: rate(sessions, with_skip_locked)),
            Side("one_lock", lambda: rate(sessions, behind_one_lock)),
            "claims/s",
        )


def with_skip_locked(session: Session) -> bool:
    return lifecycle.claim(session, queue="default", worker_id="bench", seconds=60) is not None


def behind_one_lock(session: Session) -> bool:
    session.execute(text("SELECT pg_advisory_xact_lock(1)"))
    return with_skip_locked(session)


def rate(sessions: Sessions, claim: Claim) -> float:
    fill(sessions)
    threads = [threading.Thread(target=drain, args=(sessions, claim)) for _ in range(CLAIMERS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    with sessions() as session:
        assert session.scalar(select(Job.id).where(Job.status == "queued").limit(1)) is None
    return JOBS / seconds


def drain(sessions: Sessions, claim: Claim) -> None:
    while True:
        with transaction(sessions) as session:
            if not claim(session):
                return


def fill(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        session.execute(text("TRUNCATE jobs CASCADE"))
        dataset = Dataset(
            id=new_id("ds"), project_id=DEFAULT_PROJECT, owner_id="bench", name="bench",
            status="ready", format="json", num_bytes=1, sha256="0" * 64,
        )  # fmt: skip
        session.add(dataset)
        session.flush()
        session.add_all(
            Job(
                id=new_id("job"), project_id=DEFAULT_PROJECT, owner_id="bench", model="bench",
                dataset_id=dataset.id, spec_version=1, spec={}, queue="default",
                status="queued", queued_at=NOW,
            )
            for _ in range(JOBS)
        )  # fmt: skip


if __name__ == "__main__":
    main()
