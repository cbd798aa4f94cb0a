from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.normal import encode
from engine.normal.features import RARE, UNKNOWN, Dictionary, RowColumns, distinct, hash_rows, nameless_key, quantised
from engine.normal.scales import Pairs, Scales
from engine.normal.sender import hours
from engine.records import SECOND_NS


def rows(texts: list[tuple[str, str]], numbers: list[float], dictionaries: tuple[Dictionary, ...]) -> RowColumns:
    codes = np.array([[table.code(text) for table, text in zip(dictionaries, row, strict=True)] for row in texts], np.int32)
    columns = np.array(numbers, np.float32)[:, None]
    n = len(texts)
    key = hash_rows(dictionaries, codes, columns)
    return RowColumns(codes, columns, key, np.arange(n), np.zeros(n, np.int32), np.ones(n, np.int64), np.zeros(n, bool))


def test_equal_rows_are_one_with_their_count() -> None:
    tables = (Dictionary(), Dictionary())
    one = distinct(rows([("a", "x"), ("b", "x"), ("a", "x"), ("a", "x")], [1, 1, 1, 2], tables))
    assert one.count.tolist() == [2, 1, 1]
    assert one.time_ns.tolist() == [0, 1, 3]


def test_a_key_is_of_texts_and_not_of_codes() -> None:
    first, second = (Dictionary(), Dictionary()), (Dictionary(), Dictionary())
    second[0].code("came earlier here")
    assert rows([("a", "x")], [3], first).key == rows([("a", "x")], [3], second).key


@pytest.mark.parametrize(("other", "number"), [(("b", "x"), 1.0), (("a", "y"), 1.0), (("x", "a"), 1.0), (("a", "x"), np.nan)])
def test_rows_that_differ_have_other_keys(other: tuple[str, str], number: float) -> None:
    tables = (Dictionary(), Dictionary())
    keys = rows([("a", "x"), other], [1.0, number], tables).key
    assert keys[0] != keys[1]


def test_minus_zero_is_zero() -> None:
    tables = (Dictionary(), Dictionary())
    assert rows([("a", "x")], [float(quantised(np.array([-0.1]))[0])], tables).key == rows([("a", "x")], [0.0], tables).key


def test_unseen_texts_are_unknown_and_seen_rare_ones_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "VOCABULARY", 2)
    tables = (Dictionary(), Dictionary())
    seen = rows([("a", "x"), ("a", "x"), ("b", "y"), ("b", "y"), ("a", "z")], [0, 1, 2, 3, 4], tables)
    encoder = encode.fit(seen, tables)
    later = rows([("a", "z"), ("never", "x")], [0, 0], tables)
    codes = encoder.codes(later.codes, encoder.tables(tables))
    assert codes[0, 1] == RARE
    assert codes[1, 0] == UNKNOWN


def test_a_number_that_training_never_had_is_not_read() -> None:
    tables = (Dictionary(), Dictionary())
    encoder = encode.fit(rows([("a", "x")] * 3, [np.nan] * 3, tables), tables)
    assert np.isnan(encoder.numbers(rows([("a", "x")], [14.0], tables).numbers)).all()


def test_scaling_shrugs_at_outliers() -> None:
    tables = (Dictionary(), Dictionary())
    plain = rows([("a", "x")] * 101, [float(i % 11) for i in range(101)], tables)
    wild = replace(plain, numbers=np.where(np.arange(101)[:, None] < 10, np.float32(1e6), plain.numbers))
    assert encode.fit(wild, tables).scale[0] == pytest.approx(encode.fit(plain, tables).scale[0], rel=0.5)


def test_hours_enter_after_three_days_and_weekdays_after_three_weeks() -> None:
    day = 86_400_000_000_000
    hour, weekday = hours(np.array([2 * day, 3 * day, 21 * day]), 0)
    assert np.isnan(hour).tolist() == [True, False, False]
    assert np.isnan(weekday).tolist() == [True, True, False]


