"""A ClickHouse server for tests: the real engine (chdb, in this process) behind the HTTP interface.

    python clickhouse_server.py --directory DIR --port PORT --user USER --password PASSWORD

Run by an interpreter of its own that has chdb (`make clickhouse`); standard library and chdb only. It
listens on loopback, says `{"port": N}` on standard output once it does, and can be killed and started again
on the same directory, as a server can. What it knows of the interface: Basic authentication, `database`,
`query`, `query_id`, `param_*` and settings in the address, inserts in the Native format, error codes in
X-ClickHouse-Exception-Code. What it does not: compression, sessions, streaming, clusters.

    POST /control?fail=TEXT&times=N     the next N statements that hold TEXT fail, before they run
    POST /control?lose=TEXT&times=N     they run, and the connection breaks before the answer
    POST /control?hold=TEXT&times=N     they wait for a minute, and run; `held` in the answer: how many do
    POST /control?slow=TEXT&times=N     they work for a minute, unless they are killed, and run
"""

import argparse
import base64
import json
import os
import re
import socket
import sys
import threading
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import LifoQueue
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

MOST_CONNECTIONS = 16
# Parameters of the interface that are no settings of the engine.
NO_SETTINGS = {"query", "database", "query_id", "session_id", "client_protocol_version", "role", "quota_key"}
NO_SETTINGS |= {"wait_end_of_query", "buffer_size", "compress", "decompress", "enable_http_compression"}
NO_SETTINGS |= {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "default_format"}
INSERT = re.compile(rb"\s*(INSERT\s+INTO\s+.+?)\s+FORMAT\s+Native\s*?\n", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
HELD_SECONDS = 60.0
SLOW = b"SELECT sum(sleepEachRow(0.02)) FROM numbers(3000) SETTINGS max_block_size = 10"
CODE = re.compile(r"Code: (\d+)")


class Engine:
    """Connections to the engine; each request has one for itself, settings are its own for so long."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._idle: LifoQueue[Any] = LifoQueue()
        for _ in range(MOST_CONNECTIONS):
            self._idle.put(None)

    def run(self, statement: bytes, asked: dict[str, str]) -> bytes:
        """What the engine answers; raises RuntimeError with what it says."""
        connection = self._idle.get() or chdb.connect(self._directory)
        try:
            return self._run_with(connection, statement, asked)
        finally:
            self._idle.put(connection)

    def _run_with(self, connection: Any, statement: bytes, asked: dict[str, str]) -> bytes:
        settings = {name: value for name, value in asked.items() if name not in NO_SETTINGS}
        # The engine in a process makes query ids of its own: ours goes as a comment.
        settings["log_comment"] = asked.get("query_id", "")
        if database := asked.get("database"):
            connection.query(f"USE `{database}`")
        connection.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))
        try:
            return execute(connection, statement)
        finally:
            names = [name for name in settings if not name.startswith("param_")]
            connection.query("SET " + ", ".join(f"{name} = DEFAULT" for name in names))


def execute(connection: Any, statement: bytes) -> bytes:
    insert = INSERT.match(statement)
    if insert is not None:
        if data := statement[insert.end() :]:
            stream = connection.send_insert(insert[1].decode(), "Native")
            try:
                stream.append(data)
                stream.finish()
            except BaseException:
                stream.cancel()
                raise
        return b""
    sql = statement.decode().strip()
    sql = re.sub(r"(KILL\s+QUERY\s.*?)\bquery_id\b", r"\1Settings['log_comment']", sql, flags=re.IGNORECASE)
    form = FORMAT.search(sql)
    if form is not None:
        sql = sql[: form.start()]
    return bytes(connection.query(sql, form[1] if form else "TabSeparated").bytes())


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def read_form(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a form (RFC 7578)."""
    form = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in form.get_payload():
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = part.get_payload(decode=True).decode()
    return fields


class Faults:
    """What is to go wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, tuple[bytes, int]] = {}
        self.held = 0

    def want(self, kind: str, text: str, times: int) -> None:
        with self._lock:
            self._wanted[kind] = (text.encode(), times)

    def strikes(self, kind: str, statement: bytes) -> bool:
        with self._lock:
            text, left = self._wanted.get(kind, (b"", 0))
            if not left or text not in statement[:4096]:
                return False
            self._wanted[kind] = (text, left - 1)
            return True


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Engine
    faults: Faults
    credentials: str

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        asked = dict(parse_qsl(address.query, keep_blank_values=True))
        body = self.read_body()
        kind = self.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            asked |= read_form(kind, body)
            body = b""
        if address.path == "/control":
            for kind in ("fail", "lose", "hold", "slow"):
                if kind in asked:
                    self.faults.want(kind, asked[kind], int(asked.get("times", "1")))
            return self.answer(200, json.dumps({"held": self.faults.held}).encode())
        if self.headers.get("authorization") != self.credentials:
            return self.answer(
                403, b"Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            )
        statement = asked.get("query", "").encode() + b"\n" * ("query" in asked) + body
        if self.faults.strikes("fail", statement):
            return self.answer(500, b"Code: 243. DB::Exception: No space left. (NOT_ENOUGH_SPACE)")
        if self.faults.strikes("hold", statement):
            self.faults.held += 1
            time.sleep(HELD_SECONDS)
        try:
            if self.faults.strikes("slow", statement):
                self.engine.run(SLOW, {name: asked[name] for name in ("query_id",) if name in asked})
            answer = self.engine.run(statement, asked)
        except RuntimeError as error:
            return self.answer(500, str(error).encode())
        if self.faults.strikes("lose", statement):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self.answer(200, answer)

    do_GET = do_POST  # noqa: N815  (as http.server calls it)

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        code = CODE.search(body.decode("utf-8", "replace")) if status != 200 else None
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", code[1])
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who went away is no news."""


def end_with_parent() -> None:
    """Whoever started this holds the other end of its standard input."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    given = parser.parse_args()
    Answers.engine = Engine(given.directory)
    Answers.faults = Faults()
    token = base64.b64encode(f"{given.user}:{given.password}".encode()).decode()
    Answers.credentials = f"Basic {token}"
    Answers.engine.run(b"SELECT 1", {})
    threading.Thread(target=end_with_parent, daemon=True).start()
    server = Server(("127.0.0.1", given.port), Answers)
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
