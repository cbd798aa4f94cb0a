"""What the compiled walker asks when it meets bytes that it has not seen: codes of texts, by the functions of the plain decoder.

Keys are protobuf: a Span, LogRecord or NumberDataPoint with just those attributes that matter. They were checked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from engine.records import ChangeType, ConfigChange, PointType, Resource, series_text
from engine.strings import StringTable
from exporter.changes.log_record import change_of
from exporter.decode.columns import SEVERITY_TEXTS
from exporter.decode.fold import LONGEST_BYTES, LONGEST_ERROR_BYTES, fold, fold_statement
from exporter.decode.meaning import (
    ERROR_MESSAGE,
    LOG_KEYS,
    SPAN_KEYS,
    STATEMENT,
    error_type_of,
    exception_text,
    log_peer_of,
    peer_of,
    place_of,
    weight_of,
)
from exporter.decode.protobuf import plain_of, texts
from exporter.decode.resource import OWN_SERVICE, RESOURCE_KEYS, first, resource_of
from exporter.decode.values import ATTRIBUTES_CAP, body_of


class How(IntEnum):
    """What the bytes of a template's key are: folded text, text to fold, or attributes and bodies."""

    FOLDED = 0
    TEXT = 1
    TEXT_ERROR = 2
    STATEMENT_TEXT = 3
    SPAN_MESSAGE = 4
    SPAN_STATEMENT = 5
    LOG_STATEMENT = 6
    BODY = 7
    BODY_ERROR = 8


POINTS: Mapping[PointType, Any] = {
    PointType.GAUGE: NumberDataPoint,
    PointType.SUM: NumberDataPoint,
    PointType.HISTOGRAM: HistogramDataPoint,
    PointType.EXPONENTIAL_HISTOGRAM: ExponentialHistogramDataPoint,
    PointType.SUMMARY: SummaryDataPoint,
}


class Resolver:
    """The plain decoder's meanings, by key."""

    def __init__(self, strings: StringTable, event_types: Mapping[str, ChangeType]) -> None:
        self.strings = strings
        self.event_types = event_types

    def resource(self, key: bytes) -> tuple[Resource, bool]:
        """Resource, and whether it is whence's own."""
        found = texts(ResourceMessage.FromString(key).attributes, RESOURCE_KEYS)
        return resource_of(found), found.get("service.name") == OWN_SERVICE

    def text(self, kind: str, key: bytes) -> int:
        """Code of a text."""
        return self.strings.intern(kind, key.decode())

    def callee(self, key: bytes, kind: int) -> tuple[int, int]:
        """Code of a span's peer, and its kind."""
        peer, peer_kind = peer_of(texts(Span.FromString(key).attributes, SPAN_KEYS), kind)
        return self.strings.intern("value", peer), peer_kind

    def error_type(self, key: bytes, kind: int) -> int:
        """Code of a span's error type."""
        return self.strings.intern("value", error_type_of(texts(Span.FromString(key).attributes, SPAN_KEYS), kind))

    def weight(self, key: bytes) -> float:
        """Weight of a trace state."""
        return weight_of(key.decode())

    def template(self, key: bytes, how: int, place: str) -> int:
        """Code of a template; a place that it does not name goes before it."""
        text = self._folded(key, how)
        if place and place not in text:
            text = f"{place} {text}"
        return self.strings.intern("template", text)

    def _folded(self, key: bytes, how: int) -> str:
        if how == How.FOLDED:
            return key.decode()
        if how in (How.TEXT, How.TEXT_ERROR):
            return fold(key.decode(), LONGEST_BYTES if how == How.TEXT else LONGEST_ERROR_BYTES)
        if how == How.STATEMENT_TEXT:
            return fold_statement(key.decode())
        if how == How.SPAN_MESSAGE:
            return fold(first(texts(Span.FromString(key).attributes, SPAN_KEYS), ERROR_MESSAGE))
        if how in (How.SPAN_STATEMENT, How.LOG_STATEMENT):
            message: Any = Span if how == How.SPAN_STATEMENT else LogRecord
            return fold_statement(first(texts(message.FromString(key).attributes, SPAN_KEYS), STATEMENT))
        return fold(body_of(plain_of(AnyValue.FromString(key))), LONGEST_BYTES if how == How.BODY else LONGEST_ERROR_BYTES)

    def place(self, key: bytes) -> str:
        """Code location that a log record's attributes name."""
        return place_of(texts(LogRecord.FromString(key).attributes, LOG_KEYS))

    def log_peer(self, key: bytes) -> int:
        """Code of whom a log record names."""
        return self.strings.intern("value", log_peer_of(texts(LogRecord.FromString(key).attributes, LOG_KEYS)))

    def exception(self, key: bytes) -> int:
        """Code of a log record's exception."""
        return self.strings.intern("text", exception_text(texts(LogRecord.FromString(key).attributes, LOG_KEYS)))

    def severity(self, key: bytes) -> int:
        """Severity number of a text that is not ASCII."""
        return SEVERITY_TEXTS.get(key.decode().strip().upper(), 0)

    def event(self, key: bytes, in_attribute: bool) -> tuple[int, bool]:
        """Code of an event's name, and whether it is a change."""
        name = texts(LogRecord.FromString(key).attributes, LOG_KEYS)["event.name"] if in_attribute else key.decode()
        return self.strings.intern("value", name) if name else 0, name in self.event_types

    def series(self, key: bytes, point_type: int, resource: int, metric: str) -> int:
        """Code of a series, by a point's attributes."""
        attributes = texts(POINTS[PointType(point_type)].FromString(key).attributes, None)
        return self.strings.intern("series", series_text(resource, metric, tuple(sorted(attributes.items()))))

    def change(self, record: bytes, resource: Resource) -> ConfigChange:
        """The change that a log record announces."""
        message = LogRecord.FromString(record)
        found = texts(message.attributes, LOG_KEYS)
        name = message.event_name or found.get("event.name") or ""
        attributes = {each.key: plain_of(each.value) for each in message.attributes[:ATTRIBUTES_CAP]}
        time_ns = message.time_unix_nano or message.observed_time_unix_nano
        return change_of(self.event_types[name], time_ns, resource, attributes, body_of(plain_of(message.body)))
