"""Rows of spans: one an equal span, and one a (service, operation) and window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import kernels
from engine.normal.combinations import Combinations
from engine.normal.features import (
    CELLS,
    SCHEMAS,
    SERVICE,
    SUBJECT,
    Dictionary,
    RowColumns,
    Source,
    Translation,
    cells,
    grouped,
    hash_rows,
    of_cells,
    quantised,
)
from engine.normal.scales import Pairs, Scales
from engine.normal.sender import Senders
from engine.records import F32, F64, I32, I64, U64, Batch, PeerKind, SpanColumns, SpanKind, Status, Window
from engine.strings import Strings
from engine.take.columns import select
from engine.take.keys import KeyTable

SCHEMA = SCHEMAS[Source.TRACES]
_FLOOR = 0.1  # of a logarithm or a share: 10 %
JOINED_SPANS = 16384  # of a window
CALLS = 131072  # kinds of calls (caller, callee) that are counted
MET = 131072  # cells
_ODD = np.uint64(0x94D049BB133111EB)  # of splitmix64: spreads ids over the high bits


class SpanRows:
    """State: dictionaries, scales of every number, and how often an operation calls another."""

    def __init__(self, strings: Strings, senders: Senders) -> None:
        self.senders = senders
        self.skipped = 0  # spans without a row: more combinations of categories than there are codes
        self.dictionaries = (senders.services, Dictionary(), Dictionary(8), Dictionary(4096), Dictionary(16384))
        _, operations, statuses, errors, peers = self.dictionaries
        self._operation = Translation(operations, lambda code: strings.text("operation", code))
        self._status = Translation(statuses, lambda code: Status(code).name.lower() if code in list(Status) else "")
        self._error = Translation(errors, lambda code: strings.text("value", code))
        self._peer = Translation(peers, lambda packed: _peer_text(packed & 7, strings.text("value", packed >> 3)))
        self.pairs = Pairs()
        self.combinations = Combinations(self.pairs, self._unpacked)
        self._met = KeyTable(MET)  # cells that batches brought since scores changed
        self._met_with = 0  # of which table of combinations
        self.scales = {name: Scales(floor=_FLOOR) for name in SCHEMA.numbers}
        self._calls = KeyTable(CALLS)  # caller << 32 | callee, pairs
        self._count, self._called = np.zeros(256), np.zeros(256)  # calls so far: by call, by caller

    def rows(self, window: Window) -> RowColumns | None:
        """Distinct arrival rows, then window rows; scales see the window after it was scaled."""
        spans, combination, full = self._named(window.spans)
        self.skipped += full
        if not len(combination):
            return None
        pair, x, z = self._durations(spans, combination)
        arrivals = self._arrivals(spans, combination, z)
        windows = self._windows(spans, pair, x, z, window.end_ns)
        self.scales["duration"].take(pair, self.pairs.parent, x, window.end_ns)
        return RowColumns.concat([arrivals, windows])

    def arrivals(self, batch: Batch) -> tuple[I32, F32] | None:
        """Categories and numbers of distinct spans, as the scales are now: of those that no batch brought since `forget`."""
        if batch.spans is None:
            return None
        spans, combination, _ = self._named(batch.spans)
        cell = self._cells(combination, self._durations(spans, combination)[2])
        if self._met_with != self.combinations.begun or len(self._met) >= self._met.cap:
            self.forget()
        known = len(self._met)
        self._met.intern(cell)
        return self._fields(self._met.keys[known:]) if len(self._met) > known else None

    def forget(self) -> None:
        """`arrivals` gives again what it gave before."""
        self._met.clear()
        self._met_with = self.combinations.begun

    def _named(self, spans: SpanColumns) -> tuple[SpanColumns, I32, int]:
        """Spans of named services that have a combination, it, and how many found no room for theirs."""
        service = self.senders.service(spans.resource)
        combination = self.combinations(self._packed(spans, service))
        usable = (combination >= 0) & (service > 0)
        if usable.all():
            return spans, combination, 0
        kept = np.flatnonzero(usable)
        return select(spans, kept), combination[kept], int((combination < 0).sum())

    def _durations(self, spans: SpanColumns, combination: I32) -> tuple[I32, F32, F64]:
        """Pair, ln(1 + ms) and its deviation, of each span."""
        pair = self.combinations.pair(combination)
        x = np.log(((spans.time_ns - spans.start_ns).astype(np.float32) * np.float32(1e-6)).clip(0) + np.float32(1))
        return pair, x, self.scales["duration"].z(pair, self.pairs.parent, x)

    def _packed(self, spans: SpanColumns, service: I32) -> I64:
        """The categories of each span in one number: service 12 bits, operation 16, error 12, peer 16, kind 3, status 2."""
        packed = service.astype(np.int64) << 49
        packed |= spans.operation.astype(np.int64) << 33
        packed |= self._error(spans.error_type).astype(np.int64) << 21
        packed |= spans.peer.astype(np.int64) << 5
        packed |= np.minimum(spans.kind, 7) << 2 | np.minimum(spans.status, 3)
        return packed

    def _unpacked(self, packed: I64) -> Sequence[I32]:
        return (
            (packed >> 49).astype(np.int32),
            self._operation(packed >> 33 & 0xFFFF),
            self._status(packed & 3),
            (packed >> 21 & 0xFFF).astype(np.int32),
            self._peer((packed >> 5 & 0xFFFF) << 3 | packed >> 2 & 7),
        )

    def _arrivals(self, spans: SpanColumns, combination: I32, z: F64) -> RowColumns:
        """Distinct spans: equal in categories and rounded deviation of the duration, at the time of the first of each."""
        cell = self._cells(combination, z)
        of, at = kernels.group(cell.view(np.uint64))
        codes, numbers = self._fields(cell[at])
        key = hash_rows(self.dictionaries, codes, numbers)
        environment = self.senders.environment(spans.resource[at])
        return RowColumns(codes, numbers, key, spans.time_ns[at], environment, np.bincount(of), np.zeros(len(at), bool))

    def _cells(self, combination: I32, z: F64) -> I64:
        """One number for what makes an arrival row."""
        return combination.astype(np.int64) * CELLS + cells(quantised(z))

    def _fields(self, cell: I64) -> tuple[I32, F32]:
        """Categories and numbers of cells."""
        numbers = np.full((len(cell), len(SCHEMA.numbers)), np.nan, np.float32)
        numbers[:, 0] = of_cells(cell % CELLS)
        return self.combinations.codes(cell // CELLS), numbers

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let what left quarantine count."""
        for scales in self.scales.values():
            scales.learn(until_ns, abnormal)

    def state(self) -> dict[str, Any]:
        """Pairs as texts, and what was learnt of them."""
        return {
            "pairs": self.pairs.texts(self.dictionaries[0], self.dictionaries[1]),
            "scales": {name: scales.state() for name, scales in self.scales.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.pairs.restore(state["pairs"], self.dictionaries[0], self.dictionaries[1])
        for name, scales in self.scales.items():
            scales.restore(state["scales"][name])

    def _windows(self, spans: SpanColumns, pair: I32, x: F32, z: F64, end_ns: int) -> RowColumns:
        """One row a pair."""
        subject, count, first = grouped(pair)
        size, n = int(subject[-1]) + 1, count.astype(np.float64)
        longest = np.full(size, -np.inf, np.float32)
        np.maximum.at(longest, pair, x)
        failed = np.bincount(pair[spans.status == Status.ERROR], minlength=size)
        measured = {
            "longest duration": longest[subject].astype(np.float64),
            "span count": np.log(n),
            "error count": failed[subject] / n,
            **{name: values[subject] for name, values in self._joined(spans, pair, size).items()},
        }
        numbers = np.full((len(subject), len(SCHEMA.numbers)), np.nan, np.float32)
        numbers[:, 0] = quantised(np.bincount(pair, z, size)[subject] / n)  # NaN where the pair is young
        pairs = subject.astype(np.int32)  # one array for all that waits of this window
        for column, name in enumerate(SCHEMA.numbers[1:], start=1):
            numbers[:, column] = self._scaled(name, pairs, measured[name], end_ns)
        codes = np.zeros((len(subject), len(SCHEMA.categories)), np.int32)  # status, error type, peer: of single spans
        codes[:, SERVICE], codes[:, SUBJECT] = self.pairs.parent[subject], self.pairs.subject[subject]
        environment = self.senders.environment(spans.resource[first])
        key = hash_rows(self.dictionaries, codes, numbers)
        time_ns = np.full(len(subject), end_ns - 1, np.int64)
        return RowColumns(codes, numbers, key, time_ns, environment, count, np.ones(len(subject), bool))

    def _joined(self, spans: SpanColumns, pair: I32, size: int) -> dict[str, F64]:
        """What needs parents and children, by pair: means over a sample of at most `JOINED_SPANS` spans, whole traces by a hash of the id.

        Parents are looked for among the window's own spans: a trace is mostly shorter than a window.
        """
        if len(pair) > JOINED_SPANS:
            below = np.uint64(JOINED_SPANS / len(pair) * 2**64)
            kept = np.flatnonzero((spans.trace_lo ^ spans.trace_hi) * np.uint64(0x9E3779B97F4A7C15) < below)
            spans, pair = select(spans, kept), pair[kept]
        parent = _parents(spans)
        child = np.flatnonzero(parent >= 0)
        of = parent[child]
        total = len(pair)
        length = (spans.time_ns - spans.start_ns) / 1e6
        overlap = np.minimum(spans.time_ns[child], spans.time_ns[of]) - np.maximum(spans.start_ns[child], spans.start_ns[of])
        covered = np.bincount(of, np.maximum(overlap, 0) / 1e6, total)
        own = np.log1p(np.maximum(length - covered, 0))
        service = self.pairs.parent[pair]
        crosses = service[child] != service[of]
        gap = np.full(total, np.nan)
        gap[of[crosses]] = np.log1p(np.maximum(length[of] - length[child], 0))[crosses]
        queue = np.full(total, np.nan)
        taken = spans.kind[child] == SpanKind.CONSUMER
        queue[child[taken]] = np.log1p(np.maximum(spans.start_ns[child] - spans.time_ns[of], 0) / 1e6)[taken]
        database = np.bincount(of, spans.peer_kind[child] == PeerKind.DATABASE, total).astype(np.float64)
        surprisal = np.full(total, np.nan)
        surprisal[of] = self._surprisal(pair[of], pair[child])
        return {
            "self time": _mean(pair, own, size),
            "caller minus callee gap": _mean(pair, gap, size),
            "queue time": _mean(pair, queue, size),
            "database calls": np.log1p(_mean(pair, database, size)),
            "flow surprisal": _mean(pair, surprisal, size),
        }

    def _scaled(self, name: str, subject: I32, x: F64, end_ns: int) -> F32:
        scales = self.scales[name]
        z = scales.z(subject, self.pairs.parent, x)
        scales.take(subject, self.pairs.parent, x, end_ns)
        return quantised(z)

    def _surprisal(self, caller: I32, callee: I32) -> F64:
        """-ln of the share that a call has among the caller's calls so far, (c + .5) / (n + 1); then counts it."""
        call = self._calls.intern(caller.astype(np.int64) << 32 | callee)  # -1: no room, the last place
        most = int(caller.max(initial=0)) + 1
        if most > len(self._called) or len(self._calls) >= len(self._count):
            self._called = _grown(self._called, most)
            self._count = _grown(self._count, len(self._calls) + 1)
        nats: F64 = -np.log(np.minimum((self._count[call] + 0.5) / (self._called[caller] + 1), 1))
        self._count[: len(self._calls)] += np.bincount(call[call >= 0], minlength=len(self._calls))
        self._called[:most] += np.bincount(caller[call >= 0], minlength=most)
        return nats


def _grown(counts: F64, size: int) -> F64:
    """Room for at least so many, zeros behind."""
    return np.concatenate([counts, np.zeros(max(size, len(counts)))])


def _parents(spans: SpanColumns) -> I64:
    """Row of each span's parent in the same columns, -1 where it is not there."""
    own, wanted = _identity(spans, spans.span), _identity(spans, spans.parent)
    rows = np.arange(len(own))
    shift = np.uint64(64 - (4 * len(own)).bit_length())
    table = np.full(1 << (64 - int(shift)), -1)
    table[own >> shift] = rows  # of several for one place the last stays
    found: I64 = np.where(spans.parent != 0, table[wanted >> shift], -1)
    wrong = (found >= 0) & (own[found] != wanted)
    lost, missed = np.flatnonzero(table[own >> shift] != rows), np.flatnonzero(wrong)
    found[missed] = -1
    if len(lost) and len(missed):
        lost = lost[np.argsort(own[lost], kind="stable")]
        at = lost[np.minimum(np.searchsorted(own[lost], wanted[missed]), len(lost) - 1)]
        found[missed] = np.where(own[at] == wanted[missed], at, -1)
    return found


def _identity(spans: SpanColumns, span: U64) -> U64:
    return ((spans.trace_lo * np.uint64(0x9E3779B97F4A7C15) ^ spans.trace_hi) * np.uint64(0xBF58476D1CE4E5B9) ^ span) * _ODD


def _mean(at: I32, x: F64, size: int) -> F64:
    """Mean of x by group, NaN left out; NaN where nothing is left."""
    fine = ~np.isnan(x)
    n = np.bincount(at[fine], minlength=size)
    total = np.bincount(at[fine], x[fine], size)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _peer_text(kind: int, peer: str) -> str:
    name = SpanKind(kind).name.lower() if kind in list(SpanKind) else "span"
    return f"{name} {peer}" if peer else name
