"""Deny this process what reading a file never needs: the network, other programs, the memory of
other processes. Enforced by the kernel (seccomp) for native code too; it cannot be undone.
"""

import ctypes
import errno
import os
import platform
import signal
import sys
from collections.abc import Iterable
from typing import NamedTuple

# Architectures from <linux/audit.h>, and the number of each syscall on them from <asm/unistd.h>.
# io_uring is refused because it opens sockets that no filter sees; clone is allowed for threads.
_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7
_CALLS = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "io_uring_setup": (425, 425),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
_TGKILL = (234, 131)
"""Allowed on the process itself: `abort` needs it."""
_MACHINES = {"x86_64": (_X86_64, 0), "aarch64": (_AARCH64, 1)}
_X32 = 0x40000000
"""Bit that is set in the syscall numbers of the x32 ABI, which would bypass the filter."""

_PARENT_DEATH_SIGNAL = 1
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


class _Step(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Step)))


class _Rule(NamedTuple):
    code: int
    value: int
    if_true: int = 0
    """Steps to skip; with 0, the next one follows."""
    if_false: int = 0


def end_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before the call
            os.kill(os.getpid(), signal.SIGKILL)


def confine() -> bool:
    """Install the filter. Returns False on an unknown architecture or a kernel without seccomp."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.platform != "linux" or sys.maxsize < 1 << 32:
        return False
    architecture, column = machine
    refused = [numbers[column] for numbers in _CALLS.values()]
    rules = _rules(architecture, refused, _TGKILL[column])
    made = [_Step(each.code, each.if_true, each.if_false, each.value) for each in rules]
    steps = (_Step * len(rules))(*made)
    program = _Program(len(rules), steps)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), *map(ctypes.c_ulong, (0, 0, 0))) != 0:
        return False
    arguments = (ctypes.c_ulong(_FILTER), ctypes.byref(program), ctypes.c_ulong(0))
    return bool(prctl(_SET_SECCOMP, *arguments, ctypes.c_ulong(0)) == 0)


def _rules(architecture: int, refused: Iterable[int], tgkill: int) -> list[_Rule]:
    """Return the filter's rules; each syscall that is refused jumps to the last one."""
    numbers = sorted(refused)
    last = len(numbers) + 8
    checks = [_Rule(_EQUAL, number, last - at - 1) for at, number in enumerate(numbers, 4)]
    return [
        _Rule(_LOAD, 4),  # the architecture
        _Rule(_EQUAL, architecture, 0, last - 2),
        _Rule(_LOAD, 0),  # the syscall number
        _Rule(_AT_LEAST, _X32, last - 4),
        *checks,
        _Rule(_EQUAL, tgkill, 0, 2),
        _Rule(_LOAD, 16),  # its first argument
        _Rule(_EQUAL, os.getpid(), 0, 1),
        _Rule(_RETURN, _ALLOW),
        _Rule(_RETURN, _REFUSE),
    ]
