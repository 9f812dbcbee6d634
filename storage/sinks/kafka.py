"""Kafka: records as messages of a topic. Touches the network, by librdkafka, in a thread of its own.

Promises that a batch is delivered only once the brokers have acknowledged every message of it, on all
replicas in sync (`acks=all`, idempotent producer); what they will never take (too large, not valid) is
refused. A producer lives until something fails: the next one reads secrets and certificates anew. What it
holds is bounded by the batch.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from infertap.setting_files import UnusableFileError
from storage.sinks.interface import Batch, OpenSink, Refused, SinkError
from storage.sinks.kafka_messages import Form, Message, to_message
from storage.sinks.kafka_settings import Target, read_target, take_form
from storage.sinks.settled import Settled
from storage.sinks.sink_table import SinkTable

_POLL_SECONDS: Final = 0.1
# Beyond the time that librdkafka gives each message.
_GRACE_SECONDS: Final = 5.0
# The record's own fault: no broker will ever take it.
_REFUSALS: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE: "message too large",
    KafkaError.INVALID_RECORD: "invalid record",
    KafkaError.INVALID_TIMESTAMP: "invalid timestamp",
}
# A broker refuses what came in one request as a whole: others may have been beside the guilty one.
_SUSPECTS: Final = frozenset({*_REFUSALS, KafkaError._INVALID_DIFFERENT_RECORD})
_FAULTS: Final = {
    KafkaError._UNKNOWN_TOPIC: "unknown topic",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "unknown topic",
    KafkaError._UNKNOWN_PARTITION: "unknown topic",
    KafkaError.TOPIC_EXCEPTION: "no valid topic name",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "not allowed to write to the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "not allowed to write idempotently",
    KafkaError._AUTHENTICATION: "authentication failed",
    KafkaError.SASL_AUTHENTICATION_FAILED: "authentication failed",
    KafkaError._SSL: "TLS failed",
    KafkaError._RESOLVE: "no broker found",
    KafkaError._ALL_BROKERS_DOWN: "no broker answers",
    KafkaError._TRANSPORT: "no broker answers",
    KafkaError._MSG_TIMED_OUT: "no broker took it in time",
    KafkaError._TIMED_OUT: "no broker took it in time",
    KafkaError._PURGE_QUEUE: "no broker took it in time",
    KafkaError._PURGE_INFLIGHT: "no broker took it in time",
}
# What explains a message that ran out of time, most telling first.
_CAUSES: Final = (
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._RESOLVE,
    KafkaError._ALL_BROKERS_DOWN,
)
# Where they were looked for is told too.
_NOT_THERE: Final = frozenset({KafkaError._RESOLVE, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})
_TIMEOUTS: Final = frozenset(code for code, kind in _FAULTS.items() if kind == "no broker took it in time")
# librdkafka would write to stderr, with hosts and names of its own making.
_SILENT: Final = logging.Logger("librdkafka", logging.CRITICAL + 1)


def read_kind(table: SinkTable) -> OpenSink:
    """Kafka's settings; raises ValueError."""
    target, form = read_target(table), take_form(table)
    _try_out(target)

    async def opened() -> KafkaSink:
        return KafkaSink(table.name, form, lambda: Connected(target))

    return opened


