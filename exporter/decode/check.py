"""Which field of a malformed OTLP/JSON payload is at fault: asked only after decoding has failed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], str]
#: A message: its fields. A list of one: repeated. A callable: a leaf that says what is wrong, "" for nothing.
Shape = dict[str, Any]

DEPTH_MAX = 64
HEX = re.compile(r"[0-9a-fA-F]*")


def text(value: Any) -> str:
    """A string."""
    return "" if isinstance(value, str) else "not a string"


def integer(low: int, high: int) -> Check:
    """A 64-bit or 32-bit integer, as number or text."""

    def check(value: Any) -> str:
        try:
            number = int(value) if isinstance(value, str | int) or (isinstance(value, float) and value.is_integer()) else None
        except ValueError:
            number = None
        return "not an integer" if number is None else "" if low <= number <= high else f"not in {low} ... {high}"

    return check


def double(value: Any) -> str:
    """A number, or NaN, Infinity, -Infinity as text."""
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return "not a number"
    return ""


def boolean(value: Any) -> str:
    """true or false."""
    return "" if isinstance(value, bool) else "not true or false"


def id_of(size: int) -> Check:
    """An id in hex; empty is absent."""

    def check(value: Any) -> str:
        right = isinstance(value, str) and HEX.fullmatch(value) and len(value) in (0, 2 * size)
        return "" if right else f"not {2 * size} hex digits"

    return check


def enum(prefix: str) -> Check:
    """An enum as a number or by name."""

    def check(value: Any) -> str:
        if isinstance(value, str):
            return "" if value.startswith(prefix) else f"no {prefix}…"
        return integer(-(1 << 31), (1 << 31) - 1)(value)

    return check


TIME = integer(0, (1 << 63) - 1)
U64 = integer(0, (1 << 64) - 1)
I64 = integer(-(1 << 63), (1 << 63) - 1)
I32 = integer(-(1 << 31), (1 << 31) - 1)
TRACE, SPAN = id_of(16), id_of(8)

VALUE: Shape = {"stringValue": text, "bytesValue": text, "intValue": I64, "doubleValue": double, "boolValue": boolean}
ATTRIBUTE: Shape = {"key": text, "value": VALUE}
VALUE["arrayValue"] = {"values": [VALUE]}
VALUE["kvlistValue"] = {"values": [ATTRIBUTE]}
RESOURCE: Shape = {"attributes": [ATTRIBUTE]}
POINT: Shape = {"attributes": [ATTRIBUTE], "startTimeUnixNano": TIME, "timeUnixNano": TIME, "flags": integer(0, (1 << 32) - 1)}
NUMBER_POINT = POINT | {"asDouble": double, "asInt": I64}
HISTOGRAM_POINT = POINT | {"count": U64, "sum": double, "bucketCounts": [U64], "explicitBounds": [double]}
SIDE: Shape = {"offset": I32, "bucketCounts": [U64]}
EXPONENTIAL_POINT = (
    POINT | {"count": U64, "sum": double, "scale": I32, "zeroCount": U64, "zeroThreshold": double} | {"positive": SIDE, "negative": SIDE}
)
SUMMARY_POINT = POINT | {"count": U64, "sum": double, "quantileValues": [{"quantile": double, "value": double}]}
TEMPORALITY = enum("AGGREGATION_TEMPORALITY_")
METRIC: Shape = {
    "name": text,
    "unit": text,
    "gauge": {"dataPoints": [NUMBER_POINT]},
    "sum": {"dataPoints": [NUMBER_POINT], "aggregationTemporality": TEMPORALITY, "isMonotonic": boolean},
    "histogram": {"dataPoints": [HISTOGRAM_POINT], "aggregationTemporality": TEMPORALITY},
    "exponentialHistogram": {"dataPoints": [EXPONENTIAL_POINT], "aggregationTemporality": TEMPORALITY},
    "summary": {"dataPoints": [SUMMARY_POINT]},
}
RECORD: Shape = {
    "timeUnixNano": TIME,
    "observedTimeUnixNano": TIME,
    "severityNumber": enum("SEVERITY_NUMBER_"),
    "severityText": text,
    "body": VALUE,
    "attributes": [ATTRIBUTE],
    "traceId": TRACE,
    "spanId": SPAN,
    "eventName": text,
}
SPAN_SHAPE: Shape = {
    "traceId": TRACE,
    "spanId": SPAN,
    "parentSpanId": SPAN,
    "traceState": text,
    "name": text,
    "kind": enum("SPAN_KIND_"),
    "startTimeUnixNano": TIME,
    "endTimeUnixNano": TIME,
    "attributes": [ATTRIBUTE],
    "events": [{"name": text, "timeUnixNano": TIME, "attributes": [ATTRIBUTE]}],
    "links": [{"traceId": TRACE, "spanId": SPAN}],
    "status": {"code": enum("STATUS_CODE_"), "message": text},
}
EXPORT: Shape = {
    "resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [SPAN_SHAPE]}]}],
    "resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [RECORD]}]}],
    "resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"metrics": [METRIC]}]}],
}


def first_fault(payload: Any) -> str:
    """Path of the first field that is not what OTLP/JSON wants, and what is wrong; "" if all are.

    >>> first_fault({"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": "soon"}]}]}]})
    "resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano: not an integer, however: 'soon'"
    """
    return fault(payload, EXPORT, "", 0)


def fault(value: Any, shape: Any, path: str, depth: int) -> str:
    """As first_fault, of one value against its shape."""
    if value is None:
        return ""
    if depth > DEPTH_MAX:
        return f"{path}: nested too deep"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path}: not an array, however: {shown(value)}"
        for at, each in enumerate(value):
            if each is None:
                return f"{path}[{at}]: null"
            found = fault(each, shape[0], f"{path}[{at}]", depth + 1)
            if found:
                return found
        return ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{path}: not an object, however: {shown(value)}"
        for field, each in value.items():
            if field in shape:
                found = fault(each, shape[field], f"{path}.{field}" if path else field, depth + 1)
                if found:
                    return found
        return ""
    wrong = shape(value)
    return f"{path}: {wrong}, however: {shown(value)}" if wrong else ""


def shown(value: Any) -> str:
    """The value, cut."""
    written = repr(value)
    return written if len(written) <= 80 else written[:80] + "…"
