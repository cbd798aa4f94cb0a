"""What happened: joined spans of the recent past in columns, and counters of what they did by block of history.

Codes here are numbers that `Codes` gives out: operations of services, contexts (operation, event), outcomes (context, next event) and
keys of values (call gaps, self times, rates). Tables grow up to a cap; what comes later is counted and left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import F32, F64, I32, I64, U64, Bool, SpanKind, Status
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind, Joined

EVENT_BITS = 43  # kind and payload of an event
SPAN_EVENT = 6 << KIND_SHIFT  # context "a span of the operation"; its outcomes are END and END_ERROR
SLOT_EVENT = 7 << KIND_SHIFT  # context "a slot of time with log records", operation 0; its outcomes are keys of log counts
EDGE, SELF, ENTRY, ROOT = 1, 2, 3, 4  # kinds of values: gap of a call, self time, requests a minute; time of a request from outside
CAPS = {"operations": 65536, "contexts": 65536, "outcomes": 131072, "values": 16384}
RING_SPANS = 400_000


class Interner:
    """int64 keys to codes 0, 1, 2 ..., in the order of their first sight; -1 once there are `cap`."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.overflowed = 0
        self._codes: dict[int, int] = {}
        self._keys = np.zeros(64, np.int64)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def keys(self) -> I64:
        """Key of each code."""
        return self._keys[: len(self._codes)]

    def codes(self, keys: I64) -> I32:
        """Codes of keys, new ones given out."""
        distinct, position = np.unique(keys, return_inverse=True)
        found = np.fromiter((self._code(key) for key in distinct.tolist()), np.int32, len(distinct))
        codes: I32 = found[position.reshape(-1)]
        return codes

    def _code(self, key: int) -> int:
        code = self._codes.get(key)
        if code is None:
            code = len(self._codes)
            if code >= self.cap:
                self.overflowed += 1
                return -1
            if code >= len(self._keys):
                self._keys = np.concatenate([self._keys, np.zeros(len(self._keys), np.int64)])
            self._codes[key] = code
            self._keys[code] = key
        return code


class Codes:
    """The tables of codes."""

    def __init__(self) -> None:
        self.operations = Interner(CAPS["operations"])  # service << 20 | operation
        self.contexts = Interner(CAPS["contexts"])  # operation code << 43 | event
        self.outcomes = Interner(CAPS["outcomes"])  # context code << 43 | event
        self.values = Interner(CAPS["values"])  # kind << 40 | (caller << 20 | callee, or operation code)
        self.operations.codes(np.zeros(1, np.int64))  # 0: of no service

    @property
    def context_of(self) -> I32:
        """Context of each outcome."""
        contexts: I32 = (self.outcomes.keys >> EVENT_BITS).astype(np.int32)
        return contexts

    @property
    def service_of_context(self) -> I64:
        """Service of each context; 0 for slots of time."""
        services: I64 = self.operations.keys[self.contexts.keys >> EVENT_BITS] >> SERVICE_SHIFT
        return services

    def chances(self, operation: I32, before: I64, after: I64) -> tuple[I32, I32]:
        """Context and outcome codes of steps; -1 where a table is full."""
        context = self.contexts.codes((operation.astype(np.int64) << EVENT_BITS) | before)
        outcome = self.outcomes.codes((np.maximum(context, 0).astype(np.int64) << EVENT_BITS) | after)
        return context, np.where((operation < 0) | (context < 0), -1, outcome).astype(np.int32)


