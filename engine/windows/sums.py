"""Sums over what spans did, by code: of a chunk, of a block of history, of a sliding span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import F32, F64, I32, I64


@dataclass(frozen=True)
class Tally:
    """Counts by code; codes ascend, each once."""

    code: I64 | I32
    count: F64 | F32

    @classmethod
    def of(cls, codes: npt.NDArray[np.integer[Any]], weights: npt.NDArray[np.floating[Any]] | None = None) -> Tally:
        """Count codes, with weights if given."""
        distinct, position = np.unique(codes, return_inverse=True)
        count = np.bincount(position.reshape(-1), weights=weights, minlength=len(distinct))
        return cls(distinct.astype(np.int64), count.astype(np.float64))

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        if not len(other.code) or not len(self.code):
            return self if len(self.code) else other
        return Tally.of(np.concatenate([self.code, other.code]), np.concatenate([self.count, other.count]))

    def packed(self) -> Tally:
        """The same in half of the memory, where single precision holds all counts as they are."""
        small = self.count.astype(np.float32)
        return Tally(self.code.astype(np.int32), small) if (small == self.count).all() else self

    @classmethod
    def dense(cls, counts: npt.NDArray[Any]) -> Tally:
        """Counts by every code, 0 where there is none."""
        code = np.flatnonzero(counts)
        return cls(code, counts[code].astype(np.float64))

    @classmethod
    def total(cls, parts: Sequence[Tally]) -> Tally:
        """All together."""
        parts = [part for part in parts if len(part.code)]
        if len(parts) < 2:
            return parts[0] if parts else NONE
        counts = np.zeros(max(int(part.code[-1]) for part in parts) + 1)
        for part in parts:
            counts[part.code] += part.count
        return cls.dense(counts)


@dataclass(frozen=True, slots=True)
class Values:
    """Observations of a block or window by key. Keys ascend, each once."""

    key: I64  # [k]
    count: F64
    mean: F64
    square: F64  # sum of squared deviations from the mean

    @classmethod
    def of(cls, key: npt.NDArray[np.integer[Any]], value: F64) -> Values:
        """Summarise observations: key [n], value float64 [n]."""
        keys, position = np.unique(key, return_inverse=True)
        position = position.reshape(-1)
        count = np.bincount(position, minlength=len(keys)).astype(np.float64)
        mean = np.bincount(position, weights=value, minlength=len(keys)) / np.maximum(count, 1)
        square = np.bincount(position, weights=(value - mean[position]) ** 2, minlength=len(keys))
        return cls(keys.astype(np.int64), count, mean, square.astype(np.float64))

    def plus(self, other: Values) -> Values:
        """Both together (Chan, Golub, LeVeque 1979)."""
        if not len(self.key) or not len(other.key):
            return self if len(self.key) else other
        keys = np.union1d(self.key, other.key)
        count, mean, square = np.zeros((3, len(keys)))
        for part in (self, other):
            at = np.searchsorted(keys, part.key)
            total = count[at] + part.count
            distance = part.mean - mean[at]
            square[at] += part.square + distance**2 * count[at] * part.count / total
            mean[at] += distance * part.count / total
            count[at] = total
        return Values(keys, count, mean, square)

    @classmethod
    def total(cls, parts: Sequence[Values]) -> Values:
        """All together."""
        result = NO_VALUES
        for part in parts:
            result = result.plus(part)
        return result


_NOBODY, _NOTHING = np.zeros(0, np.int64), np.zeros(0)
NONE = Tally(_NOBODY, _NOTHING)
NO_VALUES = Values(_NOBODY, _NOTHING, _NOTHING, _NOTHING)
