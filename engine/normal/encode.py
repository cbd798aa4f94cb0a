"""What a model reads: codes of its own vocabulary, numbers robustly scaled. Fitted on the training rows, kept with the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.normal.features import CLIP, MASK, RARE, UNKNOWN, Dictionary, RowColumns
from engine.records import F32, I32, Bool

#: Texts a category keeps; rarer ones share one code.
VOCABULARY = 2048
BINS = int(2 * CLIP) + 2  # of a number: -12 ... 12 and absent
_RESERVED = ("\x00unknown", "\x00mask", "\x00rare")


@dataclass(frozen=True, slots=True)
class Encoder:
    """Vocabulary and scale of one source. A number that no training row had is not read at all (hour of day before its time)."""

    vocabulary: tuple[tuple[str, ...], ...]  # by category; the first three are unknown, mask, rare
    overflow: tuple[tuple[str, ...], ...]  # by category: texts that training saw but that have no code of their own
    centre: F32  # [numbers]
    scale: F32  # [numbers]
    used: Bool  # [numbers]

    @property
    def absent(self) -> F32:
        """Model code of "" by category, -1 where it has none [categories]."""
        return np.array([texts.index("") if "" in texts else -1 for texts in self.vocabulary], np.float32)

    def tables(self, dictionaries: Sequence[Dictionary]) -> tuple[I32, ...]:
        """Model code by dictionary code, by category. Dictionary codes past a table are unknown: this interns every text first."""
        result = []
        for texts, overflow, dictionary in zip(self.vocabulary, self.overflow, dictionaries, strict=True):
            known = {dictionary.code(text): code for code, text in enumerate(texts) if code >= len(_RESERVED)}
            rare = [dictionary.code(text) for text in overflow]
            table = np.full(len(dictionary), UNKNOWN, np.int32)
            table[rare] = RARE
            for code, own in known.items():
                table[code] = own
            result.append(table)
        return tuple(result)

    def codes(self, codes: I32, tables: Sequence[I32]) -> I32:
        """Model codes [n, categories] of dictionary codes."""
        result = np.empty_like(codes)
        for column, table in enumerate(tables):
            own = codes[:, column]
            result[:, column] = np.where(own < len(table), table[np.minimum(own, len(table) - 1)], UNKNOWN)
        return result

    def numbers(self, numbers: F32) -> F32:
        """Scaled numbers [n, numbers], NaN where absent."""
        scaled = np.clip((numbers - self.centre) / self.scale, -CLIP, CLIP)
        return np.where(self.used, scaled, np.float32(np.nan)).astype(np.float32)


def fit(rows: RowColumns, dictionaries: Sequence[Dictionary]) -> Encoder:
    """Most frequent texts by category (by distinct rows, then by their first row), median and 1.4826 MAD of each number, at least 1.

    The floor of 1 is the unit of a deviation (half a standard deviation): noise of a quiet column is not blown up.
    """
    vocabulary, overflow = [], []
    for column, dictionary in enumerate(dictionaries):
        codes, first, counts = np.unique(rows.codes[:, column], return_index=True, return_counts=True)
        ranked = [dictionary.texts[code] for code in codes[np.lexsort((first, -counts))].tolist()]
        vocabulary.append((*_RESERVED, *ranked[:VOCABULARY]))
        overflow.append(tuple(ranked[VOCABULARY:]))
    used = np.asarray((~np.isnan(rows.numbers)).any(axis=0))
    centre = np.zeros(rows.numbers.shape[1], np.float32)
    scale = np.ones(rows.numbers.shape[1], np.float32)
    for column in np.flatnonzero(used).tolist():
        values = rows.numbers[:, column]
        values = values[~np.isnan(values)]
        centre[column] = np.median(values)
        scale[column] = max(1.0, 1.4826 * float(np.median(np.abs(values - centre[column]))))
    return Encoder(tuple(vocabulary), tuple(overflow), centre, scale, used)


def bins(numbers: F32) -> I32:
    """Scaled numbers as classes 0 ... 24, 25 where absent: what a masked number is predicted as.

    >>> bins(np.array([[-20.0, 0.2, np.nan]], np.float32)).tolist()
    [[0, 12, 25]]
    """
    rounded = np.round(np.clip(np.nan_to_num(numbers), -CLIP, CLIP)) + CLIP
    return np.where(np.isnan(numbers), BINS - 1, rounded).astype(np.int32)


def inputs(numbers: F32, masked: Bool | None = None) -> F32:
    """What the first layer reads of scaled numbers [n, f]: value / 4 (0 where absent or masked), then 1 present, 0 absent, -1 masked."""
    present = ~np.isnan(numbers)
    flags = present.astype(np.float32)
    values = np.where(present, numbers, np.float32(0)) / np.float32(4)
    if masked is not None:
        flags[masked] = -1
        values = np.where(masked, np.float32(0), values)
    return np.concatenate([values, flags], axis=1).astype(np.float32)


__all__ = ["BINS", "MASK", "RARE", "UNKNOWN", "VOCABULARY", "Encoder", "bins", "fit", "inputs"]
