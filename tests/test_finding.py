"""What a finding says: cause type, scope, chain, action, stability."""

from __future__ import annotations

import random

import pytest

from engine.judge.finding import compose
from engine.judge.plain import from_plain, to_plain
from engine.judge.words import Around
from engine.records import (
    SECOND_NS,
    Attribution,
    ChangeType,
    ChangeVerdict,
    ConfigChange,
    Family,
    Finding,
    Param,
    PeerKind,
    TopologyEdge,
    Verdict,
)
from tests.judging import NO_CHANGE, calls, seen

NOTHING_AROUND = Around()
EDGES = calls("web>cart", "cart>stock")
DEPLOY = ConfigChange("d7", 900 * SECOND_NS, ChangeType.DEPLOYMENT, "cart", version="v2", summary="Faster carts")


def blaming(change, verdict=Verdict.CONFIRMED, others=()):
    return Attribution(change.id, (ChangeVerdict(change, 0.9, verdict, ("it fits",)), *others), 0.05)


def find(evidence, attribution=NO_CHANGE, edges=EDGES, around=NOTHING_AROUND):
    return compose(evidence, edges, attribution, 880 * SECOND_NS, 1000 * SECOND_NS, around=around)


@pytest.mark.parametrize(
    ("evidence", "kind", "words"),
    [
        ([seen("cart", Family.FLOW)], "code", "Look at cart first"),
        ([seen("cart", Family.ERROR)], "code", "Look at cart first"),
        ([seen("cart", Family.GAP)], "infrastructure", "network, host or node below cart"),
        ([seen("cart", Family.RESOURCE)], "resource", "Give cart more"),
        ([seen("cart", Family.SELF_TIME), seen("cart", Family.RESOURCE, z=5.0)], "resource", "Give cart more"),
        ([seen("orders-db", Family.GAP)], "dependency", "Look at orders-db itself"),
        (
            [seen("cart", Family.SELF_TIME), seen("web", Family.RATE, 6.0, observed=300, expected=100, user_visible=True)],
            "load",
            "Scale cart",
        ),
        ([], "unknown", "Nothing stands out"),
    ],
)
def test_the_kind_of_cause_decides_what_to_do(evidence, kind, words):
    edges = (*EDGES, TopologyEdge("cart", "orders-db", PeerKind.DATABASE, 9.0, 0.0, 1.0))
    finding = find(evidence, edges=edges)
    assert finding.cause_type == kind
    assert words in finding.action
    assert "oll back" not in finding.action


def test_what_is_known_around_the_incident_names_load_and_outside_hosts():
    assert find([seen("cart")], around=Around(load_ratio=2.4, load_service="web")).action.endswith("web gets 2.4 times its usual requests.")
    outside = find([seen("cart")], around=Around(outside_host="pay.example.com"))
    assert (outside.cause_type, "pay.example.com" in outside.action) == ("dependency", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (DEPLOY, "Roll back cart from v2 to the version before."),
        (ConfigChange("p1", 0, ChangeType.CONFIG, "cart", params=(Param("pool.size", "50", "5"),)), "Restore pool.size of cart to 50."),
        (ConfigChange("p1", 0, ChangeType.CONFIG, "cart", params=(Param("pool.size"),)), "Restore pool.size of cart to its value before"),
        (ConfigChange("f1", 0, ChangeType.FEATURE_FLAG, "cart", flag_key="fast-cart"), "Set flag fast-cart of cart back."),
        (ConfigChange("c1", 0, ChangeType.CODE, revision="0123456789abcdef"), "Revert 0123456789ab."),
    ],
)
def test_a_confirmed_change_is_taken_back(change, words):
    finding = find([seen("cart")], blaming(change))
    assert finding.action.startswith(words)
    assert finding.cause_type == "change"


def test_the_version_to_go_back_to_is_named_where_it_is_known():
    before = ChangeVerdict(ConfigChange("d6", 0, ChangeType.DEPLOYMENT, "cart", version="v1"), 0.01, Verdict.RULED_OUT, ())
    assert find([seen("cart")], blaming(DEPLOY, others=(before,))).action == "Roll back cart from v2 to v1."


def test_a_suspect_is_looked_at_first_and_one_ruled_out_is_never_taken_back():
    assert find([seen("cart")], blaming(DEPLOY, Verdict.SUSPECT)).action.startswith(
        "Look at d7 (cart v2) first; if it fits what you see, roll"
    )
    for verdict in (Verdict.RULED_OUT, Verdict.POSSIBLE):
        finding = find([seen("cart")], blaming(DEPLOY, verdict))
        assert "oll back" not in finding.action
        assert "d7" not in finding.title


