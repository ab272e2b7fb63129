"""Validation of uploads, and what the result means for jobs that wait for it."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError
from sqlalchemy import select, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.datasets.validate import Verdict, validate_in_child
from app.core.db.models import NOW, Dataset, Job
from app.core.db.session import Sessions, transaction
from app.core.events.notifier import Notifier
from app.core.ids import new_id
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from app.core.storage import Storage, open_storage
from tests.rows import ROWS, make_dataset, make_job
from worker.housekeeper.intake import MAX_FAILURES, Intake
from worker.housekeeper.repeated import repeated


class Heard:
    """A queue that records which queues were woken."""

    def __init__(self) -> None:
        self.queues: list[str] = []

    def wake(self, queue: str) -> None:
        self.queues.append(queue)


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings)


@pytest.fixture
def intake(settings: Settings, sessions: Sessions, storage: Storage) -> Intake:
    return Intake(settings, sessions, storage, Heard(), Notifier(str(settings.redis_url)))


def upload(sessions: Sessions, storage: Storage, content: bytes = ROWS) -> str:
    with transaction(sessions) as session:
        dataset = make_dataset(session, status="validating")
        dataset.format = "auto"
        storage.write(f"datasets/{dataset.id}/upload", [content])
        return dataset.id


def job_on(sessions: Sessions, dataset_id: str, **spec: Any) -> str:
    with transaction(sessions) as session:
        dataset = session.get_one(Dataset, dataset_id)
        return make_job(session, dataset=dataset, status=JobStatus.VALIDATING, spec=spec).id


def test_a_good_upload_becomes_ready_and_its_jobs_are_queued(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage)
    job_id = job_on(sessions, dataset_id)

    assert intake.take_one()
    assert not intake.take_one()

    with transaction(sessions) as session:
        dataset = session.get_one(Dataset, dataset_id)
        assert (dataset.status, dataset.num_rows, dataset.num_valid_rows) == ("ready", 4, 4)
        assert dataset.validated_at is not None
        assert session.get_one(Job, job_id).status == JobStatus.QUEUED
    assert storage.exists(f"datasets/{dataset_id}/rows.jsonl")
    assert storage.exists(f"datasets/{dataset_id}/report.json")
    assert isinstance(intake.queue, Heard)
    assert intake.queue.queues == ["default"]


BAD = ROWS + b'{"instruction": 7, "output": null}\n'


@pytest.mark.parametrize(
    ("content", "spec", "code"),
    [
        (BAD, {}, "dataset_invalid"),
        (BAD, {"on_invalid_row": "skip", "max_skip_share": 0.2}, None),
        (BAD, {"on_invalid_row": "skip"}, "too_many_rows_skipped"),
        (b"\x00\xff nothing", {"on_invalid_row": "skip"}, "dataset_invalid"),
    ],
)
def test_a_bad_upload_fails_its_jobs_unless_they_skip_bad_rows(
    intake: Intake,
    sessions: Sessions,
    storage: Storage,
    content: bytes,
    spec: dict[str, Any],
    code: str | None,
) -> None:
    dataset_id = upload(sessions, storage, content)
    job_id = job_on(sessions, dataset_id, **spec)

    intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Dataset, dataset_id).status == "invalid"
        job = session.get_one(Job, job_id)
        assert job.status == (JobStatus.FAILED if code else JobStatus.QUEUED)
        if code:
            assert job.failure is not None
            assert job.failure["code"] == code
            assert job.failure["hint"]


def test_a_job_waits_while_the_store_is_away_and_the_report_cannot_be_read(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage, BAD)
    intake.take_one()
    job_id = job_on(sessions, dataset_id)
    intake.storage = Broken(GenericError("503"))

    assert not intake.take_one()
    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.VALIDATING
    intake.storage = storage
    intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.FAILED


def split(sessions: Sessions, storage: Storage, *contents: bytes) -> str:
    """An import of several files, stored like one from the Hub."""
    with transaction(sessions) as session:
        dataset = make_dataset(session, status="validating")
        dataset.format = "auto"
        names = [f"data/train-{number}.jsonl" for number in range(2)]
        dataset.source = {"type": "hub", "files": [{"path": name} for name in names]}
        for number, content in enumerate(contents):
            storage.write(f"datasets/{dataset.id}/files/{number:05}", [content])
        return dataset.id


def test_the_files_of_an_import_are_one_dataset(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = split(sessions, storage, ROWS, BAD)

    intake.take_one()

    with transaction(sessions) as session:
        dataset = session.get_one(Dataset, dataset_id)
        assert (dataset.status, dataset.num_rows, dataset.num_valid_rows) == ("invalid", 9, 8)
    stored = b"".join(storage.read(f"datasets/{dataset_id}/problems.jsonl")).splitlines()
    found = [json.loads(line) for line in stored]
    errors = [(p["row"], p["line"], p["file"]) for p in found if p["severity"] == "error"]
    assert errors == [(8, 5, "data/train-1.jsonl")] * 2


def test_an_import_that_lacks_a_file_is_not_judged(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = split(sessions, storage, ROWS)

    intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Dataset, dataset_id).status == "invalid"
    assert codes(storage, dataset_id) == ["validator_crashed"]


def test_a_job_waits_for_both_of_its_datasets(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    first = upload(sessions, storage)
    held_out = upload(sessions, storage)
    job_id = job_on(sessions, first, validation={"dataset": held_out})

    intake.take_one()
    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.VALIDATING
    intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.QUEUED


def test_many_jobs_that_wait_for_a_dataset_do_not_hide_the_one_that_can_go(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    with transaction(sessions) as session:
        ready = make_dataset(session)
        held_out = make_dataset(session, status="validating")
        held_out.lease_until = session.scalar(select(NOW + timedelta(hours=1)))
        waits = {"validation": {"dataset": held_out.id}}
        for _ in range(100):
            make_job(session, dataset=ready, status=JobStatus.VALIDATING, spec=waits)
    job_id = job_on(sessions, ready.id)

    assert intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.QUEUED
    assert not intake.take_one()


def test_a_job_that_came_just_after_the_verdict_is_not_forgotten(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage)
    intake.take_one()
    job_id = job_on(sessions, dataset_id)

    assert intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).status == JobStatus.QUEUED


def test_an_upload_is_taken_by_one_until_its_claim_runs_out(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage)
    begun, go = threading.Event(), threading.Event()
    verdict = Verdict(True, "alpaca", 1, 1)

    def slow(_upload: Path, out: Path, _settings: Settings, **_: object) -> Verdict:
        (out / "rows.jsonl").write_bytes(b"{}\n")
        begun.set()
        assert go.wait(10)
        return verdict

    intake.validate = slow
    thread = threading.Thread(target=intake.take_one)
    thread.start()
    assert begun.wait(10)
    assert not intake.take_one()
    go.set()
    thread.join()
    with transaction(sessions) as session:
        assert session.get_one(Dataset, dataset_id).status == "ready"


def test_the_upload_of_a_killed_housekeeper_is_taken_again(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage)
    left = {"lease_until": NOW - timedelta(seconds=1), "progress": {"fraction": 0.9, "rows": 9}}
    with transaction(sessions) as session:
        session.execute(update(Dataset).values(**left))
    seen = []

    def look(*arguments: Any, **more: Any) -> Verdict:
        with transaction(sessions) as session:
            seen.append(session.get_one(Dataset, dataset_id).progress)
        return validate_in_child(*arguments, **more)

    intake.validate = look
    assert intake.take_one()

    assert seen == [None], "the progress of another process"
    with transaction(sessions) as session:
        assert session.scalars(select(Dataset.status)).all() == ["ready"]
        assert session.get_one(Dataset, dataset_id).lease_until is None


def test_a_dataset_deleted_while_it_is_judged_leaves_nothing_in_the_store(
    intake: Intake, sessions: Sessions, storage: Storage
) -> None:
    dataset_id = upload(sessions, storage)

    def deleted_meanwhile(_upload: Path, out: Path, _settings: Settings, **_: object) -> Verdict:
        (out / "rows.jsonl").write_bytes(b"{}\n")
        storage.delete_all(f"datasets/{dataset_id}/")
        with transaction(sessions) as session:
            session.execute(update(Dataset).values(deleted_at=NOW, status="invalid"))
        return Verdict(True, "alpaca", 1, 1)

    intake.validate = deleted_meanwhile
    intake.take_one()

    assert list(storage.keys("datasets/")) == []
    with transaction(sessions) as session:
        assert session.get_one(Dataset, dataset_id).status == "invalid"


class Broken(Storage):
    """A store that is unavailable."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        raise self._error


