"""Becomes another program that dies with the process that started it.

    python -I -S tether.py PARENT SIGNAL UID GID COMMAND...

A small program of its own, because the order matters: the kernel forgets the death signal when the
user changes, so the user is dropped first. It runs before the drop as the user who owns the
interpreter; COMMAND must be reachable by the new one. UID -1 keeps the user.
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
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _parent, _signal, _uid, _gid = map(int, sys.argv[1:5])
    main(_parent, _signal, _uid, _gid, sys.argv[5:])
