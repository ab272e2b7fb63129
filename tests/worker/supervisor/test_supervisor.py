"""A job from claim to end, with a trainer that follows a script."""

import json
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.core.clock import utc_now
from app.core.db.models import NOW, Attempt, Checkpoint, Job, Metric
from app.core.db.session import transaction
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import JobStatus
from tests.faults import invariants
from tests.waiting import wait_until
from tests.worker.bench import Bench
from worker import processes
from worker.supervisor.supervisor import Supervisor


def test_a_job_that_trains_well_succeeds_and_publishes_its_artifact(bench: Bench) -> None:
    job_id = bench.submit("steps=3")

    assert bench.work() == 1

    job = bench.job(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.failure, job.status_reason)
    assert job.trained_tokens == 30
    assert job.environment == {"device": "fake"}
    assert job.metrics["train_loss"] == 1 / 3
    assert job.progress is not None
    assert job.progress["step"] == 3
    assert "hello from the trainer" in bench.log(job_id, 1)
    with transaction(bench.sessions) as session:
        steps = session.scalars(select(Metric.step).order_by(Metric.step)).all()
        assert steps == [1, 2, 3]
        assert session.scalars(select(Checkpoint.step).order_by(Checkpoint.step)).all() == steps
    moves = [event.data["status"] for event in bench.events(job_id, "status")]
    assert moves == ["queued", "running", "succeeded"]
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_trainer_killed_in_mid_step_goes_on_from_its_last_checkpoint(bench: Bench) -> None:
    job_id = bench.submit("steps=6 5:kill@1")

    bench.supervisor().drain()
    wait_until(lambda: bench.work() or bench.job(job_id).status == JobStatus.SUCCEEDED)

    job = bench.job(job_id)
    assert (job.attempt, job.infra_attempts) == (2, 1)
    warning = bench.events(job_id, "warning")[0]
    assert warning.data == {"code": "trainer_exit", "signal": 9}
    with transaction(bench.sessions) as session:
        rows = session.scalars(select(Attempt).order_by(Attempt.epoch)).all()
        assert [row.outcome for row in rows] == ["trainer_exit", "succeeded"]
        assert [row.resumed_from_step for row in rows] == [None, 4]
    steps = [event.data["step"] for event in bench.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 6]
    invariants.check(bench.settings, bench.sessions, [job_id])


@pytest.mark.parametrize(
    ("deed", "status", "code"),
    [
        ("2:fail=10,diverged,user", JobStatus.FAILED, "diverged"),
        ("2:fail=11,prompt_too_long,user", JobStatus.FAILED, "prompt_too_long"),
        ("2:fail=20,oom_gpu,capacity", JobStatus.FAILED, "oom_gpu"),
        ("2:exit=10", JobStatus.FAILED, "trainer_refused"),
        ("2:exit=21", JobStatus.FAILED, "oom_host"),
        ("2:fail=30,disk_full,system", JobStatus.QUEUED, "disk_full"),
        ("2:exit=30", JobStatus.QUEUED, "trainer_exit"),
        ("2:exit=7", JobStatus.QUEUED, "trainer_exit"),
        ("2:exit=0", JobStatus.QUEUED, "trainer_exit"),
        ("2:exit=40", JobStatus.QUEUED, "drained"),
        ("2:exit=41", JobStatus.QUEUED, "trainer_exit"),
        ("2:segv", JobStatus.QUEUED, "trainer_exit"),
    ],
)
def test_how_a_trainer_ends_decides_whether_its_job_fails_or_waits_again(
    bench: Bench, deed: str, status: JobStatus, code: str
) -> None:
    job_id = bench.submit(f"steps=3 {deed}")

    bench.work(retry_base_seconds=600.0)

    job = bench.job(job_id)
    assert (job.status, job.status_reason) == (status, code)
    if status is JobStatus.FAILED:
        assert job.failure is not None
        assert job.failure["code"] == code
        assert job.failure["hint"]
    invariants.check(bench.settings, bench.sessions, [job_id])


@pytest.mark.slow
def test_a_job_that_always_crashes_before_a_checkpoint_is_poison(bench: Bench) -> None:
    job_id = bench.submit("steps=3 save=0 2:segv", limits={"max_retries": 10})

    wait_until(lambda: bench.work(retry_base_seconds=0.0) == 0)

    job = bench.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 3)
    assert job.failure is not None
    assert job.failure["code"] == "poison"
    assert "SIGSEGV" in job.failure["message"]


