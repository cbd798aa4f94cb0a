"""The causal graph: what may have caused what, with the reason. Edge a -> b reads "a may have caused b".

Four reasons, those of the published method, with two directions mended: a fault travels against the call, from callee to caller, and a
change reaches what it changed and those who depend on it, not everything.

    config_change        change            -> every sign of its service, and of the services that call it, directly or not
    resource_contention  metric            -> spans of the same service
    error_propagation    span              -> logs of the same service
    service_dependency   spans of a callee -> spans and logs of its callers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx

from engine.judge.correlate import REACH, Links
from engine.records import CausalEdge, CausalNode, ChangeVerdict, Evidence, Family, TopologyEdge, Verdict

#: Telemetry that a family reads, where the evidence does not say.
SIGNAL: Mapping[Family, str] = {
    Family.FLOW: "traces",
    Family.GAP: "traces",
    Family.SELF_TIME: "traces",
    Family.ERROR: "traces",
    Family.RESOURCE: "metrics",
    Family.RATE: "traces",
    Family.ABSENCE: "metrics",
    Family.METRIC: "metrics",
    Family.LEVEL: "metrics",
    Family.ROW: "traces",
}
KIND = {"traces": "trace", "logs": "log", "metrics": "metric"}
NODES_MOST = 60  # strongest first: a graph that a person can read
Z_LEAST, Z_ONLY = 2.0, 0.5  # weaker signs are left out; a service's strongest only below the second, and never if users see it


def kind_of(item: Evidence) -> str:
    """Kind of node that evidence makes: trace, log or metric."""
    return KIND[item.signal or SIGNAL[item.family]]


def nodes_of(evidence: Sequence[Evidence], verdicts: Sequence[ChangeVerdict]) -> tuple[CausalNode, ...]:
    """Nodes: changes that are not ruled out, and for each service, family and kind its strongest evidence, at most 60 in all."""
    nodes = [
        CausalNode(f"change:{one.change.id}", "change", one.change.service, one.change.summary or one.change.id, one.probability)
        for one in verdicts
        if one.verdict is not Verdict.RULED_OUT
    ]
    best: dict[tuple[str, Family, str], Evidence] = {}
    seen: set[str] = set()
    for item in sorted(evidence, key=lambda item: (-item.z, item.service, item.family, item.subject)):
        if item.z >= Z_LEAST or (item.service not in seen and (item.z >= Z_ONLY or (item.user_visible and item.z > 0))):
            seen.add(item.service)
            best.setdefault((item.service, item.family, kind_of(item)), item)
    for (service, family, kind), item in list(best.items())[: max(0, NODES_MOST - len(nodes))]:
        nodes.append(CausalNode(f"{kind}:{service}:{family}", kind, service, item.sentence or item.subject, item.z))
    return tuple(nodes)


def callers_of(edges: Sequence[TopologyEdge]) -> dict[str, frozenset[str]]:
    """Direct callers of each service."""
    callers: dict[str, set[str]] = {}
    for edge in edges:
        if edge.caller != edge.callee:
            callers.setdefault(edge.callee, set()).add(edge.caller)
    return {callee: frozenset(found) for callee, found in callers.items()}


def build(
    nodes: Sequence[CausalNode], edges: Sequence[TopologyEdge], times_ns: Mapping[str, int] | None = None, onset_ns: int = 0
) -> nx.DiGraph:
    """The graph over `nodes`; every edge has a reason and a weight in (0, 1].

    The weight of a change's edges is the change's probability, of all others z_source / (z_source + z_target): loud signs pull.
    A change after `onset_ns` (with `times_ns`: node id -> time) gets no edges. A callee is joined to its nearest callers that show
    signs, through callers that show none.
    """
    graph: nx.DiGraph = nx.DiGraph()
    for node in nodes:
        graph.add_node(node.id, node=node)
    links, signs = Links(edges), [node for node in nodes if node.kind != "change"]
    nearest = nearest_callers(frozenset(node.service for node in signs), callers_of(edges))
    with_spans = {node.service for node in signs if node.kind == "trace"}
    for source in nodes:
        if source.kind == "change":
            if times_ns is not None and onset_ns and times_ns.get(source.id, 0) > onset_ns:
                continue
            for target in signs:
                if not source.service or target.service == source.service or source.service in links.below(target.service):
                    graph.add_edge(source.id, target.id, reason="config_change", weight=max(source.score, 0.01))
            continue
        for target in signs:
            reason = _reason(source, target, nearest, with_spans)
            if reason:
                graph.add_edge(source.id, target.id, reason=reason, weight=source.score / (source.score + target.score))
    return graph


def _reason(source: CausalNode, target: CausalNode, nearest: Mapping[str, frozenset[str]], with_spans: set[str]) -> str:
    if source.service == target.service:
        if (source.kind, target.kind) == ("metric", "trace"):
            return "resource_contention"
        return "error_propagation" if (source.kind, target.kind) == ("trace", "log") else ""
    if target.service not in nearest[source.service]:
        return ""
    # a service without spans is stood for by whatever it has
    speaks = source.kind == "trace" or source.service not in with_spans
    hears = target.kind in {"trace", "log"} or target.service not in with_spans
    return "service_dependency" if speaks and hears else ""


def nearest_callers(services: frozenset[str], callers: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """For each of `services` the nearest callers among them, through at most REACH - 1 that are not.

    >>> nearest_callers(frozenset({"db", "web"}), {"db": frozenset({"cart"}), "cart": frozenset({"web"})})["db"]
    frozenset({'web'})
    """
    nearest = {}
    for service in services:
        found: set[str] = set()
        seen, layer = {service}, {service}
        for _ in range(REACH):
            layer = {caller for callee in layer for caller in callers.get(callee, ())} - seen
            seen |= layer
            found |= layer & services
            layer -= services
        nearest[service] = frozenset(found)
    return nearest


def causal_edges(graph: nx.DiGraph) -> tuple[CausalEdge, ...]:
    """The graph's edges as values, sorted by source and target."""
    return tuple(CausalEdge(source, target, data["reason"], data["weight"]) for source, target, data in sorted(graph.edges(data=True)))
