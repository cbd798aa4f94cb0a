"""/metrics: the identity of an alert is stable, closed incidents vanish, and every name is in the one table."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from engine.records import CausalNode, Cause, Snapshot
from exporter.metrics import TABLE, Metrics, exposed_names
from exporter.receiver.counters import Counters
from exporter.sinks.prometheus import Findings, exposition
from tests.findings import TRACE_ID, finding, incident, snapshot
from tests.servers import need

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"\brca_[a-z0-9_]*[a-z0-9]\b(?!\.)")


def scraped(shown: Snapshot) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape as a Prometheus reads it."""
    metrics = Metrics()
    metrics.registry.register(Findings(lambda: shown))
    body, content_type = exposition(metrics.registry, "")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def named(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str) -> list[tuple[dict[str, str], float]]:
    return [(dict(labels), value) for (each, labels), value in samples.items() if each == name]


def test_the_identity_of_an_alert_has_only_what_does_not_change() -> None:
    before = incident()
    after = replace(before, finding=finding("checkout", title="another title", confidence=0.3, causes=(Cause("checkout", 9, 0.3, ()),)))
    assert named(scraped(snapshot(before)), "rca_incident_active") == named(scraped(snapshot(after)), "rca_incident_active")
    assert named(scraped(snapshot(after)), "rca_incident_active") == [
        ({"incident_id": before.id, "severity": "critical", "deployment_environment_name": "production"}, 1.0)
    ]
    assert named(scraped(snapshot(after)), "rca_incident_info") == [
        (
            {
                "incident_id": before.id,
                "root_cause_service_name": "checkout",
                "cause_type": "change",
                "change_id": "deploy-7",
                "title": "another title",
            },
            1.0,
        )
    ]


def test_a_closed_incident_vanishes() -> None:
    assert [labels for (name, labels) in scraped(snapshot()) if name.startswith(("rca_incident_", "rca_root", "rca_causal"))] == []


def test_root_cause_and_affected_services_have_their_role() -> None:
    roles = {
        labels["service_name"]: labels["role"] for labels, _ in named(scraped(snapshot(incident())), "rca_incident_affected_service_info")
    }
    assert roles == {"cart": "root_cause", "checkout": "affected"}


def test_graphs_have_what_a_node_graph_panel_needs() -> None:
    samples = scraped(snapshot(incident()))
    nodes = {labels["id"] for labels, _ in named(samples, "rca_topology_node_info")}
    edges = named(samples, "rca_topology_edge_calls")
    assert nodes == {"cart", "checkout", "redis"}
    assert {(labels["source"], labels["target"]) for labels, _ in edges} == {("checkout", "cart"), ("cart", "redis")}
    subtitles = {labels["id"]: labels["subtitle"] for labels, _ in named(samples, "rca_topology_node_info")}
    assert subtitles["redis"] == "database"
    causal = {labels["id"] for labels, _ in named(samples, "rca_causal_node_score_nats")}
    assert [(labels["source"], labels["target"]) for labels, _ in named(samples, "rca_causal_edge_weight")] == [("n1", "n2")]
    assert causal == {"n1", "n2"}


def test_an_anomaly_has_an_example_trace_for_those_who_can_read_it() -> None:
    metrics = Metrics()
    metrics.registry.register(Findings(lambda: snapshot(incident())))
    body, content_type = exposition(metrics.registry, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    anomalies = [s for family in openmetrics(body.decode()) for s in family.samples if s.name == "rca_anomalies_total"]
    assert [sample.exemplar.labels for sample in anomalies if sample.exemplar] == [{"trace_id": TRACE_ID}]


def test_names_that_collide_after_cutting_do_not_break_the_scrape() -> None:
    nodes = tuple(CausalNode(f"{'x' * 300}{at}", "trace", "cart", "t", 1.0) for at in range(3))
    body = scraped(snapshot(incident(finding=finding(nodes=nodes, edges=()))))
    assert len(named(body, "rca_causal_node_score_nats")) == 1


def test_hostile_label_values_are_escaped() -> None:
    title = 'a"b\\c\nd {}'
    samples = scraped(snapshot(incident(finding=finding(title=title))))
    assert [labels["title"] for labels, _ in named(samples, "rca_incident_info")] == [title]


def test_every_row_of_the_table_is_exposed_and_nothing_else() -> None:
    metrics = Metrics()
    metrics.registry.register(Findings(lambda: snapshot(incident())))
    Counters(metrics.registry)
    exposed = {family.name.removesuffix("_total") for family in metrics.registry.collect()}
    assert exposed == {row.name.removesuffix("_total") for row in TABLE}


def test_conventions() -> None:
    for row in TABLE:
        assert row.name.startswith("rca_"), row.name
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert not {"service", "env", "job", "instance"} & set(row.labels), f"{row.name}: collides with labels of the scrape"
        assert row.help


def test_a_name_outside_the_table_is_an_error() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.count("rca_other_total")
    with pytest.raises(TypeError, match="is no gauge"):
        metrics.set("rca_engine_errors_total", 1)


def test_a_gauge_of_state_forgets_what_is_gone() -> None:
    metrics = Metrics()
    metrics.only("rca_hint", [("cart", "a"), ("cart", "b")])
    metrics.only("rca_hint", [("cart", "b")])
    assert metrics.values("rca_hint") == [({"service_name": "cart", "hint": "b"}, 1.0)]


@pytest.mark.server
def test_prometheus_has_nothing_to_complain_of() -> None:
    metrics = Metrics()
    metrics.registry.register(Findings(lambda: snapshot(incident())))
    Counters(metrics.registry)
    body, _ = exposition(metrics.registry, "")
    done = subprocess.run([need("promtool"), "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


def documents() -> list[Path]:
    """Everything that names metrics for users."""
    found = [path for pattern in ("grafana/**/*", "otel-config/**/*", "docs/**/*") for path in ROOT.glob(pattern)]
    return [path for path in [*found, ROOT / "README.md"] if path.is_file() and path.suffix in {".json", ".yaml", ".yml", ".md", ".py"}]


def test_dashboards_rules_and_documents_name_only_metrics_that_exist() -> None:
    exposed = exposed_names()
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in documents()
        for name in NAME.findall(path.read_text())
        if name not in exposed and not any(each.startswith(f"{name}_") for each in exposed)  # a family, as in rca_incident_*
    }
    assert unknown == set()
