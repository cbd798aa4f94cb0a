"""The compiled kernels give what the plain ones give, whatever comes, and refuse rows that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import kernels
from engine.kernels import plain

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="nothing was compiled here")
SEED = st.integers(0, 2**32 - 1)
SIZE = st.integers(0, 400)


def same(found, expected) -> None:
    """Equal values and types, one array or several."""
    found, expected = (each if isinstance(each, tuple) else (each,) for each in (found, expected))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def ids(rng, size: int, kinds: int):
    """Ids of which several are equal, some 0."""
    return rng.integers(0, 2**64, max(kinds, 1), np.uint64, endpoint=False)[rng.integers(0, max(kinds, 1), size)]


@settings(max_examples=150, deadline=None)
@given(SEED, SIZE, st.integers(1, 400), st.sampled_from([3, 40, 2**40]))
def test_orders_groups_and_look_ups(seed: int, size: int, kinds: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    keys, wanted = ids(rng, size, kinds), ids(rng, 50, 50)
    wanted[: min(size, 20)] = keys[: min(size, 20)]
    times = rng.integers(-spread, spread, size)
    same(kernels.argsort(times), plain.argsort(times))
    same(kernels.argsort(np.sort(times)), plain.argsort(np.sort(times)))
    same(kernels.mixed(keys, keys[::-1].copy()), plain.mixed(keys, keys[::-1].copy()))
    numbers = rng.choice(np.array([np.nan, -np.nan, 0.0, -0.0, 1.5, -7.0, np.inf], np.float32), (size, 3))
    codes = rng.integers(0, spread, (size, 4)).astype(np.int32)
    same(kernels.hashed(keys, codes[:, 1:], numbers), plain.hashed(keys, codes[:, 1:], numbers))
    same(kernels.rows_of(wanted, keys), plain.find(wanted, keys, plain.index(keys)))
    of, first = kernels.group(keys)
    same((of, first), plain.group(keys))
    same(kernels.bounds(of, times, len(first)), plain.bounds(of, times, len(first)))
    same(kernels.by_group(of, len(first)), plain.by_group(of, len(first)))
    wanted = times[: len(first)] % 2 == 0
    same(kernels.chosen(of, wanted), plain.chosen(of, wanted))


@settings(max_examples=150, deadline=None)
@given(SEED, SIZE, st.integers(1, 400), st.integers(0, 60))
def test_codes_are_given_out_alike(seed: int, size: int, kinds: int, limit: int) -> None:
    found = []
    for intern in (kernels.intern, plain.intern):
        slot_key, slot_code, known = np.zeros(64, np.int64), np.full(64, -1, np.int32), np.zeros(60, np.int64)
        counts, at = 0, 0
        for keys in np.array_split(ids(np.random.default_rng(seed), size, kinds).view(np.int64), 3):
            codes = np.full(len(keys), -7, np.int32)
            at, counts = intern(keys, codes, len(keys) // 9, slot_key, slot_code, known, counts, max(limit, counts))
            found.append((np.array([at, counts]), codes, known.copy(), plain.lookup(keys, slot_key, slot_code)))
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:], strict=True):
        same(one, other)


@settings(max_examples=150, deadline=None)
@given(SEED, SIZE, st.integers(1, 20))
def test_codes_of_chains(seed: int, size: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(-1, kinds, 9).astype(np.int32)
    owner = rng.integers(0, 9, size).astype(np.int32)
    second, third = rng.integers(0, 3, (2, size))
    tables = []
    for keys in (rng.permutation(4 * kinds)[: 2 * kinds].astype(np.int64), rng.permutation(8 * kinds)[: 4 * kinds].astype(np.int64)):
        slots = 1 << (2 * len(keys)).bit_length()
        slot_key, slot_code = np.zeros(slots, np.int64), np.full(slots, -1, np.int32)
        plain.intern(keys, np.empty(len(keys), np.int32), 0, slot_key, slot_code, np.zeros(len(keys), np.int64), 0, len(keys))
        tables += [slot_key, slot_code]
    same(kernels.chained(first, owner, second, third, 2, *tables), plain.chained(first, owner, second, third, 2, *tables))


def test_extremes_are_ordered() -> None:
    values = np.array([0, 2**63 - 1, -(2**63), 5, -1], np.int64)
    same(kernels.argsort(values), plain.argsort(values))


@settings(max_examples=150, deadline=None)
@given(SEED, SIZE, st.integers(1, 40), st.integers(1, 40))
def test_spans_are_joined_inside_their_traces(seed: int, size: int, traces: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    trace = np.sort(rng.integers(0, traces, size)).astype(np.int32)
    span = ids(rng, size, kinds)
    parent = np.where(rng.random(size) < 0.2, 0, ids(rng, size, kinds))
    parent[size // 2 :] = span[rng.permutation(size)[size // 2 :]]
    same(kernels.parents(trace, span, parent), plain.parents(trace, span, parent))


@settings(max_examples=150, deadline=None)
@given(SEED, st.integers(1, 200), st.booleans(), st.integers(1, 60))
def test_what_happens_inside_spans(seed: int, size: int, circles: bool, logs: int) -> None:
    rng = np.random.default_rng(seed)
    parent = rng.integers(-1, size, size) if circles else np.array([rng.integers(-1, row) if row else -1 for row in range(size)])
    service = rng.integers(0, 3, size).astype(np.int32)
    same(kernels.hang(parent, service), plain.hang(parent, service))
    start = rng.integers(0, 50, size)
    end = start + rng.integers(-2, 50, size)
    same(kernels.self_time(start, end, parent), plain.self_time(start, end, parent))
    label, ending, carries = rng.integers(1, 9, size), rng.integers(1, 9, size), rng.random(size) < 0.3
    log = rng.integers(0, size, logs), rng.integers(0, 50, logs), rng.integers(1, 9, logs)
    same(kernels.steps(start, parent, label, ending, carries, *log), plain.steps(start, parent, label, ending, carries, *log))


@settings(max_examples=100, deadline=None)
@given(SEED, st.integers(1, 200), st.integers(1, 12), st.integers(0, 400))
def test_sums_by_code(seed: int, size: int, codes: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    trace = np.sort(rng.integers(0, 20, size)).astype(np.int32)
    use, passes, times = rng.random(size) < 0.7, rng.random(size) < 0.2, rng.integers(0, 30, size)
    span = np.sort(rng.integers(0, size, steps)).astype(np.int32)
    context, outcome = (rng.integers(0, codes, steps).astype(np.int32) for _ in range(2))
    arguments = span, context, outcome, use, trace, passes, times, codes, codes
    same(kernels.step_sums(*arguments), plain.step_sums(*arguments))
    value = rng.normal(size=steps).astype(np.float32)
    for one, other in zip(
        kernels.value_sums(span, context, value, use, codes), plain.value_sums(span, context, value, use, codes), strict=True
    ):
        assert one == pytest.approx(other)
    service = rng.integers(0, codes, size).astype(np.int32)
    same(kernels.traces_by_service(trace, service, use, codes), plain.traces_by_service(trace, service, use, codes))


def test_keys_that_somebody_made_collide_cost_no_more_than_a_sort() -> None:
    """Ids that begin their search at one place: hashing alone would take a quadratic number of steps."""
    odd = 0x9E3779B97F4A7C15
    inverse = pow(odd, -1, 2**64)
    keys = np.array([number * inverse % 2**64 for number in range(50_000)], np.uint64)
    with pytest.raises(OverflowError):
        kernels._index(keys)
    same(kernels.rows_of(keys, keys), np.arange(len(keys)))
    same(kernels.group(keys)[1], np.arange(len(keys)))
    one_trace = np.zeros(len(keys), np.int32)
    same(kernels.parents(one_trace, keys, keys), (np.arange(len(keys)), np.where(keys == 0, -1, np.arange(len(keys)))))


def test_rows_that_are_not_there_are_refused() -> None:
    far, column = np.array([7]), np.zeros(1, np.int64)
    code = np.array([7], np.int32)
    flag, none = np.ones(1, bool), np.zeros(0, np.int64)
    two = np.zeros(2, np.int64), np.full(2, -1, np.int32)
    calls = [
        lambda: kernels.hang(far, np.zeros(1, np.int32)),
        lambda: kernels.self_time(column, column, far),
        lambda: kernels.steps(column, far, column, column, flag, none, none, none),
        lambda: kernels.steps(column, column - 1, column, column, flag, far, column, column),
        lambda: kernels.bounds(code, column, 3),
        lambda: kernels.by_group(code, 3),
        lambda: kernels.chosen(code, flag),
        lambda: kernels.hashed(np.zeros(2, np.uint64), np.zeros((1, 1), np.int32), np.zeros((2, 1), np.float32)),
        lambda: kernels.chosen(-code, flag),
        lambda: kernels.step_sums(code, code, code, flag, code, flag, column, 8, 8),
        lambda: kernels.value_sums(np.zeros(1, np.int32), code, np.zeros(1, np.float32), flag, 3),
        lambda: kernels.traces_by_service(code, code, flag, 3),
        lambda: kernels.parents(np.array([1, 0], np.int32), np.zeros(2, np.uint64), np.zeros(2, np.uint64)),
        lambda: kernels._find(np.zeros(1, np.uint64), np.zeros(9, np.uint64), np.zeros(2, np.int32)),
        lambda: kernels.lookup(column, np.zeros(3, np.int64), np.zeros(3, np.int32)),
        lambda: kernels.chained(code, code, far, far, 4, *two, *two),
        lambda: kernels.chained(code, code - 7, column, none, 4, *two, *two),
        lambda: kernels.chained(code, code - 7, column, column, 4, np.zeros(3, np.int64), np.zeros(3, np.int32), *two),
        lambda: kernels.intern(column, code, 0, np.zeros(3, np.int64), np.zeros(3, np.int32), column, 0, 1),
        lambda: kernels.intern(column, code, 0, np.zeros(2, np.int64), np.full(2, -1, np.int32), column, 0, 2),
        lambda: kernels.intern(column, code, -1, np.zeros(2, np.int64), np.full(2, -1, np.int32), column, 0, 1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"must|however"):
            call()


@settings(max_examples=100, deadline=None)
@given(SEED, st.integers(1, 60))
def test_faults_below(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    parent = np.array([rng.integers(-1, row) if row else -1 for row in range(size)], np.int32)
    service, fault = rng.integers(0, 3, size).astype(np.int32), rng.random(size)
    order = np.flatnonzero(rng.random(size) < 0.8)[::-1].astype(np.int64)
    same(kernels.fault_below(order, parent, service, fault), plain.fault_below(order, parent, service, fault))
