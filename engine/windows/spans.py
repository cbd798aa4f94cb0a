"""Joined spans in columns and codes, and what they did by code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine import kernels
from engine.records import F32, F64, I32, I64, U64, Bool, SpanKind, Status
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind, Joined, sampled
from engine.windows.codes import EDGE, ROOT, SELF, SPAN_EVENT, Codes
from engine.windows.sums import Tally, Values

_OF_SPANS = ("time_ns", "service", "resource", "operation", "depth", "root", "passes_on_error", "failed", "entry")


@dataclass(frozen=True)
class Spans:
    """Joined spans of whole traces with their steps and values in codes: a chunk of the ring. Rows are positions here."""

    time_ns: I64  # [n] end
    service: I32  # [n]
    resource: I32  # [n] who sent it
    operation: I32  # [n] code of Codes.operations
    trace: I32  # [n] position in trace_hi, trace_lo; never falls
    parent: I32  # [n]
    depth: I32  # [n]
    root: Bool  # [n]
    passes_on_error: Bool  # [n]
    failed: Bool  # [n] error status
    entry: Bool  # [n] a request arrives here: from another service, or from outside
    population: F32  # [n] spans that this one stands for: sampled at the source, and over budget here
    trace_hi: U64  # [t]
    trace_lo: U64  # [t]
    step_span: I32  # [s]
    step_context: I32  # [s]
    step_outcome: I32  # [s]
    value_span: I32  # [v]
    value_key: I32  # [v]
    value: F32  # [v] ln(1 + milliseconds)
    share: float  # of all traces: those whose hash lies below it are here

    def __len__(self) -> int:
        return len(self.time_ns)

    @classmethod
    def of(cls, joined: Joined, codes: Codes) -> Spans:
        """Give codes to what was joined."""
        service, spans = joined.service.astype(np.int64), joined.spans
        operation = codes.operations.codes((service << SERVICE_SHIFT) | spans.operation)
        rows = np.arange(len(joined), dtype=np.int32)
        ended = np.where(joined.own_error, EventKind.END_ERROR, EventKind.END).astype(np.int64) << KIND_SHIFT
        whole = rows, np.full(len(rows), SPAN_EVENT, np.int64), ended
        context, outcome = codes.chances(operation, (joined.step_span, joined.step_before, joined.step_after), whole)
        owner = np.concatenate([joined.step_span, rows])
        if (outcome < 0).any():
            kept = outcome >= 0
            owner, context, outcome = owner[kept], context[kept], outcome[kept]

        local = np.flatnonzero(~joined.remote_client)
        duration = spans.time_ns - spans.start_ns
        gap = (EDGE << KIND_SHIFT) | (service.take(joined.client) << SERVICE_SHIFT) | service.take(joined.server)
        own = (SELF << KIND_SHIFT) | operation.take(local).astype(np.int64)
        begins = joined.root & (spans.kind != SpanKind.CLIENT)
        outside = np.flatnonzero(begins & (operation >= 0))
        requests = (ROOT << KIND_SHIFT) | operation.take(outside).astype(np.int64)
        key = codes.values.codes(np.concatenate([gap, own, requests]))
        between = duration.take(joined.client) - duration.take(joined.server)
        nanoseconds = np.concatenate([between, joined.self_ns.take(local), duration.take(outside)])
        value_span = np.concatenate([joined.client, local, outside]).astype(np.int32)
        value = np.log1p(np.maximum(nanoseconds, 0) / 1e6).astype(np.float32)
        if (key < 0).any():
            valued = key >= 0
            key, value_span, value = key[valued], value_span[valued], value[valued]
        entry = begins
        entry[joined.server] = True
        return cls(
            time_ns=spans.time_ns,
            service=joined.service,
            resource=spans.resource,
            operation=operation,
            trace=joined.trace,
            parent=joined.parent.astype(np.int32),
            depth=joined.depth.astype(np.int32),
            root=joined.root,
            passes_on_error=joined.passes_on_error,
            failed=spans.status == Status.ERROR,
            entry=entry,
            population=(spans.weight / joined.share).astype(np.float32),
            trace_hi=joined.trace_hi,
            trace_lo=joined.trace_lo,
            step_span=owner,
            step_context=context,
            step_outcome=outcome,
            value_span=value_span,
            value_key=key,
            value=value,
            share=joined.share,
        )

    def sample(self, share: float) -> Spans:
        """A smaller share of all traces, by the same hash as the assembler's: a sample is part of every larger one. They stand for more."""
        kept_trace = sampled(self.trace_hi, self.trace_lo, share)
        rows, traces = kernels.chosen(self.trace, kept_trace), np.flatnonzero(kept_trace)
        kept, row, trace = np.zeros(len(self), bool), np.empty(len(self), np.int32), np.empty(len(kept_trace), np.int32)
        kept[rows], row[rows], trace[traces] = True, np.arange(len(rows)), np.arange(len(traces))
        step, value = kernels.chosen(self.step_span, kept), kernels.chosen(self.value_span, kept)
        parent = self.parent.take(rows)
        columns = {name: getattr(self, name).take(rows) for name in _OF_SPANS}
        return Spans(
            **columns,
            trace=trace.take(self.trace.take(rows)),
            parent=np.where(parent >= 0, row.take(parent), parent).astype(np.int32),
            population=(self.population.take(rows) * (self.share / share)).astype(np.float32),
            trace_hi=self.trace_hi.take(traces),
            trace_lo=self.trace_lo.take(traces),
            step_span=row.take(self.step_span.take(step)),
            step_context=self.step_context.take(step),
            step_outcome=self.step_outcome.take(step),
            value_span=row.take(self.value_span.take(value)),
            value_key=self.value_key.take(value),
            value=self.value.take(value),
            share=share,
        )

    @cached_property
    def bounds_ns(self) -> tuple[int, int]:
        """Earliest and latest end; (0, 0) without spans."""
        return (int(self.time_ns.min()), int(self.time_ns.max())) if len(self) else (0, 0)

    @cached_property
    def sums(self) -> Sums:
        """What all of them did."""
        return Sums.of(self, np.ones(len(self), bool))


