"""Why a job ended without an adapter: failure reports, and the functions and exceptions that build
them.

`class` says what caused the failure: the job itself (`user`), the machine (`system`), or a machine
too small for the job (`capacity`).
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.jobs.protocol import ExitCode

FailureClass = Literal["user", "system", "capacity"]


class FailureReport(BaseModel):
    """Why a job ended without an adapter, and what to do about it."""

    model_config = ConfigDict(populate_by_name=True, use_attribute_docstrings=True)

    class_: FailureClass = Field(alias="class")
    """What the cause is: `user` the data or the spec, `system` the machine or the service,
    `capacity` too little memory."""
    code: str
    """Stable identifier in snake_case, for programs to act on. The documentation lists them all
    (errors.md)."""
    message: str
    """What went wrong, in a sentence for a person. The wording may change."""
    evidence: str = ""
    """The text of the exception, line, number or end of a traceback that shows it. Never empty: at
    least the message again."""
    hint: str = ""
    """What to do about it, for a person; the empty string where nothing is known."""
    retryable: bool = False
    """Whether the same spec may succeed when it is tried again, because the cause was the
    machine."""
    suggested_patch: dict[str, Any] | None = None
    """Changes that should make the job work, nested like a spec, for example
    `{"training": {"max_length": 128}}`, to be merged into the job's spec. Null where none is
    known."""

    @model_validator(mode="after")
    def _have_evidence(self) -> Self:
        if not self.evidence.strip():
            self.evidence = self.message
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the form stored in a job's row and its events."""
        return self.model_dump(mode="json", by_alias=True)


def user_failure(code: str, message: str, *, hint: str = "", evidence: str = "") -> FailureReport:
    """Report a failure caused by the job or its limits: another attempt would end the same way."""
    return FailureReport(class_="user", code=code, message=message, hint=hint, evidence=evidence)


def system_failure(code: str, message: str, *, hint: str = "", evidence: str = "") -> FailureReport:
    """Report a failure caused by the machine: another attempt may succeed."""
    return FailureReport(
        class_="system", code=code, message=message, hint=hint, evidence=evidence, retryable=True
    )


def capacity_failure(
    code: str,
    message: str,
    *,
    hint: str = "",
    evidence: str = "",
    suggested_patch: dict[str, Any] | None = None,
) -> FailureReport:
    """Report that the machine is too small for the job as it is."""
    return FailureReport(
        class_="capacity",
        code=code,
        message=message,
        hint=hint,
        evidence=evidence,
        suggested_patch=suggested_patch,
    )


class RunFailed(Exception):
    """An expected failure: the run ends without an adapter."""

    exit_code = ExitCode.USER
    class_: FailureClass = "user"
    code = "failed"
    hint = ""
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        evidence: str = "",
        hint: str = "",
        suggested_patch: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.report = FailureReport(
            class_=self.class_,
            code=self.code,
            message=message,
            evidence=evidence,
            hint=hint or self.hint,
            retryable=self.retryable,
            suggested_patch=suggested_patch,
        )


class BadData(RunFailed):
    exit_code = ExitCode.DATA
    code = "data_invalid"


class BadRow(BadData):
    """A row that cannot be trained on; names the row and its column."""

    def __init__(
        self, code: str, row: int, column: str, problem: str, hint: str = "", **more: Any
    ) -> None:
        self.code = code
        message = f'Row {row} (counted from 0), column "{column}": {problem}'
        super().__init__(message, hint=hint, **more)


class RefusedRow(BadData):
    """A row that the chat template refuses, with the template's own sentence."""

    code = "template_refuses_row"

    def __init__(self, row: int, reason: str, count: int, **more: Any) -> None:
        number = f" It refuses {count:,} rows." if count > 1 else ""
        message = f"Row {row} (counted from 0): the template refuses it: {reason[:500]}.{number}"
        super().__init__(message, evidence=reason[:2000], **more)


class TooManySkipped(BadData):
    code = "too_many_rows_skipped"
    hint = "Fix the rows, or raise `max_skip_share` to train on the rest."


class NoTrainedTokens(BadData):
    code = "no_trained_tokens"
    hint = (
        'Every answer is cut off or empty: raise `training.max_length` or set `train_on` to "all".'
    )


class BadModel(RunFailed):
    code = "model_invalid"


class BadTarget(RunFailed):
    code = "target_modules_invalid"
