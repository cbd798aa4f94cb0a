"""The ring of joined spans, and what those of a stretch of time did, chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, log2

import numpy as np
import numpy.typing as npt

from engine import kernels
from engine.records import F64, MINUTE_NS, Bool
from engine.windows.codes import Codes
from engine.windows.spans import Spans, Sums
from engine.windows.sums import Tally, Values

RING_SPANS = 400_000
YOUNG_NS = MINUTE_NS


class Ring:
    """Chunks of joined spans, oldest first, bounded in spans and age. The newest stays whole: without it nothing could be said of floods.

    Of the others a sample of traces is kept when there is no room for all: what `spans` and the newest leave, by 1 / (age + 1 min). Shares,
    means and rates of a sample are those of all, only less sure.
    """

    def __init__(self, *, keep_ns: int, spans: int = RING_SPANS) -> None:
        self.keep_ns = keep_ns
        self.spans = spans
        self.dropped = 0  # spans that left for want of room, before their age
        self._chunks: deque[Spans] = deque()

    @property
    def held(self) -> int:
        """Spans that are kept."""
        return sum(map(len, self._chunks))

    def add(self, chunk: Spans, now_ns: int) -> None:
        """Keep a chunk; let go what is too old, or too much."""
        if len(chunk):
            self._chunks.append(chunk)
        while self._chunks and self._chunks[0].bounds_ns[1] < now_ns - self.keep_ns:
            self._chunks.popleft()
        before = self.held
        if before > self.spans:
            self._chunks = deque(self._thinned(now_ns))
            self.dropped += before - self.held

    def _thinned(self, now_ns: int) -> Iterator[Spans]:
        *older, newest = self._chunks
        worth = [1 / (max(now_ns - chunk.bounds_ns[1], 0) + YOUNG_NS) for chunk in older]
        for chunk, mine in zip(older, worth, strict=True):
            room, left = max(self.spans - len(newest), 0) * mine / sum(worth), chunk
            while len(left) > room:
                left = left.sample(left.share / 2 ** max(1, floor(log2(len(left) / max(room, 1)))))
            if len(left):
                yield left
        yield newest

    def between(self, start_ns: int, end_ns: int, extra: Spans | None = None) -> list[Spans]:
        """Chunks with a span that ends in [start, end]; whole traces, so others are among them."""
        parts = [*self._chunks, *([extra] if extra is not None and len(extra) else [])]
        return [part for part in parts if part.bounds_ns[1] >= start_ns and part.bounds_ns[0] <= end_ns]


@dataclass(frozen=True)
class Part:
    """Some spans of a chunk."""

    spans: Spans
    now: Bool  # [n]
    sums: Sums

    def steps(self, wanted: Bool) -> npt.NDArray[np.intp]:
        """Steps of these spans with a wanted outcome; wanted: bool [outcomes]."""
        rows = kernels.chosen(self.spans.step_outcome, wanted)
        return rows[self.now[self.spans.step_span[rows]]]

    def trace_id(self, row: int) -> str:
        """32 hex digits."""
        trace = self.spans.trace[row]
        return f"{int(self.spans.trace_hi[trace]):016x}{int(self.spans.trace_lo[trace]):016x}"


@dataclass(frozen=True)
class View:
    """The spans that end in [start, end], or [start, end) for a block, with sums that several families need."""

    parts: tuple[Part, ...]
    start_ns: int
    end_ns: int

    @cached_property
    def values(self) -> Values:
        """Values by key."""
        return Values.total([part.sums.values for part in self.parts])

    @cached_property
    def entries(self) -> Tally:
        """Requests that arrived, by operation; population counts."""
        return Tally.total([part.sums.entries for part in self.parts])

    @property
    def spans(self) -> int:
        """How many spans."""
        return sum(part.sums.spans for part in self.parts)

    @property
    def requests(self) -> int:
        """How many requests ended."""
        return sum(part.sums.requests for part in self.parts)

    @property
    def seconds(self) -> float:
        """Length."""
        return (self.end_ns - self.start_ns) / 1e9

    def by_context(self, codes: Codes) -> tuple[F64, F64]:
        """How often each context came, and in how many traces; [contexts]."""
        chances, traces = np.zeros((2, len(codes.contexts)))
        for part in self.parts:
            chances[part.sums.contexts.code] += part.sums.contexts.count
            traces[part.sums.contexts.code] += part.sums.traces
        return chances, traces

    def by_outcome(self, codes: Codes) -> F64:
        """How often each outcome came; [outcomes]."""
        hits = np.zeros(len(codes.outcomes))
        for part in self.parts:
            hits[part.sums.outcomes.code] += part.sums.outcomes.count
        return hits

    def traces_by_service(self, services: int) -> F64:
        """Number of traces with a span of the service, [services]."""
        traces = np.zeros(services)
        for part in self.parts:
            traces[part.sums.services.code] += part.sums.services.count
        return traces

    def longest(self, key: int) -> str:
        """Trace id of the highest value of a key, "" if there is none."""
        best, trace_id = -np.inf, ""
        for part in self.parts:
            place = int(np.searchsorted(part.sums.values.key, key))
            if place < len(part.sums.values.key) and part.sums.values.key[place] == key:
                row = int(part.sums.longest[place])
                if part.spans.value[row] > best:
                    best, trace_id = float(part.spans.value[row]), part.trace_id(int(part.spans.value_span[row]))
        return trace_id


def view(chunks: Sequence[Spans], start_ns: int, end_ns: int, *, closed: bool = True) -> View:
    """The spans that end in [start, end], or in [start, end) if not closed."""
    last_ns = end_ns if closed else end_ns - 1
    parts = []
    for spans in chunks:
        earliest, latest = spans.bounds_ns
        if not len(spans) or latest < start_ns or earliest > last_ns:
            continue
        now = (spans.time_ns >= start_ns) & (spans.time_ns <= last_ns)
        if start_ns <= earliest and latest <= last_ns:
            parts.append(Part(spans, now, spans.sums))
        elif now.any():
            parts.append(Part(spans, now, Sums.of(spans, now)))
    return View(tuple(parts), start_ns, end_ns)
