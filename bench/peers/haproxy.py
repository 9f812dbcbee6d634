"""HAProxy: a reverse proxy with one thread, which adds a request id and holds no event back. Pure."""

from typing import Final

from bench.ports import Ports

_CONFIGURATION: Final = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
  unique-id-format %%[uuid()]
  unique-id-header x-request-id
frontend h1
  bind 127.0.0.1:%(h1)d
  default_backend h1
backend h1
  server model 127.0.0.1:%(up_h1)d
frontend h2
  bind 127.0.0.1:%(h2)d proto h2
  default_backend h2
backend h2
  server model 127.0.0.1:%(up_h2)d proto h2
frontend bulk
  bind 127.0.0.1:%(bulk)d
  option http-no-delay
  default_backend bulk
  option http-no-delay
backend bulk
  option http-no-delay
  server model 127.0.0.1:%(up_bulk)d
"""


def configuration(ports: Ports, up: Ports) -> str:
    """The file."""
    return _CONFIGURATION % (ports.as_dict() | up.as_dict("up_"))