@pytest.mark.parametrize(
    ("script", "attempts", "code"),
    [
        ("steps=3 save=0 2:crash=KeyError", 2, "internal_error"),
        ("steps=3 save=0 1:exit=40@1 2:crash=KeyError", 3, "internal_error"),
        ("steps=3 save=0 2:crash=KeyError@1 2:crash=ValueError", 3, "internal_error"),
        ("steps=3 save=0 2:kill@1 2:crash=KeyError@2 2:kill", 3, "poison"),
    ],
)
def test_what_fails_twice_with_the_same_exception_is_told_with_its_text(
    bench: Bench, script: str, attempts: int, code: str
) -> None:
    job_id = bench.submit(script, limits={"max_retries": 10})

    for _ in range(attempts):
        bench.work(retry_base_seconds=0.0)
        with transaction(bench.sessions) as session:
            session.execute(update(Job).values(not_before=None))

    job = bench.job(job_id)
    assert (job.status, job.attempt, job.status_reason) == (JobStatus.FAILED, attempts, code)
    assert job.failure is not None
    assert job.failure["evidence"]
    assert job.failure["retryable"] is False
    if code == "internal_error":
        name = "ValueError" if "ValueError" in script else "KeyError"
        assert job.failure["evidence"].startswith(f"{name}: in run {job.epoch}")
        assert job.failure["message"].startswith(f"Two attempts ended in the same way: {name}")


def test_a_job_whose_worker_has_lost_its_device_waits_for_another_worker(bench: Bench) -> None:
    job_id = bench.submit("steps=3 2:fail=30,device_missing,system@1", limits={"max_retries": 0})
    supervisor = bench.supervisor()
    stopped = replace(supervisor.workplace, stop_claiming=bench.draining.set)

    assert replace(supervisor, workplace=stopped).drain() == 1

    job = bench.job(job_id)
    assert (job.status, job.status_reason) == (JobStatus.QUEUED, "device_missing")
    assert job.infra_attempts == 0
    assert bench.draining.is_set()
    bench.draining.clear()
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(not_before=None))
    assert bench.work() == 1
    assert bench.job(job_id).status == JobStatus.SUCCEEDED
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_job_that_gets_further_each_time_ends_after_its_retries(bench: Bench) -> None:
    job_id = bench.submit("steps=9 2:kill 4:kill 6:kill 8:kill", limits={"max_retries": 2})

    wait_until(lambda: bench.work(retry_base_seconds=0.0) == 0)

    job = bench.job(job_id)
    # It commits steps 1, 3, 5 and dies at 2, 4, 6, but never twice at the same step.
    assert (job.status, job.status_reason) == (JobStatus.FAILED, "trainer_exit")
    assert job.attempt == 3
    invariants.check(bench.settings, bench.sessions, [job_id])


def _start_and_wait(bench: Bench, script: str, **spec: object) -> tuple[str, int]:
    """A job whose trainer waits for the test, and the trainer's pid."""
    job_id = bench.submit(script, **spec)
    bench.start()
    wait_until(lambda: bench.events(job_id, "progress"))
    token = _token(bench.settings.runs_dir / job_id / "1")
    return job_id, wait_until(lambda: processes.with_token(token))[0]


def _token(run_dir: Path) -> str:
    return str(json.loads((run_dir / "process.json").read_text())["token"])


@pytest.mark.slow
@pytest.mark.parametrize("script", ["2:wait", "1:deaf 1:child 2:wait", "1:child 2:hang"])
def test_a_cancel_ends_the_whole_process_group(bench: Bench, script: str) -> None:
    bench.settings = bench.settings.model_copy(update={"stop_grace_seconds": 1.0})
    job_id, pid = _start_and_wait(bench, f"pause=0.3 {script}")

    with transaction(bench.sessions) as session:
        assert lifecycle.cancel(session, job_id) is JobStatus.RUNNING

    wait_until(lambda: bench.job(job_id).status == JobStatus.CANCELLED, timeout=5)
    assert not processes.group_members(pid)
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_cancel_that_outlives_its_worker_is_carried_out_by_the_next(bench: Bench) -> None:
    job_id = bench.submit("2:wait")
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="gone", seconds=0)
        assert job is not None
        lifecycle.cancel(session, job_id)
        lease = Lease(job_id, job.epoch)
        lifecycle.requeue(session, lease, "drained", delay_seconds=0, is_counted=False)

    bench.work()

    assert bench.job(job_id).status == JobStatus.CANCELLED
    assert bench.events(job_id, "artifact") == []


