"""mitmproxy's addon: events and long bodies pass as they come, rather than once they are complete.

Runs inside mitmproxy, in its own virtual environment.
"""

from typing import Any


def requestheaders(flow: Any) -> None:
    """See mitmproxy's events."""
    flow.request.stream = flow.request.path == "/body"


def responseheaders(flow: Any) -> None:
    """See mitmproxy's events."""
    flow.response.stream = flow.request.path in ("/body", "/events")
