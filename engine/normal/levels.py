"""How high a value usually is: means of the last blocks by key, robust against blocks in which it was high.

Values are natural logarithms, so a shift of .7 is twice as much. Vectorised over keys; `tests/naive.py` has it for one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.records import F64, I64, Bool
from engine.windows.sums import Values

BLOCKS = 128  # of a key that are remembered
MOST_WEIGHT = 10.0  # of a block
MAD_TO_SD = 1.4826  # median absolute deviation of a normal variable -> its standard deviation
NEGLIGIBLE = 0.35  # a shift (a factor of 1.4) that no one would call slow
STEADY, STEADY_WORTH = 0.15, 5.0  # floor of a key's deviation with many blocks, and the blocks at which half of the way to it is gone
WITHIN, WITHIN_WORTH = 0.3**2, 4.0  # prior variance inside blocks, worth so many observations
BETWEEN, BETWEEN_WORTH = 0.4**2, 2.0  # prior variance between blocks, worth so many blocks
REJECT = 4.0


def weighted_median(values: F64, weights: F64) -> F64:
    """By row, the value at which half of the weight is reached; values and weights [k, m], weight 0: not there. [k]"""
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    place = (reached >= reached[:, -1:] / 2).argmax(axis=1)
    rows = np.arange(len(values))
    median: F64 = values[rows, order[rows, place]]
    return median


@dataclass(frozen=True, slots=True)
class Shift:
    """Of each key of a window: how far its mean is from usual. NaN where the key has fewer than three observations before."""

    shift: F64  # [k] natural log
    variance: F64
    usual: F64


class Levels:
    """Ring of block means by key."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self.count: F64 = np.zeros((0, blocks))
        self.mean: F64 = np.zeros((0, blocks))
        self.square: F64 = np.zeros((0, blocks))
        self.filled: I64 = np.zeros(0, np.int64)  # blocks ever, by key

    def copy(self) -> Levels:
        """A ring that goes its own way."""
        other = Levels(self.count.shape[1])
        other.count, other.mean, other.square, other.filled = self.count.copy(), self.mean.copy(), self.square.copy(), self.filled.copy()
        return other

    def fold(self, block: Values) -> None:
        """Take the next block; of a full key the oldest block goes."""
        if not len(block.key):
            return
        missing = int(block.key[-1]) + 1 - len(self.filled)
        if missing > 0:
            room = np.zeros((missing, self.count.shape[1]))
            self.count, self.mean, self.square = (np.concatenate([old, room]) for old in (self.count, self.mean, self.square))
            self.filled = np.concatenate([self.filled, np.zeros(missing, np.int64)])
        column = self.filled[block.key] % self.count.shape[1]
        self.count[block.key, column] = block.count
        self.mean[block.key, column] = block.mean
        self.square[block.key, column] = block.square
        self.filled[block.key] += 1

    def shift(self, window: Values) -> Shift:
        """Shift of each key's mean against its blocks, and the variance of that shift.

        blocks weigh w_j = min(n_j, 10); with four or more, those above median + 4 sqrt((1.48 MAD)^2 + .35^2) are left out
        shift    = window mean - sum w m / sum w
        within   = (sum of squares inside blocks + 4 * .3^2) / (n - blocks + 4), or with the window's own (prior worth 2) if larger
        between  = variance between block means beyond within * blocks / n, 2 blocks of .4^2 added
        floor    = .15^2 + (.35^2 - .15^2) 5 / (5 + blocks)
        variance = floor + between (1 + 1 / blocks) + within / n_window + within / n
        """
        known = window.key < len(self.filled)
        result = np.full((3, len(window.key)), np.nan)
        rows = window.key[known]
        count, mean, square = self.count[rows], self.mean[rows], self.square[rows]
        weight = np.minimum(count, MOST_WEIGHT)
        enough = np.flatnonzero(count.sum(axis=1) >= 3)
        if not len(enough):
            return Shift(result[0], result[1], result[2])
        count, mean, square, weight = count[enough], mean[enough], square[enough], weight[enough]
        good = self._good(mean, weight)
        count, square, weight = count * good, square * good, weight * good
        blocks, total, heavy = good.sum(axis=1), count.sum(axis=1), weight.sum(axis=1)
        usual = (mean * weight).sum(axis=1) / heavy
        of_window = np.flatnonzero(known)[enough]
        size, spread = window.count[of_window], window.square[of_window]
        within = (square.sum(axis=1) + WITHIN_WORTH * WITHIN) / (np.maximum(total - blocks, 0) + WITHIN_WORTH)
        within = np.maximum(within, (within * 2 + spread) / (2 + size - 1))
        between = np.maximum(0, (weight * (mean - usual[:, None]) ** 2).sum(axis=1) / heavy - within * blocks / total)
        between = (between * blocks + BETWEEN_WORTH * BETWEEN) / (blocks + BETWEEN_WORTH)
        result[0, of_window] = window.mean[of_window] - usual
        floor = STEADY**2 + (NEGLIGIBLE**2 - STEADY**2) * STEADY_WORTH / (STEADY_WORTH + blocks)
        result[1, of_window] = floor + between * (1 + 1 / blocks) + within / size + within / total
        result[2, of_window] = usual
        return Shift(result[0], result[1], result[2])

    @staticmethod
    def _good(mean: F64, weight: F64) -> Bool:
        """Blocks that count: those that are there and, with four or more of a key, are not too high for its median."""
        there = weight > 0
        middle = weighted_median(mean, weight)[:, None]
        mad = MAD_TO_SD * weighted_median(np.abs(mean - middle), weight)[:, None]
        low: Bool = (mean - middle) <= REJECT * np.sqrt(mad**2 + NEGLIGIBLE**2)
        few = there.sum(axis=1, keepdims=True) < 4
        good: Bool = there & (low | few)
        return good

    def state(self) -> dict[str, Any]:
        """Arrays by name; rows are in the order of the keys."""
        return {"count": self.count, "mean": self.mean, "square": self.square, "filled": self.filled}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Levels:
        """The ring of `state()`."""
        ring = cls(np.asarray(state["count"]).shape[1])
        ring.count, ring.mean, ring.square = (np.array(state[name], float) for name in ("count", "mean", "square"))
        ring.filled = np.array(state["filled"], np.int64)
        return ring
