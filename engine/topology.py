"""Who calls whom, from spans: as the Collector's service_graph connector pairs them, and with what it leaves out.

A span whose parent, or the producer that it links to, belongs to another service is a call from that one. A client that no server
answers calls what it names: a database, a queue, another system (a virtual node). Both ends are awaited for a minute, in columns.

    caller (CLIENT, PRODUCER or any parent) --offers--> its id  <--asks for-- callee (SERVER, CONSUMER or any child)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import kernels
from engine.records import (
    F32,
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
WAITING_MOST = 600_000  # rows a side, of 40 bytes: 20 s of 30,000 spans a second; the oldest go first, counted
EDGES_MOST = 16_384
ALIASES_MOST = 4096
_CODE = (1 << 20) - 1  # room for a code of a resource or a text


def span_key(trace_hi: U64, trace_lo: U64, span: U64) -> U64:
    """64-bit hash of trace and span id: equal ids, equal keys; 1e5 waiting spans collide with a chance of 3e-10."""
    return kernels.mixed(kernels.mixed(trace_hi, trace_lo), span)


@dataclass(slots=True)
class _Offers:
    """Spans of one window that may turn out to be a caller, and those of them that call what may never answer (`open`)."""

    time_ns: I64
    keys: kernels.Index
    service: I32  # number of the sender's service
    peer: I32
    failed: Bool
    answered: Bool
    open: I64  # rows of clients and producers that name what they call
    peer_kind: U8  # of the open ones
    seconds: F64  # of the open ones
    weight: F64  # of the open ones

    @staticmethod
    def of(spans: SpanColumns, keys: U64, service: I32) -> _Offers:
        calling = (spans.kind == SpanKind.CLIENT) | (spans.kind == SpanKind.PRODUCER)
        rows = np.flatnonzero(calling & (spans.peer_kind != PeerKind.NONE))
        seconds = (spans.time_ns.take(rows) - spans.start_ns.take(rows)) / 1e9
        failed, answered = spans.status == Status.ERROR, np.zeros(len(keys), np.bool_)
        offered = spans.time_ns, kernels.Index(keys), service, spans.peer, failed, answered
        return _Offers(*offered, rows, spans.peer_kind.take(rows), seconds, spans.weight.take(rows).astype(np.float64))

    def due(self, until_ns: int) -> tuple[Bool, Bool]:
        """Of the open ones, those that nobody answered in time, and all that need no answer any more."""
        # a database never answers with a span of its own
        over = (self.time_ns.take(self.open) < until_ns) | (self.peer_kind == PeerKind.DATABASE)
        return over & ~self.answered.take(self.open), over

    def awaited(self, count: int) -> int:
        """Of the first rows, those whose call may yet be answered."""
        rows = self.open[self.open < count]
        return int((~self.answered[rows]).sum())

    def close(self, over: Bool) -> None:
        """These need no answer any more."""
        left = np.flatnonzero(~over)
        self.open, self.peer_kind = self.open.take(left), self.peer_kind.take(left)
        self.seconds, self.weight = self.seconds.take(left), self.weight.take(left)

    def without_first(self, count: int) -> _Offers:
        """The later rows alone."""
        left = self.open >= count
        offered = self.time_ns[count:], kernels.Index(self.keys.keys[count:]), self.service[count:], self.peer[count:]
        rest = self.failed[count:], self.answered[count:], self.open[left] - count
        return _Offers(*offered, *rest, self.peer_kind[left], self.seconds[left], self.weight[left])


@dataclass(frozen=True, slots=True)
class _Asks:
    """Spans that look for their caller, and as long as they are those of a whole window, those that have none."""

    time_ns: I64
    start_ns: I64
    key: U64  # of the caller
    service: I32  # number of the sender's service
    failed: Bool
    weight: F32
    looks: Bool  # for a caller

    @staticmethod
    def of(spans: SpanColumns, links: LinkColumns, trace: U64, service: I32) -> _Asks:
        columns = spans.time_ns, spans.start_ns, kernels.mixed(trace, spans.parent), service, spans.status == Status.ERROR, spans.weight
        asks = _Asks(*columns, spans.parent != 0)  # most do: cheaper than to pick them
        if not len(links.row):
            return asks
        chosen = spans.kind[links.row] == SpanKind.CONSUMER
        linked = asks.rows(links.row[chosen])
        key = span_key(links.trace_hi[chosen], links.trace_lo[chosen], links.span[chosen])
        return asks.and_those(replace(linked, key=key, looks=np.ones(len(key), np.bool_)))

    def rows(self, which: I64) -> _Asks:
        """Some of them."""
        return _Asks(*(getattr(self, name).take(which) for name in _Asks.__slots__))

    def and_those(self, other: _Asks) -> _Asks:
        """Both."""
        return _Asks(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _Asks.__slots__))


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
        self._offers: list[_Offers] = []  # of a window each, oldest first
        self._asks: _Asks | None = None
        self._gone_ns = 0  # offers that end before this have waited long enough
        self._edges: dict[tuple[str, str, PeerKind], _Edge] = {}
        self._told: tuple[TopologyEdge, ...] | None = None  # edges, until one changes
        self._aliases: dict[str, str] = {}  # what clients call a service -> its name, from calls that were answered
        self._services: set[str] = set()
        self._number: dict[str, int] = {}  # of a service, in the order of resources
        self._names: list[str] = []  # by number
        self._number_of: I32 = np.zeros(0, np.int32)  # by resource code

    def take(self, window: Window) -> None:
        """Pair the spans of a window with each other and with those still waiting."""
        spans = window.spans
        trace, service = kernels.mixed(spans.trace_hi, spans.trace_lo), self._numbers().take(spans.resource)
        new = _Offers.of(spans, kernels.mixed(trace, spans.span), service)
        asks = _Asks.of(spans, window.links, trace, service)
        self._asks = self._unmatched(new, self._asks) if self._asks is not None else None
        asks = self._unmatched(new, asks)
        for offers in reversed(self._offers):
            if not len(asks.key):
                break
            asks = self._unmatched(offers, asks, self._gone_ns)
        until_ns = window.end_ns - WAIT_NS
        self._offers.append(new)
        for offers in self._offers:
            unanswered, over = offers.due(until_ns)
            if over.any():
                self._count_virtual(offers, np.flatnonzero(unanswered))
                offers.close(over)
        self._gone_ns = until_ns
        self._offers = [offers for offers in self._offers if len(offers.time_ns) and int(offers.time_ns.max()) >= until_ns]
        waiting = asks if self._asks is None else self._asks.and_those(asks)
        self._asks = self._newest(waiting.rows(np.flatnonzero(waiting.time_ns >= until_ns)))
        self._trim()

    def _unmatched(self, offers: _Offers, asks: _Asks, gone_ns: int = 0) -> _Asks:
        """Pair what can be paired and count it; the rest of those that look. Offers that end before `gone_ns` wait no more."""
        caller = offers.keys.find(asks.key)
        paired = (caller >= 0) & asks.looks
        if gone_ns:
            paired &= offers.time_ns.take(caller) >= gone_ns
        callee = np.flatnonzero(paired)
        self._count_calls(offers, asks, caller.take(callee), callee)
        return asks.rows(np.flatnonzero(asks.looks & ~paired))

    def edges(self, now_ns: int) -> tuple[TopologyEdge, ...]:
        """Edges seen lately, by caller, callee and kind. Calls, errors and seconds are sums since they were first seen."""
        self._age(now_ns)
        if self._told is None:
            self._told = tuple(
                TopologyEdge(caller, callee, kind, edge.calls, edge.errors, edge.seconds)
                for (caller, callee, kind), edge in sorted(self._edges.items())
            )
        return self._told

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
        self._told = None
        self._edges = {
            (caller, callee, PeerKind(kind)): _Edge(calls, errors, seconds, last_ns)
            for caller, callee, kind, calls, errors, seconds, last_ns in state["edges"]
        }
        self._aliases, self._services = dict(state["aliases"]), set(state["services"])
        self._offers, self._asks, self._gone_ns = [], None, 0

    def _newest(self, asks: _Asks) -> _Asks:
        extra = len(asks.key) - WAITING_MOST
        if extra <= 0:
            return asks
        self.dropped["waiting_full"] += extra
        return asks.rows(np.sort(np.argsort(asks.time_ns, kind="stable")[extra:]))

    def _trim(self) -> None:
        """Let the oldest offers go when too many wait; counted are calls that were not answered yet."""
        extra = sum(len(offers.time_ns) for offers in self._offers) - WAITING_MOST
        while extra > 0:
            oldest = self._offers.pop(0)
            if len(oldest.time_ns) > extra:
                self._offers.insert(0, oldest.without_first(extra))
            self.dropped["waiting_full"] += oldest.awaited(extra)
            extra -= len(oldest.time_ns)

    def _numbers(self) -> I32:
        """Number of the service, its place in `_names`, by resource code. [resources]"""
        known = len(self._number_of)
        if known < len(self._resources):
            services = [self._resources[code].service for code in range(known, len(self._resources))]
            new = [self._number.setdefault(service, len(self._number)) for service in services]
            self._number_of, self._names = np.append(self._number_of, np.array(new, np.int32)), list(self._number)
        return self._number_of

    def _count_calls(self, offers: _Offers, asks: _Asks, caller: I64, callee: I64) -> None:
        if not len(caller):
            return
        from_, to = offers.service.take(caller), asks.service.take(callee)
        self._services |= {self._names[number] for numbers in (from_, to) for number in _distinct(numbers)} - {""}
        remote = np.flatnonzero(from_ != to)
        if not len(remote):
            return
        from_, to, caller, callee = from_.take(remote), to.take(remote), caller.take(remote), callee.take(remote)
        offers.answered[caller] = True
        failed = offers.failed.take(caller) | asks.failed.take(callee)
        time_ns = asks.time_ns.take(callee)
        seconds, weight = (time_ns - asks.start_ns.take(callee)) / 1e9, asks.weight.take(callee).astype(np.float64)
        for key, counts in _sums((from_.astype(np.int64) << 32) | to, weight, failed, seconds, time_ns):
            from_name, to_name = self._names[key >> 32], self._names[key & 0xFFFFFFFF]
            if from_name and to_name:
                self._add(from_name, to_name, PeerKind.SERVICE, *counts)
        self._learn_aliases(from_, to, offers.peer.take(caller))

    def _learn_aliases(self, from_: I32, to: I32, peer: I32) -> None:
        """What callers call the services that answered them."""
        if len(self._aliases) >= ALIASES_MOST:
            return
        called = np.flatnonzero(peer)
        packed = (to.take(called).astype(np.int64) << 20) | peer.take(called)
        packed = packed[from_.take(called) != self._number.get("", -1)]
        for key in packed[kernels.group(packed.view(np.uint64))[1]].tolist():
            to_name = self._names[key >> 20]
            if to_name and len(self._aliases) < ALIASES_MOST:
                self._aliases[self._strings.text("value", key & _CODE)] = to_name

    def _count_virtual(self, offers: _Offers, places: I64) -> None:
        """Count calls that nobody answered. `places`: of the open offers."""
        if not len(places):
            return
        rows = offers.open[places]
        packed = (offers.service[rows].astype(np.int64) << 24) | (offers.peer[rows].astype(np.int64) << 4) | offers.peer_kind[places]
        sums = _sums(packed, offers.weight[places], offers.failed[rows], offers.seconds[places], offers.time_ns[rows])
        for key, counts in sums:
            caller, called = self._names[key >> 24], self._strings.text("value", (key >> 4) & _CODE)
            called = self._aliases.get(called, called)
            if caller and called and caller != called:
                self._services.add(caller)
                self._add(caller, called, PeerKind.SERVICE if called in self._services else PeerKind(key & 15), *counts)

    def _add(self, caller: str, callee: str, kind: PeerKind, calls: float, errors: float, seconds: float, last_ns: float) -> None:
        self._told = None
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
            self._told = None


def _distinct(codes: I32) -> list[int]:
    """The codes that occur, ascending."""
    return np.flatnonzero(np.bincount(codes)).tolist()


def _sums(packed: I64, weight: F64, failed: Bool, seconds: F64, time_ns: I64) -> list[tuple[int, tuple[float, float, float, int]]]:
    """Calls, errors, seconds and latest time by packed key, ascending."""
    group, first = kernels.group(packed.view(np.uint64))
    _, last = kernels.bounds(group, time_ns, len(first))
    calls = np.bincount(group, weights=weight)
    errors = np.bincount(group, weights=weight * failed)
    total = np.bincount(group, weights=weight * seconds)
    keys = packed[first]
    order = np.argsort(keys)
    columns = (each[order].tolist() for each in (keys, calls, errors, total, last))
    return [(key, tuple(counts)) for key, *counts in zip(*columns, strict=True)]
