"""A live incident between steps, and the judgements on it that need no more than its values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from engine.judge.correlate import Links
from engine.judge.detect import AT_ONCE, Departure
from engine.judge.plain import from_plain, to_plain
from engine.judge.words import AFFECTED_Z, clock
from engine.records import SECOND_NS, Attribution, Evidence, Family, Finding, Incident, IncidentState, Severity

CRITICAL_RATIO = 3.0  # a user-visible time this many times the usual is critical
CRITICAL_Z = 4.9  # 12 nats of user-visible failures are critical
TOGETHER_NS = 120 * SECOND_NS  # incidents that began within this and have one root are one
PAGE_AFTER_NS = 30 * SECOND_NS
#: Thresholds from which a row of a slow series counts for a page. Its Z is against some hundred rows, and neighbours are alike: of normal
#: ones two in a row reach 1.3.
PAGE_RATIO = 1.5
#: Families that are computed anew only when a row of their series comes.
SLOW = frozenset({Family.METRIC})
TIMES = frozenset({Family.GAP, Family.SELF_TIME, Family.METRIC, Family.LEVEL})

#: The finding of an incident before it was concluded for the first time.
NOTHING = Finding(0, 0, 0, (), 0.0, "inconclusive", "unknown", (), (), Attribution("inconclusive", (), 0.0))


@dataclass(slots=True)
class Live:
    """An incident that is not resolved, or may be reopened."""

    incident: Incident
    places: set[str]  # services it may be about
    members: set[str]  # services that departed with it
    peak: float  # largest z / threshold at its places
    span_end_ns: int  # last step that still shows the fault at strength
    departed_ns: int  # last step that departed
    began_ns: int  # opened, reopened or moved
    concluded_ns: int
    concluded_for: tuple[str, ...] = ()  # leader and departing members when it was concluded
    strength: float = 0.0  # z / threshold at its places in this step
    streak: dict[str, int] = field(default_factory=dict)  # steps that another service led, by service
    accepted_ns: int = 0  # when people said that it was none, or it was adopted as the new level; 0: neither
    failed_ns: int = 0  # last step in which users saw errors of it
    carried: set[str] = field(default_factory=set)  # symptoms that began while it was strong, and have not been calm since
    seen_ns: tuple[int, int] = (0, 0)  # when its places departed first and last: of slow series by the row, else by the step


def opened(incident_id: str, environment: str, onset_ns: int, now_ns: int) -> Incident:
    """A new incident, not concluded yet."""
    return Incident(
        id=incident_id,
        state=IncidentState.OPEN,
        severity=Severity.INFO,
        environment=environment,
        opened_ns=now_ns,
        onset_ns=onset_ns,
        updated_ns=now_ns,
        published_ns=now_ns,
        finding=NOTHING,
    )


def live_plain(live: Live) -> dict[str, Any]:
    """Plain values of a live incident, for `state`."""
    return {**to_plain(live), "places": sorted(live.places), "members": sorted(live.members), "carried": sorted(live.carried)}


def live_of(plain: Mapping[str, Any]) -> Live:
    """The live incident that `live_plain` made."""
    made = {"incident", "places", "members", "concluded_for", "streak", "carried", "seen_ns"}
    known = {column.name for column in fields(Live)}
    rest = {key: value for key, value in plain.items() if key in known - made}
    return Live(
        incident=from_plain(Incident, plain["incident"]),
        places=set(plain["places"]),
        members=set(plain["members"]),
        concluded_for=tuple(plain["concluded_for"]),
        streak=dict(plain["streak"]),
        carried=set(plain.get("carried", ())),
        seen_ns=tuple(plain.get("seen_ns", (0, 0))),
        **rest,
    )


def entry(now_ns: int, text: str) -> str:
    """A line of an incident's history."""
    return f"{clock(now_ns)} {text}"


def signature(live: Live, loud: Mapping[str, float]) -> tuple[str, ...]:
    """Leader, then all of the incident's departing services in alphabetical order: if it changes, the answer may."""
    here = sorted(service for service in loud if service in live.members or service in live.places)
    return (max(here, key=lambda service: loud[service]), *here) if here else ()


def differs(before: Incident, after: Incident) -> bool:
    """True if cause, blamed change, class of confidence, severity, page or affected services changed."""

    def told(incident: Incident) -> tuple[object, ...]:
        finding = incident.finding
        change = finding.attribution.answer
        return finding.root, finding.cause_type, change, finding.verdict, incident.severity, incident.page, frozenset(finding.affected)

    return told(before) != told(after)


def same(earlier: Incident, later: Incident) -> bool:
    """True if `later` is `earlier` again: begun together, and one root."""
    if (earlier.opened_ns, earlier.id) >= (later.opened_ns, later.id) or not earlier.finding.root:
        return False
    return earlier.finding.root == later.finding.root and abs(earlier.onset_ns - later.onset_ns) <= TOGETHER_NS


def moment(departures: Sequence[Departure], places: set[str], now_ns: int) -> int:
    """When what departs at the places was seen: now, or the start of its row where slow series alone depart; 0 if nothing does.

    A row of five minutes stands for five minutes, however many steps look at it; one below `PAGE_RATIO` thresholds stands for nothing.
    """
    here = [one for one in departures if one.evidence.service in places]
    if any(one.evidence.family not in SLOW for one in here):
        return now_ns
    return max((one.evidence.start_ns for one in here if one.ratio >= PAGE_RATIO), default=0)


def lasts(live: Live, now_ns: int) -> bool:
    """True if the incident was seen for half a minute: in steps, or in a second row of a slow series."""
    first, last = live.seen_ns
    return now_ns - live.incident.onset_ns >= PAGE_AFTER_NS and last > first > 0


def traces_of(evidence: Sequence[Evidence]) -> dict[str, frozenset[str]]:
    """Example traces by service."""
    found: dict[str, set[str]] = defaultdict(set)
    for item in evidence:
        if item.trace_id:
            found[item.service].add(item.trace_id)
    return {service: frozenset(traces) for service, traces in found.items()}


def severity_of(evidence: Sequence[Evidence], places: set[str], links: Links) -> Severity:
    """From what users of linked services see: critical for failures and for three times the usual time, never from how odd a number is."""
    worst = Severity.INFO
    for item in evidence:
        if not item.user_visible or item.z < AFFECTED_Z or not any(links.linked(item.service, place) for place in places):
            continue
        slow = item.family in TIMES and math.isfinite(item.observed) and item.observed >= CRITICAL_RATIO * item.expected > 0
        if slow or (item.family in AT_ONCE and item.z >= CRITICAL_Z):
            return Severity.CRITICAL
        worst = Severity.WARNING
    return worst


def worth_a_page(finding: Finding, *, ready: bool, strict: bool) -> bool:
    """True if people have to know of something that users feel: a cause is likely, and its service is learnt or needs no learning.

    `strict`: a page was dismissed in the last day; then only confirmed findings and counted failures will do.
    """
    counted = any(item.family in AT_ONCE and item.z >= AFFECTED_Z for item in finding.evidence)
    return counted or (finding.verdict == "confirmed" if strict else ready and finding.verdict != "inconclusive")
