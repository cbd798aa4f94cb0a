"""Whole traces as OTLP requests: about 400 bytes and 7 to 10 attributes a span, grouped by the resource that sends it.

A request is a function of (seed, number): the same number gives the same bytes, another number other ids, times and durations.
Some places of the request, `odd_share` of them, hold an error type (and, for calls, an address) that hardly ever comes twice: rows
that a detector has not seen. Event time moves on by spans / spans_a_second with each request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from engine.records import SpanKind
from tests.bench.load.shop import JITTER, PODS, Node, Shop
from tests.bench.load.stamp import U64, Field, Marks, as_bytes, decimal_digits, hex_digits, located

I64 = npt.NDArray[np.int64]
ERRORS = 4000  # error types of odd spans
SHOP_SEED = 1  # the same system, whatever the seed of its traffic
HOSTS = 155  # last byte of an address, 100 to 254, so that its width is fixed
FAILING_TREES = 10  # the last step of one tree in so many fails, each time: what always was so opens no incident
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Stamps(NamedTuple):
    """What one request has of its own, in the order of its spans."""

    trace: U64  # [n, 2]
    span: U64  # [n]
    parent: U64  # [n], 0: root
    start_ns: I64  # [n]
    end_ns: I64  # [n]
    error: I64  # [odd] number of the error type
    host: I64  # [odd] last byte of the address


@dataclass(frozen=True, slots=True)
class Settings:
    """Of traffic."""

    services: int = 40
    spans_a_request: int = 8192  # about: traces are whole
    spans_a_second: float = 30_000.0  # of event time
    odd_share: float = 0.005
    start_ns: int = 1_760_000_000_000_000_000
    seed: int = 1


class SpanTraffic:
    """Requests by number. Safe for several threads."""

    method = METHOD

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        shop = Shop.of(settings.services, SHOP_SEED)
        self.shop = shop
        rng = np.random.default_rng(settings.seed)
        trees = self._trees(rng)
        self.traces = len(trees)
        rows = [(node.service, trace, at) for trace, tree in enumerate(trees) for at, node in enumerate(shop.trees[tree].nodes)]
        order = sorted(range(len(rows)), key=lambda row: (rows[row][0], row % PODS, row))
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows))
        self.items = len(rows)
        self.nodes = [shop.trees[trees[rows[row][1]]].nodes[rows[row][2]] for row in order]
        self.pods = [row % PODS for row in order]
        self._failing = {
            at
            for at, row in enumerate(order)
            if trees[rows[row][1]] % FAILING_TREES == 0 and rows[row][2] == len(shop.trees[trees[rows[row][1]]].nodes) - 1
        }
        self.trace_of = np.array([rows[row][1] for row in order], np.int64)
        first = np.cumsum([0, *(len(shop.trees[tree].nodes) for tree in trees)])
        self.parent_of = np.array(
            [place[first[rows[row][1]] + node.parent] if node.parent >= 0 else -1 for row, node in zip(order, self.nodes, strict=True)],
            np.int64,
        )
        #: By tree: places [traces, nodes] of its spans in the request, its traces, and its medians.
        self._blocks = []
        for number, tree in enumerate(shop.trees):
            mine = [trace for trace, chosen in enumerate(trees) if chosen == number]
            if mine:
                places = np.stack([place[first[trace] : first[trace + 1]] for trace in mine])
                self._blocks.append((tree, places, np.array(mine), np.log([node.own_ms * 1e6 for node in tree.nodes])))
        self.odd = np.sort(rng.permutation(self.items)[: round(settings.odd_share * self.items)])
        self.span_ns = round(self.items / settings.spans_a_second * 1e9)  # event time of one request
        self._encode()

    def stamps(self, number: int) -> Stamps:
        """What request `number` has of its own."""
        rng = np.random.Generator(np.random.SFC64([self.settings.seed, number]))
        trace = rng.integers(1, 2**63, (self.traces, 2), np.uint64)[self.trace_of]
        span = rng.integers(1, 2**63, self.items, np.uint64)
        parent = np.where(self.parent_of >= 0, span[self.parent_of], np.uint64(0))
        start_ns, end_ns = np.empty(self.items, np.int64), np.empty(self.items, np.int64)
        begin_ns = self.settings.start_ns + number * self.span_ns
        begins = begin_ns + np.sort(rng.integers(0, self.span_ns, self.traces))
        for tree, places, mine, medians in self._blocks:
            own = np.exp(medians + JITTER * rng.standard_normal(places.shape))
            start = (own @ tree.offset.T).astype(np.int64) + begins[mine][:, None]
            start_ns[places] = start
            end_ns[places] = start + (own @ tree.length.T).astype(np.int64)
        error, host = rng.integers(0, ERRORS, len(self.odd)), rng.integers(0, HOSTS, len(self.odd))
        return Stamps(trace, span, parent, start_ns, end_ns, error, host)

    def request(self, number: int) -> bytes:
        """The encoded ExportTraceServiceRequest."""
        stamps = self.stamps(number)
        copy = self._template.copy()
        self._ids.write(copy, as_bytes(stamps.trace))
        self._span_ids.write(copy, as_bytes(stamps.span))
        child = self.parent_of >= 0
        self._parents.write(copy, as_bytes(stamps.parent[child]))
        self._starts.write(copy, as_bytes(stamps.start_ns))
        self._ends.write(copy, as_bytes(stamps.end_ns))
        self._paths.write(copy, hex_digits(stamps.span, 8))
        self._errors.write(copy, decimal_digits(stamps.error, 4))
        calls = self._odd_calls
        self._hosts.write(copy, decimal_digits(100 + stamps.host[calls], 3))
        linked = self._linked
        self._link_traces.write(copy, as_bytes(stamps.trace[linked]))
        self._link_spans.write(copy, as_bytes(stamps.parent[linked]))
        return copy.tobytes()

    def _trees(self, rng: np.random.Generator) -> list[int]:
        """Tree of each trace: in turn, so that all operations come, until the request is full."""
        sizes = [len(tree.nodes) for tree in self.shop.trees]
        chosen: list[int] = []
        filled, order = 0, rng.permutation(len(sizes)).tolist()
        while filled + max(sizes) <= self.settings.spans_a_request or not chosen:
            chosen.append(order[len(chosen) % len(order)])
            filled += sizes[chosen[-1]]
        return chosen

    def _encode(self) -> None:
        """Encode once with marks in the fields that change, and find them."""
        marks = Marks(self.settings.seed)
        message = ExportTraceServiceRequest()
        found: dict[str, list[bytes]] = {name: [] for name in ("trace", "span", "parent", "start", "end", "path", "error", "host", "link")}
        order: list[tuple[str, bytes]] = []
        odd = set(self.odd.tolist())
        where, odd_calls, linked = None, [], []
        spans: Any = None
        for at, node in enumerate(self.nodes):
            if where != (node.service, self.pods[at]):
                where = node.service, self.pods[at]
                group = ResourceSpans(resource={"attributes": resource_attributes(self.shop.services[node.service], self.pods[at])})
                message.resource_spans.append(group)
                scope = message.resource_spans[-1].scope_spans.add()
                scope.scope.name, scope.scope.version = "io.opentelemetry.instrumentation.http", "2.9.0"
                spans = scope.spans
            span: Span = spans.add()
            wire: list[tuple[str, bytes]] = []
            span.trace_id, span.span_id = marks.raw(16), marks.raw(8)
            wire += [("trace", span.trace_id), ("span", span.span_id)]
            if node.parent >= 0:
                span.parent_span_id = marks.raw(8)
                wire.append(("parent", span.parent_span_id))
            span.name, span.kind, span.flags = node.name, int(node.kind), 0x101 if node.parent >= 0 else 0x100
            span.start_time_unix_nano, start = marks.number()
            span.end_time_unix_nano, end = marks.number()
            wire += [("start", start), ("end", end)]
            path, error, host = marks.text(8), marks.text(4), marks.text(3)
            failed = at in self._failing and at not in odd
            known_host = f"{100 + at % PODS}"
            is_odd = at in odd
            call = node.kind == SpanKind.CLIENT
            span.attributes.extend(
                _attributes(self.shop.services, node, path, error if is_odd else "", host if is_odd else known_host, failed)
            )
            wire.append(("path", path.encode()))
            if is_odd:
                wire.append(("error", error.encode()))
            if is_odd and call:
                odd_calls.append(int(np.searchsorted(self.odd, at)))
                wire.append(("host", host.encode()))
            if failed:
                span.status.code = Status.STATUS_CODE_ERROR
                event = span.events.add(time_unix_nano=1, name="exception")
                event.attributes.extend(
                    text_attributes({"exception.type": "java.io.IOException", "exception.message": "connection reset by peer"})
                )
            if node.kind == SpanKind.CONSUMER:
                link = span.links.add(trace_id=marks.raw(16), span_id=marks.raw(8))
                wire += [("link", link.trace_id + b"\x12\x08" + link.span_id)]
                linked.append(at)
            order += wire
        raw = message.SerializeToString()
        offsets = located(raw, [mark for _, mark in order])
        by_field: dict[str, list[int]] = {name: [] for name in found}
        for (name, _), offset in zip(order, offsets, strict=True):
            by_field[name].append(offset)
        self._template = np.frombuffer(raw, np.uint8)
        self.size_bytes = len(raw)
        self._ids, self._span_ids = Field(by_field["trace"], 16), Field(by_field["span"], 8)
        self._parents, self._starts, self._ends = Field(by_field["parent"], 8), Field(by_field["start"], 8), Field(by_field["end"], 8)
        self._paths, self._errors, self._hosts = Field(by_field["path"], 8), Field(by_field["error"], 4), Field(by_field["host"], 3)
        self._link_traces, self._link_spans = Field(by_field["link"], 16), Field([at + 18 for at in by_field["link"]], 8)
        self._odd_calls, self._linked = np.array(odd_calls, np.int64), np.array(linked, np.int64)


def text_attributes(values: dict[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(key=key, value={"string_value": value} if isinstance(value, str) else {"int_value": value})
        for key, value in values.items()
    ]


def resource_attributes(service: str, pod: int) -> list[KeyValue]:
    return text_attributes(
        {
            "service.name": service,
            "service.namespace": "shop",
            "service.version": "1.24.0",
            "service.instance.id": f"{service}-{pod}",
            "deployment.environment.name": "production",
            "k8s.pod.name": f"{service}-7d9f-{pod}",
            "host.name": f"node-{pod}",
            "telemetry.sdk.language": "java",
            "telemetry.sdk.version": "1.49.0",
        }
    )


def _attributes(services: tuple[str, ...], node: Node, path: str, error: str, host: str, failed: bool) -> list[KeyValue]:
    """By kind, as instrumentations write them; the path, the error and the address in this order."""
    odd: dict[str, str | int] = {"error.type": f"java.lang.E{error}"} if error else {}
    status = 500 if failed else 200
    values: dict[str, str | int]
    if node.kind == SpanKind.SERVER:
        values = {
            "url.path": f"{node.name.removeprefix('GET ')}/{path}",
            "http.request.method": "GET",
            "http.route": node.name.removeprefix("GET "),
            "http.response.status_code": status,
            "url.scheme": "http",
            "network.protocol.version": "1.1",
            "user_agent.original": "okhttp/4.12.0",
            "thread.name": "http-nio-8080-exec-3",
            "thread.id": 41,
            **odd,
        }
    elif node.kind == SpanKind.CLIENT and node.database:
        values = {
            "app.request.id": path,
            **odd,
            "server.address": f"10.255.7.{host}",
            "db.system.name": "postgresql",
            "db.namespace": node.database,
            "db.operation.name": "SELECT",
            "db.query.text": "SELECT id, name, price, stock FROM item WHERE id = $1",
            "server.port": 5432,
            "thread.id": 41,
        }
    elif node.kind == SpanKind.CLIENT:
        values = {
            "app.request.id": path,
            **odd,
            "server.address": f"10.{100 + node.peer // 100}.{100 + node.peer % 100}.{host}",
            "http.request.method": "GET",
            "http.response.status_code": status,
            "url.template": "/v1/item/{id}",
            "server.port": 8080,
            "network.protocol.version": "1.1",
            "thread.name": "http-nio-8080-exec-3",
            "thread.id": 41,
        }
    elif node.kind in (SpanKind.PRODUCER, SpanKind.CONSUMER):
        values = {
            "messaging.message.id": f"{path}-0000-4000-8000-000000000000",
            "messaging.system": "kafka",
            "messaging.destination.name": node.name.split(" ")[1].strip("/").replace("/", "-"),
            "messaging.operation.type": node.name.split(" ")[0],
            "messaging.client.id": "shop-client-1",
            "messaging.kafka.offset": 4711,
            "thread.id": 41,
            **odd,
        }
    else:
        values = {
            "app.request.id": path,
            "code.function.name": f"com.shop.{node.name}",
            "code.file.path": "src/main/java/com/shop/Repository.java",
            "code.line.number": 118,
            "app.cache.hit": "false",
            "thread.name": "http-nio-8080-exec-3",
            "thread.id": 41,
            **odd,
        }
    return text_attributes(values)
