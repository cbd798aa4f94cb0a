"""The usual way, as a server to measure against: a standard grpcio service, a dict a span, torch eager, FAISS flat.

    python -m tests.naive_path

Per request: the protobuf classes parse it, each span becomes a dict with its attributes, categories are looked up, all its rows go
through the same TabularResNet (five embeddings and a number -> 256, four blocks, 64) in torch, and their ten nearest are searched in a
flat index of as many rows as `engine.normal.index` keeps of a source. No joins, no windows, no evidence.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import grpc
import numpy as np
import torch
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from engine.normal.index import LIMIT_ROWS, NEIGHBOURS
from engine.normal.model import BLOCKS, HIDDEN, SIZE

CODES = 65536
CATEGORIES = ("service", "name", "status", "error", "peer")
CODE_SIZE = 32


class Net(torch.nn.Module):
    """TabularResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(CODES, CODE_SIZE) for _ in CATEGORIES)
        self.first = torch.nn.Linear(CODE_SIZE * len(CATEGORIES) + 1, HIDDEN)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Linear(HIDDEN, HIDDEN),
                torch.nn.BatchNorm1d(HIDDEN),
                torch.nn.ReLU(),
                torch.nn.Dropout(0.1),
                torch.nn.Linear(HIDDEN, HIDDEN),
                torch.nn.BatchNorm1d(HIDDEN),
            )
            for _ in range(BLOCKS)
        )
        self.last = torch.nn.Linear(HIDDEN, SIZE)

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        embedded = [table(codes[:, column]) for column, table in enumerate(self.tables)]
        hidden = self.first(torch.cat([*embedded, numbers[:, None]], dim=1))
        for block in self.blocks:
            hidden = torch.relu(hidden + block(hidden))
        return torch.nn.functional.normalize(self.last(hidden), dim=1)


class Path:
    """Takes requests one after the other."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.net = Net().eval()
        self.index = faiss.IndexFlatL2(SIZE)
        rows = np.random.default_rng(1).normal(size=(LIMIT_ROWS, SIZE)).astype(np.float32)
        self.index.add(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        self.codes: dict[tuple[str, str], int] = {}
        self.scores = np.zeros(0, np.float32)

    def export(self, request: ExportTraceServiceRequest, _: Any) -> ExportTraceServiceResponse:
        spans = spans_of(request)
        codes = torch.tensor([[self._code(name, span[name]) for name in CATEGORIES] for span in spans])
        numbers = torch.tensor([span["milliseconds"] for span in spans], dtype=torch.float32)
        with torch.no_grad():
            vectors = self.net(codes, torch.log1p(numbers)).numpy()
        distances, _ = self.index.search(vectors, NEIGHBOURS)
        self.scores = np.sqrt(np.maximum(distances, 0)).mean(axis=1)
        return ExportTraceServiceResponse()

    def _code(self, name: str, text: str) -> int:
        return self.codes.setdefault((name, text), len(self.codes) % CODES)


def spans_of(request: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """A dict a span."""
    spans = []
    for group in request.resource_spans:
        resource = {each.key: value_of(each.value) for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                attributes = {each.key: value_of(each.value) for each in span.attributes}
                spans.append(
                    {
                        "service": str(resource.get("service.name", "")),
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent_id": span.parent_span_id.hex(),
                        "name": span.name,
                        "status": str(span.status.code),
                        "error": str(attributes.get("error.type", "")),
                        "peer": str(attributes.get("server.address", "")),
                        "milliseconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                        "attributes": attributes,
                    }
                )
    return spans


def value_of(value: Any) -> Any:
    """An AnyValue as a Python value."""
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def main() -> None:
    """Serve until standard input ends; prints the port."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.unary_unary_rpc_method_handler(
        Path().export,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening {port}", flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
