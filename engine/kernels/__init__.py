"""Loops that NumPy has no function for: orders and groups of rows, look-ups of keys, spans joined inside traces, sums by code.

Pure functions on arrays. What each means stands in `engine.kernels.plain`, which runs where nothing was compiled (`COMPILED` is False)
and is what the compiled ones are tested against. Compiled hash tables count their probes: keys that collide far beyond chance (ids
that somebody chose) are looked up by the version that sorts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.kernels import plain
from engine.records import I32, I64, U64

argsort, mixed, hashed = plain.argsort, plain.mixed, plain.hashed
bounds, by_group, chosen, lookup = plain.bounds, plain.by_group, plain.chosen, plain.lookup
hang, self_time, steps = plain.hang, plain.self_time, plain.steps
step_sums, value_sums, traces_by_service, fault_below = plain.step_sums, plain.value_sums, plain.traces_by_service, plain.fault_below
_group, _parents, _index, _find = plain.group, plain.parents, plain.index, plain.find
slot_of, intern, chained = plain.slot_of, plain.intern, plain.chained

try:
    from engine.kernels import sums, tables, traces  # type: ignore[attr-defined]  # compiled: no source that mypy reads
except ImportError:
    COMPILED = False
else:
    COMPILED = True
    argsort, mixed, hashed = tables.argsort, tables.mixed, tables.hashed
    bounds, by_group, chosen, lookup = tables.bounds, tables.by_group, tables.chosen, tables.lookup
    hang, self_time, steps = traces.hang, traces.self_time, traces.steps
    step_sums, value_sums, traces_by_service, fault_below = sums.step_sums, sums.value_sums, sums.traces_by_service, sums.fault_below
    intern, chained = tables.intern, tables.chained
    _group, _parents, _index, _find = tables.group, traces.parents, tables.index, tables.find


def in_use() -> str:
    """Which kernels run: compiled or plain."""
    return "compiled" if COMPILED else "plain"


class Index:
    """Rows by key, for several searches."""

    def __init__(self, keys: U64) -> None:
        self.keys = keys
        self._sorted = False
        self._rows: npt.NDArray[np.integer[Any]]
        try:
            self._rows = _index(keys)
        except OverflowError:
            self._sort()

    def find(self, wanted: U64) -> I64:
        """For each wanted key the first row that has it, -1 if none. [n]"""
        if not self._sorted:
            try:
                return _find(wanted, self.keys, self._rows)
            except OverflowError:
                self._sort()
        return plain.find(wanted, self.keys, self._rows)

    def _sort(self) -> None:
        self._sorted, self._rows = True, plain.index(self.keys)


def rows_of(wanted: U64, keys: U64) -> I64:
    """For each wanted key the first row of `keys` that has it, -1 if none. [n]"""
    return Index(keys).find(wanted)


def group(keys: U64) -> tuple[I32, I64]:
    """`plain.group`."""
    try:
        return _group(keys)
    except OverflowError:
        return plain.group(keys)


def parents(trace: I32, span: U64, parent: U64) -> tuple[I64, I64]:
    """`plain.parents`."""
    try:
        return _parents(trace, span, parent)
    except OverflowError:
        return plain.parents(trace, span, parent)
