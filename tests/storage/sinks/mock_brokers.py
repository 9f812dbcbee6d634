"""Three brokers of librdkafka's mock cluster, in a process of their own, and what is in their topics.

Run as a program it prints where they listen, and serves until its input ends.
"""

import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, Producer, TopicPartition

_SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)


@contextlib.contextmanager
def mock_brokers() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of the brokers, and their addresses."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    assert process.stdin
    yield process, process.stdout.readline().strip()
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.stdin.close()
    process.stdout.close()
    process.kill()
    process.wait(10)


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


if __name__ == "__main__":
    cluster = Producer({"test.mock.num.brokers": 3}, logger=_SILENT)
    brokers = cluster.list_topics(timeout=10).brokers.values()
    print(",".join(f"{each.host}:{each.port}" for each in brokers), flush=True)
    sys.stdin.read()
