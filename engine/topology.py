"""Who calls whom, from spans: as the Collector's service_graph connector pairs them, and with what it leaves out.

A span whose parent, or the producer that it links to, belongs to another service is a call from that one. A client that no server
answers calls what it names: a database, a queue, another system (a virtual node). Both ends are awaited for a minute, in columns.

    caller (CLIENT, PRODUCER or any parent) --offers--> its id  <--asks for-- callee (SERVER, CONSUMER or any child)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from engine.records import (
    F64,
    I32,
    I64,
    MINUTE_NS,
    U8,
    U64,
    Bool,
    LinkColumns,
    PeerKind,
    SpanColumns,
    SpanKind,
    Status,
    TopologyEdge,
    Window,
)
from engine.settings import EngineSettings
from engine.strings import Resources, Strings

WAIT_NS = MINUTE_NS  # for the other end of a call: a client ends after its server, a consumer after its producer
WAITING_MOST = 200_000  # rows a side; the oldest go first, counted
EDGES_MOST = 16_384
ALIASES_MOST = 4096

_MIX = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def span_key(trace_hi: U64, trace_lo: U64, span: U64) -> U64:
    """64-bit hash of trace and span id: equal ids, equal keys; 1e5 waiting spans collide with a chance of 3e-10."""
    with np.errstate(over="ignore"):
        mixed = (trace_lo * _MIX[0]) ^ (trace_hi * _MIX[1]) ^ (span * _MIX[2])
        mixed ^= mixed >> np.uint64(29)
        mixed = mixed * _MIX[1]
    key: U64 = mixed ^ (mixed >> np.uint64(32))
    return key


@dataclass(frozen=True, slots=True)
class _Offers:
    """Spans that may turn out to be a caller."""

    time_ns: I64
    key: U64
    resource: I32
    kind: U8
    peer: I32
    peer_kind: U8
    failed: Bool
    seconds: F64
    weight: F64
    answered: Bool

    @staticmethod
    def of(spans: SpanColumns, keys: U64) -> _Offers:
        seconds = (spans.time_ns - spans.start_ns) / 1e9
        failed, answered = spans.status == Status.ERROR, np.zeros(len(keys), np.bool_)
        peer_kind, weight = spans.peer_kind.copy(), spans.weight.astype(np.float64)
        return _Offers(spans.time_ns, keys, spans.resource, spans.kind, spans.peer, peer_kind, failed, seconds, weight, answered)


@dataclass(frozen=True, slots=True)
class _Asks:
    """Spans that look for their caller."""

    time_ns: I64
    key: U64  # of the caller
    resource: I32
    failed: Bool
    seconds: F64
    weight: F64

    @staticmethod
    def of(spans: SpanColumns, links: LinkColumns) -> _Asks:
        child = np.flatnonzero(spans.parent != 0)
        chosen = spans.kind[links.row] == SpanKind.CONSUMER
        row = np.concatenate([child, links.row[chosen]])
        by_parent = span_key(spans.trace_hi[child], spans.trace_lo[child], spans.parent[child])
        by_link = span_key(links.trace_hi[chosen], links.trace_lo[chosen], links.span[chosen])
        seconds = (spans.time_ns[row] - spans.start_ns[row]) / 1e9
        weight = spans.weight[row].astype(np.float64)
        keys = np.concatenate([by_parent, by_link])
        return _Asks(spans.time_ns[row], keys, spans.resource[row], spans.status[row] == Status.ERROR, seconds, weight)


Rows = TypeVar("Rows", _Offers, _Asks)


def _join(first: Rows, second: Rows) -> Rows:
    kind = type(first)
    return kind(*(np.concatenate([getattr(first, one.name), getattr(second, one.name)]) for one in fields(kind)))


def _keep(rows: Rows, which: Any) -> Rows:
    kind = type(rows)
    return kind(*(getattr(rows, one.name)[which] for one in fields(kind)))


@dataclass(slots=True)
class _Edge:
    calls: float = 0.0
    errors: float = 0.0
    seconds: float = 0.0
    last_ns: int = 0


class Topology:
    """Call edges seen within `topology_keep_ns`. Sampled spans count for those that they stand for."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.dropped = {"waiting_full": 0, "edges_full": 0}
        self._strings, self._resources, self._keep_ns = strings, resources, settings.topology_keep_ns
        self._offers: _Offers | None = None
        self._asks: _Asks | None = None
        self._edges: dict[tuple[str, str, PeerKind], _Edge] = {}
        self._aliases: dict[str, str] = {}  # what clients call a service -> its name, from calls that were answered
        self._services: set[str] = set()
        self._service_of = np.zeros(0, np.int32)  # by resource code

    def take(self, window: Window) -> None:
        """Pair the spans of a window with each other and with those still waiting."""
        spans = window.spans
        offers = _Offers.of(spans, span_key(spans.trace_hi, spans.trace_lo, spans.span))
        asks = _Asks.of(spans, window.links)
        if self._offers is not None and self._asks is not None:
            offers, asks = _join(self._offers, offers), _join(self._asks, asks)
        caller, callee = _pairs(offers.key, asks.key)
        offers.answered[caller[self._remote(offers.resource[caller], asks.resource[callee])]] = True
        self._count_calls(offers, asks, caller, callee)
        found = np.zeros(len(asks.key), np.bool_)
        found[callee] = True
        # a database never answers with a span of its own: no need to wait for one
        due = (offers.time_ns < window.end_ns - WAIT_NS) | (offers.peer_kind == PeerKind.DATABASE)
        calling = (offers.kind == SpanKind.CLIENT) | (offers.kind == SpanKind.PRODUCER)
        self._count_virtual(offers, np.flatnonzero(due & calling & ~offers.answered & (offers.peer_kind != PeerKind.NONE)))
        offers.peer_kind[due] = PeerKind.NONE
        self._offers = self._newest(_keep(offers, offers.time_ns >= window.end_ns - WAIT_NS))
        self._asks = self._newest(_keep(asks, ~found & (asks.time_ns >= window.end_ns - WAIT_NS)))

    def edges(self, now_ns: int) -> tuple[TopologyEdge, ...]:
        """Edges seen lately, by caller, callee and kind. Calls, errors and seconds are sums since they were first seen."""
        self._age(now_ns)
        return tuple(
            TopologyEdge(caller, callee, kind, edge.calls, edge.errors, edge.seconds)
            for (caller, callee, kind), edge in sorted(self._edges.items())
        )

    def virtual(self) -> frozenset[str]:
        """Nodes that sent no span of their own."""
        return frozenset(callee for _, callee, _ in self._edges) - self._services

    def state(self) -> dict[str, Any]:
        """Edges and aliases; spans that wait are not kept."""
        return {
            "edges": [
                [caller, callee, int(kind), edge.calls, edge.errors, edge.seconds, edge.last_ns]
                for (caller, callee, kind), edge in sorted(self._edges.items())
            ],
            "aliases": dict(self._aliases),
            "services": sorted(self._services),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self._edges = {
            (caller, callee, PeerKind(kind)): _Edge(calls, errors, seconds, last_ns)
            for caller, callee, kind, calls, errors, seconds, last_ns in state["edges"]
        }
        self._aliases, self._services = dict(state["aliases"]), set(state["services"])
        self._offers = self._asks = None

    def _newest(self, rows: Rows) -> Rows:
        extra = len(rows.key) - WAITING_MOST
        if extra <= 0:
            return rows
        self.dropped["waiting_full"] += extra
        return _keep(rows, np.sort(np.argsort(rows.time_ns, kind="stable")[extra:]))

    def _remote(self, caller: I32, callee: I32) -> Bool:
        """True where the two ends are of different services."""
        if len(self._service_of) < len(self._resources):
            ids: dict[str, int] = {}
            names = [self._resources[code].service for code in range(len(self._resources))]
            self._service_of = np.array([ids.setdefault(name, len(ids)) for name in names], np.int32)
        different: Bool = self._service_of[caller] != self._service_of[callee]
        return different

    def _count_calls(self, offers: _Offers, asks: _Asks, caller: I64, callee: I64) -> None:
        if not len(caller):
            return
        triple = np.stack([offers.resource[caller], asks.resource[callee], offers.peer[caller]], axis=1)
        groups, row = np.unique(triple, axis=0, return_inverse=True)
        failed = offers.failed[caller] | asks.failed[callee]
        weight, seconds, time_ns = asks.weight[callee], asks.seconds[callee], asks.time_ns[callee]
        sums = _sums(row.ravel(), len(groups), weight, failed, seconds, time_ns)
        for (from_code, to_code, peer), *counts in zip(groups.tolist(), *sums, strict=True):
            from_name, to_name = self._resources[from_code].service, self._resources[to_code].service
            self._services |= {from_name, to_name} - {""}
            if from_name and to_name and from_name != to_name:
                self._add(from_name, to_name, PeerKind.SERVICE, *counts)
                if peer and len(self._aliases) < ALIASES_MOST:
                    self._aliases[self._strings.text("value", peer)] = to_name

    def _count_virtual(self, offers: _Offers, rows: I64) -> None:
        if not len(rows):
            return
        triple = np.stack([offers.resource[rows], offers.peer[rows], offers.peer_kind[rows].astype(np.int32)], axis=1)
        groups, row = np.unique(triple, axis=0, return_inverse=True)
        sums = _sums(row.ravel(), len(groups), offers.weight[rows], offers.failed[rows], offers.seconds[rows], offers.time_ns[rows])
        for (code, peer, kind), *counts in zip(groups.tolist(), *sums, strict=True):
            caller, called = self._resources[code].service, self._strings.text("value", peer)
            called = self._aliases.get(called, called)
            if caller and called and caller != called:
                self._services.add(caller)
                self._add(caller, called, PeerKind.SERVICE if called in self._services else PeerKind(kind), *counts)

    def _add(self, caller: str, callee: str, kind: PeerKind, calls: float, errors: float, seconds: float, last_ns: float) -> None:
        edge = self._edges.setdefault((caller, callee, kind), _Edge())
        edge.calls += calls
        edge.errors += errors
        edge.seconds += seconds
        edge.last_ns = max(edge.last_ns, int(last_ns))
        if len(self._edges) > EDGES_MOST:
            self.dropped["edges_full"] += 1
            del self._edges[min(self._edges, key=lambda one: (self._edges[one].last_ns, one))]

    def _age(self, now_ns: int) -> None:
        for key in [key for key, edge in self._edges.items() if edge.last_ns < now_ns - self._keep_ns]:
            del self._edges[key]


def _pairs(offered: U64, asked: U64) -> tuple[I64, I64]:
    """Rows of offers and of asks with the same key; of offers with one key (a span sent twice) the first."""
    if not len(offered) or not len(asked):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(offered, kind="stable")
    at = np.minimum(np.searchsorted(offered[order], asked), len(order) - 1)
    found = offered[order][at] == asked
    return order[at[found]], np.flatnonzero(found)


def _sums(
    row: I64, groups: int, weight: F64, failed: Bool, seconds: F64, time_ns: I64
) -> tuple[list[float], list[float], list[float], list[int]]:
    """Calls, errors, seconds and latest time by group."""
    last = np.zeros(groups, np.int64)
    np.maximum.at(last, row, time_ns)
    calls = np.bincount(row, weights=weight, minlength=groups)
    errors = np.bincount(row, weights=weight * failed, minlength=groups)
    return calls.tolist(), errors.tolist(), np.bincount(row, weights=weight * seconds, minlength=groups).tolist(), last.tolist()
