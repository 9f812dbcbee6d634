"""Loads of our own, straight on the upstream, for a moment each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load import LoadError, bodies, events, h1_open
from bench.load.events import Delays, take_events
from bench.model import BODY_BYTES
from bench.processes import await_ports, free_port, started


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    import sys

    port, log = free_port(), tmp_path_factory.mktemp("model") / "log"
    with started([sys.executable, "-m", "bench.model", str(port)], 0, log) as process:
        await_ports(process, log, [port])
        yield port


@pytest.mark.parametrize("direction", ["up", "down"])
def test_bodies(model: int, direction) -> None:
    """Whole bodies are counted, both ways."""
    figures = bodies(model, 0.2, direction)
    assert figures["calls"] >= 1
    assert figures["bytes_per_second"] == pytest.approx(figures["requests_per_second"] * BODY_BYTES)


def test_events(model: int) -> None:
    """Each of 20 streams has its 50 events a second, with their delay; busy machines are late with some."""
    figures = events(model, 0.4, 20)
    assert 500 < figures["events_per_second"] < 2000
    assert 0 < figures["event_delay_p50_us"] <= figures["event_delay_p99_us"]


def test_open_loop(model: int) -> None:
    """As many calls as fell due are made."""
    figures = h1_open(model, 0.2, 500.0)
    assert figures["calls"] == 100
    assert figures["p50_us"] <= figures["p99_us"]


def test_nobody_answers() -> None:
    """A load on a port where nobody listens is no figure."""
    with pytest.raises(OSError, match="refused"):
        bodies(free_port(), 0.1, "up")


def test_upstream_breaks_off(tmp_path: Path) -> None:
    """Connections that end are an error of the load."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def close_all() -> None:
            for _ in range(4):
                listening.accept()[0].close()

        closing = threading.Thread(target=close_all)
        closing.start()
        with pytest.raises(LoadError, match="connection"):
            bodies(listening.getsockname()[1], 0.1, "down")
        closing.join()


def test_events_cut_anywhere() -> None:
    """The time of an event is read once, wherever its bytes are cut."""
    event = b'data: {"sent_ns":%020d,"x":1}\n\n'
    whole = event % 100 + event % 200
    for cut in range(len(whole)):
        delays = Delays()
        delays.counting = True
        rest = take_events(whole[:cut], 1000, delays)
        take_events(rest + whole[cut:], 1000, delays)
        assert delays.ns == [900, 800]
