"""The trainer process: started in its own process group without secrets, stopped in steps."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from app.core.jobs.protocol import REPORT_FD_VARIABLE, Report, StopReason
from worker.processes import TOKEN_VARIABLE, group_members, kill_group
from worker.supervisor import orphans
from worker.supervisor.report_reader import ReportReader
from worker.supervisor.trainer_log import TrainerLog
from worker.threads import start_thread

TRAINER = (sys.executable, "-m", "worker.training")
_PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
_PASSED_PREFIXES = (
    *("CUDA", "NVIDIA", "NCCL", "TRITON_"),
    *("OMP_", "MKL_", "OPENBLAS_", "PYTORCH_", "TORCH_"),
)
_LAST_WORDS_SECONDS = 5.0
_SOURCES = Path(__file__).parents[2]
_log = structlog.get_logger(__name__)


class TrainerProcess:
    """Create it in the main thread: a trainer dies with the thread that started it (PDEATHSIG)."""

    def __init__(
        self,
        command: Sequence[str],
        run_dir: Path,
        *,
        take: Callable[[Report], None],
        max_log_bytes: int,
        grace_seconds: float,
    ) -> None:
        self._run_dir = run_dir
        self._grace_seconds = grace_seconds
        self._stop_at: float | None = None
        self._signals: list[tuple[float, signal.Signals]] = []
        self._killed_at: float | None = None
        token = orphans.note_run(run_dir)
        report_read, report_write = os.pipe()
        output_read, output_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(run_dir)],
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                cwd=run_dir,
                env=environment(os.environ, run_dir, report_write, token),
                pass_fds=[report_write],
                start_new_session=True,
            )
        finally:
            os.close(report_write)
            os.close(output_write)
        self._reports = ReportReader(report_read, take)
        output = TrainerLog(output_read, run_dir / "trainer.log", max_log_bytes)
        self._readers = [
            start_thread("reports", self._reports.read),
            start_thread("output", output.copy),
        ]
        _log.info("trainer_started", pid=self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_stopping(self) -> bool:
        return self._stop_at is not None

    @property
    def is_stuck(self) -> bool:
        """SIGKILL did not end it: it hangs in the kernel, as on a lost disk or a faulty GPU."""
        killed_at = self._killed_at
        return killed_at is not None and time.monotonic() - killed_at > _LAST_WORDS_SECONDS

    @property
    def num_garbage(self) -> int:
        return self._reports.num_garbage

    def wait(self, seconds: float) -> int | None:
        """The exit status (negative for a signal); None if still running after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, reason: StopReason) -> None:
        """Start stopping it: the stop file, SIGTERM, SIGKILL. `press` sends what is due."""
        if self.is_stopping:
            return
        now = self._stop_at = time.monotonic()
        # The file gives the reason; the signal says that the file is there.
        _write_atomically(self._run_dir / "stop", reason.value)
        self._signals = [(now, signal.SIGTERM), (now + self._grace_seconds, signal.SIGKILL)]
        self.press()

    def press(self) -> None:
        """Send the signals that are due."""
        while self._signals and time.monotonic() >= self._signals[0][0]:
            number = self._signals.pop(0)[1]
            _log.info("trainer_signalled", signal=number.name, pid=self.pid)
            if number is signal.SIGKILL:
                self._kill()
            else:
                kill_group(self.pid, number)

    def close(self) -> None:
        """Kill the whole group and wait until all of its output has been read.

        A process that cannot be killed is left to `orphans`, which finds it by its note.
        """
        while True:
            self._kill()
            is_gone = self.wait(0.01) is not None and not group_members(self.pid)
            if is_gone or self.is_stuck:
                break
            time.sleep(0.01)
        for reader in self._readers:
            reader.join(_LAST_WORDS_SECONDS if is_gone else 0)
        if is_gone:
            orphans.forget_run(self._run_dir)
        else:
            _log.error("trainer_not_killed", pid=self.pid)

    def _kill(self) -> None:
        self._killed_at = self._killed_at or time.monotonic()
        kill_group(self.pid, signal.SIGKILL)


def environment(
    ours: Mapping[str, str], run_dir: Path, descriptor: int, token: str
) -> dict[str, str]:
    """The trainer's environment: an allow-list, so that none of our credentials reach it."""
    passed = {
        name: value
        for name, value in ours.items()
        if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    }
    return {
        "LANG": "C.UTF-8",
        # Numbered as nvidia-smi shows them; CUDA's own order begins with the fastest.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TRITON_CACHE_DIR": str(_kernels(run_dir)),
        **passed,
        "HOME": str(run_dir),
        "PYTHONPATH": str(_SOURCES),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Progress bars would fill the log; progress is reported through the descriptor.
        "TQDM_DISABLE": "1",
        REPORT_FD_VARIABLE: str(descriptor),
        TOKEN_VARIABLE: token,
    }


def _kernels(run_dir: Path) -> Path:
    """Folder of compiled kernels. HOME is the run's own, so they would be compiled for each run."""
    data_dir = run_dir.absolute().parents[2]  # of <data dir>/runs/<job>/<epoch>
    return data_dir / "triton" / socket.gethostname()


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
