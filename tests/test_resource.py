"""Utilisation gauges."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evidence.resource import utilisation_evidence
from engine.records import SECOND_NS, Evidence, Resource
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from tests.point_columns import Point, window

DAY = 86400 * 20000
MINUTES = 120


def evidence(peaks: dict[str, float], host: dict[str, float] | None = None, unit: str = "%", scale: float = 1.0) -> dict[str, Evidence]:
    """Four services with a quiet gauge each, and their values in the last two minutes; host: the same gauge on all, likewise."""
    random = np.random.default_rng(1)
    points = []
    for minute in range(MINUTES):
        time = DAY + 60 * minute
        late = minute >= MINUTES - 2
        shared = 30 + random.normal() + (host or {}).get("rise", 0.0) * late
        for name in ("cart", "mail", "pay", "ship"):
            value = 5 + random.normal() if not late or name not in peaks else peaks[name]
            points.append(Point(time, "cpu.usage", value * scale, service=name, unit=unit))
            points.append(Point(time, "node.usage", shared * scale, service=name, unit=unit))
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window(points, strings, resources))
    end = (DAY + 60 * MINUTES) * SECOND_NS
    found = utilisation_evidence(store, end - 120 * SECOND_NS, end)
    return {item.service: item for item in found}


def test_the_service_whose_gauge_rose_is_charged_with_numbers():
    found = evidence({"cart": 90.0})
    assert max(found.values(), key=lambda item: item.z).service == "cart"
    assert found["cart"].z > 6
    assert found["cart"].observed == pytest.approx(0.9)
    assert found["cart"].expected == pytest.approx(0.05, abs=0.005)
    assert "90.0%" in found["cart"].sentence


@pytest.mark.parametrize(("peaks", "instance"), [((90.0, 5.0), "cart-0"), ((90.0, 80.0), ""), ((90.0,), "")])
def test_the_only_instance_whose_gauge_rose_is_named(peaks, instance):
    random = np.random.default_rng(1)
    points = [
        Point(
            DAY + 60 * minute,
            "cpu.usage",
            peak if minute >= MINUTES - 2 else 5 + random.normal(),
            unit="%",
            resource=Resource(service="cart", pod=f"cart-{at}"),
        )
        for minute in range(MINUTES)
        for at, peak in enumerate(peaks)
    ]
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window(points, strings, resources))
    end = (DAY + 60 * MINUTES) * SECOND_NS
    (found,) = utilisation_evidence(store, end - 120 * SECOND_NS, end)
    assert found.z > 6
    assert found.instance == instance


def test_what_all_show_is_nobodys():
    found = evidence(dict.fromkeys(("cart", "mail", "pay", "ship"), 90.0))
    assert max((item.z for item in found.values()), default=0.0) < 2


def test_a_gauge_of_the_host_is_left_out_although_it_rises():
    found = evidence({"cart": 90.0}, host={"rise": 60.0})
    assert {item.subject for item in found.values()} == {"cpu.usage"}


def test_percent_and_ratio_are_one():
    percent, ratio = evidence({"cart": 90.0}), evidence({"cart": 90.0}, unit="1", scale=0.01)
    assert percent["cart"].z == pytest.approx(ratio["cart"].z, rel=1e-4)


def test_a_gauge_that_fell_says_nothing():
    assert evidence({"cart": 0.0}).get("cart") is None


def test_explaining_changes_nothing():
    assert evidence({"cart": 90.0}) == evidence({"cart": 90.0})
