"""Location and scale of a quantity per subject, shrunk to service and source while a subject is young.

    z = (x - mean) / sqrt(s^2 (1 + 1/n) + floor^2),     s^2 = (10 s^2_parent + n s^2_own) / (10 + n)

Values wait in quarantine before they count, folded to moments a block, clipped to 4 s around the mean they meet when they come; until a
subject has 30 learnt values, all values that came so far stand in. Old values fade: n never exceeds 5000.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine import kernels
from engine.normal.features import Dictionary
from engine.records import F32, F64, I32, I64

PRIOR = 10.0  # a parent counts as this many values
YOUNG = 30.0
LEAST = 3.0  # values under which a subject has no deviation
WINSOR = 4.0
MEMORY = 5000.0


class Pairs:
    """Dense codes of pairs (service, subject), from 1; 0 is "no more room". `parent` gives the service of a pair, `subject` its subject."""

    def __init__(self, cap: int = 65536) -> None:
        self.cap = cap
        self.parent, self.subject = np.zeros(256, np.int32), np.zeros(256, np.int32)
        self._codes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._codes) + 1

    def __call__(self, service: I32, subject: I32) -> I32:
        """Codes [n]."""
        packed = service.astype(np.int64) << 32 | subject
        of, first = kernels.group(packed.view(np.uint64))
        distinct = packed[first]
        codes, order = np.empty(len(distinct), np.int32), np.argsort(distinct)
        codes[order] = [self._code(pair) for pair in distinct[order].tolist()]
        return codes.take(of)

    def texts(self, services: Dictionary, subjects: Dictionary) -> list[str]:
        """Service and subject of each pair from code 1 on, for the state."""
        return [f"{services.texts[pair >> 32]}\x1f{subjects.texts[pair & 0xFFFFFFFF]}" for pair in self._codes]

    def restore(self, texts: Sequence[str], services: Dictionary, subjects: Dictionary) -> None:
        """Give the pairs of `texts` the codes that they had."""
        self._codes = {}
        for text in texts:
            service, _, subject = text.partition("\x1f")
            self._code(services.code(service) << 32 | subjects.code(subject))

    def _code(self, pair: int) -> int:
        code = self._codes.get(pair)
        if code is None:
            if len(self._codes) + 1 >= self.cap:
                return 0
            code = self._codes[pair] = len(self._codes) + 1
            if code >= len(self.parent):
                self.parent = np.concatenate([self.parent, np.zeros_like(self.parent)])
                self.subject = np.concatenate([self.subject, np.zeros_like(self.subject)])
            self.parent[code], self.subject[code] = pair >> 32, pair & 0xFFFFFFFF
        return code


class Reference(NamedTuple):
    """What values are compared with, by subject code."""

    mean: F64  # NaN: fewer than 3 values
    scale: F64  # standard deviations of a new value
    reach: F64  # how far from the mean a value may pull; inf while the subject is young


class Block(NamedTuple):
    """Moments of some values by subject; subjects ascend, each once. Where each has one value, it alone takes room."""

    subject: I32 | I64  # [s]
    n: F64  # [s]
    mean: F32  # [s]
    squares: F64  # [s] sum of squared deviations from the mean

    @classmethod
    def of(cls, subject: I32 | I64, x: F64 | F32, reference: Reference) -> Block:
        """Fold values [n] of subjects [n], each pulled to within its subject's reach."""
        size = len(reference.mean)
        centre = np.nan_to_num(reference.mean)
        off = x - np.take(centre, subject)
        reach = np.take(reference.reach, subject)
        np.clip(off, -reach, reach, out=off)
        if (subject[1:] > subject[:-1]).all():
            one, zero = (np.broadcast_to(np.float64(value), len(subject)) for value in (1, 0))
            return cls(subject, one, (np.take(centre, subject) + off).astype(np.float32), zero)
        count = np.bincount(subject, minlength=size)
        there = np.flatnonzero(count).astype(np.int32)
        n = count[there].astype(np.float64)
        total = np.bincount(subject, off, size)[there]
        squares = np.bincount(subject, off * off, size)[there]
        return cls(there, n, (centre[there] + total / n).astype(np.float32), np.maximum(squares - total**2 / n, 0))