def test_the_chain_runs_from_the_change_over_the_root_to_what_users_see():
    evidence = [seen("cart", z=9.0), seen("web", Family.GAP, 5.0, user_visible=True), seen("mail", z=6.0)]
    finding = find(evidence, blaming(DEPLOY))
    assert [sentence.split()[0] for sentence in finding.chain] == ["d7", "flow", "web"]
    assert finding.chain[0] == "d7 (cart v2) of 00:15:00 did it (90%): Faster carts."
    assert finding.chain[2].startswith("web calls cart.")


def test_calls_in_a_circle_do_not_make_an_endless_chain():
    assert len(find([seen("a", z=9.0), seen("b", z=8.0)], edges=calls("a>b", "b>a")).chain) == 2


def test_affected_services_show_it_and_the_root_comes_first():
    finding = find([seen("cart", z=9.0), seen("web", z=4.0), seen("mail", z=1.0), seen("shop", z=1.0, user_visible=True)])
    assert finding.affected == ("cart", "web", "shop")


def test_many_unrelated_services_at_once_are_infrastructure():
    finding = find([seen(f"s{number}", z=8.0 + number / 10) for number in range(4)], edges=())
    assert (finding.scope, finding.cause_type) == ("infrastructure", "infrastructure")
    shop = [seen(f"shop/s{number}") for number in range(4)]
    assert find(shop, edges=calls("bank/a>bank/b")).scope == "namespace"
    assert find([seen("cart", instance="cart-1")]).scope == "instance"
    assert find([seen("cart", instance="cart-1"), seen("cart", Family.GAP, instance="cart-2")]).scope == "service"


def test_one_instance_alone_is_its_pod_or_host_not_the_code():
    finding = find([seen("cart", Family.SELF_TIME, 9.0, instance="cart-1"), seen("cart", Family.FLOW, 4.0)])
    assert (finding.scope, finding.cause_type) == ("instance", "infrastructure")
    assert "Of the instances of cart only cart-1 shows it." in finding.chain
    assert finding.action.startswith("Look at cart-1 of cart first")
    assert find([seen("cart", Family.SELF_TIME, 9.0), seen("cart", Family.FLOW, 4.0)]).scope == "service"


def test_everything_in_a_zone_is_the_zone():
    edges = calls("web>cart")
    zone = [seen(name, Family.GAP, 8.0, zone="eu-1") for name in ("web", "cart", "mail")]
    assert (find(zone, edges=edges).scope, find(zone, edges=edges).cause_type) == ("zone", "infrastructure")
    elsewhere = [*zone[:2], seen("mail", Family.GAP, 8.0, zone="eu-2")]
    assert find(elsewhere, edges=edges).scope == "service"
    linked = [seen(name, Family.GAP, 8.0, zone="eu-1") for name in ("web", "cart")]
    assert find(linked, edges=edges).scope == "service"


def test_what_the_answer_rests_on_is_said():
    finding = find([seen("cart", z=9.0, subject="add item"), seen("stock", z=6.0)])
    assert finding.stability == ("Without add item stock would be first (99%).",)
    assert finding.verdict == "likely"
    sure = find([seen("cart", z=9.0, subject="add item"), seen("cart", Family.GAP, 8.0, subject="web to cart"), seen("stock", z=3.0)])
    assert (sure.stability, sure.verdict) == ((), "confirmed")


def test_nothing_clear_is_inconclusive():
    finding = find([seen("cart", z=2.0), seen("web", z=1.9)])
    assert finding.verdict == "inconclusive"
    assert finding.confidence < 0.5
    assert finding.action.endswith(", then at web.")


def test_equal_inputs_in_any_order_give_equal_findings_that_survive_as_plain_values():
    evidence = [seen(f"s{number % 7}", family, 3.0 + number % 5) for number, family in enumerate(list(Family) * 4)]
    shuffled = evidence[:]
    random.Random(1).shuffle(shuffled)
    finding = find(evidence, blaming(DEPLOY))
    assert find(shuffled, blaming(DEPLOY)) == finding
    assert from_plain(Finding, to_plain(finding)) == finding


def test_the_order_of_signs_ranks_services_without_evidence():
    finding = find([seen("web", z=5.0)], around=Around(roots={"cart": 0.9, "mail": 0.2, "web": 0.5}))
    assert [cause.service for cause in finding.causes] == ["web", "cart", "mail"]
