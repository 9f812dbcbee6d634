"""Parent: starts, watches and ends the processes of the sidecar, and answers for them over HTTP.

The door of the room. Standard library only, and no payload ever passes here, so that what must not fail is
small: whatever happens to a relay or the recorder, their sockets, their counters and the probes live on.
"""

from sidecar.parent.lifecycle import run
from sidecar.parent.sockets import StartError

__all__ = ["StartError", "run"]
