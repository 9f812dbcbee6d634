"""Numbers: storage's metrics (Prometheus). One registry for each process, no global one."""

from collections import Counter as Count
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infertap import v1
from storage.in_flight import InFlight

_COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Numbers:
    """What storage counts."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, means: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"infertap_storage_{name}", means, labels, registry=self._registry)

        self.records = counter("records", "Records made durable.")
        self.record_bytes = counter("record_bytes", "Bytes of these records.")
        self.duplicates = counter("duplicates", "Entries that were here already.")
        self.gaps = counter("gaps", "Gaps that spools declared.")
        self.rejected = counter("rejected", "Entries that will never be taken.")
        self.failed_commits = counter("failed_commits", "Batches that the archive could not take.")
        self.findings = counter(
            "findings", "What was wrong with chains and logs, by kind (docs/audit.md).", ("kind",)
        )
        self.expired = counter("expired", "Records that retention removed.")
        self.failed_expiries = counter("failed_expiries", "Steps of retention that failed.")
        self.deleted = counter("deleted", "Records deleted on request.")
        self.archive_bytes = Gauge(
            "infertap_storage_archive_bytes", "What the archive takes on disk.", registry=self._registry
        )
        self.damaged_files = Gauge(
            "infertap_storage_damaged_files",
            "Files that were set aside, and are still there.",
            registry=self._registry,
        )
        self.feedback = counter("feedback", "Pieces of feedback made durable.")
        self.refused = counter(
            "refused", "Calls of unknown callers, or not allowed to them.", ("method", "reason")
        )
        self.queries = counter("queries", "Calls of the RecordService and FeedbackService.", ("method",))
        self.spools = Gauge(
            "infertap_storage_spools_connected", "Spools that are connected.", registry=self._registry
        )
        self.tails = Gauge("infertap_storage_tails", "Live tails that are open.", registry=self._registry)
        self._in_flight = Gauge(
            "infertap_storage_in_flight", "Calls that sidecars have open for long.", registry=self._registry
        )
        self._in_flight_dropped = Gauge(
            "infertap_storage_in_flight_dropped",
            "Calls in flight that there was no room for, since the start.",
            registry=self._registry,
        )
        self.commit_seconds = Histogram(
            "infertap_storage_commit_seconds",
            "How long commits took.",
            buckets=_COMMIT_SECONDS,
            registry=self._registry,
        )

    def watch(self, in_flight: InFlight) -> None:
        """Show how many calls are in flight."""
        self._in_flight.set_function(lambda: len(in_flight))
        self._in_flight_dropped.set_function(lambda: in_flight.dropped)

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
