"""CPU time of bytes -> columns, plain decoder and walker in one run: python -m tests.bench.decode

Spans of about 430 B with 7 to 10 attributes in whole traces of 40 services; no request is decoded twice, 0.5 % of operations are new.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
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


PLAIN = {"traces": protobuf.decode_traces}
SIGNALS = {"traces": traces}

if __name__ == "__main__":
    main()
