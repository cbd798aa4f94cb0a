"""Calls that nobody answers: an operation that used to be answered by a service is still called, and that service has gone silent.

What the caller shows then (another step than usual, an error of its client span) is the callee's doing. A call that is no longer tried is
the caller's own: so only spans of operations count that carried a call to another service before.

    lost(c, S)  = sum over calls of S of max(0, usual share after c * chances of c - calls now)
    silence(S)  = u / (u + a)     u: the middle half of the unanswered calls, by time; a: requests that S answered between them
    charged     = Z * lost(c, S) / sum of lost(c, .) * silence(S)
                  if silence >= .9, and lost >= .25 of the calls without an answer after c that are more than usual

S is the service that lost most after c; it gets the root of the sum of squares over all places that call it. The middle half: what S
answered before it went silent, or after, may be in the window, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.normal.baseline import Shares
from engine.records import F64, I64
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.windows import EVENT_BITS, SPAN_EVENT, Codes, Part, View

ANSWERED: Final = 0.5  # share of an operation's spans in history that carried a call, from which it is a call
SILENT: Final = 0.9
LEAST_CALLS: Final = 3  # without an answer: fewer are an accident
LEAST_LOST: Final = 0.25  # of the calls without an answer: with other traffic a service may be called more often than usual
EVENT: Final = (1 << EVENT_BITS) - 1
PAYLOAD: Final = (1 << KIND_SHIFT) - 1


@dataclass(frozen=True)
class Unanswered:
    """Steps that are a call without an answer, by whom it is not answered, and how much of what they show is that one's doing."""

    outcome: I64  # [u] code, ascending
    callee: I64  # [u] service
    part: F64  # [u] 0 ... 1
    calling: I64  # [u] operation code of the span that carries the call

    def of(self, outcome: I64) -> tuple[I64, F64]:
        """Callee (-1: none) and part of some outcomes."""
        callee, part = np.full(len(outcome), -1, np.int64), np.zeros(len(outcome))
        if len(self.outcome):
            at = np.minimum(np.searchsorted(self.outcome, outcome), len(self.outcome) - 1)
            here = self.outcome[at] == outcome
            callee[here], part[here] = self.callee[at[here]], self.part[at[here]]
        return callee, part

    def spans(self, part: Part) -> tuple[I64, F64]:
        """The same for the spans of a part that carry such a call. [n]"""
        spans = part.spans
        callee, share = np.full(len(spans), -1, np.int64), np.zeros(len(spans))
        wanted = np.zeros(int(spans.step_outcome.max(initial=-1)) + 1, bool)
        wanted[self.outcome[self.outcome < len(wanted)]] = True
        if not wanted.any():
            return callee, share
        steps = part.steps(wanted)
        above = spans.step_span[steps]
        callee[above], share[above] = self.of(spans.step_outcome[steps].astype(np.int64))
        carries = np.isin(spans.operation, self.calling) & (spans.parent >= 0)
        carries[spans.parent[spans.parent >= 0]] = False  # that one was answered
        row = np.flatnonzero(carries)
        of_parent = callee[spans.parent[row]], share[spans.parent[row]]
        callee[:], share[:] = -1, 0.0
        callee[row], share[row] = of_parent
        return callee, share


NONE: Final = Unanswered(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))


