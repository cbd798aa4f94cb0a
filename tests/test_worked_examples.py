"""The worked examples of the published articles, on values: groups, graph, checkout degradation, and the deploy with N+1 queries.

The articles' times and services; the directions in which faults travel.
"""

from __future__ import annotations

from datetime import UTC, datetime

from engine.judge.correlate import Links, Sign, correlate
from engine.judge.finding import compose
from engine.judge.graph import build, causal_edges
from engine.judge.rank import article_ranking
from engine.records import (
    SECOND_NS,
    Attribution,
    CausalNode,
    ChangeType,
    ChangeVerdict,
    ConfigChange,
    Evidence,
    Family,
    Verdict,
)
from tests.judging import calls

EDGES = calls("checkout-api>payment-service", "checkout-api>inventory-service", "checkout-api>cart-db", "inventory-service>inventory-db")


def at(clock):
    return int(datetime.fromisoformat(f"2024-01-15T{clock}").replace(tzinfo=UTC).timestamp()) * SECOND_NS


def test_step_3_two_groups():
    signs = [
        Sign(at("14:32:15"), "checkout-api", "config", id="config_001"),
        Sign(at("14:33:10"), "checkout-api", "metrics", id="metric_001"),
        Sign(at("14:34:05"), "payment-service", "traces", id="trace_002"),
        Sign(at("14:34:20"), "checkout-api", "traces", id="trace_001"),
        Sign(at("14:35:20"), "checkout-api", "logs", id="log_001"),
        Sign(at("15:10:05"), "inventory-db", "metrics", id="metric_002"),
        Sign(at("15:12:30"), "inventory-db", "traces", id="trace_003"),
    ]
    groups = correlate(signs, Links(EDGES))
    assert [({one.source for one in group}, {one.service for one in group}) for group in groups] == [
        ({"config", "metrics", "traces", "logs"}, {"checkout-api", "payment-service"}),
        ({"metrics", "traces"}, {"inventory-db"}),
    ]
    assert [(group[0].time_ns, group[-1].time_ns) for group in groups] == [
        (at("14:32:15"), at("14:35:20")),
        (at("15:10:05"), at("15:12:30")),
    ]


def test_step_4_the_graph_of_the_first_group_and_step_5_its_ranking():
    nodes = [
        CausalNode("config_001", "change", "checkout-api", "deploy", 0.92),
        CausalNode("metric_001", "metric", "checkout-api", "cpu", 8.5),
        CausalNode("trace_001", "trace", "checkout-api", "POST /checkout", 8.0),
        CausalNode("trace_002", "trace", "payment-service", "process_payment", 7.8),
        CausalNode("log_001", "log", "checkout-api", "timeout connecting to payment-service", 7.0),
    ]
    graph = build(nodes, EDGES, {"config_001": at("14:32:15")}, at("14:35:20"))
    assert {(edge.source, edge.target): edge.reason for edge in causal_edges(graph)} == {
        ("config_001", "metric_001"): "config_change",
        ("config_001", "trace_001"): "config_change",
        ("config_001", "log_001"): "config_change",
        ("metric_001", "trace_001"): "resource_contention",
        ("trace_001", "log_001"): "error_propagation",
        ("trace_002", "trace_001"): "service_dependency",
        ("trace_002", "log_001"): "service_dependency",
    }
    assert article_ranking(graph)[0][0] == "config_001"


def of(service, family, z, clock, sentence, **rest):
    return Evidence(
        family, service, sentence.split(":")[0], at(clock), at("14:35:00"), z, float("nan"), float("nan"), 40, "", sentence, **rest
    )


def test_step_6_the_checkout_degradation_is_the_deploy_of_checkout_api():
    deploy = ConfigChange("deploy-v2.3.0", at("14:30:00"), ChangeType.DEPLOYMENT, "checkout-api", actor="ci-cd-bot", version="v2.3.0")
    evidence = [
        of(
            "checkout-api", Family.RESOURCE, 9.0, "14:31:30", "cpu_usage_percent: 95.2 % on checkout-prod-001", instance="checkout-prod-001"
        ),
        of("payment-service", Family.SELF_TIME, 7.5, "14:32:15", "process_payment: 5.2 s, 5 times the usual 1.0 s"),
        of(
            "checkout-api",
            Family.ERROR,
            7.0,
            "14:33:00",
            "timeout connecting to payment-service: 31 of 40",
            signal="logs",
            user_visible=True,
        ),
    ]
    confirmed = ChangeVerdict(deploy, 0.87, Verdict.CONFIRMED, ("went live 90 s before the first sign",))
    finding = compose(evidence, EDGES, Attribution(deploy.id, (confirmed,), 0.08), at("14:30:00"), at("14:34:00"))
    assert (finding.root, finding.cause_type, finding.verdict) == ("checkout-api", "change", "confirmed")
    assert finding.confidence >= 0.87
    assert finding.affected == ("checkout-api", "payment-service")
    assert finding.action == "Roll back checkout-api from v2.3.0 to the version before."
    assert finding.chain[0] == "deploy-v2.3.0 (checkout-api v2.3.0) of 14:30:00 did it (87%)."
    reasons = {(edge.source, edge.target): edge.reason for edge in finding.edges}
    assert reasons["change:deploy-v2.3.0", "metric:checkout-api:resource"] == "config_change"
    assert reasons["trace:payment-service:self_time", "log:checkout-api:error"] == "service_dependency"


def test_the_search_deploy_with_n_plus_1_queries():
    before = ConfigChange("deploy-041", at("10:40:00"), ChangeType.DEPLOYMENT, "search-service", version="v1.8.2")
    deploy = ConfigChange("deploy-048", at("14:02:00"), ChangeType.DEPLOYMENT, "search-service", version="v1.8.3", summary="Fuzzy matching")
    evidence = [
        of("search-service", Family.FLOW, 9.0, "14:32:00", "search products: SELECT products runs 34 times a request, usually once"),
        of("search-service", Family.SELF_TIME, 5.0, "14:32:00", "search products: 372 ms, 3.1 times the usual 120 ms"),
        of("api", Family.GAP, 4.5, "14:32:00", "GET /search: 400 ms, 3.0 times the usual 133 ms", user_visible=True),
    ]
    verdicts = (ChangeVerdict(deploy, 0.88, Verdict.CONFIRMED, ()), ChangeVerdict(before, 0.01, Verdict.RULED_OUT, ()))
    finding = compose(evidence, calls("api>search-service"), Attribution("deploy-048", verdicts, 0.1), at("14:32:00"), at("14:34:00"))
    assert finding.title.endswith("because of deploy-048 (search-service v1.8.3)")
    assert finding.action == "Roll back search-service from v1.8.3 to v1.8.2."
    assert finding.chain == (
        "deploy-048 (search-service v1.8.3) of 14:02:00 did it (88%): Fuzzy matching.",
        "search-service: search products: SELECT products runs 34 times a request, usually once.",
        "api calls search-service. api: GET /search: 400 ms, 3.0 times the usual 133 ms.",
    )
