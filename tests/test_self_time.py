"""Self times: the operation that works longer itself, not those that wait for it."""

from __future__ import annotations

from engine.judge.detect import REFERENCE_Z, YOUNG
from engine.records import Family
from tests.trace_columns import Fault, evidence, shop, z_of


def test_the_service_that_works_longer_is_blamed_not_its_callers() -> None:
    found = evidence(shop(720, lambda second: Fault(work=300 if second >= 600 else 0)), 600, 720)
    z = z_of(found, "gap", "self_time")
    assert z["stock"] > 5
    assert all(other < 2 for service, other in z.items() if service != "stock")
    piece = max((piece for piece in found if piece.family == "self_time"), key=lambda piece: piece.z)
    assert piece.subject == "GET /stock"
    assert piece.observed > 250
    assert piece.expected < 10


def test_a_few_percent_more_is_nothing() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(work=1 if second >= 600 else 0)), 600, 720), "self_time")
    assert all(value < 2 for value in z.values())


def test_one_slow_operation_is_not_lost_among_those_that_are_as_usual() -> None:
    found = evidence(shop(720, lambda second: Fault(work=80 if second >= 600 else 0)), 600, 720)
    piece = max((piece for piece in found if piece.family == "self_time"), key=lambda piece: piece.z)
    assert (piece.service, piece.subject) == ("stock", "GET /stock")
    assert piece.z > 5


def test_a_steady_service_that_becomes_three_times_slower_opens_with_nothing_else_odd() -> None:
    hour = 3600
    found = evidence(shop(hour + 120, lambda second: Fault(work=12 if second >= hour else 0)), hour, hour + 120)
    piece = max((piece for piece in found if piece.family == "self_time"), key=lambda piece: piece.z)
    assert (piece.service, round(piece.observed / piece.expected)) == ("stock", 3)
    assert piece.z > REFERENCE_Z[Family.SELF_TIME] * (1 + YOUNG / 60)
    a_third_more = evidence(shop(hour + 120, lambda second: Fault(work=2 if second >= hour else 0)), hour, hour + 120)
    assert max(z_of(a_third_more, "self_time").values()) < 2
