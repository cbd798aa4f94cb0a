"""CPU time of bytes -> columns, plain decoder and walker in one run: python -m tests.bench.decode

Spans of about 430 B with 7 to 10 attributes in whole traces of 40 services; no request is decoded twice, 0.5 % of operations are new.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from engine.strings import Resources, Strings
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode import protobuf
from exporter.decode.walker import Walker

AT_NS = 1_700_000_000_000_000_000
UNSEEN = 0.005


def pairs(values: dict[str, str | int]) -> list[KeyValue]:
    """Attributes."""
    return [
        KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))
        for key, value in values.items()
    ]


def resource_of(service: int) -> Resource:
    """Who sends."""
    return Resource(
        attributes=pairs(
            {
                "service.name": f"service-{service}",
                "service.namespace": "shop",
                "service.version": "1.4.2",
                "k8s.pod.name": f"service-{service}-7d9f8b6c5-x2x{service % 10}",
                "deployment.environment.name": "production",
                "telemetry.sdk.language": "java",
            }
        )
    )


def span_of(rng: random.Random, service: int, number: int) -> Span:
    """A server or client span."""
    client = number % 2
    operation = f"/api/v1/items/{rng.randrange(20)}" if rng.random() >= UNSEEN else f"/api/v1/unseen/{rng.getrandbits(40)}"
    found: dict[str, str | int] = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": f"service-{(service + 1) % 40}.shop.svc",
        "server.port": 8080,
        "url.full" if client else "url.path": f"http://service-{(service + 1) % 40}.shop.svc:8080{operation}?user={rng.getrandbits(32)}",
        "network.protocol.version": "1.1",
        "user_agent.original": "okhttp/4.12.0",
    }
    if number % 3 == 0:
        found |= {"thread.id": rng.randrange(200), "thread.name": f"http-nio-8080-exec-{rng.randrange(200)}"}
    if number % 5 == 0:
        found |= {"db.system.name": "postgresql", "db.query.text": f"SELECT * FROM items WHERE id = {rng.getrandbits(20)}"}
    start = AT_NS + number * 1_000_000
    return Span(
        trace_id=rng.randbytes(16),
        span_id=rng.randbytes(8),
        parent_span_id=rng.randbytes(8),
        name=f"GET {operation}",
        kind=3 if client else 2,
        start_time_unix_nano=start,
        end_time_unix_nano=start + rng.randrange(10_000_000),
        attributes=pairs(found),
        flags=257,
    )


def traces(rng: random.Random, items: int) -> tuple[bytes, int]:
    """A request and how many items it has."""
    services = min(40, max(1, items // 32))
    blocks = []
    for service in range(services):
        spans = [span_of(rng, service, number) for number in range(items // services)]
        scope = InstrumentationScope(name="io.opentelemetry.tomcat-10.0", version="2.9.0-alpha")
        blocks.append(ResourceSpans(resource=resource_of(service), scope_spans=[ScopeSpans(scope=scope, spans=spans)]))
    return ExportTraceServiceRequest(resource_spans=blocks).SerializeToString(), services * (items // services)


def log_of(rng: random.Random, number: int) -> LogRecord:
    """A record with ids and numbers in its body."""
    body = rng.choice(
        (
            f"order {rng.getrandbits(30)} of user {rng.randbytes(8).hex()} placed in {rng.random() * 100:.3f} ms",
            f"c.s.CartController#{rng.randrange(40)} GET /cart/{rng.getrandbits(20)} took {rng.randrange(900)} ms",
            f"connection to 10.0.{rng.randrange(255)}.{rng.randrange(255)}:5432 released, pool {rng.randrange(20)} of 20",
        )
    )
    found: dict[str, str | int] = {
        "thread.name": f"exec-{rng.randrange(200)}",
        "logger.name": "com.shop.cart.CartController",
        "log.iostream": "stdout",
    }
    return LogRecord(
        time_unix_nano=AT_NS + number * 1_000_000,
        observed_time_unix_nano=AT_NS + number * 1_000_000,
        severity_number=9,
        severity_text="INFO",
        body=AnyValue(string_value=body),
        attributes=pairs(found),
        trace_id=rng.randbytes(16),
        span_id=rng.randbytes(8),
    )


def logs(rng: random.Random, items: int) -> tuple[bytes, int]:
    """A request and how many items it has."""
    services = min(40, max(1, items // 32))
    blocks = [
        ResourceLogs(
            resource=resource_of(service), scope_logs=[ScopeLogs(log_records=[log_of(rng, number) for number in range(items // services)])]
        )
        for service in range(services)
    ]
    return ExportLogsServiceRequest(resource_logs=blocks).SerializeToString(), services * (items // services)


def number_point(rng: random.Random, found: dict[str, Any]) -> NumberDataPoint:
    """A point of a gauge or a sum."""
    return NumberDataPoint(as_double=rng.random(), **found)


def histogram_point(rng: random.Random, found: dict[str, Any]) -> HistogramDataPoint:
    """A point with the 14 default bounds."""
    bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
    return HistogramDataPoint(count=100, sum=3.5, explicit_bounds=bounds, bucket_counts=[rng.randrange(50) for _ in range(15)], **found)


def exponential_point(rng: random.Random, found: dict[str, Any]) -> ExponentialHistogramDataPoint:
    """A point with 40 to 80 buckets."""
    counts = [rng.randrange(50) for _ in range(rng.randrange(40, 80))]
    positive = ExponentialHistogramDataPoint.Buckets(offset=rng.randrange(-200, -100), bucket_counts=counts)
    return ExponentialHistogramDataPoint(count=sum(counts), sum=3.5, scale=4, zero_count=1, positive=positive, **found)


#: Field of a Metric, and how its points are made.
POINTS: dict[str, tuple[str, Callable[[random.Random, dict[str, Any]], Any]]] = {
    "gauge": ("gauge", number_point),
    "sum": ("sum", number_point),
    "histogram": ("histogram", histogram_point),
    "exponential": ("exponential_histogram", exponential_point),
}


def metrics(rng: random.Random, items: int, kind: str) -> tuple[bytes, int]:
    """A request and how many points it has: 16 metrics a service, as many series each as it takes."""
    services, names = min(40, max(1, items // 64)), 16
    field, point_of = POINTS[kind]
    each = items // services // names
    now = AT_NS + rng.randrange(1 << 40)
    blocks = []
    for service in range(services):
        made = []
        for name in range(names):
            points = []
            for series in range(each):
                found = pairs({"http.route": f"/api/v1/items/{series}", "http.request.method": "GET", "http.response.status_code": 200})
                points.append(point_of(rng, {"attributes": found, "start_time_unix_nano": AT_NS, "time_unix_nano": now}))
            made.append(Metric(name=f"http.server.metric.{name}", unit="s", **{field: {"data_points": points}}))
        blocks.append(ResourceMetrics(resource=resource_of(service), scope_metrics=[ScopeMetrics(metrics=made)]))
    return ExportMetricsServiceRequest(resource_metrics=blocks).SerializeToString(), services * names * each


def microseconds(decode: Callable[[bytes], object], requests: list[bytes], items: int) -> float:
    """CPU time an item, after two requests to warm up."""
    for raw in requests[:2]:
        decode(raw)
    started = time.process_time()
    for raw in requests[2:]:
        decode(raw)
    return (time.process_time() - started) * 1e6 / (items * len(requests[2:]))


def main() -> None:
    """Prints CPU time an item."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--requests", type=int, default=12)
    args = parser.parse_args()
    rows = []
    for signal, make in SIGNALS.items():
        for size in (8192, 512):
            rng = random.Random(size)
            made = [make(rng, size) for _ in range(args.requests * (1 if size > 1000 else 8))]
            requests, items = [raw for raw, _ in made], made[0][1]
            strings, resources = Strings(), Resources()
            plain = PLAIN[signal]
            walker = Walker(Strings(), Resources(), EVENT_TYPES)
            slow = microseconds(lambda raw, plain=plain, s=strings, r=resources: plain(raw, s, r), requests[: args.requests], items)
            fast = microseconds(getattr(walker, signal.split()[0]), requests, items)
            rows.append(
                {
                    "signal": signal,
                    "items": items,
                    "bytes": round(len(requests[0]) / items),
                    "plain_us": round(slow, 3),
                    "walker_us": round(fast, 3),
                    "ratio": round(slow / fast, 1),
                }
            )
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'':24} {'a request':>10} {'bytes':>6} {'plain µs':>9} {'walker µs':>10} {'ratio':>6}")
    for row in rows:
        print(f"{row['signal']:24} {row['items']:10} {row['bytes']:6} {row['plain_us']:9.2f} {row['walker_us']:10.3f} {row['ratio']:5.1f}x")


PLAIN = {
    "traces": protobuf.decode_traces,
    "logs": protobuf.decode_logs,
    "metrics gauge": protobuf.decode_metrics,
    "metrics sum": protobuf.decode_metrics,
    "metrics histogram": protobuf.decode_metrics,
    "metrics exponential": protobuf.decode_metrics,
}
SIGNALS = {"traces": traces, "logs": logs, **{f"metrics {kind}": partial(metrics, kind=kind) for kind in POINTS}}

if __name__ == "__main__":
    main()
