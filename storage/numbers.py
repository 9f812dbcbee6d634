"""Numbers: storage's metrics (Prometheus). One registry for each process, no global one."""

from collections import Counter as Count
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infertap import v1
from storage.live import InFlight
from storage.sinks import SinkNumbers

_PREFIX = "infertap_storage_"
_COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Numbers:
    """What storage counts."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.records = self._counter("records", "Records made durable.")
        self.record_bytes = self._counter("record_bytes", "Bytes of these records.")
        self.duplicates = self._counter("duplicates", "Entries that were here already.")
        self.gaps = self._counter("gaps", "Gaps that spools declared.")
        self.rejected = self._counter("rejected", "Entries that will never be taken.")
        self.failed_commits = self._counter("failed_commits", "Batches that the archive could not take.")
        self.findings = self._counter(
            "findings", "What was wrong with chains and logs, by kind (docs/audit.md).", "kind"
        )
        self.expired = self._counter("expired", "Records that retention removed.")
        self.failed_expiries = self._counter("failed_expiries", "Steps of retention that failed.")
        self.deleted = self._counter("deleted", "Records deleted on request.")
        self.archive_bytes = self._gauge("archive_bytes", "What the archive takes on disk.")
        self.damaged_files = self._gauge("damaged_files", "Files that were set aside, and are still there.")
        self.feedback = self._counter("feedback", "Pieces of feedback made durable.")
        self.refused = self._counter(
            "refused", "Calls of unknown callers, or not allowed to them.", "method", "reason"
        )
        self.queries = self._counter("queries", "Calls of the RecordService and FeedbackService.", "method")
        self.spools = self._gauge("spools_connected", "Spools that are connected.")
        self.ended_streams = self._counter(
            "streams_ended", "Streams of sidecars that storage ended, or had no room for.", "reason"
        )
        self.refused_spools = self._counter(
            "spools_refused", "New spools beyond what an identity may begin in a day."
        )
        self.tails = self._gauge("tails", "Live tails that are open.")
        self._in_flight = self._gauge("in_flight", "Calls that sidecars have open for long.")
        self._in_flight_dropped = self._gauge(
            "in_flight_dropped", "Calls in flight that there was no room for, since the start."
        )
        self.sinks = SinkNumbers(self._registry)
        self.commit_seconds = Histogram(
            f"{_PREFIX}commit_seconds",
            "How long commits took.",
            buckets=_COMMIT_SECONDS,
            registry=self._registry,
        )

    def _counter(self, name: str, means: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, means, labels, registry=self._registry)

    def _gauge(self, name: str, means: str) -> Gauge:
        return Gauge(_PREFIX + name, means, registry=self._registry)

    def watch(self, in_flight: InFlight) -> None:
        """Show how many calls are in flight."""
        self._in_flight.set_function(lambda: len(in_flight))
        self._in_flight_dropped.set_function(lambda: in_flight.dropped)

    def watch_questions(self, under_way: Callable[[], int]) -> None:
        """Show how many questions wait or are being answered."""
        gauge = self._gauge("questions", "Questions to the archive that wait or are being answered.")
        gauge.set_function(under_way)

    def watch_spools(self, listed: Callable[[], Sequence[v1.Spool]]) -> None:
        """Show how the spools stand that were ever heard of."""
        self._registry.register(_SpoolStates(listed))

    def exposition(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self._registry)


class _SpoolStates(Collector):
    """Spools by state, counted when somebody asks."""

    def __init__(self, listed: Callable[[], Sequence[v1.Spool]]) -> None:
        self._listed = listed

    def describe(self) -> Iterator[Metric]:
        """Asked at registration, where nothing should be counted."""
        yield from self._families((), {})

    def collect(self) -> Iterator[Metric]:
        spools = self._listed()
        counted = {v1.Spool.State.Name(state).lower(): 0 for state in v1.Spool.State.values() if state}
        counted |= Count(v1.Spool.State.Name(spool.state).lower() for spool in spools)
        yield from self._families(spools, counted)

    def _families(self, spools: Sequence[v1.Spool], counted: dict[str, int]) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "infertap_storage_spools", "Spools that were ever heard of, by state.", labels=["state"]
        )
        for state, count in counted.items():
            states.add_metric([state], count)
        yield states
        # Of spools that went: what they said was still to be sent.
        gone = (v1.Spool.VANISHED, v1.Spool.QUARANTINED)
        unsent = sum(spool.pending for spool in spools if spool.state in gone)
        yield GaugeMetricFamily("infertap_storage_unsent", "Records that went with their pods.", value=unsent)
        yield GaugeMetricFamily(
            "infertap_storage_missing",
            "Sequences that never came, and were not declared lost.",
            value=sum(spool.missing for spool in spools),
        )
