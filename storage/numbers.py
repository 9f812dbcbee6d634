"""Numbers: storage's metrics (Prometheus). One registry for each process, no global one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

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
        self.feedback = counter("feedback", "Pieces of feedback made durable.")
        self.refused = counter(
            "refused", "Calls of unknown callers, or not allowed to them.", ("method", "reason")
        )
        self.queries = counter("queries", "Calls of the RecordService and FeedbackService.", ("method",))
        self.spools = Gauge(
            "infertap_storage_spools_connected", "Spools that are connected.", registry=self._registry
        )
        self.spools_known = Gauge(
            "infertap_storage_spools",
            "Spools that were ever heard of, by state; missing: those with sequences that never came.",
            ("state",),
            registry=self._registry,
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

    def exposition(self) -> bytes:
        """The numbers in Prometheus' text format."""
        return generate_latest(self._registry)
