"""The dashboard as code: `python grafana/dashboards/build.py` writes whence.json beside it.

Needs grafana-foundation-sdk 0.0.21: later builds write another format, and an unpinned install takes one for Grafana 10.1.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, nodegraph, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).with_name("whence.json")
PROMETHEUS = common_model.DataSourceRef("prometheus", "${datasource}")
RATE = "$__rate_interval"


def query(expr: str, legend: str = "", ref_id: str = "A") -> prometheus.Dataquery:
    """A range query for a graph."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref_id).datasource(PROMETHEUS)


def now(expr: str, ref_id: str = "A") -> prometheus.Dataquery:
    """The present values, as a table."""
    return query(expr, ref_id=ref_id).instant().format(PromQueryFormat.TABLE)


def number(title: str, expr: str, description: str, *, unit: str = "short", red: float | None = None) -> stat.Panel:
    """One number; red from a value on."""
    steps = [model.Threshold(value=None, color="green")] + ([model.Threshold(value=red, color="red")] if red is not None else [])
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .height(4)
        .span(4)
        .thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(query(expr).instant())
    )


def graph(title: str, description: str, *targets: prometheus.Dataquery, unit: str = "short", span: int = 12) -> timeseries.Panel:
    """Lines over time."""
    panel = timeseries.Panel().title(title).description(description).datasource(PROMETHEUS).unit(unit).height(8).span(span).min(0)
    panel = panel.fill_opacity(10).show_points(common_model.VisibilityMode.NEVER)
    panel = panel.legend(common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM))
    for target in targets:
        panel = panel.with_target(target)
    return panel


def rows(
    title: str, description: str, names: dict[str, str], *targets: prometheus.Dataquery, join: str = "", span: int = 24
) -> table.Panel:
    """A table of present values; `names` are the columns that are shown, in order, and their titles."""
    panel = table.Panel().title(title).description(description).datasource(PROMETHEUS).height(7).span(span)
    for target in targets:
        panel = panel.with_target(target)
    if join:
        panel = panel.with_transformation(model.DataTransformerConfig("joinByField", options={"byField": join, "mode": "outer"}))
    options = {
        "indexByName": {name: at for at, name in enumerate(names)},
        "renameByName": names,
        "includeByName": dict.fromkeys(names, True),
    }
    return panel.with_transformation(model.DataTransformerConfig("organize", options=options))


def graph_of(title: str, description: str, nodes: str, edges: str, names: dict[str, str]) -> nodegraph.Panel:
    """A node graph: it takes instant tables whose refIds are nodes and edges."""
    panel = nodegraph.Panel().title(title).description(description).datasource(PROMETHEUS).height(14).span(12)
    panel = panel.with_target(now(nodes, "nodes")).with_target(now(edges, "edges"))
    return panel.with_transformation(model.DataTransformerConfig("organize", options={"renameByName": names}))


