"""The worked examples of the published articles, as OTLP: two groups, the graph, the checkout degradation, the deploy with N+1 queries.

The articles' times, services and versions; the directions in which faults travel. Around them is normal traffic that we make up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from engine.records import SECOND_NS, Incident, Severity, Verdict
from tests.otlp_shop import Call, Sender, last, run, traffic


def at(clock):
    return int(datetime.fromisoformat(f"2024-01-15T{clock}").replace(tzinfo=UTC).timestamp()) * SECOND_NS


def within(now, first, end):
    return at(first) <= now < at(end)


STOCK = Call("inventory-db", "UPDATE stock", 3.0, log="1 row")
RESERVE = Call("inventory-service", "reserve", 6.0, (STOCK,), log="reserved")
PAY = Call("payment-service", "process_payment", 200.0, log="payment authorised", timeout_ms=3000.0)
EMPTY = Call("cart-db", "DELETE cart", 2.0, database="cart-db", statement="DELETE FROM cart WHERE id = 7")
CHECKOUT = Call("web", "POST /checkout", 4.0, (Call("checkout-api", "POST /checkout", 12.0, (RESERVE, PAY, EMPTY), log="order placed"),))
PRODUCTS = Call("catalog-db", "SELECT products", 5.0, database="catalog-db", statement="SELECT * FROM products")
BROWSE = Call("web", "GET /products", 3.0, (Call("catalog-service", "list", 15.0, (PRODUCTS,), log="listed"),))
SHOP = ("web", "checkout-api", "payment-service", "inventory-service", "inventory-db", "catalog-service")
CPU = "process.cpu.utilization"
LOOP = """--- a/checkout/payments.py
+++ b/checkout/payments.py
@@ def authorise(order):
-    http.post(PAYMENTS + "/process_payment", order.total)
+    for item in order.items:
+        http.post(PAYMENTS + "/process_payment", item.price)
"""


def checkout(now):
    """Payment takes five times as long from 14:32:15 to 14:37; its caller waits for half of that, from 14:33 on."""
    if not within(now, "14:32:15", "14:37:00"):
        return CHECKOUT
    return CHECKOUT.with_call(
        "payment-service", "process_payment", milliseconds=1000.0, timeout_ms=500.0 if now >= at("14:33:00") else 3000.0
    )


def stock(now):
    """The database of the inventory is slow from 15:12:30 on."""
    slow = within(now, "15:12:30", "15:16:00")
    return CHECKOUT.with_call("inventory-db", "UPDATE stock", milliseconds=60.0) if slow else CHECKOUT


def busy(now):
    """CPU: 95 % at checkout-api from 14:31:30, at inventory-db from 15:10:05."""
    hot = {"checkout-api": ("14:31:30", "14:37:00"), "inventory-db": ("15:10:05", "15:16:00")}
    return {(service, CPU): 0.952 if service in hot and within(now, *hot[service]) else 0.25 for service in SHOP}


def checkout_versions(now):
    return {"checkout-api": "v2.3.0" if now >= at("14:30:05") else "v2.2.4"}


@cache
def degradation(end: str, diff: str = "") -> list[Incident]:
    """The checkout degradation, and what follows until `end`."""
    sender = Sender()

    def requests(now):
        order = checkout(now) if now < at("14:50:00") else stock(now)
        if diff and within(now, "14:31:30", "14:37:00"):
            (api,) = order.calls
            reserve, pay, empty = api.calls
            order = order.with_call("checkout-api", "POST /checkout", calls=(reserve, pay, pay, pay, pay, empty))
        return [order, BROWSE]

    traffic(sender, at("14:08:00"), at(end), 1.5 if diff == "" and end > "14:40" else 3.0, requests, busy, checkout_versions)
    told = {"service.version": "v2.3.0", "rca.change.id": "deploy-v2.3.0", "user.name": "ci-cd-bot"} | (
        {"rca.change.diff": diff} if diff else {}
    )
    sender.change("checkout-api", at("14:30:00"), "deployment", "checkout-api v2.3.0", told)
    return run(sender)[1]


def kinds(finding):
    """Edges of a causal graph by what its nodes are: kind and service."""
    what = {node.id: (node.kind, node.service) for node in finding.nodes}
    return {(what[edge.source], what[edge.target], edge.reason) for edge in finding.edges}


def test_step_3_two_groups_of_signs_are_two_incidents():
    first, second = last(degradation("15:16:00"))
    assert at("14:31:00") <= first.onset_ns <= at("14:33:30")
    assert at("15:10:00") <= second.onset_ns <= at("15:13:00")
    assert set(first.finding.affected) >= {"payment-service", "checkout-api"}
    assert second.finding.root == "inventory-db"


def test_step_4_the_graph_of_the_first_group():
    (incident,) = last(degradation("14:38:00"))
    change, cpu = ("change", "checkout-api"), ("metric", "checkout-api")
    spans, log, payment = ("trace", "checkout-api"), ("log", "checkout-api"), ("trace", "payment-service")
    edges = kinds(incident.finding)
    assert edges >= {
        (change, cpu, "config_change"),
        (change, spans, "config_change"),
        (change, log, "config_change"),
        (cpu, spans, "resource_contention"),
        (spans, log, "error_propagation"),
        (payment, spans, "service_dependency"),
        (payment, log, "service_dependency"),
    }
    assert not {edge for edge in edges if edge[1] == payment}, "nothing makes a callee ill but itself"


def test_step_6_the_checkout_degradation_without_more_than_the_article_tells():
    (incident,) = last(degradation("14:38:00"))
    finding = incident.finding
    assert incident.severity is Severity.CRITICAL
    assert incident.page
    assert {cause.service for cause in finding.causes[:2]} == {"checkout-api", "payment-service"}
    (verdict,) = finding.attribution.verdicts
    assert verdict.verdict in {Verdict.SUSPECT, Verdict.CONFIRMED}
    assert "roll back checkout-api from v2.3.0" in finding.action
    assert finding.chain[0].startswith("deploy-v2.3.0 (checkout-api v2.3.0) of 14:30:00 is suspected")
    assert any("timeout connecting to payment-service" in each.subject for each in finding.evidence)


def test_step_6_with_the_diff_of_the_deploy_its_service_is_the_cause_of_all():
    (incident,) = last(degradation("14:38:00", LOOP))
    finding = incident.finding
    assert (finding.root, finding.cause_type, finding.attribution.answer) == ("checkout-api", "change", "deploy-v2.3.0")
    assert at("14:31:20") <= incident.onset_ns <= at("14:31:40")
    assert finding.attribution.verdicts[0].verdict in {Verdict.SUSPECT, Verdict.CONFIRMED}
    assert finding.chain[0].startswith("deploy-v2.3.0 (checkout-api v2.3.0) of 14:30:00")
    assert finding.chain[1].startswith("checkout-api: ")
    assert finding.chain[2].startswith("web calls checkout-api. ")
    assert "oll back checkout-api from v2.3.0 to the version before." in finding.action
    assert finding.affected[0] == "checkout-api"
    assert "payment-service" in finding.affected or "payment-service" in {each.service for each in finding.evidence}


def search(queries, milliseconds):
    one = Call("products-db", "SELECT products", 4.0, database="products", statement="SELECT * FROM products WHERE name = 'x'")
    return Call("web", "GET /search", 4.0, (Call("search-service", "search products", milliseconds, (one,) * queries, log="found"),))


def test_the_search_deploy_with_n_plus_1_queries():
    cart = Call("cart-db", "INSERT cart", 2.0, database="cart-db", statement="INSERT INTO cart VALUES (1)")
    add = Call("web", "POST /cart", 3.0, (Call("cart-service", "add", 8.0, (cart,), log="added"),))
    sender = Sender()
    traffic(
        sender,
        at("14:00:00"),
        at("14:36:00"),
        1.5,
        lambda now: [search(34, 60.0) if now >= at("14:32:00") else search(1, 60.0), add],
        lambda _: {(service, CPU): 0.2 for service in ("web", "search-service", "cart-service")},
        lambda now: {"search-service": "v1.8.3" if now >= at("14:02:00") else "v1.8.2"},
    )
    deploys = (
        ("deploy-041", "10:40:00", "search-service", "v1.8.2", "New stop words"),
        ("deploy-044", "11:30:00", "cart-service", "v3.1.0", "Gift wrapping"),
        ("deploy-046", "13:05:00", "web", "v9.2.0", "New footer"),
        ("deploy-047", "13:50:00", "cart-service", "v3.1.1", "Gift wrapping: prices"),
        ("deploy-048", "14:02:00", "search-service", "v1.8.3", "Fuzzy matching"),
        ("deploy-049", "14:20:00", "web", "v9.2.1", "Footer: imprint"),
    )
    for name, clock, service, version, summary in deploys:
        sender.change(service, at(clock), "deployment", summary, {"service.version": version, "rca.change.id": name})
    (incident,) = last(run(sender)[1])
    finding = incident.finding
    assert finding.root == "search-service"
    assert at("14:31:30") <= incident.onset_ns <= at("14:32:30")
    assert incident.opened_ns <= at("14:33:30")
    assert finding.title.endswith("because of deploy-048 (search-service v1.8.3)")
    assert "oll back search-service from v1.8.3 to v1.8.2." in finding.action
    verdicts = {one.change.id: one.verdict for one in finding.attribution.verdicts}
    assert {name for name, verdict in verdicts.items() if verdict in {Verdict.CONFIRMED, Verdict.SUSPECT}} == {"deploy-048"}
    assert "SELECT products comes SELECT products" in finding.chain[1]
    assert finding.chain[2].startswith("web calls search-service. web: ")
    assert incident.page
