"""Gauges between two services."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evidence.edge_gauge import edge_gauge_evidence, silence_nats, stopped_evidence
from engine.records import SECOND_NS
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from tests.point_columns import Point, window

DAY = 86400 * 20000
MINUTES = 90
EDGES = (("web", "cart"), ("web", "pay"), ("pay", "cart"), ("pay", "bank"))


def store_of(slow: str = "", silent: tuple[str, str] | None = None, dead: str = "") -> tuple[SeriesStore, int, int]:
    """Latency gauges of four edges; in the last three minutes those at `slow` are ten times as long, and `silent` is not reported."""
    random = np.random.default_rng(2)
    points = []
    for minute in range(MINUTES):
        late, time = minute >= MINUTES - 3, DAY + 60 * minute
        points += [Point(time, "up", 1.0, service=name) for name in ("web", "cart", "pay", "bank") if not (late and name == dead)]
        for owner, peer in EDGES:
            if late and ((owner, peer) == silent or owner == dead):
                continue
            value = 0.02 * np.exp(0.1 * random.normal()) * (10 if late and slow in (owner, peer) else 1)
            points.append(Point(time, "edge.latency", value, service=owner, unit="s", attributes=(("peer.service", peer),)))
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window(points, strings, resources))
    end = (DAY + 60 * MINUTES) * SECOND_NS
    return store, end - 180 * SECOND_NS, end


def test_the_service_all_of_whose_edges_are_slow_is_the_loudest():
    found = {item.service: item for item in edge_gauge_evidence(*store_of(slow="cart"))}
    assert max(found.values(), key=lambda item: item.z).service == "cart"
    assert found["cart"].observed == pytest.approx(0.2, rel=0.3)
    assert "bank" not in found or found["bank"].z < 1


def test_quiet_edges_say_little():
    assert max((item.z for item in edge_gauge_evidence(*store_of())), default=0.0) < 1


def test_an_edge_that_stopped_is_charged_to_both_ends_and_opens_nothing():
    found = stopped_evidence(*store_of(silent=("pay", "bank")))
    assert [item.service for item in found] == ["bank", "pay"]
    assert not any(item.for_opening for item in found)
    assert all(item.z > 1.5 for item in found)


def test_an_edge_of_a_service_that_reports_nothing_at_all_has_not_stopped():
    assert stopped_evidence(*store_of(dead="pay")) == []


def test_a_series_that_comes_every_other_time_is_missed_less():
    steady, rare = np.arange(100), np.arange(0, 100, 2)
    assert silence_nats(rare, 100, 106) < silence_nats(steady, 100, 106)
