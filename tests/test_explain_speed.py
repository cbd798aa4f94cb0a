"""An explanation while everything is ill takes less than a second: 50 services in one chain, thousands of series, all departing."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from engine.pipeline import Engine
from engine.records import MINUTE_NS, SECOND_NS, Batch, PointColumns, PointType, Resource, SpanColumns, SpanKind, Status, series_text
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import empty

START_NS = 1_700_000_040 * SECOND_NS
SERVICES, METRICS, MINUTES, REQUESTS = 50, 160, 30, 12
ILL = MINUTES - 2  # the minute from which all is ill
LIMIT_SECONDS = 1.0  # of CPU


class World:
    """A chain of services; each has gauges that rise together, and its spans become slow and fail."""

    def __init__(self) -> None:
        self.strings, self.resources, self.rng = Strings(), Resources(), np.random.default_rng(1)
        code = self.strings.intern
        names = [f"pool.{number}.utilization" for number in range(METRICS)]
        self.of = np.array([self.resources.intern(Resource(service=f"service-{number:02}")) for number in range(SERVICES)], np.int32)
        self.metric = np.tile(np.array([code("value", name) for name in names], np.int32), SERVICES)
        self.series = np.array([code("series", series_text(int(one), name, ())) for one in self.of for name in names], np.int32)
        self.operation = np.array([code("operation", f"GET /{number}") for number in range(SERVICES)], np.int32)

    def points(self, minute: int) -> PointColumns:
        """A point of every series."""
        count = len(self.series)
        columns = {name: np.zeros(count, getattr(empty(PointColumns), name).dtype) for name in PointColumns.__slots__}
        columns |= {"series": self.series, "metric": self.metric, "resource": np.repeat(self.of, METRICS)}
        columns |= {"counts": np.zeros(0), "counts_at": np.zeros(count + 1, np.int64), "bounds": np.full(count, -1, np.int32)}
        columns["unit"] = np.full(count, self.strings.intern("value", "1"), np.int32)
        columns["type"] = np.full(count, PointType.GAUGE, np.uint8)
        columns["time_ns"] = np.full(count, START_NS + minute * MINUTE_NS)
        columns["value"] = self.rng.uniform(0.2, 0.3, count) + (0.6 if minute >= ILL else 0)
        return PointColumns(**columns)

    def spans(self, minute: int) -> SpanColumns:
        """Requests down the whole chain."""
        depth = np.tile(np.arange(SERVICES), REQUESTS)
        request = np.repeat(np.arange(REQUESTS), SERVICES)
        begins = START_NS + minute * MINUTE_NS + request * 4 * SECOND_NS
        took = 300_000_000 * self.rng.lognormal(0, 0.05, len(depth)) * (6 if minute >= ILL else 1)
        base = empty(SpanColumns)
        columns = {name: np.zeros(len(depth), getattr(base, name).dtype) for name in SpanColumns.__slots__}
        ids = (minute * 100_000 + 1 + np.arange(len(depth))).astype(np.uint64)
        failed = (minute >= ILL) & (self.rng.random(len(depth)) < 0.3)
        return replace(
            SpanColumns(**columns),
            time_ns=begins + took.astype(np.int64) - depth * 1_000_000,
            start_ns=begins + depth * 1_000_000,
            resource=self.of[depth],
            trace_lo=(minute * 1000 + 1 + request).astype(np.uint64),
            span=ids,
            parent=np.where(depth == 0, 0, ids - 1).astype(np.uint64),
            operation=self.operation[depth],
            kind=np.full(len(depth), SpanKind.SERVER, np.uint8),
            status=np.where(failed, Status.ERROR, Status.UNSET).astype(np.uint8),
            weight=np.ones(len(depth), np.float32),
        )


@pytest.mark.slow
def test_fifty_services_and_thousands_of_anomalies_are_explained_within_a_second() -> None:
    world = World()
    engine = Engine(world.strings, world.resources, EngineSettings(rows=False))
    for minute in range(MINUTES):
        batch = Batch(spans=world.spans(minute), points=world.points(minute))
        engine.observe(batch, START_NS + minute * MINUTE_NS + 59 * SECOND_NS)
    took = []
    for again in range(3):  # other spans of time: nothing of the last answer helps
        began = time.process_time()
        finding = engine.explain(START_NS + ILL * MINUTE_NS - again, START_NS + MINUTES * MINUTE_NS)
        took.append(time.process_time() - began)
    assert len(finding.affected) >= 10
    assert len(finding.evidence) >= 100
    assert min(took) < LIMIT_SECONDS
