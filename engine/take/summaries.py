"""Quantiles of summaries, each to the row of its series that is of the same quantile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.records import F64, I64
from engine.take.bucketed import Bucketed
from engine.take.quantiles import Bounds
from engine.take.ragged import positions
from engine.take.series import quantile_name


class QuantileRows:
    """Which quantile each row of the store is, of the series that begins where."""

    def __init__(self) -> None:
        self.percent: F64 = np.zeros(0, np.float64)  # by row; NaN: no quantile of a summary
        self.first: I64 = np.zeros(0, np.int64)  # by row: first row of the series

    def place(self, first: int, statistics: Sequence[str], *, summary: bool) -> None:
        """A series has the rows from `first` on."""
        end = first + len(statistics)
        if end > len(self.first):
            more = max(end - len(self.first), len(self.first))
            self.percent = np.append(self.percent, np.full(more, np.nan))
            self.first = np.append(self.first, np.zeros(more, np.int64))
        self.first[first:end] = first
        self.percent[first:end] = [_percent(name) if summary else np.nan for name in statistics]

    def find(self, sent: Bucketed, bounds: Bounds) -> tuple[I64, I64, F64]:
        """Where the values of summaries belong; those of quantiles that a series did not begin with belong nowhere.

        Returns: row int64 [m], position of the point in `sent` int64 [m], value float64 [m].
        """
        size = np.minimum(sent.buckets, bounds.length)
        rows = np.flatnonzero(~np.isnan(self.percent))
        if not size.any() or not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        point = np.repeat(np.arange(len(size)), size)
        value = sent.counts[positions(np.cumsum(sent.buckets) - sent.buckets, size)]
        percent = np.array([_percent(quantile_name(share)) for share in bounds.values.tolist()])[positions(bounds.first, size)]
        codes = np.unique(np.concatenate([self.percent[rows], percent]), return_inverse=True)[1]
        series = np.concatenate([self.first[rows], sent.row[point]])
        have, asked = np.split(series * len(codes) + codes, [len(rows)])
        order = np.argsort(have)
        place = np.minimum(np.searchsorted(have[order], asked), len(rows) - 1)
        found = np.flatnonzero(have[order][place] == asked)
        return rows[order][place[found]], point[found], value[found]


def _percent(statistic: str) -> float:
    """The quantile that a statistic is, NaN if it is none.

    >>> _percent("p99.9")
    99.9
    """
    return float(statistic[1:]) if statistic[:1] == "p" else float("nan")
