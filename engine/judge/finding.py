"""The finding, assembled: ranking, graph, stability and words from evidence and what is said of the changes."""

from __future__ import annotations

from collections.abc import Sequence

from engine.judge import words
from engine.judge.confidence import DEFAULT, verdict_of
from engine.judge.graph import build, causal_edges, nodes_of
from engine.judge.rank import Calibration, family_z, rank, service_pagerank
from engine.judge.stability import leave_one_out
from engine.records import Attribution, Evidence, Finding, TopologyEdge, Verdict

EVIDENCE_MOST = 200
STABLE_SHARE = 0.5  # of the pieces without which the answer stays, from which it may be called confirmed


def compose(
    evidence: Sequence[Evidence],
    edges: Sequence[TopologyEdge],
    attribution: Attribution,
    start_ns: int,
    end_ns: int,
    calibration: Calibration = DEFAULT,
    around: words.Around = words.NOTHING,
) -> Finding:
    """A finding from evidence, what is said of the changes, and what is known around them."""
    ordered = sorted(evidence, key=lambda item: (-item.z, item.service, item.family, item.subject, item.start_ns))
    confirmed, names = _confirmed(attribution)
    table = family_z(ordered, edges)
    nodes = nodes_of(ordered, attribution.verdicts)
    times_ns = {f"change:{one.change.id}": one.change.time_ns for one in attribution.verdicts}
    graph = build(nodes, edges, times_ns, end_ns)
    walk = None
    if calibration.gamma > 0:
        visible = {item.service for item in ordered if item.user_visible}
        symptoms = {node.id: node.score for node in nodes if node.kind != "change" and (not visible or node.service in visible)}
        walk = service_pagerank(graph, symptoms)
    causes, unseen = rank(table, calibration, walk, confirmed, around.roots)
    stability, share = leave_one_out(ordered, edges, calibration, confirmed, names)
    confidence = causes[0].probability if causes else 0.0
    verdict = verdict_of(confidence if confidence > unseen else 0.0, stable=share >= STABLE_SHARE)
    root = causes[0].service if causes else ""
    scope = words.scope_of(ordered, edges, root)
    kind = words.cause_type(causes, ordered, edges, attribution, scope, around)
    return Finding(
        start_ns=start_ns,
        end_ns=end_ns,
        onset_ns=around.onset_ns or start_ns,
        causes=causes,
        confidence=confidence,
        verdict=verdict,
        cause_type=kind,
        affected=words.affected(ordered, root),
        evidence=tuple(ordered[:EVIDENCE_MOST]),
        attribution=attribution,
        nodes=nodes,
        edges=causal_edges(graph),
        chain=words.chain(ordered, edges, attribution, root),
        stability=stability,
        scope=scope,
        title=words.title(causes, attribution, verdict),
        action=words.action(kind, causes, ordered, edges, attribution, verdict, around),
    )


def _confirmed(attribution: Attribution) -> tuple[dict[str, float], dict[str, str]]:
    """Probability by service that a confirmed change in it did it, and how that change is called."""
    probability: dict[str, float] = {}
    names: dict[str, str] = {}
    for one in attribution.verdicts:
        if one.verdict is Verdict.CONFIRMED and one.change.service:
            probability[one.change.service] = probability.get(one.change.service, 0.0) + one.probability
            names.setdefault(one.change.service, words.change_name(one.change))
    return probability, names