class Moments:
    """Count, mean and sum of squared deviations per subject, merged block by block (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self.columns = np.zeros((3, 256))  # n, mean, squares
        self._parents: F64 | None = None

    def merge(self, block: Block) -> None:
        """Take a block."""
        if not len(block.subject):
            return
        self.grow(int(block.subject[-1]) + 1)
        old_n, old_mean, old_squares = self.columns[:, block.subject]
        total = old_n + block.n
        shift = block.mean - old_mean
        merged = np.stack([total, old_mean + shift * block.n / total, old_squares + block.squares + shift**2 * old_n * block.n / total])
        merged[[0, 2]] *= np.minimum(1, MEMORY / total)
        self.columns[:, block.subject] = merged
        self._parents = None

    def grow(self, size: int) -> None:
        """Have room for `size` subjects."""
        if size > self.columns.shape[1]:
            self.columns = np.concatenate([self.columns, np.zeros((3, max(size, self.columns.shape[1])))], axis=1)

    def parents(self, parent: I32) -> F64:
        """Variance of each parent, pooled over its subjects and shrunk to the source's own."""
        services = int(parent.max()) + 1
        if self._parents is None or len(self._parents) < services:
            size = self.columns.shape[1]
            owner = np.zeros(size, np.int64)
            owner[: min(size, len(parent))] = parent[:size]
            n, squares = (np.bincount(owner, self.columns[row], services) for row in (0, 2))
            whole = self.columns[2].sum() / max(self.columns[0].sum(), 1.0)
            self._parents = (PRIOR * whole + squares) / (PRIOR + n)
        return self._parents

    def of(self, size: int, parent: I32) -> tuple[F64, F64, F64]:
        """Count, mean and shrunk variance of the first `size` subjects."""
        self.grow(size)
        n, mean, squares = self.columns[:, :size]
        return n, mean, (PRIOR * self.parents(parent)[parent[:size]] + squares) / (PRIOR + n)


class Scales:
    """`z` against the past of each subject; `floor` is the least deviation that means anything, in the unit of x."""

    def __init__(self, *, floor: float) -> None:
        self.floor = floor
        self.learnt, self.everything = Moments(), Moments()
        self._waiting: deque[tuple[int, Block]] = deque()
        self._reference: Reference | None = None  # until something counts

    def reference(self, parent: I32) -> Reference:
        """What values of each subject are compared with. `parent`: by subject code, only ever growing."""
        if self._reference is None or len(self._reference.mean) < len(parent):
            self._reference = self._compared(parent)
        return self._reference

    def _compared(self, parent: I32) -> Reference:
        n, mean, variance = self.learnt.of(len(parent), parent)
        n2, mean2, variance2 = self.everything.of(len(parent), parent)
        young = n < YOUNG
        n, mean, variance = np.where(young, n2, n), np.where(young, mean2, mean), np.where(young, variance2, variance)
        return Reference(
            mean=np.where(n < LEAST, np.nan, mean),
            scale=np.sqrt(variance * (1 + 1 / np.maximum(n, 1)) + self.floor**2),
            reach=np.where(n < YOUNG, np.inf, WINSOR * np.sqrt(variance + self.floor**2)),
        )

    def z(self, subject: I32, parent: I32, x: F64 | F32) -> F64:
        """Deviations [n] in standard deviations, NaN for a subject with fewer than 3 values."""
        reference = self.reference(parent)
        deviations: F64 = (x - np.take(reference.mean, subject)) / np.take(reference.scale, subject)
        return deviations

    def take(self, subject: I32, parent: I32, x: F64 | F32, end_ns: int) -> None:
        """Put values in quarantine; NaN and subject 0 are left out."""
        fine = ~np.isnan(x) & (subject > 0)
        if not fine.all():
            subject, x = subject[fine], x[fine]
        if not len(x):
            return
        block = Block.of(subject, x, self.reference(parent))
        self.everything.merge(block)
        self._reference = None
        self._waiting.append((end_ns, block))

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Count what ended by `until_ns` outside abnormal intervals."""
        while self._waiting and self._waiting[0][0] <= until_ns:
            end_ns, block = self._waiting.popleft()
            if not any(start <= end_ns <= end for start, end in abnormal):
                self.learnt.merge(block)
                self._reference = None

    def state(self) -> dict[str, F64]:
        """What was learnt, by subject code; values in quarantine are left out."""
        return {"learnt": self.learnt.columns.copy(), "everything": self.everything.columns.copy()}

    def restore(self, state: dict[str, F64]) -> None:
        """Go on from `state`."""
        self.learnt.columns, self.everything.columns = state["learnt"].copy(), state["everything"].copy()
        self._reference = None
