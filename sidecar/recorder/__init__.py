"""Recorder: turns exchanges into redacted records, and keeps them in the spool.

The door of the room; the process itself is `python -m sidecar.recorder`. Nothing raw leaves its memory.
"""
