"""Confidence: the constants that turn scores into probabilities, and how they are fitted.

    log loss(T, u, gamma) = - mean over cases of ln p(true service), or of ln p("something unseen") where nothing was planted

by temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") on incidents that are not scored: faults planted
into quiet stretches, and the incidents that operators confirmed or dismissed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.judge.rank import Calibration, rank
from engine.records import Family

#: Fitted on planted faults (engine/README.md, "Confidence").
DEFAULT = Calibration(temperature=2.0, unseen=3.0)

CONFIRMED, LIKELY = 0.8, 0.5  # classes of confidence; below LIKELY a finding is inconclusive
TEMPERATURES = tuple(2.0**power for power in range(-1, 7))
LEVELS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
GAMMAS = (0.0, 0.25, 0.5, 1.0)
LEAST_PROBABILITY = 1e-3  # a single case may cost at most 6.9 nats: planted faults are not all visible


class Case(NamedTuple):
    """One incident whose cause is known: "" when nothing had happened."""

    table: Mapping[str, Mapping[Family, float]]
    truth: str
    walk: Mapping[str, float] = {}


def log_loss(cases: Sequence[Case], calibration: Calibration) -> float:
    """Mean of -ln p(truth), in nats a case."""
    total = 0.0
    for case in cases:
        causes, unseen = rank(case.table, calibration, case.walk)
        right = next((cause.probability for cause in causes if cause.service == case.truth), 0.0) if case.truth else unseen
        total -= math.log(max(right, LEAST_PROBABILITY))
    return total / len(cases)


def fit(cases: Sequence[Case], *, gammas: Sequence[float] = GAMMAS) -> Calibration:
    """The calibration of least log loss on a grid; equal ones: the smaller gamma, then the higher temperature (less sure).

    Raises: ValueError if there are fewer than 20 cases: a temperature from a handful is worse than the default.
    """
    if len(cases) < 20:
        raise ValueError(f"at least 20 cases are needed, however: {len(cases)=}")
    grid = [Calibration(t, level, gamma) for gamma in gammas for t in reversed(TEMPERATURES) for level in LEVELS]
    return min(grid, key=lambda calibration: round(log_loss(cases, calibration), 6))


def verdict_of(confidence: float, *, stable: bool) -> str:
    """confirmed (>= .8 and stable), likely (>= .5) or inconclusive.

    >>> verdict_of(0.9, stable=True), verdict_of(0.9, stable=False), verdict_of(0.3, stable=True)
    ('confirmed', 'likely', 'inconclusive')
    """
    if confidence < LIKELY:
        return "inconclusive"
    return "confirmed" if confidence >= CONFIRMED and stable else "likely"
