"""`python -m app.core.estimates.speed`: measure FLOP/s of matrix products on this CPU, in 0.3 s."""

import os
import subprocess
import sys
import time
from functools import cache

_SIDE = 512
_SECONDS = 0.12
_TIMEOUT_SECONDS = 10


@cache
def matrix_flops() -> float | None:
    """Measure once per process, in a child, so that numpy is not imported here. None if that fails.

    The best rate of one thread, times the cores: on a busy machine, threads that wait for each
    other would measure the other load.
    """
    command = [sys.executable, "-m", __name__]
    single_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=True, env=single_thread
        )
        return float(done.stdout) * len(os.sched_getaffinity(0))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def main() -> None:
    import numpy as np

    matrix = np.full((_SIDE, _SIDE), 0.5, dtype=np.float32)
    matrix @ matrix
    best, end = 0.0, time.perf_counter() + _SECONDS
    while (begin := time.perf_counter()) < end:
        matrix @ matrix
        best = max(best, 2 * _SIDE**3 / (time.perf_counter() - begin))
    print(best)


if __name__ == "__main__":
    main()
