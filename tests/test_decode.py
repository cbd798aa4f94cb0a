"""What telemetry means in columns: semantic conventions, bad items, malformed payloads."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records import PeerKind, PointType, series_attributes
from engine.strings import Resources, Strings
from exporter.decode.buckets import BUCKETS_CAP, explicit
from exporter.decode.fold import cut, fold
from exporter.decode.json import decode_json
from exporter.decode.protobuf import decode_logs, decode_metrics, decode_traces

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
AT = "1700000000000000000"


def attributes(pairs):
    kinds = {str: "stringValue", int: "intValue", bool: "boolValue", float: "doubleValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in pairs.items()]


def spans(*items, resource=None):
    items = [{"traceId": TRACE, "spanId": SPAN, "name": "op", "startTimeUnixNano": AT, "endTimeUnixNano": AT} | item for item in items]
    return {
        "resourceSpans": [{"resource": {"attributes": attributes(resource or {"service.name": "cart"})}, "scopeSpans": [{"spans": items}]}]
    }


def logs(*items, resource=None):
    items = [{"timeUnixNano": AT} | item for item in items]
    return {
        "resourceLogs": [
            {"resource": {"attributes": attributes(resource or {"service.name": "cart"})}, "scopeLogs": [{"logRecords": items}]}
        ]
    }


def metrics(*items, resource=None):
    return {
        "resourceMetrics": [
            {"resource": {"attributes": attributes(resource or {"service.name": "cart"})}, "scopeMetrics": [{"metrics": items}]}
        ]
    }


def decode(payload):
    strings, resources = Strings(), Resources()
    return decode_json(orjson.dumps(payload), strings, resources), strings, resources


@pytest.mark.parametrize(
    ("pairs", "kind", "peer", "peer_kind"),
    [
        ({"service.peer.name": "a", "peer.service": "b", "server.address": "c"}, 3, "a", PeerKind.SERVICE),
        ({"peer.service": "b", "server.address": "c"}, 3, "b", PeerKind.SERVICE),
        ({"server.address": "c", "network.peer.address": "10.0.0.1"}, 3, "c", PeerKind.EXTERNAL),
        ({"network.peer.address": "10.0.0.1"}, 3, "10.0.0.1", PeerKind.EXTERNAL),
        ({"url.full": "https://pay.example/v1?q=1"}, 3, "pay.example", PeerKind.EXTERNAL),
        ({"server.address": "me", "network.peer.address": "10.0.0.1"}, 2, "", PeerKind.NONE),
        ({"db.system.name": "mysql", "db.namespace": "shop", "server.address": "db-1"}, 3, "shop", PeerKind.DATABASE),
        ({"db.system": "redis"}, 3, "redis", PeerKind.DATABASE),
        ({"messaging.system": "kafka", "messaging.destination.name": "orders"}, 4, "orders", PeerKind.QUEUE),
        ({"messaging.system": "kafka"}, 5, "kafka", PeerKind.QUEUE),
    ],
)
def test_a_span_names_its_peer_by_semantic_conventions(pairs, kind, peer, peer_kind):
    batch, strings, _ = decode(spans({"kind": kind, "attributes": attributes(pairs)}))
    assert (strings.text("value", batch.spans.peer[0]), batch.spans.peer_kind[0]) == (peer, peer_kind)


def test_the_status_of_a_failed_call_is_its_error_type_and_an_exception_event_wins():
    event = {"name": "exception", "attributes": attributes({"exception.type": "KeyError", "exception.message": "id 12"})}
    batch, strings, _ = decode(
        spans(
            {"kind": 3, "attributes": attributes({"http.response.status_code": 404})},
            {"kind": 2, "attributes": attributes({"http.response.status_code": 404})},
            {"kind": 2, "attributes": attributes({"rpc.grpc.status_code": 14})},
            {"events": [event], "attributes": attributes({"http.response.status_code": 500}), "status": {"code": "STATUS_CODE_ERROR"}},
        )
    )
    assert [strings.text("value", code) for code in batch.spans.error_type] == ["404", "", "UNAVAILABLE", "KeyError"]
    assert strings.text("template", batch.spans.message[3]) == "id <*>"
    assert batch.spans.status.tolist() == [0, 0, 0, 2]


def test_a_sampled_span_stands_for_as_many_as_its_threshold_says():
    batch, _, _ = decode(spans({}, {"traceState": "x=y,ot=th:c"}, {"traceState": "ot=th:zz"}))
    assert batch.spans.weight.tolist() == [1, 4, 1]


def test_identity_is_namespace_and_name_and_unknown_service_is_none():
    _, _, resources = decode(spans({}, resource={"service.name": "cart", "service.namespace": "shop", "deployment.environment": "prod"}))
    assert (resources[1].service, resources[1].environment) == ("shop/cart", "prod")
    _, _, resources = decode(spans({}, resource={"service.name": "unknown_service:java", "k8s.pod.name": "cart-0"}))
    assert (resources[1].service, resources[1].pod, resources[1].instance) == ("", "cart-0", "cart-0")


def test_own_telemetry_and_unusable_items_are_dropped_and_counted():
    batch, _, _ = decode(spans({}, {}, resource={"service.name": "whence"}))
    assert (batch.spans, batch.dropped) == (None, (("own_telemetry", 2),))
    unusable = {"endTimeUnixNano": "0"}, {"startTimeUnixNano": "1700000000000000001"}, {"traceId": "0" * 32}, {}
    batch, _, _ = decode(spans(*unusable))
    assert (len(batch.spans.time_ns), batch.dropped) == (1, (("no_id", 1), ("no_time", 2)))


def test_a_log_record_keeps_where_it_was_written_and_what_failed():
    stack = 'File "/app/pay.py", line 7'
    pairs = {
        "code.file.path": "/app/pay.py",
        "code.line.number": 7,
        "exception.type": "E",
        "exception.message": "m",
        "exception.stacktrace": stack,
    }
    batch, strings, _ = decode(
        logs(
            {"body": {"stringValue": "charge 12 failed"}, "attributes": attributes(pairs), "severityText": "error"},
            {
                "body": {"kvlistValue": {"values": attributes({"level": "info", "message": "pool 5 of 10"})}},
                "severityNumber": "SEVERITY_NUMBER_WARN2",
            },
            {
                "body": {"stringValue": "x"},
                "attributes": attributes({"error.message": "boom", "stack": "a.go:1"}),
                "timeUnixNano": "0",
                "observedTimeUnixNano": AT,
            },
        )
    )
    assert [strings.text("template", code) for code in batch.logs.template] == ["pay.py:7 charge <*> failed", "pool <*> of <*>", "x"]
    assert [strings.text("text", code) for code in batch.logs.exception] == [f"E: m\n{stack}", "", "boom\na.go:1"]
    assert batch.logs.severity.tolist() == [17, 14, 0]
    assert set(batch.logs.time_ns.tolist()) == {int(AT)}


@given(st.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_folding_twice_is_folding_once_and_bounded(text):
    assert len(cut(text).encode("utf-8", "replace")) <= 256
    assert fold(fold(text)[:200]) == fold(text)[:200] or "<*" in fold(text)


def test_two_code_locations_are_never_merged_and_ports_are_no_locations():
    assert fold("TravelServiceImpl#366 x 1") != fold("TravelServiceImpl#372 x 1")
    assert fold("pay.go:118 x") != fold("pay.go:119 x")
    assert fold("dial db.example:5432") == fold("dial db.example:6432")


def test_every_metric_type_arrives():
    point = {"timeUnixNano": AT, "attributes": attributes({"route": "/b", "code": 200})}
    batch, strings, _ = decode(
        metrics(
            {"name": "g", "unit": "s", "gauge": {"dataPoints": [point | {"asInt": "7"}, point | {"flags": 1}]}},
            {"name": "s", "sum": {"dataPoints": [point | {"asDouble": 1.5}], "aggregationTemporality": 2, "isMonotonic": True}},
            {
                "name": "h",
                "histogram": {
                    "dataPoints": [point | {"count": "3", "sum": 4.5, "bucketCounts": ["1", "2"], "explicitBounds": [1]}],
                    "aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA",
                },
            },
            {
                "name": "e",
                "exponentialHistogram": {
                    "dataPoints": [point | {"count": 3, "scale": 0, "zeroCount": 1, "positive": {"offset": 1, "bucketCounts": [2]}}],
                    "aggregationTemporality": 1,
                },
            },
            {"name": "q", "summary": {"dataPoints": [point | {"count": 2, "sum": 6, "quantileValues": [{"quantile": 0.5, "value": 3}]}]}},
            {"name": "bad", "histogram": {"dataPoints": [point | {"bucketCounts": [1], "explicitBounds": [1, 2]}]}},
        )
    )
    points = batch.points
    assert points.type.tolist() == [
        PointType.GAUGE,
        PointType.GAUGE,
        PointType.SUM,
        PointType.HISTOGRAM,
        PointType.EXPONENTIAL_HISTOGRAM,
        PointType.SUMMARY,
    ]
    assert points.flags.tolist() == [0, 2, 1, 0, 0, 0]
    assert points.temporality.tolist() == [0, 0, 2, 1, 1, 0]
    assert points.value[[0, 2]].tolist() == [7, 1.5]
    assert math.isnan(points.value[1])
    assert [points.counts[a:b].tolist() for a, b in zip(points.counts_at, points.counts_at[1:], strict=False)][3:] == [
        [1, 2],
        [1, 0, 2, 0],
        [3],
    ]
    assert [batch.bounds[row].tolist() for row in points.bounds[3:]] == [[1], [0, 2, 4], [0.5]]
    assert batch.dropped == (("shape", 1),)
    assert series_attributes(strings.text("series", points.series[0])) == (("code", "200"), ("route", "/b"))


sides = st.tuples(st.integers(-300, 300), st.lists(st.integers(0, 50), max_size=500))


@given(scale=st.integers(-1, 8), zero=st.integers(0, 9), positive=sides, negative=sides)
@settings(max_examples=200, deadline=None)
def test_an_exponential_histogram_written_out_keeps_every_count_and_is_bounded(scale, zero, positive, negative):
    try:
        bounds, counts = explicit(scale, zero, 0.0, positive, negative)
    except ValueError:
        return
    assert sum(counts) == zero + sum(positive[1]) + sum(negative[1])
    assert len(counts) == len(bounds) + 1 <= 2 * (BUCKETS_CAP + 1) + 2
    assert (np.diff(bounds) > 0).all()
    assert sum(count for bound, count in zip(bounds, counts, strict=False) if bound <= 0) == zero + sum(negative[1])


def test_events_that_are_changes_are_changes_and_stay_logs():
    pairs = {"rca.change.id": "c1", "rca.change.type": "parameter"}
    batch, strings, _ = decode(logs({"eventName": "config.change", "body": {"stringValue": "pool"}, "attributes": attributes(pairs)}))
    assert (batch.changes[0].id, batch.changes[0].service, batch.changes[0].summary) == ("c1", "cart", "pool")
    assert strings.text("value", batch.logs.event_name[0]) == "config.change"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"resourceSpans": 5}', "resourceSpans: not an array"),
        (orjson.dumps(spans({"endTimeUnixNano": "soon"})), "spans[0].endTimeUnixNano: not an integer, however: 'soon'"),
        (orjson.dumps(spans({}, {"endTimeUnixNano": 1 << 63})), "spans[1].endTimeUnixNano: not in"),
        (orjson.dumps(spans({"traceId": "abc"})), "traceId: not 32 hex digits"),
        (orjson.dumps(spans({"kind": "CLIENT"})), "kind: no SPAN_KIND_"),
        (orjson.dumps(spans({"name": 7})), "name: not a string"),
        (
            orjson.dumps(spans({"attributes": [{"key": "db.system", "value": {"intValue": "x"}}]})),
            "attributes[0].value.intValue: not an integer",
        ),
        (orjson.dumps(logs({"body": {"boolValue": "yes"}})), "body.boolValue: not true or false"),
        (orjson.dumps(logs({"attributes": {"a": 1}})), "attributes: not an array"),
        (orjson.dumps(metrics({"name": "m", "gauge": {"dataPoints": [{"asDouble": "wide"}]}})), "dataPoints[0].asDouble: not a number"),
        (orjson.dumps(metrics({"name": "m", "sum": {"dataPoints": [{"asInt": 1.5}]}})), "dataPoints[0].asInt: not an integer"),
        (b'{"resourceLogs":' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_malformed_payload_is_refused_by_the_name_of_its_field(payload, said):
    with pytest.raises(ValueError) as refused:
        decode_json(payload, Strings(), Resources())
    assert said in str(refused.value)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=6),
    st.randoms(),
)
@settings(max_examples=400, deadline=None)
def test_any_json_where_otlp_has_another_type_is_a_value_error_or_taken(value, random):
    payload = (
        random.choice([spans, logs])({})
        if random.random() < 0.6
        else metrics({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": AT}]}})
    )
    at = payload
    while isinstance(at, dict | list):
        place = random.choice(sorted(at)) if isinstance(at, dict) else 0
        if not at or random.random() < 0.3 or not isinstance(at[place], dict | list) or not at[place]:
            break
        at = at[place]
    at[place] = value
    with suppress(ValueError):
        decode_json(payload, Strings(), Resources())


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_value_error_or_taken(raw):
    for decode_raw in (decode_traces, decode_logs, decode_metrics, decode_json):
        with suppress(ValueError):
            decode_raw(raw, Strings(), Resources())
