"""Openings: which evidence of a step is more than the alert budget allows for chance, and is held.

A family's threshold is its reference, or higher where normal steps say so: with thousands of subjects tested every step the largest
of them is what a threshold has to pay for, so it is the tail of that maximum that is watched, and not any single subject.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.records import HOUR_NS, MINUTE_NS, Evidence, Family

#: Z from which a family may open. Flow, gap, self time and resource: measured on recorded failures (README, "Openings"); errors and
#: absence: 12 nats, a chance of 6e-6 by their own binomial and Poisson tails; the rest have no reference and are held to 6.
REFERENCE_Z: Mapping[Family, float] = {
    Family.FLOW: 3.5,
    Family.GAP: 4.0,
    Family.SELF_TIME: 4.0,
    Family.RESOURCE: 6.0,
    Family.ERROR: math.sqrt(24.0),
    Family.ABSENCE: math.sqrt(24.0),
    Family.METRIC: 4.0,
    Family.LEVEL: 4.0,
    Family.RATE: 6.0,
    Family.ROW: 6.0,
}
#: Families whose statistic is a count against chance: nothing is gained by seeing them twice.
AT_ONCE = frozenset({Family.ERROR, Family.ABSENCE})
#: Families that never open alone: a second family of the service has to agree.
NEVER_ALONE = frozenset({Family.ROW, Family.RATE})
#: Families whose silence is no missing data but quiet, and whose Z is against hundreds of rows of the series itself: their reference
#: stands as it is.
OWN_BUDGET = frozenset({Family.METRIC})
#: A gauge alone harms nobody: these open with a symptom (Z >= 2, of a family of SYMPTOMS) at the service, or when they last 5 minutes.
NEEDS_SYMPTOM = frozenset({Family.RESOURCE})
SYMPTOMS = frozenset({Family.FLOW, Family.GAP, Family.SELF_TIME, Family.ERROR, Family.METRIC, Family.LEVEL})
SYMPTOM_Z = 2.0
LASTING_STEPS = 30
#: Families where only an increase is bad.
UP_IS_BAD = frozenset({Family.GAP, Family.SELF_TIME, Family.RESOURCE, Family.ERROR})
#: Families that read one kind of telemetry: where one of them speaks, silence of the others says that all is usual.
TOGETHER = frozenset({Family.FLOW, Family.GAP, Family.SELF_TIME, Family.ERROR, Family.RATE})
#: Least change, as a share of what was expected, that anyone would call a change; for the families that compare two like quantities.
MINIMUM_SHARE = 0.1
COMPARED = frozenset({Family.GAP, Family.SELF_TIME, Family.RESOURCE})

HOLD_STEPS = 3  # a subject that departs in two of this many steps is held
TAIL_LOW, TAIL_HIGH = 0.9, 0.99
TAIL_LEAST = 120  # block maxima before a tail may raise a threshold
TAIL_MOST = 2880  # two days of minutes
TAIL_RAISES = 1.25  # times the reference, at most: a tail that wants more belongs to a broken family, not to a threshold
YOUNG = 2.0  # minutes: a family that could speak for n of them needs 1 + 2/n times the Z, as Student's t does with few degrees of freedom


class Tail:
    """Maximum over all subjects in each of the last normal minutes, and the level that the next ones exceed once a budget.

    The tail of such maxima is taken as exponential in nats (a maximum of Z has a Gumbel tail in Z^2 / 2; Coles 2001, section 3). Its
    slope is read between the 90 % and the 99 % point, below the worst, which may be faults that nobody noticed:

        level(budget) = q(.99) + (q(.99) - q(.9)) / ln 10 * ln(.01 * budget / block)

    >>> tail = Tail()
    >>> for minute in range(1001):
    ...     tail.take(1.0 + minute / 1000)
    >>> round(tail.level(HOUR_NS), 2)
    1.99
    """

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def take(self, nats: float) -> None:
        """Add the maximum of one normal minute."""
        self._order.append(nats)
        insort(self._sorted, nats)
        if len(self._order) > TAIL_MOST:
            self._sorted.remove(self._order.popleft())

    def level(self, budget_ns: int) -> float:
        """Nats that normal blocks exceed about once in `budget_ns`; 0 while there are too few of them."""
        count = len(self._sorted)
        if count < TAIL_LEAST:
            return 0.0
        base, lower = self._sorted[int(TAIL_HIGH * count)], self._sorted[int(TAIL_LOW * count)]
        slope = (base - lower) / math.log((1 - TAIL_LOW) / (1 - TAIL_HIGH))
        return base + slope * math.log(max(1.0, (1 - TAIL_HIGH) * budget_ns / MINUTE_NS))

    def state(self) -> list[float]:
        """Block maxima, oldest first."""
        return list(self._order)

    def restore(self, state: Sequence[float]) -> None:
        """Take the maxima of an earlier `state`."""
        self._order = deque(state)
        self._sorted = sorted(state)


class Departure(NamedTuple):
    """Evidence beyond its threshold. `held` says why it may open an incident; "" when it may not yet."""

    evidence: Evidence
    ratio: float  # z / threshold, at least 1
    held: str


def is_bad(item: Evidence) -> bool:
    """True if the deviation has the bad direction and a size that matters; quantities that are not finite are let through.

    >>> gap = Evidence(Family.GAP, "cart", "cart calls db", 0, 1, 9.0, 10.5, 10.0, 50, "ms", "")
    >>> is_bad(gap)  # half a millisecond on ten
    False
    """
    if not (math.isfinite(item.observed) and math.isfinite(item.expected)):
        return True
    if item.family in UP_IS_BAD and item.observed < item.expected:
        return False
    return item.family not in COMPARED or abs(item.observed - item.expected) >= MINIMUM_SHARE * abs(item.expected)


class Detector:
    """Departures of each step; keeps the normal maxima and, for the hold, who departed in the last steps."""

    def __init__(self, *, budget_ns: int = 24 * HOUR_NS) -> None:
        self.budget_ns = budget_ns
        self._tails: dict[Family, Tail] = {family: Tail() for family in Family}
        self._waiting: dict[int, dict[Family, float]] = {}  # maxima by minute, until it is known whether an incident covers it
        self._recent: deque[set[tuple[Family, str, str]]] = deque(maxlen=HOLD_STEPS)
        self._lasting: dict[tuple[Family, str, str], int] = {}  # steps in a row
        self._minutes: Counter[Family] = Counter()  # in which the family, or one that reads the same, said anything
        self._last_minute: dict[Family, int] = {}

    def threshold(self, family: Family) -> float:
        """Z from which the family departs: its reference, or what the budget asks for (at most 1.25 references), more while it is young."""
        reference = REFERENCE_Z[family]
        if family in OWN_BUDGET:
            return reference
        budget = math.sqrt(2 * self._tails[family].level(self.budget_ns))
        young = 1.0 if family in AT_ONCE else 1 + YOUNG / max(1, self._minutes[family])
        return min(max(reference, budget), TAIL_RAISES * reference) * young

    def step(self, evidence: Sequence[Evidence], now_ns: int) -> list[Departure]:
        """Departures of one step, strongest first; its maxima wait for `learn`."""
        largest = self._waiting.setdefault(now_ns // MINUTE_NS, {})
        beyond: list[tuple[float, Evidence]] = []
        thresholds = {family: self.threshold(family) for family in Family}
        for item in evidence:
            if not item.for_opening or not is_bad(item):
                continue
            if item.score_nats > 0:  # a family without data says nothing of its tail
                largest[item.family] = max(largest.get(item.family, 0.0), item.score_nats)
            if item.z >= thresholds[item.family]:
                beyond.append((item.z / thresholds[item.family], item))
        self._grow_older({item.family for item in evidence}, now_ns // MINUTE_NS)
        seen = {(item.family, item.service, item.subject) for _, item in beyond}
        self._lasting = {key: self._lasting.get(key, 0) + 1 for key in seen}
        symptoms = {place for item in evidence if item.family in SYMPTOMS and item.z >= SYMPTOM_Z for place in (item.service, item.peer)}
        departures = [Departure(item, ratio, self._held(item, seen, symptoms)) for ratio, item in beyond]
        self._recent.append(seen)
        return sorted(departures, key=lambda one: (-one.ratio, one.evidence.service, one.evidence.subject))

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Take the maxima of the minutes that ended by `until_ns`, less those that touch an abnormal span (ns).

        What led to an incident, and what faded after it, is no chance: learnt, it would hide the next fault.
        """
        for minute in [minute for minute in self._waiting if (minute + 1) * MINUTE_NS <= until_ns]:
            maxima = self._waiting.pop(minute)
            if not any(start < (minute + 1) * MINUTE_NS and end >= minute * MINUTE_NS for start, end in abnormal):
                for family, nats in maxima.items():
                    self._tails[family].take(nats)

    def _grow_older(self, speaking: set[Family], minute: int) -> None:
        """Count a minute for every family that has data: a quiet system is not one that was never seen."""
        for family in speaking | (TOGETHER if speaking & TOGETHER else frozenset()):
            if self._last_minute.get(family) != minute:
                self._last_minute[family] = minute
                self._minutes[family] += 1

    def _held(self, item: Evidence, seen: set[tuple[Family, str, str]], symptoms: set[str]) -> str:
        if item.family in NEEDS_SYMPTOM and item.service not in symptoms:
            return "lasts" if self._lasting[item.family, item.service, item.subject] >= LASTING_STEPS else ""
        others = {family for family, service, _ in seen if service == item.service and family != item.family}
        if others - NEVER_ALONE:
            return "another family agrees"
        if item.family in NEVER_ALONE:
            return ""
        if item.family in AT_ONCE:
            return "counted against chance"
        if sum(family == item.family and service == item.service for family, service, _ in seen) > 1:
            return "another series agrees"
        if any((item.family, item.service, item.subject) in step for step in self._recent):
            return "recurred"
        return ""

    def state(self) -> dict[str, Any]:
        """Normal maxima and minutes seen, by family, and who departed lately."""
        families = {family.value: {"maxima": tail.state(), "minutes": self._minutes[family]} for family, tail in self._tails.items()}
        lasting = [[*key, steps] for key, steps in sorted(self._lasting.items())]
        waiting = [[minute, {family.value: nats for family, nats in maxima.items()}] for minute, maxima in self._waiting.items()]
        recent = [sorted(map(list, step)) for step in self._recent]
        return {"families": families, "recent": recent, "lasting": lasting, "waiting": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state`; families that it lacks start empty."""
        for family, tail in self._tails.items():
            of_family = state["families"].get(family.value, {})
            tail.restore(of_family.get("maxima", ()))
            self._minutes[family] = of_family.get("minutes", 0)
        self._waiting = {minute: {Family(family): nats for family, nats in maxima.items()} for minute, maxima in state.get("waiting", ())}
        steps = ({(Family(family), service, subject) for family, service, subject in step} for step in state["recent"])
        self._recent = deque(steps, maxlen=HOLD_STEPS)
        self._lasting = {(Family(family), service, subject): count for family, service, subject, count in state["lasting"]}
