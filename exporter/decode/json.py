"""OTLP/JSON to columns: one Export request, or one line of the Collector's file exporter.

Source: OTLP specification 1.x, JSON Protobuf Encoding: lowerCamelCase, ids in hex, 64-bit integers as text or number, enums as
number (names are read, too), unknown fields ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from engine.records import Batch, ChangeType, PointType, Resource, SpanKind, Status, Temporality
from engine.strings import Resources, StringTable
from exporter.changes.log_record import EVENT_TYPES, change_of
from exporter.decode.check import first_fault
from exporter.decode.columns import NO_SPAN, NO_TRACE, SPAN_ID_BYTES, TRACE_ID_BYTES, Rows
from exporter.decode.drops import Drop
from exporter.decode.meaning import EXCEPTION_EVENT, LOG_KEYS, SPAN_KEYS
from exporter.decode.resource import OWN_SERVICE, RESOURCE_KEYS, resource_of
from exporter.decode.values import ATTRIBUTES_CAP, Attributes, Plain, body_of, int64, plain_of, text_of

OBJECTS_CAP = 4_000_000  # "{" in a payload: 64 MiB of attributes have 2.2 million; 64 MiB of empty objects would take gigabytes

KINDS = {f"SPAN_KIND_{kind.name}": int(kind) for kind in SpanKind}
STATUSES = {f"STATUS_CODE_{status.name}": int(status) for status in Status}
TEMPORALITIES = {f"AGGREGATION_TEMPORALITY_{temporality.name}": int(temporality) for temporality in Temporality}
SEVERITIES = {
    f"SEVERITY_NUMBER_{level}{step if step > 1 else ''}": 4 * at + step
    for at, level in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for step in (1, 2, 3, 4)
} | {"SEVERITY_NUMBER_UNSPECIFIED": 0}
POINT_FLAG_NO_VALUE = 1  # DataPointFlags.NO_RECORDED_VALUE_MASK

Object = dict[str, Any]


def decode_json(
    payload: bytes | Object, strings: StringTable, resources: Resources, event_types: Mapping[str, ChangeType] = EVENT_TYPES
) -> Batch:
    """Decode one OTLP/JSON Export request (resourceSpans, resourceLogs or resourceMetrics).

    Items that cannot be used (no time, no id, a histogram whose parts do not fit) are left out and counted in Batch.dropped.
    Args: payload bytes, or the object they parse to; event_types the event names that mark a log record as a change.
    Raises: ValueError that names the field where the payload is malformed.
    """
    if isinstance(payload, dict):
        message = payload
    else:
        if payload.count(b"{") > OBJECTS_CAP:
            raise ValueError(f"payload must have at most {OBJECTS_CAP} objects")
        try:
            message = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error}") from None
        if not isinstance(message, dict):
            raise ValueError(f"an export must be a JSON object, however: {type(message).__name__}")
    rows = Rows(strings)
    try:
        for of in message.get("resourceSpans") or ():
            take_spans(of, rows, resources)
        for of in message.get("resourceLogs") or ():
            take_logs(of, rows, resources, event_types)
        for of in message.get("resourceMetrics") or ():
            take_metrics(of, rows, resources)
        return rows.batch()
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(first_fault(message) or f"malformed: {type(error).__name__}: {error}") from None


def resource_in(of: Object) -> tuple[Resource, bool]:
    """Resource of a ResourceSpans, ResourceLogs or ResourceMetrics, and whether it is whence's own."""
    found = texts((of.get("resource") or {}).get("attributes") or (), RESOURCE_KEYS)
    return resource_of(found), found.get("service.name") == OWN_SERVICE


def take_spans(of: Object, rows: Rows, resources: Resources) -> None:
    """Take one ResourceSpans."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    spans = rows.spans
    for scope in of.get("scopeSpans") or ():
        items = scope.get("spans") or ()
        if own:
            rows.dropped[Drop.OWN] += len(items)
            continue
        for span in items:
            attributes = span.get("attributes")
            found = texts(attributes, SPAN_KEYS) if attributes else {}
            for event in span.get("events") or ():
                if event.get("name") == EXCEPTION_EVENT:
                    found = texts(event.get("attributes") or (), SPAN_KEYS) | found
            kind = span.get("kind") or 0
            status = span.get("status")
            status_code = (status.get("code") or 0) if status else 0
            parent = span.get("parentSpanId")
            taken = spans.add(
                code,
                (
                    hex_id(span.get("traceId"), TRACE_ID_BYTES),
                    hex_id(span.get("spanId"), SPAN_ID_BYTES),
                    hex_id(parent, SPAN_ID_BYTES) if parent else NO_SPAN,
                ),
                span.get("name") or "",
                KINDS[kind] if isinstance(kind, str) else int64(kind),
                (int64(span.get("startTimeUnixNano") or 0), int64(span.get("endTimeUnixNano") or 0)),
                found,
                STATUSES[status_code] if isinstance(status_code, str) else int64(status_code),
                (status.get("message") or "") if status else "",
                span.get("traceState") or "",
            )
            if taken:
                for link in span.get("links") or ():
                    spans.link(hex_id(link.get("traceId"), TRACE_ID_BYTES), hex_id(link.get("spanId"), SPAN_ID_BYTES))


def take_logs(of: Object, rows: Rows, resources: Resources, event_types: Mapping[str, ChangeType]) -> None:
    """Take one ResourceLogs."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    for scope in of.get("scopeLogs") or ():
        items = scope.get("logRecords") or ()
        if own:
            rows.dropped[Drop.OWN] += len(items)
            continue
        for record in items:
            attributes = record.get("attributes")
            found = texts(attributes, LOG_KEYS) if attributes else {}
            body = body_of(plain_of(record.get("body")))
            time_ns = int64(record.get("timeUnixNano") or 0) or int64(record.get("observedTimeUnixNano") or 0)
            severity = record.get("severityNumber") or 0
            event_name = record.get("eventName") or found.get("event.name") or ""
            trace, span = record.get("traceId"), record.get("spanId")
            taken = rows.logs.add(
                code,
                time_ns,
                (hex_id(trace, TRACE_ID_BYTES) if trace else NO_TRACE, hex_id(span, SPAN_ID_BYTES) if span else NO_SPAN),
                SEVERITIES[severity] if isinstance(severity, str) else int64(severity),
                record.get("severityText") or "",
                body,
                event_name,
                found,
            )
            if taken and event_name in event_types:
                rows.changes.append(change_of(event_types[event_name], time_ns, resource, plain_attributes(attributes or ()), body))


