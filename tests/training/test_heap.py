import os
import subprocess
import sys

PROGRAM = """
import os
from worker.training import heap
heap.keep_tight()
heap.give_back()
print(os.getpid(), os.environ["GLIBC_TUNABLES"])
"""


def test_a_trainer_starts_anew_with_its_heap_set_and_stays_the_same_process():
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    )
    said, _ = process.communicate(timeout=60)

    pid, tunables = said.split()
    assert int(pid) == process.pid
    assert tunables == "glibc.malloc.check=0:glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
