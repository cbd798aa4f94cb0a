"""Concluding a live incident: its span, the finding for it, how severe it is, and whether it is worth a page."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from engine.judge.correlate import Links
from engine.judge.detect import Detector
from engine.judge.live import Live, entry, lasts, severity_of, signature, worth_a_page
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, Evidence, Family, Finding, Incident, IncidentState, Severity
from engine.settings import EngineSettings

SPAN_LEAST_NS = 60 * SECOND_NS  # shorter spans hold too few requests to tell services apart
SPAN_NS = 10 * MINUTE_NS  # an incident is explained by its first ten minutes: later ones show what it spread to
PLACES = 3  # services an incident may be about
PLACE_PROBABILITY = 0.1
PLACE_NATS = 4.6  # ln 100: and not that much quieter than the first
HISTORY_MOST = 50
DAY_NS = 24 * HOUR_NS
DISMISSED_MOST = 100

RANK_OF = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Conclude(Protocol):
    """Explains a span of event time, as `Engine.explain`."""

    def __call__(self, start_ns: int, end_ns: int) -> Finding:
        """The finding for [start_ns, end_ns]."""
        ...


class Step(NamedTuple):
    """What one step knows."""

    now_ns: int
    evidence: Sequence[Evidence]  # of the sliding span
    loud: Mapping[str, float]  # score by departing service
    links: Links
    learning: Mapping[str, float] | None  # share learnt by service; None: all of it


def places(finding: Finding) -> set[str]:
    """Services that an incident may be about: causes of at least 10 %, and within 4.6 nats (Z^2 / 2) of the first."""
    least = finding.causes[0].score ** 2 / 2 - PLACE_NATS if finding.causes else 0.0
    likely = (cause for cause in finding.causes[:PLACES] if cause.probability >= PLACE_PROBABILITY)
    return {cause.service for cause in likely if cause.score**2 / 2 >= least}


def is_learnt(finding: Finding, learning: Mapping[str, float]) -> bool:
    """True if the root's usual behaviour is known; of a root that sends nothing itself, that of all who tell of it."""
    if finding.root in learning:
        return learning[finding.root] >= 1.0
    tellers = {item.peer for item in finding.evidence if item.service == finding.root and item.peer}
    return bool(tellers) and all(learning.get(teller, 0.0) >= 1.0 for teller in tellers)


class Conclusions:
    """Concludes incidents; remembers the pages that people dismissed in the last day."""

    def __init__(self, detector: Detector, settings: EngineSettings) -> None:
        self.dismissed_ns: deque[int] = deque(maxlen=DISMISSED_MOST)
        self._detector, self._settings = detector, settings

    def conclude(self, live: Live, state: IncidentState, step: Step, conclude: Conclude) -> Incident:
        """Explain the incident's span anew and keep the result as its latest value."""
        old, now_ns = live.incident, step.now_ns
        end_ns = min(live.span_end_ns, old.onset_ns + SPAN_NS)
        finding = conclude(min(old.onset_ns, end_ns - SPAN_LEAST_NS), end_ns)
        if self._ratio(finding) < 1.0:  # the onset is an estimate: the sliding span, which departed, may show it better
            sliding = conclude(now_ns - self._settings.sliding_ns, now_ns)
            finding = max(finding, sliding, key=self._ratio)
        live.concluded_ns = now_ns
        live.concluded_for = signature(live, step.loud)
        live.places |= places(finding)
        severity = max(old.severity, severity_of(step.evidence, live.places, step.links), key=RANK_OF.__getitem__)
        history = old.history
        if finding.root != old.finding.root or state is not IncidentState.UPDATED:
            history = (*history, entry(now_ns, f"{state.value}: {finding.root or 'no cause yet'} ({finding.confidence:.0%})"))
        live.incident = replace(
            old,
            state=state,
            severity=severity,
            updated_ns=now_ns,
            published_ns=now_ns,
            finding=finding,
            resolved_ns=None,
            page=old.page or (lasts(live, now_ns) and severity is not Severity.INFO and self._page(finding, step)),
            history=history[-HISTORY_MOST:],
        )
        return live.incident

    def _ratio(self, finding: Finding) -> float:
        """Largest z / threshold among the families of the first cause; 0 without one."""
        families = finding.causes[0].families if finding.causes else ()
        return max((z / self._detector.threshold(Family(family)) for family, z in families), default=0.0)

    def _page(self, finding: Finding, step: Step) -> bool:
        ready = step.learning is None or is_learnt(finding, step.learning)
        return worth_a_page(finding, ready=ready, strict=any(step.now_ns - dismissed_ns < DAY_NS for dismissed_ns in self.dismissed_ns))
