"""Foreseen ends of a run without an adapter; those a plan can foresee too are all here."""

from typing import Any, Literal

from app.core.jobs.run import ExitCode, FailureReport


class RunFailed(Exception):
    """A foreseen end of a run without an adapter."""

    exit_code = ExitCode.USER
    class_: Literal["user", "system", "capacity"] = "user"
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
        self.report = FailureReport.model_validate(
            {
                "class": self.class_,
                "code": self.code,
                "message": message,
                "evidence": evidence,
                "hint": hint or self.hint,
                "retryable": self.retryable,
                "suggested_patch": suggested_patch,
            }
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


class NoTrainedTokens(BadData):
    code = "no_trained_tokens"
    hint = 'Every answer is cut off or empty: raise `training.max_length` or set `train_on` "all".'


class BadModel(RunFailed):
    code = "model_invalid"


class BadTarget(RunFailed):
    code = "target_modules_invalid"