@dataclass(frozen=True)
class Sums:
    """What some spans of a chunk did, by code. Examples are rows of the chunk."""

    contexts: Tally
    traces: F64  # [contexts] that have the context
    outcomes: Tally
    passed: F64  # [outcomes] of spans that pass on an error
    example: I64  # [outcomes] a span: one that passes nothing on if there is any, the earliest
    values: Values
    longest: I64  # [values] the span of the highest value
    entries: Tally  # requests that arrived, by operation; population counts
    services: Tally  # traces by service
    requests: int  # that ended
    spans: int

    @classmethod
    def of(cls, spans: Spans, use: Bool) -> Sums:
        """Sums over the rows that are used, bool [n]."""
        contexts, outcomes, keys = (int(codes.max(initial=-1)) + 1 for codes in (spans.step_context, spans.step_outcome, spans.value_key))
        chances, traces, hits, passed, example = kernels.step_sums(
            spans.step_span,
            spans.step_context,
            spans.step_outcome,
            use,
            spans.trace,
            spans.passes_on_error,
            spans.time_ns,
            contexts,
            outcomes,
        )
        count, mean, square, longest = kernels.value_sums(spans.value_span, spans.value_key, spans.value, use, keys)
        context, outcome, key = np.flatnonzero(chances), np.flatnonzero(hits), np.flatnonzero(count)
        arrived = np.flatnonzero(use & spans.entry & (spans.operation >= 0))
        services = int(spans.service.max(initial=-1)) + 1
        return cls(
            contexts=Tally(context, chances[context].astype(np.float64)),
            traces=traces[context].astype(np.float64),
            outcomes=Tally(outcome, hits[outcome].astype(np.float64)),
            passed=passed[outcome].astype(np.float64),
            example=example[outcome],
            values=Values(key, count[key], mean[key], square[key]),
            longest=longest[key],
            entries=Tally.dense(np.bincount(spans.operation[arrived], weights=spans.population[arrived])),
            services=Tally.dense(kernels.traces_by_service(spans.trace, spans.service, use, services)),
            requests=int(np.count_nonzero(use & spans.root)),
            spans=int(np.count_nonzero(use)),
        )
