"""Location and scale of a quantity per subject, shrunk to service and source while a subject is young.

    z = (x - mean) / sqrt(s^2 (1 + 1/n) + floor^2),     s^2 = (10 s^2_parent + n s^2_own) / (10 + n)

Values wait in quarantine before they count, clipped to 4 s around the mean they meet; until a subject has 30 learnt values, all values that
came so far stand in. Old values fade: n never exceeds 5000.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from engine.normal.features import Dictionary
from engine.records import F64, I32

PRIOR = 10.0  # a parent counts as this many values
YOUNG = 30.0
LEAST = 3.0  # values under which a subject has no deviation
WINSOR = 4.0
MEMORY = 5000.0


class Pairs:
    """Dense codes of pairs (service, subject), from 1; 0 is "no more room". `parent` gives the service of a pair."""

    def __init__(self, cap: int = 65536) -> None:
        self.cap = cap
        self.parent = np.zeros(256, np.int32)
        self._codes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._codes) + 1

    def __call__(self, service: I32, subject: I32) -> I32:
        """Codes [n]."""
        packed, inverse = np.unique(service.astype(np.int64) << 32 | subject, return_inverse=True)
        codes = np.array([self._code(pair) for pair in packed.tolist()], np.int32)
        found: I32 = codes[inverse]
        return found

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
            self.parent[code] = pair >> 32
        return code


class Moments:
    """Count, mean and sum of squared deviations per subject, merged block by block (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self.columns = np.zeros((3, 256))  # n, mean, squares
        self._parents: F64 | None = None

    def merge(self, subject: I32, x: F64) -> None:
        """Take values [n] of subjects [n]."""
        self.grow(int(subject.max()) + 1)
        codes, inverse = np.unique(subject, return_inverse=True)
        n = np.bincount(inverse).astype(np.float64)
        mean = np.bincount(inverse, x) / n
        squares = np.bincount(inverse, (x - mean[inverse]) ** 2)
        old_n, old_mean, old_squares = self.columns[:, codes]
        total = old_n + n
        shift = mean - old_mean
        merged = np.stack([total, old_mean + shift * n / total, old_squares + squares + shift**2 * old_n * n / total])
        merged[[0, 2]] *= np.minimum(1, MEMORY / total)
        self.columns[:, codes] = merged
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


class Scales:
    """`z` against the past of each subject; `floor` is the least deviation that means anything, in the unit of x."""

    def __init__(self, *, floor: float) -> None:
        self.floor = floor
        self.learnt, self.everything = Moments(), Moments()
        self._waiting: deque[tuple[int, I32, F64]] = deque()

    def z(self, subject: I32, parent: I32, x: F64) -> F64:
        """Deviations [n] in standard deviations, NaN for a subject with fewer than 3 values. `parent`: by subject code."""
        size = int(subject.max()) + 1 if len(subject) else 1
        self.learnt.grow(size)
        self.everything.grow(size)
        n, mean, variance = self._of(self.learnt, subject, parent)
        young = n < YOUNG
        if young.any():
            n2, mean2, variance2 = self._of(self.everything, subject[young], parent)
            n[young], mean[young], variance[young] = n2, mean2, variance2
        scale = np.sqrt(variance * (1 + 1 / np.maximum(n, 1)) + self.floor**2)
        return np.where(n < LEAST, np.nan, (x - mean) / scale)

    def take(self, subject: I32, parent: I32, x: F64, end_ns: int) -> None:
        """Put values in quarantine; NaN and subject 0 are left out."""
        fine = ~np.isnan(x) & (subject > 0)
        if not fine.any():
            return
        subject, x = subject[fine], x[fine]
        self.everything.merge(subject, self._winsorised(self.everything, subject, parent, x))
        self._waiting.append((end_ns, subject, x))

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]], parent: I32) -> None:
        """Count what ended by `until_ns` outside abnormal intervals."""
        ready = []
        while self._waiting and self._waiting[0][0] <= until_ns:
            end_ns, subject, x = self._waiting.popleft()
            if not any(start <= end_ns <= end for start, end in abnormal):
                ready.append((subject, x))
        if ready:
            subject, x = np.concatenate([part[0] for part in ready]), np.concatenate([part[1] for part in ready])
            self.learnt.merge(subject, self._winsorised(self.learnt, subject, parent, x))

    def state(self) -> dict[str, F64]:
        """What was learnt, by subject code; values in quarantine are left out."""
        return {"learnt": self.learnt.columns.copy(), "everything": self.everything.columns.copy()}

    def restore(self, state: dict[str, F64]) -> None:
        """Go on from `state`."""
        self.learnt.columns, self.everything.columns = state["learnt"].copy(), state["everything"].copy()

    def _of(self, moments: Moments, subject: I32, parent: I32) -> tuple[F64, F64, F64]:
        n, mean, squares = moments.columns[:, subject]
        of_parent = moments.parents(parent)[parent[subject]]
        return n, mean, (PRIOR * of_parent + squares) / (PRIOR + n)

    def _winsorised(self, moments: Moments, subject: I32, parent: I32, x: F64) -> F64:
        moments.grow(int(subject.max()) + 1)
        n, mean, variance = self._of(moments, subject, parent)
        reach = WINSOR * np.sqrt(variance + self.floor**2)
        clipped: F64 = np.where(n >= YOUNG, np.clip(x, mean - reach, mean + reach), x)
        return clipped
