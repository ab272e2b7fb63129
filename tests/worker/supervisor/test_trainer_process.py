"""A trainer that SIGKILL does not end is abandoned."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.jobs.status import JobStatus
from tests.waiting import wait_until
from tests.worker.bench import Bench
from worker import processes
from worker.supervisor.supervisor import Supervisor

# A traced process that is killed stays, except for its tracer, until the tracer detaches: the
# closest to a process that hangs in the kernel.
_TRACER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
state = "held" if libc.ptrace(0x4206, os.getppid(), None, None) == 0 else "refused"
open(sys.argv[1], "w").write(state)
time.sleep(60)
"""
_TRAINER = """
import ctypes, subprocess, sys, time
ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0)
nothing = subprocess.DEVNULL
tracer = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
child = subprocess.Popen(
    tracer, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
)
open(sys.argv[2] + ".pid", "w").write(str(child.pid))
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_trainer_that_cannot_be_killed_is_left_to_the_janitor(
    bench: Bench, tmp_path: Path
) -> None:
    note = tmp_path / "tracer"
    command = (sys.executable, "-c", _TRAINER, _TRACER, str(note))
    bench.settings = bench.settings.model_copy(
        update={"stop_grace_seconds": 0.1, "lease_seconds": 30.0, "retry_base_seconds": 600.0}
    )
    job_id = bench.submit()

    def is_held() -> bool:
        return note.exists() and bool(note.read_text())

    workplace = replace(bench.supervisor().workplace, command=command, should_drain=is_held)
    try:
        Supervisor(workplace, "worker-1").drain()
        if note.read_text() == "refused":
            pytest.skip("tracing processes is not permitted here")

        job = bench.job(job_id)
        assert (job.status, job.status_reason) == (JobStatus.QUEUED, "trainer_stuck")
        assert (bench.settings.runs_dir / job_id / "1" / "process.json").exists()
    finally:
        wait_until((tmp_path / "tracer.pid").exists)
        processes.kill(int((tmp_path / "tracer.pid").read_text()), signal.SIGKILL)
