"""Columns of records joined, chosen by row and cut by time. Points with buckets are not needed here, and lose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from engine.records import I64, Batch, Bool, LinkColumns, LogColumns, PointColumns, SpanColumns

Columns = TypeVar("Columns", SpanColumns, LogColumns, LinkColumns, PointColumns)
IDS = frozenset({"span", "trace_hi", "trace_lo", "parent"})
BUCKETS = frozenset({"counts", "counts_at"})


def joined(parts: Sequence[Columns], kind: type[Columns]) -> Columns:
    """Several columns as one."""
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        if parts
        else np.zeros(0, np.uint64 if field.name in IDS else np.int64)
        for field in fields(kind)
        if field.name not in BUCKETS
    }
    if kind is PointColumns:
        columns |= {"counts": np.zeros(0), "counts_at": np.zeros(len(columns["time_ns"]) + 1, np.int64)}
    return kind(**columns)


def chosen(columns: Columns, keep: Bool | I64) -> Columns:
    """The rows of a mask, or at positions, in their order."""
    kept = {field.name: getattr(columns, field.name)[keep] for field in fields(columns) if field.name not in BUCKETS}
    if isinstance(columns, PointColumns):
        kept |= {"counts": np.zeros(0), "counts_at": np.zeros(len(kept["time_ns"]) + 1, np.int64)}
    return replace(columns, **kept)


def joined_batches(batches: Sequence[Batch]) -> Batch:
    """Several batches as one; links keep to their spans."""
    links, count = [], 0
    for batch in batches:
        if batch.links is not None:
            links.append(replace(batch.links, row=batch.links.row + count))
        count += 0 if batch.spans is None else len(batch.spans.time_ns)
    return Batch(
        spans=joined([batch.spans for batch in batches if batch.spans is not None], SpanColumns),
        logs=joined([batch.logs for batch in batches if batch.logs is not None], LogColumns),
        points=joined([batch.points for batch in batches if batch.points is not None], PointColumns),
        links=joined(links, LinkColumns),
        changes=tuple(change for batch in batches for change in batch.changes),
    )


def part(batch: Batch, spans: Bool, logs: Bool, points: Bool) -> Batch:
    """The rows of three masks, without changes. Args: a batch that has all columns."""
    assert batch.spans is not None
    assert batch.logs is not None
    assert batch.points is not None
    assert batch.links is not None
    links = chosen(batch.links, spans[batch.links.row])
    place = np.cumsum(spans) - 1
    return Batch(
        spans=chosen(batch.spans, spans),
        logs=chosen(batch.logs, logs),
        points=chosen(batch.points, points),
        links=replace(links, row=place[links.row]),
    )


def before(batch: Batch, time_ns: int) -> tuple[Batch, Batch]:
    """What a batch holds before a time (of a span: its end), and the rest. Args: a batch that has all columns."""
    assert batch.spans is not None
    assert batch.logs is not None
    assert batch.points is not None
    masks = [columns.time_ns < time_ns for columns in (batch.spans, batch.logs, batch.points)]
    now, later = part(batch, *masks), part(batch, *(~mask for mask in masks))
    changes = batch.changes
    return (
        replace(now, changes=tuple(change for change in changes if change.time_ns < time_ns)),
        replace(later, changes=tuple(change for change in changes if change.time_ns >= time_ns)),
    )
