"""Spans and their log records, joined by trace and span id: who called whom, in what order, and how long each worked itself.

An event inside a span is an int64: kind << 40 | payload. Payloads: START, END, END_ERROR none; LOG the template's code; CHILD the code
of the child's operation; CALL the callee's service << 20 | operation. An operation of a service is service << 20 | operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from engine import kernels
from engine.records import I32, I64, SEVERITY_ERROR, U64, Bool, LogColumns, Status
from engine.take.columns import TreeColumns, select

KIND_SHIFT, SERVICE_SHIFT = 40, 20


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
    """Spans of whole traces, by trace, with what the join adds. Rows are positions in `spans`, -1: none."""

    spans: TreeColumns  # [n]
    logs: LogColumns  # [l]
    service: I32  # [n] code of kind "service"
    trace: I32  # [n] position in trace_hi, trace_lo; never falls
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
    step_span: I32  # [s] row
    step_before: I64  # [s] event
    step_after: I64  # [s] the event that follows in the same span
    log_span: I64  # [l] row
    log_template: I32  # [l] code of engine.take.templates
    share: float  # of all traces, when traces had to be left out

    def __len__(self) -> int:
        return len(self.service)


def sampled(trace_hi: U64, trace_lo: U64, share: float) -> Bool:
    """Ids of a share of all traces. The threshold rises and falls, the hash stays: a smaller sample is part of every larger one."""
    return kernels.mixed(trace_hi, trace_lo) < np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def join(
    spans: TreeColumns,
    logs: LogColumns,
    trace: I32,
    *,
    service_of: I32,
    log_template: I32,
    foreign: Bool,
    complete: bool,
    share: float,
) -> Joined:
    """Join spans and log records of the same traces.

    Args: spans by trace; trace int32 [n]: never falls; service_of int32 [resources]: service of a resource; log_template int32 [l];
        foreign bool [l]: the record names another service; complete: a parent that is not here will not come, so its child begins a
        request; share: see Joined.
    """
    spans, trace, parent = _distinct(spans, trace)
    begins = np.concatenate([[True], trace[1:] != trace[:-1]]) if len(trace) else np.zeros(0, bool)
    heads = np.flatnonzero(begins)
    service = service_of.take(spans.resource)
    parent, depth, visit = kernels.hang(parent, service)
    remote = service != service.take(parent)
    remote &= parent >= 0
    server = np.flatnonzero(remote)
    client = parent.take(server)
    remote_client = np.zeros(len(service), bool)
    remote_client[client] = True
    failed = np.flatnonzero(spans.status == Status.ERROR)
    own_error = np.zeros(len(service), bool)
    own_error[failed] = True
    above = parent[failed]
    own_error[above[above >= 0]] = False

    log_span = _log_spans(spans, logs, service, service_of)
    on_span = np.flatnonzero(log_span >= 0)
    passes = np.zeros(len(service), bool)
    passing = on_span[foreign[on_span] & (logs.severity[on_span] >= SEVERITY_ERROR)]
    passes[visit[log_span[passing]]] = True

    step_span, before, after = _steps(
        spans, logs, log_span, log_template, service=service, parent=parent, calls=(client, server), carries=remote_client
    )
    return Joined(
        spans=spans,
        logs=logs,
        service=service,
        trace=np.cumsum(begins, dtype=np.int32) - 1,
        trace_hi=spans.trace_hi.take(heads),
        trace_lo=spans.trace_lo.take(heads),
        parent=parent,
        depth=depth,
        visit=visit,
        root=(parent < 0) if complete else (spans.parent == 0),
        remote_client=remote_client,
        passes_on_error=passes.take(visit),
        own_error=own_error,
        self_ns=kernels.self_time(spans.start_ns, spans.time_ns, parent),
        client=client,
        server=server,
        step_span=step_span,
        step_before=before,
        step_after=after,
        log_span=log_span,
        log_template=log_template,
        share=share,
    )


def _distinct(spans: TreeColumns, trace: I32) -> tuple[TreeColumns, I32, I64]:
    """Spans, their traces and the rows of their parents, without those whose ids, times and sender an earlier row has: sent again."""
    first, parent = kernels.parents(trace, spans.span, spans.parent)
    again = np.flatnonzero(first != np.arange(len(first)))
    for column in (spans.time_ns, spans.start_ns, spans.resource):
        again = again[column[again] == column[first[again]]]
    if not len(again):
        return spans, trace, parent
    kept = np.ones(len(first), bool)
    kept[again] = False
    spans, trace = select(spans, kept), trace[kept]
    return spans, trace, kernels.parents(trace, spans.span, spans.parent)[1]


def _steps(
    spans: TreeColumns,
    logs: LogColumns,
    log_span: I64,
    log_template: I32,
    *,
    service: I32,
    parent: I64,
    calls: tuple[I64, I64],
    carries: Bool,
) -> tuple[I32, I64, I64]:
    """What follows what inside spans (`kernels.steps`). A span that only carries a call has no steps: the callee's tell what happened."""
    client, server = calls
    label = (EventKind.CHILD << KIND_SHIFT) | spans.operation.astype(np.int64)
    label[client] = (EventKind.CALL << KIND_SHIFT) | (service.take(server).astype(np.int64) << SERVICE_SHIFT) | spans.operation.take(server)
    ending = np.full(len(service), EventKind.END << KIND_SHIFT, np.int64)
    ending[spans.status == Status.ERROR] = EventKind.END_ERROR << KIND_SHIFT
    on_span = np.flatnonzero(log_span >= 0)
    records = (EventKind.LOG << KIND_SHIFT) | log_template[on_span].astype(np.int64)
    return kernels.steps(spans.start_ns, parent, label, ending, carries, log_span[on_span], logs.time_ns[on_span], records)


def _log_spans(spans: TreeColumns, logs: LogColumns, service: I32, service_of: I32) -> I64:
    """Row of each record's span, -1: none. A record of another service with this span's id is not this span's."""
    if not len(logs.time_ns) or not len(service):
        return np.full(len(logs.time_ns), -1, np.int64)
    wanted, keys = (kernels.mixed(kernels.mixed(each.trace_hi, each.trace_lo), each.span) for each in (logs, spans))
    row = kernels.rows_of(wanted, keys)
    row[(row >= 0) & (service_of[logs.resource] != service[row])] = -1
    return row
