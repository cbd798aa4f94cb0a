"""The life of incidents: open, updated, resolved, reopened or merged, from the evidence of each step.

An incident is one onset. What departs in the same step and is linked to it by calls or traces is its symptom. What departs after its
own evidence has faded, led by another service, is a fault of its own: a new incident, whose history says what it was split from.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.judge.conclusion import HISTORY_MOST, Conclude, Conclusions, Step
from engine.judge.correlate import GAP_NS, Links, components
from engine.judge.detect import AT_ONCE, Departure, Detector, is_bad
from engine.judge.live import TOGETHER_NS, Live, differs, entry, live_of, live_plain, moment, opened, same, signature, traces_of
from engine.judge.plain import from_plain, to_plain
from engine.judge.rank import family_z, scores
from engine.judge.words import AFFECTED_Z
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, Evidence, Family, Finding, Incident, IncidentState, TopologyEdge
from engine.settings import EngineSettings

UPDATE_NS = 60 * SECOND_NS  # a live incident is concluded again this often
HURRY_NS = 20 * SECOND_NS  # or after this, when another service leads or the departing services changed
FADED = 0.5  # of its peak, below which an incident no longer explains new leaders
STRONG = 0.7  # of its peak, from which a step still shows the fault
FAILING = 0.5  # of a threshold of counted failures, from which an open incident goes on: fewer requests say less, and fail all the same
CALM = 0.4  # of a threshold: a service below it had not begun
ADOPT_NS = 4 * HOUR_NS  # without errors that users see, after which what lasts is taken for usual
MOVE_NS = 180 * SECOND_NS  # an incident this young moves to a linked service that is louder than it ever was
SPLIT_STEPS = 2  # steps that another service has to lead
RETRY_STEPS = 4  # more that it has to lead after it was found to be no incident
TRACK_STEPS = 30
LIVE_MOST = 50
DISMISSED = "dismissed"  # word of the history
REMEMBERED_MOST = 64  # resolved ones that are told of when people ask later


class Incidents:
    """All incidents of one engine. Memory is bounded: 50 live ones, 64 resolved, those of the last half hour, 5 minutes of tracks."""

    def __init__(self, settings: EngineSettings, *, environment: str = "") -> None:
        self.settings = settings
        self.detector = Detector(budget_ns=settings.alert_budget_ns)
        self.conclusions = Conclusions(self.detector, settings)
        self.environment = environment
        self.opened: Counter[str] = Counter()  # by state: open, reopened, merged, resolved
        self.dropped = 0  # openings over LIVE_MOST
        self._live: list[Live] = []
        self._past: list[Live] = []
        self._track: deque[tuple[int, dict[str, float]]] = deque(maxlen=TRACK_STEPS)
        self._told: deque[Incident] = deque(maxlen=REMEMBERED_MOST)

    def step(
        self,
        evidence: Sequence[Evidence],
        now_ns: int,
        conclude: Conclude,
        *,
        edges: Sequence[TopologyEdge] = (),
        learning: Mapping[str, float] | None = None,
    ) -> list[Incident]:
        """Transitions of one closed window, in the order they are to be published.

        Args: evidence of the sliding span that ends at `now_ns`; edges: the topology; learning: share learnt by service (1: ready).
        """
        departures = self.detector.step(evidence, now_ns)
        ratios = self._ratios(evidence)
        links, traces = Links(edges), traces_of(evidence)
        loud = scores(family_z([one.evidence for one in departures], edges))
        self._follow(ratios, departures, self._failing(evidence), now_ns)
        adopted = self._adopt(evidence, links, now_ns)
        news: list[Live] = []
        for part in components(loud, links, traces):
            leader = min(part, key=lambda service: (-loud[service], service))
            new = self._place(leader, part, departures, links, now_ns)
            if new:
                news.append(new)
        self._track.append((now_ns, ratios))
        published = adopted
        step = Step(now_ns, evidence, loud, links, learning)
        for live in news:
            incident = self.conclusions.conclude(live, live.incident.state, step, conclude)
            if incident.moved or not self._absorbed(live):
                self.opened["moved" if incident.moved else incident.state.value] += 1
                published.append(incident)
        for live in self._live:
            if live in news:
                continue
            live.incident = replace(live.incident, moved=False)
            if self._due(live, loud, now_ns):
                before = live.incident
                after = self.conclusions.conclude(live, IncidentState.UPDATED, step, conclude)
                if differs(before, after) or now_ns - before.published_ns >= UPDATE_NS:
                    published.append(after)
                else:
                    live.incident = before
        published += self._merge(now_ns) + self._resolve(now_ns)
        sees_ns = self.settings.sliding_ns  # for so long evidence still holds what was
        self.detector.learn(now_ns - self.settings.quarantine_ns, [(start, end + sees_ns) for start, end in self.abnormal()])
        return published

    def active(self) -> tuple[Incident, ...]:
        """Incidents that are not resolved, oldest first."""
        return tuple(sorted((live.incident for live in self._live), key=lambda incident: (incident.opened_ns, incident.id)))

    def surest(self, start_ns: int, end_ns: int) -> Finding | None:
        """The surest finding of an incident that was active between `start_ns` and `end_ns`; None if none was."""
        active = (live.incident for live in self._live)
        known = [one for one in (*active, *self._told) if one.onset_ns <= end_ns and (one.resolved_ns or end_ns) >= start_ns]
        return max((one.finding for one in known), key=lambda finding: finding.confidence, default=None)

    def abnormal(self) -> list[tuple[int, int]]:
        """Spans that must not be learned: from a minute before each onset to the last departure, or until it was accepted as usual."""
        return sorted((live.incident.onset_ns - MINUTE_NS, live.accepted_ns or live.departed_ns) for live in (*self._live, *self._past))

    def dismiss(self, incident_id: str, now_ns: int) -> Incident | None:
        """Close an incident that people say was none; None if it is not known. For a day, pages then ask for more."""
        for live in (*self._live, *self._past):
            if live.incident.id == incident_id:
                if live.incident.page:
                    self.conclusions.dismissed_ns.append(now_ns)
                live.accepted_ns = live.accepted_ns or now_ns
                return self._close(live, now_ns, DISMISSED) if live in self._live else live.incident
        return None

    def acknowledge(self, incident_id: str) -> Incident | None:
        """Mark an active incident as seen; None if it is not active."""
        for live in self._live:
            if live.incident.id == incident_id:
                live.incident = replace(live.incident, acknowledged=True)
                return live.incident
        return None

    # ------------------------------------------------------------ where evidence belongs

    def _ratios(self, evidence: Sequence[Evidence]) -> dict[str, float]:
        """Largest z / threshold by service, of evidence that may open."""
        thresholds = {family: self.detector.threshold(family) for family in Family}
        ratios: dict[str, float] = {}
        for item in evidence:
            if item.for_opening and is_bad(item):
                ratios[item.service] = max(ratios.get(item.service, 0.0), item.z / thresholds[item.family])
        return ratios

    def _failing(self, evidence: Sequence[Evidence]) -> set[str]:
        """Services with so much evidence of counted failures that what is open there is not over."""
        least = {family: FAILING * self.detector.threshold(family) for family in AT_ONCE}
        return {item.service for item in evidence if item.family in AT_ONCE and item.for_opening and item.z >= least[item.family]}

    def _follow(self, ratios: Mapping[str, float], departures: Sequence[Departure], failing: set[str], now_ns: int) -> None:
        """Strength and last departure of every incident. What was accepted as usual stays closed until it has been quiet."""
        departing = {one.evidence.service for one in departures}
        for live in self._past:
            if live.accepted_ns and live.places & departing and now_ns - live.departed_ns < self.settings.incident_quiet_ns:
                live.departed_ns = now_ns
        for live in self._live:
            live.strength = max((ratios.get(place, 0.0) for place in live.places), default=0.0)
            live.peak = max(live.peak, live.strength)
            live.carried = {service for service in live.carried if ratios.get(service, 0.0) >= CALM}
            if live.places & (departing | failing):
                live.departed_ns = now_ns
                seen_ns = moment(departures, live.places, now_ns)
                live.seen_ns = (live.seen_ns[0] or seen_ns, max(live.seen_ns[1], seen_ns))
                if live.strength >= STRONG * live.peak:
                    live.span_end_ns = now_ns

    def _place(self, leader: str, part: frozenset[str], departures: Sequence[Departure], links: Links, now_ns: int) -> Live | None:
        """Give a connected set of departing services to the incident it belongs to, or open one; the opened one, if so."""
        if any(live.accepted_ns and live.departed_ns == now_ns and leader in live.places for live in self._past):
            return None
        owners = [live for live in self._live if leader in live.places]
        if owners:
            owner = max(owners, key=lambda live: live.incident.opened_ns)
            owner.members |= part
            owner.streak.clear()
            return None
        near = [
            live for live in self._live if (live.places | live.members) & part or any(links.linked(leader, place) for place in live.places)
        ]
        onset_ns = self._onset(leader, now_ns)
        ratio = max((one.ratio for one in departures if one.evidence.service == leader), default=0.0)
        for live in near:
            faded = live.strength < max(1.0, FADED * live.peak)
            outdone = ratio > live.peak and now_ns - live.began_ns <= MOVE_NS
            if not faded and not outdone and onset_ns - live.departed_ns <= GAP_NS:
                live.members |= part
                live.carried |= part
                return None
            if leader in live.carried and ratio <= live.peak:  # what it caused may outlast its own signs
                live.members |= part
                live.departed_ns = now_ns
                return None
        held = [one for one in departures if one.evidence.service == leader and one.held]
        if not held:
            return None
        split_from = ""
        for live in near:
            live.streak[leader] = live.streak.get(leader, 0) + 1
            if live.streak[leader] < SPLIT_STEPS:
                return None
            if ratio > live.peak and now_ns - live.began_ns <= MOVE_NS:
                return self._move(live, leader, part, ratio, onset_ns, now_ns)
            split_from = live.incident.id
        new = self._open(leader, part, held[0].evidence, onset_ns, now_ns, split_from)
        if new is not None:
            new.seen_ns = (moment(departures, new.places, now_ns),) * 2
        return new

    def _move(self, live: Live, leader: str, part: frozenset[str], ratio: float, onset_ns: int, now_ns: int) -> Live:
        """A young incident turns out to be the harbinger of a louder one: it goes on as that one's."""
        live.places, live.peak, live.strength, live.streak = {leader}, ratio, ratio, {}
        live.members |= part
        live.span_end_ns = live.departed_ns = live.began_ns = now_ns
        live.seen_ns = now_ns, now_ns
        live.incident = replace(live.incident, state=IncidentState.UPDATED, onset_ns=onset_ns, moved=True)
        return live

    def _onset(self, service: str, now_ns: int) -> int:
        """End of the last step in which the service was calm; at most one sliding span back."""
        for time_ns, ratios in reversed(self._track):
            if now_ns - time_ns >= self.settings.sliding_ns:
                break
            if ratios.get(service, 0.0) < CALM:
                return time_ns
        return now_ns - self.settings.sliding_ns

    # ------------------------------------------------------------ transitions

    def _open(self, leader: str, part: frozenset[str], first: Evidence, onset_ns: int, now_ns: int, split_from: str) -> Live | None:
        known = next(
            (
                live
                for live in reversed(self._past)
                if leader in live.places and now_ns - live.departed_ns <= self.settings.incident_reopen_ns
            ),
            None,
        )
        if known is not None:
            self._past.remove(known)
            incident_id, before = known.incident.id, known.incident.history
        elif len(self._live) >= LIVE_MOST:
            self.dropped += 1
            return None
        else:
            name = f"{self.environment}\x1f{first.service}\x1f{first.family}\x1f{first.subject}\x1f{now_ns}"
            incident_id, before = hashlib.sha256(name.encode()).hexdigest()[:16], ()
        history = (*before, entry(now_ns, f"split from {split_from}")) if split_from else before
        fresh = opened(incident_id, self.environment, onset_ns, now_ns)
        if known is None:
            incident = replace(fresh, history=history)
        else:
            kept = known.incident
            incident = replace(
                fresh,
                state=IncidentState.REOPENED,
                severity=kept.severity,
                opened_ns=kept.opened_ns,
                acknowledged=kept.acknowledged,
                page=kept.page,
                history=history,
            )
        live = Live(incident, {leader}, set(part), 1.0, now_ns, now_ns, now_ns, now_ns)
        self._live.append(live)
        return live

    def _absorbed(self, new: Live) -> bool:
        """True if what seemed new has the cause of an incident that is still strong: then it was never an incident."""
        for live in self._live:
            if live is new or live.incident.finding.root != new.incident.finding.root:
                continue
            if live.strength >= max(1.0, FADED * live.peak) or abs(live.incident.onset_ns - new.incident.onset_ns) <= TOGETHER_NS:
                live.members |= new.members
                live.streak = dict.fromkeys(new.places, -RETRY_STEPS)
                self._live.remove(new)
                return True
        return False

    def _due(self, live: Live, loud: Mapping[str, float], now_ns: int) -> bool:
        if live.departed_ns != now_ns or live.span_end_ns <= live.incident.finding.end_ns:
            return False
        since_ns = now_ns - live.concluded_ns
        return since_ns >= UPDATE_NS or (since_ns >= HURRY_NS and signature(live, loud) != live.concluded_for)

    def _merge(self, now_ns: int) -> list[Incident]:
        """Incidents that began together and turn out to have one cause become the earliest of them."""
        merged = []
        for live in sorted(self._live, key=lambda one: (one.incident.opened_ns, one.incident.id), reverse=True):
            into = next((other for other in self._live if other is not live and same(other.incident, live.incident)), None)
            if into is not None:
                into.members |= live.members
                into.departed_ns = max(into.departed_ns, live.departed_ns)
                self._live.remove(live)
                self.opened[IncidentState.MERGED.value] += 1
                history = (*live.incident.history, entry(now_ns, f"merged into {into.incident.id}"))
                into.incident = replace(into.incident, history=(*into.incident.history, entry(now_ns, f"took in {live.incident.id}")))
                merged.append(
                    replace(
                        live.incident,
                        state=IncidentState.MERGED,
                        merged_into=into.incident.id,
                        updated_ns=now_ns,
                        published_ns=now_ns,
                        resolved_ns=now_ns,
                        history=history,
                    )
                )
        return merged

    def _adopt(self, evidence: Sequence[Evidence], links: Links, now_ns: int) -> list[Incident]:
        """Close what has lasted four hours in which users saw no errors of it: it is the new level, and is learnt from now on."""
        failing = {item.service for item in evidence if item.family in AT_ONCE and item.user_visible and item.z >= AFFECTED_Z}
        adopted = []
        for live in list(self._live):
            if any(links.linked(service, place) for service in failing for place in live.places):
                live.failed_ns = now_ns
            if now_ns - max(live.failed_ns, live.incident.onset_ns) >= ADOPT_NS:
                live.accepted_ns = now_ns
                adopted.append(self._close(live, now_ns, "adopted as the new level"))
        return adopted

    def _resolve(self, now_ns: int) -> list[Incident]:
        self._past = [live for live in self._past if now_ns - live.departed_ns <= self.settings.incident_reopen_ns]
        quiet = [live for live in self._live if live.departed_ns < now_ns and self._over(live, now_ns)]
        return [self._close(live, now_ns, "resolved") for live in quiet]

    def _over(self, live: Live, now_ns: int) -> bool:
        """Nothing departed for a minute, or its places were calm: then the whole sliding span shows next to nothing of it."""
        return live.strength < CALM or now_ns - live.departed_ns >= self.settings.incident_quiet_ns

    def _close(self, live: Live, now_ns: int, why: str) -> Incident:
        self._live.remove(live)
        self._past.append(live)
        self.opened[IncidentState.RESOLVED.value] += 1
        live.incident = replace(
            live.incident,
            state=IncidentState.RESOLVED,
            updated_ns=now_ns,
            published_ns=now_ns,
            resolved_ns=now_ns,
            history=(*live.incident.history, entry(now_ns, why))[-HISTORY_MOST:],
        )
        if why != DISMISSED:
            self._told.append(live.incident)
        return live.incident

    # ------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """Everything that the next step needs, as plain values."""
        return {
            "detector": self.detector.state(),
            "live": [live_plain(live) for live in self._live],
            "past": [live_plain(live) for live in self._past],
            "track": [[time_ns, ratios] for time_ns, ratios in self._track],
            "dismissed_ns": list(self.conclusions.dismissed_ns),
            "told": [to_plain(incident) for incident in self._told],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self.detector.restore(state["detector"])
        self._live = [live_of(plain) for plain in state["live"]]
        self._past = [live_of(plain) for plain in state["past"]]
        self._track = deque(((time_ns, dict(ratios)) for time_ns, ratios in state["track"]), maxlen=TRACK_STEPS)
        self.conclusions.dismissed_ns.extend(state["dismissed_ns"])
        self._told.extend(from_plain(Incident, plain) for plain in state.get("told", ()))
