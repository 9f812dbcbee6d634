"""Calls: traffic whose every call has a number, and whose bodies follow from it, so that any copy can be
checked.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

SECONDS = 30.0
_WORDS = ("ash", "birch", "cedar", "elm", "fir", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew")
# The head of an answer that is an event stream.
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def body_of(number: int, size: int = 0) -> bytes:
    """JSON that is the number's own, in words: digits could look like something to redact."""
    words, rest = [], number
    while True:
        rest, word = divmod(rest, len(_WORDS))
        words.append(_WORDS[word])
        if not rest:
            break
    text = " ".join(words)
    return b'{"text": "%s"}' % text.ljust(size, ".").encode()


def events_of(body: bytes) -> bytes:
    """An event stream that says `body` three times."""
    return b"data: %s\n\n" % body * 3


def name_of(number: int) -> str:
    """The request id of call `number`."""
    return f"call-{number}"


def number_of(request_id: str) -> int:
    """The inverse."""
    return int(request_id.removeprefix("call-"))


def echo(connection: socket.socket) -> None:
    """A model that answers each request with its body."""
    waiting = b""
    while piece := connection.recv(1 << 16):
        waiting += piece
        while b"\r\n\r\n" in waiting:
            head, _, rest = waiting.partition(b"\r\n\r\n")
            length = int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0])
            if len(rest) < length:
                break
            body, waiting = rest[:length], rest[length:]
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (length, body)
            )


class Calls:
    """Makes calls, one after the other or from threads, and holds every answer against what was asked."""

    def __init__(self, model: str, size: int = 0) -> None:
        """`size` is about how long bodies are."""
        self.model = model
        self.size = size
        self.begun: set[int] = set()
        self.answered: set[int] = set()
        # What went wrong, other than that the sidecar was killed.
        self.faults: list[BaseException] = []
        # Seconds that each call took, with the monotonic time at which it ended.
        self.waits: list[tuple[float, float]] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def make(self, sidecar: "Sidecar", count: int) -> None:
        """So many calls on one connection."""
        with sidecar.connect() as client:
            for _ in range(count):
                self.make_one(client)

    def begin_one(self, client: socket.socket, path: bytes = b"/v1/x") -> tuple[int, bytes]:
        """Send a call; its number and body."""
        with self._lock:
            number = len(self.begun)
            self.begun.add(number)
        body = body_of(number, self.size)
        client.sendall(
            b"POST %s HTTP/1.1\r\nHost: m\r\nx-request-id: %s\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (path, name_of(number).encode(), len(body), body)
        )
        return number, body

    def make_one(self, client: socket.socket) -> bool:
        """One call; True where another may follow. Raises ConnectionError where the connection ends first."""
        began = time.monotonic()
        number, body = self.begin_one(client)
        received = b""
        while not received.endswith(body):
            piece = client.recv(1 << 16)
            if not piece:
                raise ConnectionError("the sidecar ended the connection")
            received += piece
        assert received.startswith(b"HTTP/1.1 200 OK\r\n"), received[:80]
        ended = time.monotonic()
        with self._lock:
            self.answered.add(number)
            self.waits.append((ended, ended - began))
        return b"\r\nconnection: close\r\n" not in received.lower()

    @contextlib.contextmanager
    def under_way(
        self, sidecar: "Sidecar", clients: int = 3, pause: float = 0.0, *, is_killed: bool = False
    ) -> Iterator["Calls"]:
        """Clients that call without end meanwhile; with `is_killed`, they may lose their connection."""
        self._ending.clear()
        self._threads = [
            threading.Thread(target=self._call, args=(sidecar.connect, pause, is_killed), daemon=True)
            for _ in range(clients)
        ]
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self.stop()
        assert self.faults == [], self.faults

    def await_answers(self, count: int) -> None:
        """Until `count` more calls are answered."""
        wanted = len(self.answered) + count
        deadline = time.monotonic() + SECONDS
        while len(self.answered) < wanted and not self.faults:
            assert time.monotonic() < deadline, "calls are not answered"
            time.sleep(0.005)

    def stop(self) -> None:
        """No more calls; harmless when there are none."""
        self._ending.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def _call(self, connect: Callable[[], socket.socket], pause: float, is_killed: bool) -> None:
        try:
            with connect() as client:
                while not self._ending.is_set():
                    self.make_one(client)
                    if pause:
                        self._ending.wait(pause)
        except OSError as fault:
            if not is_killed:
                self.faults.append(fault)
        except BaseException as fault:
            self.faults.append(fault)