def test_a_cancel_that_comes_while_publishing_hides_the_artifact(bench: Bench) -> None:
    job_id = bench.submit("steps=1")
    with transaction(bench.sessions) as session:
        session.get_one(Job, job_id).desired = "cancel"

    bench.work()

    job = bench.job(job_id)
    assert (job.status, job.artifact) == (JobStatus.CANCELLED, None)
    invariants.check(bench.settings, bench.sessions, [job_id])


@pytest.mark.slow
def test_a_trainer_that_hangs_is_stopped_and_tried_again(bench: Bench) -> None:
    job_id = bench.submit("steps=3 2:hang@1")

    wait_until(lambda: bench.work(stall_seconds=0.7, stop_grace_seconds=0.3) == 0, timeout=20)
    wait_until(lambda: bench.work() or bench.job(job_id).status == JobStatus.SUCCEEDED)

    with transaction(bench.sessions) as session:
        rows = session.scalars(select(Attempt.outcome).order_by(Attempt.epoch)).all()
    assert rows == ["stalled", "succeeded"]


@pytest.mark.slow
def test_a_trainer_that_stalled_and_then_saved_has_stalled(bench: Bench) -> None:
    """Also when it has got on since: what it was stopped for is remembered."""
    job_id = bench.submit("steps=3 save=0 2:quiet")
    bench.start(stall_seconds=0.7, retry_base_seconds=600.0)
    wait_until(lambda: bench.events(job_id, "checkpoint"))

    (bench.settings.runs_dir / job_id / "go").touch()

    wait_until(lambda: bench.job(job_id).status == JobStatus.QUEUED)
    assert bench.job(job_id).status_reason == "stalled"


def test_time_of_earlier_attempts_counts_towards_the_limit(bench: Bench) -> None:
    job_id = bench.submit("steps=40 pause=0.1 save=0", limits={"max_seconds": 60})
    hours = {"started_at": NOW - timedelta(hours=2), "ended_at": NOW - timedelta(hours=1)}
    with transaction(bench.sessions) as session:
        earlier = Attempt(job_id=job_id, epoch=0, attempt=0, worker_id="worker-0", **hours)
        session.add(earlier)

    bench.work()

    job = bench.job(job_id)
    assert (job.status, job.status_reason) == (JobStatus.FAILED, "deadline_exceeded")


def published(job: Job) -> tuple[str, int, str]:
    assert job.artifact is not None, job.failure
    return job.status, job.artifact["step"], job.artifact["stopped_by"]


def test_a_job_past_its_time_publishes_its_last_checkpoint(bench: Bench) -> None:
    job_id = bench.submit("save=0 2:wait", limits={"max_seconds": 1})

    bench.work()

    job = bench.job(job_id)
    assert published(job) == (JobStatus.SUCCEEDED, 2, "deadline")
    assert (job.status_reason, job.failure, job.attempt) == (None, None, 1)
    assert bench.events(job_id, "error") == []
    (event,) = bench.events(job_id, "artifact")
    assert (event.data["step"], event.data["stopped_by"]) == (2, "deadline")
    with transaction(bench.sessions) as session:
        assert session.scalars(select(Checkpoint.step)).all() == [2]
    assert bench.log(job_id, 1).count("hello from the trainer") == 2
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_of_a_trainer_that_is_killed_past_its_time_the_last_checkpoint_is_published(
    bench: Bench,
) -> None:
    job_id = bench.submit("steps=5 3:hang", limits={"max_seconds": 1})

    bench.work(stop_grace_seconds=0.3)

    assert published(bench.job(job_id)) == (JobStatus.SUCCEEDED, 2, "deadline")


