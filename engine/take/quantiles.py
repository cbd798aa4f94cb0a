"""Quantiles of bucketed counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.records import F64, I32, I64
from engine.take.ragged import positions


class Bounds(NamedTuple):
    """The bounds of points: each its stretch of `values`."""

    first: I64  # [n]
    length: I64  # [n] 0: none
    values: F64

    @classmethod
    def of(cls, row: I32, bounds: Sequence[F64]) -> Bounds:
        """Bounds of points that name a row of `bounds`, or -1."""
        used, back = np.unique(row, return_inverse=True)
        tables = [bounds[code] if code >= 0 else np.zeros(0) for code in used.tolist()]
        length = np.array([len(table) for table in tables], np.int64)
        return cls((np.cumsum(length) - length)[back], length[back], np.concatenate([np.zeros(0), *tables]))

    @property
    def ends(self) -> F64:
        """First and last bound [2, n], 0 where there are none."""
        some = self.length > 0
        place = np.where(some, [self.first, self.first + self.length - 1], 0)
        return np.where(some, np.append(self.values, 0.0)[place], 0.0)

    def select(self, at: I64) -> Bounds:
        """Those of some points."""
        return Bounds(self.first[at], self.length[at], self.values)


def bucket_quantiles(counts: F64, buckets: I64, bounds: F64, first_bound: I64, shares: Sequence[float]) -> F64:
    """Quantiles of many histograms, straight lines inside buckets, as Prometheus' histogram_quantile does.

        q = low_i + (high_i - low_i) * (share * n - before_i) / counts_i,  i the first bucket that reaches share * n

    The lowest bucket begins at 0 (at its bound, if that is not positive); what lies in the last, open bucket is its lower bound.
    Args: counts float64 [sum of buckets], >= 0, histogram by histogram; buckets int64 [n], each at least 2; bounds float64, rising
    within a histogram, whose buckets - 1 bounds begin at first_bound int64 [n]; shares in 0 ... 1.
    Returns: float64 [n, len(shares)], NaN where the histogram is empty.
    Raises: ValueError if a histogram has no bound.

    >>> bucket_quantiles(np.array([0.0, 10.0, 0.0]), np.array([3]), np.array([1.0, 2.0]), np.array([0]), (0.5, 1.0))
    array([[1.5, 2. ]])
    """
    if len(buckets) and int(buckets.min()) < 2:
        raise ValueError(f"a histogram has one bucket more than bounds, and a bound, however: {buckets.min()=}")
    result = np.full((len(buckets), len(shares)), np.nan)
    first_count = np.cumsum(buckets) - buckets
    width = np.int64(1) << np.ceil(np.log2(buckets)).astype(np.int64)  # histograms of about as many buckets together
    for columns in np.unique(width).tolist():
        at = np.flatnonzero(width == columns)
        size = buckets[at]
        place = np.repeat(np.arange(len(at)) * columns, size) + positions(np.zeros(len(at), np.int64), size)
        padded = np.zeros(len(at) * columns)
        padded[place] = counts[positions(first_count[at], size)]
        result[at] = _of_matrix(padded.reshape(len(at), columns), size, bounds, first_bound[at], shares)
    return result


def _of_matrix(counts: F64, buckets: I64, bounds: F64, first_bound: I64, shares: Sequence[float]) -> F64:
    """Counts [n, m], filled up with zeros."""
    result = np.empty((len(counts), len(shares)))
    reached = np.cumsum(counts, axis=1)
    total = reached[:, -1]
    row = np.arange(len(counts))
    for column, share in enumerate(shares):
        wanted = share * total
        bucket = np.minimum((reached < wanted[:, None]).sum(axis=1), buckets - 1)
        is_open = bucket == buckets - 1
        high = bounds[first_bound + bucket - is_open]
        low = np.where(bucket > 0, bounds[first_bound + np.maximum(bucket - 1, 0)], np.minimum(0.0, high))
        before = np.where(bucket > 0, reached[row, np.maximum(bucket - 1, 0)], 0.0)
        inside = counts[row, bucket]
        within = low + (high - low) * (wanted - before) / np.where(inside > 0, inside, 1.0)
        result[:, column] = np.where(is_open | (inside <= 0), high, within)
    result[total <= 0] = np.nan
    return result