def build() -> dashboard.Dashboard:
    """The whole dashboard."""
    made = (
        dashboard.Dashboard("whence: what broke, and why")
        .uid("whence")
        .description("Open incidents with their causes, what deviates, who calls whom, and whether whence itself works.")
        .tags(["whence"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .annotation(annotation("Incidents and changes", "red", "rca"))
    )
    for panel in (*incident_panels(), *signal_panels()):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Is it working?"))
    for panel in working_panels():
        made = made.with_panel(panel)
    return made


class Tagged:
    """Target of an annotation query: annotations of Grafana itself that have a tag. The SDK has no builder for it."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def build(self) -> model.AnnotationTarget:
        """The target."""
        return model.AnnotationTarget(limit=100, match_any=False, tags=[self.tag], type_val="tags")


def annotation(name: str, colour: str, tag: str) -> dashboard.AnnotationQuery:
    """Annotations that whence's annotation sink wrote into Grafana."""
    made = dashboard.AnnotationQuery().name(name).icon_color(colour).enable(True).target(Tagged(tag))
    return made.datasource(common_model.DataSourceRef("grafana", "-- Grafana --"))


def incident_panels() -> list[object]:
    """What is broken now."""
    info = "rca_incident_info * on (incident_id) group_left (severity, deployment_environment_name) rca_incident_active"
    return [
        number("Open incidents", "count(rca_incident_active) or vector(0)", "Incidents that are open now.", red=1),
        number("For people", "sum(rca_incident_page) or vector(0)", "Open incidents that are worth a page.", red=1),
        number("Opened in 24 h", "sum(increase(rca_incidents_total[24h])) or vector(0)", "Incidents opened or reopened."),
        number("Services", "count(rca_service_learning_ratio) or vector(0)", "Services that telemetry came from."),
        number("Still learning", "count(rca_service_learning_ratio < 1) or vector(0)", "Services whose usual behaviour is not learnt yet."),
        number("Decided up to", "time() - rca_watermark_timestamp_seconds", "Age of the last decided window.", unit="s", red=300),
        rows(
            "Open incidents",
            "What broke, how sure, since when; the change that did it, if one did.",
            {
                "title": "what",
                "root_cause_service_name": "root cause",
                "Value #confidence": "sure",
                "severity": "severity",
                "cause_type": "kind",
                "change_id": "change",
                "Value #since": "since",
                "deployment_environment_name": "environment",
                "incident_id": "incident",
            },
            now(info, "info"),
            now("rca_incident_confidence_ratio", "confidence"),
            now("rca_incident_start_timestamp_seconds * 1000", "since"),
            join="incident_id",
        )
        .override_by_name("sure", [model.DynamicConfigValue("unit", "percentunit"), model.DynamicConfigValue("decimals", 0)])
        .override_by_name("since", [model.DynamicConfigValue("unit", "dateTimeAsIso")]),
        rows(
            "Candidates",
            "Probability of each cause.",
            {"service_name": "service", "Value": "probability", "rank": "rank", "cause_type": "kind", "incident_id": "incident"},
            now("rca_root_cause_score_ratio"),
            span=12,
        ).override_by_name("probability", [model.DynamicConfigValue("unit", "percentunit"), model.DynamicConfigValue("decimals", 0)]),
        rows(
            "Changes not ruled out",
            "Changes that may have done it.",
            {"change_id": "change", "change_type": "type", "service_name": "service", "verdict": "verdict", "incident_id": "incident"},
            now("rca_incident_change_info"),
            span=12,
        ),
    ]


def signal_panels() -> list[object]:
    """What deviates, and who may have caused whom."""
    return [
        graph(
            "What deviates most",
            "Loudest deviation of the last window by service and family of evidence, in nats (z^2 / 2): 8 is about 4 sigma.",
            query("topk(10, rca_anomaly_score_nats)", "{{service_name}} {{signal}}"),
        ),
        graph(
            "Deviations over their threshold",
            "Counted each window, by family of evidence.",
            query(f"sum by (signal) (rate(rca_anomalies_total[{RATE}]))", "{{signal}}"),
            unit="cps",
        ),
        graph_of(
            "Why: from cause to symptom",
            "Causal graph of the open incidents: source may have caused target.",
            "rca_causal_node_score_nats",
            "rca_causal_edge_weight",
            {"Value #nodes": "mainstat", "Value #edges": "mainstat", "reason": "secondarystat"},
        ),
        graph_of(
            "Who calls whom",
            "Topology seen in spans, with databases, queues and outside peers.",
            "rca_topology_node_info",
            "rca_topology_edge_calls",
            {"Value #edges": "mainstat"},
        ),
    ]


def working_panels() -> list[object]:
    """Whether whence itself works."""
    p99 = "histogram_quantile(0.99, sum by (le, transport) (rate(rca_receiver_request_duration_seconds_bucket[{}])))"
    return [
        graph(
            "Received",
            "Spans, log records and data points taken.",
            query(f"sum by (signal) (rate(rca_receiver_items_total[{RATE}]))", "{{signal}}"),
            unit="cps",
            span=8,
        ),
        graph(
            "Refused and dropped",
            "Requests refused, items left out, items the engine did not use, deliveries given up.",
            query(f"sum by (reason) (rate(rca_receiver_refused_requests_total[{RATE}]))", "refused: {{reason}}"),
            query(f"sum by (reason) (rate(rca_receiver_dropped_items_total[{RATE}]))", "left out: {{reason}}", "B"),
            query(f"sum by (what, reason) (rate(rca_engine_dropped_total[{RATE}]))", "engine: {{what}} {{reason}}", "C"),
            query(f"sum by (sink, reason) (rate(rca_sink_dropped_total[{RATE}]))", "sink {{sink}}: {{reason}}", "D"),
            unit="cps",
            span=8,
        ),
        graph(
            "Time to answer a sender, p99",
            "From a request's last byte to its answer.",
            query(p99.format(RATE), "{{transport}}"),
            unit="s",
            span=8,
        ),
        graph(
            "Engine",
            "Share of one core that the engine needs; at 1 it falls behind.",
            query(f"rate(rca_engine_busy_seconds_total[{RATE}])", "busy"),
            unit="percentunit",
            span=8,
        ),
        graph(
            "Waiting",
            "Requests in flight against the limit, and deliveries that wait.",
            query("rca_receiver_in_flight_bytes", "in flight"),
            query("rca_receiver_in_flight_limit_bytes", "limit", "B"),
            unit="bytes",
            span=8,
        ),
        graph("Deliveries waiting", "By sink.", query("rca_sink_queue_length", "{{sink}}"), span=8),
        rows("Degraded", "Works, but not fully.", {"reason": "what"}, now("rca_degraded"), span=8),
        rows(
            "Hints",
            "What makes whence blind; `whence status` says it in sentences.",
            {"service_name": "service", "hint": "hint"},
            now("rca_hint"),
            span=16,
        ),
    ]


def text() -> str:
    """The dashboard as JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(build().build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
