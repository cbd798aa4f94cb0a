"""Histograms of many series at once, against one point after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records import SECOND_NS, PointType, Temporality
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.bucketed import BucketCounters, Bucketed
from engine.take.points import SeriesStore
from engine.take.quantiles import bucket_quantiles
from engine.take.ragged import Ragged
from tests.naive import NaiveHistogram, naive_bucket_quantile
from tests.point_columns import Point, window

BOUNDS = ([1.0, 2.0, 5.0], [2.0, 4.0, 8.0], [0.0], [-3.0, -1.0, 0.0, 1.0, 10.0, 11.0])
SHARES = (0.0, 0.5, 0.95, 1.0)

#: series, second, start, bounds, counts
one_point = st.tuples(
    st.integers(0, 3),
    st.integers(1, 12),
    st.integers(0, 8),
    st.integers(0, len(BOUNDS) - 1),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
)


def flat(lists: Sequence[Sequence[float]]) -> list[float]:
    return list(chain.from_iterable(lists))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BOUNDS) - 1), st.lists(st.integers(0, 5), min_size=7, max_size=7)), max_size=20))
def test_quantiles_are_those_found_by_walking_up_the_buckets(histograms: list[tuple[int, list[int]]]):
    edges = [BOUNDS[number] for number, _ in histograms]
    counts = [[float(count) for count in counts[: len(bounds) + 1]] for bounds, (_, counts) in zip(edges, histograms, strict=True)]
    first = np.cumsum([0, *map(len, edges)])[:-1].astype(np.int64)
    buckets = np.array([len(some) for some in counts], np.int64)
    found = bucket_quantiles(np.array(flat(counts)), buckets, np.array(flat(edges)), first, SHARES)
    expected = [[naive_bucket_quantile(some, bounds, share) for share in SHARES] for some, bounds in zip(counts, edges, strict=True)]
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12)


def test_a_histogram_without_bounds_has_no_quantiles():
    with pytest.raises(ValueError, match="bound"):
        bucket_quantiles(np.array([3.0]), np.array([1]), np.zeros(0), np.array([0]), (0.5,))


@settings(deadline=None)
@given(st.lists(st.lists(one_point, max_size=12), max_size=5), st.booleans())
def test_increments_are_those_of_one_point_after_the_other(windows: list[list[tuple[int, int, int, int, list[int]]]], cumulative: bool):
    counters, naive = BucketCounters(), [NaiveHistogram() for _ in range(4)]
    counters.reserve(4)
    for sent in windows:
        points = sorted(sent, key=lambda point: point[1])
        if not cumulative:  # of deltas of one time, who is the last is nobody's business
            points[:] = {point[:2]: point for point in points}.values()
        bounds = [BOUNDS[point[3]] for point in points]
        counts = [[float(count) for count in point[4][: len(edges) + 1]] for point, edges in zip(points, bounds, strict=True)]
        observations = [sum(some) for some in counts]
        columns = Bucketed(
            *(np.array([point[number] * unit for point in points], np.int64) for number, unit in enumerate((1, SECOND_NS, SECOND_NS))),
            observations=np.array(observations, np.float64),
            total=np.array(observations, np.float64) * 2,
            lowest=np.array([edges[0] for edges in bounds], np.float64),
            highest=np.array([edges[-1] for edges in bounds], np.float64),
            buckets=np.array([len(some) for some in counts], np.int64),
            counts=np.array(flat(counts), np.float64),
        )
        every = np.full(len(points), cumulative)
        grown = counters.take(columns, cumulative=every, values=~np.ones(len(points), bool), born_ns=np.zeros(len(points), np.int64))
        ends = np.cumsum(grown.increment.buckets)
        parts = np.split(grown.increment.counts, ends)
        found = {
            int(at): (float(grown.increment.observations[place]), float(grown.seconds[place]), parts[place].tolist() if same else None)
            for place, (at, same) in enumerate(zip(grown.at, grown.comparable, strict=True))
        }
        expected = {}
        for at, point in enumerate(points):
            times = point[1] * SECOND_NS, point[2] * SECOND_NS
            said = naive[point[0]].take(*times, observations[at], counts[at], bounds[at], cumulative=cumulative)
            if said is not None:
                expected[at] = said
        assert expected == found
        assert grown.increment.total.tolist() == (grown.increment.observations * 2).tolist()


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 99), max_size=9), max_size=6), max_size=30))
def test_ragged_rows_hold_what_was_put_last_in_bounded_room(puts: list[dict[int, list[int]]]):
    ragged, expected = Ragged(), {row: [] for row in range(6)}
    ragged.reserve(6)
    for put in puts:
        values = np.array([value for some in put.values() for value in some], np.float64)
        ragged.put(np.array(list(put), np.int64), np.array([len(some) for some in put.values()], np.int64), values)
        expected |= put
        assert {row: ragged.of(np.array([row])).tolist() for row in range(6)} == expected
        assert len(ragged.values) <= 3 * 6 * 9


def cumulative(second: int, counts: tuple[float, ...], bounds: tuple[float, ...]) -> Point:
    kind = {"type": PointType.EXPONENTIAL_HISTOGRAM, "temporality": Temporality.CUMULATIVE}
    return Point(1e9 + second, "wait", count=int(sum(counts)), sum=3 * sum(counts), counts=counts, bounds=bounds, **kind)


def stored(store: SeriesStore) -> dict[str, list[float]]:
    return {key.statistic: store.history(np.array([row]), 0, 2**62)[2].round(6).tolist() for row, key in enumerate(store.keys)}


def test_buckets_that_change_are_no_reset():
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    points = [
        cumulative(0, (600.0, 0.0), (1.0,)),
        cumulative(60, (600.0, 60.0, 0.0), (1.0, 2.0)),
        cumulative(120, (600.0, 120.0, 0.0), (1.0, 2.0)),
    ]
    for point in points:
        store.take(window([point], strings, resources))
    assert stored(store) == {"rate": [1, 1], "mean": [3, 3], "p50": [1.5], "p95": [1.95], "p99": [1.99]}


def test_quantiles_of_a_summary_go_to_their_rows_in_whatever_order_they_come():
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    kind = {"type": PointType.SUMMARY, "unit": "s"}
    for minute, (bounds, values) in enumerate([((0.5, 0.9), (4.0, 8.0)), ((0.9, 0.5, 0.7), (9.0, 5.0, 7.0)), ((0.9,), (10.0,))]):
        point = Point(1e9 + 60 * minute, "wait", count=10 * minute, sum=5.0 * minute, counts=values, bounds=bounds, **kind)
        store.take(window([point], strings, resources))
    found = stored(store)
    assert (found["p50"], found["p90"]) == ([5], [9, 10])


def test_histograms_go_on_after_a_restart():
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window([cumulative(0, (5.0, 5.0), (1.0,))], strings, resources))
    other = SeriesStore(Strings(), Resources(), EngineSettings())
    other.restore(store.state())
    for one in (store, other):
        one.take(window([cumulative(60, (5.0, 65.0), (1.0,))], one.strings, one.resources))
    assert stored(store) == stored(other)
    assert stored(other)["rate"] == [1]
    assert not any(math.isnan(value) for values in stored(other).values() for value in values)
