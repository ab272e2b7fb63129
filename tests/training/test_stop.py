import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file

from app.core.jobs.protocol import ExitCode, StopReason
from tests.training.bench import Bench, Outcome, start_trainer
from worker.training.__main__ import attempt
from worker.training.failures import Stopped
from worker.training.plan import read_plan
from worker.training.reporter import Reporter
from worker.training.stop import StopRequest

LONG = {"num_train_epochs": 100, "save_strategy": "no", "logging_steps": 1}


def run_and_stop(bench: Bench, plan: object, reason: str) -> Outcome:
    """Run the plan; request a stop once the first step is logged."""
    run_dir = bench.run_dir(plan)  # type: ignore[arg-type]

    def ask() -> None:
        wait_for(run_dir / "metrics.jsonl")
        (run_dir / "stop").write_text(reason)

    asking = threading.Thread(target=ask)
    asking.start()
    outcome = bench.run(plan, run_dir)  # type: ignore[arg-type]
    asking.join()
    return outcome


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def committed(outcome: Outcome) -> list[Path]:
    return list(outcome.run_dir.glob("checkpoints/*/COMMIT.json"))


def test_a_cancelled_run_stops_at_once_and_saves_nothing(bench):
    outcome = run_and_stop(bench, bench.plan(training=LONG), "cancel")

    assert outcome.status == ExitCode.CANCELLED
    assert not (outcome.run_dir / "checkpoints").exists() or committed(outcome) == []
    assert not (outcome.run_dir / "artifact").exists()
    assert outcome.of("error") == []


def test_a_drained_run_commits_a_checkpoint_and_ends_later_as_if_never_stopped(bench):
    training = {"num_train_epochs": 20, "save_strategy": "no"}
    plan = bench.plan(training=training)
    whole = bench.run(plan)

    drained = run_and_stop(bench, plan, "drain")
    assert drained.status == ExitCode.DRAINED
    assert len(committed(drained)) == 1
    (report,) = drained.of("checkpoint")
    assert Path(report["path"]) == committed(drained)[0].parent

    folder = str(drained.run_dir / "checkpoints")
    resumed = bench.run(plan.model_copy(update={"resume_from": [folder]}))
    assert resumed.adapter == whole.adapter


@pytest.mark.parametrize("by", ["supervisor", "limit"])
def test_past_the_deadline_a_checkpoint_is_committed_and_can_be_published(bench, by):
    if by == "limit":
        training = LONG | {"num_train_epochs": 100, "gradient_accumulation_steps": 1}
        outcome = bench.run(bench.plan(limits={"max_seconds": 1}, training=training))
    else:
        plan = bench.plan(limits={"max_seconds": 1000}, training=LONG)
        outcome = run_and_stop(bench, plan, "deadline")

    assert outcome.status == ExitCode.DEADLINE
    assert outcome.of("error") == []
    (path,) = committed(outcome)
    logged = len(outcome.of("metrics"))

    (outcome.run_dir / "stop").unlink(missing_ok=True)
    plan = read_plan(outcome.run_dir).model_copy(update={"publish_only": True})
    (outcome.run_dir / "plan.json").write_text(plan.model_dump_json())
    published = bench.run(plan, outcome.run_dir)

    assert published.status == ExitCode.OK, published.of("error")
    assert len(published.of("metrics")) == logged
    (artifact,) = published.of("artifact")
    told = {name: artifact[name] for name in ("step", "chosen", "stopped_by")}
    step = int(path.parent.name.rpartition("-")[2])
    assert told == {"step": step, "chosen": "last", "stopped_by": "deadline"}
    saved = load_file(path.parent / "adapter_model.safetensors")
    assert all(torch.equal(each, saved[name]) for name, each in load(published.adapter).items())
    card = (published.run_dir / "artifact" / "README.md").read_text()
    assert "Training stopped at the job's time limit" in card


def test_without_a_checkpoint_there_is_nothing_to_publish_past_the_deadline(bench):
    plan = bench.plan().model_copy(update={"publish_only": True})

    outcome = bench.run(plan)

    assert outcome.status == ExitCode.USER
    assert outcome.failure["code"] == "deadline_exceeded"
    assert "no checkpoint" in outcome.failure["evidence"]


def test_the_time_of_earlier_attempts_counts(bench):
    plan = bench.plan(limits={"max_seconds": 1}, training=LONG)
    first = bench.run(plan)

    folder = str(first.run_dir / "checkpoints")
    second = bench.run(plan.model_copy(update={"resume_from": [folder]}))

    assert second.status == ExitCode.DEADLINE
    assert len(second.of("metrics")) == 1


@pytest.mark.parametrize(
    ("reason", "status"),
    [("cancel", ExitCode.CANCELLED), ("drain", ExitCode.DRAINED), ("deadline", ExitCode.USER)],
)
def test_a_stop_before_training_ends_the_run_before_a_model_is_loaded(bench, reason, status):
    plan = bench.plan()
    run_dir = bench.run_dir(plan)
    (run_dir / "stop").write_text(reason)

    outcome = bench.run(plan, run_dir)

    assert outcome.status == status
    assert outcome.of("metrics") == []


def test_sigterm_drains(bench):
    run_dir = bench.run_dir(bench.plan(training=LONG | {"num_train_epochs": 100}))
    process = start_trainer(run_dir)
    wait_for(run_dir / "metrics.jsonl")

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=30) == ExitCode.DRAINED
    assert len(committed(Outcome(run_dir, 0))) == 1


@pytest.mark.parametrize("during", ["training", "finalizing"])
@pytest.mark.parametrize(
    ("reason", "status"),
    [("cancel", ExitCode.CANCELLED), ("drain", ExitCode.OK), ("deadline", ExitCode.OK)],
)
def test_once_the_last_step_is_reached_only_a_cancel_ends_a_run(bench, during, reason, status):
    plan = bench.plan(training={"max_steps": 1})
    run_dir = bench.run_dir(plan)

    class Asking(Reporter):
        def phase(self, phase: str) -> None:
            super().phase(phase)
            if phase == during:
                (run_dir / "stop").write_text(reason)

    with (run_dir / "reports.jsonl").open("ab") as stream:
        assert attempt(run_dir, Asking(stream), StopRequest(run_dir)) == status

    assert (run_dir / "artifact").exists() == (status == ExitCode.OK)


def test_a_signal_is_obeyed_before_training_and_not_once_it_is_over(tmp_path):
    stop = StopRequest(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    stop.listen()
    try:
        stop.in_step = True
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason() is StopReason.DRAIN
        stop.in_step = False
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        stop.is_finishing = True
        signal.raise_signal(signal.SIGTERM)
        stop.check()
        (tmp_path / "stop").write_text("cancel")
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
