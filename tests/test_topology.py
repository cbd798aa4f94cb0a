"""Call edges from spans, in small columns."""

from __future__ import annotations

import numpy as np
import pytest

from engine.records import SECOND_NS, LinkColumns, LogColumns, PeerKind, PointColumns, Resource, SpanColumns, SpanKind, Status, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import empty
from engine.topology import Topology, span_key

HOUR = 3600 * SECOND_NS


class World:
    """Strings, resources and a topology; spans are given as dictionaries."""

    def __init__(self) -> None:
        self.strings, self.resources = Strings(), Resources()
        self.topology = Topology(self.strings, self.resources, EngineSettings())

    def window(self, end_ns, spans, links=()):
        def column(name, default, dtype):
            return np.array([span.get(name, default) for span in spans], dtype)

        columns = SpanColumns(
            time_ns=column("end_ns", end_ns - SECOND_NS, np.int64),
            resource=np.array([self.resources.intern(Resource(service=span["service"])) for span in spans], np.int32),
            trace_hi=column("trace", 1, np.uint64),
            trace_lo=column("trace", 1, np.uint64),
            span=column("id", 0, np.uint64),
            parent=column("parent", 0, np.uint64),
            start_ns=column("end_ns", end_ns - SECOND_NS, np.int64) - column("took_ns", SECOND_NS, np.int64),
            operation=np.zeros(len(spans), np.int32),
            kind=column("kind", SpanKind.INTERNAL, np.uint8),
            status=column("status", Status.UNSET, np.uint8),
            peer=np.array([self.strings.intern("value", span.get("peer", "")) for span in spans], np.int32),
            peer_kind=column("peer_kind", PeerKind.NONE, np.uint8),
            error_type=np.zeros(len(spans), np.int32),
            message=np.zeros(len(spans), np.int32),
            statement=np.zeros(len(spans), np.int32),
            weight=column("weight", 1.0, np.float32),
        )
        link_columns = LinkColumns(
            row=np.array([row for row, _, _ in links], np.int64),
            trace_hi=np.array([trace for _, trace, _ in links], np.uint64),
            trace_lo=np.array([trace for _, trace, _ in links], np.uint64),
            span=np.array([span for _, _, span in links], np.uint64),
        )
        return Window(end_ns - 10 * SECOND_NS, end_ns, columns, empty(LogColumns), empty(PointColumns), link_columns)

    def edges(self, now_ns):
        return {(edge.caller, edge.callee): edge for edge in self.topology.edges(now_ns)}


