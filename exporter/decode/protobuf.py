"""OTLP/protobuf to columns, by the plain protobuf classes: the same columns as decode.json, for a message of the same content.

A compiled walker may take this module's place; this stays as its fallback and its oracle.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from engine.records import Batch, ChangeType, PointType, Resource
from engine.strings import Resources, StringTable
from exporter.changes.log_record import EVENT_TYPES, change_of
from exporter.decode.columns import NO_SPAN, NO_TRACE, SPAN_ID_BYTES, TRACE_ID_BYTES, Rows
from exporter.decode.drops import Drop
from exporter.decode.meaning import EXCEPTION_EVENT, LOG_KEYS, SPAN_KEYS
from exporter.decode.resource import OWN_SERVICE, RESOURCE_KEYS, resource_of
from exporter.decode.values import ATTRIBUTES_CAP, DEPTH_MAX, Attributes, Plain, body_of, text_of

POINT_FLAG_NO_VALUE = 1


def decode_traces(raw: bytes, strings: StringTable, resources: Resources) -> Batch:
    """Decode an ExportTraceServiceRequest. Raises ValueError where the bytes are malformed."""
    message = parsed(ExportTraceServiceRequest, raw)
    rows = Rows(strings)
    for of in message.resource_spans:
        take_spans(of, rows, resources)
    return batch_of(rows)


def decode_logs(raw: bytes, strings: StringTable, resources: Resources, event_types: Mapping[str, ChangeType] = EVENT_TYPES) -> Batch:
    """Decode an ExportLogsServiceRequest. Raises ValueError where the bytes are malformed."""
    message = parsed(ExportLogsServiceRequest, raw)
    rows = Rows(strings)
    for of in message.resource_logs:
        take_logs(of, rows, resources, event_types)
    return batch_of(rows)


def decode_metrics(raw: bytes, strings: StringTable, resources: Resources) -> Batch:
    """Decode an ExportMetricsServiceRequest. Raises ValueError where the bytes are malformed."""
    message = parsed(ExportMetricsServiceRequest, raw)
    rows = Rows(strings)
    for of in message.resource_metrics:
        take_metrics(of, rows, resources)
    return batch_of(rows)


def parsed(kind: Any, raw: bytes) -> Any:
    """The message of some bytes. Raises ValueError."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"not a {kind.DESCRIPTOR.name}: {error}") from None


def batch_of(rows: Rows) -> Batch:
    """The columns. Raises ValueError where a number does not fit its column."""
    try:
        return rows.batch()
    except OverflowError as error:
        raise ValueError(f"a number out of range: {error}") from None


def resource_in(of: Any) -> tuple[Resource, bool]:
    """Resource of a ResourceSpans, ResourceLogs or ResourceMetrics, and whether it is whence's own."""
    found = texts(of.resource.attributes, RESOURCE_KEYS)
    return resource_of(found), found.get("service.name") == OWN_SERVICE


def take_spans(of: Any, rows: Rows, resources: Resources) -> None:
    """Take one ResourceSpans."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    spans = rows.spans
    for scope in of.scope_spans:
        items = scope.spans
        if own:
            rows.dropped[Drop.OWN] += len(items)
            continue
        for span in items:
            found = texts(span.attributes, SPAN_KEYS)
            for event in span.events:
                if event.name == EXCEPTION_EVENT:
                    found = texts(event.attributes, SPAN_KEYS) | found
            status = span.status
            taken = spans.add(
                code,
                (
                    raw_id(span.trace_id, TRACE_ID_BYTES, "trace_id"),
                    raw_id(span.span_id, SPAN_ID_BYTES, "span_id"),
                    raw_id(span.parent_span_id, SPAN_ID_BYTES, "parent_span_id"),
                ),
                span.name,
                span.kind,
                (span.start_time_unix_nano, span.end_time_unix_nano),
                found,
                status.code,
                status.message,
                span.trace_state,
            )
            if taken:
                for link in span.links:
                    spans.link(raw_id(link.trace_id, TRACE_ID_BYTES, "trace_id"), raw_id(link.span_id, SPAN_ID_BYTES, "span_id"))


def take_logs(of: Any, rows: Rows, resources: Resources, event_types: Mapping[str, ChangeType]) -> None:
    """Take one ResourceLogs."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    for scope in of.scope_logs:
        items = scope.log_records
        if own:
            rows.dropped[Drop.OWN] += len(items)
            continue
        for record in items:
            found = texts(record.attributes, LOG_KEYS)
            body = body_of(plain_of(record.body))
            time_ns = record.time_unix_nano or record.observed_time_unix_nano
            event_name = record.event_name or found.get("event.name") or ""
            taken = rows.logs.add(
                code,
                time_ns,
                (
                    raw_id(record.trace_id, TRACE_ID_BYTES, "trace_id") if record.trace_id else NO_TRACE,
                    raw_id(record.span_id, SPAN_ID_BYTES, "span_id") if record.span_id else NO_SPAN,
                ),
                record.severity_number,
                record.severity_text,
                body,
                event_name,
                found,
            )
            if taken and event_name in event_types:
                attributes = {each.key: plain_of(each.value) for each in record.attributes[:ATTRIBUTES_CAP]}
                rows.changes.append(change_of(event_types[event_name], time_ns, resource, attributes, body))


