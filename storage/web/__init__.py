"""Web: a plain page of the calls, and storage's health and metrics, over HTTP.

The door of the room. Reads the archive and changes nothing. Everything that it shows is escaped.
"""

from storage.web.app import make_app

__all__ = ["make_app"]
