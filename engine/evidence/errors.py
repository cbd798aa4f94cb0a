"""Errors: spans that fail by themselves, and error records that are new or came in more slots of time than usual."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.evidence.felt import comes_to_users
from engine.evidence.flow import Own, Steps
from engine.evidence.names import LOWEST_Z, Names, loudest, percent
from engine.evidence.unanswered import Unanswered
from engine.normal.baseline import Shares, share_z
from engine.records import F64, I64, Bool, Evidence, Family
from engine.take.joined import KIND_SHIFT, EventKind
from engine.take.logs import LogCounts
from engine.windows import EVENT_BITS, SLOT_EVENT, SPAN_EVENT, Codes, Part, Spans, View

PASSED_ON = 0.3  # of an error that names another service
FELT_SHARE = 0.1  # of an operation's failing spans: a single one that comes to a user is an accident
EVENT = (1 << EVENT_BITS) - 1
_FAILED = EventKind.END_ERROR << KIND_SHIFT
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


def errors(view: View, shares: Shares, codes: Codes, names: Names, steps: Steps) -> list[Evidence]:
    """Spans with error status and no child that has one, by operation.

    nats = -ln P(Bin(n, p) >= k): p the usual share, at least .01 + 2.5 / (history + 20); n the effective number of traces (a share
    varies between blocks anyway), k = share * n. Z = sqrt(2 nats), times the mean of `steps.own`: what is this service's doing of what
    its failing spans show, by part of the view (`flow.score`).
    What is taken off because the caller names another service is not lost: where the call reached a service that did not fail itself
    (a timeout, a broken connection), that service is charged with it. A call that a silent service no longer answers is that one's.
    """
    hits = view.by_outcome(codes)
    failing = (codes.contexts.keys & EVENT == SPAN_EVENT)[codes.context_of] & (codes.outcomes.keys & EVENT == _FAILED) & (hits > 0)
    chosen = np.flatnonzero(failing)
    chosen = chosen[shares.known(chosen)]
    if not len(chosen):
        return []
    usual = shares.usual(chosen)
    chances, by_context = view.by_context(codes)
    pieces = []
    by_part = [_failures(own, failing, steps.gone) for own in steps.own]
    for place, code in enumerate(chosen.tolist()):
        context = int(codes.context_of[code])
        share, traces, spans = float(hits[code] / chances[context]), int(by_context[context]), int(chances[context])
        p = min(0.999, max(float(usual.share[place]), 0.01 + 2.5 / (float(usual.weight[place]) + 20)))
        if share <= p:
            continue
        v = p * (1 - p)
        n = v / (v / traces + float(usual.spread[place]) ** 2 + 0.02**2)
        service, name = names.operation(int(codes.contexts.keys[context] >> EVENT_BITS))
        usually, z = float(usual.share[place]), math.sqrt(2 * binomial_nats(share * n, n, p))
        said = f"{percent(share)} of {spans} spans, usually {percent(usually)}"
        failed = [part[code] for part in by_part if code in part]
        example = min(failed, key=lambda found: found.earliest_ns)
        piece = Evidence(
            Family.ERROR,
            service,
            name,
            view.start_ns,
            view.end_ns,
            z * sum(found.own for found in failed) / float(hits[code]),
            share,
            usually,
            traces,
            "share",
            f"{name} failed by itself in {said}",
            example.part.trace_id(example.row),
            user_visible=any(found.visible for found in failed) or sum(found.come for found in failed) >= FELT_SHARE * hits[code],
        )
        pieces.append(piece)
        passed: dict[int, float] = {}
        for other, part in (pair for found in failed for pair in found.passed):
            passed[other] = passed.get(other, 0.0) + part
        for other in sorted(passed):
            charged = z * passed[other] / float(hits[code])
            sentence = f"{name} of {service}, which calls it, failed without an answer in {said}"
            pieces.append(replace(piece, service=names.service(other), subject="calls to it", z=charged, sentence=sentence, peer=service))
    return loudest(pieces)


class _Failures(NamedTuple):
    """Failing spans of one operation in a part of a view."""

    own: float  # sum over them
    visible: bool  # one is in a trace whose root failed
    come: int  # how many come to users without that (`felt.comes_to_users`)
    earliest_ns: int
    part: Part
    row: int  # of the earliest
    passed: list[tuple[int, float]]  # service that was called, and what it is charged with


def _failures(own: Own, failing: Bool, unanswered: Unanswered) -> dict[int, _Failures]:
    """Failing spans of a part by outcome; failing: bool [outcomes]."""
    part, spans = own.part, own.part.spans
    steps = part.steps(failing)
    if not len(steps):
        return {}
    steps = steps[np.lexsort((spans.time_ns[spans.step_span[steps]], spans.step_outcome[steps]))]
    outcome, rows = spans.step_outcome[steps], spans.step_span[steps]
    first = np.flatnonzero(np.concatenate([[True], outcome[1:] != outcome[:-1]]))
    failed_roots = np.zeros(len(spans.trace_hi), bool)
    failed_roots[spans.trace[part.now & spans.root & spans.failed]] = True
    mine = own.of(rows)
    visible = np.logical_or.reduceat(failed_roots[spans.trace[rows]], first)
    felt = np.add.reduceat(comes_to_users(spans, rows.astype(np.int64)).astype(np.int64), first)
    charged: dict[int, list[tuple[int, float]]] = {}
    gone, silent = (column[rows] for column in unanswered.spans(part))
    if spans.passes_on_error[rows].any() or (gone >= 0).any():
        callee = _callees(spans, rows)
        parts = np.where(spans.passes_on_error[rows] & (callee >= 0), mine * (1 - PASSED_ON) / PASSED_ON, 0.0)
        callee, parts = np.where(gone >= 0, gone, callee), np.where(gone >= 0, mine * silent, parts)
        mine = mine * (1 - silent)
        pairs, position = np.unique(outcome.astype(np.int64) << 32 | np.maximum(callee, 0), return_inverse=True)
        for pair, part_of in zip(pairs.tolist(), np.bincount(position.reshape(-1), weights=parts).tolist(), strict=True):
            if part_of > 0:
                charged.setdefault(pair >> 32, []).append((pair & 0xFFFFFFFF, part_of))
    found = zip(
        outcome[first].tolist(),
        np.add.reduceat(mine, first).tolist(),
        visible.tolist(),
        felt.tolist(),
        spans.time_ns[rows[first]].tolist(),
        rows[first].tolist(),
        strict=True,
    )
    return {
        code: _Failures(total, seen, come, time_ns, part, row, charged.get(code, [])) for code, total, seen, come, time_ns, row in found
    }


def _callees(spans: Spans, rows: npt.NDArray[np.integer[Any]]) -> I64:
    """For each of some spans the other service that one of its children is of, -1: none. [r]"""
    asked, callee = np.zeros(len(spans), bool), np.full(len(spans), -1, np.int64)
    asked[rows] = True
    child = np.flatnonzero(asked.take(spans.parent))  # -1 takes the last
    child = child[spans.parent[child] >= 0]
    child = child[spans.service[child] != spans.service[spans.parent[child]]]
    callee[spans.parent[child]] = spans.service[child]
    found: I64 = callee[rows]
    return found


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
