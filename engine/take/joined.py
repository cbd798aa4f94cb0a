"""Spans and their log records, joined by trace and span id: who called whom, in what order, and how long each worked itself.

An event inside a span is an int64: kind << 40 | payload. Payloads: START, END, END_ERROR none; LOG the template's code; CHILD the code
of the child's operation; CALL the callee's service << 20 | operation. An operation of a service is service << 20 | operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from engine.records import I32, I64, SEVERITY_ERROR, U64, Bool, LogColumns, SpanColumns, Status
from engine.take.columns import select

KIND_SHIFT, SERVICE_SHIFT = 40, 20
ROUNDS = 20  # of pointer doubling: chains of 2^20 spans; what is still not at its root then hangs in a circle


class EventKind(IntEnum):
    """What happens inside a span."""

    START = 0
    END = 1
    END_ERROR = 2
    LOG = 3
    CHILD = 4
    CALL = 5


@dataclass(frozen=True, slots=True)
class Joined:
    """Spans of whole traces with what the join adds. Rows are positions in `spans`, -1: none."""

    spans: SpanColumns  # [n]
    logs: LogColumns  # [l]
    service: I32  # [n] code of kind "service"
    trace: I64  # [n] position in trace_hi, trace_lo
    trace_hi: U64  # [t]
    trace_lo: U64  # [t]
    parent: I64  # [n] row
    depth: I64  # [n] 0: no parent here
    visit: I64  # [n] row of the topmost span reached without leaving the service
    root: Bool  # [n] a request begins here
    remote_client: Bool  # [n] only carries a call to another service
    passes_on_error: Bool  # [n] its visit logs an error that names another service
    own_error: Bool  # [n] error status, and no child has one
    self_ns: I64  # [n] duration less the union of its children
    client: I64  # [c] row of the calling span
    server: I64  # [c] row of its child in another service
    step_span: I64  # [s] row
    step_before: I64  # [s] event
    step_after: I64  # [s] the event that follows in the same span
    log_span: I64  # [l] row
    log_template: I32  # [l] code of engine.take.templates
    share: float  # of all traces, when traces had to be left out

    def __len__(self) -> int:
        return len(self.service)


def mixed(a: U64, b: U64) -> U64:
    """One 64-bit key for two (SplitMix64's finaliser, Steele et al. 2014); two of 500 k pairs collide with probability 1e-8."""
    with np.errstate(over="ignore"):
        x = a * np.uint64(0x9E3779B97F4A7C15) ^ b
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def rows_of(wanted: U64, keys: U64) -> I64:
    """For each wanted key the first row of `keys` that has it, -1 if none."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order[place]] == wanted, order[place], -1).astype(np.int64)


def repeated(spans: SpanColumns, key: U64) -> Bool:
    """Rows that an earlier row repeats: same ids, times and sender (an export that was sent again)."""
    first = rows_of(key, key)
    again: Bool = first != np.arange(len(key))
    for column in (spans.time_ns, spans.start_ns, spans.resource):
        again &= column == column[first]
    return again


def hang(parent: I64, service: I32) -> tuple[I64, I64, I64]:
    """Parent, depth and visit of each row by pointer doubling. Rows that hang in a circle lose their parent."""
    rows = np.arange(len(parent))
    above, depth = parent.copy(), (parent >= 0).astype(np.int64)
    for _ in range(ROUNDS):
        waiting = np.flatnonzero(above >= 0)
        if not len(waiting):
            break
        depth[waiting] += depth[above[waiting]]
        above[waiting] = above[above[waiting]]
    else:
        return hang(np.where(above >= 0, -1, parent), service)
    visit = np.where((parent >= 0) & (service[parent] == service), parent, rows)
    while (visit[visit] != visit).any():
        visit = visit[visit]
    return parent, depth, visit


def self_time(spans: SpanColumns, parent: I64) -> I64:
    """Duration of each span less the union of its children's intervals, ns [n]."""
    duration: I64 = np.maximum(spans.time_ns - spans.start_ns, 0)
    child = np.flatnonzero(parent >= 0)
    if not len(child):
        return duration
    child = child[np.lexsort((spans.start_ns[child], parent[child]))]
    owner = parent[child]
    begins = np.clip(spans.start_ns[child] - spans.start_ns[owner], 0, duration[owner])
    ends = np.clip(spans.time_ns[child] - spans.start_ns[owner], begins, duration[owner])
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    # Running maximum inside each owner: each starts above all that come before it. Microseconds where nanoseconds would overflow.
    unit = 1 if (float(duration[owner].max()) + 1) * first.sum() < 2**62 else 1000
    lift = (np.cumsum(first) - 1) * (int(duration[owner].max()) // unit + 1)
    reached = (np.maximum.accumulate(ends // unit + lift) - lift) * unit
    before = np.where(first, 0, np.concatenate([[0], reached[:-1]]))
    covered = np.zeros(len(duration), np.int64)
    np.add.at(covered, owner, np.maximum(0, ends - np.maximum(begins, before)))
    own: I64 = np.maximum(0, duration - covered)
    return own


def steps(spans: SpanColumns, service: I32, parent: I64, calls: tuple[I64, I64], log: tuple[I64, I64, I32]) -> tuple[I64, I64, I64]:
    """Consecutive events inside spans by time: start, calls, local children, logs, end. Returns span row, event, next event.

    A span that only carries a call has none: the callee's tells what happened. `calls`: client and server rows; `log`: span row, time_ns,
    template.
    """
    client, server = calls
    count = len(parent)
    rows, child = np.arange(count), np.flatnonzero(parent >= 0)
    operation = spans.operation.astype(np.int64)
    label = (EventKind.CHILD << KIND_SHIFT) | operation
    label[client] = (EventKind.CALL << KIND_SHIFT) | (service[server].astype(np.int64) << SERVICE_SHIFT) | operation[server]
    ending = np.where(spans.status == Status.ERROR, EventKind.END_ERROR, EventKind.END).astype(np.int64) << KIND_SHIFT
    log_span, log_time, log_template = log
    owner = np.concatenate([rows, parent[child], log_span, rows])
    event = np.concatenate([np.zeros(count, np.int64), label[child], (EventKind.LOG << KIND_SHIFT) | log_template.astype(np.int64), ending])
    earliest, latest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    time = np.concatenate([np.full(count, earliest), spans.start_ns[child], log_time, np.full(count, latest)])
    carries = np.zeros(count, bool)
    carries[client] = True
    keep = np.flatnonzero(~carries[owner])
    keep = keep[np.lexsort((time[keep], owner[keep]))]
    owner, event = owner[keep], event[keep]
    follows = np.flatnonzero(owner[1:] == owner[:-1])
    return owner[follows], event[follows], event[follows + 1]


def join(
    spans: SpanColumns,
    logs: LogColumns,
    *,
    service_of: I32,
    log_template: I32,
    foreign: Bool,
    complete: bool,
    share: float,
) -> Joined:
    """Join spans and log records of the same traces.

    Args: service_of int32 [resources]: service of a resource; log_template int32 [l]; foreign bool [l]: the record names another
        service; complete: a parent that is not here will not come, so its child begins a request; share: see Joined.
    """
    trace_key = mixed(spans.trace_hi, spans.trace_lo)
    span_key = mixed(trace_key, spans.span)
    again = repeated(spans, span_key)
    if again.any():
        spans, trace_key, span_key = select(spans, ~again), trace_key[~again], span_key[~again]
    _, first, trace = np.unique(trace_key, return_index=True, return_inverse=True)
    service = service_of[spans.resource]
    parent = np.where(spans.parent == 0, -1, rows_of(mixed(trace_key, spans.parent), span_key))
    parent, depth, visit = hang(parent, service)
    child = np.flatnonzero(parent >= 0)
    server = child[service[child] != service[parent[child]]]
    client = parent[server]
    remote_client = np.zeros(len(service), bool)
    remote_client[client] = True

    log_span = rows_of(mixed(mixed(logs.trace_hi, logs.trace_lo), logs.span), span_key)
    # A record of another service with this span's id is not this span's.
    log_span[(log_span >= 0) & (service_of[logs.resource] != service[log_span] if len(service) else False)] = -1
    on_span = np.flatnonzero(log_span >= 0)
    passes = np.zeros(len(service), bool)
    passing = on_span[foreign[on_span] & (logs.severity[on_span] >= SEVERITY_ERROR)]
    passes[visit[log_span[passing]]] = True

    failed = spans.status == Status.ERROR
    child_failed = np.zeros(len(service), bool)
    child_failed[parent[child[failed[child]]]] = True
    step_span, before, after = steps(
        spans, service, parent, (client, server), (log_span[on_span], logs.time_ns[on_span], log_template[on_span])
    )
    return Joined(
        spans=spans,
        logs=logs,
        service=service,
        trace=trace.reshape(-1).astype(np.int64),
        trace_hi=spans.trace_hi[first],
        trace_lo=spans.trace_lo[first],
        parent=parent,
        depth=depth,
        visit=visit,
        root=(parent < 0) if complete else (spans.parent == 0),
        remote_client=remote_client,
        passes_on_error=passes[visit],
        own_error=failed & ~child_failed,
        self_ns=self_time(spans, parent),
        client=client,
        server=server,
        step_span=step_span,
        step_before=before,
        step_after=after,
        log_span=log_span,
        log_template=log_template,
        share=share,
    )
