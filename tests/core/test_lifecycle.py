"""The only writer of a job's status, over all pairs of states and moves, and under contention."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.core.db.models import NOW, Attempt, Event, Job
from app.core.db.session import Sessions, transaction
from app.core.events import log
from app.core.events.log import Entry
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease, LeaseLost, NotCancellable
from app.core.jobs.status import ALLOWED, FINAL, JobStatus, check_transition
from app.core.jobs.status import IllegalTransition as Illegal
from tests.rows import make_dataset, make_job

FAILURE = {"class": "user", "code": "broken", "message": "It is broken."}
QUEUE = "default"


def job_in(session: Session, status: JobStatus) -> Lease:
    job = make_job(session, status=status, epoch=1, attempt=1, worker_id="worker-1")
    session.add(Attempt(job_id=job.id, epoch=1, attempt=1, worker_id="worker-1"))
    session.flush()
    return Lease(job.id, 1)


MOVES: dict[str, tuple[JobStatus, Callable[[Session, Lease], object]]] = {
    "admit": (JobStatus.QUEUED, lambda s, lease: lifecycle.admit(s, lease.job_id)),
    "reject": (JobStatus.FAILED, lambda s, lease: lifecycle.reject(s, lease.job_id, FAILURE)),
    "claim": (
        JobStatus.RUNNING,
        lambda s, _: lifecycle.claim(s, queue=QUEUE, worker_id="worker-2", seconds=60),
    ),
    "succeed": (
        JobStatus.SUCCEEDED,
        lambda s, lease: lifecycle.finish(s, lease, JobStatus.SUCCEEDED, artifact={"prefix": "x"}),
    ),
    "fail": (
        JobStatus.FAILED,
        lambda s, lease: lifecycle.finish(s, lease, JobStatus.FAILED, failure=FAILURE),
    ),
    "requeue": (
        JobStatus.QUEUED,
        lambda s, lease: lifecycle.requeue(s, lease, "lost", delay_seconds=0, is_counted=True),
    ),
    "cancel": (JobStatus.CANCELLED, lambda s, lease: lifecycle.cancel(s, lease.job_id)),
}
FROM = {
    "admit": {JobStatus.VALIDATING},
    "reject": {JobStatus.VALIDATING},
    "claim": {JobStatus.QUEUED},
    "succeed": {JobStatus.RUNNING},
    "fail": {JobStatus.RUNNING},
    "requeue": {JobStatus.RUNNING},
    # A running job is cancelled by its worker; see below.
    "cancel": {JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.PAUSED},
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("status", JobStatus)
def test_every_move_is_made_from_its_own_states_and_from_no_other(
    sessions: Sessions, status: JobStatus, move: str
) -> None:
    target, act = MOVES[move]
    with transaction(sessions) as session:
        lease = job_in(session, status)

    try:
        with transaction(sessions) as session:
            act(session, lease)
    except (LeaseLost, NotCancellable):
        assert status not in FROM[move]

    with transaction(sessions) as session:
        job = session.get_one(Job, lease.job_id)
        moved = status in FROM[move]
        assert job.status == (target if moved else status)
        said = [event.data["status"] for event in log.read(session, job.id)]
        asked = move == "cancel" and status is JobStatus.RUNNING
        assert said == [status] + ([target] if moved else [status] if asked else [])
        assert (job.finished_at is not None) == (moved and target in FINAL)


@pytest.mark.parametrize("source", JobStatus)
@pytest.mark.parametrize("to", JobStatus)
def test_the_table_is_asked_before_every_move(source: JobStatus, to: JobStatus) -> None:
    if to in ALLOWED[source]:
        check_transition(source, to)
    else:
        with pytest.raises(Illegal):
            check_transition(source, to)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_the_database_itself_refuses_to_leave_a_final_state(
    sessions: Sessions, status: JobStatus
) -> None:
    with transaction(sessions) as session:
        lease = job_in(session, status)

    with pytest.raises(IntegrityError), transaction(sessions) as session:
        session.execute(update(Job).where(Job.id == lease.job_id).values(status="queued"))


STALE_WRITES: dict[str, Callable[[Session, Lease], object]] = {
    "renew": lambda s, lease: lifecycle.renew(s, lease, 60),
    "record": lambda s, lease: lifecycle.record(s, lease, Entry("progress"), phase="training"),
    "succeed": MOVES["succeed"][1],
    "fail": MOVES["fail"][1],
    "requeue": MOVES["requeue"][1],
}


@pytest.mark.parametrize("write", STALE_WRITES)
@pytest.mark.parametrize("change", ["older epoch", "taken away", "taken again", "over"])
def test_no_write_of_a_worker_counts_after_it_lost_the_job(
    sessions: Sessions, write: str, change: str
) -> None:
    with transaction(sessions) as session:
        lease = job_in(session, JobStatus.RUNNING)
        if change == "older epoch":
            lease = Lease(lease.job_id, 0)
        if change.startswith("taken"):
            lifecycle.requeue(session, lease, "worker_lost", delay_seconds=0, is_counted=True)
        if change == "taken again":
            assert lifecycle.claim(session, queue=QUEUE, worker_id="worker-2", seconds=60)
        if change == "over":
            lifecycle.finish(session, lease, JobStatus.CANCELLED)
        before = session.get_one(Job, lease.job_id, populate_existing=True)
        session.refresh(before)
        seen = (before.status, before.epoch, before.last_seq, before.lease_until, before.phase)

    with pytest.raises(LeaseLost), transaction(sessions) as session:
        STALE_WRITES[write](session, lease)

    with transaction(sessions) as session:
        job = session.get_one(Job, lease.job_id)
        assert (job.status, job.epoch, job.last_seq, job.lease_until, job.phase) == seen


@pytest.mark.slow
def test_twenty_claimers_take_two_hundred_jobs_once_each(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        dataset = make_dataset(session)
        jobs = {make_job(session, dataset=dataset).id for _ in range(200)}
    taken: list[tuple[str, int]] = []

    def claim_all(number: int) -> None:
        while True:
            with transaction(sessions) as session:
                job = lifecycle.claim(session, queue=QUEUE, worker_id=f"w{number}", seconds=60)
            if job is None:
                return
            taken.append((job.id, job.epoch))

    threads = [threading.Thread(target=claim_all, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # SKIP LOCKED may show an empty queue to a claim made while all rows are locked.
    claim_all(20)
    assert Counter(taken) == Counter((job_id, 1) for job_id in jobs)


def test_claims_go_by_priority_then_age_and_keep_to_their_queue(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        old, new = make_job(session).id, make_job(session).id
        urgent = make_job(session, spec={"priority": 5}).id
        elsewhere = make_job(session)
        elsewhere.queue = "gpu"
        later = make_job(session)
        later.not_before = session.scalar(select(NOW + timedelta(hours=1)))

    order = []
    with transaction(sessions) as session:
        while job := lifecycle.claim(session, queue=QUEUE, worker_id="w", seconds=60):
            order.append(job.id)

    assert order == [urgent, old, new]


@pytest.mark.slow
def test_events_are_numbered_without_gaps_whoever_writes_them(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        lease = job_in(session, JobStatus.RUNNING)
    seen: list[list[int]] = []
    over = threading.Event()

    def write() -> None:
        for number in range(25):
            with transaction(sessions) as session:
                lifecycle.record(session, lease, Entry("metrics"), Entry("progress"))
                if number % 5 == 0:
                    session.rollback()

    def follow() -> None:
        """Read like a stream: events after the last number seen."""
        numbers: list[int] = []
        while not over.is_set():
            with transaction(sessions) as session:
                after = numbers[-1] if numbers else 0
                numbers += [event.seq for event in log.read(session, lease.job_id, after=after)]
        seen.append(numbers)

    writers = [threading.Thread(target=write) for _ in range(6)]
    follower = threading.Thread(target=follow)
    for thread in [*writers, follower]:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    follower.join()

    with transaction(sessions) as session:
        numbers = list(session.scalars(select(Event.seq).order_by(Event.seq)))
        last = session.get_one(Job, lease.job_id).last_seq
    assert numbers == list(range(1, 6 * 20 * 2 + 2))
    assert last == numbers[-1]
    assert seen[0] == numbers[: len(seen[0])], "a follower never sees a later number first"


def test_cancelling_a_running_job_tells_its_worker_once(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        lease = job_in(session, JobStatus.RUNNING)
    for _ in range(2):
        with transaction(sessions) as session:
            assert lifecycle.cancel(session, lease.job_id) is JobStatus.RUNNING

    with transaction(sessions) as session:
        assert lifecycle.renew(session, lease, 60) == "cancel"
        asked = [e for e in log.read(session, lease.job_id) if e.message == "cancel requested"]
    assert len(asked) == 1


@pytest.mark.parametrize("first", ["cancel", "finish"])
def test_of_a_cancel_and_a_finish_at_once_exactly_one_end_remains(
    sessions: Sessions, first: str
) -> None:
    """The second one waits for the row's lock and then sees the result of the first."""
    with transaction(sessions) as session:
        lease = job_in(session, JobStatus.RUNNING)
    other = threading.Thread(target=lambda: _quietly(sessions, lease, first != "cancel"))

    with transaction(sessions) as session:
        _end(session, lease, first == "cancel")
        other.start()
    other.join()

    with transaction(sessions) as session:
        job = session.get_one(Job, lease.job_id)
        ends = [e.data["status"] for e in log.read(session, job.id) if e.data["status"] in FINAL]
    assert ends == [job.status] == ["cancelled" if first == "cancel" else "succeeded"]


def _end(session: Session, lease: Lease, is_cancel: bool) -> None:
    to = JobStatus.CANCELLED if is_cancel else JobStatus.SUCCEEDED
    lifecycle.finish(session, lease, to)


def _quietly(sessions: Sessions, lease: Lease, is_cancel: bool) -> None:
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        _end(session, lease, is_cancel)


def test_a_claim_passes_over_a_job_that_another_is_taking(sessions: Sessions) -> None:
    with transaction(sessions) as session:
        jobs = [make_job(session).id for _ in range(2)]

    with transaction(sessions) as one, transaction(sessions) as other:
        other.execute(text("SET LOCAL lock_timeout = '200ms'"))
        taken = [
            lifecycle.claim(session, queue=QUEUE, worker_id="w", seconds=60)
            for session in (one, other)
        ]

    assert [job and job.id for job in taken] == jobs
