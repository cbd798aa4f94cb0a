"""Shares and levels fold history as their slow versions do, and earlier faults do not become normal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.normal.baseline import MEMORY, Counts, Shares, share_z
from engine.normal.levels import Levels, Values
from tests.naive import naive_shift, naive_usual


def counts(chances: dict[int, float], hits: dict[int, float], requests: float = 10) -> Counts:
    """A block from counts by code."""

    def columns(found: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
        return np.array(sorted(found), np.int64), np.array([found[code] for code in sorted(found)], float)

    return Counts(*columns(chances), *columns(hits), requests, 1)


def fold(blocks: list[Counts], context_of: list[int]) -> Shares:
    """Fold blocks."""
    shares = Shares()
    for block in blocks:
        shares.grow(np.array(context_of, np.int32), max(context_of) + 1)
        shares.fold(block)
    return shares


block = st.integers(1, 60).flatmap(lambda chances: st.tuples(st.integers(0, chances), st.just(chances)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(block, min_size=2, max_size=2), min_size=1, max_size=30))
def test_the_fold_over_all_outcomes_equals_the_slow_one_for_each(history: list[list[tuple[int, int]]]) -> None:
    blocks = [counts({0: a[1], 1: b[1]}, {code: hits for code, (hits, _) in enumerate((a, b)) if hits}) for a, b in history]
    usual = fold(blocks, [0, 1]).usual(np.array([0, 1]))
    for outcome in (0, 1):
        expected = naive_usual([row[outcome] for row in history])
        assert np.allclose(expected, (usual.share[outcome], usual.spread[outcome], usual.weight[outcome]))


def test_an_outcome_that_appears_late_has_been_zero_before() -> None:
    early = [counts({0: 20}, {0: 20}) for _ in range(10)]
    shares = fold(early, [0])
    shares.grow(np.array([0, 0], np.int32), 1)
    usual = shares.usual(np.array([1]))
    assert np.allclose((usual.share[0], usual.spread[0], usual.weight[0]), naive_usual([(0, 20)] * 10))


def test_a_fault_of_some_minutes_does_not_become_normal_and_a_new_level_does() -> None:
    normal, fault = counts({0: 40}, {}), counts({0: 40}, {0: 30})
    after_fault = fold([normal] * 10 + [fault] * 5 + [normal] * 5, [0]).usual(np.array([0]))
    assert after_fault.share[0] < 0.01
    after_hours = fold([normal] * 10 + [fault] * 60, [0]).usual(np.array([0]))
    assert after_hours.share[0] > 0.7


def test_a_new_level_is_learnt_after_any_time() -> None:
    normal, new = counts({0: 40}, {}), counts({0: 40}, {0: 30})
    blocks = [normal] * 3000 + [new] * round(6 * MEMORY)
    assert fold(blocks, [0]).usual(np.array([0])).share[0] > 0.7


@given(st.floats(0, 1), st.floats(1, 500), st.floats(0, 0.99), st.floats(0, 0.5), st.floats(0, 1000))
def test_z_is_zero_when_usual_and_grows_with_the_share(share: float, trials: float, usual: float, spread: float, weight: float) -> None:
    def z(value: float) -> float:
        return float(share_z(np.array([value]), *(np.array([figure]) for figure in (trials, usual, spread, weight)))[0])

    assert z(min(share, usual)) == 0
    assert z(share) <= z(min(1.0, share + 0.1)) + 1e-9


observations = st.lists(st.floats(0, 9).map(lambda value: round(value, 3)), min_size=1, max_size=15)


@settings(max_examples=200, deadline=None)
@given(st.lists(observations, min_size=3, max_size=12), observations)
def test_shifts_equal_the_slow_ones(history: list[list[float]], window: list[float]) -> None:
    levels = Levels()
    for values in history:
        levels.fold(Values.of(np.zeros(len(values), int), np.array(values)))
    found = levels.shift(Values.of(np.zeros(len(window), int), np.array(window)))
    assert np.allclose(naive_shift(history, window), (found.shift[0], found.variance[0]), atol=1e-6)


def test_only_the_last_blocks_of_a_key_are_remembered() -> None:
    levels = Levels(blocks=4)
    for level in [9.0] * 10 + [1.0] * 4:
        levels.fold(Values.of(np.array([0, 0]), np.array([level, level])))
    assert levels.shift(Values.of(np.array([0]), np.array([1.0]))).usual[0] == pytest.approx(1.0)


def test_state_continues_where_it_was() -> None:
    shares = fold([counts({0: 40}, {0: 3})] * 4, [0])
    again = Shares.restored(shares.state())
    for one in (shares, again):
        one.fold(counts({0: 30}, {0: 30}))
    assert np.array_equal(shares.accepted, again.accepted)
    assert np.array_equal(shares.waiting, again.waiting)
