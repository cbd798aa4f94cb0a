"""Quantiles of bucketed counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.records import F64


def bucket_quantiles(counts: F64, bounds: F64, shares: Sequence[float]) -> F64:
    """Quantiles of a histogram, straight lines inside buckets, as Prometheus' histogram_quantile does.

        q = low_i + (high_i - low_i) * (share * n - before_i) / counts_i,  i the first bucket that reaches share * n

    The lowest bucket begins at 0 (at its bound, if that is not positive); what lies in the last, open bucket is its lower bound.
    Args: counts float64 [m + 1], >= 0; bounds float64 [m], rising; shares in 0 ... 1.
    Returns: float64 [len(shares)], NaN where the histogram is empty.
    Raises: ValueError if there is not one bucket more than bounds.

    >>> bucket_quantiles(np.array([0.0, 10.0, 0.0]), np.array([1.0, 2.0]), (0.5, 1.0))
    array([1.5, 2. ])
    """
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"a histogram has one bucket more than bounds, however: {len(counts)=}, {len(bounds)=}")
    result = np.full(len(shares), np.nan)
    total = float(counts.sum())
    if total <= 0 or not len(bounds):
        return result
    reached = np.cumsum(counts)
    for at, share in enumerate(shares):
        wanted = share * total
        bucket = int(np.searchsorted(reached, wanted, side="left"))
        if bucket >= len(bounds):
            result[at] = bounds[-1]
            continue
        high = float(bounds[bucket])
        low = float(bounds[bucket - 1]) if bucket else min(0.0, high)
        before = float(reached[bucket - 1]) if bucket else 0.0
        inside = float(counts[bucket])
        result[at] = high if inside <= 0 else low + (high - low) * (wanted - before) / inside
    return result
