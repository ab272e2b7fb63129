"""The outcome of an attempt, over all combinations of exit status and stop reason."""

import itertools

import pytest

from app.core.jobs.failures import FailureReport, system_failure
from app.core.jobs.protocol import ExitCode
from app.core.jobs.retries import (
    DEVICE_MISSING,
    DRAINED,
    WORKER_LOST,
    Past,
    delay_seconds,
    is_poison,
    is_repetition,
)
from worker.supervisor.outcome import (
    Cancelled,
    DeviceMissing,
    Died,
    Drained,
    Failed,
    Stop,
    Succeeded,
    judge,
)
from worker.supervisor.report_reader import ArtifactData

REPORT = FailureReport.model_validate({"class": "user", "code": "told", "message": "It said so."})
ARTIFACT = ArtifactData(files=[])
STATUSES = [*ExitCode, 1, 2, 99, -9, -11, -15, -63]


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(("status", "stop"), [*itertools.product(STATUSES, [None, *Stop])])
def test_an_end_is_judged_by_what_was_asked_first_and_then_by_its_status(
    status: int, stop: Stop | None, is_told: bool
) -> None:
    failure = REPORT if is_told else None
    outcome = judge(status, stop=stop, failure=failure, artifact=None)
    finals = {ExitCode.USER, ExitCode.DATA, ExitCode.OOM_GPU, ExitCode.OOM_HOST}

    if stop is Stop.CANCEL:
        assert isinstance(outcome, Cancelled)
    elif stop is Stop.DRAIN:
        assert outcome == Drained()
    elif stop is Stop.DEADLINE or (stop is None and status == ExitCode.DEADLINE):
        assert isinstance(outcome, Failed)
        assert outcome.failure.code == "deadline_exceeded"
    elif stop is not None:
        assert isinstance(outcome, Died)
        assert outcome.failure.code in ("stalled", "database_lost")
    elif status == ExitCode.DRAINED:
        assert isinstance(outcome, Drained)
        assert outcome.delay_seconds > 0, "the supervisor did not request it"
    elif status in finals:
        assert isinstance(outcome, Failed)
        assert (outcome.failure == REPORT) == is_told
        assert outcome.failure.hint or is_told
    else:
        assert isinstance(outcome, Died)
        is_told_infra = is_told and status in (ExitCode.INFRA, 1)
        assert outcome.failure.code == ("told" if is_told_infra else "trainer_exit")
    if isinstance(outcome, Failed | Died):
        assert outcome.failure.evidence


def test_the_end_of_the_log_is_the_evidence_where_nothing_was_reported() -> None:
    for status in (-9, 7, ExitCode.OOM_GPU, ExitCode.USER):
        outcome = judge(status, stop=None, failure=None, artifact=None, last_words="terminate x")
        assert isinstance(outcome, Failed | Died)
        assert outcome.failure.evidence.endswith("terminate x")


@pytest.mark.parametrize("status", [ExitCode.INFRA, 1])
def test_a_device_that_is_not_there_is_no_failure_of_the_job(status: int) -> None:
    missing = REPORT.model_copy(update={"code": DEVICE_MISSING})

    outcome = judge(status, stop=None, failure=missing, artifact=None)

    assert outcome == DeviceMissing(missing)
    assert not is_poison([Past(DEVICE_MISSING, False)] * 9)


def crash(evidence: str, code: str = "internal_error") -> FailureReport:
    return system_failure(code, "It failed.", evidence=evidence)


@pytest.mark.parametrize(
    ("now", "before", "is_same"),
    [
        (crash("KeyError: 'x'\n\nline 3"), crash("KeyError: 'x'\n\nline 4"), True),
        (crash("at 0x7fa0 in run/2/a"), crash("at 0xbeef in run/1/a"), True),
        (crash("KeyError: 'x'"), crash("KeyError: 'y'"), False),
        (crash("KeyError: 'x'"), None, False),
        (crash("full", "disk_full"), crash("full", "disk_full"), False),
        (crash("differ", "adapter_mismatch"), crash("differ", "adapter_mismatch"), True),
        (crash("differ", "adapter_mismatch"), crash("differ"), False),
    ],
)
def test_a_repetition_is_the_same_exception_twice(
    now: FailureReport, before: FailureReport | None, is_same: bool
) -> None:
    assert is_repetition(now, before) is is_same


def test_a_deadline_is_told_in_the_trainers_own_words_if_it_has_any() -> None:
    told = REPORT.model_copy(update={"code": "deadline_exceeded", "message": "After step 7."})
    for failure in (told, REPORT, None):
        outcome = judge(ExitCode.USER, stop=Stop.DEADLINE, failure=failure, artifact=None)
        assert isinstance(outcome, Failed)
        assert outcome.failure.code == "deadline_exceeded"
        assert (outcome.failure == told) == (failure == told)


@pytest.mark.parametrize("stop", [None, *Stop])
def test_an_artifact_counts_with_status_0_unless_the_job_was_cancelled(stop: Stop | None) -> None:
    outcome = judge(0, stop=stop, failure=None, artifact=ARTIFACT)
    assert isinstance(outcome, Cancelled if stop is Stop.CANCEL else Succeeded)
    assert not isinstance(judge(-9, stop=stop, failure=None, artifact=ARTIFACT), Succeeded)


@pytest.mark.parametrize(
    ("outcomes", "poisoned"),
    [
        ("", False),
        ("c", False),
        ("cc", False),
        ("ccc", True),
        ("ccC", False),
        ("Cccc", False),
        ("cCcc", False),
        ("w", False),
        ("ww", True),
        ("wcw", True),
        ("wWw", False),
        ("dddd", False),
        ("cdcdc", True),
        ("wdw", True),
    ],
)
def test_poison_is_what_dies_again_and_again_without_getting_further(
    outcomes: str, poisoned: bool
) -> None:
    """Latest first; capital: with a new checkpoint. c: crash, w: worker lost, d: drained."""
    names = {"c": "trainer_exit", "w": WORKER_LOST, "d": DRAINED}
    past = [Past(names[each.lower()], each.isupper()) for each in outcomes]
    assert is_poison(past) == poisoned


def test_the_pause_before_a_retry_doubles_up_to_ten_minutes() -> None:
    for attempts, most in [(0, 10), (1, 20), (5, 320), (6, 600), (500, 600)]:
        pauses = [delay_seconds(10, attempts) for _ in range(50)]
        assert all(0.75 * most <= pause <= most for pause in pauses)
        assert len(set(pauses)) > 1
