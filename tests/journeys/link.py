"""Link: the network between a sidecar and storage, which can swallow answers and be cut."""

import contextlib
import socket
import threading

SECONDS = 30


class Link:
    """A TCP relay that a test commands."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        # HOST:PORT of storage; None while it is away.
        self.storage: str | None = None
        self.swallows_answers = False
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sidecar, _ = self.listening.accept()
                self._connect(sidecar)

    def _connect(self, sidecar: socket.socket) -> None:
        host, _, port = (self.storage or ":").rpartition(":")
        try:
            if not port:
                raise ConnectionRefusedError
            storage = socket.create_connection((host, int(port)), SECONDS)
        except OSError:
            sidecar.close()
            return
        storage.settimeout(None)
        self._open += [sidecar, storage]
        for source, target, is_answer in ((sidecar, storage, False), (storage, sidecar, True)):
            self._threads.append(
                threading.Thread(target=self._pump, args=(source, target, is_answer), daemon=True)
            )
            self._threads[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not (is_answer and self.swallows_answers):
                    target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all connections; new ones find no storage."""
        self.storage = None
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self._threads:
            thread.join(SECONDS)
        for each in self._open:
            each.close()
