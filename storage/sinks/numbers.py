"""Numbers: what sinks count, for storage's metrics. Each has the sink's name as its label."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX = "infertap_storage_sink_"


class SinkNumbers:
    """Of all sinks of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, means: str) -> Counter:
            return Counter(_PREFIX + name, means, ["sink"], registry=registry)

        self._delivered = counter("delivered", "Records that a sink took.")
        self._refused = counter("refused", "Records that a sink will never take: set aside.")
        self._retries = counter("retries", "Times that something went wrong, and was tried again.")
        self._lost = counter("lost", "Records that were removed before they went on.")
        self._behind = Gauge(
            f"{_PREFIX}behind_seconds",
            "How old the first record is that has not gone on; of sinks that this process runs.",
            ["sink"],
            registry=registry,
        )

    def delivered(self, sink: str, records: int) -> None:
        """It took so many."""
        self._delivered.labels(sink).inc(records)

    def refused(self, sink: str, records: int) -> None:
        """It refused so many."""
        self._refused.labels(sink).inc(records)

    def retried(self, sink: str) -> None:
        """Something went wrong."""
        self._retries.labels(sink).inc()

    def lost(self, sink: str, records: int) -> None:
        """So many were removed before."""
        self._lost.labels(sink).inc(records)

    def watch_behind(self, sink: str, seconds: Callable[[], float]) -> None:
        """Show how far behind it is; the counters begin at nought."""
        for each in (self._delivered, self._refused, self._retries, self._lost):
            each.labels(sink)
        self._behind.labels(sink).set_function(seconds)
