"""Errors of the spool: what a caller can tell apart. Foreign errors (lmdb, operating system) end here."""


class SpoolError(Exception):
    """Something the spool could not do; the message names the cause, never a payload."""


class SpoolLocked(SpoolError):
    """Another process uses the directory. The start should stop with this message."""


class SpoolFull(SpoolError):
    """No room can be made: a stopped reader holds freed pages, or the record exceeds what the quota can hold."""


class SpoolFailed(SpoolError):
    """The disk or the file failed. Nothing of the refused append is in the spool; the next one opens it anew."""


class SpoolForked(SpoolError):
    """Storage has sequences this spool has not given out: its disk was set back.

    The spool has taken a new id already; connect again under `spool_id`.
    """
