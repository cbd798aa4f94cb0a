"""Flow: the service in which something else follows than usual."""

from __future__ import annotations

from tests.trace_columns import Fault, evidence, shop, z_of


def test_the_service_that_returns_early_is_blamed() -> None:
    found = evidence(shop(720, lambda second: Fault(skips=second >= 600)), 600, 720)
    z = z_of(found, "flow")
    assert z["stock"] > 5
    assert z["stock"] == max(z.values())
    loudest = max((piece for piece in found if piece.family == "flow"), key=lambda piece: piece.z)
    assert loudest.sentence == 'in GET /stock, after log "Stock#20" comes end in 100 % of 120 traces, usually 0.083 %'
    assert len(loudest.trace_id) == 32


def test_the_service_that_fails_is_blamed_and_its_callers_are_not() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(fails=second >= 600)), 600, 720), "flow")
    assert z["stock"] > 5
    assert all(other < 1 for service, other in z.items() if service != "stock")


def test_the_service_that_no_longer_calls_is_blamed_not_the_one_that_is_not_called() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(without=second >= 600)), 600, 720), "flow")
    assert z["cart"] > 5
    assert z.get("stock", 0) < 1


def test_other_traffic_is_no_deviation() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(requests=4 if second >= 600 else 1)), 600, 720), "flow")
    assert all(value < 1 for value in z.values())
