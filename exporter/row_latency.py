"""How long after their arrival the rows of a batch are scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.records import SECOND_NS
from exporter.metrics import Metrics

#: Rows that are not scored as batches come are scored when their window has closed, by the end of the next one.
WINDOWS = 2


class RowLatency:
    """Observes `rca_row_latency_seconds`, once a batch."""

    def __init__(self, metrics: Metrics, clock_ns: Callable[[], int]) -> None:
        self._metrics, self._clock_ns = metrics, clock_ns
        self._closed = 0
        self._left: deque[tuple[int, int]] = deque()  # windows that must have closed, when received

    def batch(self, received_ns: int, left: int | None) -> None:
        """A batch was taken; `left` rows of it and of those before are not scored yet. None: it has no rows that a model scores."""
        if left is None:
            return
        self._left.append((self._closed + WINDOWS, received_ns))
        self.scored(left)

    def scored(self, left: int) -> None:
        """So many rows of batches are not scored yet."""
        if not left:
            self._done(len(self._left))

    def closed(self) -> None:
        """A window closed."""
        self._closed += 1
        self._done(sum(due <= self._closed for due, _ in self._left))

    def _done(self, batches: int) -> None:
        for _ in range(batches):
            self._observe(self._left.popleft()[1])

    def _observe(self, received_ns: int) -> None:
        self._metrics.observe("rca_row_latency_seconds", max(0, self._clock_ns() - received_ns) / SECOND_NS)