class KafkaSink:
    """A topic. It connects when the first batch comes."""

    def __init__(self, name: str, form: Form, connect: Callable[[], "Connection"]) -> None:
        """`name` is the sink's, for its thread, where `connect` is called."""
        self._form = form
        self._connect = connect
        self._settled = Settled()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sink-{name}")
        self._producer: Connection | None = None
        self._given_up = threading.Event()

    async def deliver(self, batch: Batch) -> Sequence[Refused]:
        """Once the brokers have all of it, but for what they refuse. Raises SinkError."""
        self._given_up = given_up = threading.Event()
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self._send, batch, given_up)
        try:
            await asked
        except asyncio.CancelledError:
            given_up.set()
            raise
        return self._settled.refused

    async def close(self) -> None:
        """Let go of connections, without waiting for messages that nobody waits for."""
        self._given_up.set()
        await asyncio.to_thread(self._thread.shutdown)
        if self._producer is not None:
            await asyncio.to_thread(self._let_go)

    def _send(self, batch: Batch, given_up: threading.Event) -> None:
        """In the thread, where one that was given up ends first. Raises SinkError, after which the producer
        is another one.
        """
        if given_up.is_set():
            return
        try:
            if self._producer is None:
                self._producer = self._connect()
            left = self._settled.left_of(batch)
            reports = self._send_all(self._producer, batch, left, given_up)
            self._settle(self._producer, reports)
        except SinkError:
            self._let_go()
            raise

    def _send_all(
        self, producer: "Connection", batch: Batch, left: Sequence[int], given_up: threading.Event
    ) -> dict[int, int | None]:
        """All at once, then each that is suspected alone."""

        def send(indexes: Sequence[int]) -> dict[int, int | None]:
            messages = ((index, to_message(batch.records[index], self._form)) for index in indexes)
            return producer.send(messages, given_up)

        reports = send(left)
        suspects = [index for index, code in reports.items() if code in _SUSPECTS]
        for index in suspects if len(left) > 1 else ():
            reports |= send([index])
        return reports

    def _settle(self, producer: "Connection", reports: dict[int, int | None]) -> None:
        """Sort what was reported of each message; raises SinkError for what has to be tried again."""
        self._settled.arrive(index for index, code in reports.items() if code is None)
        self._settled.refuse(
            Refused(index, _REFUSALS[code]) for index, code in reports.items() if code in _REFUSALS
        )
        failed = {code for code in reports.values() if code is not None and code not in _REFUSALS}
        if failed:
            raise SinkError(producer.kind_of(failed))

    def _let_go(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None


class Connection(Protocol):
    """What a sink wants of a producer."""

    def send(
        self, messages: Iterator[tuple[int, Message]], given_up: threading.Event
    ) -> dict[int, int | None]:
        """What was reported of each message, by its index: None once it is there, else the error's code."""

    def kind_of(self, failed: set[int]) -> str:
        """What people are told of these errors: the most telling of them."""

    def close(self) -> None:
        """Without waiting: what is under way counts as not arrived."""


class Connected:
    """A producer of librdkafka, for one thread."""

    def __init__(self, target: Target) -> None:
        """Connects once there is a message. Raises SinkError for settings that are not usable now."""
        self._brokers = target.brokers
        self._topic = target.topic
        self._seconds = target.timeout_seconds + _GRACE_SECONDS
        self._causes: set[int] = set()
        try:
            self._producer = Producer({**target.properties(), "error_cb": self._note}, logger=_SILENT)
        except UnusableFileError:
            raise SinkError("unusable credential file") from None
        except KafkaException:
            raise SinkError("unusable settings or TLS files") from None

    def send(
        self, messages: Iterator[tuple[int, Message]], given_up: threading.Event
    ) -> dict[int, int | None]:
        """What was reported of each message, by its index: None once it is there, else the error's code."""
        self._causes.clear()
        reports: dict[int, int | None] = {}
        deadline = time.monotonic() + self._seconds
        sent = 0
        for index, message in messages:
            self._produce(message, _reporting(reports, index), lambda: given_up.is_set() or late(deadline))
            sent += 1
        while len(reports) < sent:
            if given_up.is_set() or late(deadline):
                self._producer.purge()
            self._producer.poll(_POLL_SECONDS)
        return reports

    def kind_of(self, failed: set[int]) -> str:
        """What people are told of these errors: the most telling of them."""
        telling = sorted(failed - _TIMEOUTS) or [each for each in _CAUSES if each in self._causes]
        code = (telling or sorted(failed))[0]
        what = _FAULTS.get(code, KafkaError(code).name().lower())
        return f"{self._brokers}: {what}" if code in _NOT_THERE else what

    def close(self) -> None:
        """Without waiting: what is under way counts as not arrived."""
        self._producer.purge()
        self._producer.close()

    def _produce(self, message: Message, report: Callable[..., None], is_over: Callable[[], bool]) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=report,
                )
            except BufferError:
                if is_over():
                    report(KafkaError(KafkaError._TIMED_OUT), None)
                    return
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                report(error.args[0], None)
                return
            else:
                self._producer.poll(0)
                return

    def _note(self, error: KafkaError) -> None:
        self._causes.add(error.code())


def late(deadline: float) -> bool:
    """Whether it has passed, by the monotonic clock."""
    return time.monotonic() >= deadline


def _reporting(reports: dict[int, int | None], index: int) -> Callable[..., None]:
    def report(error: KafkaError | None, _: Any) -> None:
        reports[index] = None if error is None else error.code()

    return report


def _try_out(target: Target) -> None:
    """A producer without brokers says what of the settings it doesn't take; raises ValueError."""
    try:
        Producer({**target.properties(), "bootstrap.servers": ""}, logger=_SILENT).close()
    except KafkaException as error:
        raise ValueError(f"properties, brokers: {_without_values(error)}") from None


def _without_values(error: KafkaException) -> str:
    """librdkafka's sentence, but none that quotes a value."""
    said = str(error.args[0].str())
    return said if said.startswith("No such configuration property") else "not as librdkafka takes them"
