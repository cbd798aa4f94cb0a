"""Errors: spans that fail by themselves, and error records that are new or came in more slots of time than usual."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from engine.evidence.names import LOWEST_Z, Names, loudest, percent
from engine.normal.baseline import Shares, share_z
from engine.records import F64, I64, Evidence, Family
from engine.take.joined import KIND_SHIFT, EventKind
from engine.take.logs import LogCounts
from engine.windows import EVENT_BITS, SLOT_EVENT, SPAN_EVENT, Codes, View

PASSED_ON = 0.3  # of an error that names another service
EVENT = (1 << EVENT_BITS) - 1
TERMS = 300  # of the continued fraction; it needs about sqrt(n)


def binomial_nats(k: float, n: float, p: float) -> float:
    """-ln P(Bin(n, p) >= k), by the regularised incomplete beta function I_p(k, n - k + 1); k and n need not be whole.

    Lentz's continued fraction (Press et al., Numerical Recipes, 6.4). 0 for k <= 0.
    Raises: ValueError unless 0 < p < 1 and k <= n.
    >>> round(binomial_nats(2, 2, 0.1), 4), round(binomial_nats(1, 10, 0.1), 4), binomial_nats(0, 9, 0.5)
    (4.6052, 0.4288, 0.0)
    """
    if not 0 < p < 1 or k > n:
        raise ValueError(f"0 < p < 1 and k <= n must hold, however: {k=}, {n=}, {p=}")
    if k <= 0:
        return 0.0
    a, b = k, n - k + 1
    if p < (a + 1) / (a + b + 2):
        return -_log_beta_tail(a, b, p)
    return -math.log(max(1e-300, 1 - math.exp(_log_beta_tail(b, a, 1 - p))))


def _log_beta_tail(a: float, b: float, x: float) -> float:
    """ln I_x(a, b) where the fraction converges: x < (a + 1) / (a + b + 2)."""
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    tiny = 1e-300
    c, d = 1.0, 1 / max(tiny, 1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 + term * d, 1 + term / c
            d, c = 1 / (d if abs(d) > tiny else tiny), c if abs(c) > tiny else tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return front + math.log(fraction)


def errors(view: View, shares: Shares, codes: Codes, names: Names, own: F64) -> list[Evidence]:
    """Spans with error status and no child that has one, by operation.

    nats = -ln P(Bin(n, p) >= k): p the usual share, at least .01 + 2.5 / (history + 20); n the effective number of traces (a share
    varies between blocks anyway), k = share * n. Z = sqrt(2 nats), times the mean of `own`: what is this service's doing of what its
    failing spans show, float64 [spans] (`flow.score`).
    What is taken off because the caller names another service is not lost: where the call reached a service that did not fail itself
    (a timeout, a broken connection), that service is charged with it.
    """
    spans, rows = view.all, view.steps
    key = codes.outcomes.keys[spans.step_outcome[rows]]
    failing = (codes.contexts.keys[spans.step_context[rows]] & EVENT == SPAN_EVENT) & (key & EVENT == EventKind.END_ERROR << KIND_SHIFT)
    rows = rows[failing]
    if not len(rows):
        return []
    span, outcome = spans.step_span[rows], spans.step_outcome[rows]
    visible = np.unique(spans.trace[view.now & spans.root & spans.failed])
    callee = _callees(view)
    pieces = []
    chosen = np.unique(outcome)
    chosen = chosen[shares.known(chosen)]
    usual = shares.usual(chosen)
    for place, code in enumerate(chosen.tolist()):
        context = int(codes.context_of[code])
        operation = int(codes.contexts.keys[context] >> EVENT_BITS)
        all_spans = view.now & (spans.operation == operation)
        mine = span[outcome == code]
        share, traces = len(mine) / int(all_spans.sum()), len(np.unique(spans.trace[all_spans]))
        p = min(0.999, max(float(usual.share[place]), 0.01 + 2.5 / (float(usual.weight[place]) + 20)))
        if share <= p:
            continue
        v = p * (1 - p)
        n = v / (v / traces + float(usual.spread[place]) ** 2 + 0.02**2)
        service, name = names.operation(operation)
        usually, z = float(usual.share[place]), math.sqrt(2 * binomial_nats(share * n, n, p))
        said = f"{percent(share)} of {int(all_spans.sum())} spans, usually {percent(usually)}"
        piece = Evidence(
            Family.ERROR,
            service,
            name,
            view.start_ns,
            view.end_ns,
            z * float(own[mine].mean()),
            share,
            usually,
            traces,
            "share",
            f"{name} failed by itself in {said}",
            view.trace_id(int(mine[np.argmin(spans.time_ns[mine])])),
            user_visible=bool(np.isin(spans.trace[mine], visible).any()),
        )
        pieces.append(piece)
        passed = np.where(spans.passes_on_error[mine] & (callee[mine] >= 0), own[mine] * (1 - PASSED_ON) / PASSED_ON, 0.0)
        for other in np.unique(callee[mine][passed > 0]).tolist():
            charged = z * float(passed[callee[mine] == other].sum()) / len(mine)
            sentence = f"{name} of {service}, which calls it, failed without an answer in {said}"
            pieces.append(replace(piece, service=names.service(other), subject="calls to it", z=charged, sentence=sentence, peer=service))
    return loudest(pieces)


def _callees(view: View) -> I64:
    """For each span the other service that one of its children is of, -1: none. [n]"""
    spans = view.all
    callee = np.full(len(spans), -1, np.int64)
    child = np.flatnonzero(spans.parent >= 0)
    child = child[spans.service[child] != spans.service[spans.parent[child]]]
    callee[spans.parent[child]] = spans.service[child]
    return callee


def error_records(
    start_ns: int, end_ns: int, hits: tuple[I64, I64, int], shares: Shares, codes: Codes, logs: LogCounts, names: Names
) -> list[Evidence]:
    """Error records by service and template: share_z of the slots of ten seconds that have one. A burst within a slot counts once.

    Args: hits: keys of `logs`, slots each came in, slots with any record.
    """
    keys, slots, trials = hits
    if trials == 0 or not len(keys):
        return []
    outcome = slot_outcomes(keys, codes)
    shares.grow(codes.context_of, len(codes.contexts))
    known = np.flatnonzero((outcome >= 0) & shares.known(np.maximum(outcome, 0)))
    usual = shares.usual(outcome[known])
    share: F64 = slots[known] / trials
    z = share_z(share, np.full(len(known), float(trials)), usual.share, usual.spread, usual.weight)
    pieces = []
    for place in np.flatnonzero(z >= LOWEST_Z).tolist():
        key = int(keys[known[place]])
        service, template, _ = logs.key(key)
        new = usual.hits[place] == 0
        past = "never before" if new else f"usually in {percent(float(usual.share[place]))}"
        label = names.template(template)
        pieces.append(
            Evidence(
                Family.ERROR,
                service,
                f"log {label}",
                start_ns,
                end_ns,
                float(z[place]) * (PASSED_ON if logs.is_foreign(key) else 1.0),
                float(share[place]),
                0.0 if new else float(usual.share[place]),
                int(trials),
                "share",
                f'error record "{label}" in {int(slots[known[place]])} of {trials} slots of 10 s, {past}',
                signal="logs",
            )
        )
    return loudest(pieces)


def slot_context(codes: Codes) -> int:
    """Code of the context of log records."""
    return int(codes.contexts.codes(np.array([SLOT_EVENT]))[0])


def slot_outcomes(keys: Iterable[int] | I64, codes: Codes) -> I64:
    """Outcome codes of keys of log counts."""
    after = SLOT_EVENT | np.asarray(keys, np.int64)
    return codes.outcomes.codes((slot_context(codes) << EVENT_BITS) | after).astype(np.int64)
