"""Small systems that write OTLP/JSON: requests as trees of calls, log records, gauges and change events, with what goes wrong and when."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.pipeline import Engine
from engine.records import SECOND_NS, Incident, IncidentState, SpanKind, Status
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json

WIRE_SECONDS = 0.001  # from caller to callee, and back
INFO, ERROR = 9, 17
Payload = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """An operation of a service: it works, calls others one after the other, works again, and ends.

    Milliseconds are medians. `database` makes it a client span of its caller, which no server answers with spans of its own.
    """

    service: str
    operation: str
    milliseconds: float
    calls: tuple[Call, ...] = ()
    database: str = ""
    statement: str = ""
    timeout_ms: float = 0.0  # of its caller; 0: waits for ever
    log: str = ""

    def with_call(self, service: str, operation: str, **more: Any) -> Call:
        """The same tree, with other values in every call of that operation."""
        calls = tuple(call.with_call(service, operation, **more) for call in self.calls)
        changed = replace(self, calls=calls)
        return replace(changed, **more) if (self.service, self.operation) == (service, operation) else changed


@dataclass
class Sender:
    """Collects records of services and gives them out as exports, in order of time. Chance by seed."""

    seed: int = 1
    versions: dict[str, str] = field(default_factory=dict)  # now, by service
    wrong_ns: dict[str, int] = field(default_factory=dict)  # how far a service's clock is ahead
    _items: list[tuple[int, str, tuple[str, str], Payload]] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def request(self, call: Call, at_ns: int) -> None:
        """One request from outside."""
        trace = f"{next(self._number):032x}"
        self._serve(call, at_ns, trace, "")

    def _serve(self, call: Call, start_ns: int, trace: str, parent: str) -> tuple[int, bool]:
        """Write the server span of a call and all below; when it ended, and whether it failed."""
        span, failed = self._id(), False
        work_ns = round(call.milliseconds * float(self.rng.lognormal(0, 0.15)) * 1e6)
        now = start_ns + work_ns // 2
        for below in call.calls:
            now, error = self._call(below, call.service, now, trace, span)
            if error:
                failed = True
                self.log(call.service, now, error, severity=ERROR, trace=trace, span=span)
                break
        now += work_ns - work_ns // 2
        if call.log:
            self.log(call.service, now, call.log, trace=trace, span=span)
        self._span(call.service, call.operation, SpanKind.SERVER, start_ns, now, trace, span, parent, failed=failed)
        return now, failed

    def _call(self, call: Call, caller: str, start_ns: int, trace: str, parent: str) -> tuple[int, str]:
        """Write the client span of a call, and the server's; when the caller goes on, and with what error."""
        span = self._id()
        if call.database:
            end_ns = start_ns + round(call.milliseconds * float(self.rng.lognormal(0, 0.15)) * 1e6)
            about = {"db.system.name": "postgresql", "db.namespace": call.database, "db.query.text": call.statement}
            self._span(caller, call.operation, SpanKind.CLIENT, start_ns, end_ns, trace, span, parent, about=about)
            return end_ns, ""
        wire_ns = round(WIRE_SECONDS * float(self.rng.lognormal(0, 0.2)) * 1e9)
        answered_ns, failed = self._serve(call, start_ns + wire_ns, trace, span)
        end_ns, error = answered_ns + wire_ns, f"{call.service} answered 500" if failed else ""
        if call.timeout_ms and end_ns - start_ns > call.timeout_ms * 1e6:
            end_ns, error = start_ns + round(call.timeout_ms * 1e6), f"timeout connecting to {call.service}"
        about = {"server.address": call.service}
        self._span(caller, call.operation, SpanKind.CLIENT, start_ns, end_ns, trace, span, parent, failed=bool(error), about=about)
        return end_ns, error

    def _id(self) -> str:
        return f"{next(self._number):016x}"

    def _span(
        self,
        service: str,
        operation: str,
        kind: SpanKind,
        start_ns: int,
        end_ns: int,
        trace: str,
        span: str,
        parent: str,
        *,
        failed: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        record = {
            "traceId": trace,
            "spanId": span,
            "parentSpanId": parent,
            "name": operation,
            "kind": int(kind),
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(end_ns),
            "attributes": attributes(about or {}),
            "status": {"code": int(Status.ERROR)} if failed else {},
        }
        self._add(end_ns, "resourceSpans", service, record)

    def log(
        self, service: str, time_ns: int, body: str, *, severity: int = INFO, trace: str = "", span: str = "", about: Payload | None = None
    ) -> None:
        """One log record."""
        record = {"timeUnixNano": str(time_ns), "severityNumber": severity, "body": {"stringValue": body}, "traceId": trace, "spanId": span}
        self._add(time_ns, "resourceLogs", service, {**record, "attributes": attributes(about or {})})

    def change(self, service: str, time_ns: int, event: str, summary: str, about: Payload) -> None:
        """A change event, as a log record."""
        record = {"timeUnixNano": str(time_ns), "severityNumber": INFO, "body": {"stringValue": summary}, "eventName": event}
        self._add(time_ns, "resourceLogs", service, {**record, "attributes": attributes(about)})

    def gauge(self, service: str, time_ns: int, metric: str, value: float, unit: str = "1") -> None:
        """One point of a gauge."""
        point = {"timeUnixNano": str(time_ns), "asDouble": value}
        self._add(time_ns, "resourceMetrics", service, {"name": metric, "unit": unit, "gauge": {"dataPoints": [point]}})

    def _add(self, time_ns: int, signal: str, service: str, record: Payload) -> None:
        if service in self.wrong_ns:
            record = _later(record, self.wrong_ns[service])
        self._items.append((time_ns, signal, (service, self.versions.get(service, "v1.0.0")), record))

    def exports(self, seconds: float) -> Iterator[tuple[int, Payload]]:
        """OTLP/JSON exports of so many seconds each, one a signal: received time, payload."""
        step_ns = round(seconds * SECOND_NS)
        batches: dict[int, list[tuple[int, str, tuple[str, str], Payload]]] = defaultdict(list)
        for item in sorted(self._items, key=lambda item: item[0]):
            batches[item[0] // step_ns].append(item)
        for number, batch in sorted(batches.items()):
            for signal in sorted({item[1] for item in batch}):
                by_resource: dict[tuple[str, str], list[Payload]] = defaultdict(list)
                for _, its_signal, resource, record in batch:
                    if its_signal == signal:
                        by_resource[resource].append(record)
                yield (number + 1) * step_ns, {signal: [_of_resource(signal, *one) for one in by_resource.items()]}


def _of_resource(signal: str, resource: tuple[str, str], records: list[Payload]) -> Payload:
    service, version = resource
    scoped, items = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}.get(
        signal, ("scopeMetrics", "metrics")
    )
    about = {"service.name": service, "service.version": version, "service.instance.id": f"{service}-0"}
    return {"resource": {"attributes": attributes(about)}, scoped: [{items: records}]}


def _later(record: Any, by_ns: int) -> Any:
    """A record with all its times moved."""
    if isinstance(record, list):
        return [_later(each, by_ns) for each in record]
    if not isinstance(record, dict):
        return record
    return {key: str(int(each) + by_ns) if key.endswith("UnixNano") else _later(each, by_ns) for key, each in record.items()}


def attributes(values: Mapping[str, Any]) -> list[Payload]:
    """OTLP attributes of texts, numbers and lists of texts."""

    def value(plain: Any) -> Payload:
        if isinstance(plain, list):
            return {"arrayValue": {"values": [value(each) for each in plain]}}
        return {"intValue": str(plain)} if isinstance(plain, int) else {"stringValue": plain}

    return [{"key": key, "value": value(plain)} for key, plain in values.items()]


def traffic(
    sender: Sender,
    start_ns: int,
    end_ns: int,
    per_second: float,
    requests: Callable[[int], Sequence[Call]],
    gauges: Callable[[int], Mapping[tuple[str, str], float]],
    versions: Callable[[int], Mapping[str, str]] = lambda _: {},
) -> None:
    """Requests at random times, one kind after the other, and gauges every 15 s, with a tenth of noise.

    Args: `requests`, `gauges` and `versions` say what is so at a time: calls from outside; (service, metric) -> value; by service.
    """
    now = start_ns
    for number in itertools.count():
        now += round(float(sender.rng.exponential(1 / per_second)) * SECOND_NS)
        if now >= end_ns:
            break
        sender.versions.update(versions(now))
        kinds = requests(now)
        sender.request(kinds[number % len(kinds)], now)
    for time_ns in range(start_ns, end_ns, 15 * SECOND_NS):
        sender.versions.update(versions(time_ns))
        for (service, metric), value in gauges(time_ns).items():
            sender.gauge(service, time_ns, metric, value * float(sender.rng.normal(1, 0.05)))


def run(sender: Sender, *, seconds: float = 5.0, settings: EngineSettings | None = None) -> tuple[Engine, list[Incident]]:
    """Everything through the decoder and the engine; the engine after it, and what it published."""
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, settings or EngineSettings(rows=False))
    published = list(feed(engine, sender.exports(seconds)))
    return engine, published + engine.finish()


def feed(engine: Engine, exports: Iterable[tuple[int, Payload]]) -> Iterator[Incident]:
    """Exports, decoded, into the engine; what it publishes."""
    for received_ns, payload in exports:
        yield from engine.observe(decode_json(payload, engine.strings, engine.resources), received_ns)


def last(published: Iterable[Incident]) -> list[Incident]:
    """Each incident as it was published last before it was resolved, oldest first."""
    latest: dict[str, Incident] = {}
    for incident in published:
        if incident.state is not IncidentState.RESOLVED:
            latest[incident.id] = incident
    merged = {incident.id for incident in published if incident.state is IncidentState.MERGED}
    return sorted((one for one in latest.values() if one.id not in merged), key=lambda one: (one.opened_ns, one.id))
