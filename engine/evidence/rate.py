"""Requests an operation gets, against its own past. For ranking and for changes ("was it load?"), never to open an incident.

    x = ln(1 + requests a minute) where requests arrive: from outside or from another service;  Z = |shift| / sqrt(variance)

Shift and variance are those of `engine.normal.levels`, one observation a block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.evidence.names import NOTABLE_Z, Names, loudest
from engine.normal.history import rates
from engine.normal.levels import Levels
from engine.records import Evidence, Family
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT
from engine.windows import Codes, Part, Tally, View

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
    for load in loads(view, levels, codes, names, view.entries, loud=True):
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
    entries = view.entries
    outside = {code for part in view.parts for code in _outside(part)}
    chosen = np.array([code in outside for code in entries.code.tolist()], bool)
    found = loads(view, levels, codes, names, Tally(entries.code[chosen], entries.count[chosen]))
    return sorted(found, key=lambda load: (-load.now, load.service, load.operation))


def _outside(part: Part) -> list[int]:
    """Operations where requests begin."""
    spans = part.spans
    rows = part.now & spans.entry & spans.root & (spans.operation >= 0)
    return np.flatnonzero(np.bincount(spans.operation[rows])).tolist()


def loads(view: View, levels: Levels, codes: Codes, names: Names, entries: Tally, *, loud: bool = False) -> list[Load]:
    """Load of operations that have a past. `loud`: only those that are notable, or the most changed of their service."""
    if view.seconds <= 0 or not len(entries.code):
        return []
    window = rates(entries, view.seconds / 60, codes)
    found = levels.shift(window)
    places = np.flatnonzero(np.isfinite(found.shift))
    z = found.shift[places] / np.sqrt(found.variance[places])
    operation = codes.values.keys[window.key[places]] & ((1 << KIND_SHIFT) - 1)
    if loud:
        service = codes.operations.keys[operation] >> SERVICE_SHIFT
        highest = np.zeros(int(service.max(initial=0)) + 1)
        np.maximum.at(highest, service, np.abs(z))
        kept = (HINT * np.abs(z) >= NOTABLE_Z) | (np.abs(z) >= highest[service])
        places, z, operation = places[kept], z[kept], operation[kept]
    result = []
    for place, its_z, code in zip(places.tolist(), z.tolist(), operation.tolist(), strict=True):
        service_name, name = names.operation(code)
        result.append(Load(service_name, name, float(np.expm1(window.mean[place])), float(np.expm1(found.usual[place])), its_z))
    return result
