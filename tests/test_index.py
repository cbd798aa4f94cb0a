from __future__ import annotations

import numpy as np

from engine.normal.features import Dictionary, Source
from engine.normal.index import COLD_NS, DAY_NS, HOT_NS, Index, Meta
from engine.records import F32


def unit(n: int, seed: int = 0) -> F32:
    vectors = np.random.default_rng(seed).normal(0, 1, (n, 64)).astype(np.float32)
    unit_rows: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit_rows


def collection(**options: int) -> Index:
    services, environments = Dictionary(), Dictionary()
    for name in ("cart", "stock"):
        services.code(name)
    environments.code("test")
    return Index(services, environments, **options)


def meta(n: int, *, service: int = 2, start: int = 0, time_ns: int = 0) -> Meta:
    key = np.arange(start, start + n, dtype=np.uint64) + np.uint64(1)
    return Meta(key, np.full(n, service, np.int32), np.full(n, 2, np.int32), np.full(n, time_ns, np.int64), np.ones(n, np.int64))


def test_the_nearest_are_those_of_brute_force() -> None:
    index, vectors, queries = collection(), unit(500), unit(5, seed=1)
    index.add(Source.LOGS, vectors, meta(500))
    distances, keys = index.search(Source.LOGS, queries, 3)
    exact = np.linalg.norm(queries[:, None] - vectors[None], axis=2)
    assert (keys - np.uint64(1)).tolist() == np.argsort(exact, axis=1)[:, :3].tolist()
    assert np.allclose(distances, np.sort(exact, axis=1)[:, :3], atol=1e-3)


def test_filters_leave_others_out() -> None:
    index = collection()
    index.add(Source.LOGS, unit(50), meta(50))
    index.add(Source.LOGS, unit(50, 1), meta(50, service=3, start=100, time_ns=3 * DAY_NS))
    _, keys = index.search(Source.LOGS, unit(1, 2), 60, services=["stock"])
    assert {int(key) for key in keys[0] if key} == set(range(101, 151))
    _, keys = index.search(Source.LOGS, unit(1, 2), 60, end_ns=DAY_NS)
    assert {int(key) for key in keys[0] if key} == set(range(1, 51))
    distances, _ = index.search(Source.LOGS, unit(1, 2), 1, environment="elsewhere")
    assert np.isinf(distances).all()
    assert np.isinf(index.search(Source.TRACES, unit(1, 2), 1)[0]).all()


def test_a_known_row_only_gains_in_count() -> None:
    index = collection()
    index.add(Source.LOGS, unit(4), meta(4))
    index.add(Source.LOGS, unit(4), meta(4))
    assert index.rows(Source.LOGS) == 4
    assert index._segments[0].meta.records.tolist() == [2, 2, 2, 2]


def test_old_segments_are_pressed_then_dropped() -> None:
    index, vectors = collection(), unit(10000)
    index.add(Source.LOGS, vectors, meta(10000))
    grades = []
    for now in (HOT_NS, HOT_NS + 2 * DAY_NS, COLD_NS - DAY_NS, COLD_NS + 2 * DAY_NS):
        index.age(now)
        grades += [grade for _, _, grade, _ in index.grades()]
        if index.grades():
            assert index.search(Source.LOGS, vectors[:50], 1)[0].mean() < 0.6  # itself, as far as the grade can tell
    assert grades == ["ivf", "sq8", "sq4"]
    assert index.rows(Source.LOGS) == 0


def test_a_large_segment_becomes_ivf_and_still_finds_neighbours() -> None:
    index, vectors = collection(), unit(9000)
    index.add(Source.LOGS, vectors, meta(9000))
    assert [grade for _, _, grade, _ in index.grades()] == ["ivf"]
    assert (index.search(Source.LOGS, vectors[:100], 1)[1][:, 0] == np.arange(1, 101)).mean() > 0.95


def test_the_index_is_bounded_and_the_drop_counted() -> None:
    index = collection(limit_rows=100)
    for day in range(4):
        index.add(Source.LOGS, unit(40, day), meta(40, start=40 * day, time_ns=day * DAY_NS))
    assert index.rows(Source.LOGS) == 80
    assert index.dropped == {"index_full": 80}


def test_arrays_give_the_same_index_with_other_codes() -> None:
    index = collection()
    index.add(Source.LOGS, unit(50), meta(50))
    services, environments = Dictionary(), Dictionary()
    services.code("was here first")
    other = Index(services, environments)
    other.restore(index.to_arrays())
    assert np.array_equal(other.search(Source.LOGS, unit(3, 2), 5)[0], index.search(Source.LOGS, unit(3, 2), 5)[0])
    assert np.isfinite(other.search(Source.LOGS, unit(3, 2), 5, services=["cart"])[0]).all()