def unanswered(view: View, shares: Shares, codes: Codes, suspects: I64, happened: F64, chances: F64) -> Unanswered:
    """Which of the suspects, outcomes that came more often than usual, are calls without an answer to a service that is silent.

    Args: suspects: codes, ascending; happened float64 [outcomes], chances float64 [contexts]: of the view.
    """
    keys = codes.outcomes.keys
    suspects = suspects[(keys[suspects] & EVENT) >> KIND_SHIFT == EventKind.CHILD]
    calling = _calling(suspects, shares, codes) if len(suspects) else suspects
    suspects, calling = suspects[calling >= 0], calling[calling >= 0]
    if not len(suspects):
        return NONE
    callee, lost, part = _lost(suspects, shares, codes, happened, chances)
    usual = shares.usual(suspects).share * chances[codes.context_of[suspects]]
    more = np.maximum(happened[suspects] - usual, 1e-9)
    part = np.where(lost >= LEAST_LOST * more, part, 0.0)
    for service in np.unique(callee[callee >= 0]).tolist():
        mine = callee == service
        silent = _silence(view, suspects[mine], service)
        part[mine] *= silent if silent >= SILENT else 0.0
    kept = (callee >= 0) & (part > 0)
    return Unanswered(suspects[kept], callee[kept], part[kept], calling[kept])


def _calling(suspects: I64, shares: Shares, codes: Codes) -> I64:
    """Operation code of the child that each suspect is, -1 where its spans carried no calls so far."""
    event, operation = codes.contexts.keys & EVENT, codes.contexts.keys >> EVENT_BITS
    known = shares.contexts[1, : len(event)]
    spans, alone = (
        np.bincount(operation[event == wanted], weights=known[event == wanted], minlength=len(codes.operations))
        for wanted in (SPAN_EVENT, EventKind.START << KIND_SHIFT)
    )
    service = codes.service_of_context[codes.context_of[suspects]]
    wanted = (service << SERVICE_SHIFT) | (codes.outcomes.keys[suspects] & PAYLOAD)
    order = np.argsort(codes.operations.keys, kind="stable")
    at = np.minimum(np.searchsorted(codes.operations.keys, wanted, sorter=order), len(order) - 1)
    found = order[at]
    carried = (codes.operations.keys[found] == wanted) & (spans[found] > 0) & (spans[found] - alone[found] >= ANSWERED * spans[found])
    return np.where(carried, found, -1).astype(np.int64)


def _lost(suspects: I64, shares: Shares, codes: Codes, happened: F64, chances: F64) -> tuple[I64, F64, F64]:
    """Of the context of each suspect the service that lost most calls there (-1: none did), how many, and which part of all lost ones."""
    context = codes.context_of[suspects]
    calls = np.flatnonzero(((codes.outcomes.keys & EVENT) >> KIND_SHIFT == EventKind.CALL) & np.isin(codes.context_of, context))
    callee, lost, part = np.full(len(suspects), -1, np.int64), np.zeros(len(suspects)), np.zeros(len(suspects))
    missing = np.maximum(shares.usual(calls).share * chances[codes.context_of[calls]] - happened[calls], 0.0)
    service = (codes.outcomes.keys[calls] & PAYLOAD) >> SERVICE_SHIFT
    for at, each in enumerate(context.tolist()):
        here = codes.context_of[calls] == each
        if here.any():
            names, place = np.unique(service[here], return_inverse=True)
            total = np.bincount(place.reshape(-1), weights=missing[here])
            best = int(np.argmax(total))
            if total[best] >= 1:
                callee[at], lost[at], part[at] = names[best], total[best], total[best] / total.sum()
    return callee, lost, part


def _silence(view: View, outcomes: I64, service: int) -> float:
    """u / (u + a) of a service whose unanswered calls are these outcomes."""
    ended, answered = [], []
    for part in view.parts:
        spans = part.spans
        wanted = np.zeros(int(spans.step_outcome.max(initial=-1)) + 1, bool)
        wanted[outcomes[outcomes < len(wanted)]] = True
        ended.append(spans.time_ns[spans.step_span[part.steps(wanted)]])
        answered.append(spans.time_ns[part.now & spans.entry & (spans.service == service)])
    times = np.sort(np.concatenate(ended))
    if len(times) < LEAST_CALLS:
        return 0.0
    middle, ends = times[len(times) // 4 : len(times) - len(times) // 4], np.concatenate(answered)
    return len(middle) / (len(middle) + int(((ends > middle[0]) & (ends < middle[-1])).sum()))