def test_publishing_past_the_time_is_tried_again_after_a_crash(bench: Bench) -> None:
    """The second attempt begins past the deadline, with nothing left to train."""
    job_id = bench.submit("save=0 2:wait 0:kill@1", limits={"max_seconds": 1})

    wait_until(lambda: bench.work(retry_base_seconds=0.0) == 0, timeout=20)
    wait_until(lambda: bench.work() or bench.job(job_id).status == JobStatus.SUCCEEDED)

    job = bench.job(job_id)
    assert published(job) == (JobStatus.SUCCEEDED, 2, "deadline")
    assert job.attempt == 2
    assert [each.data["step"] for each in bench.events(job_id, "checkpoint")] == [2]


def test_a_job_can_be_cancelled_while_it_publishes_past_its_time(bench: Bench) -> None:
    job_id = bench.submit("save=0 2:wait 0:wait", limits={"max_seconds": 1})
    bench.start()
    wait_until(lambda: len(bench.events(job_id, "checkpoint")) == 1)
    log = bench.settings.runs_dir / job_id / "1" / "trainer.log"
    wait_until(lambda: log.read_text().count("hello") == 2)

    with transaction(bench.sessions) as session:
        lifecycle.cancel(session, job_id)

    wait_until(lambda: bench.job(job_id).status == JobStatus.CANCELLED)
    assert bench.job(job_id).artifact is None


def test_a_job_past_its_time_that_trained_nothing_fails(bench: Bench) -> None:
    job_id = bench.submit("steps=5 save=0 1:hang", limits={"max_seconds": 1})

    bench.work(stop_grace_seconds=0.3)

    job = bench.job(job_id)
    assert (job.status, job.status_reason) == (JobStatus.FAILED, "deadline_exceeded")


def test_a_drain_that_comes_when_the_artifact_is_there_does_not_throw_it_away(
    bench: Bench,
) -> None:
    job_id = bench.submit("steps=2")
    artifact = bench.settings.runs_dir / job_id / "1" / "artifact" / "manifest.json"
    workplace = replace(bench.supervisor().workplace, should_drain=artifact.exists)

    assert Supervisor(workplace, "worker-1").drain() == 1

    job = bench.job(job_id)
    assert (job.status, job.epoch) == (JobStatus.SUCCEEDED, 1)
    invariants.check(bench.settings, bench.sessions, [job_id])


@pytest.mark.slow
def test_a_job_that_runs_out_of_time_after_its_last_step_succeeds(bench: Bench) -> None:
    job_id = bench.submit("steps=1 2:wait", limits={"max_seconds": 2})
    bench.start()
    wait_until(lambda: bench.job(job_id).phase == "finalizing")

    started_at = bench.job(job_id).started_at
    assert started_at is not None
    wait_until(lambda: utc_now() - started_at > timedelta(seconds=2.3))
    (bench.settings.runs_dir / job_id / "go").touch()

    wait_until(lambda: bench.job(job_id).finished_at)
    assert bench.job(job_id).status == JobStatus.SUCCEEDED


def test_a_drain_commits_a_checkpoint_and_counts_no_attempt(bench: Bench) -> None:
    job_id, _ = _start_and_wait(bench, "save=0 2:wait")

    bench.draining.set()
    wait_until(lambda: bench.job(job_id).status == JobStatus.QUEUED)
    bench.draining.clear()
    (bench.settings.runs_dir / job_id / "go").touch()
    bench.work()

    job = bench.job(job_id)
    assert (job.status, job.attempt, job.infra_attempts) == (JobStatus.SUCCEEDED, 2, 0)
    with transaction(bench.sessions) as session:
        rows = session.scalars(select(Attempt).order_by(Attempt.epoch)).all()
        assert [(r.outcome, r.resumed_from_step) for r in rows] == [
            ("drained", None),
            ("succeeded", 2),
        ]
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_worker_whose_lease_was_taken_kills_its_trainer_and_writes_nothing(bench: Bench) -> None:
    job_id, pid = _start_and_wait(bench, "2:wait")
    with transaction(bench.sessions) as session:
        lifecycle.requeue(
            session, Lease(job_id, 1), "worker_lost", delay_seconds=600, is_counted=True
        )
        seq = session.get_one(Job, job_id).last_seq

    wait_until(lambda: not processes.group_members(pid), timeout=5)

    bench.draining.set()
    assert bench.job(job_id).last_seq == seq
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_garbage_among_the_reports_is_left_out_and_told(bench: Bench) -> None:
    job_id = bench.submit("steps=3 2:garbage")

    bench.work()

    assert bench.job(job_id).status == JobStatus.SUCCEEDED
    warnings = bench.events(job_id, "warning")
    assert [event.message for event in warnings] == [
        "nul  here",
        "unreadable reports were ignored",
    ]
    assert warnings[0].data == {"x": None}
    assert warnings[1].data["num_lines"] == 7


