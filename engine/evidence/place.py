"""Where inside a service a deviation shows: in one of its instances, or in one zone, and not in the others.

Per instance of a service, over its spans of the window: n, mean m and variance v of what its values exceed their usual by (self times;
call gaps, by the instance that is called), and likewise of failures (0 or 1). The loudest instance is the only one that shows it if

    m >= .35 (failures: .05), the others together have m' <= .3 m, and (m - m') / sqrt(v / n + v' / n') >= 3, n and n' >= 5

Zones are judged in the same way, by the zone of the instance. A service that runs in a single zone of several is in that zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.evidence.latency import Latency
from engine.evidence.names import Names
from engine.records import F64, I32, I64, Evidence, Family
from engine.strings import Resources
from engine.windows import Part, View

LEAST_Z: Final = 3.0  # of evidence, from which it is asked where it shows
LEAST_N: Final = 5
LEAST_SHIFT: Final = 0.35  # of a logarithm, as in `engine.normal.levels`
LEAST_FAILURES: Final = 0.05
ELSEWHERE: Final = 0.3  # share of the shift that the others may show
CERTAIN: Final = 3.0
LEAST_VARIANCE: Final = 1e-4
TOLD: Final = frozenset({Family.GAP, Family.SELF_TIME, Family.ERROR, Family.FLOW})  # by spans


def placed(view: View, shifts: Latency, found: Sequence[Evidence], resources: Resources, names: Names) -> list[Evidence]:
    """`found`, with instance and zone where a piece of Z >= 3 shows in one of several only."""
    if not any(_asked(piece) for piece in found):
        return list(found)
    several = len({resources[code].zone for part in view.parts for code in _distinct(part.spans.resource[part.now])} - {""}) > 1
    code_of = {names.service(code): code for part in view.parts for code in part.sums.services.code.tolist()}
    memo: dict[tuple[int, Family], tuple[str, str]] = {}
    pieces = []
    for piece in found:
        service = code_of.get(piece.service)
        if service is None or not _asked(piece):
            pieces.append(piece)
            continue
        key = service, piece.family
        if key not in memo:
            memo[key] = _where(view, shifts, service, piece.family, resources, several)
        instance, zone = memo[key]
        pieces.append(replace(piece, instance=instance, zone=zone))
    return pieces


def _asked(piece: Evidence) -> bool:
    """Whether it matters where a piece shows."""
    return piece.z >= LEAST_Z and piece.family in TOLD and piece.signal != "logs"


def _where(view: View, shifts: Latency, service: int, family: Family, resources: Resources, several: bool) -> tuple[str, str]:
    """Instance and zone that alone show it; "" where several do, or it cannot be told."""
    rows = [np.flatnonzero(part.now & (part.spans.service == service)) for part in view.parts]
    codes = np.concatenate([part.spans.resource[mine] for part, mine in zip(view.parts, rows, strict=True)])
    if family is Family.FLOW:  # of all instances: one that behaves differently is told by its zone alone
        at, value, least = codes.astype(np.int64), np.zeros(len(codes)), np.inf
    elif family is Family.ERROR:
        failed = np.concatenate([part.spans.failed[mine] for part, mine in zip(view.parts, rows, strict=True)])
        at, value, least = codes.astype(np.int64), failed.astype(np.float64), LEAST_FAILURES
    else:
        excess = [_excess(part, shifts, service, family) for part in view.parts]
        at, value = np.concatenate([each[0] for each in excess]), np.concatenate([each[1] for each in excess])
        least = LEAST_SHIFT
    senders = np.unique(codes)
    instance_of = np.array([resources[code].pod or resources[code].instance or resources[code].container for code in senders.tolist()])
    zone_of = np.array([resources[code].zone for code in senders.tolist()])
    if not len(senders):
        return "", ""
    place = np.minimum(np.searchsorted(senders, at), len(senders) - 1)
    instance = only(instance_of, place, value, least)
    zones = np.unique(zone_of)
    zone = (str(zones[0]) if several else "") if len(zones) == 1 else only(zone_of, place, value, least)
    return instance, zone


def _excess(part: Part, shifts: Latency, service: int, family: Family) -> tuple[I64, F64]:
    """Resource code and ln(time / usual) of the service's self times, or of the calls into it, in a part of the view."""
    spans = part.spans
    keys = shifts.selfs if family is Family.SELF_TIME else shifts.edges
    mine = (keys.caller if family is Family.SELF_TIME else keys.callee) == service
    known, usual = keys.key[mine], keys.usual[mine]
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0)
    rows = np.flatnonzero(part.now[spans.value_span])
    place = np.minimum(np.searchsorted(known, spans.value_key[rows]), len(known) - 1)
    hit = known[place] == spans.value_key[rows]
    rows, place = rows[hit], place[hit]
    owner = spans.value_span[rows].astype(np.int64)
    if family is Family.GAP:  # the value belongs to the calling span; its instance is that of the child it called
        server = np.full(len(spans), -1, np.int64)
        child = np.flatnonzero(spans.entry & (spans.parent >= 0) & (spans.service == service))
        server[spans.parent[child]] = child
        owner = server[owner]
        rows, place, owner = rows[owner >= 0], place[owner >= 0], owner[owner >= 0]
    return spans.resource[owner].astype(np.int64), spans.value[rows] - usual[place]


def only(name: np.ndarray[tuple[int], np.dtype[np.str_]], sender: npt.NDArray[np.intp], value: F64, least: float) -> str:
    """The name that alone shows high values (module's rule); "" if there are fewer than two names, or it cannot be told.

    Args: name [s] of each sender; sender, value [n].
    >>> two, sender, noise = np.array(["a", "b"]), np.repeat([0, 1], 9), np.tile([-.1, 0, .1], 6)
    >>> only(two, sender, np.r_[np.full(9, 1.1), np.zeros(9)] + noise, 0.35), only(two, sender, np.full(18, 1.1), 0.35)
    ('a', '')
    """
    names, number = np.unique(name, return_inverse=True)
    at = number.reshape(-1).take(sender)
    count = np.bincount(at, minlength=len(names)).astype(np.float64)
    if np.count_nonzero(count) < 2 or "" in names[count > 0]:
        return ""
    total, square = np.bincount(at, weights=value, minlength=len(names)), np.bincount(at, weights=value**2, minlength=len(names))
    best = int(np.argmax(np.where(count >= LEAST_N, total / np.maximum(count, 1), -np.inf)))
    n, rest = count[best], count.sum() - count[best]
    if n < LEAST_N or rest < LEAST_N:
        return ""
    mean, other = total[best] / n, (total.sum() - total[best]) / rest
    own_variance = max(square[best] / n - mean**2, LEAST_VARIANCE)
    other_variance = max((square.sum() - square[best]) / rest - other**2, LEAST_VARIANCE)
    certain = mean - other >= CERTAIN * np.sqrt(own_variance / n + other_variance / rest)
    return str(names[best]) if mean >= least and other <= ELSEWHERE * mean and certain else ""


def _distinct(codes: I32) -> list[int]:
    """The codes that occur, ascending."""
    return np.flatnonzero(np.bincount(codes)).tolist()