def take_metrics(of: Object, rows: Rows, resources: Resources) -> None:
    """Take one ResourceMetrics."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    points = rows.points
    for scope in of.get("scopeMetrics") or ():
        for metric in scope.get("metrics") or ():
            for field, point_type, take in DATA:
                data = metric.get(field)
                if data is None:
                    continue
                items = data.get("dataPoints") or ()
                if own:
                    rows.dropped[Drop.OWN] += len(items)
                    continue
                temporality = data.get("aggregationTemporality") or 0
                points.start_metric(
                    metric.get("name") or "",
                    metric.get("unit") or "",
                    point_type,
                    TEMPORALITIES[temporality] if isinstance(temporality, str) else int64(temporality),
                    data.get("isMonotonic") is True,
                )
                for point in items:
                    attributes = point.get("attributes")
                    take(
                        rows,
                        point,
                        code,
                        sorted_texts(attributes) if attributes else (),
                        (int64(point.get("startTimeUnixNano") or 0), int64(point.get("timeUnixNano") or 0)),
                        bool(int64(point.get("flags") or 0) & POINT_FLAG_NO_VALUE),
                    )


def take_number(rows: Rows, point: Object, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of a gauge or a sum."""
    value = point.get("asDouble")
    if value is None:
        value = int64(point.get("asInt") or 0)
    rows.points.add(code, attributes, times_ns, no_value, float(value))


def take_histogram(rows: Rows, point: Object, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of an explicit histogram."""
    rows.points.add_histogram(
        code,
        attributes,
        times_ns,
        no_value,
        number(point, "sum"),
        int64(point.get("count") or 0),
        [float(bound) for bound in point.get("explicitBounds") or ()],
        [int64(count) for count in point.get("bucketCounts") or ()],
    )


def take_exponential(rows: Rows, point: Object, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of an exponential histogram."""
    rows.points.add_exponential(
        code,
        attributes,
        times_ns,
        no_value,
        number(point, "sum"),
        int64(point.get("count") or 0),
        int64(point.get("scale") or 0),
        (int64(point.get("zeroCount") or 0), float(point.get("zeroThreshold") or 0)),
        buckets(point.get("positive")),
        buckets(point.get("negative")),
    )


def take_summary(rows: Rows, point: Object, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of a summary."""
    quantiles = [(float(each.get("quantile") or 0), float(each.get("value") or 0)) for each in point.get("quantileValues") or ()]
    rows.points.add_summary(code, attributes, times_ns, no_value, float(point.get("sum") or 0), int64(point.get("count") or 0), quantiles)


#: Field of a Metric, type, and how its points are taken.
DATA = (
    ("gauge", PointType.GAUGE, take_number),
    ("sum", PointType.SUM, take_number),
    ("histogram", PointType.HISTOGRAM, take_histogram),
    ("exponentialHistogram", PointType.EXPONENTIAL_HISTOGRAM, take_exponential),
    ("summary", PointType.SUMMARY, take_summary),
)


def number(point: Object, field: str) -> float:
    """An optional double, NaN where it is absent."""
    value = point.get(field)
    return float("nan") if value is None else float(value)


def buckets(side: Object | None) -> tuple[int, list[int]]:
    """Offset and counts of one side of an exponential histogram."""
    if not side:
        return 0, []
    return int64(side.get("offset") or 0), [int64(count) for count in side.get("bucketCounts") or ()]


def texts(attributes: Sequence[Object], keys: frozenset[str]) -> dict[str, str]:
    """Those attributes that have one of the keys, as texts."""
    found = {}
    for attribute in attributes[:ATTRIBUTES_CAP]:
        key = attribute.get("key") or ""
        if key in keys:
            value = attribute.get("value") or {}
            text = value.get("stringValue")
            found[key] = text if type(text) is str else text_of(plain_of(value))
    return found


def sorted_texts(attributes: Sequence[Object]) -> Attributes:
    """All attributes of a point as texts, sorted by key."""
    found = {}
    for attribute in attributes[:ATTRIBUTES_CAP]:
        value = attribute.get("value") or {}
        text = value.get("stringValue")
        found[attribute.get("key") or ""] = text if type(text) is str else text_of(plain_of(value))
    return tuple(sorted(found.items()))


def plain_attributes(attributes: Sequence[Object]) -> dict[str, Plain]:
    """All attributes as plain Python."""
    return {attribute.get("key") or "": plain_of(attribute.get("value")) for attribute in attributes[:ATTRIBUTES_CAP]}


def hex_id(text: Any, size: int) -> bytes:
    """An id in hex as bytes, zeros for an absent one. Raises ValueError for another length."""
    if not text:
        return bytes(size)
    raw = bytes.fromhex(text)
    if len(raw) != size:
        raise ValueError(f"an id must have {size} bytes, however: {text!r}")
    return raw
