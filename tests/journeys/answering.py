"""Answering: a model that takes whatever has no body, as each `start_model` may be told."""

import socket
from typing import Final

_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def answer(connection: socket.socket) -> None:
    """Answer each head with an empty object, however many come at once."""
    waiting = b""
    while data := connection.recv(1 << 16):
        waiting += data
        connection.sendall(_ANSWER * waiting.count(b"\r\n\r\n"))
        waiting = waiting.rpartition(b"\r\n\r\n")[2]
