"""What users feel: requests from outside that take longer than usual, which deviations lie on their way, and which failures come to them.

shift = mean ln(1 + ms) of root spans of an operation, less usual (`engine.normal.levels`);  felt where shift / sqrt(variance) >= 1,
which is a factor of 1.4 and more where there is history
Z     = shift / sqrt(variance) * (1 - .9 clip((z - 1) / 4, 0, 1)), z the loudest evidence on the way: it explains a total
            that it is part of
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.evidence.names import NOTABLE_Z, Names, loudest, milliseconds
from engine.normal.levels import Shift
from engine.records import I64, Bool, Evidence, Family
from engine.take.joined import KIND_SHIFT
from engine.windows import ROOT, Codes, Spans, View

LEAST = 1.0
EXPLAINED = 0.9


def felt(view: View, shifts: Shift, codes: Codes, names: Names, found: Sequence[Evidence]) -> list[Evidence]:
    """`found` with what users feel marked, and evidence of the requests from outside that are slow: for ranking, never to open.

    Marked are pieces of at least Z = 2 about services whose spans are in traces of such requests. `shifts`: of the view's values.
    """
    window = view.values
    z = np.where(codes.values.keys[window.key] >> KIND_SHIFT == ROOT, shifts.shift / np.sqrt(shifts.variance), 0.0)
    slow = np.flatnonzero(np.nan_to_num(z) >= LEAST)
    if not len(slow):
        return list(found)
    services: set[str] = set()
    pieces = []
    for place in slow.tolist():
        key = int(window.key[place])
        on_way = _on_way(view, key, names)
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
                view.longest(key),
                for_opening=False,
                user_visible=True,
            )
        )
    marked = [replace(each, user_visible=True) if each.service in services and each.z >= NOTABLE_Z else each for each in found]
    return [*marked, *loudest(pieces)]


def _on_way(view: View, key: int, names: Names) -> set[str]:
    """Services with spans in the traces of the values with this key."""
    services: set[int] = set()
    for part in view.parts:
        spans = part.spans
        rows = spans.value_span[spans.value_key == key]
        on_way = np.zeros(len(spans.trace_hi), bool)
        on_way[spans.trace[rows[part.now[rows]]]] = True
        services.update(np.flatnonzero(np.bincount(spans.service[part.now & on_way[spans.trace]])).tolist())
    return {names.service(code) for code in sorted(services)}


def comes_to_users(spans: Spans, rows: I64) -> Bool:
    """Which of some failed spans users feel: the failure goes up, caller by caller, to the service that answers a request from outside.

    What it answers then lacks what it asked for, with an error of its own or without one. A call that was made again and succeeded is not
    felt: of the calls of one operation in one span the last one counts. [rows]
    """
    top, above = rows, spans.parent[rows].astype(np.int64)
    while (goes := (above >= 0) & spans.failed[above]).any():
        top = np.where(goes, above, top)
        above = spans.parent[top].astype(np.int64)
    first, here = top, np.ones(len(top), bool)
    while ((above := spans.parent[first].astype(np.int64)) >= 0).any():
        first = np.where(above >= 0, above, first)
        here &= spans.service[first] == spans.service[top]
    here &= spans.root[first] & spans.entry[first]
    here[here] = ~_made_good(spans, top[here])
    return here


def _made_good(spans: Spans, rows: I64) -> Bool:
    """True for spans after which their parent did the same again without failing. [rows]"""
    asks = np.zeros(len(spans) + 1, bool)  # the last one: of spans without a parent
    asks[spans.parent[rows]] = True
    asks[-1] = False
    siblings = np.flatnonzero(asks[spans.parent])
    key = spans.parent.astype(np.int64) << 32 | (spans.operation.astype(np.int64) & 0xFFFFFFFF)
    siblings = siblings[np.lexsort((spans.time_ns[siblings], key[siblings]))]
    last = np.searchsorted(key[siblings], key[rows], side="right") - 1
    good = np.zeros(len(rows), bool)
    called = spans.parent[rows] >= 0
    good[called] = ~spans.failed[siblings[last[called]]]
    return good
