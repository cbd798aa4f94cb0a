"""What users feel: requests from outside that take longer than usual, which deviations lie on their way, and which failures come to them.

shift = mean ln(1 + ms) of root spans of an operation, less usual (`engine.normal.levels`);  felt where shift / sqrt(variance) >= 1,
which is a factor of 1.4 and more where there is history
Z     = shift / sqrt(variance) * (1 - .9 clip((z - 1) / 4, 0, 1)), z the loudest evidence on the way: it explains a total
            that it is part of

Operations of entries are coarse where one route takes all requests. So the requests that pass a slow service are looked at, too:

factor = exp mean ln(T / (T - e)) over them; T time of the request, e what its spans of that service and calls into it or out of it took
         more than usual;  felt from 1.4 on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.evidence.names import NOTABLE_Z, Names, loudest, milliseconds
from engine.normal.levels import Shift
from engine.records import F64, I64, Bool, Evidence, Family
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT
from engine.windows import EDGE, ROOT, SELF, Codes, Part, Spans, View

LEAST = 1.0
EXPLAINED = 0.9
FACTOR = 1.4
FEW = 3  # requests: fewer are an accident
TIMES = frozenset({Family.GAP, Family.SELF_TIME})
LEFT = 0.01  # of a request's time, at least, is not in excess: one that took a minute for nothing weighs no more than ln 100
SERVICE = (1 << SERVICE_SHIFT) - 1


def felt(view: View, shifts: Shift, codes: Codes, names: Names, found: Sequence[Evidence]) -> list[Evidence]:
    """`found` with what users feel marked, and evidence of the requests from outside that are slow: for ranking, never to open.

    Marked are pieces of at least Z = 2 about services whose spans are in traces of such requests, and times of services that make the
    requests which pass them slow. `shifts`: of the view's values.
    """
    window = view.values
    every = np.nan_to_num(shifts.shift / np.sqrt(shifts.variance))
    slowing = {names.service(code) for code in _slowing(view, shifts, codes, window.key, every)}
    found = [replace(each, user_visible=True) if each.family in TIMES and each.service in slowing else each for each in found]
    z = np.where(codes.values.keys[window.key] >> KIND_SHIFT == ROOT, every, 0.0)
    slow = np.flatnonzero(z >= LEAST)
    if not len(slow):
        return found
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


def _slowing(view: View, shifts: Shift, codes: Codes, keys: I64, z: F64) -> set[int]:
    """Services without whose excess the requests that pass them would have been shorter by `FACTOR`."""
    kind, payload = codes.values.keys[keys] >> KIND_SHIFT, codes.values.keys[keys] & ((1 << KIND_SHIFT) - 1)
    slow = (z >= NOTABLE_Z) & np.isin(kind, [EDGE, SELF])
    if not slow.any():
        return set()
    usual = np.full(len(codes.values.keys), np.nan)
    usual[keys[slow]] = np.expm1(shifts.usual[slow])
    of: dict[int, list[int]] = {}
    for key, what, load in zip(keys[slow].tolist(), kind[slow].tolist(), payload[slow].tolist(), strict=True):
        ends = (load >> SERVICE_SHIFT, load & SERVICE) if what == EDGE else (int(codes.operations.keys[load]) >> SERVICE_SHIFT,)
        for service in ends:
            of.setdefault(service, []).append(key)
    found = set()
    for service, mine in of.items():
        wanted = np.zeros(len(usual), bool)
        wanted[mine] = True
        logs = np.concatenate([_shares_of_requests(part, wanted, usual, codes) for part in view.parts])
        if len(logs) >= FEW and logs.mean() >= np.log(FACTOR):
            found.add(service)
    return found


def _shares_of_requests(part: Part, wanted: Bool, usual: F64, codes: Codes) -> F64:
    """ln(T / (T - e)) of each request from outside with a value of a wanted key; what ends after the request is no part of it."""
    spans = part.spans
    trace, milliseconds_of = spans.trace[spans.value_span], np.expm1(spans.value.astype(np.float64))
    whole = np.flatnonzero(codes.values.keys[spans.value_key] >> KIND_SHIFT == ROOT)
    total, ends = np.zeros(len(spans.trace_hi)), np.zeros(len(spans.trace_hi), np.int64)
    total[trace[whole]], ends[trace[whole]] = milliseconds_of[whole], spans.time_ns[spans.value_span[whole]]
    rows = np.flatnonzero(wanted[spans.value_key] & part.now[spans.value_span])
    rows = rows[spans.time_ns[spans.value_span[rows]] <= ends[trace[rows]]]
    more = np.bincount(trace[rows], weights=milliseconds_of[rows] - usual[spans.value_key[rows]], minlength=len(total))
    passed = np.flatnonzero((np.bincount(trace[rows], minlength=len(total)) > 0) & (total > 0))
    logs: F64 = -np.log(np.clip(1 - more[passed] / total[passed], LEFT, 1.0))
    return logs


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
