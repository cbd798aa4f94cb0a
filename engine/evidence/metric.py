"""Root components from golden signals and a call graph: excess flow, its evidence, and what the attribution of changes needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.evidence.excess import excess_of_all, flow_down, gates, load_rise
from engine.evidence.golden import Golden, conserving_services, golden
from engine.evidence.symptom import FAILURES, HIGH, Symptom, find_symptom
from engine.records import F64, Evidence, Family, TopologyEdge
from engine.take.points import SeriesStore

LEAST_SYMPTOM: Final = 1.0  # Z below which there is nothing to pass on
LEAST_Z: Final = 0.01
LOAD_RATIO: Final = 1.1
LOAD_NOISES: Final = 3.0
OPENING_ROWS: Final = 12  # of history, before a departure may open an incident: an hour of five-minute rows


@dataclass(frozen=True)
class ExcessFlow:
    """Where the excess of a symptom is made. Arrays by service, in the order of `services`; shares are of the entry's excess."""

    services: tuple[str, ...]
    entry: str
    symptom: str  # latency or failures
    statistic: str  # mean, p99, ..., failures
    z: float  # of the symptom at the entry
    observed: float
    expected: float
    step_ns: int
    onset_start_ns: int  # the first row that shows the symptom began here,
    onset_end_ns: int  # and ended here
    last_ns: int  # stamp of the last row that shows it
    rows: int  # that show it
    history: int  # rows before the window that it is compared with
    excess: F64  # seconds of waiting, or failed requests, a row
    noise: F64
    flow: F64  # share that passes through the service
    own: F64  # share that it makes itself
    score: F64
    load_ratio: F64  # requests in the symptom's rows to usual ones
    load_noises: F64  # their rise, in units of its noise

    def load(self, services: Iterable[str]) -> float:
        """Largest ratio of requests among the services where the rise is beyond doubt (1.1 and 3 noises); 1 if there is none."""
        ratios = [1.0]
        for name in services:
            if name in self.services:
                at = self.services.index(name)
                if self.load_ratio[at] > LOAD_RATIO and self.load_noises[at] > LOAD_NOISES:
                    ratios.append(float(self.load_ratio[at]))
        return max(ratios)


def excess_flow(store: SeriesStore, edges: Sequence[TopologyEdge], start_ns: int, end_ns: int) -> ExcessFlow | None:
    """Find the symptom in [start_ns, end_ns] and pass its excess down the calls; None where there is no symptom or no golden signal.

        score = own / E_entry + .001 F / E_entry + 1e-6 tanh(E / 10 S)

    Everything before start_ns is history. The level of a service is its mean latency or its share of failed requests: what is conserved
    along calls when multiplied with the requests. None, too, where most callees of the entry do not report it: then nothing can be
    passed on, and the entry would be blamed for what it only shows. What entries show is looked at first, so that quiet is cheap.
    """
    able = conserving_services(store)
    called = {edge.callee for edge in edges if edge.caller != edge.callee}
    table = golden(store, 0, end_ns, able - called or able) if able else None
    symptom = find_symptom(table, edges, start_ns) if table is not None else None
    if symptom is None or symptom.z < LEAST_SYMPTOM:
        return None
    callees = {edge.callee for edge in edges if edge.caller == symptom.service} - {symptom.service}
    if 2 * len(callees & able) < len(callees):
        return None
    whole = golden(store, 0, end_ns, able)
    symptom = find_symptom(whole, edges, start_ns) if whole is not None else None
    return None if symptom is None or whole is None else _flow(whole, symptom, edges)


def _flow(table: Golden, symptom: Symptom, edges: Sequence[TopologyEdge]) -> ExcessFlow:
    number = {name: at for at, name in enumerate(table.services)}
    entry = number[symptom.service]
    level = table.failure_share if symptom.failures else table.latency[symptom.statistic]
    requests = table.requests
    normal, high, low = symptom.normal, symptom.high, symptom.low
    excess, noise = excess_of_all(requests, level, normal=normal, high=high, low=low, entry=entry, failures=symptom.failures)
    calls = sorted(
        {(number[edge.caller], number[edge.callee]) for edge in edges if edge.caller in number and edge.callee in number}
        - {(at, at) for at in range(len(number))}
    )
    flow, own = flow_down(excess, noise, gates(requests, level, normal, calls), entry)
    at_entry = max(float(excess[entry]), 1e-12)
    flow, own = flow / at_entry, own / at_entry
    score = own + 1e-3 * flow + 1e-6 * np.tanh(excess / noise / 10)
    ratio, noises = load_rise(table, normal=normal, high=high, low=low)
    shown = np.flatnonzero(symptom.elevation >= HIGH)
    onset = int(table.stamp_ns[shown[0]])
    return ExcessFlow(
        services=table.services, entry=symptom.service, symptom=FAILURES if symptom.failures else "latency", statistic=symptom.statistic,
        z=symptom.z, observed=symptom.observed, expected=symptom.expected, step_ns=table.step_ns,
        onset_start_ns=onset - table.step_ns, onset_end_ns=onset, last_ns=int(table.stamp_ns[shown[-1]]), rows=len(shown),
        history=int(normal.sum()),
        excess=excess, noise=noise, flow=flow, own=own, score=score, load_ratio=ratio, load_noises=noises,
    )  # fmt: skip


def excess_evidence(flow: ExcessFlow | None, start_ns: int, end_ns: int) -> list[Evidence]:
    """Evidence of every service with a positive score: Z = Z of the symptom * score / largest score.

    The loudest is the component where the excess is made; the entry is what users see, however quiet it is itself.
    """
    if flow is None:
        return []
    most = max(float(flow.score.max()), 1e-12)
    unit = "{request}" if flow.symptom == FAILURES else "s"
    found = []
    for at in np.argsort(-flow.score, kind="stable").tolist():
        z = flow.z * float(flow.score[at]) / most
        service, is_entry = flow.services[at], flow.services[at] == flow.entry
        if z < LEAST_Z and not is_entry:
            continue
        found.append(
            Evidence(
                family=Family.METRIC,
                service=service,
                subject=f"{flow.symptom} seen at {flow.entry}",
                start_ns=flow.onset_start_ns,
                end_ns=end_ns,
                z=max(z, 0.0),
                observed=float(flow.excess[at]),
                expected=float(flow.noise[at]),
                n=flow.rows,
                unit=unit,
                sentence=_sentence(flow, at),
                peer="" if is_entry else flow.entry,
                for_opening=flow.history >= OPENING_ROWS,
                user_visible=True,  # it is a part of what users of the entry wait for, or see failing
            )
        )
    return found


def _sentence(flow: ExcessFlow, at: int) -> str:
    minutes = flow.step_ns / 60e9
    what = f"{flow.excess[at]:.3g} {'more failed requests' if flow.symptom == FAILURES else 's more waiting'} per {minutes:.3g} min"
    share = f"{flow.own[at]:.0%} of what {flow.entry} sees is made here, not in what it calls"
    if flow.services[at] != flow.entry:
        return f"{flow.services[at]}: {what}; {share}."
    if flow.symptom == FAILURES:
        seen = f"{flow.observed:.2%} of its requests failed, {flow.expected:.2%} before"
    else:
        seen = f"{flow.statistic} latency {flow.observed:.3g} s, {flow.expected:.3g} s before"
    return f"{flow.entry}: {seen}; {what}; {flow.own[at]:.0%} of it is made here."
