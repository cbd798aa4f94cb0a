"""Flow: what follows what inside a span. After a context (start, a log record, a call) another event than usual.

    Z(step) = share_z(share now, traces with the context) * growth * own
    growth  = clip(1 - usual hits a request / hits a request now, 0, 1)      a share also rises because other requests vanish
    own     = mean over its spans of (1 - largest fault below in another service) * (.3 if the visit passes on another's error)
    fault   = max(0, 1 - usual / share) * min(1, Z / 4) * growth if Z > 2 else 0

A service gets its loudest step. When at least two services stop right after calling X, X gets the root of the sum of their squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.evidence.names import LOWEST_Z, MOST_PIECES, Names, loudest, percent
from engine.normal.baseline import Shares, Usual, share_z
from engine.records import F64, I64, Evidence, Family
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.windows import EVENT_BITS, SPAN_EVENT, Codes, View

FAULT_Z = 2.0
CERTAIN_Z = 4.0
PASSED_ON = 0.3
CALLER_Z = 3.0
KIND_MASK = (1 << (EVENT_BITS - KIND_SHIFT)) - 1


@dataclass(frozen=True)
class Steps:
    """Outcomes of a window that have a history, with their figures."""

    outcome: I64  # [o] code
    service: I64
    share: F64
    traces: F64  # with the context
    usual: Usual
    z: F64
    span_of: npt.NDArray[np.integer[Any]]  # [o] an example: a row of the view
    own: F64  # [spans] share of what a span shows that is its own service's doing


def flow(view: View, steps: Steps, codes: Codes, names: Names) -> list[Evidence]:
    """Evidence of the family in a view, from its steps."""
    pieces = []
    for service in np.unique(steps.service[steps.z >= LOWEST_Z]).tolist():
        mine = np.flatnonzero(steps.service == service)
        for place in mine[np.argsort(-steps.z[mine], kind="stable")][: MOST_PIECES + 1].tolist():
            pieces.append(_piece(view, steps, place, names))
    return loudest(pieces + callees(view, steps, codes, names))


def score(view: View, shares: Shares, codes: Codes, *, explain_away: bool = True) -> Steps:
    """Z of every step of a view that has a history."""
    spans, rows = view.all, view.steps
    rows = rows[(codes.contexts.keys[spans.step_context[rows]] >> KIND_SHIFT) & KIND_MASK < SPAN_EVENT >> KIND_SHIFT]
    context, outcome, span = spans.step_context[rows], spans.step_outcome[rows], spans.step_span[rows]
    contexts, outcomes = len(codes.contexts), len(codes.outcomes)
    happened = np.bincount(outcome, minlength=outcomes)
    chances = np.bincount(context, minlength=contexts)
    pairs = np.unique(spans.trace[span].astype(np.int64) * contexts + context)
    traces = np.bincount(pairs % contexts, minlength=contexts)
    chosen = np.flatnonzero(happened)
    chosen = chosen[shares.known(chosen)]
    of = codes.context_of[chosen]
    usual = shares.usual(chosen)
    share, trials = happened[chosen] / chances[of], traces[of].astype(np.float64)
    raw = share_z(share, trials, usual.share, usual.spread, usual.weight)
    growth = np.clip(1 - usual.per_request / (happened[chosen] / max(1, view.requests)), 0, 1)
    fault = np.zeros(outcomes)
    fault[chosen] = np.where(raw > FAULT_Z, np.maximum(0, 1 - usual.share / share) * np.minimum(1, raw / CERTAIN_Z) * growth, 0)
    span_fault = np.zeros(len(spans))
    np.maximum.at(span_fault, span, fault[outcome])
    below = np.minimum(fault_below(view, span_fault), 1) if explain_away else np.zeros(len(spans))
    own = (1 - below) * np.where(spans.passes_on_error, PASSED_ON, 1.0)
    mean_own = np.bincount(outcome, weights=own[span], minlength=outcomes)[chosen] / happened[chosen]
    # An example of each: the span that explains itself best, the earliest of them.
    order = np.lexsort((spans.time_ns[span], -own[span], outcome))
    first = np.searchsorted(outcome[order], chosen)
    z = raw * growth * mean_own
    return Steps(chosen, codes.service_of_context[of], share, trials, usual, z, span[order[first]], own)


def fault_below(view: View, span_fault: F64) -> F64:
    """For each span, the largest fault of a descendant in another service, among spans of the view. [n]"""
    spans = view.all
    now = np.flatnonzero(view.now)
    now = now[np.argsort(-spans.depth[now], kind="stable")]
    depth = spans.depth[now]
    subtree, below = span_fault.copy(), np.zeros(len(spans))
    edges = np.flatnonzero(np.concatenate([[True], depth[1:] != depth[:-1]])) if len(now) else now
    for level in np.split(now, edges[1:]):
        child = level[spans.parent[level] >= 0]
        parent = spans.parent[child]
        np.maximum.at(below, parent, np.where(spans.service[child] != spans.service[parent], subtree[child], below[child]))
        np.maximum.at(subtree, parent, subtree[child])
    return below


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
                view.trace_id(int(steps.span_of[best])),
            )
        )
    return pieces


def _piece(view: View, steps: Steps, place: int, names: Names) -> Evidence:
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
        view.trace_id(int(steps.span_of[place])),
    )
