"""Which signs belong together: near in time, and linked by calls or by a trace.

The published examples group whatever falls within five minutes of the group's first sign; that joins strangers, and cuts a long
incident in two. Here the gap slides, a group has a longest life, and a link is asked for. Groups of one are groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from engine.records import MINUTE_NS, TopologyEdge

GAP_NS = 5 * MINUTE_NS
LIFE_NS = 60 * MINUTE_NS
REACH = 3  # calls that a fault may travel and still be linked directly; further only through services that show signs, too


class Sign(NamedTuple):
    """One anomaly or change, for grouping."""

    time_ns: int
    service: str
    source: str = ""  # traces, logs, metrics, config
    trace_id: str = ""
    id: str = ""


class Links:
    """Who may infect whom: services within `REACH` calls of each other along one direction."""

    def __init__(self, edges: Sequence[TopologyEdge]) -> None:
        self._edges = edges
        self._below: dict[str, frozenset[str]] = {}

    @cached_property
    def _callees(self) -> dict[str, set[str]]:  # most windows are calm, and nobody asks
        callees: dict[str, set[str]] = defaultdict(set)
        for edge in self._edges:
            if edge.caller != edge.callee:
                callees[edge.caller].add(edge.callee)
        return callees

    def below(self, service: str) -> frozenset[str]:
        """Services that `service` calls, directly or through at most `REACH` - 1 others."""
        known = self._below.get(service)
        if known is None:
            seen: set[str] = set()
            layer = {service}
            for _ in range(REACH):
                layer = {callee for caller in layer for callee in self._callees.get(caller, ())} - seen
                seen |= layer
            known = self._below[service] = frozenset(seen - {service})
        return known

    def linked(self, first: str, second: str) -> bool:
        """True for the same service, and where one calls the other within reach."""
        return first == second or second in self.below(first) or first in self.below(second)


def components(services: Iterable[str], links: Links, traces: Mapping[str, frozenset[str]]) -> list[frozenset[str]]:
    """Services in sets that are linked by calls or by a common trace, each set connected; in order of their first service.

    >>> from engine.records import PeerKind
    >>> edge = TopologyEdge("web", "cart", PeerKind.SERVICE, 1.0, 0.0, 0.1)
    >>> [sorted(part) for part in components(["cart", "mail", "web"], Links([edge]), {})]
    [['cart', 'web'], ['mail']]
    """
    left = sorted(set(services))
    parts: list[frozenset[str]] = []
    none: frozenset[str] = frozenset()
    while left:
        part, queue = {left[0]}, [left.pop(0)]
        while queue:
            one = queue.pop()
            near = [other for other in left if links.linked(one, other) or traces.get(one, none) & traces.get(other, none)]
            part.update(near)
            queue.extend(near)
            left = [other for other in left if other not in part]
        parts.append(frozenset(part))
    return parts


def correlate(signs: Sequence[Sign], links: Links, gap_ns: int = GAP_NS, life_ns: int = LIFE_NS) -> list[list[Sign]]:
    """Groups of signs, in order of their first one.

    A sign joins the latest group whose last sign is at most `gap_ns` before it, whose first one at most `life_ns`, and one member of
    which is linked to it by calls or has the same trace; else it starts a group.

    Raises: ValueError if a duration is not positive.
    """
    if gap_ns <= 0 or life_ns <= 0:
        raise ValueError(f"gap and life must be positive, however: {gap_ns=}, {life_ns=}")
    groups: list[list[Sign]] = []
    for sign in sorted(signs):
        home = next((group for group in reversed(groups) if _belongs(sign, group, links, gap_ns, life_ns)), None)
        if home is None:
            groups.append([sign])
        else:
            home.append(sign)
    return groups


def _belongs(sign: Sign, group: Sequence[Sign], links: Links, gap_ns: int, life_ns: int) -> bool:
    if sign.time_ns - group[-1].time_ns > gap_ns or sign.time_ns - group[0].time_ns > life_ns:
        return False
    return any(links.linked(sign.service, one.service) or (sign.trace_id and sign.trace_id == one.trace_id) for one in group)
