"""Call gaps: the end of a slow call that is slow."""

from __future__ import annotations

import numpy as np

from engine.evidence.latency import HOST, NET, Keys, hypotheses
from tests.trace_columns import Fault, evidence, shop, z_of


def test_a_slow_network_in_front_of_a_service_is_charged_to_it() -> None:
    found = evidence(shop(720, lambda second: Fault(network=300 if second >= 600 else 0)), 600, 720)
    z = z_of(found, "gap")
    assert z["stock"] > 5
    assert z["stock"] == max(z.values())
    loudest = max((piece for piece in found if piece.family == "gap"), key=lambda piece: piece.z)
    assert (loudest.peer, loudest.unit) == ("cart", "ms")
    assert 250 < loudest.observed < 350


def keys(rows: list[tuple[int, int, float]]) -> Keys:
    caller, callee, shift = (np.array(column) for column in zip(*rows, strict=True))
    ones = np.ones(len(rows))
    return Keys(np.arange(len(rows)), caller, callee, shift.astype(float), 0.25 * ones, ones, 50 * ones)


def test_when_all_calls_of_a_service_are_slow_it_is_the_service_and_not_those_it_calls() -> None:
    edges = keys([(0, 1, 2.0), (1, 2, 2.0), (1, 3, 2.0), (1, 4, 2.0), (0, 2, 0.0), (0, 3, 0.0)])
    z = hypotheses(edges, keys([(1, 1, 1.5), (2, 2, 0.0), (3, 3, 0.0)]), np.full(5, 50.0), 5)
    assert z.max(axis=0).argmax() == 1
    assert z[HOST, 1] > z[NET, 4]


def test_without_explaining_away_a_call_is_charged_to_both_ends() -> None:
    edges = keys([(0, 1, 2.0), (1, 2, 2.0), (1, 3, 2.0), (1, 4, 2.0), (0, 2, 0.0), (0, 3, 0.0)])
    selfs, traces = keys([(1, 1, 1.5), (2, 2, 0.0), (3, 3, 0.0)]), np.full(5, 50.0)
    away, bare = hypotheses(edges, selfs, traces, 5), hypotheses(edges, selfs, traces, 5, most=0.0)
    assert bare[NET, 4] > 1.5 * away[NET, 4], "what its caller explains stays with it"
    assert (bare >= away - 1e-9).all()


def test_a_service_that_is_slow_for_all_its_callers_is_itself_slow() -> None:
    edges = keys([(0, 3, 2.0), (1, 3, 2.0), (2, 3, 2.0), (0, 4, 0.0), (1, 4, 0.0), (2, 4, 0.0)])
    z = hypotheses(edges, keys([(0, 0, 0.0), (3, 3, 0.0)]), np.full(5, 50.0), 5)
    assert z.max(axis=0).argmax() == 3
