"""Columns as values: nothing, several as one, some rows of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from engine.records import F32, I32, I64, U8, U64, LinkColumns, LogColumns, PointColumns, SpanColumns


@dataclass(frozen=True, slots=True)
class TreeColumns:
    """What of spans is needed to join them: the rest need not wait with them."""

    time_ns: I64
    resource: I32
    trace_hi: U64
    trace_lo: U64
    span: U64
    parent: U64
    start_ns: I64
    operation: I32
    kind: U8
    status: U8
    weight: F32

    @classmethod
    def of(cls, spans: SpanColumns) -> TreeColumns:
        """Of spans, without copying them."""
        return cls(**{field.name: getattr(spans, field.name) for field in fields(cls)})


Columns = TypeVar("Columns", bound=SpanColumns | TreeColumns | LogColumns | PointColumns | LinkColumns)

_DTYPES = {
    **dict.fromkeys(("resource", "operation", "peer", "error_type", "message", "statement", "template", "exception"), np.int32),
    **dict.fromkeys(("event_name", "series", "metric", "unit", "bounds"), np.int32),
    **dict.fromkeys(("time_ns", "start_ns", "row", "counts_at"), np.int64),
    **dict.fromkeys(("trace_hi", "trace_lo", "span", "parent", "count"), np.uint64),
    **dict.fromkeys(("kind", "status", "peer_kind", "severity", "type", "temporality", "flags"), np.uint8),
    **dict.fromkeys(("value", "sum", "counts"), np.float64),
    "weight": np.float32,
}


def empty(kind: type[Columns]) -> Columns:
    """Columns of no rows.

    >>> len(empty(SpanColumns).time_ns), empty(PointColumns).counts_at.tolist()
    (0, [0])
    """
    arrays = {field.name: np.zeros(1 if field.name == "counts_at" else 0, _DTYPES[field.name]) for field in fields(kind)}
    return kind(**arrays)


def concat(parts: Sequence[Columns], kind: type[Columns]) -> Columns:
    """Several columns as one, rows in the order of `parts`. Point bounds must already point into one table."""
    if not parts:
        return empty(kind)
    if len(parts) == 1:
        return parts[0]
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(kind) if field.name != "counts_at"
    }
    if kind is PointColumns:
        sizes = np.concatenate([np.diff(getattr(part, "counts_at")) for part in parts])  # noqa: B009 - parts are points here
        arrays["counts_at"] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return kind(**arrays)


def gather(parts: Sequence[Columns], kind: type[Columns], *selections: I64) -> list[Columns]:
    """Rows of several columns laid one behind the other: `select(concat(parts), rows)` of each selection.

    A column after the other is laid together and picked from while the cache holds it: a third of the time of all, then all again.
    """
    if kind is PointColumns:
        whole = concat(parts, kind)
        return [select(whole, rows) for rows in selections]
    picked: list[dict[str, npt.NDArray[Any]]] = [{} for _ in selections]
    for field in fields(kind):
        column = laid(parts, field.name)
        for rows, arrays in zip(selections, picked, strict=True):
            arrays[field.name] = column.take(rows)
    return [kind(**arrays) for arrays in picked]


def laid(parts: Sequence[Columns], name: str) -> npt.NDArray[Any]:
    """One column of several columns, laid one behind the other."""
    if len(parts) == 1:
        column: npt.NDArray[Any] = getattr(parts[0], name)
        return column
    return np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, _DTYPES[name])


def select(columns: Columns, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Columns:
    """The given rows (positions in their order, or a mask), ragged bucket counts included."""
    positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.intp)
    if isinstance(columns, PointColumns):
        return cast(Columns, _select_points(columns, positions))
    return replace(columns, **{field.name: getattr(columns, field.name).take(positions) for field in fields(columns)})


def _select_points(points: PointColumns, rows: npt.NDArray[np.intp]) -> PointColumns:
    sizes = np.diff(points.counts_at)[rows]
    counts_at = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    within = np.arange(counts_at[-1]) - np.repeat(counts_at[:-1], sizes)
    counts = points.counts[np.repeat(points.counts_at[:-1][rows], sizes) + within]
    plain = {field.name: getattr(points, field.name)[rows] for field in fields(points) if field.name not in ("counts", "counts_at")}
    return PointColumns(**plain, counts=counts, counts_at=counts_at)


def cut(columns: Columns, start: int, end: int) -> Columns:
    """Rows start ... end - 1, without copying them.

    >>> cut(empty(SpanColumns), 0, 0).time_ns.tolist()
    []
    """
    if isinstance(columns, PointColumns):
        plain = {
            field.name: getattr(columns, field.name)[start:end] for field in fields(columns) if field.name not in ("counts", "counts_at")
        }
        counts_at = columns.counts_at[start : end + 1]
        points = PointColumns(**plain, counts=columns.counts[counts_at[0] : counts_at[-1]], counts_at=counts_at - counts_at[0])
        return cast(Columns, points)
    return replace(columns, **{field.name: getattr(columns, field.name)[start:end] for field in fields(columns)})


def shift_bounds(points: PointColumns, by: int) -> PointColumns:
    """Points whose bounds table was put behind `by` others."""
    if by == 0 or not len(points.bounds):
        return points
    return replace(points, bounds=np.where(points.bounds >= 0, points.bounds + by, -1).astype(np.int32))


def shift_rows(links: LinkColumns, by: int) -> LinkColumns:
    """Links whose spans were put behind `by` others."""
    return replace(links, row=(links.row + by).astype(np.int64)) if by else links


def link_rows(links: LinkColumns, kept: I64, span_count: int) -> LinkColumns:
    """Links of the spans at positions `kept`, with their row in that selection."""
    new_row = np.full(span_count, -1, np.int64)
    new_row[kept] = np.arange(len(kept))
    found = np.flatnonzero(new_row[links.row] >= 0)
    chosen = select(links, found)
    return replace(chosen, row=new_row[chosen.row])
