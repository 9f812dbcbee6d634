"""Three brokers of librdkafka's mock cluster, in a process of their own, and what is in their topics.

Run as a program it prints where they listen, and does what its input tells until that ends.
"""

import contextlib
import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition

# The key of that request in Kafka's protocol.
_PRODUCE = 0
_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)


class MockBrokers:
    """The process of the brokers, their addresses, and what they are told to answer."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addresses = self._answer()
        if not self.addresses:
            import pytest

            self.close()
            pytest.skip("no librdkafka in confluent_kafka.libs, as the wheels for Linux have it")

    def fail_topic(self, topic: str, code: int) -> None:
        """What they say of the topic from now on."""
        self._tell(f"topic {topic} {code}")

    def fail_produce(self, code: int, times: int) -> None:
        """What they answer to the next requests to produce, each of them to so many."""
        self._tell(f"produce {code} {times}")

    def hang(self) -> None:
        """Until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """They answer again what came meanwhile."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """For good."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End, however they are."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _tell(self, command: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def mock_brokers() -> Iterator[MockBrokers]:
    """Three of them."""
    brokers = MockBrokers()
    try:
        yield brokers
    finally:
        brokers.close()


def consumed(brokers: str, topic: str, least: int = 0) -> list[dict[str, bytes]]:
    """The headers of all that the topic says is in it; at least so many, for brokers that say too little."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "test", "enable.auto.commit": False}, logger=_SILENT
    )
    numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    partitions = [TopicPartition(topic, each, 0) for each in numbers]
    ends = [consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions]
    consumer.assign(partitions)
    found: list[dict[str, bytes]] = []
    deadline = time.monotonic() + 20
    while len(found) < max(sum(ends), least) and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            found.append(dict(message.headers()))
    consumer.close()
    return found


class _Cluster:
    """librdkafka's mock cluster, by its own interface (rdkafka_mock.h), which Python's client lacks."""

    def __init__(self) -> None:
        beside = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
        (library,) = beside.glob("librdkafka*")
        self._library = ctypes.CDLL(str(library))
        for name in ("conf_new", "new", "mock_cluster_new"):
            getattr(self._library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        instance = self._library.rd_kafka_new(0, conf, ctypes.create_string_buffer(512), ctypes.c_size_t(512))
        self._instance = ctypes.c_void_p(instance)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._instance, 3))

    @property
    def addresses(self) -> str:
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def topic(self, topic: str, code: str) -> None:
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), int(code))

    def produce(self, code: str, times: str) -> None:
        codes = (ctypes.c_int * int(times))(*[int(code)] * int(times))
        key = ctypes.c_int16(_PRODUCE)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, key, ctypes.c_size_t(int(times)), codes
        )


if __name__ == "__main__":
    cluster = _Cluster()
    print(cluster.addresses, flush=True)
    for line in sys.stdin:
        command, *told = line.split()
        {"topic": cluster.topic, "produce": cluster.produce}[command](*told)
        print("done", flush=True)