def test_a_young_subject_borrows_the_scale_of_its_service() -> None:
    pairs, scales, rng = Pairs(), Scales(floor=0.01), np.random.default_rng(0)
    old, young = np.full(500, 7, np.int32), np.full(4, 8, np.int32)
    service = np.full(500, 3, np.int32)
    known = pairs(service, old)
    scales.take(known, pairs.parent, rng.normal(0, 2, 500), 1)
    fresh = pairs(service[:4], young)
    scales.take(fresh, pairs.parent, np.zeros(4), 1)
    z = scales.z(fresh[:1], pairs.parent, np.array([2.0]))
    assert 0.5 < z[0] < 2  # against a scale near 2, not near 0


def test_what_waits_or_was_abnormal_is_not_learned() -> None:
    pairs, scales = Pairs(), Scales(floor=0.1)
    subject = pairs(np.ones(40, np.int32), np.ones(40, np.int32))
    for end, level in ((10, 0.0), (20, 5.0), (30, 9.0)):
        scales.take(subject, pairs.parent, np.full(40, level), end)
    scales.learn(20, [(15, 25)])
    assert scales.learnt.columns[:2, subject[0]].tolist() == [40.0, 0.0]


def test_a_flood_of_outliers_moves_a_settled_scale_little() -> None:
    pairs, scales, rng = Pairs(), Scales(floor=0.1), np.random.default_rng(0)
    subject = pairs(np.ones(400, np.int32), np.ones(400, np.int32))
    scales.take(subject, pairs.parent, rng.normal(0, 1, 400), 1)
    scales.take(subject[:20], pairs.parent, np.full(20, 1e6), 2)
    assert abs(scales.everything.columns[1, subject[0]]) < 0.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_one_value_a_subject_counts_as_it_does_in_any_order(seed: int, count: int) -> None:
    rng, pairs = np.random.default_rng(seed), Pairs()
    subject = pairs(np.ones(count, np.int32), np.arange(1, count + 1, dtype=np.int32))
    ascending, any_order = Scales(floor=0.1), Scales(floor=0.1)
    for end in range(40):
        x = rng.normal(rng.integers(0, 3), 2, count)
        here = np.flatnonzero(rng.random(count) < 0.8)
        mixed = rng.permutation(here)
        ascending.take(subject[here], pairs.parent, x[here], end)
        any_order.take(subject[mixed], pairs.parent, x[mixed], end)
        ascending.learn(end - 5, [])
        any_order.learn(end - 5, [])
    for name, columns in ascending.state().items():
        assert columns.tobytes() == any_order.state()[name].tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_other_names_and_another_week_give_equal_nameless_keys(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, (count, 3)).astype(np.int32)
    numbers = rng.choice(np.array([np.nan, 0, 1], np.float32), (count, 2))
    time_ns = rng.integers(0, 3, count) * 60 * SECOND_NS
    window, ones = rng.random(count) < 0.5, np.ones(count, np.int64)

    def of(codes, time_ns) -> RowColumns:
        return RowColumns(codes, numbers, np.zeros(count, np.uint64), time_ns, np.zeros(count, np.int32), ones, window)

    other = np.stack([rng.permutation(5)[column] for column in codes.T], axis=1).astype(np.int32)
    key = nameless_key(of(codes, time_ns))
    assert np.array_equal(key, nameless_key(of(other, time_ns + 7 * 24 * 3600 * SECOND_NS)))
    order = rng.permutation(count)
    assert np.array_equal(key[order], nameless_key(of(codes, time_ns).select(order)))
    equal = key[:, None] == key[None, :]
    same_numbers = (np.nan_to_num(numbers[:, None], nan=9) == np.nan_to_num(numbers[None, :], nan=9)).all(axis=2)
    assert (same_numbers & (time_ns[:, None] == time_ns[None, :]) & (window[:, None] == window[None, :]))[equal].all()