@pytest.mark.parametrize("error", [GenericError("503"), OSError(28, "disk full"), TimeoutError()])
def test_an_outage_of_the_store_costs_no_dataset_its_validity(
    intake: Intake, sessions: Sessions, storage: Storage, error: Exception
) -> None:
    dataset_id = upload(sessions, storage)
    intake.storage = Broken(error)
    for _ in range(MAX_FAILURES + 1):
        assert intake.take_one()
        assert not intake.take_one(), "not before the claim has expired"
        with transaction(sessions) as session:
            assert session.get_one(Dataset, dataset_id).status == "validating"
            session.execute(update(Dataset).values(lease_until=NOW - timedelta(seconds=1)))

    intake.storage = storage
    intake.take_one()

    with transaction(sessions) as session:
        assert session.get_one(Dataset, dataset_id).status == "ready"


@pytest.mark.parametrize(
    "error",
    [PoolTimeout(), OperationalError("", None, OSError()), InterfaceError("", None, OSError())],
)
def test_an_outage_of_the_database_costs_no_dataset_its_validity(
    intake: Intake, sessions: Sessions, storage: Storage, error: Exception
) -> None:
    dataset_id = upload(sessions, storage)

    def away(*_: object, **__: object) -> Verdict:
        raise error

    intake.validate = away
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(type(error)):
            intake.take_one()
        with transaction(sessions) as session:
            assert session.get_one(Dataset, dataset_id).status == "validating"
            session.execute(update(Dataset).values(lease_until=NOW - timedelta(seconds=1)))


