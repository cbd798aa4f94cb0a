"""Items wait here until the watermark passes them; then they leave as windows, sorted, however they were batched.

Sorted by (time, source, ids), so that the same items give the same windows. Items that are late join the next window under their own
time; those more than `too_late_ns` behind the watermark are dropped, and so are those that stay far ahead of it (a wrong clock).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.records import HOUR_NS, I64, SECOND_NS, Batch, ConfigChange, LinkColumns, LogColumns, PointColumns, SpanColumns, Window
from engine.settings import EngineSettings
from engine.strings import Resources
from engine.take.columns import concat, link_rows, select, shift_bounds, shift_rows

#: More items than this never wait: what comes then is dropped and counted.
LIMIT_ITEMS = 2_000_000
#: Windows without items follow the last item for this long.
TAIL_NS = 200 * SECOND_NS


class Inbox:
    """Pending items of every kind."""

    def __init__(self, resources: Resources, settings: EngineSettings) -> None:
        self.resources = resources
        self.settings = settings
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.items = 0
        self._spans: list[SpanColumns] = []
        self._logs: list[LogColumns] = []
        self._points: list[PointColumns] = []
        self._links: list[LinkColumns] = []
        self._changes: list[ConfigChange] = []
        self._bounds: list[npt.NDArray[np.float64]] = []
        self._span_count = 0
        self._last_item_ns = 0
        self._window_end_ns: int | None = None
        self._ranks: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def window_end_ns(self) -> int | None:
        """End of the last window that left."""
        return self._window_end_ns

    @property
    def last_item_ns(self) -> int:
        """End of the last window that held items; 0 before the first."""
        return self._last_item_ns

    def resume(self, window_end_ns: int) -> None:
        """Go on behind a window of an earlier life."""
        if window_end_ns:
            self._window_end_ns = self._last_item_ns = window_end_ns

    def put(self, batch: Batch) -> None:
        """Keep a batch until the watermark passes its items."""
        size = sum(len(columns.time_ns) for columns in (batch.spans, batch.logs, batch.points) if columns is not None)
        if self.items + size > LIMIT_ITEMS:
            self.dropped["items", "inbox_full"] += size
            return
        self.items += size
        self._changes.extend(batch.changes)
        if batch.links is not None and len(batch.links.row):
            self._links.append(shift_rows(batch.links, self._span_count))
        if batch.spans is not None and len(batch.spans.time_ns):
            self._spans.append(batch.spans)
            self._span_count += len(batch.spans.time_ns)
        if batch.logs is not None and len(batch.logs.time_ns):
            self._logs.append(batch.logs)
        if batch.points is not None and len(batch.points.time_ns):
            self._points.append(shift_bounds(batch.points, len(self._bounds)))
            self._bounds.extend(batch.bounds)

    def windows(self, watermark_ns: int) -> Iterator[Window]:
        """Windows of `window_ns` that the watermark has passed, oldest first; stretches without items are left out."""
        step = self.settings.window_ns
        limit = watermark_ns // step * step
        if self._window_end_ns is not None and limit <= self._window_end_ns:
            return
        done = self._split(limit)
        if self._window_end_ns is None:
            first = _first_time(done)
            self._window_end_ns = limit if first is None else first // step * step
        yield from self._cut(done, limit)

    def pending(self) -> Window:
        """Everything that waits, as one window, without taking it."""
        spans, logs, points = concat(self._spans, SpanColumns), concat(self._logs, LogColumns), concat(self._points, PointColumns)
        by_span = self._order(spans, (spans.span, spans.trace_lo, spans.trace_hi))
        by_log = self._order(logs, (logs.span, logs.trace_lo, logs.trace_hi))
        start = self._window_end_ns or 0
        return Window(
            start_ns=start,
            end_ns=start,
            spans=select(spans, by_span),
            logs=select(logs, by_log),
            points=select(points, self._order(points, ())),
            links=link_rows(concat(self._links, LinkColumns), by_span, self._span_count),
            changes=tuple(self._changes),
            bounds=tuple(self._bounds),
        )

    def _split(self, limit_ns: int) -> Window:
        """Take the items before `limit_ns` out; what is too old, or stays far ahead, is dropped."""
        everything = self.pending()
        oldest = (self._window_end_ns or 0) - self.settings.too_late_ns
        newest = limit_ns + HOUR_NS

        def split(columns: SpanColumns | LogColumns | PointColumns, what: str) -> tuple[I64, I64]:
            time_ns = columns.time_ns
            late, ahead = time_ns < oldest, time_ns > newest
            self.dropped[what, "too_late"] += int(late.sum())
            self.dropped[what, "ahead"] += int(ahead.sum())
            return np.flatnonzero((time_ns < limit_ns) & ~late), np.flatnonzero((time_ns >= limit_ns) & ~ahead)

        spans_now, spans_later = split(everything.spans, "spans")
        logs_now, logs_later = split(everything.logs, "logs")
        points_now, points_later = split(everything.points, "points")
        count = len(everything.spans.time_ns)
        self._spans, self._logs, self._points = (
            [select(everything.spans, spans_later)],
            [select(everything.logs, logs_later)],
            [select(everything.points, points_later)],
        )
        self._links = [link_rows(everything.links, spans_later, count)]
        self._span_count = len(spans_later)
        if not len(points_later):
            self._bounds = []
        self._changes = [change for change in everything.changes if change.time_ns >= limit_ns and change.time_ns <= newest]
        self.items = len(spans_later) + len(logs_later) + len(points_later)
        # A change is never too old: it may explain what comes.
        changes = tuple(sorted((c for c in everything.changes if c.time_ns < limit_ns), key=lambda c: (c.time_ns, c.id)))
        return replace(
            everything,
            spans=select(everything.spans, spans_now),
            logs=select(everything.logs, logs_now),
            points=select(everything.points, points_now),
            links=link_rows(everything.links, spans_now, count),
            changes=changes,
        )

    def _cut(self, done: Window, limit_ns: int) -> Iterator[Window]:
        """Cut sorted items into windows that end at whole steps; late items go to the first.

        Windows go on for a while after the last item, as evidence fades and incidents end in them; then time jumps to the next item.
        """
        assert self._window_end_ns is not None
        step = self.settings.window_ns
        while self._window_end_ns < limit_ns:
            end = self._window_end_ns + step
            if end > self._last_item_ns + TAIL_NS:
                first = _first_time(done)
                if first is None:
                    self._window_end_ns = limit_ns
                    return
                end = max(end, first // step * step + step)
            now, done = _before(done, end)
            if _first_time(now) is not None:
                self._last_item_ns = end
            self._window_end_ns = end
            yield replace(now, start_ns=end - step, end_ns=end)

    def _order(self, columns: SpanColumns | LogColumns | PointColumns, ids: tuple[npt.NDArray[np.uint64], ...]) -> I64:
        return np.lexsort((*ids, self._rank()[columns.resource], columns.time_ns))

    def _rank(self) -> npt.NDArray[np.int64]:
        """Position of each resource code in the order of names: codes themselves order nothing."""
        if len(self._ranks) != len(self.resources):
            rows = [self.resources[code] for code in range(len(self.resources))]
            order = sorted(range(len(rows)), key=rows.__getitem__)
            self._ranks = np.empty(len(rows), np.int64)
            self._ranks[order] = np.arange(len(rows))
        return self._ranks


def _first_time(window: Window) -> int | None:
    """Earliest time of a window's items, None if it has none. Late ones count too: the next window is theirs."""
    times = [int(columns.time_ns[0]) for columns in (window.spans, window.logs, window.points) if len(columns.time_ns)]
    times += [change.time_ns for change in window.changes[:1]]
    return min(times, default=None)


def _before(window: Window, end_ns: int) -> tuple[Window, Window]:
    """Split sorted items at a time."""
    halves = []
    for first in (True, False):
        rows = {}
        for name in ("spans", "logs", "points"):
            time_ns = getattr(window, name).time_ns
            at = int(np.searchsorted(time_ns, end_ns))
            rows[name] = np.arange(at) if first else np.arange(at, len(time_ns))
        halves.append(
            replace(
                window,
                spans=select(window.spans, rows["spans"]),
                logs=select(window.logs, rows["logs"]),
                points=select(window.points, rows["points"]),
                links=link_rows(window.links, rows["spans"], len(window.spans.time_ns)),
                changes=tuple(change for change in window.changes if (change.time_ns < end_ns) == first),
            )
        )
    return halves[0], halves[1]
