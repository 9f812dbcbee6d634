"""Errors of exports."""


class ExportError(Exception):
    """The export can't be made as asked; the message says what to do."""
