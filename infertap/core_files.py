"""Core files: none is ever written, for they would hold payload (law 3). Touches the process's own limits.

A limit of 0 holds for files only: where /proc/sys/kernel/core_pattern is a pipe to a program, the kernel
dumps whatever the limit (core(5)), but for a limit of exactly 1 (do_coredump in fs/coredump.c), which is too
small for a file too. Where the hard limit is 0 already and can't be raised to 1, the process says that it may
not be dumped at all (PR_SET_DUMPABLE, prctl(2)). That is not done everywhere, as it takes /proc/self from a
process that isn't root; it ends with exec, so each process asks for itself.
"""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid() -> None:
    """Let neither this process nor, as far as limits are inherited, its children dump core."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if limit == 0:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
