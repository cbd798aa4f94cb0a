"""Rows as features: categories with their own code for unknown and overflow, numbers as deviations, a 64-bit key for equal rows.

An *arrival row* has what the record itself says; a *window row* has what one (service, subject) did in a window. Fields that a kind
lacks are NaN. Deviations are `2 asinh(z)` clipped to +-12, z in standard deviations of the subject's own past; arrival rows round them, so
that equal rows are embedded and scored once. The first category is the service, the second the subject (operation, template, metric,
change type): they are the identity of a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import kernels
from engine.kernels.plain import splitmix
from engine.records import F32, F64, I32, I64, U64, Bool

CLIP = 12.0  # of a deviation: 2 asinh(200)
_FAR = float(np.sinh(CLIP / 2))
CELLS = int(2 * CLIP) + 2  # values of a rounded deviation, NaN among them
ABSENT, OVERFLOW = 0, 1  # codes of a Dictionary
UNKNOWN, MASK, RARE = 0, 1, 2  # codes of an Encoder; RARE is its overflow
_RESERVED = 3
SERVICE, SUBJECT = 0, 1  # category columns


class Source(StrEnum):
    """The four kinds of telemetry that have a model each."""

    LOGS = "logs"
    METRICS = "metrics"
    TRACES = "traces"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Schema:
    """Names of a source's fields, in the order of the columns."""

    source: Source
    categories: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Categories, then numbers."""
        return self.categories + self.numbers


SCHEMAS = {
    Source.TRACES: Schema(
        Source.TRACES,
        ("service", "operation", "status", "error type", "kind and peer"),
        (
            "duration",
            "longest duration",
            "self time",
            "caller minus callee gap",
            "queue time",
            "span count",
            "error count",
            "database calls",
            "flow surprisal",
        ),
    ),
    Source.LOGS: Schema(
        Source.LOGS,
        ("service", "template", "severity", "exception type"),
        ("time since this template", "count", "share of the service's lines"),
    ),
    Source.METRICS: Schema(
        Source.METRICS,
        ("service", "metric", "environment", "zone", "host bucket"),
        ("deviation", "moving average 1 h", "deviation 1 h", "rate of change", "hour of day", "day of week"),
    ),
    Source.CONFIG: Schema(
        Source.CONFIG,
        ("service", "change type", "environment", "actor"),
        ("files changed", "lines added", "lines removed", "parameters changed", "hour of day"),
    ),
}


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Rows of one source, each standing for `count` equal records; `codes` are of the source's dictionaries."""

    codes: I32  # [n, categories]
    numbers: F32  # [n, numbers], NaN: absent
    key: U64  # [n] hash of the texts and numbers
    time_ns: I64  # [n]
    environment: I32  # [n] code of the extractor's environments
    count: I64  # [n]
    window: Bool  # [n] a window row

    def __len__(self) -> int:
        return len(self.key)

    def select(self, rows: npt.NDArray[np.intp] | Bool) -> RowColumns:
        """The given rows."""
        return RowColumns(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def concat(parts: Sequence[RowColumns]) -> RowColumns:
        """Several as one, in order."""
        if len(parts) == 1:
            return parts[0]
        return RowColumns(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(RowColumns)))


class Dictionary:
    """Codes of the texts of one category, with their hashes; 0 is "absent", 1 is "overflow" (the cap was reached, counted).

    >>> colours = Dictionary(cap=3)
    >>> [colours.code(text) for text in ("red", "", "blue", "red")], colours.overflowed
    ([2, 0, 1, 2], 1)
    """

    def __init__(self, cap: int = 65536) -> None:
        self.cap = cap
        self.overflowed = 0
        self.texts: list[str] = ["", "\x00overflow"]
        self._codes = {"": ABSENT}
        self._hashes = np.array([_hash("\x00absent"), _hash("\x00overflow")] + [0] * 62, np.uint64)

    def __len__(self) -> int:
        return len(self.texts)

    def code(self, text: str) -> int:
        """Code of a text, a new one if it is new."""
        code = self._codes.get(text)
        if code is not None:
            return code
        if len(self.texts) >= self.cap:
            self.overflowed += 1
            return OVERFLOW
        code = self._codes[text] = len(self.texts)
        self.texts.append(text)
        if code >= len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[code] = _hash(text)
        return code

    def find(self, text: str) -> int | None:
        """Code of a text if it has one."""
        return self._codes.get(text)

    def hashes(self, codes: I32) -> U64:
        """Hash of each code's text."""
        return self._hashes[codes]


class Translation:
    """Codes of another table (strings, resources, a pair packed into one number) as codes of a dictionary, looked up once each."""

    def __init__(self, dictionary: Dictionary, text: Callable[[int], str]) -> None:
        self.dictionary = dictionary
        self._text = text
        self._known: I32 = np.full(256, -1, np.int32)

    def __call__(self, foreign: npt.NDArray[Any]) -> I32:
        """Dictionary codes [n] of foreign codes [n] (non-negative)."""
        if not len(foreign):
            return np.zeros(0, np.int32)
        top = int(foreign.max())
        if top >= len(self._known):
            grown = np.full(max(top + 1, 2 * len(self._known)), -1, np.int32)
            grown[: len(self._known)] = self._known
            self._known = grown
        codes: I32 = self._known.take(foreign)
        if int(codes.min()) < 0:
            for code in np.unique(foreign[codes < 0]).tolist():
                self._known[code] = self.dictionary.code(self._text(code))
            codes = self._known.take(foreign)
        return codes


