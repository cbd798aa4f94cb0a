"""Log records as OTLP requests: five templates with numbers in them, half of the records in a trace. A function of (seed, number)."""

from __future__ import annotations

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from tests.bench.load.shop import PODS, Shop
from tests.bench.load.spans import SHOP_SEED, resource_attributes, text_attributes
from tests.bench.load.stamp import Field, Marks, as_bytes, decimal_digits, located

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
#: Body, severity number and text; ######## is another number in each record.
TEMPLATES = (
    ("Order ######## accepted, 3 items reserved in warehouse north", 9, "INFO"),
    ("GET /v1/items/######## answered 200 in 12 ms", 9, "INFO"),
    ("cache miss for item ########, loading it from the database", 5, "DEBUG"),
    ("Request ######## took longer than expected: 412 ms", 13, "WARN"),
    ("Payment ######## declined by the provider: insufficient funds", 17, "ERROR"),
)
TIMES = (40, 40, 15, 4, 1)  # of a hundred records


class LogTraffic:
    """Requests by number. Safe for several threads."""

    method = METHOD

    def __init__(
        self, services: int = 40, records_a_request: int = 8192, *, a_second: float = 30_000.0, start_ns: int, seed: int = 1
    ) -> None:
        self.items, self.start_ns, self.seed = records_a_request, start_ns, seed
        self.span_ns = round(records_a_request / a_second * 1e9)
        self._encode(Shop.of(services, SHOP_SEED).services)

    def _encode(self, services: tuple[str, ...]) -> None:
        marks, rng = Marks(self.seed), np.random.default_rng(self.seed)
        message = ExportLogsServiceRequest()
        senders = [(service, pod) for service in services for pod in range(PODS)]
        wire: list[tuple[str, bytes]] = []
        for at, (service, pod) in enumerate(senders):
            message.resource_logs.append(ResourceLogs(resource={"attributes": resource_attributes(service, pod)}))
            scope = message.resource_logs[-1].scope_logs.add()
            scope.scope.name = "com.shop.Logger"
            for number in range(at, self.items, len(senders)):
                body, severity, level = TEMPLATES[int(rng.choice(len(TEMPLATES), p=np.array(TIMES) / 100))]
                time_ns, time_mark = marks.number()
                seen_ns, seen_mark = marks.number()
                text = marks.text(8)
                record = scope.log_records.add(time_unix_nano=time_ns, severity_number=severity, severity_text=level)
                record.body.string_value = body.replace("########", text)
                record.observed_time_unix_nano = seen_ns
                thread = {"thread.name": "http-nio-8080-exec-3", "thread.id": 41, "log.logger": f"com.shop.{service}.Handler"}
                record.attributes.extend(text_attributes({**thread, "code.function.name": f"com.shop.Handler{number % 3}.handle"}))
                wire += [("time", time_mark), ("text", text.encode())]
                if number % 2:
                    record.trace_id, record.span_id = marks.raw(16), marks.raw(8)
                    wire += [("trace", record.trace_id), ("span", record.span_id)]
                wire.append(("seen", seen_mark))
        raw = message.SerializeToString()
        offsets: dict[str, list[int]] = {name: [] for name in ("time", "text", "trace", "span", "seen")}
        for (name, _), offset in zip(wire, located(raw, [mark for _, mark in wire]), strict=True):
            offsets[name].append(offset)
        widths = {"time": 8, "text": 8, "trace": 16, "span": 8, "seen": 8}
        self._fields = {name: Field(found, widths[name]) for name, found in offsets.items()}
        self._template, self.size_bytes = np.frombuffer(raw, np.uint8), len(raw)

    def request(self, number: int) -> bytes:
        """The encoded ExportLogsServiceRequest."""
        rng, copy = np.random.Generator(np.random.SFC64([self.seed, number])), self._template.copy()
        begin_ns = self.start_ns + number * self.span_ns
        time_ns = begin_ns + np.sort(rng.integers(0, self.span_ns, self.items))
        in_trace = len(self._fields["trace"])
        self._fields["time"].write(copy, as_bytes(time_ns))
        self._fields["seen"].write(copy, as_bytes(time_ns + 1_000_000))
        self._fields["text"].write(copy, decimal_digits(rng.integers(0, 10**8, self.items), 8))
        self._fields["trace"].write(copy, as_bytes(rng.integers(1, 2**63, (in_trace, 2), np.uint64)))
        self._fields["span"].write(copy, as_bytes(rng.integers(1, 2**63, in_trace, np.uint64)))
        return copy.tobytes()