@dataclass(frozen=True)
class Spans:
    """Joined spans with their steps and values in codes; a chunk of the ring, or several put together. Rows are positions here."""

    time_ns: I64  # [n] end
    service: I32  # [n]
    resource: I32  # [n] who sent it
    operation: I32  # [n] code of Codes.operations
    trace: I32  # [n] position in trace_hi, trace_lo
    parent: I32  # [n]
    depth: I32  # [n]
    root: Bool  # [n]
    passes_on_error: Bool  # [n]
    failed: Bool  # [n] error status
    entry: Bool  # [n] a request arrives here: from another service, or from outside
    population: F32  # [n] spans that this one stands for: sampled at the source, and over budget here
    trace_hi: U64  # [t]
    trace_lo: U64  # [t]
    step_span: I32  # [s]
    step_context: I32  # [s]
    step_outcome: I32  # [s]
    value_span: I32  # [v]
    value_key: I32  # [v]
    value: F32  # [v] ln(1 + milliseconds)

    def __len__(self) -> int:
        return len(self.time_ns)

    @classmethod
    def of(cls, joined: Joined, codes: Codes) -> Spans:
        """Give codes to what was joined."""
        service, spans = joined.service.astype(np.int64), joined.spans
        operation = codes.operations.codes((service << SERVICE_SHIFT) | spans.operation)
        rows = np.arange(len(joined))
        owner = np.concatenate([joined.step_span, rows])
        ended = np.where(joined.own_error, EventKind.END_ERROR, EventKind.END).astype(np.int64) << KIND_SHIFT
        before = np.concatenate([joined.step_before, np.full(len(rows), SPAN_EVENT, np.int64)])
        context, outcome = codes.chances(operation[owner], before, np.concatenate([joined.step_after, ended]))
        kept = np.flatnonzero(outcome >= 0)

        local = np.flatnonzero(~joined.remote_client)
        duration = spans.time_ns - spans.start_ns
        gap = (EDGE << KIND_SHIFT) | (service[joined.client] << SERVICE_SHIFT) | service[joined.server]
        own = (SELF << KIND_SHIFT) | operation[local].astype(np.int64)
        outside = np.flatnonzero(joined.root & (spans.kind != SpanKind.CLIENT) & (operation >= 0))
        whole = (ROOT << KIND_SHIFT) | operation[outside].astype(np.int64)
        key = codes.values.codes(np.concatenate([gap, own, whole]))
        nanoseconds = np.concatenate([duration[joined.client] - duration[joined.server], joined.self_ns[local], duration[outside]])
        valued = np.flatnonzero(key >= 0)
        entry = np.zeros(len(joined), bool)
        entry[joined.server] = True
        entry |= joined.root & (spans.kind != SpanKind.CLIENT)
        return cls(
            time_ns=spans.time_ns,
            service=joined.service,
            resource=spans.resource,
            operation=operation,
            trace=joined.trace.astype(np.int32),
            parent=joined.parent.astype(np.int32),
            depth=joined.depth.astype(np.int32),
            root=joined.root,
            passes_on_error=joined.passes_on_error,
            failed=spans.status == Status.ERROR,
            entry=entry,
            population=(spans.weight / joined.share).astype(np.float32),
            trace_hi=joined.trace_hi,
            trace_lo=joined.trace_lo,
            step_span=owner[kept].astype(np.int32),
            step_context=context[kept],
            step_outcome=outcome[kept],
            value_span=np.concatenate([joined.client, local, outside])[valued].astype(np.int32),
            value_key=key[valued],
            value=np.log1p(np.maximum(nanoseconds, 0) / 1e6)[valued].astype(np.float32),
        )

    @classmethod
    def together(cls, parts: Sequence[Spans]) -> Spans:
        """Several as one, rows moved. Raises: ValueError if there is none."""
        if len(parts) == 1:
            return parts[0]
        first_row = np.cumsum([0, *(len(part) for part in parts)])
        first_trace = np.cumsum([0, *(len(part.trace_hi) for part in parts)])
        columns: dict[str, Any] = {}
        for field in fields(cls):
            arrays = [getattr(part, field.name) for part in parts]
            if field.name in ("step_span", "value_span"):
                arrays = [array + first for array, first in zip(arrays, first_row[:-1].astype(np.int32), strict=True)]
            elif field.name == "parent":
                arrays = [
                    np.where(array < 0, -1, array + first) for array, first in zip(arrays, first_row[:-1].astype(np.int32), strict=True)
                ]
            elif field.name == "trace":
                arrays = [array + first for array, first in zip(arrays, first_trace[:-1].astype(np.int32), strict=True)]
            columns[field.name] = np.concatenate(arrays)
        return cls(**columns)

    @cached_property
    def bounds_ns(self) -> tuple[int, int]:
        """Earliest and latest end; (0, 0) without spans."""
        return (int(self.time_ns.min()), int(self.time_ns.max())) if len(self) else (0, 0)


