"""python -m worker.training RUN_DIR: train as RUN_DIR/plan.json (a protocol.Plan) describes.

Libraries print to stdout and stderr; nothing there is parsed. Reports are the interface.
"""

import faulthandler
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.core.jobs.protocol import REPORT_FD_VARIABLE, ExitCode, Plan, StopReason
from worker import processes
from worker.training import checkpoints, heap
from worker.training.failures import (
    STOP_EXITS,
    DeadlineExceeded,
    RunFailed,
    Stopped,
    explain,
)
from worker.training.plan import read_plan
from worker.training.reporter import Reporter, open_reporter, start_heartbeat
from worker.training.stop import StopRequest

ENVIRONMENT = {
    # The base model is on this disk; the network is never used.
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # The Trainer forks no data loader; the tokenizer may use every core before torch does.
    "TOKENIZERS_PARALLELISM": "true",
    # Threads that spin while waiting starve the ones they wait for: beside other work, a 2-thread
    # run was 6 to 12 times slower than with passive waiting (2 cores, load 6).
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Rows differ in length: fixed segments would fragment GPU memory.
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}


def main(arguments: list[str]) -> int:
    """Run the trainer and return its exit status, see `ExitCode`."""
    if len(arguments) != 1:
        print("usage: python -m worker.training RUN_DIR", file=sys.stderr)
        return ExitCode.USER
    if REPORT_FD_VARIABLE in os.environ:
        die_with_parent()
    run_dir = Path(arguments[0]).absolute()
    if not run_dir.is_dir():
        print(f"{run_dir} is not a directory.", file=sys.stderr)
        return ExitCode.USER
    reports = open_reporter(run_dir)
    stop = StopRequest(run_dir)
    beating = start_heartbeat(reports)
    # After a crash in native code, the log shows where.
    faulthandler.enable()
    try:
        stop.listen()
        return attempt(run_dir, reports, stop)
    finally:
        beating.set()


def attempt(run_dir: Path, reports: Reporter, stop: StopRequest) -> int:
    """Run the plan; turn whatever ends it into a report and an exit status."""
    plan: Plan | None = None
    try:
        plan = read_plan(run_dir)
        set_environment(plan.device)
        if plan.spec.quantization == "none":
            leave_out("bitsandbytes")
        reports.phase("starting")
        run = load_libraries()
        run(plan, run_dir, reports, stop)
    except Stopped as stopped:
        if stopped.reason is StopReason.DEADLINE and not _has_checkpoint(plan, run_dir):
            message = "The job exceeded its time limit before anything was trained."
            return fail(DeadlineExceeded(message), plan, reports)
        return STOP_EXITS[stopped.reason]
    except Exception as error:
        return fail(error, plan, reports)
    return ExitCode.OK


def _has_checkpoint(plan: Plan | None, run_dir: Path) -> bool:
    return plan is not None and checkpoints.any_committed(checkpoints.folders_of(plan, run_dir))


def fail(error: Exception, plan: Plan | None, reports: Reporter) -> int:
    failure, status = explain(error, plan.spec if plan else None)
    if not isinstance(error, RunFailed):
        sys.excepthook(type(error), error, error.__traceback__)
    reports.fail(failure)
    return status


def load_libraries() -> Callable[[Plan, Path, Reporter, StopRequest], None]:
    """Import torch and what trains with it. Call it after the environment is set: they read it.

    Without the garbage collector, which finds nothing among modules but visits all of them, over
    and over: 8.5 CPU seconds with it, 7.0 without (medians of 3, 2 cores that others used too).
    """
    is_first = "torch" not in sys.modules  # else the process serves several runs
    if is_first:
        gc.disable()
    from trl.trainer import sft_trainer  # noqa: F401 - else imported while preparing

    from worker.training.run import run

    if is_first:
        gc.freeze()  # nor are they visited later
        gc.enable()
    return run


def leave_out(package: str) -> None:
    """Make libraries believe that an optional package is not installed.

    Importing bitsandbytes also imports torch's compiler: 1.3 of 6.6 CPU seconds (measured).
    """
    modules: dict[str, Any] = sys.modules
    if "torch" not in modules:  # else the process serves several runs and the next may need it
        modules[package] = None


def set_environment(device: str) -> None:
    """Set ENVIRONMENT and make at most one device visible: no library may use several."""
    os.environ.update(ENVIRONMENT)
    visible = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        number = int(device.partition(":")[2] or 0)
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[number] if number < len(visible) else ""
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = device.partition(":")[2] or "0"


def die_with_parent() -> None:
    """Have the kernel kill this trainer with its supervisor: without it, the lease is lost."""
    if not processes.die_with(os.getppid()):
        os._exit(ExitCode.INFRA)


if __name__ == "__main__":
    heap.keep_tight()
    sys.exit(main(sys.argv[1:]))
