"""Envoy: one worker, its router and nothing else, or with its HTTP tap filter before that. Pure.

The tap takes every call whole, up to the same megabyte of body as infertap, and writes each as a protobuf
file, which is the one of its sinks that keeps what it took.
"""

from pathlib import Path
from typing import Any, Final

from bench.ports import Ports

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_TAP: Final = "envoy.extensions.filters.http.tap.v3.Tap"
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TAPPED_BYTES: Final = 1 << 20
Json = dict[str, Any]


def configuration(ports: Ports, up: Ports, taps: Path | None = None) -> Json:
    """The file's value; with `taps`, a directory, every call is tapped into it."""
    filters = [*([_tap(taps)] if taps else []), _filter("envoy.filters.http.router", _ROUTER)]
    listening, models = ports.as_dict(), up.as_dict()
    return {
        "static_resources": {
            "listeners": [_listener(name, listening[name], filters) for name in listening],
            "clusters": [_cluster(name, models[name], http2=name == "h2") for name in models],
        }
    }


def _tap(taps: Path) -> Json:
    sink = {"format": "PROTO_BINARY", "file_per_tap": {"path_prefix": str(taps / "call")}}
    output = {
        "max_buffered_rx_bytes": _TAPPED_BYTES,
        "max_buffered_tx_bytes": _TAPPED_BYTES,
        "sinks": [sink],
    }
    static = {"match": {"any_match": True}, "output_config": output}
    return _filter("envoy.filters.http.tap", _TAP, common_config={"static_config": static})


def _filter(name: str, kind: str, **values: object) -> Json:
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{kind}", **values}}


def _address(port: object) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(name: str, port: object, filters: list[Json]) -> Json:
    # Streams of events last longer than a route's 15 seconds.
    route = {"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}
    manager = _filter(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=name,
        codec_type="AUTO",
        route_config={"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        http_filters=filters,
    )
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": [manager]}]}


def _cluster(name: str, port: object, http2: bool) -> Json:
    endpoint = {"endpoint": {"address": _address(port)}}
    cluster: Json = {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if http2:
        options: Json = {"explicit_http_config": {"http2_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {
            _OPTIONS: {"@type": f"type.googleapis.com/{_OPTIONS}", **options}
        }
    return cluster
