"""Errors of the spool: what a caller can tell apart. Foreign errors (lmdb, operating system) end at this
room's edge. Messages name the cause, never a payload.
"""
# ruff: noqa: N818  (named for what happened, as callers speak of it)


class SpoolError(Exception):
    """Something the spool could not do."""


class SpoolLocked(SpoolError):
    """Another process uses the directory. The start should stop with this message."""


class SpoolFull(SpoolError):
    """No room can be made: a stopped reader holds freed pages, or a batch exceeds what the quota can hold."""


class SpoolFailed(SpoolError):
    """The disk or the file failed. The next append opens the file anew.

    Nothing of a refused append is in the spool, unless the very write of LMDB's meta page failed and the file
    could not be opened again at once to look.
    """


class SpoolForked(SpoolError):
    """Storage has sequences this spool has not given out: its disk was set back, or copied.

    The spool has taken a new id already; connect again under `spool_id`.
    """


class SpoolReplaced(SpoolError):
    """The file was set aside meanwhile and a new spool begun: what is said is about another one's sequences.

    Connect again under `spool_id`.
    """


class UnsoundError(Exception):
    """The file's structure can't be trusted. Only within the room: the file is set aside for it."""
