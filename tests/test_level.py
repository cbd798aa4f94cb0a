"""Services that report a latency or failures without a count of requests: each against its own past."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.evidence.level import level_evidence
from engine.evidence.series import series_evidence
from engine.normal.days import Days
from engine.records import SECOND_NS, Evidence, Family, PeerKind, TopologyEdge
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from tests.point_columns import Point, window

DAY = 86400 * 20000
MINUTE = 60
ROWS = 120
EDGES = [TopologyEdge("web", "cart", PeerKind.SERVICE, 1, 0, 0)]
USUAL = {"web": 240.0, "cart": 80.0, "mailer": 900.0}


def p99(rise: Callable[[str, int], float], seed: int = 1, spread: float = 0.1) -> list[Point]:
    """Gauges of milliseconds, one a minute, times `rise(service, row)`."""
    random = np.random.default_rng(seed)
    return [
        Point(
            DAY + MINUTE * row,
            "http_server_duration_p99_ms",
            usual * rise(name, row) * np.exp(spread * random.normal()),
            service=name,
            unit="ms",
        )
        for row in range(ROWS)
        for name, usual in USUAL.items()
    ]


def stored(points: list[Point]) -> SeriesStore:
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window(points, strings, resources))
    return store


def at_the_end(store: SeriesStore) -> dict[str, Evidence]:
    end = DAY + MINUTE * (ROWS - 1) + 5
    return {item.service: item for item in level_evidence(store, EDGES, (end - 120) * SECOND_NS, end * SECOND_NS)}


def test_the_service_that_makes_others_wait_is_loudest_and_what_users_see_is_said() -> None:
    def slow(name: str, row: int) -> float:  # cart takes .56 s more, and so does web, which waits for it
        return {"cart": 8.0, "web": 3.33}.get(name, 1.0) if row >= ROWS - 4 else 1.0

    found = at_the_end(stored(p99(slow)))
    assert found["cart"].z > 4.0
    assert all(item.z < 2.0 for name, item in found.items() if name != "cart")
    assert found["cart"].for_opening
    assert found["cart"].user_visible
    assert found["cart"].observed == pytest.approx(0.64, rel=0.3)
    assert found["cart"].expected == pytest.approx(0.08, rel=0.1)
    assert (DAY + MINUTE * (ROWS - 5)) * SECOND_NS <= found["cart"].start_ns <= (DAY + MINUTE * (ROWS - 2)) * SECOND_NS


def test_a_callee_that_nobody_waits_for_is_not_felt() -> None:
    found = at_the_end(stored(p99(lambda name, row: 8.0 if name == "cart" and row >= ROWS - 4 else 1.0)))
    assert not found["cart"].user_visible


def test_a_caller_that_rose_by_more_than_its_callee_keeps_the_difference() -> None:
    def slow(name: str, row: int) -> float:  # cart .08 s more, web 2.4 s
        return {"cart": 2.0, "web": 11.0}.get(name, 1.0) if row >= ROWS - 4 else 1.0

    found = at_the_end(stored(p99(slow)))
    assert found["web"].z > found["cart"].z


def test_one_row_of_a_quantile_is_chance() -> None:
    found = at_the_end(stored(p99(lambda name, row: 20.0 if (name, row) == ("cart", ROWS - 1) else 1.0)))
    assert "cart" not in found or found["cart"].z < 2.0


def test_a_share_of_failures_counts_as_one_of_a_hundred_requests() -> None:
    points = [
        Point(DAY + MINUTE * row, "checkout.error_rate", 0.3 if row >= ROWS - 3 else 0.01, service="cart", unit="1") for row in range(ROWS)
    ]
    item = at_the_end(stored(points))["cart"]
    assert item.z > 4.0
    assert item.subject == "failures of cart"
    assert "30.00% of its requests failed, 1.00%" in item.sentence


def test_who_counts_requests_is_left_to_excess_flow_and_who_fell_silent_says_nothing() -> None:
    slow = p99(lambda name, row: 8.0 if row >= ROWS - 4 else 1.0)
    counted = [Point(DAY + MINUTE * row, "requests_per_second", 5.0, service="cart", unit="{request}/s") for row in range(ROWS)]
    mean = [Point(DAY + MINUTE * row, "request.latency.avg", 80.0, service="cart", unit="ms") for row in range(ROWS)]
    assert set(at_the_end(stored([*slow, *counted, *mean]))) == {"web", "mailer"}
    end = DAY + MINUTE * (ROWS + 5)
    assert level_evidence(stored(slow), EDGES, (end - 120) * SECOND_NS, end * SECOND_NS) == []


def test_where_spans_told_of_latencies_lately_gauges_of_them_are_not_asked() -> None:
    store = stored(p99(lambda name, row: 8.0 if row >= ROWS - 4 else 1.0))
    end_ns = (DAY + MINUTE * (ROWS - 1) + 5) * SECOND_NS
    span = end_ns - 120 * SECOND_NS, end_ns
    days = Days(EngineSettings())
    said = {traced: series_evidence(store, days, EDGES, *span, spans=False, traced=traced)[0] for traced in (False, True)}
    assert {item.family for item in said[False]} == {Family.LEVEL}
    assert said[True] == []


def test_noise_of_a_day_opens_about_nothing() -> None:
    beyond = 0
    for seed in range(12):  # two hours of three services each, log-normal by half
        store = stored(p99(lambda name, row: 1.0, seed=seed, spread=0.5))
        for row in range(60, ROWS):
            end = DAY + MINUTE * row + 5
            beyond += any(
                item.for_opening and item.z >= 4.0 for item in level_evidence(store, EDGES, (end - 120) * SECOND_NS, end * SECOND_NS)
            )
    assert beyond == 0
