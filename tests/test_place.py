"""Where a deviation shows: one instance or one zone, and not the others."""

from __future__ import annotations

import pytest

from engine.records import Evidence, Resource
from tests.trace_columns import Fault, Records, evidence, shop


def spread(records: Records, zones: tuple[str, str] = ("", "")) -> Records:
    """Requests of even and odd numbers are answered by two instances of stock."""
    stock = records.service("stock")
    pods = [records.resources.intern(Resource(service="stock", pod=f"stock-{at}", zone=zones[at])) for at in (0, 1)]
    for row in (*records.spans, *records.logs):
        if row["resource"] == stock:
            row["resource"] = pods[int(row["trace_lo"]) % 2]
    return records


def loudest(records: Records, family: str) -> Evidence:
    found = [piece for piece in evidence(records, 600, 720) if piece.family == family and piece.service == "stock"]
    return max(found, key=lambda piece: piece.z)


@pytest.mark.parametrize(
    ("family", "fault"),
    [("self_time", Fault(work=300)), ("gap", Fault(network=300)), ("error", Fault(fails=True))],
)
def test_the_only_instance_that_shows_it_is_named(family: str, fault: Fault) -> None:
    # the request of second s has number s + 1
    one = spread(shop(720, lambda second: fault if second >= 600 and second % 2 == 0 else Fault()))
    piece = loudest(one, family)
    assert piece.z > 3
    assert (piece.instance, piece.zone) == ("stock-1", "")
    both = loudest(spread(shop(720, lambda second: fault if second >= 600 else Fault())), family)
    assert (both.z > 3, both.instance) == (True, "")
    alone = loudest(shop(720, lambda second: fault if second >= 600 else Fault()), family)
    assert (alone.z > 3, alone.instance) == (True, "")


def test_the_only_zone_that_shows_it_is_named() -> None:
    slow = Fault(work=300)
    records = spread(shop(720, lambda second: slow if second >= 600 and second % 2 == 0 else Fault()), ("eu-1", "eu-2"))
    assert loudest(records, "self_time").zone == "eu-2"
    both = spread(shop(720, lambda second: slow if second >= 600 else Fault()), ("eu-1", "eu-2"))
    assert loudest(both, "self_time").zone == ""
