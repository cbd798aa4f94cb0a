"""Metric points as columns, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.records import (
    POINT_MONOTONIC,
    SECOND_NS,
    LinkColumns,
    LogColumns,
    PointColumns,
    PointType,
    Resource,
    SpanColumns,
    Temporality,
    Window,
    series_text,
)
from engine.strings import Resources, Strings
from engine.take.columns import empty


class Point(NamedTuple):
    """One point; seconds instead of nanoseconds."""

    time: float
    metric: str
    value: float = np.nan
    service: str = "shop"
    unit: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    type: PointType = PointType.GAUGE
    temporality: Temporality = Temporality.UNSPECIFIED
    monotonic: bool = False
    flags: int = 0
    start: float = 0
    count: int = 0
    sum: float = 0.0
    counts: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()
    resource: Resource | None = None


def window(points: Sequence[Point], strings: Strings, resources: Resources) -> Window:
    """A window that holds just these points."""
    rows = sorted(points, key=lambda point: point.time)
    sender = [resources.intern(point.resource or Resource(service=point.service)) for point in rows]
    bounds = sorted({point.bounds for point in rows if point.bounds})
    columns = PointColumns(
        time_ns=np.array([round(point.time * SECOND_NS) for point in rows], np.int64),
        resource=np.array(sender, np.int32),
        series=np.array(
            [strings.intern("series", series_text(code, point.metric, point.attributes)) for code, point in zip(sender, rows, strict=True)],
            np.int32,
        ),
        metric=np.array([strings.intern("value", point.metric) for point in rows], np.int32),
        unit=np.array([strings.intern("value", point.unit) for point in rows], np.int32),
        type=np.array([point.type for point in rows], np.uint8),
        temporality=np.array([point.temporality for point in rows], np.uint8),
        flags=np.array([point.flags | (POINT_MONOTONIC if point.monotonic else 0) for point in rows], np.uint8),
        start_ns=np.array([round(point.start * SECOND_NS) for point in rows], np.int64),
        value=np.array([point.value for point in rows], np.float64),
        sum=np.array([point.sum for point in rows], np.float64),
        count=np.array([point.count for point in rows], np.uint64),
        counts_at=np.concatenate([[0], np.cumsum([len(point.counts) for point in rows])]).astype(np.int64),
        counts=np.array([count for point in rows for count in point.counts], np.float64),
        bounds=np.array([bounds.index(point.bounds) if point.bounds else -1 for point in rows], np.int32),
    )
    first, last = (int(columns.time_ns[0]), int(columns.time_ns[-1]) + 1) if rows else (0, 1)
    return Window(
        first,
        last,
        empty(SpanColumns),
        empty(LogColumns),
        columns,
        empty(LinkColumns),
        (),
        tuple(np.array(edges, np.float64) for edges in bounds),
    )
