"""`python -m app.core.plan.speed`: FLOP/s of matrix products on this machine's cores, in 0.3 s."""

import subprocess
import sys
import time
from functools import cache

_SIDE = 768
_SECONDS = 0.12
_TIMEOUT_SECONDS = 10


@cache
def matrix_flops() -> float | None:
    """Measured once per process, in a child: numpy and its threads stay out of this one."""
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=True)
        return float(done.stdout)
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
