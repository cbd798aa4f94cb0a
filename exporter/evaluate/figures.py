"""Figures of scored cases: AC@k, Brier score, calibration, intervals. Plain functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DEPTHS = (1, 2, 3, 4, 5)


def accuracy_at(ranks: Sequence[int | None], k: int) -> float:
    """AC@k: share of cases whose root is among the first k; a case without a rank is a miss.

    >>> accuracy_at([1, 3, None, 2], 2)
    0.5
    """
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks) if ranks else 0.0


def average_at_5(ranks: Sequence[int | None]) -> float:
    """Avg@5: mean of AC@1 ... AC@5 (RCAEval)."""
    return sum(accuracy_at(ranks, k) for k in DEPTHS) / len(DEPTHS)


def chance_at(candidates: Sequence[int], k: int) -> float:
    """AC@k of a random order of n candidates: k / n, at most 1; mean over the cases.

    >>> chance_at([10, 4], 5)
    0.75
    """
    return sum(min(1.0, k / n) for n in candidates) / len(candidates) if candidates else 0.0


def chance_average_at_5(candidates: Sequence[int]) -> float:
    """Avg@5 of a random order."""
    return sum(chance_at(candidates, k) for k in DEPTHS) / len(DEPTHS)


def brier(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Mean squared error of the confidence (Brier 1950); None without cases.

    >>> brier([1.0, 0.5], [True, False])
    0.125
    """
    return float(np.mean((np.asarray(confidence) - np.asarray(right)) ** 2)) if len(confidence) else None


def brier_of_constant(right: Sequence[bool]) -> float | None:
    """Brier score of always saying the share of right answers, the best constant: p (1 - p)."""
    return float(np.mean(right) * (1 - np.mean(right))) if len(right) else None


def auroc(confidence: Sequence[float], right: Sequence[bool]) -> float | None:
    """Probability that a right answer carries more confidence than a wrong one, ties half; None if all are alike.

    >>> auroc([0.9, 0.5, 0.5], [True, True, False])
    0.75
    """
    sure = [c for c, yes in zip(confidence, right, strict=True) if yes]
    unsure = [c for c, yes in zip(confidence, right, strict=True) if not yes]
    if not sure or not unsure:
        return None
    return sum((a > b) + (a == b) / 2 for a in sure for b in unsure) / (len(sure) * len(unsure))


def calibration_bins(confidence: Sequence[float], right: Sequence[bool], bins: int = 5) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, cases) of bins with an equal count of cases, least sure first."""
    order = np.argsort(np.asarray(confidence), kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    c, r = np.asarray(confidence, float), np.asarray(right, float)
    return [(float(c[part].mean()), float(r[part].mean()), len(part)) for part in parts]


def calibration_error(confidence: Sequence[float], right: Sequence[bool], bins: int = 5) -> float | None:
    """Mean |confidence - share right| over bins with an equal count of cases, weighted by cases; None without cases."""
    if not len(confidence):
        return None
    return sum(abs(said - was) * n for said, was, n in calibration_bins(confidence, right, bins)) / len(confidence)


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) without cases.

    >>> [round(x, 3) for x in wilson(18, 20)]
    [0.699, 0.972]
    """
    if n == 0:
        return 0.0, 1.0
    p, square = successes / n, z * z
    middle, half = p + square / (2 * n), z * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(0.0, (middle - half) / (1 + square / n)), min(1.0, (middle + half) / (1 + square / n))