class Ring:
    """Chunks of joined spans, oldest first, bounded in spans and age."""

    def __init__(self, *, keep_ns: int, spans: int = RING_SPANS) -> None:
        self.keep_ns = keep_ns
        self.spans = spans
        self.held = 0
        self.dropped = 0  # spans that left for want of room, before their age
        self.complete_from_ns = 0  # spans that end before this may have left
        self._chunks: deque[Spans] = deque()

    def add(self, chunk: Spans, now_ns: int) -> None:
        """Keep a chunk; let go what is too old, or too much."""
        if len(chunk):
            self._chunks.append(chunk)
            self.held += len(chunk)
        while self._chunks:
            oldest = self._chunks[0]
            old = oldest.bounds_ns[1] < now_ns - self.keep_ns
            if not old and self.held <= self.spans:
                return
            self._chunks.popleft()
            self.held -= len(oldest)
            self.dropped += 0 if old else len(oldest)
            self.complete_from_ns = max(self.complete_from_ns, oldest.bounds_ns[1] + 1)

    def between(self, start_ns: int, end_ns: int, extra: Spans | None = None) -> Spans | None:
        """Chunks with a span that ends in [start, end], as one; whole traces, so others are among them. None if there are none."""
        parts = [*self._chunks, *([extra] if extra is not None and len(extra) else [])]
        found = [part for part in parts if part.bounds_ns[1] >= start_ns and part.bounds_ns[0] <= end_ns]
        return Spans.together(found) if found else None


@dataclass(frozen=True)
class Tally:
    """Counts by code; codes ascend, each once."""

    code: I64
    count: F64

    @classmethod
    def of(cls, codes: npt.NDArray[np.integer[Any]], weights: npt.NDArray[np.floating[Any]] | None = None) -> Tally:
        """Count codes, with weights if given."""
        distinct, position = np.unique(codes, return_inverse=True)
        count = np.bincount(position.reshape(-1), weights=weights, minlength=len(distinct))
        return cls(distinct.astype(np.int64), count.astype(np.float64))

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        if not len(other.code) or not len(self.code):
            return self if len(self.code) else other
        return Tally.of(np.concatenate([self.code, other.code]), np.concatenate([self.count, other.count]))


@dataclass(frozen=True)
class View:
    """The spans that end in [start, end], or [start, end) for a block, with counts that several families need."""

    all: Spans
    now: Bool  # [n] of all
    start_ns: int
    end_ns: int

    @cached_property
    def steps(self) -> npt.NDArray[np.intp]:
        """Steps of these spans."""
        return np.flatnonzero(self.now[self.all.step_span])

    @cached_property
    def values(self) -> npt.NDArray[np.intp]:
        """Values of these spans."""
        return np.flatnonzero(self.now[self.all.value_span])

    @cached_property
    def spans(self) -> int:
        """How many spans."""
        return int(self.now.sum())

    @cached_property
    def requests(self) -> int:
        """How many requests ended."""
        return int((self.now & self.all.root).sum())

    @cached_property
    def entries(self) -> Tally:
        """Requests that arrived, by operation; population counts."""
        rows = np.flatnonzero(self.now & self.all.entry & (self.all.operation >= 0))
        return Tally.of(self.all.operation[rows], self.all.population[rows])

    @property
    def seconds(self) -> float:
        """Length."""
        return (self.end_ns - self.start_ns) / 1e9

    def traces_by_service(self, services: int) -> F64:
        """Number of traces with a span of the service, [services]."""
        pairs = np.unique(self.all.trace[self.now].astype(np.int64) * services + self.all.service[self.now])
        return np.bincount(pairs % services, minlength=services).astype(np.float64)

    def trace_id(self, span: int) -> str:
        """32 hex digits."""
        trace = self.all.trace[span]
        return f"{int(self.all.trace_hi[trace]):016x}{int(self.all.trace_lo[trace]):016x}"


def view(spans: Spans, start_ns: int, end_ns: int, *, closed: bool = True) -> View:
    """The spans that end in [start, end], or in [start, end) if not closed."""
    upper = spans.time_ns <= end_ns if closed else spans.time_ns < end_ns
    return View(spans, (spans.time_ns >= start_ns) & upper, start_ns, end_ns)
