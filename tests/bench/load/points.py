"""Data points as OTLP requests: gauges, sums, histograms and exponential histograms of the same series again and again, each time later.

A request holds every series once, as a sender's export does. A function of (seed, number).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, ResourceMetrics

from tests.bench.load.shop import PODS, Shop
from tests.bench.load.spans import SHOP_SEED, resource_attributes, text_attributes
from tests.bench.load.stamp import Field, Marks, as_bytes, located

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
KINDS = ("gauge", "sum", "histogram", "exponential_histogram")
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BUCKETS = 20  # of an exponential histogram
NAMES = {
    "gauge": ("jvm.memory.used", "jvm.cpu.recent_utilization", "db.client.connection.count", "system.memory.usage"),
    "sum": ("http.server.request.count", "jvm.gc.count", "rpc.client.calls", "messaging.client.sent.messages"),
    "histogram": ("http.server.request.duration", "http.client.request.duration", "db.client.operation.duration", "rpc.server.duration"),
    "exponential_histogram": ("http.server.duration", "queue.wait", "cache.load.duration", "gc.pause"),
}


class PointTraffic:
    """Requests by number, of one kind of point. Safe for several threads."""

    method = METHOD

    def __init__(
        self, kind: str, services: int = 40, points_a_request: int = 8192, *, every_ns: int = 10_000_000_000, start_ns: int, seed: int = 1
    ) -> None:
        self.kind, self.items, self.span_ns, self.start_ns, self.seed = kind, points_a_request, every_ns, start_ns, seed
        self._encode(Shop.of(services, SHOP_SEED).services)

    def _encode(self, services: tuple[str, ...]) -> None:
        marks = Marks(self.seed)
        message = ExportMetricsServiceRequest()
        senders = [(service, pod) for service in services for pod in range(PODS)]
        wire: list[tuple[str, bytes]] = []
        for at, (service, pod) in enumerate(senders):
            message.resource_metrics.append(ResourceMetrics(resource={"attributes": resource_attributes(service, pod)}))
            scope = message.resource_metrics[-1].scope_metrics.add()
            scope.scope.name = "io.opentelemetry.runtime"
            mine = range(at, self.items, len(senders))
            for number, name in enumerate(NAMES[self.kind]):
                metric = scope.metrics.add(name=name, unit="s" if "duration" in name else "1")
                data = getattr(metric, self.kind)
                if self.kind != "gauge":
                    data.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                if self.kind == "sum":
                    data.is_monotonic = True
                for series in mine[number :: len(NAMES[self.kind])]:
                    wire += self._point(data.data_points.add(), marks, series)
        raw = message.SerializeToString()
        offsets: dict[str, list[int]] = {}
        for (name, _), offset in zip(wire, located(raw, [mark for _, mark in wire]), strict=True):
            offsets.setdefault(name, []).append(offset)
        widths = {"buckets": 8 * (len(BOUNDS) + 1), "packed": 2 * BUCKETS}
        self._fields = {name: Field(found, widths.get(name, 8)) for name, found in offsets.items()}
        self._template, self.size_bytes = np.frombuffer(raw, np.uint8), len(raw)

    def _point(self, point: Any, marks: Marks, series: int) -> list[tuple[str, bytes]]:
        """Fill a point with marks, in the order of the bytes. Python's protobuf writes fields by number."""
        route = {"http.route": f"/v1/item{series % 97}/{{id}}", "http.request.method": "GET", "shard": f"s{series // 97}", "state": "used"}
        attributes = text_attributes(route)
        point.start_time_unix_nano = self.start_ns - 1
        time_ns, time_mark = marks.number()
        point.time_unix_nano = time_ns
        wire = [("time", time_mark)]
        if self.kind in ("gauge", "sum"):
            value, mark = marks.number()
            point.as_double = np.array([value], np.uint64).view(np.float64)[0]
            wire.append(("value", mark))
        else:
            count, count_mark = marks.number()
            total, sum_mark = marks.number()
            point.count, point.sum = count, np.array([total], np.uint64).view(np.float64)[0]
            wire += [("count", count_mark), ("value", sum_mark)]
        if self.kind == "histogram":
            numbers = [marks.number() for _ in range(len(BOUNDS) + 1)]
            point.bucket_counts.extend(number for number, _ in numbers)
            point.explicit_bounds.extend(BOUNDS)
            wire.append(("buckets", b"".join(mark for _, mark in numbers)))
        elif self.kind == "exponential_histogram":
            point.scale, point.positive.offset = 3, -20
            counts = [128 + int.from_bytes(marks.raw(2), "little") % 16000 for _ in range(BUCKETS)]
            point.positive.bucket_counts.extend(counts)
            wire.append(("packed", b"".join(bytes([128 | each & 127, each >> 7]) for each in counts)))
        point.attributes.extend(attributes)
        return wire

    def request(self, number: int) -> bytes:
        """The encoded ExportMetricsServiceRequest."""
        rng, copy = np.random.Generator(np.random.SFC64([self.seed, number])), self._template.copy()
        time_ns = np.full(self.items, self.start_ns + (number + 1) * self.span_ns, np.int64)
        self._fields["time"].write(copy, as_bytes(time_ns))
        cumulative = 1000.0 * (number + 1)
        if "buckets" in self._fields:
            counts = rng.integers(0, 100, (self.items, len(BOUNDS) + 1)) + 100 * number
            self._fields["buckets"].write(copy, as_bytes(counts))
            self._fields["count"].write(copy, as_bytes(counts.sum(axis=1)))
        elif "packed" in self._fields:
            counts = np.minimum(128 + rng.integers(0, 20, (self.items, BUCKETS)) + 20 * number, 16383)
            packed = np.stack([128 | counts & 127, counts >> 7], axis=2).reshape(self.items, -1).astype(np.uint8)
            self._fields["packed"].write(copy, packed)
            self._fields["count"].write(copy, as_bytes(counts.sum(axis=1)))
        self._fields["value"].write(
            copy, as_bytes(cumulative + rng.normal(0, 10, self.items) if self.kind != "gauge" else rng.random(self.items))
        )
        return copy.tobytes()
