from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.normal.tail import fit, largest_of, tail_score


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.lists(st.floats(0, 1e9), min_size=2, max_size=20))
def test_rarer_is_never_less(reference: list[float], distances: list[float]) -> None:
    nats = tail_score(np.sort(np.array(distances)), np.array(reference))
    assert (nats >= 0).all()
    assert (np.diff(nats) >= -1e-9).all()


def test_inside_the_reference_it_is_the_share_above() -> None:
    reference = np.arange(1000.0)
    assert tail_score(np.array([500.0]), reference)[0] == pytest.approx(np.log(2), abs=0.01)


def test_beyond_the_reference_there_is_no_cap_and_no_tie() -> None:
    nats = tail_score(np.array([1e2, 1e4, 1e8]), np.linspace(0, 10, 100))
    assert (np.diff(nats) > 1).all()


def test_an_exponential_tail_is_scored_about_rightly() -> None:
    rng = np.random.default_rng(1)
    reference, fresh = rng.exponential(1, 5000), rng.exponential(1, 20000)
    nats = tail_score(fresh, reference)
    for level in (1.0, 2.0, 4.0):  # P(nats > level) should be e^-level, never much more
        assert (nats > level).mean() < 1.5 * np.exp(-level)


def test_searching_through_many_rows_is_paid_for() -> None:
    rng = np.random.default_rng(2)
    largest = rng.exponential(1, (4000, 300)).max(axis=1)
    nats = largest_of(largest, np.full(4000, 300.0))
    assert nats.mean() == pytest.approx(1, abs=0.06)  # exponential again


def test_no_reference_is_an_error() -> None:
    with pytest.raises(ValueError, match="normal values"):
        fit(np.zeros(0))
