"""Rows of spans: one an equal span, and one a (service, operation) and window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal.features import SCHEMAS, Dictionary, RowColumns, Source, Translation, distinct, hash_rows, quantised
from engine.normal.scales import Pairs, Scales
from engine.normal.sender import Senders
from engine.records import F32, F64, I32, I64, U64, PeerKind, SpanColumns, SpanKind, Status, Window
from engine.strings import Strings

SCHEMA = SCHEMAS[Source.TRACES]
_FLOOR = 0.1  # of a logarithm or a share: 10 %


class SpanRows:
    """State: dictionaries, scales of every number, and how often an operation calls another."""

    def __init__(self, strings: Strings, senders: Senders) -> None:
        self.senders = senders
        self.dictionaries = (senders.services, Dictionary(), Dictionary(8), Dictionary(4096), Dictionary(16384))
        _, operations, statuses, errors, peers = self.dictionaries
        self._operation = Translation(operations, lambda code: strings.text("operation", code))
        self._status = Translation(statuses, lambda code: Status(code).name.lower() if code in list(Status) else "")
        self._error = Translation(errors, lambda code: strings.text("value", code))
        self._peer = Translation(peers, lambda packed: _peer_text(packed & 7, strings.text("value", packed >> 3)))
        self.pairs = Pairs()
        self.scales = {name: Scales(floor=_FLOOR) for name in SCHEMA.numbers}
        self._calls: dict[int, float] = {}

    def rows(self, window: Window) -> RowColumns | None:
        """Distinct arrival rows, then window rows; scales see the window after it was scaled."""
        spans = window.spans
        service = self.senders.service(spans.resource)
        named = np.flatnonzero(service > 0)
        if not len(named):
            return None
        spans = SpanColumns(*(getattr(spans, name)[named] for name in SpanColumns.__slots__))
        service = service[named]
        operation = self._operation(spans.operation)
        pair = self.pairs(service, operation)
        milliseconds = np.maximum(spans.time_ns - spans.start_ns, 0) / 1e6
        x = np.log1p(milliseconds)
        codes = np.stack(
            [
                service,
                operation,
                self._status(spans.status),
                self._error(spans.error_type),
                self._peer(spans.peer.astype(np.int64) << 3 | np.minimum(spans.kind, 7)),
            ],
            axis=1,
        )
        environment = self.senders.environment(spans.resource)
        numbers = np.full((len(x), len(SCHEMA.numbers)), np.nan, np.float32)
        z = self.scales["duration"].z(pair, self.pairs.parent, x)
        numbers[:, 0] = quantised(z)
        key = hash_rows(self.dictionaries, codes, numbers)
        ones = np.ones(len(x), np.int64)
        arrivals = distinct(RowColumns(codes, numbers, key, spans.time_ns, environment, ones, np.zeros(len(x), bool)))
        windows = self._windows(spans, codes, environment, pair, x, z, window.end_ns)
        self.scales["duration"].take(pair, self.pairs.parent, x, window.end_ns)
        return RowColumns.concat([arrivals, windows])

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let what left quarantine count."""
        for scales in self.scales.values():
            scales.learn(until_ns, abnormal, self.pairs.parent)

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

    def _windows(self, spans: SpanColumns, codes: I32, environment: I32, pair: I32, x: F64, z: F64, end_ns: int) -> RowColumns:
        """One row a pair. Parents are looked for among the window's own spans: a trace is mostly shorter than a window."""
        subject, first, at = np.unique(pair, return_index=True, return_inverse=True)
        size = len(subject)
        n = np.bincount(at, minlength=size).astype(np.float64)
        parent = _parents(spans)
        child = np.flatnonzero(parent >= 0)
        of = parent[child]
        length = (spans.time_ns - spans.start_ns) / 1e6
        overlap = np.minimum(spans.time_ns[child], spans.time_ns[of]) - np.maximum(spans.start_ns[child], spans.start_ns[of])
        covered = np.bincount(of, np.maximum(overlap, 0) / 1e6, len(x))
        own = np.log1p(np.maximum(length - covered, 0))
        crosses = codes[child, 0] != codes[of, 0]
        gap = np.full(len(x), np.nan)
        gap[of[crosses]] = np.log1p(np.maximum(length[of] - length[child], 0))[crosses]
        queue = np.full(len(x), np.nan)
        taken = spans.kind[child] == SpanKind.CONSUMER
        queue[child[taken]] = np.log1p(np.maximum(spans.start_ns[child] - spans.time_ns[of], 0) / 1e6)[taken]
        database = np.bincount(of, spans.peer_kind[child] == PeerKind.DATABASE, len(x)).astype(np.float64)
        surprisal = np.full(len(x), np.nan)
        surprisal[of] = self._surprisal(pair[of], pair[child])
        longest = np.full(size, -np.inf)
        np.maximum.at(longest, at, x)
        measured = {
            "longest duration": longest,
            "self time": _mean(at, own, size),
            "caller minus callee gap": _mean(at, gap, size),
            "queue time": _mean(at, queue, size),
            "span count": np.log(n),
            "error count": np.bincount(at, spans.status == Status.ERROR, size) / n,
            "database calls": np.log1p(_mean(at, database, size)),
            "flow surprisal": _mean(at, surprisal, size),
        }
        numbers = np.full((size, len(SCHEMA.numbers)), np.nan, np.float32)
        numbers[:, 0] = quantised(_mean(at, z, size))
        for column, name in enumerate(SCHEMA.numbers[1:], start=1):
            numbers[:, column] = self._scaled(name, subject, measured[name], end_ns)
        window_codes = codes[first]
        window_codes[:, 2:] = 0  # status, error type, peer: of single spans
        window_environment = environment[first]
        key = hash_rows(self.dictionaries, window_codes, numbers)
        time_ns = np.full(size, end_ns - 1, np.int64)
        return RowColumns(window_codes, numbers, key, time_ns, window_environment, n.astype(np.int64), np.ones(size, bool))

    def _scaled(self, name: str, subject: I32, x: F64, end_ns: int) -> F32:
        scales = self.scales[name]
        z = scales.z(subject, self.pairs.parent, x)
        scales.take(subject, self.pairs.parent, x, end_ns)
        return quantised(z)

    def _surprisal(self, caller: I32, callee: I32) -> F64:
        """-ln of the share that a call has among the caller's calls so far, (c + .5) / (n + 1); then counts it."""
        packed, inverse, counts = np.unique(caller.astype(np.int64) << 32 | callee, return_inverse=True, return_counts=True)
        share = np.empty(len(packed))
        for row, pair in enumerate(packed.tolist()):
            share[row] = (self._calls.get(pair, 0.0) + 0.5) / (self._calls.get(pair >> 32 << 32, 0.0) + 1)
        for pair, count in zip(packed.tolist(), counts.tolist(), strict=True):
            if pair in self._calls or len(self._calls) < 131072:
                self._calls[pair] = self._calls.get(pair, 0.0) + count
                whole = pair >> 32 << 32  # callee 0: all calls of the caller
                self._calls[whole] = self._calls.get(whole, 0.0) + count
        nats: F64 = -np.log(np.minimum(share, 1))[inverse]
        return nats


def _parents(spans: SpanColumns) -> I64:
    """Row of each span's parent in the same columns, -1 where it is not there."""
    own, wanted = _identity(spans, spans.span), _identity(spans, spans.parent)
    order = np.argsort(own, kind="stable")
    at = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1)
    found = order[at]
    return np.where((own[found] == wanted) & (spans.parent != 0), found, -1)


def _identity(spans: SpanColumns, span: U64) -> U64:
    return (spans.trace_lo * np.uint64(0x9E3779B97F4A7C15) ^ spans.trace_hi) * np.uint64(0xBF58476D1CE4E5B9) ^ span


def _mean(at: I64, x: F64, size: int) -> F64:
    """Mean of x by group, NaN left out; NaN where nothing is left."""
    fine = ~np.isnan(x)
    n = np.bincount(at[fine], minlength=size)
    total = np.bincount(at[fine], x[fine], size)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _peer_text(kind: int, peer: str) -> str:
    name = SpanKind(kind).name.lower() if kind in list(SpanKind) else "span"
    return f"{name} {peer}" if peer else name
