"""Three brokers of librdkafka's mock cluster; prints where they listen, then serves until its input ends."""

import logging
import sys

from confluent_kafka import Producer

if __name__ == "__main__":
    cluster = Producer({"test.mock.num.brokers": 3}, logger=logging.Logger("mock", logging.CRITICAL))
    brokers = cluster.list_topics(timeout=10).brokers.values()
    print(",".join(f"{each.host}:{each.port}" for each in brokers), flush=True)
    sys.stdin.read()
