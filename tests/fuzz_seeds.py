"""Small messages that use every field, for byte-wise changes."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

IDS: dict[str, Any] = {"trace_id": bytes(range(16)), "span_id": bytes(range(1, 9))}
TIMES = {"start_time_unix_nano": 1 << 60, "end_time_unix_nano": (1 << 60) + 5}
AT = {"start_time_unix_nano": 5, "time_unix_nano": 1 << 60}


def pair(key: str, value: str | int | float | bool | bytes) -> KeyValue:
    """An attribute."""
    kinds = {str: "string_value", int: "int_value", float: "double_value", bool: "bool_value", bytes: "bytes_value"}
    return KeyValue(key=key, value=AnyValue(**{kinds[type(value)]: value}))


NESTED = KeyValue(key="db.query.text", value=AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="é"), AnyValue(int_value=1)])))
SPANS = [
    Span(**IDS, **TIMES, name="op", kind=3, attributes=[pair("server.address", "cart"), pair("http.response.status_code", 503)]),
    Span(**IDS, **TIMES, name="é", attributes=[pair("url.full", "http://a/1?x"), pair("n", 1.5)], kind=3, trace_state="ot=th:8", flags=257),
    Span(**IDS, **TIMES, attributes=[pair("db.system", "pg"), pair("db.statement", "a = 'b''c' 12"), NESTED], status={"code": 2}),
    Span(**IDS, **TIMES, status={"code": 2, "message": "id 12 t.Cart#12"}, links=[Span.Link(**IDS, attributes=[pair("k", True)])]),
    Span(
        **IDS,
        **TIMES,
        parent_span_id=b"12345678",
        events=[Span.Event(name="exception", time_unix_nano=1, attributes=[pair("exception.type", "E"), pair("exception.message", "m 1")])],
        dropped_links_count=1,
    ),
]
RECORDS = [
    LogRecord(time_unix_nano=1 << 60, severity_number=9, body={"string_value": "a.py:12: took 12.5 ms 0f3fbcebbbc0884e"}, **IDS),
    LogRecord(observed_time_unix_nano=7, severity_text=" error", body={"string_value": "é 1"}, attributes=[pair("stack", "x")]),
    LogRecord(
        time_unix_nano=1,
        body={"kvlist_value": KeyValueList(values=[pair("msg", "pool 5"), pair("n", 1)])},
        attributes=[pair("code.filepath", "/a/b.py"), pair("code.lineno", 7), pair("peer.service", "p")],
    ),
    LogRecord(time_unix_nano=1, event_name="deployment", attributes=[pair("service.version", "v2"), pair("b", b"xy")], flags=1),
    LogRecord(time_unix_nano=1, attributes=[pair("event.name", "config.change"), pair("db.statement", "x 1")], body={"int_value": 3}),
]
EXEMPLAR = Exemplar(as_int=3, time_unix_nano=2, filtered_attributes=[pair("a", "b")], **IDS)
METRICS = [
    Metric(name="g", unit="s", gauge={"data_points": [NumberDataPoint(as_double=1.5, attributes=[pair("k", "v"), pair("l", 2)], **AT)]}),
    Metric(
        name="s",
        sum={"data_points": [NumberDataPoint(as_int=-3, exemplars=[EXEMPLAR], **AT)], "aggregation_temporality": 2, "is_monotonic": True},
    ),
    Metric(
        name="h",
        histogram={
            "data_points": [
                HistogramDataPoint(count=3, sum=2.5, bucket_counts=[1, 2, 0], explicit_bounds=[0.5, 1.5], attributes=[pair("k", "v")], **AT)
            ],
            "aggregation_temporality": 1,
        },
    ),
    Metric(
        name="e",
        exponential_histogram={
            "data_points": [
                ExponentialHistogramDataPoint(
                    count=5,
                    sum=1.0,
                    scale=1,
                    zero_count=1,
                    zero_threshold=1e-3,
                    positive={"offset": -2, "bucket_counts": [1, 300]},
                    negative={"offset": 1, "bucket_counts": [2]},
                    attributes=[pair("k", "v")],
                    **AT,
                )
            ]
        },
    ),
    Metric(
        name="q",
        summary={
            "data_points": [
                SummaryDataPoint(
                    count=2, sum=3.0, quantile_values=[{"quantile": 0.5, "value": 1.0}, {"quantile": 0.9, "value": 2.0}], flags=0, **AT
                )
            ]
        },
    ),
]
OWNERS = [
    {"attributes": [pair("service.name", "cart")]},
    {"attributes": [pair("host.name", "n1")]},
    {"attributes": [pair("service.name", "whence")]},
]


def requests(kind: Any, outer: str, inner: str, items: str, records: list[Any]) -> list[bytes]:
    """A request for each record, and one of all."""
    chosen = [([record], OWNERS[at == 1]) for at, record in enumerate(records)] + [(records[:2], OWNERS[2])]
    made = [kind(**{outer: [{"resource": owner, inner: [{"scope": {"name": "s"}, items: each}]}]}) for each, owner in chosen]
    return [message.SerializeToString() for message in made]


SEEDS = {
    "traces": requests(ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans", SPANS),
    "logs": requests(ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records", RECORDS),
    "metrics": requests(ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics", METRICS),
}
