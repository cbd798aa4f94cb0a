"""History of the trace families: counters of one block each, folded in order, with the last ones kept apart.

A baseline "as of start" is the fold of everything older than `keep_ns`, then the kept blocks that ended by then, then the part of the
block that start cuts. Blocks covered by an incident are left out, also in hindsight as long as they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.normal.baseline import Counts, Shares
from engine.normal.levels import Levels
from engine.records import F64, I64
from engine.settings import EngineSettings
from engine.take.joined import KIND_SHIFT
from engine.windows import ENTRY, NO_VALUES, NONE, Codes, Spans, Sums, Tally, Values, view

FULL = 0.9  # of a block that must have passed for its requests a minute to count


@dataclass(frozen=True)
class Block:
    """What the spans and log records of one block did."""

    start_ns: int
    contexts: Tally = NONE
    outcomes: Tally = NONE
    values: Values = NO_VALUES
    entries: Tally = NONE  # requests that arrived, by operation
    requests: float = 0.0
    spans: int = 0
    abnormal: bool = False

    @classmethod
    def of(cls, start_ns: int, sums: Sequence[Sums]) -> Block:
        """What several lots of spans did."""
        return cls(
            start_ns=start_ns,
            contexts=Tally.total([part.contexts for part in sums]),
            outcomes=Tally.total([part.outcomes for part in sums]),
            values=Values.total([part.values for part in sums]),
            entries=Tally.total([part.entries for part in sums]),
            requests=sum(part.requests for part in sums),
            spans=sum(part.spans for part in sums),
        )

    def plus(self, other: Block) -> Block:
        """Both together, as of this block."""
        return Block(
            self.start_ns,
            self.contexts.plus(other.contexts),
            self.outcomes.plus(other.outcomes),
            self.values.plus(other.values),
            self.entries.plus(other.entries),
            self.requests + other.requests,
            self.spans + other.spans,
            self.abnormal,
        )


@dataclass
class Baseline:
    """Folds up to some time."""

    shares: Shares
    levels: Levels

    def copy(self) -> Baseline:
        """Folds that go their own way."""
        return Baseline(self.shares.copy(), self.levels.copy())

    def fold(self, block: Block, codes: Codes, minutes: float) -> None:
        """Take the next block, `minutes` long; requests a minute count only where given, minutes > 0."""
        self.shares.grow(codes.context_of, len(codes.contexts))
        columns = [(each.code.astype(np.int64), each.count.astype(np.float64)) for each in (block.contexts, block.outcomes)]
        counts = Counts(*columns[0], *columns[1], block.requests, block.spans)
        self.shares.fold(counts)
        self.levels.fold(block.values)
        if minutes > 0 and len(block.entries.code):
            self.levels.fold(rates(block.entries, minutes, codes))


def rates(entries: Tally, minutes: float, codes: Codes) -> Values:
    """ln(1 + requests a minute) by operation, as one observation each."""
    keys = codes.values.codes((ENTRY << KIND_SHIFT) | entries.code).astype(np.int64)
    order = np.argsort(keys)
    order = order[keys[order] >= 0]
    ones: F64 = np.ones(len(order))
    return Values(keys[order], ones, np.log1p(entries.count[order] / minutes), 0 * ones)


class History:
    """Blocks and folds. Bounded: kept blocks by age, folds by the caps of the codes."""

    def __init__(self, codes: Codes, settings: EngineSettings) -> None:
        self.late = 0  # spans that came after their block was folded
        self._codes = codes
        self._length_ns = settings.block_ns
        self._keep_ns = settings.keep_ns
        self._blocks: dict[int, Block] = {}  # by number since 1970
        self._folded: int | None = None  # number of the last block in the fold
        self._old = Baseline(Shares(), Levels())
        self._decided = 0  # blocks below this number keep their mark
        self._memo: tuple[int, Baseline] | None = None

    def number(self, time_ns: int) -> int:
        """Number of the block that holds a time."""
        return time_ns // self._length_ns

    def add(self, spans: Spans) -> None:
        """Count spans into their blocks."""
        earliest, latest = spans.bounds_ns
        for number in range(self.number(earliest), self.number(latest) + 1) if len(spans) else ():
            start = number * self._length_ns
            part = view([spans], start, start + self._length_ns, closed=False)
            if part.parts:
                self._plus(number, Block.of(start, [each.sums for each in part.parts]))

    def add_slots(self, time_ns: I64, context: I64, outcome: I64) -> None:
        """Count slots of time: context codes where outcome is -1, else outcome codes; all int64 [n]."""
        for number in np.unique(time_ns // self._length_ns).tolist():
            here = time_ns // self._length_ns == number
            chance = here & (outcome < 0)
            block = Block(number * self._length_ns, Tally.of(context[chance]), Tally.of(outcome[here & ~chance]))
            self._plus(number, block)

    def expire(self, now_ns: int) -> None:
        """Fold the blocks that are older than what is kept."""
        limit = self.number(now_ns - self._keep_ns)
        due = sorted(number for number in self._blocks if number < limit)
        for number in due:
            block = self._blocks.pop(number)
            if not block.abnormal:
                self._old.fold(block, self._codes, self._length_ns / 60e9)
            self._folded = number
        if due:
            self._memo = None

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Mark the kept blocks that an abnormal interval [start, end] touches. Marks of blocks that ended by `until_ns` are final."""
        for number, block in self._blocks.items():
            if number < self._decided:
                continue
            start, end = block.start_ns, block.start_ns + self._length_ns
            touched = any(start < to and since < end for since, to in abnormal)
            if touched != block.abnormal:
                self._blocks[number] = Block(**{**block.__dict__, "abnormal": touched})
                self._memo = None
        self._decided = max(self._decided, self.number(until_ns))

    def baseline(self, start_ns: int, chunks: Sequence[Spans]) -> Baseline:
        """Folds of everything before start. `chunks` hold the spans of the block that start cuts."""
        limit = self.number(start_ns)
        done, baseline = self._memo or (None, None)
        if baseline is None or done is None or done > limit:
            done, baseline = -1, self._old.copy()
        due = sorted(number for number in self._blocks if done <= number < limit)
        for number in due:
            if not self._blocks[number].abnormal:
                baseline.fold(self._blocks[number], self._codes, self._length_ns / 60e9)
        self._memo = limit, baseline
        baseline = baseline.copy()
        cut_ns, current = limit * self._length_ns, self._blocks.get(limit)
        if start_ns > cut_ns and not (current and current.abnormal):
            part = Block.of(cut_ns, [each.sums for each in view(chunks, cut_ns, start_ns, closed=False).parts])
            long_enough = start_ns - cut_ns >= FULL * self._length_ns
            if part.spans:
                baseline.fold(part, self._codes, (start_ns - cut_ns) / 60e9 if long_enough else 0.0)
        baseline.shares.grow(self._codes.context_of, len(self._codes.contexts))
        return baseline

    def _plus(self, number: int, part: Block) -> None:
        if self._folded is not None and number <= self._folded:
            self.late += part.spans
            return
        known = self._blocks.get(number)
        block = known.plus(part) if known else part
        self._blocks[number] = replace(block, contexts=block.contexts.packed(), outcomes=block.outcomes.packed())
        if self._memo is not None and number < self._memo[0]:
            self._memo = None  # a late item changed a block that is in the memo

    def state(self) -> dict[str, Any]:
        """Folds and kept blocks."""
        return {
            "shares": self._old.shares.state(),
            "levels": self._old.levels.state(),
            "folded": self._folded,
            "decided": self._decided,
            "blocks": [
                {
                    "start_ns": block.start_ns,
                    "abnormal": block.abnormal,
                    "requests": block.requests,
                    "spans": block.spans,
                    **{
                        f"{name}_{column}": getattr(getattr(block, name), column)
                        for name in ("contexts", "outcomes", "entries")
                        for column in ("code", "count")
                    },
                    **{f"values_{column}": getattr(block.values, column) for column in ("key", "count", "mean", "square")},
                }
                for _, block in sorted(self._blocks.items())
            ],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`; the codes must be those of then."""
        self._old = Baseline(Shares.restored(state["shares"]), Levels.restored(state["levels"]))
        self._folded, self._decided, self._memo = state["folded"], int(state["decided"]), None
        for saved in state["blocks"]:
            tallies = {
                name: Tally(np.array(saved[f"{name}_code"], np.int64), np.array(saved[f"{name}_count"], float))
                for name in ("contexts", "outcomes", "entries")
            }
            columns = (np.array(saved[f"values_{column}"], float) for column in ("count", "mean", "square"))
            block = Block(
                start_ns=int(saved["start_ns"]),
                values=Values(np.array(saved["values_key"], np.int64), *columns),
                requests=float(saved["requests"]),
                spans=int(saved["spans"]),
                abnormal=bool(saved["abnormal"]),
                **tallies,
            )
            self._blocks[self.number(block.start_ns)] = block
