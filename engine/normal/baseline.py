"""What share of its chances an outcome usually takes: an in-order fold over blocks of history that earlier faults do not enter.

A chance is a context (a place inside an operation, a span of an operation, a slot of time), an outcome what became of it (the next
event, an error, a log record). Everything is vectorised over outcomes; `tests/naive.py` says the same for one outcome at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import F64, I32, I64, Bool

MOST_WEIGHT = 30.0  # of a block: a busy minute is not the whole history
REJECT_Z = 3.0
MEMORY = 512.0  # blocks: beyond, old ones fade, so that a new level can be learnt after any time
TAKEN_OVER = 5.0  # times the accepted weight: then what was rejected is the new normal
FEW = 0.1  # spread while there are at most two blocks

# Rows of the sums below.
WEIGHT, SHARE, SQUARE, BLOCKS, HITS, REQUESTS = range(6)
TOTAL = SHARE  # of a context's sums: its chances


def share_z(share: F64, trials: F64, usual: F64, spread: F64, history: F64) -> F64:
    """Z of a share that is higher than usual, one-sided, [n].

        p = min(.999, max(usual, .01 + 2.5 / (history + 20)))      what a short history may have missed
        n = v / (v / trials + spread^2 + .02^2), v = p (1 - p)     effective trials: shares vary between blocks anyway
        Z = sqrt(2 n KL(share || p)) if share > p else 0           KL of two coins, in nats

    >>> one = np.ones(1)
    >>> share_z(0.5 * one, 40 * one, 0.01 * one, 0.0 * one, 600 * one).round(1), share_z(0.01 * one, 40 * one, 0.1 * one, one, one)
    (array([7.3]), array([0.]))
    """
    p = np.minimum(np.maximum(usual, 0.01 + 2.5 / (history + 20.0)), 0.999)
    v = p * (1 - p)
    effective = v / (v / np.maximum(trials, 1e-9) + spread * spread + 0.02**2)
    high = np.clip(share, p, 1.0)
    rest = 1 - high
    nats = high * np.log(high / p) + rest * np.log(np.maximum(rest, 1e-300) / (1 - p))
    z: F64 = np.sqrt(2 * effective * np.maximum(nats, 0.0))
    return np.where(share > p, z, 0.0)


def between_blocks(sums: F64) -> F64:
    """Spread of a share between blocks beyond chance: sqrt(max(0, Var_w(p_j) - mu (1 - mu) m / sum w)), from sums [6, n]."""
    total = np.maximum(sums[WEIGHT], 1e-9)
    mean = sums[SHARE] / total
    variance = sums[SQUARE] / total - mean * mean
    spread: F64 = np.sqrt(np.maximum(0.0, variance - mean * (1 - mean) * sums[BLOCKS] / total))
    return spread


def with_prior(sums: F64) -> F64:
    """The spread, with .1^2 / blocks added to its square: a few equal blocks do not prove that all will be. The same for scoring and
    for quarantine, else what a share does in its first minutes decides for hours what is usual.
    """
    spread: F64 = np.sqrt(between_blocks(sums) ** 2 + FEW**2 / np.maximum(sums[BLOCKS], 1))
    return spread


def usual_share(sums: F64) -> F64:
    """(sum w p + .25) / (sum w + .5): a Beta prior worth half a chance."""
    share: F64 = (sums[SHARE] + 0.25) / (sums[WEIGHT] + 0.5)
    return share


@dataclass(frozen=True, slots=True)
class Counts:
    """One block of history, or a window: how often each context and outcome happened. Codes ascend, each once."""

    context: I64  # [c] code
    chances: F64  # [c]
    outcome: I64  # [o] code
    hits: F64  # [o]
    requests: float  # requests that ended meanwhile
    spans: int


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for each outcome [n]."""

    share: F64
    spread: F64  # between blocks, with .1^2 / blocks added
    weight: F64
    hits: F64  # in accepted blocks
    requests: F64  # in accepted blocks
    chances: F64  # of the context, in all blocks

    @property
    def per_request(self) -> F64:
        """Hits a request; one request more than seen, so that few requests say little."""
        rate: F64 = self.hits / (self.requests + 1.0)
        return rate


