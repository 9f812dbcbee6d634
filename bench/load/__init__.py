"""Load: who calls. Each function puts its load on a port for some seconds and returns figures by metric.

All run on the load core: wrk and h2load pinned to it, the rest in this process, which is pinned itself. A
load that was not put on as meant, because calls failed or hung, raises LoadError.
"""

from bench.load.bodies import bodies
from bench.load.events import events
from bench.load.grpc_calls import grpc_calls
from bench.load.h2load import grpc_closed, h2_closed
from bench.load.measuring import Figures, LoadError, percentile
from bench.load.open_loop import h1_open
from bench.load.wrk import h1_closed

__all__ = [
    "Figures",
    "LoadError",
    "bodies",
    "events",
    "grpc_calls",
    "grpc_closed",
    "h1_closed",
    "h1_open",
    "h2_closed",
    "percentile",
]