@pytest.mark.parametrize("error", [PoolTimeout(), InterfaceError("", None, OSError())])
def test_what_is_repeated_goes_on_through_an_outage_of_any_kind(error: Exception) -> None:
    went_on = threading.Event()
    calls = []

    def renew() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise error
        went_on.set()

    with repeated(renew, 0.01):
        assert went_on.wait(10)


def _gone(intake: Intake, sessions: Sessions, storage: Storage) -> int:
    storage.delete_all(f"datasets/{upload(sessions, storage)}/")
    return 1


def _crashing(intake: Intake, sessions: Sessions, storage: Storage) -> int:
    def crash(*_: object, **__: object) -> Verdict:
        raise RuntimeError(new_id("req"))

    intake.validate = crash
    upload(sessions, storage)
    return MAX_FAILURES


@pytest.mark.parametrize("fault", [_gone, _crashing])
def test_an_upload_that_cannot_be_judged_is_invalid_in_the_end(
    intake: Intake,
    sessions: Sessions,
    storage: Storage,
    fault: Callable[[Intake, Sessions, Storage], int],
) -> None:
    for _ in range(fault(intake, sessions, storage)):
        intake.take_one()
        with transaction(sessions) as session:
            session.execute(update(Dataset).values(lease_until=None))

    with transaction(sessions) as session:
        (judged,) = session.scalars(select(Dataset)).all()
    assert judged.status == "invalid"
    assert codes(storage, judged.id) == ["validator_crashed"]


def codes(storage: Storage, dataset_id: str) -> list[str]:
    report = json.loads(b"".join(storage.read(f"datasets/{dataset_id}/report.json")))
    return [each["code"] for each in report["problems"]]