class Shares:
    """The fold. A block in which a share is too high for those accepted (Z > 3) waits; when what waits outweighs them, it replaces them.

    An outcome never seen before has been zero in all blocks of its context: contexts keep the sums that it starts with.
    """

    def __init__(self) -> None:
        self.accepted: F64 = np.zeros((6, 0))  # by outcome
        self.waiting: F64 = np.zeros((6, 0))
        self.contexts: F64 = np.zeros((6, 0))  # by context: an outcome that never happened, but SHARE holds all chances
        self.context_of: I32 = np.zeros(0, np.int32)
        self.blocks = 0
        self.spans = 0

    def copy(self) -> Shares:
        """A fold that goes its own way."""
        other = Shares()
        other.accepted, other.waiting, other.contexts = self.accepted.copy(), self.waiting.copy(), self.contexts.copy()
        other.context_of, other.blocks, other.spans = self.context_of, self.blocks, self.spans
        return other

    def grow(self, context_of: I32, contexts: int) -> None:
        """Make room for outcomes (the context of each, int32 [n]) and contexts that came since."""
        if contexts > self.contexts.shape[1]:
            self.contexts = _widened(self.contexts, contexts)
        new = context_of[len(self.context_of) :]
        if len(new):
            zero = self.contexts[:, new].copy()
            zero[SHARE] = 0.0
            self.accepted = np.concatenate([self.accepted, zero], axis=1)
            self.waiting = _widened(self.waiting, len(context_of))
            self.context_of = context_of

    def fold(self, block: Counts) -> None:
        """Take the next block. Call `grow` with its codes before."""
        self.blocks += 1
        self.spans += block.spans
        chances = np.zeros(self.contexts.shape[1])
        chances[block.context] = block.chances
        hits = np.zeros(len(self.context_of))
        hits[block.outcome] = block.hits
        touched = np.flatnonzero(chances[self.context_of] > 0)
        trials = chances[self.context_of[touched]]
        share = np.minimum(hits[touched] / trials, 1.0)
        weight = np.minimum(trials, MOST_WEIGHT)
        row = np.stack(
            [weight, weight * share, weight * share * share, np.ones(len(touched)), hits[touched], np.full(len(touched), block.requests)]
        )

        known = self.accepted[:, touched]
        spread = np.where(known[BLOCKS] > 2, with_prior(known), FEW)
        z = share_z(share, trials, usual_share(known), spread, known[WEIGHT])
        wait = (known[WEIGHT] >= 2) & (z > REJECT_Z)
        self.accepted[:, touched] *= np.minimum(1.0, MEMORY / (known[BLOCKS] + 1))
        self.accepted[:, touched[~wait]] += row[:, ~wait]
        late = touched[wait]
        self.waiting[:, late] += row[:, wait]
        over = late[self.waiting[WEIGHT, late] > TAKEN_OVER * self.accepted[WEIGHT, late]]
        self.accepted[:, over] = self.waiting[:, over]
        self.waiting[:, over] = 0.0

        context = block.context
        weight = np.minimum(block.chances, MOST_WEIGHT)
        self.contexts[:, context] *= np.minimum(1.0, MEMORY / (self.contexts[BLOCKS, context] + 1))
        self.contexts[WEIGHT, context] += weight
        self.contexts[TOTAL, context] += block.chances
        self.contexts[BLOCKS, context] += 1
        self.contexts[REQUESTS, context] += block.requests

    def usual(self, outcome: npt.NDArray[np.intp]) -> Usual:
        """What is usual for these outcomes."""
        sums = self.accepted[:, outcome]
        spread = with_prior(sums)
        chances = self.contexts[TOTAL, self.context_of[outcome]]
        return Usual(usual_share(sums), spread, sums[WEIGHT], sums[HITS], sums[REQUESTS], chances)

    def known(self, outcome: npt.NDArray[np.intp]) -> Bool:
        """Outcomes whose context has happened at least twice."""
        enough: Bool = self.contexts[TOTAL, self.context_of[outcome]] >= 2
        return enough

    def state(self) -> dict[str, Any]:
        """Arrays by name; the columns are in the order of the codes."""
        return {
            "accepted": self.accepted,
            "waiting": self.waiting,
            "contexts": self.contexts,
            "context_of": self.context_of,
            "blocks": self.blocks,
            "spans": self.spans,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Shares:
        """The fold of `state()`."""
        fold = cls()
        fold.accepted, fold.waiting, fold.contexts = (np.array(state[name], float) for name in ("accepted", "waiting", "contexts"))
        fold.context_of = np.array(state["context_of"], np.int32)
        fold.blocks, fold.spans = int(state["blocks"]), int(state["spans"])
        return fold


def _widened(sums: F64, columns: int) -> F64:
    return np.concatenate([sums, np.zeros((len(sums), columns - sums.shape[1]))], axis=1)
