"""A small shop as windows of telemetry, for the tests of rows: every service, every ten seconds, one of them odd when asked."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.evidence.rows import Rows
from engine.normal.learn import TrainingJob
from engine.records import LinkColumns, LogColumns, PointColumns, PointType, Resource, SpanColumns, SpanKind, Status, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import empty

STEP_NS = 10_000_000_000
START_NS = 1_700_000_000_000_000_000 // STEP_NS * STEP_NS
SERVICES = tuple(f"shop-{name}" for name in ("cart", "stock", "mail", "price"))
OPERATIONS = ("GET /a", "GET /b", "POST /c")


@cache
def jobs(steps: int) -> dict[str, TrainingJob]:
    """A training job of each source that has enough distinct rows (traces), from an hour of quiet."""
    world = World()
    rows = Rows(world.strings, world.resources, EngineSettings(training_steps=steps))
    end = START_NS
    for number in range(400):
        window = world.window(number)
        rows.take(window)
        end = window.end_ns
    rows.learn(end, ())
    found = {}
    while (job := rows.due(end)) is not None:
        found[job.source.value] = job
    return found


class World:
    """Windows of a seeded shop: 4 services, 3 operations and 4 templates each, two gauges each."""

    def __init__(self, seed: int = 0) -> None:
        self.strings, self.resources = Strings(), Resources()
        self.rng = np.random.default_rng(seed)
        self.codes = [self.resources.intern(Resource(service=name, environment="test", pod=name, instance=name)) for name in SERVICES]

    def window(self, number: int, *, odd: str = "", what: str = "error") -> Window:
        """The window that ends (number + 1) steps after the start. `odd`: a service whose spans fail, or whose values jump ("value")."""
        start = START_NS + number * STEP_NS
        failing = odd if what == "error" else ""
        points = self._points(start, odd if what == "value" else "")
        return Window(start, start + STEP_NS, self._spans(start, failing), self._logs(start, failing), points, empty(LinkColumns))

    def _spans(self, start: int, odd: str) -> SpanColumns:
        n = 48
        which, operation = np.arange(n) % len(SERVICES), np.arange(n) // len(SERVICES) % len(OPERATIONS)
        texts = [self.strings.intern("operation", f"{SERVICES[s]} {OPERATIONS[o]}") for s, o in zip(which, operation, strict=True)]
        time_ns = np.sort(start + self.rng.integers(0, STEP_NS, n))
        milliseconds = np.exp(self.rng.normal(2 + operation, 0.3))
        bad = np.array([SERVICES[s] == odd for s in which])
        zeros = np.zeros(n, np.int32)
        error = self.strings.intern("value", "SeatLost")
        return SpanColumns(
            time_ns=time_ns,
            resource=np.array(self.codes, np.int32)[which],
            trace_hi=np.ones(n, np.uint64),
            trace_lo=self.rng.integers(1, 2**60, n).astype(np.uint64),
            span=self.rng.integers(1, 2**60, n).astype(np.uint64),
            parent=np.zeros(n, np.uint64),
            start_ns=time_ns - (milliseconds * 1e6).astype(np.int64),
            operation=np.array(texts, np.int32),
            kind=np.full(n, SpanKind.SERVER, np.uint8),
            status=np.where(bad, Status.ERROR, Status.UNSET).astype(np.uint8),
            peer=zeros,
            peer_kind=np.zeros(n, np.uint8),
            error_type=np.where(bad, error, 0).astype(np.int32),
            message=zeros,
            statement=zeros,
            weight=np.ones(n, np.float32),
        )

    def _logs(self, start: int, odd: str) -> LogColumns:
        n = 32
        which, template = np.arange(n) % len(SERVICES), self.rng.integers(0, 4, n)
        texts = [self.strings.intern("template", f"{SERVICES[s]} wrote line {t}") for s, t in zip(which, template, strict=True)]
        bad = np.array([SERVICES[s] == odd for s in which])
        none = np.zeros(n, np.uint64)
        return LogColumns(
            time_ns=np.sort(start + self.rng.integers(0, STEP_NS, n)),
            resource=np.array(self.codes, np.int32)[which],
            trace_hi=none,
            trace_lo=none,
            span=none,
            severity=np.where(bad, 17, 9).astype(np.uint8),
            template=np.where(bad, self.strings.intern("template", "no seat left in row <*>"), texts).astype(np.int32),
            exception=np.zeros(n, np.int32),
            event_name=np.zeros(n, np.int32),
            peer=np.zeros(n, np.int32),
            statement=np.zeros(n, np.int32),
        )

    def _points(self, start: int, odd: str) -> PointColumns:
        n = 2 * len(SERVICES)
        which, metric = np.arange(n) % len(SERVICES), np.arange(n) // len(SERVICES)
        names = ("cpu", "memory")
        series = [self.strings.intern("series", f"{self.codes[s]}\x1f{names[m]}") for s, m in zip(which, metric, strict=True)]
        value = self.rng.normal(50 + 50 * metric, 3)
        value[np.array([SERVICES[s] == odd for s in which])] *= 30
        whole = np.zeros(n, np.int64)
        return PointColumns(
            time_ns=np.full(n, start + STEP_NS // 2),
            resource=np.array(self.codes, np.int32)[which],
            series=np.array(series, np.int32),
            metric=np.array([self.strings.intern("value", names[m]) for m in metric], np.int32),
            unit=np.zeros(n, np.int32),
            type=np.full(n, PointType.GAUGE, np.uint8),
            temporality=np.zeros(n, np.uint8),
            flags=np.zeros(n, np.uint8),
            start_ns=whole,
            value=value,
            sum=np.full(n, np.nan),
            count=np.zeros(n, np.uint64),
            counts_at=np.zeros(n + 1, np.int64),
            counts=np.zeros(0),
            bounds=np.full(n, -1, np.int32),
        )
