"""What can go wrong in a run: a coded report for the user, an exit status for the supervisor."""

import errno
import re
import traceback
from typing import Any, Literal

from app.core.jobs.failures import (
    BadData,
    BadModel,
    BadRow,
    BadTarget,
    FailureReport,
    NoTrainedTokens,
    RunFailed,
    capacity_failure,
    system_failure,
)
from app.core.jobs.protocol import ExitCode, StopReason
from app.core.jobs.spec import JobSpec

__all__ = [
    "CRASH",
    "STOP_EXITS",
    "AdapterMismatch",
    "BadData",
    "BadModel",
    "BadPlan",
    "BadRow",
    "BadTarget",
    "BaseNotFinite",
    "DeadlineExceeded",
    "DeviceMissing",
    "Diverged",
    "NoRoomForBase",
    "NoTrainedTokens",
    "RunFailed",
    "Stopped",
    "easier",
    "explain",
    "out_of_memory",
]

CRASH = 1
"""Exit status of an unexpected error: not in `ExitCode`, so the supervisor counts a crash."""

_MAX_EVIDENCE = 2000
_NO_GPU_MEMORY = re.compile(
    r"\b(CUDA|CUDNN|CUBLAS|NCCL|HIP|MPS|XPU)\b.*\bout of memory"
    r"|\bcudaMalloc\w*\b.*\bout of memory|\bcudaErrorMemoryAllocation\b"
    r"|\b(CUDA|hip)_?Error_?Out_?Of_?Memory"
    r"|\bCU(BLAS|DNN|SOLVER|SPARSE|FFT)_\w*ALLOC(ATION)?_FAILED"
    r"|CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",
    re.IGNORECASE | re.DOTALL,
)
"""Texts of PyTorch, the CUDA runtime and driver, cuBLAS and its siblings, NCCL and Triton. cuBLAS
reports memory that is missing for its handle as not initialized."""
_NO_HOST_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory: you tried to allocate"
    r"|std::bad_alloc",
    re.IGNORECASE,
)
_NO_DEVICE = re.compile(
    r"no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver|fallen off the bus"
    r"|CUDA-capable device\(s\) is/are busy or unavailable|CUDA driver version is insufficient"
    r"|CUDA_ERROR_NO_DEVICE|invalid device ordinal|CUDA unknown error - this may be due to",
    re.IGNORECASE,
)


class BadPlan(RunFailed):
    code = "plan_invalid"
    hint = "RUN_DIR/plan.json must be a valid `Plan` (app/core/jobs/protocol.py)."


class Diverged(RunFailed):
    code = "diverged"
    hint = "The learning rate is probably too high for this model and dataset. Try a tenth of it."


class BaseNotFinite(BadModel):
    """Loss or gradients are not finite although nothing has been trained yet."""

    code = "base_not_finite"
    hint = (
        "The base model is at fault, not the learning rate: check its weights, or set "
        '`precision` to "fp32".'
    )


class DeadlineExceeded(RunFailed):
    code = "deadline_exceeded"
    hint = "Raise `limits.max_seconds`, or train for fewer steps."


class AdapterMismatch(RunFailed):
    exit_code = ExitCode.INFRA
    class_ = "system"
    code = "adapter_mismatch"
    hint = "The saved adapter is not the trained one; nothing was published. Please report this."


class NothingTrained(RunFailed):
    code = "nothing_trained"
    hint = "Train for more steps, or with a higher `learning_rate`."


class DeviceMissing(RunFailed):
    exit_code = ExitCode.INFRA
    class_ = "system"
    code = "device_missing"
    retryable = True
    hint = "Check the worker's GPU and driver, then restart the worker; it claims no more jobs."


class NoRoomForBase(Exception):
    """Memory ran out while the base model was loaded: smaller batches would not help."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error) or type(error).__name__)


class Stopped(Exception):
    """The run stopped on request."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


STOP_EXITS = {
    StopReason.CANCEL: ExitCode.CANCELLED,
    StopReason.DRAIN: ExitCode.DRAINED,
    StopReason.DEADLINE: ExitCode.DEADLINE,
}


def explain(error: BaseException, spec: JobSpec | None) -> tuple[FailureReport, int]:
    """The report and exit status for the error that ended a run."""
    if isinstance(error, RunFailed):
        return error.report, error.exit_code
    if (device := out_of_memory(error)) is not None:
        exit_code = ExitCode.OOM_GPU if device == "GPU" else ExitCode.OOM_HOST
        return _memory_report(error, device, spec), exit_code
    if _NO_DEVICE.search(str(error)):
        message = "The worker's device is not available."
        missing = DeviceMissing(message, evidence=_text_of(error))
        return missing.report, missing.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free space on the worker's disk; the last committed checkpoint is intact."
        return _system_report(
            error, "disk_full", "No space left on the disk.", hint
        ), ExitCode.INFRA
    message = f"The trainer failed with an unexpected error: {_text_of(error)[:300]}"
    return _system_report(error, "internal_error", message, "Please report this."), CRASH


def out_of_memory(error: BaseException) -> Literal["GPU", "host"] | None:
    """Which memory ran out, if any; decided without importing torch. Looks at causes, too."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if (device := _memory_of(at)) is not None:
            return device
        at = at.__cause__ or at.__context__
    return None


def _memory_of(error: BaseException) -> Literal["GPU", "host"] | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    if "OutOfMemoryError" in names or _NO_GPU_MEMORY.search(text):
        return "GPU"
    is_enomem = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if is_enomem or isinstance(error, MemoryError) or _NO_HOST_MEMORY.search(text):
        return "host"
    return None


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def easier(spec: JobSpec) -> dict[str, Any]:
    """The change to a spec that saves the most memory and changes the result least."""
    training = spec.training
    if training.per_device_train_batch_size > 1:
        half = training.per_device_train_batch_size // 2
        steps = min(training.gradient_accumulation_steps * 2, 1024)
        patch = {"per_device_train_batch_size": half, "gradient_accumulation_steps": steps}
        return {"training": patch}
    if not training.gradient_checkpointing:
        return {"training": {"gradient_checkpointing": True}}
    if spec.quantization != "nf4":
        return {"quantization": "nf4"}
    return {"training": {"max_length": max(8, training.max_length // 2)}}


def _memory_report(error: BaseException, device: str, spec: JobSpec | None) -> FailureReport:
    code, evidence = f"oom_{device.lower()}", str(error)[:_MAX_EVIDENCE] or type(error).__name__
    if isinstance(error, NoRoomForBase):
        can_shrink = spec is not None and spec.quantization != "nf4"
        return capacity_failure(
            code,
            f"The {device} ran out of memory while the base model was loaded.",
            evidence=evidence,
            hint='Set `quantization` to "nf4": weights take about a quarter of 16 bits.'
            if can_shrink
            else "Use a smaller base model or a device with more memory.",
            suggested_patch={"quantization": "nf4"} if can_shrink else None,
        )
    return capacity_failure(
        code,
        f"The {device} ran out of memory.",
        evidence=evidence,
        hint="Smaller batches with as many sequences per optimizer step give the same result.",
        suggested_patch=easier(spec) if spec else None,
    )


def _system_report(error: BaseException, code: str, message: str, hint: str) -> FailureReport:
    tail = "".join(traceback.format_exception(error))[-_MAX_EVIDENCE:]
    # The exception's own text first: it names the cause, and shows whether it repeats.
    evidence = f"{_text_of(error)[:_MAX_EVIDENCE]}\n\n{tail}"
    return system_failure(code, message, hint=hint, evidence=evidence)