CLIENT = {"service": "web", "id": 1, "kind": SpanKind.CLIENT, "peer": "cart.internal", "peer_kind": PeerKind.SERVICE}
SERVER = {"service": "cart", "id": 2, "parent": 1, "kind": SpanKind.SERVER, "took_ns": SECOND_NS // 2}


@pytest.mark.parametrize("together", [True, False], ids=["one window", "the server a window earlier"])
def test_a_call_is_paired_by_trace_and_span_id(together):
    world = World()
    if together:
        world.topology.take(world.window(10 * SECOND_NS, [CLIENT, SERVER]))
    else:
        world.topology.take(world.window(10 * SECOND_NS, [SERVER]))
        world.topology.take(world.window(20 * SECOND_NS, [CLIENT]))
    world.topology.take(world.window(100 * SECOND_NS, []))
    assert [tuple(edge) for edge in world.topology.edges(HOUR)] == [("web", "cart", PeerKind.SERVICE, 1.0, 0.0, 0.5)]


def test_a_sampled_span_stands_for_many_calls_and_its_errors():
    world = World()
    world.topology.take(world.window(10 * SECOND_NS, [CLIENT, {**SERVER, "weight": 8.0, "status": Status.ERROR}]))
    edge = world.edges(HOUR)["web", "cart"]
    assert (edge.calls, edge.errors, edge.seconds) == (8.0, 8.0, 4.0)


def test_a_database_is_a_node_at_once_and_another_system_when_nothing_answered_for_a_minute():
    world = World()
    database = {"service": "cart", "id": 3, "kind": SpanKind.CLIENT, "peer": "orders", "peer_kind": PeerKind.DATABASE}
    provider = {"service": "cart", "id": 4, "kind": SpanKind.CLIENT, "peer": "pay.example.com", "peer_kind": PeerKind.EXTERNAL}
    world.topology.take(world.window(10 * SECOND_NS, [database, provider]))
    assert set(world.edges(HOUR)) == {("cart", "orders")}
    world.topology.take(world.window(100 * SECOND_NS, []))
    assert set(world.edges(HOUR)) == {("cart", "orders"), ("cart", "pay.example.com")}
    world.topology.take(world.window(200 * SECOND_NS, []))
    assert world.edges(HOUR)["cart", "orders"].calls == 1.0
    assert world.topology.virtual() == {"orders", "pay.example.com"}


def test_an_unanswered_call_goes_to_the_service_that_answered_under_this_address_before():
    world = World()
    world.topology.take(world.window(10 * SECOND_NS, [CLIENT, SERVER]))
    world.topology.take(world.window(20 * SECOND_NS, [{**CLIENT, "id": 7, "trace": 2}]))
    world.topology.take(world.window(120 * SECOND_NS, []))
    assert {pair: edge.calls for pair, edge in world.edges(HOUR).items()} == {("web", "cart"): 2.0}


def test_a_consumer_is_called_by_the_producer_that_it_links_to():
    world = World()
    producer = {"service": "shop", "id": 5, "trace": 5, "kind": SpanKind.PRODUCER, "peer": "orders", "peer_kind": PeerKind.QUEUE}
    consumer = {"service": "mail", "id": 6, "trace": 6, "kind": SpanKind.CONSUMER}
    world.topology.take(world.window(10 * SECOND_NS, [producer]))
    world.topology.take(world.window(20 * SECOND_NS, [consumer], links=[(0, 5, 5)]))
    world.topology.take(world.window(120 * SECOND_NS, []))
    assert set(world.edges(HOUR)) == {("shop", "mail")}


def test_spans_of_one_service_make_no_edge_and_nameless_services_none_either():
    world = World()
    inner = {"service": "web", "id": 2, "parent": 1}
    nameless = {"service": "", "id": 3, "parent": 1}
    world.topology.take(world.window(10 * SECOND_NS, [{**CLIENT, "peer_kind": PeerKind.NONE}, inner, nameless]))
    assert world.topology.edges(HOUR) == ()


def test_an_edge_seen_once_lives_a_day_and_then_goes():
    world = World()
    world.topology.take(world.window(10 * SECOND_NS, [CLIENT, SERVER]))
    assert len(world.topology.edges(25 * HOUR)) == 1
    assert world.topology.edges(27 * HOUR) == ()


def test_when_too_many_wait_the_oldest_go_and_calls_without_an_answer_are_counted(monkeypatch):
    monkeypatch.setattr("engine.topology.WAITING_MOST", 4)
    world = World()
    steps = [{"service": "web", "id": 100 + number} for number in range(4)]
    world.topology.take(world.window(10 * SECOND_NS, [CLIENT, {**CLIENT, "id": 9, "trace": 2}, SERVER, *steps[:1]]))
    assert world.topology.dropped["waiting_full"] == 0
    world.topology.take(world.window(20 * SECOND_NS, steps))  # what was waiting goes: one call of it had its answer
    assert world.topology.dropped["waiting_full"] == 1
    late = {**SERVER, "id": 3, "trace": 2, "parent": 9}
    world.topology.take(world.window(30 * SECOND_NS, [late]))
    assert world.edges(30 * SECOND_NS)["web", "cart"].calls == 1


def test_state_survives():
    world = World()
    world.topology.take(world.window(10 * SECOND_NS, [CLIENT, SERVER]))
    other = World()
    other.topology.restore(world.topology.state())
    assert other.topology.edges(HOUR) == world.topology.edges(HOUR)
    assert other.topology.state() == world.topology.state()


def test_taking_a_window_leaves_it_as_it_was():
    world = World()
    window = world.window(10 * SECOND_NS, [CLIENT, SERVER])
    before = window.spans.peer_kind.copy()
    world.topology.take(window)
    world.topology.take(world.window(200 * SECOND_NS, []))
    assert np.array_equal(window.spans.peer_kind, before)


def test_keys_of_a_million_spans_differ():
    number = np.arange(1_000_000, dtype=np.uint64)
    keys = span_key(number // np.uint64(1000), number // np.uint64(10), number)
    assert len(np.unique(keys)) == len(number)
