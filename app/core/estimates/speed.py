"""`python -m app.core.estimates.speed`: FLOP/s of matrix products on these cores, in 0.3 s."""

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
    """Measured once per process, in a child: numpy stays out of this one.

    One thread's best, times the cores: beside other work, threads that wait for each other measure
    that work.
    """
    command = [sys.executable, "-m", __name__]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=True, env=alone
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
