"""Command line: `infertap COMMAND`; `infertap --help` lists the commands.

The door of the room. Nothing heavy is imported before it is known which command was asked for.
"""

from infertap.cli.main import main

__all__ = ["main"]
