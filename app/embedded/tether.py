"""Executes a command that dies with the process that started it.

    python -I -S tether.py PARENT SIGNAL UID GID COMMAND...

A separate program because the order matters: the kernel clears the parent-death signal when the
user changes, so the user is changed first. Until then it runs as the user that started it, who can
read the interpreter; COMMAND must be reachable by the new user. UID -1 keeps the user.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, uid: int, gid: int, command: list[str]) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # the parent died before prctl took effect
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _parent, _signal, _uid, _gid = map(int, sys.argv[1:5])
    main(_parent, _signal, _uid, _gid, sys.argv[5:])