def take_metrics(of: Any, rows: Rows, resources: Resources) -> None:
    """Take one ResourceMetrics."""
    resource, own = resource_in(of)
    code = 0 if own else resources.intern(resource)
    for scope in of.scope_metrics:
        for metric in scope.metrics:
            field = metric.WhichOneof("data")
            if field is None:
                continue
            point_type, take = DATA[field]
            data = getattr(metric, field)
            if own:
                rows.dropped[Drop.OWN] += len(data.data_points)
                continue
            summed = field in ("sum", "histogram", "exponential_histogram")
            rows.points.start_metric(
                metric.name, metric.unit, point_type, data.aggregation_temporality if summed else 0, field == "sum" and data.is_monotonic
            )
            for point in data.data_points:
                attributes = tuple(sorted(texts(point.attributes, None).items()))
                take(
                    rows,
                    point,
                    code,
                    attributes,
                    (point.start_time_unix_nano, point.time_unix_nano),
                    bool(point.flags & POINT_FLAG_NO_VALUE),
                )


def take_number(rows: Rows, point: Any, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of a gauge or a sum."""
    value = point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)
    rows.points.add(code, attributes, times_ns, no_value, value)


def take_histogram(rows: Rows, point: Any, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of an explicit histogram."""
    rows.points.add_histogram(
        code, attributes, times_ns, no_value, optional_sum(point), point.count, list(point.explicit_bounds), list(point.bucket_counts)
    )


def take_exponential(rows: Rows, point: Any, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of an exponential histogram."""
    rows.points.add_exponential(
        code,
        attributes,
        times_ns,
        no_value,
        optional_sum(point),
        point.count,
        point.scale,
        (point.zero_count, point.zero_threshold),
        (point.positive.offset, list(point.positive.bucket_counts)),
        (point.negative.offset, list(point.negative.bucket_counts)),
    )


def take_summary(rows: Rows, point: Any, code: int, attributes: Attributes, times_ns: tuple[int, int], no_value: bool) -> None:
    """A point of a summary."""
    quantiles = [(each.quantile, each.value) for each in point.quantile_values]
    rows.points.add_summary(code, attributes, times_ns, no_value, point.sum, point.count, quantiles)


#: Field of a Metric, type, and how its points are taken.
DATA = {
    "gauge": (PointType.GAUGE, take_number),
    "sum": (PointType.SUM, take_number),
    "histogram": (PointType.HISTOGRAM, take_histogram),
    "exponential_histogram": (PointType.EXPONENTIAL_HISTOGRAM, take_exponential),
    "summary": (PointType.SUMMARY, take_summary),
}


def optional_sum(point: Any) -> float:
    """The sum of a histogram, NaN where it is absent."""
    return float(point.sum) if point.HasField("sum") else float("nan")


def texts(attributes: Sequence[Any], keys: frozenset[str] | None) -> dict[str, str]:
    """Those attributes that have one of the keys (None: all), as texts."""
    found = {}
    for attribute in attributes[:ATTRIBUTES_CAP] if len(attributes) > ATTRIBUTES_CAP else attributes:
        key = attribute.key
        if keys is None or key in keys:
            value = attribute.value
            found[key] = value.string_value or text_of(plain_of(value))
    return found


def plain_of(value: Any, depth: int = 0) -> Plain:
    """An AnyValue as plain Python, as values.plain_of gives it for JSON."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain_of(each, depth + 1) for each in value.array_value.values] if depth < DEPTH_MAX else None
    if kind == "kvlist_value":
        pairs = value.kvlist_value.values if depth < DEPTH_MAX else ()
        return {each.key: plain_of(each.value, depth + 1) for each in pairs}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind in ("string_value", "int_value", "double_value", "bool_value"):
        held: Plain = getattr(value, kind)
        return held
    return None


def raw_id(raw: bytes, size: int, field: str) -> bytes:
    """An id, zeros for an absent one. Raises ValueError for another length."""
    if len(raw) == size:
        return raw
    if not raw:
        return bytes(size)
    raise ValueError(f"{field} must have {size} bytes, however: {len(raw)}")
