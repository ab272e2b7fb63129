"""The outcome of an attempt, from the trainer's exit and the stop request, if any."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.core.jobs.failures import FailureReport, capacity_failure, system_failure, user_failure
from app.core.jobs.protocol import ExitCode, StopReason
from app.core.jobs.retries import DEVICE_MISSING
from worker.supervisor.report_reader import ArtifactData


class Stop(StrEnum):
    """Why the supervisor stopped a trainer."""

    CANCEL = "cancel"
    DRAIN = "drain"
    DEADLINE = "deadline"
    STALL = "stall"
    OUTAGE = "outage"


REASONS: Mapping[Stop, StopReason] = {
    Stop.CANCEL: StopReason.CANCEL,
    Stop.DEADLINE: StopReason.DEADLINE,
    Stop.DRAIN: StopReason.DRAIN,
    # After a stall or an outage, the trainer may still be able to commit a checkpoint.
    Stop.STALL: StopReason.DRAIN,
    Stop.OUTAGE: StopReason.DRAIN,
}
"""What the trainer is told."""


@dataclass(frozen=True)
class Succeeded:
    artifact: ArtifactData


@dataclass(frozen=True)
class Failed:
    """The job itself or its limits are at fault: another attempt would end the same way."""

    failure: FailureReport


@dataclass(frozen=True)
class Died:
    """The machine is at fault: another attempt resumes from the last checkpoint."""

    failure: FailureReport


@dataclass(frozen=True)
class DeviceMissing:
    """This worker's device is not there: the job waits for another worker."""

    failure: FailureReport


@dataclass(frozen=True)
class Drained:
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Cancelled:
    pass


Outcome = Succeeded | Failed | Died | DeviceMissing | Drained | Cancelled

_CRASH = 1
"""Exit status of a trainer that reported an exception that it does not know."""
DRAINED_PAUSE_SECONDS = 10.0
"""Delay after a drain that this supervisor did not request: it may be requested again at once."""
_FINAL: Mapping[int, tuple[Callable[..., FailureReport], str, str]] = {
    ExitCode.USER: (user_failure, "trainer_refused", "The trainer refused the job."),
    ExitCode.DATA: (user_failure, "dataset_invalid", "The dataset cannot be used for training."),
    ExitCode.OOM_GPU: (capacity_failure, "oom_gpu", "The GPU ran out of memory."),
    ExitCode.OOM_HOST: (capacity_failure, "oom_host", "The machine ran out of memory."),
}
"""Kind, code and message for a trainer that exited without a report of its own."""


def judge(
    status: int,
    *,
    stop: Stop | None,
    failure: FailureReport | None,
    artifact: ArtifactData | None,
    last_words: str = "",
) -> Outcome:
    """Decide the outcome. `status` is Popen's return code: negative for a signal.

    `last_words`: the end of the trainer's log, the evidence where it reported nothing.
    """
    evidence = f"{describe(status)} {last_words}".strip()
    if stop is Stop.CANCEL:
        return Cancelled()
    if status == ExitCode.OK and artifact is not None:
        return Succeeded(artifact)
    if stop is Stop.DRAIN:
        return Drained()
    if stop is Stop.DEADLINE:
        return Failed(_reported_deadline(failure) or deadline_exceeded())
    if stop is Stop.STALL:
        return Died(
            system_failure("stalled", "The trainer stopped making progress.", evidence=evidence)
        )
    if stop is Stop.OUTAGE:
        return Died(system_failure("database_lost", "The database was unavailable for too long."))
    if status == ExitCode.DEADLINE:
        return Failed(deadline_exceeded())
    if status == ExitCode.DRAINED:
        return Drained(DRAINED_PAUSE_SECONDS)
    if status in _FINAL:
        return Failed(failure or _unexplained(status, evidence))
    if status in (ExitCode.INFRA, _CRASH) and failure is not None:
        is_missing = failure.code == DEVICE_MISSING
        return DeviceMissing(failure) if is_missing else Died(failure)
    return Died(system_failure("trainer_exit", describe(status), evidence=evidence))


def stuck(stop: Stop | None) -> Outcome:
    """The outcome for a trainer that survived SIGKILL and is not waited for any longer."""
    if stop is Stop.CANCEL:
        return Cancelled()
    hint = "Check the worker's machine: a process hangs in the kernel, on a disk or the GPU."
    return Died(system_failure("trainer_stuck", "The trainer could not be killed.", hint=hint))


def describe(status: int) -> str:
    if status < 0:
        return f"The trainer was killed by signal {-status} ({_signal_name(-status)})."
    if status == ExitCode.OK:
        return "The trainer ended without an artifact."
    return f"The trainer ended with status {status}."


def _reported_deadline(failure: FailureReport | None) -> FailureReport | None:
    """The trainer's own report of its deadline, so that event and job agree."""
    return failure if failure is not None and failure.code == "deadline_exceeded" else None


def deadline_exceeded() -> FailureReport:
    message = "The job took longer than `limits.max_seconds` allows, and trained nothing."
    hint = "Raise `limits.max_seconds`, or train for fewer steps."
    return user_failure("deadline_exceeded", message, hint=hint)


def is_out_of_time(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.failure.code == "deadline_exceeded"


def _unexplained(status: int, evidence: str) -> FailureReport:
    make, code, message = _FINAL[status]
    return make(code, message, hint="See the attempt's log for details.", evidence=evidence)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
