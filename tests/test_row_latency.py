from __future__ import annotations

from engine.records import SECOND_NS
from exporter.metrics import Metrics
from exporter.row_latency import RowLatency


class Now:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_a_batch_counts_when_its_rows_and_those_before_are_scored_or_their_windows_are() -> None:
    metrics, now = Metrics(), Now()
    latency = RowLatency(metrics, now)

    def seen() -> tuple[float, float]:
        value = metrics.registry.get_sample_value
        return value("rca_row_latency_seconds_count") or 0.0, value("rca_row_latency_seconds_sum") or 0.0

    now.ns = 1 * SECOND_NS
    latency.batch(0, None)  # no model
    assert seen() == (0, 0)
    latency.batch(0, 3)
    now.ns = 2 * SECOND_NS
    latency.batch(1 * SECOND_NS, 0)
    assert seen() == (2, 2 + 1)
    latency.batch(2 * SECOND_NS, 7)
    latency.closed()
    assert seen() == (2, 3)
    now.ns = 20 * SECOND_NS
    latency.closed()  # its rows waited for their window, and were scored before the next one
    assert seen() == (3, 3 + 18)
