"""OTLP messages for tests: recordings as protobuf, protobuf as OTLP/JSON, and batches as plain comparable values."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from engine.records import Batch
from engine.strings import Resources, Strings
from exporter.decode.protobuf import decode_logs, decode_metrics, decode_traces

IDS = {"traceId", "spanId", "parentSpanId"}
REQUESTS = {
    "resourceSpans": (ExportTraceServiceRequest, decode_traces),
    "resourceLogs": (ExportLogsServiceRequest, decode_logs),
    "resourceMetrics": (ExportMetricsServiceRequest, decode_metrics),
}


def recordings() -> Path:
    """Folder of the recordings at hand; skips the test where there is none."""
    root = Path(__file__).resolve().parent.parent
    for place in (os.environ.get("WHENCE_RECORDINGS", ""), str(root.parent / "shared" / "data"), str(root / "exporter" / "recordings")):
        if place and any(Path(place).rglob("*.jsonl.zst")):
            return Path(place)
    pytest.skip("no recordings at hand: set WHENCE_RECORDINGS")


def lines_of(path: Path) -> Iterator[bytes]:
    """Lines of a recording."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        yield from io.BufferedReader(reader)


def ids_recoded(value: Any, recode: Any) -> Any:
    """A copy with every id recoded (hex and base64 are the two spellings of OTLP/JSON and of protobuf's own JSON)."""
    if isinstance(value, dict):
        return {key: recode(each) if key in IDS and isinstance(each, str) else ids_recoded(each, recode) for key, each in value.items()}
    if isinstance(value, list):
        return [ids_recoded(each, recode) for each in value]
    return value


def to_protobuf(payload: dict[str, Any]) -> Any:
    """The protobuf message of an OTLP/JSON payload."""
    (signal,) = payload
    encoded = ids_recoded(payload, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    return ParseDict(encoded, REQUESTS[signal][0]())


def to_json(message: Any) -> bytes:
    """OTLP/JSON of a protobuf message."""
    plain = MessageToDict(message, use_integers_for_enums=True)
    return orjson.dumps(ids_recoded(plain, lambda text: base64.b64decode(text).hex()))


def comparable(batch: Batch, strings: Strings, resources: Resources) -> dict[str, Any]:
    """Everything a batch says, as values that compare by ==; NaN by its text."""
    values: dict[str, Any] = {"changes": batch.changes, "dropped": batch.dropped, "bounds": [list(each) for each in batch.bounds]}
    for name in ("spans", "logs", "points", "links"):
        columns = getattr(batch, name)
        if columns is None:
            values[name] = None
            continue
        for field in fields(columns):
            column = getattr(columns, field.name)
            plain = column.tolist() if column.dtype.kind != "f" else [repr(each) for each in column.astype(np.float64).tolist()]
            values[f"{name}.{field.name}"] = str(column.dtype), plain
    values["strings"] = {kind: [strings.text(kind, code) for code in range(strings.size(kind))] for kind in strings.caps}
    values["resources"] = [resources[code] for code in range(len(resources))]
    return values


#: Columns that hold codes, by the kind of dictionary.
KINDS = {
    "operation": "operation",
    "peer": "value",
    "error_type": "value",
    "event_name": "value",
    "metric": "value",
    "unit": "value",
    "message": "template",
    "statement": "template",
    "template": "template",
    "exception": "text",
}


def in_texts(batch: Batch, strings: Strings, resources: Resources) -> dict[str, Any]:
    """Everything a batch says, with texts in place of codes: equal where two decoders agree, whichever code they gave out first."""
    values: dict[str, Any] = {"changes": batch.changes, "dropped": batch.dropped}
    values["bounds"] = [[str(each.dtype), *map(repr, each.tolist())] for each in batch.bounds]
    for name in ("spans", "logs", "points", "links"):
        columns = getattr(batch, name)
        if columns is None:
            values[name] = None
            continue
        for field in fields(columns):
            column = getattr(columns, field.name)
            plain = column.tolist() if column.dtype.kind != "f" else [repr(each) for each in column.astype(np.float64).tolist()]
            if field.name == "resource":
                plain = [resources[code] for code in plain]
            elif field.name == "series":  # its text begins with the code of the resource
                texts = [strings.text("series", code).partition("\x1f") for code in plain]
                plain = [(resources[int(code)] if code else None, rest) for code, _, rest in texts]
            elif field.name in KINDS:
                plain = [strings.text(KINDS[field.name], code) for code in plain]
            values[f"{name}.{field.name}"] = str(column.dtype), plain
    return values
