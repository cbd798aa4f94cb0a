"""Spans and log records as columns, and a small shop that answers requests, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np

from engine.evidence.traces import Traces
from engine.records import SECOND_NS, Evidence, LinkColumns, LogColumns, PointColumns, Resource, SpanColumns, SpanKind, Status, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import empty, select

T0 = 1_700_000_040  # a whole minute
MS = 1_000_000


@dataclass
class Records:
    """Rows by keyword, columns at the end. Times in seconds after T0."""

    strings: Strings = field(default_factory=Strings)
    resources: Resources = field(default_factory=Resources)
    spans: list[dict[str, object]] = field(default_factory=list)
    logs: list[dict[str, object]] = field(default_factory=list)

    def service(self, name: str) -> int:
        """Resource code."""
        return self.resources.intern(Resource(service=name))

    def span(self, service: str, operation: str, start: float, milliseconds: float, **more: int) -> None:
        """One span; `more` are columns by name."""
        begins = T0 * SECOND_NS + round(start * 1e9)
        row = {"resource": self.service(service), "operation": self.strings.intern("operation", operation), "start_ns": begins}
        self.spans.append({"trace_hi": 7, "kind": int(SpanKind.INTERNAL), **row, "time_ns": begins + round(milliseconds * MS), **more})

    def log(self, service: str, body: str, time: float, severity: int = 9, **more: int) -> None:
        """One log record."""
        row = {"resource": self.service(service), "template": self.strings.intern("template", body), "severity": severity}
        self.logs.append({"time_ns": T0 * SECOND_NS + round(time * 1e9), "trace_hi": 7, **row, **more})

    def all_spans(self) -> SpanColumns:
        """Spans by time."""
        columns = _columns(SpanColumns, self.spans)
        return replace(columns, weight=np.ones(len(self.spans), np.float32))

    def all_logs(self) -> LogColumns:
        """Log records by time."""
        return _columns(LogColumns, self.logs)

    def window(self, start: float, end: float) -> Window:
        """Everything in [start, end)."""
        parts, bounds = [], [T0 * SECOND_NS + round(at * 1e9) for at in (start, end)]
        for columns in (self.all_spans(), self.all_logs()):
            parts.append(select(columns, (columns.time_ns >= bounds[0]) & (columns.time_ns < bounds[1])))
        return Window(bounds[0], bounds[1], parts[0], parts[1], empty(PointColumns), empty(LinkColumns))

    def windows(self, end: float) -> Iterator[Window]:
        """Windows of ten seconds up to `end`."""
        spans, logs = self.all_spans(), self.all_logs()
        for start in range(0, round(end), 10):
            low, high = (T0 + start) * SECOND_NS, (T0 + start + 10) * SECOND_NS
            here = [select(part, (part.time_ns >= low) & (part.time_ns < high)) for part in (spans, logs)]
            yield Window(low, high, here[0], here[1], empty(PointColumns), empty(LinkColumns))


def _columns(kind: type, rows: list[dict[str, object]]) -> SpanColumns | LogColumns:
    blank = empty(kind)
    rows = sorted(rows, key=lambda row: row["time_ns"])
    return kind(
        **{column.name: np.array([row.get(column.name, 0) for row in rows], getattr(blank, column.name).dtype) for column in fields(kind)}
    )


@dataclass(frozen=True)
class Fault:
    """What goes wrong while it lasts; milliseconds."""

    network: float = 0.0  # more on calls to the stock service
    work: float = 0.0  # more in the stock service itself
    fails: bool = False  # the stock service ends with an error
    skips: bool = False  # the stock service returns before its second step
    without: bool = False  # the shop no longer calls the stock service
    silent: bool = False  # the stock service sends nothing, and nobody answers who calls it
    breaks: bool = False  # the span that carries the call to the stock service ends with an error
    spreads: bool = False  # so do cart, and the span of web that carries the call to cart; web answers all the same
    again: bool = False  # web calls cart once more, and that call succeeds
    others: int = 0  # requests a second that take the same way in and need no more than web
    requests: int = 1  # a second


def shop(seconds: int, fault: Callable[[int], Fault] = lambda _: Fault(), seed: int = 1) -> Records:
    """A request a second: web calls cart, cart calls stock, stock reads a table; each logs what it does."""
    records, rng = Records(), np.random.default_rng(seed)
    number = 0
    for second in range(seconds):
        now = fault(second)
        for _ in range(now.requests):
            number += 1
            _request(records, number, second + float(rng.uniform(0, 0.5)), now, rng)
        for _ in range(now.others):
            number += 1
            begins, took = second + float(rng.uniform(0, 0.5)), 24 * float(rng.lognormal(0, 0.1))
            records.span("web", "GET /", begins, took, span=number * 100, kind=int(SpanKind.SERVER), trace_lo=number)
    return records


def _request(records: Records, number: int, start: float, fault: Fault, rng: np.random.Generator) -> None:
    def jitter(milliseconds: float) -> float:
        return milliseconds * float(rng.lognormal(0, 0.1))

    ids = iter(range(number * 100 + 1, number * 100 + 100))
    root, to_cart, cart, to_stock, stock, read = (next(ids) for _ in range(6))
    gap, work = jitter(2) + fault.network, jitter(5) + fault.work
    total = {"stock": work + 3, "cart": work + gap + 8, "web": work + gap + 14}
    trace, error = {"trace_lo": number}, int(Status.ERROR)
    records.span("web", "GET /", start, total["web"], span=root, kind=int(SpanKind.SERVER), **trace)
    spread = error if fault.spreads else 0
    call = {"parent": root, "kind": int(SpanKind.CLIENT)}
    records.span("web", "GET", start + 0.001, total["cart"] + 2, span=to_cart, status=spread, **call, **trace)
    server = {"span": cart, "parent": to_cart, "kind": int(SpanKind.SERVER), "status": spread}
    records.span("cart", "GET /cart", start + 0.002, total["cart"], **server, **trace)
    if fault.again:
        records.span("web", "GET", start + 0.01, total["cart"] + 2, span=next(ids), **call, **trace)
    records.log("cart", "Cart#10 opening", start + 0.003, span=cart, **trace)
    if fault.without:
        return
    broken = error if fault.breaks else 0
    call = {"span": to_stock, "parent": cart, "kind": int(SpanKind.CLIENT), "status": broken}
    records.span("cart", "GET", start + 0.004, total["stock"] + gap, **call, **trace)
    if fault.silent:
        return
    kind, status = int(SpanKind.SERVER), error if fault.fails else 0
    records.span(
        "stock", "GET /stock", start + 0.004 + gap / 2e3, total["stock"], span=stock, parent=to_stock, kind=kind, status=status, **trace
    )
    records.log("stock", "Stock#20 looking", start + 0.0041 + gap / 2e3, span=stock, **trace)
    if not fault.skips:
        records.span("stock", "SELECT stock", start + 0.0045 + gap / 2e3, 2.0, span=read, parent=stock, **trace)
        records.log("stock", "Stock#31 found", start + 0.007 + gap / 2e3, span=stock, **trace)


def evidence(records: Records, start: int, end: int) -> list[Evidence]:
    """Stream the records and ask about [start, end]."""
    traces = Traces(records.strings, records.resources, EngineSettings())
    for window in records.windows(end + 40):
        traces.take(window)
    return traces.evidence((T0 + start) * SECOND_NS, (T0 + end) * SECOND_NS)


def z_of(found: list[Evidence], *families: str) -> dict[str, float]:
    """Highest Z by service."""
    best: dict[str, float] = {}
    for piece in found:
        if piece.family in families:
            best[piece.service] = max(best.get(piece.service, 0.0), piece.z)
    return best
