"""What the attribution of changes needs to know of an incident, as values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.evidence.metric import ExcessFlow
from engine.judge.attribution.onset import (
    FLOOD_RATIO,
    Departure,
    Sign,
    apart,
    departures,
    fills,
    flooded,
    root_weights,
    starved,
    walk,
)
from engine.judge.attribution.series import STARTS, VOLUME, arrivals
from engine.judge.attribution.symptoms import eases, symptoms_of
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, SEVERITY_ERROR, SEVERITY_WARN, Evidence, Family, PeerKind, TopologyEdge
from engine.take.points import SeriesStore
from engine.take.texts import TextCount, TextKind, Texts

BACK_NS: Final = 4 * HOUR_NS
USUAL_MOST: Final = 500
CALLERS_SAY: Final = 0.5
EVIDENCE_Z: Final = 4.0  # evidence from here on is a sign of its service


@dataclass(frozen=True, slots=True)
class ServiceView:
    """What is known of a service. Shares are 0 ... 1: of the excess where it could be measured (`own`, `flow`), else estimates."""

    service: str
    root: float  # how likely the incident began there, by the order of the signs
    own: float = 0.0
    flow: float = 0.0
    z: float = 0.0  # loudest evidence


@dataclass(frozen=True, slots=True)
class SymptomText:
    """A text of the incident: 1 is said by the root and never heard before."""

    service: str
    kind: TextKind
    text: str
    weight: float
    count: int
    usual: bool  # also said in normal times


@dataclass(frozen=True, slots=True)
class MetricStep:
    """A series that went from one level to another."""

    service: str
    metric: str
    old: float
    new: float
    time_ns: int


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """An incident, for `engine.judge.attribute.attribute`."""

    start_ns: int
    end_ns: int
    onset_earliest_ns: int  # the onset lies between this
    onset_ns: int  # and this
    symptom_ns: int  # the likeliest root shows latency, errors or saturation from here on
    symptoms: tuple[tuple[str, float], ...]  # kinds of symptom, 0 ... 1, strongest first: see attribution.symptoms
    services: tuple[ServiceView, ...]  # those that show something, most likely roots first
    measured: bool  # own and flow are measured (excess flow), not estimated
    edges: tuple[TopologyEdge, ...] = ()
    texts: tuple[SymptomText, ...] = ()
    steps: tuple[MetricStep, ...] = ()
    load_ratio: float = 1.0  # requests at an entry to usual ones, 1 where they rose by no more than noise
    load_service: str = ""
    outside_share: float = 0.0  # of the root's errors that name an outside host
    outside_host: str = ""
    apart: tuple[str, ...] = ()  # services that fell ill at once and have nothing to do with each other
    known_services: tuple[str, ...] = ()
    usual_texts: tuple[str, ...] = ()  # what services say in normal times, most frequent first

    def view(self, service: str) -> ServiceView:
        """What is known of a service; zeros where it shows nothing."""
        return next((view for view in self.services if view.service == service), ServiceView(service, 0.0))

    @property
    def root(self) -> str:
        """The most likely root, "" where nothing shows."""
        return self.services[0].service if self.services else ""


def build_context(
    evidence: Sequence[Evidence],
    flow: ExcessFlow | None,
    store: SeriesStore,
    texts: Texts,
    edges: Iterable[TopologyEdge],
    start_ns: int,
    end_ns: int,
) -> ChangeContext:
    """Context of what happened in [start, end]; the onset may lie before start. Changes nothing.

    Raises: ValueError if the span is empty.
    """
    if end_ns <= start_ns:
        raise ValueError(f"the span must not be empty, however: {start_ns=}, {end_ns=}")
    edges = tuple(sorted(edges))
    risen = departures(store, start_ns, end_ns, BACK_NS)
    heard = texts.counts(start_ns - BACK_NS, end_ns)
    involved = {key.service for key in store.keys if key.service} | {name for edge in edges for name in (edge.caller, edge.callee)}
    signs = _signs(evidence, risen, heard, involved, start_ns)
    onset_ns = walk(signs, start_ns, end_ns, [each for each in risen if fills(each)])
    earliest = min((each.before_ns for each in risen if each.time_ns == onset_ns), default=onset_ns)
    roots = root_weights(signs, edges, onset_ns, flooded(risen, edges) | starved(risen, signs))
    shares: Mapping[str, tuple[float, float]] = {}
    if flow is not None:
        shares = {name: (float(own), float(passed)) for name, own, passed in zip(flow.services, flow.own, flow.flow, strict=True)}
        earliest, onset_ns = flow.onset_start_ns, flow.onset_end_ns
    views = _views(evidence, roots, shares)
    root = views[0].service if views else ""
    during = texts.counts(min(onset_ns, start_ns) - MINUTE_NS, end_ns)
    before = {(each.service, each.kind, each.text): each.records for each in texts.counts(start_ns - BACK_NS, onset_ns - MINUTE_NS)}
    callers = {edge.caller for edge in edges if edge.callee == root and edge.caller != root}
    said = _symptom_texts(during, before, {view.service: view for view in views}, callers)
    load_ratio, load_service = _load(flow, risen, edges, root, onset_ns, texts.senders)
    outside_share, outside_host = _outside(during, root, texts.senders)
    here = [each for each in risen if each.time_ns >= onset_ns - MINUTE_NS]
    return ChangeContext(
        start_ns=start_ns,
        end_ns=end_ns,
        onset_earliest_ns=min(earliest, onset_ns),
        onset_ns=onset_ns,
        symptom_ns=_symptom_ns(here, root, onset_ns),
        symptoms=symptoms_of(here, said, {view.service: max(view.root, view.own) for view in views}, flow.symptom if flow else ""),
        services=views,
        measured=flow is not None,
        edges=edges,
        texts=said,
        steps=tuple(MetricStep(each.service, each.metric, each.old, each.new, each.time_ns) for each in risen),
        load_ratio=load_ratio,
        load_service=load_service,
        outside_share=outside_share,
        outside_host=outside_host,
        apart=apart(signs, edges, onset_ns),
        usual_texts=tuple(text for _, kind, text in sorted(before, key=lambda key: (-before[key], key)) if kind is TextKind.LOG)[
            :USUAL_MOST
        ],
        known_services=tuple(sorted(texts.senders - {""})),
    )


def _symptom_ns(risen: Sequence[Departure], root: str, onset_ns: int) -> int:
    times = [each.time_ns for each in risen if each.service == root and each.kind in ("errors", "latency", "saturation")]
    return max(onset_ns, min(times, default=onset_ns))


def _signs(
    evidence: Sequence[Evidence], risen: Sequence[Departure], heard: Sequence[TextCount], known: set[str], start_ns: int
) -> list[Sign]:
    signs = [Sign(each.time_ns, each.service, _kind(each), each.metric) for each in risen]
    for text in heard:
        new = text.level >= SEVERITY_WARN and text.kind in (TextKind.LOG, TextKind.EXCEPTION)
        failed = text.kind is TextKind.MESSAGE
        if (new or failed) and text.service in known and text.first_ever_ns > start_ns - BACK_NS + 10 * MINUTE_NS:
            signs.append(Sign(text.first_ever_ns, text.service, "errors" if text.level >= SEVERITY_ERROR else "latency", text.text[:80]))
    for item in evidence:
        if item.z >= EVIDENCE_Z and item.service:
            kind = "requests" if item.family is Family.RATE else "errors" if item.family in (Family.ERROR, Family.ABSENCE) else "latency"
            signs.append(Sign(item.start_ns, item.service, kind, item.subject))
    return signs


def _kind(each: Departure) -> str:
    """Kind of the sign of a departure: `drive` where a service starts at least 1.5 times as much as usual, `requests` where it eases."""
    if eases(each):
        return "requests"
    more = each.old > 0 and each.new >= FLOOD_RATIO * each.old
    return "drive" if each.kind == "requests" and more and STARTS.search(each.metric) and not arrivals(each.metric) else each.kind


def _views(evidence: Sequence[Evidence], roots: Mapping[str, float], shares: Mapping[str, tuple[float, float]]) -> tuple[ServiceView, ...]:
    loudest: dict[str, float] = {}
    for item in evidence:
        loudest[item.service] = max(item.z, loudest.get(item.service, 0.0))
    top = max(loudest.values(), default=0.0)
    views = []
    for name in {*roots, *shares, *(service for service, z in loudest.items() if service and z >= EVIDENCE_Z)}:
        own, passed = shares.get(name, (0.0, 0.0))
        root = roots.get(name, 0.0)
        if top >= EVIDENCE_Z:  # where the ranking has something to go by, half of the say is its own
            root = 0.5 * root + 0.5 * loudest.get(name, 0.0) / top
        if own > 0 or passed > 0 or root > 0:
            views.append(ServiceView(name, min(1.0, root), min(1.0, own), min(1.0, passed), loudest.get(name, 0.0)))
    by_own = bool(shares)
    return tuple(sorted(views, key=lambda view: (-(view.own if by_own else view.root), -view.root, view.service)))


def _symptom_texts(
    during: Sequence[TextCount],
    before: Mapping[tuple[str, TextKind, str], int],
    views: Mapping[str, ServiceView],
    callers: Collection[str],
) -> tuple[SymptomText, ...]:
    """Texts of warnings, errors and failed spans: at the root 1, elsewhere by their service's share, .35 where usual.

    What callers of the root say is mostly about the root: .5 at least.
    """
    most = max((max(view.root, view.own) for view in views.values()), default=1.0) or 1.0
    said = []
    for each in during:
        loud = each.kind not in (TextKind.LOG, TextKind.EXCEPTION) or each.level >= SEVERITY_WARN
        if not loud or each.kind is TextKind.PEER or not each.text:
            continue
        view = views.get(each.service)
        share = max(view.root, view.own) / most if view else 0.05
        share = max(share, CALLERS_SAY) if each.service in callers and each.kind is not TextKind.OPERATION else share
        usual = before.get((each.service, each.kind, each.text), 0)
        weight = max(0.1, share) * (0.35 if usual else 1.0) * (0.7 if each.level == SEVERITY_WARN and each.kind is TextKind.LOG else 1.0)
        said.append(SymptomText(each.service, each.kind, each.text, weight, each.records, bool(usual)))
    return tuple(sorted(said, key=lambda text: (-text.weight, text.service, text.kind, text.text)))


def _load(
    flow: ExcessFlow | None,
    risen: Sequence[Departure],
    edges: Sequence[TopologyEdge],
    root: str,
    onset_ns: int,
    known: set[str],
) -> tuple[float, str]:
    """How many times more requests came in at an entry, and where: at a service that nobody calls of those that are `known`.

    A callee that is called more often by one caller is no entry, but what comes in may be larger, too.
    """
    ratio, service = 1.0, ""
    if flow is not None:
        ratio = flow.load({root, flow.entry})
        service = flow.entry if ratio > 1 else ""
    called = {edge.callee for edge in edges if edge.caller != edge.callee and edge.caller in known}
    for each in risen:
        entry = bool(VOLUME.search(each.metric)) or (each.kind == "requests" and each.service not in called and arrivals(each.metric))
        then = -15 * MINUTE_NS <= each.time_ns - onset_ns <= 5 * MINUTE_NS
        if entry and then and each.old > 0 and each.new / each.old > ratio:
            ratio, service = each.new / each.old, each.service
    return ratio, service


def _outside(during: Sequence[TextCount], root: str, known: set[str]) -> tuple[float, str]:
    """Share of the root's error records and failed calls that name a host outside, or a database, and which."""
    hosts: dict[str, int] = {}
    named = total = 0
    for each in during:
        if each.service != root:
            continue
        if each.kind is TextKind.PEER:
            inside = each.text in known and each.level not in (PeerKind.EXTERNAL, PeerKind.DATABASE)
            if each.text and not inside:
                hosts[each.text] = hosts.get(each.text, 0) + each.records
                named += each.records
            total += each.records
    if not hosts or not total:
        return 0.0, ""
    host = max(sorted(hosts), key=lambda name: hosts[name])
    return named / total, host


def seconds(later_ns: int, earlier_ns: int) -> float:
    """Seconds between two times."""
    return (later_ns - earlier_ns) / SECOND_NS


def is_step(old: float, new: float, step: MetricStep) -> bool:
    """Whether a series went exactly from one value to the other (2 %)."""
    return math.isclose(step.old, old, rel_tol=0.02) and math.isclose(step.new, new, rel_tol=0.02) and not np.isclose(old, new)
