"""Connection: how the ClickHouse engine is spoken to: over HTTP, by its official client.

Touches the network. It promises: values are parameters, never a part of a statement; an insert is durable,
as the server's tables are made, when it returns; a query that is interrupted, or takes too long, ends inside
the server; an error says what the server calls it, and nothing that it quotes.
"""

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from storage.archive.clickhouse_location import Location
from storage.archive.interface import ArchiveError, Interrupt, UnreachableError

try:
    import clickhouse_connect
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.exceptions import ClickHouseError, Error
    from urllib3.exceptions import HTTPError
except ImportError:
    raise ArchiveError("ClickHouse needs one more package: pip install 'infertap[clickhouse]'") from None

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 120
QUERY_SECONDS: Final = 60
_KILL_EVERY_SECONDS: Final = 0.1
_KILLS_MOST: Final = 100
# Columns of bytes, which are not to be read as text.
_BYTES: Final = {"spool_id", "record", "hash", "previous_hash", "salt", "last_hash", "feedback", "value"}
# What the server calls a query that was ended.
_ENDED: Final = frozenset({"QUERY_WAS_CANCELLED", "QUERY_WAS_CANCELLED_BY_CLIENT"})

# The client logs addresses and what servers say; both are for us to tell.
for _library in ("clickhouse_connect", "urllib3"):
    logging.getLogger(_library).addHandler(logging.NullHandler())
    logging.getLogger(_library).propagate = False


class Connection:
    """One server, or one of a cluster. Safe from any thread; holds no session, so any server will do."""

    def __init__(self, location: Location, memory_bytes: int) -> None:
        """Raises ArchiveError where somebody refuses, and UnreachableError where nobody answers."""
        self.location = location
        if location.ca_file and not os.access(location.ca_file, os.R_OK):
            raise ArchiveError(f"the certificates' file {location.ca_file} can't be read")
        with _translated(f" at {location.host}:{location.port}"):
            self._client: Client = clickhouse_connect.get_client(
                host=location.host,
                port=location.port,
                username=location.user,
                password=location.password,
                database="default",
                secure=location.is_secure,
                ca_cert=location.ca_file or None,
                compress=False,
                connect_timeout=_CONNECT_SECONDS,
                send_receive_timeout=_ANSWER_SECONDS,
                autogenerate_session_id=False,
                client_name="infertap",
                # Values are not for the server's log of addresses, nor bounded by an address's length.
                form_encode_query_params=True,
                settings=_settings(location, memory_bytes),
            )

    def close(self) -> None:
        """Let the sockets go."""
        self._client.close()

    def rows(
        self,
        statement: str,
        values: Mapping[str, Any] | None = None,
        interrupt: Interrupt | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """What a query finds. Raises ArchiveError, also where `interrupt` is set."""
        with _translated(), self._killable(interrupt) as query_id:
            result = self._client.query(
                statement,
                parameters=dict(values or {}),
                settings={"query_id": query_id, **(settings or {})},
                column_formats=dict.fromkeys(_BYTES, "bytes"),
            )
            return list(map(tuple, result.result_rows))

    def command(
        self,
        statement: str,
        values: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run what answers nothing. Raises ArchiveError."""
        with _translated():
            self._client.command(statement, parameters=dict(values or {}), settings=dict(settings or {}))

    def insert(self, table: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of the columns in `types`, all or none; durable on return. Raises ArchiveError."""
        if not rows:
            return
        with _translated():
            self._client.insert(
                f"{self.location.database}.{table}",
                [list(column) for column in zip(*rows, strict=True)],
                column_names=list(types),
                column_type_names=list(types.values()),
                column_oriented=True,
            )

    @contextlib.contextmanager
    def _killable(self, interrupt: Interrupt | None) -> Iterator[str]:
        """The id of a query that ends inside the server when `interrupt` is set."""
        query_id = uuid.uuid4().hex
        if interrupt is None:
            yield query_id
            return
        if interrupt.is_set:
            raise ArchiveError("the query was ended")
        ended, begun = threading.Event(), threading.Event()

        def kill_once() -> None:
            # Whoever interrupts does so again and again; one that kills is enough.
            if not begun.is_set():
                begun.set()
                threading.Thread(target=self._kill, args=(query_id, ended), daemon=True).start()

        interrupt.during(kill_once)
        try:
            yield query_id
        finally:
            ended.set()
            interrupt.during(None)

    def _kill(self, query_id: str, ended: threading.Event) -> None:
        """Kill it, again and again: it may not have begun when it is killed first."""
        where = f"ON CLUSTER '{self.location.cluster}' " if self.location.cluster else ""
        for _ in range(_KILLS_MOST):
            with contextlib.suppress(ArchiveError):
                self.command(f"KILL QUERY {where}WHERE query_id = '{query_id}' ASYNC")
            if ended.wait(_KILL_EVERY_SECONDS):
                return


def _settings(location: Location, memory_bytes: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "max_execution_time": QUERY_SECONDS,
        "max_memory_usage": memory_bytes,
        # An insert answers once it is in the table, not once it waits for others.
        "async_insert": 0,
        # Who hangs up wants no answer.
        "cancel_http_readonly_queries_on_client_close": 1,
        "log_comment": "infertap",
    }
    if location.cluster:
        settings |= {
            # On a majority of the replicas, and on the shard itself rather than on its way there.
            "insert_quorum": "auto",
            "distributed_foreground_insert": 1,
            "optimize_skip_unused_shards": 1,
            "distributed_product_mode": "global",
            # What all servers are to do has failed when one of them has not done it by then: it is said
            # before nobody waits any more.
            "distributed_ddl_task_timeout": _ANSWER_SECONDS - 20,
        }
    return settings


@contextlib.contextmanager
def _translated(where: str = "") -> Iterator[None]:
    """`where` is said of a server that nobody has reached yet."""
    try:
        yield
    except Error as error:
        if not error.name:
            raise UnreachableError(f"ClickHouse{where}: no answer ({_root(error)})") from None
        raise ArchiveError(_said(error, where)) from None
    except ClickHouseError as error:
        raise ArchiveError(f"ClickHouse: {type(error).__name__}") from None
    except (HTTPError, OSError) as error:
        raise UnreachableError(f"ClickHouse{where}: no answer ({type(error).__name__})") from None


def _root(error: BaseException) -> str:
    """What kind of error lies beneath: whether it was TLS, or nobody was there."""
    while True:
        beneath = getattr(error, "reason", None) or error.__cause__ or next(iter(error.args), None)
        if not isinstance(beneath, BaseException):
            return type(error).__name__
        error = beneath


def _said(error: Error, where: str) -> str:
    """What went wrong, in the server's word for it: what it says at length may quote values."""
    if error.name in _ENDED:
        return "the query was ended"
    if error.name == "TIMEOUT_EXCEEDED":
        return "the query took too long, and was ended"
    return f"ClickHouse{where}: {error.name} ({error.code})"
