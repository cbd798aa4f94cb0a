"""Time that passes inside traces: a span is held up, and whatever waited for it moves or lasts longer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import numpy as np

from engine.records import I64, SpanColumns


class Where(Enum):
    """Where a span is held up."""

    BEFORE = "before"  # on its way in: it moves as a whole, its caller lasts longer
    INSIDE = "inside"  # right after its start (or where it is told): it lasts longer, what it does afterwards moves
    AFTER = "after"  # on its way back: it stays, its caller lasts longer


class Hold(NamedTuple):
    """One span held up; negative: it is over sooner."""

    row: int
    where: Where
    delay_ns: int
    at_ns: int = -1  # INSIDE only: from this moment on; -1: from its start


class Forest:
    """Which span is below which, inside their traces."""

    def __init__(self, spans: SpanColumns) -> None:
        self.start_ns, self.end_ns = spans.start_ns, spans.time_ns
        count = len(spans.span)
        row_of = {
            key: row for row, key in enumerate(zip(spans.trace_hi.tolist(), spans.trace_lo.tolist(), spans.span.tolist(), strict=True))
        }
        above = zip(spans.trace_hi.tolist(), spans.trace_lo.tolist(), spans.parent.tolist(), strict=True)
        self.parent = np.array([row_of.get(key, -1) if key[2] else -1 for key in above], np.int64).reshape(count)
        children: list[list[int]] = [[] for _ in range(count)]
        for row, parent in enumerate(self.parent.tolist()):
            if parent >= 0 and parent != row:
                children[parent].append(row)
        #: Rows so that what is below a span follows it at once: positions place[row] ... past[row] - 1 of `order`.
        self.order, self.place, self.past = np.empty(count, np.int64), np.full(count, -1, np.int64), np.zeros(count, np.int64)
        reached = 0
        for root in np.flatnonzero(self.parent < 0).tolist():
            waiting = [root]
            while waiting:
                row = waiting.pop()
                if row < 0:
                    self.past[~row] = reached
                    continue
                self.order[reached], self.place[row] = row, reached
                reached += 1
                waiting += [~row, *children[row]]
        for row in np.flatnonzero(self.place < 0).tolist():  # a ring of parents: each span by itself
            self.order[reached], self.place[row], self.past[row] = row, reached, reached + 1
            reached += 1

    def below(self, row: int) -> I64:
        """Rows of a span and all below it."""
        return self.order[self.place[row] : self.past[row]]

    def waiting(self, row: int) -> list[int]:
        """The spans above that were still open when this one ended: they waited for it."""
        found, seen = [], {row}
        while (above := int(self.parent[row])) >= 0 and above not in seen and self.end_ns[above] >= self.end_ns[row]:
            found.append(above)
            seen.add(above)
            row = above
        return found


def hold_up(forest: Forest, holds: Iterable[Hold], log_span: I64, log_ns: I64) -> tuple[I64, I64, I64]:
    """By how much every span's start, every span's end and every log record moves, in ns.

    A span that waited lasts longer; what came after the one that was held up, below the same waiting span, comes later; what ran beside
    it, or waited for nothing, stays. Several holds add up.
    Args: log_span, log_ns: row of the span that each record belongs to (-1: none), and its time.
    """
    starts, ends, logs = np.zeros(len(forest.parent), np.int64), np.zeros(len(forest.parent), np.int64), np.zeros(len(log_ns), np.int64)
    by_span = np.argsort(log_span, kind="stable")
    first = np.searchsorted(log_span[by_span], np.arange(len(forest.parent) + 1))
    for row, where, delay_ns, told_ns in holds:
        inside, above = forest.below(row), forest.waiting(row)
        whole = forest.below(above[-1] if above else row)
        over_ns = forest.end_ns[row]
        later = whole[(forest.start_ns[whole] >= over_ns) & ~np.isin(whole, inside)]
        starts[later] += delay_ns
        ends[later] += delay_ns
        moved = [(later, np.iinfo(np.int64).min), (np.array(above, np.int64), over_ns)]
        ends[above] += delay_ns
        if where is not Where.AFTER:
            at_ns = told_ns if told_ns >= 0 else forest.start_ns[row]
            behind = inside[(forest.start_ns[inside] >= at_ns) & ((inside != row) | (where is Where.BEFORE))]
            starts[behind] += delay_ns
            ends[inside[(forest.end_ns[inside] >= at_ns)]] += delay_ns
            moved.append((inside, at_ns))
        for rows, since_ns in moved:
            for span in rows.tolist():
                records = by_span[first[span] : first[span + 1]]
                logs[records[log_ns[records] >= since_ns]] += delay_ns
    return starts, ends, logs
