"""Live: what is told as it happens: records as they become durable, calls as they come and go.

The door of the room. It knows the archive, and nothing of who fills it or who listens. In memory only.
"""

from storage.live.following import Following
from storage.live.in_flight import CallInFlight, InFlight
from storage.live.live import Live

__all__ = [
    "CallInFlight",
    "Following",
    "InFlight",
    "Live",
]