def deviation(z: F64 | F32) -> F32:
    """2 asinh(z) clipped to +-12: linear for small z (0.25 is 0.5), logarithmic for large ones (10 is 6, 200 is 12); NaN stays.

    >>> deviation(np.array([0.25, -1.0, 10.0, 1e9])).round(1)
    array([ 0.5, -1.8,  6. , 12. ], dtype=float32)
    """
    near = np.clip(z, -_FAR, _FAR).astype(np.float32)
    size = np.abs(near)
    # ln(z + sqrt(z^2 + 1)) in single precision: a fifth of np.arcsinh's time, and far finer than the rounding that follows
    squeezed: F32 = np.copysign(np.float32(2) * np.log(size + np.sqrt(size * size + np.float32(1))), near)
    return squeezed


def quantised(z: F64 | F32) -> F32:
    """`deviation`, rounded: what arrival rows hold.

    >>> quantised(np.array([0.2, 3.0, np.nan])).tolist()
    [0.0, 4.0, nan]
    """
    return np.round(deviation(z)) + np.float32(0)  # + 0: no negative zero


def grouped(code: npt.NDArray[Any]) -> tuple[I64, I64, I64]:
    """Small codes [n] that are there, how often, and where each first stands, without sorting.

    >>> [column.tolist() for column in grouped(np.array([5, 2, 5]))]
    [[2, 5], [1, 2], [1, 0]]
    """
    count = np.bincount(code)
    there = np.flatnonzero(count)
    first = np.empty(len(count), np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]  # of equal places the last write stays
    return there, count[there], first[there]


def cells(numbers: F32) -> I32:
    """Rounded deviations as small integers: 0 ... 24 for -12 ... 12, 25 for NaN.

    >>> cells(np.array([-12.0, 0.0, np.nan], np.float32)).tolist()
    [0, 12, 25]
    """
    return np.where(np.isnan(numbers), np.float32(CELLS - 1), numbers + np.float32(CLIP)).astype(np.int32)


def of_cells(cell: npt.NDArray[Any]) -> F32:
    """The deviations of `cells`."""
    return np.where(cell == CELLS - 1, np.float32(np.nan), cell.astype(np.float32) - np.float32(CLIP))


def hash_rows(dictionaries: Sequence[Dictionary], codes: I32, numbers: F32) -> U64:
    """64-bit key [n] of rows: of texts, never of codes, so that it survives a restart. Numbers count by their 32 bits, all NaN alike."""
    key = np.full(len(codes), 0x9E3779B97F4A7C15, np.uint64)
    for column, dictionary in enumerate(dictionaries):
        key = splitmix(key ^ dictionary.hashes(codes[:, column]))
    return kernels.hashed(key, codes[:, :0], numbers)


def key_of(codes: I32, numbers: F32, window: Bool) -> U64:
    """64-bit key [n] of what a model reads of rows: its codes [n, categories], its numbers [n, numbers], the kind of row."""
    return kernels.hashed(splitmix(window.astype(np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)), codes, numbers)


def nameless_key(rows: RowColumns) -> U64:
    """64-bit key [n] of rows that no name has a part in, and no date: of kind, numbers and time since the first row, and of those of the
    rows that share a category with it, and of those that share one with these.

    Rows that only their names tell apart have equal keys. Two rounds of colour refinement (Weisfeiler, Leman 1968).
    """
    since = (rows.time_ns - rows.time_ns.min(initial=np.iinfo(np.int64).max)).view(np.uint64)
    own = kernels.hashed(splitmix(since ^ (rows.window.astype(np.uint64) << np.uint64(63))), rows.codes[:, :0], rows.numbers)
    key = own
    for _ in range(2):
        refined = own
        for column in range(rows.codes.shape[1]):
            codes = rows.codes[:, column]
            shared = np.zeros(int(codes.max(initial=0)) + 1, np.uint64)
            np.add.at(shared, codes, splitmix(key))
            refined = splitmix(refined ^ shared[codes])
        key = refined
    return key


def distinct(rows: RowColumns) -> RowColumns:
    """One row a key, at its first time, with the counts of its equals."""
    _, first, inverse = np.unique(rows.key, return_index=True, return_inverse=True)
    counts = np.bincount(inverse, weights=rows.count, minlength=len(first)).astype(np.int64)
    order = np.argsort(first, kind="stable")
    chosen = rows.select(first[order])
    return RowColumns(chosen.codes, chosen.numbers, chosen.key, chosen.time_ns, chosen.environment, counts[order], chosen.window)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
