"""The causal graph: its reasons, and the directions in which faults travel."""

from __future__ import annotations

from engine.judge.graph import NODES_MOST, build, causal_edges, kind_of, nearest_callers, nodes_of
from engine.records import ChangeType, ChangeVerdict, ConfigChange, Family, Verdict
from tests.judging import calls, seen

EDGES = calls("web>cart", "cart>stock")


def reasons(evidence, verdicts=(), edges=EDGES):
    graph = build(nodes_of(evidence, verdicts), edges)
    return {(edge.source, edge.target): edge.reason for edge in causal_edges(graph)}


def change(service, verdict=Verdict.SUSPECT):
    return ChangeVerdict(ConfigChange("d1", 0, ChangeType.DEPLOYMENT, service), 0.6, verdict, ())


def test_faults_travel_from_callee_to_caller_and_never_back():
    found = reasons([seen("web"), seen("cart")])
    assert found == {("trace:cart:flow", "trace:web:flow"): "service_dependency"}


def test_faults_pass_through_callers_that_show_nothing():
    assert reasons([seen("web"), seen("stock")]) == {("trace:stock:flow", "trace:web:flow"): "service_dependency"}
    found = reasons([seen("web"), seen("cart"), seen("stock")])
    assert ("trace:stock:flow", "trace:web:flow") not in found


def test_resources_slow_spans_and_spans_write_logs_of_their_own_service():
    found = reasons([seen("cart", Family.RESOURCE), seen("cart", Family.SELF_TIME), seen("cart", Family.ERROR, signal="logs")], edges=())
    assert found == {
        ("metric:cart:resource", "trace:cart:self_time"): "resource_contention",
        ("trace:cart:self_time", "log:cart:error"): "error_propagation",
    }


def test_a_change_reaches_what_it_changed_and_those_who_call_it_but_not_whom_they_call():
    found = reasons([seen("web"), seen("cart"), seen("stock")], [change("cart")])
    assert {target for (source, target), reason in found.items() if reason == "config_change"} == {"trace:web:flow", "trace:cart:flow"}


def test_a_change_without_a_service_may_reach_everything_and_one_ruled_out_is_not_drawn():
    assert ("change:d1", "trace:stock:flow") in reasons([seen("stock")], [change("")])
    assert reasons([seen("stock")], [change("stock", Verdict.RULED_OUT)]) == {}


def test_a_change_after_the_end_causes_nothing():
    nodes = nodes_of([seen("cart")], [change("cart")])
    assert causal_edges(build(nodes, (), {"change:d1": 2000}, 1000)) == ()


def test_services_without_spans_are_joined_by_what_they_have():
    found = reasons([seen("web", Family.METRIC), seen("cart", Family.METRIC)])
    assert found == {("metric:cart:metric", "metric:web:metric"): "service_dependency"}


def test_weights_are_shares_and_the_graph_is_bounded():
    evidence = [seen(f"service-{number}", z=3.0 + number) for number in range(200)]
    nodes = nodes_of(evidence, [change("x")])
    assert len(nodes) == NODES_MOST
    assert all(0 < edge.weight <= 1 for edge in causal_edges(build(nodes, EDGES)))


def test_weak_signs_are_left_out_unless_they_are_all_a_service_has():
    nodes = nodes_of([seen("cart", z=9.0), seen("cart", Family.RATE, z=1.0), seen("web", Family.RATE, z=1.0)], ())
    assert [node.id for node in nodes] == ["trace:cart:flow", "trace:web:rate"]


def test_the_kind_of_a_node_is_its_telemetry():
    assert [kind_of(seen("a", family)) for family in (Family.FLOW, Family.RESOURCE)] == ["trace", "metric"]
    assert kind_of(seen("a", Family.FLOW, signal="logs")) == "log"


def test_calls_in_a_circle_end():
    callers = {"a": frozenset({"b"}), "b": frozenset({"a"})}
    assert nearest_callers(frozenset({"a", "b"}), callers) == {"a": frozenset({"b"}), "b": frozenset({"a"})}
