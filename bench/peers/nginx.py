"""nginx: the upstream, a reverse proxy (HTTP and gRPC), and a proxy of streams of bytes. Pure.

As a proxy it keeps connections to the upstream, adds a request id, and neither buffers bodies nor events.
"""

from pathlib import Path
from typing import Final

from bench.model import GRPC_METHOD
from bench.ports import Ports

ANSWER: Final = (
    '{"model_name":"iris","id":"1","outputs":[{"name":"predict","shape":[1],"datatype":"INT64","data":[2]}]}'
)
_FRAME: Final = """\
%(load_module)s
worker_processes 1; daemon off; pid %(directory)s/%(name)s.pid; error_log %(directory)s/%(name)s.err crit;
events { worker_connections 4096; }
%(blocks)s
"""
_HTTP: Final = """\
http {
  access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 2m;
  client_body_temp_path %(directory)s/%(name)s-body; proxy_temp_path %(directory)s/%(name)s-proxy;
  fastcgi_temp_path %(directory)s/%(name)s-f; uwsgi_temp_path %(directory)s/%(name)s-u;
  scgi_temp_path %(directory)s/%(name)s-s;
%(servers)s
}"""
# `return` alone would answer before the body has come and end HTTP/2's stream by RST_STREAM, over which nginx
# as a proxy trips. So mirror reads it, empty_gif refuses the POST, and the page of its refusal is the answer.
_UPSTREAM: Final = """\
  default_type application/json; open_file_cache max=10; http2_max_concurrent_streams 1024;
  server {
    listen 127.0.0.1:%(h1)d backlog=4096; listen 127.0.0.1:%(h2)d http2 backlog=4096;
    location / { mirror /nowhere; empty_gif; error_page 405 =200 @answer; }
    location @answer { return 200 '%(answer)s'; }
    location = %(method)s { mirror /nowhere; empty_gif; error_page 405 =200 /answer.grpc; }
    location = /answer.grpc {
      internal; root %(directory)s; default_type application/grpc; add_trailer grpc-status 0 always;
    }
    location = /nowhere { internal; return 204; }
  }"""
_PROXY: Final = """\
  upstream h1 { server 127.0.0.1:%(up_h1)d; keepalive 256; keepalive_requests 100000000; }
  upstream h2 { server 127.0.0.1:%(up_h2)d; keepalive 64; keepalive_requests 100000000; }
  upstream bulk { server 127.0.0.1:%(up_bulk)d; keepalive 256; keepalive_requests 100000000; }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header x-request-id $request_id;
  server { listen 127.0.0.1:%(h1)d backlog=4096; location / { proxy_pass http://h1; } }
  server {
    listen 127.0.0.1:%(h2)d http2 backlog=4096;
    location / { grpc_set_header x-request-id $request_id; grpc_pass grpc://h2; }
  }
  server {
    listen 127.0.0.1:%(bulk)d backlog=4096;
    location / {
      proxy_request_buffering off; proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;
      proxy_pass http://bulk;
    }
  }"""
_STREAM: Final = (
    "  server { listen 127.0.0.1:%d backlog=4096; proxy_buffer_size 64k; proxy_pass 127.0.0.1:%d; }\n"
)


def upstream(directory: Path, ports: Ports) -> str:
    """The model's place: a small JSON on HTTP/1.1 and HTTP/2, and a file of `directory` on gRPC."""
    values = {"answer": ANSWER, "directory": directory, "method": GRPC_METHOD}
    return _http(directory, "upstream", _UPSTREAM % (ports.as_dict() | values))


def proxy(directory: Path, ports: Ports, up: Ports) -> str:
    """A reverse proxy: proxy_pass, and grpc_pass for HTTP/2."""
    return _http(directory, "nginx", _PROXY % (ports.as_dict() | up.as_dict("up_")))


def stream(directory: Path, ports: Ports, up: Ports, module: Path | None) -> str:
    """A proxy of bytes; `module` is to be loaded where it is not built in."""
    servers = "".join(_STREAM % pair for pair in zip(ports.all(), up.all(), strict=True))
    return _FRAME % {
        "load_module": f"load_module {module};" if module else "",
        "directory": directory,
        "name": "nginx_stream",
        "blocks": f"stream {{\n{servers}}}",
    }


def _http(directory: Path, name: str, servers: str) -> str:
    blocks = _HTTP % {"directory": directory, "name": name, "servers": servers}
    return _FRAME % {"load_module": "", "directory": directory, "name": name, "blocks": blocks}
