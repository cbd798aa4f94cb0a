"""The two decoders give the same columns for the same content: on recordings, and on messages that hypothesis makes."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
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

from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.decode.meaning import LOG_KEYS, SPAN_KEYS
from exporter.decode.resource import RESOURCE_KEYS
from tests.otlp import REQUESTS, comparable, lines_of, recordings, to_json, to_protobuf

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

U64 = (1 << 64) - 1
TIMES = st.one_of(st.sampled_from([0, 1, 1_700_000_000_000_000_000, (1 << 63) - 1]), st.integers(0, (1 << 63) - 1))
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
TEXTS = st.one_of(WORDS, st.sampled_from(["GET /cart/17", "t.Cart#12 id 0f8fad5b-d9cb-469f-a165-70867728950e", "503", "14", "whence"]))
KEYS = st.one_of(st.sampled_from(sorted(SPAN_KEYS | LOG_KEYS | RESOURCE_KEYS | {"rca.change.id", "rca.change.params"})), WORDS)
COUNTS = st.lists(st.integers(0, U64), max_size=5)
DOUBLES = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> AnyValue:
    kind = draw(st.sampled_from(("none", "string", "int", "double", "bool", "bytes", "array", "list")[: None if depth else -2]))
    if kind == "string":
        return AnyValue(string_value=draw(TEXTS))
    if kind == "int":
        return AnyValue(int_value=draw(st.integers(-(1 << 63), (1 << 63) - 1)))
    if kind == "double":
        return AnyValue(double_value=draw(DOUBLES))
    if kind == "bool":
        return AnyValue(bool_value=draw(st.booleans()))
    if kind == "bytes":
        return AnyValue(bytes_value=draw(st.binary(max_size=9)))
    if kind == "array":
        return AnyValue(array_value=ArrayValue(values=draw(st.lists(values(depth - 1), max_size=3))))
    if kind == "list":
        return AnyValue(kvlist_value=KeyValueList(values=draw(attributes(depth - 1))))
    return AnyValue()


def attributes(depth: int = 2) -> st.SearchStrategy[list[KeyValue]]:
    return st.lists(st.builds(KeyValue, key=KEYS, value=values(depth)), max_size=4)


def an_id(size: int) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(min_size=size, max_size=size), st.just(b""), st.just(bytes(size)))


RESOURCES = st.builds(Resource, attributes=attributes(0))
SPANS = st.builds(
    Span,
    trace_id=an_id(16),
    span_id=an_id(8),
    parent_span_id=an_id(8),
    trace_state=st.sampled_from(["", "ot=th:8", "a=b,ot=rv:1;th:fffffffffffff", "ot=th:xyz"]),
    name=TEXTS,
    kind=st.integers(0, 5),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    attributes=attributes(),
    events=st.lists(st.builds(Span.Event, name=st.sampled_from(["exception", "log"]), attributes=attributes(0)), max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=an_id(16), span_id=an_id(8)), max_size=2),
    status=st.builds(Status, code=st.integers(0, 2), message=TEXTS),
)
RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    observed_time_unix_nano=TIMES,
    severity_number=st.integers(0, 24),
    severity_text=st.sampled_from(["", "warn", "ERROR", "odd"]),
    body=values(),
    attributes=attributes(),
    trace_id=an_id(16),
    span_id=an_id(8),
    event_name=st.sampled_from(["", "deployment", "config.change", "other"]),
)
POINT = {"attributes": attributes(0), "start_time_unix_nano": TIMES, "time_unix_nano": TIMES, "flags": st.integers(0, 1)}
SIDES = st.builds(
    ExponentialHistogramDataPoint.Buckets, offset=st.integers(-400, 400), bucket_counts=st.lists(st.integers(0, 9), max_size=400)
)
NUMBERS = st.one_of(
    st.builds(NumberDataPoint, as_double=DOUBLES, **POINT),
    st.builds(NumberDataPoint, as_int=st.integers(-(1 << 63), (1 << 63) - 1), **POINT),
)
HISTOGRAMS = st.builds(
    HistogramDataPoint,
    count=st.integers(0, U64),
    sum=st.one_of(st.none(), DOUBLES),
    bucket_counts=COUNTS,
    explicit_bounds=st.lists(DOUBLES, max_size=4),
    **POINT,
)
EXPONENTIALS = st.builds(
    ExponentialHistogramDataPoint,
    count=st.integers(0, U64),
    sum=st.one_of(st.none(), DOUBLES),
    scale=st.integers(-13, 34),
    zero_count=st.integers(0, 9),
    zero_threshold=st.sampled_from([0.0, 1e-6, 5.0]),
    positive=SIDES,
    negative=SIDES,
    **POINT,
)
QUANTILES = st.builds(SummaryDataPoint.ValueAtQuantile, quantile=st.floats(0, 1), value=DOUBLES)
SUMMARIES = st.builds(SummaryDataPoint, count=st.integers(0, U64), sum=DOUBLES, quantile_values=st.lists(QUANTILES, max_size=3), **POINT)
TEMPORALITIES = st.integers(0, 2)
NAMES = {"name": TEXTS, "unit": st.sampled_from(["", "s", "By"])}
METRICS = st.one_of(
    st.builds(Metric, gauge=st.builds(Gauge, data_points=st.lists(NUMBERS, max_size=3)), **NAMES),
    st.builds(
        Metric,
        sum=st.builds(Sum, data_points=st.lists(NUMBERS, max_size=2), aggregation_temporality=TEMPORALITIES, is_monotonic=st.booleans()),
        **NAMES,
    ),
    st.builds(
        Metric, histogram=st.builds(Histogram, data_points=st.lists(HISTOGRAMS, max_size=2), aggregation_temporality=TEMPORALITIES), **NAMES
    ),
    st.builds(
        Metric,
        exponential_histogram=st.builds(
            ExponentialHistogram, data_points=st.lists(EXPONENTIALS, max_size=2), aggregation_temporality=TEMPORALITIES
        ),
        **NAMES,
    ),
    st.builds(Metric, summary=st.builds(Summary, data_points=st.lists(SUMMARIES, max_size=2)), **NAMES),
)
TRACE_REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans, resource=RESOURCES, scope_spans=st.lists(st.builds(ScopeSpans, spans=st.lists(SPANS, max_size=3)), max_size=2)
        ),
        max_size=2,
    ),
)
LOG_REQUESTS = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=RESOURCES,
            scope_logs=st.lists(st.builds(ScopeLogs, log_records=st.lists(RECORDS, max_size=3)), max_size=2),
        ),
        max_size=2,
    ),
)
METRIC_REQUESTS = st.builds(
    ExportMetricsServiceRequest,
    resource_metrics=st.lists(
        st.builds(
            ResourceMetrics,
            resource=RESOURCES,
            scope_metrics=st.lists(st.builds(ScopeMetrics, metrics=st.lists(METRICS, max_size=3)), max_size=2),
        ),
        max_size=2,
    ),
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(message=st.one_of(TRACE_REQUESTS, LOG_REQUESTS, METRIC_REQUESTS))
def test_both_decoders_give_the_same_columns_for_any_message(message):
    (decode,) = (decode for kind, decode in REQUESTS.values() if isinstance(message, kind))
    from_protobuf, from_json = (Strings(), Resources()), (Strings(), Resources())
    batch = decode(message.SerializeToString(), *from_protobuf)
    assert comparable(batch, *from_protobuf) == comparable(decode_json(to_json(message), *from_json), *from_json)


@pytest.mark.parametrize("name", ["nezha-trainticket/*", "nezha-onlineboutique/*", "petshop/*/issue_0*", "rootcausebench/*"])
def test_both_decoders_give_the_same_columns_for_a_recording(name):
    from_protobuf, from_json = (Strings(), Resources()), (Strings(), Resources())
    seen = set()
    paths = sorted(path for path in recordings().glob(f"{name}.jsonl.zst"))
    if not paths:
        pytest.skip(f"no recording {name}")
    for path in paths[:3]:
        for line in itertools.islice(lines_of(path), 0, 600, 6):
            payload = orjson.loads(line)
            (signal,) = payload
            seen.add(signal)
            batch = REQUESTS[signal][1](to_protobuf(payload).SerializeToString(), *from_protobuf)
            columns = decode_json(line, *from_json)
            assert comparable(batch, Strings(), Resources()) == comparable(columns, Strings(), Resources())
    assert comparable(batch, *from_protobuf) == comparable(columns, *from_json)
    assert seen
