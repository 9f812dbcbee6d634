"""Command line: `infertap sidecar | storage | demo | records | feedback | redact`.

The door of the room. Nothing heavy is imported before it is known which command was asked for.
"""

from infertap.cli.main import main

__all__ = ["main"]
