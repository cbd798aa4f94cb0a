"""What users feel: requests from outside that take longer than usual, and which deviations lie on their way.

shift = mean ln(1 + ms) of root spans of an operation, less usual (`engine.normal.levels`);  felt where shift / sqrt(variance) >= 1,
which is a factor of 1.4 and more where there is history
Z     = shift / sqrt(variance) * (1 - .9 clip((z - 1) / 4, 0, 1)), z the loudest evidence on the way: it explains a total
            that it is part of
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.evidence.latency import example
from engine.evidence.names import NOTABLE_Z, Names, loudest, milliseconds
from engine.normal.levels import Levels, Values
from engine.records import I64, Evidence, Family
from engine.take.joined import KIND_SHIFT
from engine.windows import ROOT, Codes, View

LEAST = 1.0
EXPLAINED = 0.9


def felt(view: View, levels: Levels, codes: Codes, names: Names, found: Sequence[Evidence]) -> list[Evidence]:
    """`found` with what users feel marked, and evidence of the requests from outside that are slow: for ranking, never to open.

    Marked are pieces of at least Z = 2 about services whose spans are in traces of such requests.
    """
    spans, rows = view.all, view.values
    rows = rows[codes.values.keys[spans.value_key[rows]] >> KIND_SHIFT == ROOT]
    window = Values.of(spans.value_key[rows], spans.value[rows].astype(np.float64))
    shifts = levels.shift(window)
    z = shifts.shift / np.sqrt(shifts.variance)
    slow = np.flatnonzero(np.nan_to_num(z) >= LEAST)
    if not len(slow):
        return list(found)
    services: set[str] = set()
    pieces = []
    for place in slow.tolist():
        key = int(window.key[place])
        on_way = _on_way(view, rows, key, names)
        services |= on_way
        deeper = max((piece.z for piece in found if piece.service in on_way and piece.for_opening), default=0.0)
        service, name = names.operation(int(codes.values.keys[key]) & ((1 << KIND_SHIFT) - 1))
        usual, now = float(shifts.usual[place]), float(shifts.usual[place] + shifts.shift[place])
        count = int(window.count[place])
        pieces.append(
            Evidence(
                Family.GAP,
                service,
                f"requests for {name}",
                view.start_ns,
                view.end_ns,
                float(z[place]) * (1 - EXPLAINED * min(1.0, max(0.0, (deeper - 1) / 4))),
                float(np.expm1(now)),
                float(np.expm1(usual)),
                count,
                "ms",
                f"{count} requests for {name} took {milliseconds(now)} in all, usually {milliseconds(usual)}",
                example(view, key),
                for_opening=False,
                user_visible=True,
            )
        )
    marked = [replace(each, user_visible=True) if each.service in services and each.z >= NOTABLE_Z else each for each in found]
    return [*marked, *loudest(pieces)]


def _on_way(view: View, rows: I64, key: int, names: Names) -> set[str]:
    """Services with spans in the traces of the values with this key."""
    spans = view.all
    traces = np.unique(spans.trace[spans.value_span[rows[spans.value_key[rows] == key]]])
    codes = np.unique(spans.service[view.now & np.isin(spans.trace, traces)])
    return {names.service(code) for code in codes.tolist()}
