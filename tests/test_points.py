"""The series store: what comes out of every type of metric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import HOUR_NS, POINT_NO_RECORDED_VALUE, SECOND_NS, PointType, Resource, Temporality
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from engine.take.rings import Rings
from tests.point_columns import Point, window

DAY = 86400 * 20000


def taken(*windows: list[Point], **settings: int) -> SeriesStore:
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings(**settings))
    for points in windows:
        store.take(window(points, strings, resources))
    return store


def values(store: SeriesStore, statistic: str = "", **wanted: str) -> list[float]:
    rows = [
        row
        for row, key in enumerate(store.keys)
        if key.statistic == statistic and all(getattr(key, name) == value for name, value in wanted.items())
    ]
    return [round(value, 6) for value in store.history(np.array(rows), 0, 2**62)[2].tolist()]


def counter(time: float, value: float, **rest: object) -> Point:
    return Point(time, "calls", value, type=PointType.SUM, temporality=Temporality.CUMULATIVE, monotonic=True, **rest)


def test_a_cumulative_sum_becomes_a_rate_and_a_reset_counts_from_zero():
    store = taken([counter(DAY + 60 * i, value) for i, value in enumerate([100, 160, 220, 30, 90])])
    assert values(store, "rate") == [1, 1, 0.5, 1]
    assert store.keys[0].unit == "1/s"


def test_windows_do_not_matter_to_a_cumulative_sum():
    points = [counter(DAY + 60 * i, value, start=DAY - 1000) for i, value in enumerate([100, 160, 220, 30, 90])]
    assert values(taken(points), "rate") == values(taken(*[[point] for point in points]), "rate")


def test_a_moved_start_is_a_reset_even_if_the_value_rose():
    store = taken([counter(DAY, 10, start=DAY - 3600), counter(DAY + 60, 30, start=DAY + 30)])
    assert values(store, "rate") == [1.0]  # 30 in the 30 s since the new start


def test_a_delta_sum_is_divided_by_the_time_it_covers():
    store = taken([Point(DAY, "requests", 49, unit="{request}", type=PointType.SUM, temporality=Temporality.DELTA, start=DAY - 300)])
    _, _, value, weight = store.weighted(None, 0, 2**62)
    assert (value * weight).round(4).tolist() == [49]
    assert weight.tolist() == [300]
    assert store.keys[0].unit == "{request}/s"


def test_a_counter_of_errors_is_born_at_zero_with_the_first_error():
    ok = [counter(DAY + 60 * i, 600 + 60 * i, start=DAY - 9000) for i in range(3)]
    failed = counter(DAY + 120, 6, start=DAY - 9000, attributes=(("error.type", "500"),))
    store = taken([ok[0]], [ok[1]], [ok[2], failed])
    assert values(store, "rate", attributes=(("error.type", "500"),)) == [0.1]


def test_a_histogram_gives_rate_mean_and_quantiles_in_seconds():
    kind = {"type": PointType.HISTOGRAM, "temporality": Temporality.CUMULATIVE, "unit": "ms", "bounds": (100.0, 200.0)}
    store = taken(
        [
            Point(DAY, "duration", count=5, sum=500.0, counts=(5.0, 0.0, 0.0), **kind),
            Point(DAY + 60, "duration", count=65, sum=9500.0, counts=(5.0, 60.0, 0.0), **kind),
        ]
    )
    assert values(store, "rate") == [1]
    assert values(store, "mean") == [0.15]
    assert values(store, "p50") == [0.15]
    assert values(store, "p99") == [0.199]


def test_a_name_says_the_unit_where_none_was_sent():
    store = taken(
        [Point(DAY, "http_request_latency_p99_milliseconds", 250), Point(DAY, "cpu_usage_percent", 40), Point(DAY, "waits_ms", 3, unit="s")]
    )
    found = {key.metric: (key.unit, store.history(np.array([row]), 0, 1 << 62)[2].round(6).tolist()) for row, key in enumerate(store.keys)}
    assert found == {
        "http_request_latency_p99_milliseconds": ("s", [0.25]),
        "cpu_usage_percent": ("1", [0.4]),
        "waits_ms": ("s", [3.0]),
    }


def test_a_summary_keeps_the_quantiles_it_was_sent_with():
    kind = {"type": PointType.SUMMARY, "unit": "s", "bounds": (0.5, 0.9)}
    store = taken([Point(DAY + 60 * i, "wait", count=10 + 30 * i, sum=5.0 + 15 * i, counts=(0.4, 0.8), **kind) for i in range(2)])
    assert values(store, "mean") == [0.5]
    assert values(store, "p90") == [0.8]


def test_points_closer_together_than_a_slot_become_their_mean():
    assert values(taken([Point(DAY + second, "load", second) for second in (0, 10, 20, 70)])) == [10, 70]


def test_a_late_gauge_lands_in_its_own_slot():
    store = taken([Point(DAY, "load", 1), Point(DAY + 120, "load", 3)], [Point(DAY + 60, "load", 2)])
    assert values(store) == [1, 2, 3]


def test_a_late_cumulative_point_is_dropped_and_counted():
    store = taken([counter(DAY, 0), counter(DAY + 120, 120)], [counter(DAY + 60, 60)], [counter(DAY + 180, 180)])
    assert values(store, "rate") == [1, 1]
    assert store.dropped["out_of_order"] == 1


def test_the_oldest_values_leave_first():
    assert values(taken([Point(DAY + 60 * i, "load", i) for i in range(10)], series_slots=4)) == [6, 7, 8, 9]


def test_units_are_made_one():
    store = taken([Point(DAY, "load", 30, unit="%"), Point(DAY, "latency", 30, unit="ms"), Point(DAY, "size", 2, unit="KiBy")])
    found = {(key.metric, key.unit): value for key, value in zip(store.keys, store.history(None, 0, 2**62)[2].tolist(), strict=True)}
    assert {key: round(value, 6) for key, value in found.items()} == {("load", "1"): 0.3, ("latency", "s"): 0.03, ("size", "By"): 2048}


def test_too_many_series_are_dropped_and_counted_until_others_fall_idle():
    store = taken([Point(DAY, name, 1) for name in "abc"], series_rows=2)
    assert [key.metric for key in store.keys] == ["a", "b"]
    assert store.dropped["series_cap"] == 1
    hours = 7 * HOUR_NS // SECOND_NS
    for later in (0, 60):
        store.take(window([Point(DAY + hours + later, name, 1) for name in "ac"], store.strings, store.resources))
    assert sorted(key.metric for key in store.keys) == ["a", "c"]


def test_a_nameless_pod_belongs_to_the_service_seen_in_it_even_when_that_is_seen_later():
    node = Resource(pod="cart-1", host="node-1")
    store = taken(
        [Point(DAY, "cpu", 1, resource=node), Point(DAY, "disk", 1, resource=Resource(host="node-1"))],
        [Point(DAY + 60, "load", 1, resource=Resource(service="cart", pod="cart-1", host="node-1"))],
        [Point(DAY + 60, "load", 1, resource=Resource(service="mail", pod="mail-1", host="node-1"))],
        [Point(DAY + 120, "cpu", 1, resource=node)],
    )
    assert {key.metric: key.service for key in store.keys} == {"cpu": "cart", "disk": "", "load": "mail"} | {"load": "mail"}
    assert store.unjoined_share == pytest.approx(2 / 5)


def test_a_stale_series_says_so_until_it_reports_again():
    gone = Point(DAY + 60, "load", flags=POINT_NO_RECORDED_VALUE)
    store = taken([Point(DAY, "load", 1)], [gone])
    assert store.stale_ns[0] == (DAY + 60) * SECOND_NS
    store.take(window([Point(DAY + 120, "load", 1)], store.strings, store.resources))
    assert store.stale_ns[0] == 0


def test_state_survives_new_dictionaries():
    first = [counter(DAY + 60 * i, 60 * i) for i in range(3)] + [Point(DAY, "load", 7, service="cart", unit="%")]
    store = taken(first)
    strings, resources = Strings(), Resources()
    strings.intern("series", "something else")
    resources.intern(Resource(service="other"))
    again = SeriesStore(strings, resources, EngineSettings())
    again.restore(store.state())
    for each in (store, again):
        each.take(window([counter(DAY + 180, 240)], each.strings, each.resources))
    assert again.keys == store.keys
    assert [column.tolist() for column in again.weighted(None, 0, 2**62)] == [column.tolist() for column in store.weighted(None, 0, 2**62)]
    assert values(again, "rate") == [1, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(-50, 50)), min_size=1, max_size=60), st.integers(1, 60))
def test_rings_hold_what_a_dictionary_of_slots_holds(points: list[tuple[int, int, int]], cut: int):
    rings, naive = Rings(slots=64, slot_ns=3), {}
    rings.reserve(3)
    for batch in (points[:cut], points[cut:]):
        row, time, value = (np.array(column, np.int64) for column in zip(*batch, strict=True)) if batch else [np.zeros(0, np.int64)] * 3
        rings.add(row, time, value.astype(float), np.ones(len(row)))
    for row, time, value in points:
        naive.setdefault((row, time // 3), []).append((time, value))
    at, time, value, weight = rings.between(np.arange(3), 0, 1000)
    expected = [(row, max(t for t, _ in held), np.mean([v for _, v in held]), len(held)) for (row, _), held in sorted(naive.items())]
    assert [(r, t) for r, t, _, _ in expected] == list(zip(at.tolist(), time.tolist(), strict=True))
    assert np.allclose([v for _, _, v, _ in expected], value, atol=1e-3)
    assert [n for _, _, _, n in expected] == weight.tolist()


def test_an_instance_with_another_version_goes_on_in_its_series():
    old = Resource(service="cart", instance="cart-0", version="v1")
    new, other = old._replace(version="v2"), old._replace(instance="cart-1", version="v2")
    points = [Point(60.0 * minute, "cpu", 0.2, resource=old) for minute in range(1, 5)]
    points += [Point(60.0 * minute, "cpu", 0.9, resource=sender) for minute in range(5, 7) for sender in (new, other)]
    store = taken(points)
    assert [key.instance for key in store.keys] == ["cart-0", "cart-1"]
    assert store.history(None, 0, HOUR_NS)[2].round(6).tolist() == [0.2, 0.2, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9]
    again = SeriesStore(Strings(), Resources(), EngineSettings())
    again.restore(store.state())
    again.take(window([Point(420.0, "cpu", 0.8, resource=new._replace(version="v3"))], again.strings, again.resources))
    assert [key.instance for key in again.keys] == ["cart-0", "cart-1"]
