"""One line of a recording (OTLP/JSON) as the protobuf request that a Collector would send.

`google.protobuf.json_format` reads trace and span ids as base64; OTLP/JSON writes them in hex (OTLP 1.11, JSON Protobuf encoding).
"""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

import orjson
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Signal(NamedTuple):
    """How a signal is exported."""

    name: str
    method: str  # of gRPC
    request: type[Message]


_SERVICE = "/opentelemetry.proto.collector"
SIGNALS = {
    "resourceSpans": Signal("traces", f"{_SERVICE}.trace.v1.TraceService/Export", ExportTraceServiceRequest),
    "resourceLogs": Signal("logs", f"{_SERVICE}.logs.v1.LogsService/Export", ExportLogsServiceRequest),
    "resourceMetrics": Signal("metrics", f"{_SERVICE}.metrics.v1.MetricsService/Export", ExportMetricsServiceRequest),
}

_IDS = {"traceId", "spanId", "parentSpanId"}
_INTEGERS = {"intValue", "asInt", "count", "zeroCount", "bucketCounts"}
_FLOATS = {"asDouble", "doubleValue", "sum", "min", "max", "value", "quantile", "explicitBounds", "zeroThreshold"}
_CAPITAL = re.compile("[A-Z]")
#: The time of an item: a span's end, a record's or a point's own time (not observedTimeUnixNano, not startTimeUnixNano).
_TIME = re.compile(rb'"(?:endT|t)imeUnixNano":\s*"?(\d+)')
_snake: dict[str, str] = {}


def last_time_ns(line: bytes) -> int | None:
    """Time of the last item of a line, None if no item has one. Found by name, without reading the line's structure."""
    return max(map(int, _TIME.findall(line)), default=None)


def request_of(line: bytes, shift_ns: int = 0) -> tuple[Signal, Message]:
    """The signal of a line and its export request, every time moved by a constant.

    Raises: ValueError for what is no OTLP/JSON export, with the field that is wrong.
    """
    data = orjson.loads(line)
    signal = next((SIGNALS[key] for key in data if key in SIGNALS), None) if isinstance(data, dict) else None
    if signal is None:
        raise ValueError(f"no export of traces, logs or metrics, but: {line[:60]!r}")
    try:
        return signal, signal.request(**_message(data, shift_ns))
    except TypeError as error:
        raise ValueError(f"{signal.name}: {error}") from error


def _message(data: dict[str, Any], shift_ns: int) -> dict[str, Any]:
    """A JSON object as keyword arguments of its message."""
    fields = {}
    for key, value in data.items():
        name = _snake.get(key)
        if name is None:
            name = _snake[key] = _CAPITAL.sub(lambda capital: "_" + capital[0].lower(), key)
        fields[name] = _field(key, value, shift_ns)
    return fields


def _field(key: str, value: Any, shift_ns: int) -> Any:
    if isinstance(value, dict):
        return _message(value, shift_ns)
    if isinstance(value, list):
        return [_field(key, item, shift_ns) for item in value]
    if key.endswith("UnixNano"):
        time_ns = int(value)
        return time_ns + shift_ns if time_ns else 0  # 0 is "unknown"
    if key in _IDS:
        return bytes.fromhex(value)
    if key in _INTEGERS:
        return int(value)
    if isinstance(value, str):
        if key in _FLOATS:
            return float(value)  # "NaN", "Infinity"
        if key == "bytesValue":
            return base64.b64decode(value)
    return value
