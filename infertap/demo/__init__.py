"""Demo: runs the main job for real: an ordinary model server, the sidecar beside it, storage, clients.

The door of the room. Everything it starts is a process of its own on free loopback ports, and ends with it.
"""

from infertap.demo.story import run_demo

__all__ = ["run_demo"]