def test_giant_and_binary_output_is_cut_capped_and_rid_of_secrets(bench: Bench) -> None:
    cap = 500_000
    job_id = bench.submit("steps=2 1:shout=20 2:shout=1")

    bench.work(max_log_bytes=cap)

    assert bench.job(job_id).status == JobStatus.SUCCEEDED
    log = bench.log(job_id, 1)
    assert "[line cut]" in log
    assert "[redacted]" in log
    assert "hunter2secret" not in log
    assert "hf_q" not in log
    assert len(log.encode()) <= cap + 200


def test_output_past_the_cap_is_counted(bench: Bench) -> None:
    job_id = bench.submit("steps=1 1:shout=2")

    bench.work(max_log_bytes=1000)

    log = bench.log(job_id, 1)
    assert len(log.encode()) < 1200
    assert "more bytes were dropped]" in log


def test_a_flood_of_reports_becomes_few_events_and_all_of_the_metrics(bench: Bench) -> None:
    job_id = bench.submit("steps=2 2:flood=3000")

    bench.work()

    with transaction(bench.sessions) as session:
        assert len(session.scalars(select(Metric.step)).all()) == 3002
    assert len(bench.events(job_id, "metrics")) < 100
    assert len(bench.events(job_id, "progress")) < 20


def test_the_trainer_sees_no_secret_in_its_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", "postgresql://u:canary@h/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("HF_TOKEN", "canary")
    job_id = bench.submit("steps=1 1:secrets")

    bench.work()

    log = bench.log(job_id, 1)
    assert "TUNESMITH_REPORT_FD" in log
    for name in ("DATABASE_URL", "AWS_SECRET", "HF_TOKEN", "REDIS"):
        assert name not in log


def test_an_artifact_that_is_not_what_was_reported_is_not_published(bench: Bench) -> None:
    job_id = bench.submit("steps=1 2:tamper@1")

    bench.work()
    wait_until(lambda: bench.work() or bench.job(job_id).status == JobStatus.SUCCEEDED)

    with transaction(bench.sessions) as session:
        rows = session.scalars(select(Attempt.outcome).order_by(Attempt.epoch)).all()
    assert rows == ["artifact_invalid", "succeeded"]


def test_an_artifact_of_which_one_byte_changed_ends_the_attempt_and_is_not_stored(
    bench: Bench,
) -> None:
    job_id = bench.submit("steps=1 2:flip")

    bench.work(retry_base_seconds=600.0)

    job = bench.job(job_id)
    assert (job.status, job.status_reason) == (JobStatus.QUEUED, "artifact_invalid")
    assert job.artifact is None
    assert bench.events(job_id, "artifact") == []
    assert list(bench.storage.keys("artifacts/")) == []
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_dataset_that_is_gone_fails_the_job_with_a_reason(bench: Bench) -> None:
    job_id = bench.submit()
    dataset_id = bench.job(job_id).dataset_id
    bench.storage.delete_all(f"datasets/{dataset_id}/")

    bench.work()

    assert bench.job(job_id).status_reason == "dataset_gone"


def test_a_model_that_is_not_there_fails_the_job_with_its_own_code(bench: Bench) -> None:
    job_id = bench.submit(model="nowhere")

    bench.work()

    job = bench.job(job_id)
    assert job.status == JobStatus.FAILED
    assert job.failure is not None
    assert "nowhere" in job.failure["message"]


def test_a_signal_from_outside_is_no_reason_to_lose_the_job(bench: Bench) -> None:
    job_id, pid = _start_and_wait(bench, "2:wait")

    os.kill(pid, signal.SIGKILL)
    (bench.settings.runs_dir / job_id / "go").touch()

    wait_until(lambda: bench.job(job_id).status == JobStatus.QUEUED)
    wait_until(lambda: bench.work() or bench.job(job_id).status == JobStatus.SUCCEEDED)
    assert bench.job(job_id).attempt == 2
