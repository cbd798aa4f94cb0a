"""Metrics of the receiver."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

#: 1 ms ... 10 s: an export of a few items to one of 64 MiB.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Counters:
    """What the receiver counts, by transport (grpc, http), signal (traces, logs, metrics, profiles) and reason."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.items = Counter(
            "rca_receiver_items_total", "Spans, log records and data points taken.", ("transport", "signal"), registry=registry
        )
        self.refused = Counter(
            "rca_receiver_refused_requests_total", "Requests that were not taken, by reason.", ("transport", "reason"), registry=registry
        )
        self.seconds = Histogram(
            "rca_receiver_request_duration_seconds",
            "From the request's last byte to its answer.",
            ("transport", "signal"),
            buckets=SECONDS,
            registry=registry,
        )
        self.dropped = Counter(
            "rca_receiver_dropped_items_total", "Items of taken requests that are left out, by reason.", ("reason",), registry=registry
        )
