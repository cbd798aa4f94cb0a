"""Requests an operation gets, against its own past. For ranking and for changes ("was it load?"), never to open an incident.

    x = ln(1 + requests a minute) where requests arrive: from outside or from another service;  Z = |shift| / sqrt(variance)

Shift and variance are those of `engine.normal.levels`, one observation a block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.evidence.names import Names, loudest
from engine.normal.history import rates
from engine.normal.levels import Levels
from engine.records import Evidence, Family
from engine.take.joined import KIND_SHIFT
from engine.windows import Codes, Tally, View

HINT = 0.5  # a rate says little by itself: faults and users both change it


class Load(NamedTuple):
    """Requests a minute from outside."""

    service: str
    operation: str
    now: float
    usual: float
    z: float  # of the change, signed


def rate(view: View, levels: Levels, codes: Codes, names: Names) -> list[Evidence]:
    """Evidence of the family: operations whose requests became more or fewer than usual."""
    pieces = []
    for load in loads(view, levels, codes, names, view.entries):
        pieces.append(
            Evidence(
                Family.RATE,
                load.service,
                load.operation,
                view.start_ns,
                view.end_ns,
                HINT * abs(load.z),
                load.now,
                load.usual,
                round(load.now * view.seconds / 60),
                "1/min",
                f"{load.operation} got {load.now:.3g} requests a minute, usually {load.usual:.3g}",
                for_opening=False,
            )
        )
    return loudest(pieces)


def entry_load(view: View, levels: Levels, codes: Codes, names: Names) -> list[Load]:
    """Load from outside: operations where requests begin, most requests first."""
    rows = np.flatnonzero(view.now & view.all.entry & view.all.root & (view.all.operation >= 0))
    outside = np.unique(view.all.operation[rows])
    entries = view.entries
    chosen = np.isin(entries.code, outside)
    found = loads(view, levels, codes, names, Tally(entries.code[chosen], entries.count[chosen]))
    return sorted(found, key=lambda load: (-load.now, load.service, load.operation))


def loads(view: View, levels: Levels, codes: Codes, names: Names, entries: Tally) -> list[Load]:
    """Load of operations that have a past."""
    if view.seconds <= 0 or not len(entries.code):
        return []
    window = rates(entries, view.seconds / 60, codes)
    found = levels.shift(window)
    result = []
    for place in np.flatnonzero(np.isfinite(found.shift)).tolist():
        operation = int(codes.values.keys[window.key[place]]) & ((1 << KIND_SHIFT) - 1)
        z = float(found.shift[place] / np.sqrt(found.variance[place]))
        service, name = names.operation(operation)
        result.append(Load(service, name, float(np.expm1(window.mean[place])), float(np.expm1(found.usual[place])), z))
    return result
