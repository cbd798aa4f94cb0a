"""Items wait here until the watermark passes them; then they leave as windows, sorted, however they were batched.

Sorted by (time, source, ids), so that the same items give the same windows. Items that are late join the next window under their own
time; those more than `too_late_ns` behind the watermark are dropped, and so are those that stay far ahead of it (a wrong clock).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from engine import kernels
from engine.records import (
    HOUR_NS,
    I64,
    SECOND_NS,
    Batch,
    Bool,
    ConfigChange,
    LinkColumns,
    LogColumns,
    PointColumns,
    SpanColumns,
    Window,
)
from engine.settings import EngineSettings
from engine.strings import Resources
from engine.take.columns import Columns, concat, cut, empty, gather, laid, link_rows, select, shift_bounds, shift_rows

KINDS = ("spans", "logs", "points")
_SIGN = np.uint64(1 << 63)  # with it turned, unsigned numbers order as signed ones

#: Windows without items follow the last item for this long.
TAIL_NS = 200 * SECOND_NS


@dataclass(frozen=True, slots=True)
class _Part:
    """Items of one kind from one batch, as they came."""

    columns: SpanColumns | LogColumns | PointColumns
    links: LinkColumns | None
    earliest_ns: int
    latest_ns: int

    @classmethod
    def of(cls, columns: SpanColumns | LogColumns | PointColumns, links: LinkColumns | None = None) -> _Part:
        return cls(columns, links, int(columns.time_ns.min()), int(columns.time_ns.max()))

    def rows(self, which: Bool) -> _Part | None:
        """Some of them, None without any."""
        kept = np.flatnonzero(which)
        if not len(kept):
            return None
        links = None if self.links is None else link_rows(self.links, kept, len(which))
        return _Part.of(select(self.columns, kept), links)


class Inbox:
    """Pending items of every kind, unsorted until the watermark passes them."""

    def __init__(self, resources: Resources, settings: EngineSettings) -> None:
        self.resources = resources
        self.settings = settings
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.items = 0
        self._parts: dict[str, list[_Part]] = {kind: [] for kind in KINDS}
        self._changes: list[ConfigChange] = []
        self._bounds: list[npt.NDArray[np.float64]] = []
        self._last_item_ns = 0
        self._window_end_ns: int | None = None
        self._ranks: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._pending: Window | None = None  # until something comes or leaves

    @property
    def window_end_ns(self) -> int | None:
        """End of the last window that left."""
        return self._window_end_ns

    @property
    def last_item_ns(self) -> int:
        """End of the last window that held items; 0 before the first."""
        return self._last_item_ns

    @property
    def latest_ns(self) -> int | None:
        """Latest time of the items that wait, None without any."""
        return max((part.latest_ns for parts in self._parts.values() for part in parts), default=None)

    @property
    def full(self) -> bool:
        """Whether more items wait than may: windows have to close now, or senders to wait."""
        return self.items > self.settings.waiting_items

    def resume(self, window_end_ns: int) -> None:
        """Go on behind a window of an earlier life."""
        if window_end_ns:
            self._window_end_ns = self._last_item_ns = window_end_ns

    def put(self, batch: Batch) -> None:
        """Keep a batch until the watermark passes its items. Raises: RuntimeError for columns of unequal length; nothing is kept then."""
        batch.check_whole()
        size = sum(len(columns.time_ns) for columns in (batch.spans, batch.logs, batch.points) if columns is not None)
        self._pending = None
        self.items += size
        self._changes.extend(batch.changes)
        if batch.spans is not None and len(batch.spans.time_ns):
            self._parts["spans"].append(_Part.of(batch.spans, batch.links))
        if batch.logs is not None and len(batch.logs.time_ns):
            self._parts["logs"].append(_Part.of(batch.logs))
        if batch.points is not None and len(batch.points.time_ns):
            self._parts["points"].append(_Part.of(shift_bounds(batch.points, len(self._bounds))))
            self._bounds.extend(batch.bounds)

    def windows(self, watermark_ns: int, ahead_ns: int = HOUR_NS) -> Iterator[Window]:
        """Windows of `window_ns` that the watermark has passed, oldest first; stretches without items are left out.

        Items more than `ahead_ns` ahead of it are dropped.
        """
        step = self.settings.window_ns
        limit = watermark_ns // step * step
        if self._window_end_ns is not None and limit <= self._window_end_ns:
            return
        done = self._split(limit, limit + ahead_ns)
        if self._window_end_ns is None:
            first = _first_time(done)
            self._window_end_ns = limit if first is None else first // step * step
        yield from self._cut(done, limit)

    def pending(self) -> Window:
        """Everything that waits, as one window, without taking it."""
        if self._pending is None:
            self._pending = self._sorted(self._parts, tuple(self._changes))
        return self._pending

    def _split(self, limit_ns: int, newest: int) -> Window:
        """Take the items before `limit_ns` out; what is too old, or later than `newest`, is dropped."""
        oldest = (self._window_end_ns or 0) - self.settings.too_late_ns
        now: dict[str, list[_Part]] = {kind: [] for kind in KINDS}
        later: dict[str, list[_Part]] = {kind: [] for kind in KINDS}
        for kind, parts in self._parts.items():
            for part in parts:
                if oldest <= part.earliest_ns and part.latest_ns < limit_ns:
                    now[kind].append(part)
                elif limit_ns <= part.earliest_ns and part.latest_ns <= newest:
                    later[kind].append(part)
                else:
                    self._divide(part, kind, oldest, limit_ns, newest, now, later)
        bounds, self._parts, self._pending = tuple(self._bounds), later, None
        if not later["points"]:
            self._bounds = []
        # A change is never too old: it may explain what comes.
        changes = tuple(sorted((c for c in self._changes if c.time_ns < limit_ns), key=lambda c: (c.time_ns, c.id)))
        self._changes = [change for change in self._changes if limit_ns <= change.time_ns <= newest]
        self.items = sum(len(part.columns.time_ns) for parts in later.values() for part in parts)
        return replace(self._sorted(now, changes), bounds=bounds)

    def _divide(
        self, part: _Part, kind: str, oldest: int, limit_ns: int, newest: int, now: dict[str, list[_Part]], later: dict[str, list[_Part]]
    ) -> None:
        """Divide a batch that lies on both sides of a limit."""
        time_ns = part.columns.time_ns
        late, ahead = time_ns < oldest, time_ns > newest
        self.dropped[kind, "too_late"] += int(late.sum())
        self.dropped[kind, "ahead"] += int(ahead.sum())
        before = time_ns < limit_ns
        for target, which in ((now, before & ~late), (later, ~before & ~ahead)):
            if (rows := part.rows(which)) is not None:
                target[kind].append(rows)

    def _sorted(self, parts: dict[str, list[_Part]], changes: tuple[ConfigChange, ...]) -> Window:
        """Parts as one window, sorted by (time, sender, ids)."""
        start = self._window_end_ns or 0
        spans, by_span = self._together(parts["spans"], SpanColumns)
        links = []
        first = 0
        for part in parts["spans"]:
            if part.links is not None and len(part.links.row):
                links.append(shift_rows(part.links, first))
            first += len(part.columns.time_ns)
        return Window(
            start_ns=start,
            end_ns=start,
            spans=spans,
            logs=self._together(parts["logs"], LogColumns)[0],
            points=self._together(parts["points"], PointColumns)[0],
            links=link_rows(concat(links, LinkColumns), by_span, first) if links else empty(LinkColumns),
            changes=changes,
            bounds=tuple(self._bounds),
        )

    def _together(self, parts: Sequence[_Part], kind: type[Columns]) -> tuple[Columns, I64]:
        """All items of a kind in order, and the order."""
        columns = [cast(Columns, part.columns) for part in parts]
        order = self._order(columns, () if kind is PointColumns else ("span", "trace_lo", "trace_hi"))
        return gather(columns, kind, order)[0], order

    def _cut(self, done: Window, limit_ns: int) -> Iterator[Window]:
        """Cut sorted items into windows that end at whole steps; late items go to the first.

        Windows go on for a while after the last item, as evidence fades and incidents end in them; then time jumps to the next item.
        """
        assert self._window_end_ns is not None
        step = self.settings.window_ns
        nothing: Window | None = None
        while self._window_end_ns < limit_ns:
            end = self._window_end_ns + step
            if end > self._last_item_ns + TAIL_NS:
                first = _first_time(done)
                if first is None:
                    self._window_end_ns = limit_ns
                    return
                end = max(end, first // step * step + step)
            first = _first_time(done)
            if first is not None and first < end:
                now, done = _before(done, end)
                nothing, self._last_item_ns = None, end
            else:  # most windows, where series report every few minutes
                nothing = nothing or _before(done, -1)[0]
                now = nothing
            self._window_end_ns = end
            yield replace(now, start_ns=end - step, end_ns=end)

    def _order(self, parts: Sequence[Columns], ids: tuple[str, ...]) -> I64:
        """Rows by time; where times are equal by the sender's rank, then by the ids, of which the last counts most."""
        times = laid(parts, "time_ns")
        order = kernels.argsort(times)
        time_ns = times.take(order)
        tied = np.zeros(len(order) + 1, bool)
        tied[1:-1] = time_ns[1:] == time_ns[:-1]
        places = np.flatnonzero(tied[1:] | tied[:-1])
        if not len(places):
            return order
        rows = order[places]
        for name in ids:
            rows = rows[kernels.argsort((laid(parts, name)[rows] ^ _SIGN).view(np.int64))]
        rows = rows[kernels.argsort(self._rank()[laid(parts, "resource")[rows]])]
        order[places] = rows[kernels.argsort(times[rows])]
        return order

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
    """Split sorted items at a time, without copying them."""
    halves = []
    at = {name: int(np.searchsorted(getattr(window, name).time_ns, end_ns)) for name in KINDS}
    for first in (True, False):
        ends = {name: (0, at[name]) if first else (at[name], len(getattr(window, name).time_ns)) for name in KINDS}
        halves.append(
            replace(
                window,
                spans=cut(window.spans, *ends["spans"]),
                logs=cut(window.logs, *ends["logs"]),
                points=cut(window.points, *ends["points"]),
                links=_links_between(window.links, *ends["spans"]),
                changes=tuple(change for change in window.changes if (change.time_ns < end_ns) == first),
            )
        )
    return halves[0], halves[1]


def _links_between(links: LinkColumns, start: int, end: int) -> LinkColumns:
    """Links of the spans start ... end - 1."""
    if not len(links.row):
        return links
    return shift_rows(select(links, (links.row >= start) & (links.row < end)), -start)
