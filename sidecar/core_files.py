"""Core files: none is ever written, for they would hold payload (law 3). Touches the process's own limit."""

import resource


def forbid() -> None:
    """Let neither this process nor its children dump core.

    A limit of 0 holds for files only: where /proc/sys/kernel/core_pattern is a pipe to a program, the kernel
    dumps whatever the limit (core(5)), but for a limit of exactly 1 (do_coredump in fs/coredump.c), which is
    too small for a file too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
