"""/metrics: findings as they are in the Snapshot at the moment of the scrape, so closed incidents vanish; self-metrics beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from engine.records import SECOND_NS, Incident, Snapshot
from exporter.metrics import ROWS, TABLE, Row

#: Of one incident, at most: causes, affected services, nodes, edges shown.
CAUSES_MOST, AFFECTED_MOST, NODES_MOST, EDGES_MOST = 5, 20, 50, 100
#: Topology edges shown.
TOPOLOGY_MOST = 2000
LONGEST_LABEL = 200


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Body and content type of a scrape; OpenMetrics, which has exemplars, for those that ask for it."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class Findings(Collector):
    """Renders the Snapshot that a function returns."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Families without samples, so that registering needs no scrape."""
        return [_family(row) for row in TABLE if row.by == "found"]

    def collect(self) -> Iterable[Metric]:
        """Families of one Snapshot."""
        snapshot = self.snapshot()
        families = {row.name: _family(row) for row in TABLE if row.by == "found"}

        seen: set[tuple[str, ...]] = set()

        def add(name: str, value: float, *labels: str, exemplar: Exemplar | None = None) -> None:
            cut = tuple(label[:LONGEST_LABEL] for label in labels)
            if (name, *cut) in seen:  # Prometheus refuses the whole scrape for one duplicate
                return
            seen.add((name, *cut))
            family = families[name]
            if isinstance(family, CounterMetricFamily):
                family.add_metric(cut, value, exemplar=exemplar)
            else:
                family.add_metric(cut, value)

        add("rca_watermark_timestamp_seconds", snapshot.watermark_ns / SECOND_NS)
        for incident in snapshot.incidents:
            _incident(incident, add)
        for service, signal, nats in snapshot.scores:
            add("rca_anomaly_score_nats", nats, service, signal)
        for status in snapshot.services:
            for signal, count in (("traces", status.spans), ("logs", status.logs), ("metrics", status.points)):
                add("rca_service_items_total", count, status.service, signal)
            add("rca_service_last_seen_timestamp_seconds", status.last_seen_ns / SECOND_NS, status.service)
            add("rca_service_learning_ratio", status.learning_ratio, status.service)
        for what, reason, dropped in snapshot.dropped:
            add("rca_engine_dropped_total", dropped, what, reason)
        _topology(snapshot, add)
        traces = _traces(snapshot.incidents)
        for name, labels, value in snapshot.counters:
            row = ROWS.get(name)
            if row is not None and row.by == "found":
                by_name = dict(labels)
                key = tuple(by_name.get(label, "") for label in row.labels)
                add(name, value, *key, exemplar=traces.get(key) if name == "rca_anomalies_total" else None)
        return families.values()


Add = Callable[..., None]


def _family(row: Row) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    return kind(row.name, row.help, labels=row.labels)


def _traces(incidents: Iterable[Incident]) -> Mapping[tuple[str, ...], Exemplar]:
    """An example trace by (service, family), from the strongest evidence of the open incidents."""
    found: dict[tuple[str, ...], Exemplar] = {}
    for incident in incidents:
        for item in incident.finding.evidence:
            if item.trace_id:
                found.setdefault((item.service, item.family.value), Exemplar({"trace_id": item.trace_id}, item.z, item.end_ns / SECOND_NS))
    return found


def _incident(incident: Incident, add: Add) -> None:
    finding, name = incident.finding, incident.id
    answer = finding.attribution.answer
    change_id = "" if answer in {"none", "inconclusive"} else answer
    add("rca_incident_active", 1, name, incident.severity.value, incident.environment)
    add("rca_incident_info", 1, name, finding.root, finding.cause_type, change_id, finding.title)
    add("rca_incident_page", float(incident.page), name)
    add("rca_incident_confidence_ratio", finding.confidence, name)
    add("rca_incident_start_timestamp_seconds", incident.onset_ns / SECOND_NS, name)
    add("rca_incident_acknowledged", float(incident.acknowledged), name)
    for service in dict.fromkeys((finding.root, *finding.affected[:AFFECTED_MOST])):
        if service:
            role = "root_cause" if service == finding.root else "affected"
            add("rca_incident_affected_service_info", 1, name, service, incident.environment, role)
    for rank, cause in enumerate(finding.causes[:CAUSES_MOST], start=1):
        add("rca_root_cause_score_ratio", cause.probability, name, cause.service, str(rank), finding.cause_type if rank == 1 else "")
    for one in finding.attribution.verdicts:
        if one.verdict.value in {"confirmed", "suspect"}:
            add("rca_incident_change_info", 1, name, one.change.id, one.change.type.value, one.change.service, one.verdict.value)
    shown = {node.id for node in finding.nodes[:NODES_MOST]}
    for node in finding.nodes[:NODES_MOST]:
        add("rca_causal_node_score_nats", node.score, name, node.id, node.title, f"{node.kind} {node.service}".strip())
    edges = [edge for edge in finding.edges if edge.source in shown and edge.target in shown]
    for edge in edges[:EDGES_MOST]:
        add("rca_causal_edge_weight", edge.weight, name, f"{edge.source}>{edge.target}", edge.source, edge.target, edge.reason)


def _topology(snapshot: Snapshot, add: Add) -> None:
    edges = sorted(snapshot.edges, key=lambda edge: -edge.calls)[:TOPOLOGY_MOST]
    kinds = {status.service: "service" for status in snapshot.services}
    for edge in edges:
        kinds.setdefault(edge.caller, "service")
        if kinds.get(edge.callee, "service") == "service" and edge.kind.value > 1:
            kinds.setdefault(edge.callee, edge.kind.name.lower())
        kinds.setdefault(edge.callee, "service")
    for node, kind in sorted(kinds.items()):
        add("rca_topology_node_info", 1, node, node, kind)
    for edge in edges:
        labels = (f"{edge.caller}>{edge.callee}", edge.caller, edge.callee)
        add("rca_topology_edge_calls", edge.calls, *labels)
        add("rca_topology_edge_errors_ratio", edge.errors / edge.calls if edge.calls else 0.0, *labels)
        add("rca_topology_edge_duration_seconds", edge.seconds / edge.calls if edge.calls else 0.0, *labels)
