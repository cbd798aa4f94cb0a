"""What the compiled walker must know by name: messages, and attribute keys in groups that are looked up as one."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from exporter.decode import meaning
from exporter.decode.meaning import LOG_KEYS, SPAN_KEYS

#: Of a URL only the host is read: what comes after it is left out of keys, for it is different each time.
URLS = frozenset(meaning.PEER_URL)

#: Within a group in the order of preference. The groups of a signal hold each of its keys once.
SPAN_MESSAGES, SPAN_STATEMENTS = meaning.ERROR_MESSAGE, meaning.STATEMENT
#: Apart, for as many peers times as many errors would each be a key of its own.
SPAN_ERROR_TYPE = (*meaning.ERROR_TYPE, *meaning.RPC_STATUS, *meaning.HTTP_STATUS)
SPAN_CALLEE = tuple(sorted(SPAN_KEYS.difference(SPAN_MESSAGES, SPAN_STATEMENTS, SPAN_ERROR_TYPE)))
SPAN_GROUPS = (SPAN_CALLEE, SPAN_ERROR_TYPE, SPAN_MESSAGES, SPAN_STATEMENTS)

LOG_STATEMENTS, LOG_EVENT = meaning.STATEMENT, meaning.EVENT_NAME
LOG_PLACE = (*meaning.FILE, *meaning.LINE, *meaning.FUNCTION)
LOG_EXCEPTION = tuple(dict.fromkeys((*meaning.EXCEPTION_TYPE, *meaning.EXCEPTION_MESSAGE, *meaning.EXCEPTION_STACK)))
LOG_PEER = tuple(sorted(LOG_KEYS.difference(LOG_STATEMENTS, LOG_EVENT, LOG_PLACE, LOG_EXCEPTION)))
LOG_GROUPS = (LOG_PEER, LOG_PLACE, LOG_EXCEPTION, LOG_STATEMENTS, LOG_EVENT)


def messages() -> list[Any]:
    """Descriptors of the messages that the walker knows by name, in the order of walk/schema.h."""
    return [
        each.DESCRIPTOR
        for each in (
            *(ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span, Span.Event, Span.Link, Status),
            *(ExportLogsServiceRequest, ResourceLogs, ScopeLogs, LogRecord),
            *(ExportMetricsServiceRequest, ResourceMetrics, ScopeMetrics, Metric),
            *(Gauge, Sum, Histogram, ExponentialHistogram, Summary),
            *(NumberDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint, SummaryDataPoint),
            *(ExponentialHistogramDataPoint.Buckets, SummaryDataPoint.ValueAtQuantile),
            *(Resource, InstrumentationScope, KeyValue, AnyValue),
        )
    ]
