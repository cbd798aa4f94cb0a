"""Flow: what follows what inside a span. After a context (start, a log record, a call) another event than usual.

    Z(step) = share_z(share now, traces with the context) * growth * own
    growth  = clip(1 - usual hits a request / hits a request now, 0, 1)      a share also rises because other requests vanish
    own     = mean over its spans of (1 - largest fault below in another service) * (.3 if the visit passes on another's error)
    fault   = max(0, 1 - usual / share) * min(1, Z / 4) * growth if Z > 2 else 0

A service gets its loudest step. What is a call that a silent service no longer answers is that service's (`engine.evidence.unanswered`).
When at least two services stop right after calling X, X gets the root of the sum of their squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import kernels
from engine.evidence.names import LOWEST_Z, MOST_PIECES, NOTABLE_Z, Names, loudest, percent
from engine.evidence.unanswered import NONE, Unanswered, unanswered
from engine.normal.baseline import Shares, Usual, share_z
from engine.records import F64, I64, Evidence, Family
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.windows import EVENT_BITS, SPAN_EVENT, Codes, Part, View

FAULT_Z = 2.0
CERTAIN_Z = 4.0
PASSED_ON = 0.3
CALLER_Z = 3.0
KIND_MASK = (1 << (EVENT_BITS - KIND_SHIFT)) - 1


@dataclass(frozen=True)
class Steps:
    """Outcomes of a window that have a history, with their figures."""

    outcome: I64  # [o] code, ascending
    service: I64
    share: F64
    traces: F64  # with the context
    usual: Usual
    z: F64
    own: tuple[Own, ...]  # of each part of the view
    gone: Unanswered = NONE

    def charged(self) -> tuple[I64, F64]:
        """Service (-1: none) and Z that each step is charged to another with, because that one no longer answers."""
        callee, part = self.gone.of(self.outcome)
        return callee, self.z * part


class Own:
    """Of each span of a part, the share of what it shows that is its own service's doing: what its descendants' faults leave."""

    def __init__(self, part: Part, fault: F64) -> None:
        self.part = part
        self._below: F64 | None = None  # where there are faults; [spans]
        outcomes = part.sums.outcomes.code
        if fault[outcomes].any():
            rows = part.steps(fault > 0)
            span_fault = np.zeros(len(part.spans))
            np.maximum.at(span_fault, part.spans.step_span[rows], fault[part.spans.step_outcome[rows]])
            self._below = fault_below(part, span_fault)

    def of(self, rows: npt.NDArray[np.integer[Any]]) -> F64:
        """Of some spans of the part."""
        own = np.where(self.part.spans.passes_on_error[rows], PASSED_ON, 1.0)
        return own if self._below is None else own * (1 - np.minimum(self._below[rows], 1))

    def add_to(self, total: F64) -> None:
        """Add up what the spans of each outcome are to blame for; [outcomes]."""
        sums, spans = self.part.sums, self.part.spans
        total[sums.outcomes.code] += sums.outcomes.count - (1 - PASSED_ON) * sums.passed
        if self._below is not None:
            rows = kernels.chosen(spans.step_span, (self._below > 0) & self.part.now)
            span, outcome = spans.step_span[rows], spans.step_outcome[rows]
            excused = np.where(spans.passes_on_error[span], PASSED_ON, 1.0) - self.of(span)
            total -= np.bincount(outcome, weights=excused, minlength=len(total))

    def examples(self, outcomes: I64) -> tuple[F64, I64, I64]:
        """Of each outcome the span that explains itself best, the earliest of them: its own share (0: none), end, row."""
        spans, sums = self.part.spans, self.part.sums
        place = np.minimum(np.searchsorted(sums.outcomes.code, outcomes), max(0, len(sums.outcomes.code) - 1))
        here = sums.outcomes.code[place] == outcomes if len(sums.outcomes.code) else np.zeros(len(outcomes), bool)
        row = np.where(here, sums.example[place] if len(sums.example) else 0, 0)
        if self._below is not None:
            for at in np.flatnonzero(here & (self._below[row] > 0)).tolist():  # one without faults below may explain itself better
                rows = spans.step_span[np.flatnonzero(spans.step_outcome == outcomes[at])]
                rows = rows[self.part.now[rows]]
                row[at] = rows[np.lexsort((spans.time_ns[rows], -self.of(rows)))[0]]
        return np.where(here, self.of(row), 0.0), spans.time_ns[row], row


def examples(steps: Steps, places: Sequence[int]) -> dict[int, str]:
    """Trace ids of examples of some outcomes, by place; "" if there is none."""
    wanted = np.array(places, np.int64)
    best, ended = np.zeros(len(wanted)), np.zeros(len(wanted), np.int64)
    trace_ids = [""] * len(wanted)
    for part in steps.own:
        own, time_ns, row = part.examples(steps.outcome[wanted])
        better = (own > best) | ((own == best) & (own > 0) & (time_ns < ended))
        best[better], ended[better] = own[better], time_ns[better]
        for at in np.flatnonzero(better).tolist():
            trace_ids[at] = part.part.trace_id(int(row[at]))
    return dict(zip(places, trace_ids, strict=True))


def flow(view: View, steps: Steps, codes: Codes, names: Names) -> list[Evidence]:
    """Evidence of the family in a view, from its steps."""
    callee, charged = steps.charged()
    left = replace(steps, z=steps.z - charged)
    places: list[int] = []
    for service in np.unique(left.service[left.z >= LOWEST_Z]).tolist():
        mine = np.flatnonzero(left.service == service)
        least = min(NOTABLE_Z, float(left.z[mine].max()))  # quieter ones `loudest` would drop
        loud = mine[np.argsort(-left.z[mine], kind="stable")][: MOST_PIECES + 1]
        places += loud[left.z[loud] >= least].tolist()
    silent = {int(code): np.flatnonzero((callee == code) & (charged >= LOWEST_Z)) for code in np.unique(callee[charged >= LOWEST_Z])}
    best = {code: int(mine[np.argmax(charged[mine])]) for code, mine in silent.items()}
    trace_ids = examples(steps, [*places, *best.values()])
    pieces = [_piece(view, left, place, trace_ids[place], names) for place in places]
    for code, place in best.items():
        z = float(np.sqrt((charged[silent[code]] ** 2).sum()))  # other calls at each place
        pieces.append(_unanswered(view, steps, place, z, trace_ids[place], names.service(code), names))
    return loudest(pieces + callees(view, left, codes, names))


def score(view: View, shares: Shares, codes: Codes, *, explain_away: bool = True) -> Steps:
    """Z of every step of a view that has a history."""
    chances, traces = view.by_context(codes)
    of_spans = (codes.contexts.keys >> KIND_SHIFT) & KIND_MASK >= SPAN_EVENT >> KIND_SHIFT
    happened = np.where(of_spans[codes.context_of], 0.0, view.by_outcome(codes))
    chosen = np.flatnonzero(happened)
    chosen = chosen[shares.known(chosen)]
    of = codes.context_of[chosen]
    usual = shares.usual(chosen)
    share, trials = happened[chosen] / chances[of], traces[of]
    raw = share_z(share, trials, usual.share, usual.spread, usual.weight)
    growth = np.clip(1 - usual.per_request / (happened[chosen] / max(1, view.requests)), 0, 1)
    fault = np.zeros(len(happened))
    fault[chosen] = np.where(raw > FAULT_Z, np.maximum(0, 1 - usual.share / share) * np.minimum(1, raw / CERTAIN_Z) * growth, 0)
    own = tuple(Own(part, fault if explain_away else np.zeros(len(fault))) for part in view.parts)
    total = np.zeros(len(happened))
    for part in own:
        part.add_to(total)
    gone = unanswered(view, shares, codes, chosen[raw > 0].astype(np.int64), happened, chances) if explain_away else NONE
    return Steps(chosen, codes.service_of_context[of], share, trials, usual, raw * growth * total[chosen] / happened[chosen], own, gone)


def fault_below(part: Part, span_fault: F64) -> F64:
    """For each span, the largest fault of a descendant in another service, among spans of the view. [n]"""
    now, spans = np.flatnonzero(part.now), part.spans
    deepest = int(spans.depth.max(initial=0))
    order = now[kernels.by_group(deepest - spans.depth[now], deepest + 1)]
    return kernels.fault_below(order, spans.parent, spans.service, span_fault)


def callees(view: View, steps: Steps, codes: Codes, names: Names) -> list[Evidence]:
    """Evidence against services whose callers stop right after calling them, while their own spans show nothing."""
    key = codes.outcomes.keys[steps.outcome]
    context = codes.contexts.keys[key >> EVENT_BITS]
    before, after = context & ((1 << EVENT_BITS) - 1), (key & ((1 << EVENT_BITS) - 1)) >> KIND_SHIFT
    stops = np.isin(after, [EventKind.END, EventKind.END_ERROR]) & (before >> KIND_SHIFT == EventKind.CALL) & (steps.z >= CALLER_Z)
    callee = (before & ((1 << KIND_SHIFT) - 1)) >> SERVICE_SHIFT
    pieces = []
    for service in np.unique(callee[stops]).tolist():
        mine = np.flatnonzero(stops & (callee == service))
        by_caller: dict[int, float] = {}
        for place in mine.tolist():
            caller = int(steps.service[place])
            by_caller[caller] = max(by_caller.get(caller, 0.0), float(steps.z[place]))
        if len(by_caller) < 2:
            continue
        best = int(mine[np.argmax(steps.z[mine])])
        callers = ", ".join(sorted(names.service(caller) for caller in by_caller))
        pieces.append(
            Evidence(
                Family.FLOW,
                names.service(service),
                "its callers stop after calling it",
                view.start_ns,
                view.end_ns,
                float(np.sqrt(sum(z * z for z in by_caller.values()))),
                float(steps.share[best]),
                float(steps.usual.share[best]),
                int(steps.traces[mine].sum()),
                "share",
                f"{callers} stop right after calling it: in {percent(steps.share[best])}, usually {percent(steps.usual.share[best])}",
                examples(steps, [best])[best],
            )
        )
    return pieces


def _piece(view: View, steps: Steps, place: int, trace_id: str, names: Names) -> Evidence:
    service, operation, before, after = names.step(int(steps.outcome[place]))
    share, usual = float(steps.share[place]), float(steps.usual.share[place])
    return Evidence(
        Family.FLOW,
        service,
        f"{operation}: {before} -> {after}",
        view.start_ns,
        view.end_ns,
        float(steps.z[place]),
        share,
        usual,
        int(steps.traces[place]),
        "share",
        f"in {operation}, after {before} comes {after} in {percent(share)} of {int(steps.traces[place])} traces, usually {percent(usual)}",
        trace_id,
    )


def _unanswered(view: View, steps: Steps, place: int, z: float, trace_id: str, callee: str, names: Names) -> Evidence:
    piece = _piece(view, steps, place, trace_id, names)
    _, operation, before, _ = names.step(int(steps.outcome[place]))
    calls = f"in {percent(piece.observed)} of {piece.n} traces, usually {percent(piece.expected)}"
    sentence = f"{callee} does not answer {piece.service}: in {operation}, after {before} it is called without an answer {calls}"
    return replace(piece, service=callee, subject="calls to it", z=z, sentence=sentence, peer=piece.service)
