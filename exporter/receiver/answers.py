"""What is answered to a sender, decided once for gRPC and HTTP.

Source: OTLP specification 1.11, OTLP/gRPC Response and OTLP/HTTP Response; the Collector's otlp exporters, which drop for good on
RESOURCE_EXHAUSTED without RetryInfo and on UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse


class Signal(StrEnum):
    """What is exported."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"
    PROFILES = "profiles"


class Verdict(StrEnum):
    """What became of a request; the refusals are the label `reason` of rca_receiver_refused_requests_total."""

    TAKEN = "taken"
    BUSY = "busy"  # no room, or draining
    CROWDED = "crowded"  # too many connections
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"  # compression other than gzip
    MEDIA_TYPE = "media_type"
    METHOD = "method"
    PATH = "path"
    TOKEN = "token"
    BUG = "bug"  # ours
    UNRECEIVED = "unreceived"  # larger than the transport takes, too slow, or the sender went away


class Code(NamedTuple):
    """The same answer on both transports."""

    grpc: grpc.StatusCode
    http: int
    retry: bool  # the sender shall come again: with RetryInfo or Retry-After


CODES: Mapping[Verdict, Code] = {
    Verdict.TAKEN: Code(grpc.StatusCode.OK, 200, False),
    Verdict.BUSY: Code(grpc.StatusCode.UNAVAILABLE, 503, True),
    Verdict.CROWDED: Code(grpc.StatusCode.UNAVAILABLE, 429, True),
    Verdict.MALFORMED: Code(grpc.StatusCode.INVALID_ARGUMENT, 400, False),
    Verdict.TOO_LARGE: Code(grpc.StatusCode.RESOURCE_EXHAUSTED, 413, False),  # without RetryInfo: coming again would not help
    Verdict.ENCODING: Code(grpc.StatusCode.UNIMPLEMENTED, 415, False),
    Verdict.MEDIA_TYPE: Code(grpc.StatusCode.UNIMPLEMENTED, 415, False),
    Verdict.METHOD: Code(grpc.StatusCode.UNIMPLEMENTED, 405, False),
    Verdict.PATH: Code(grpc.StatusCode.UNIMPLEMENTED, 404, False),
    Verdict.TOKEN: Code(grpc.StatusCode.UNAUTHENTICATED, 401, False),
    Verdict.BUG: Code(grpc.StatusCode.UNAVAILABLE, 503, True),  # never UNKNOWN: the Collector would drop for good
    Verdict.UNRECEIVED: Code(grpc.StatusCode.CANCELLED, 408, False),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, what is said with it, and how many items were unusable."""

    verdict: Verdict
    message: str = ""
    rejected: int = 0


#: Response of a signal, and the name of its count of rejected items. Profiles are accepted and discarded: an empty response.
RESPONSES: Mapping[Signal, tuple[Any, str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
}


def response_of(answer: Answer, signal: Signal) -> bytes:
    """Export response of a request that was taken: empty, or with partial_success where there is something to say."""
    if signal not in RESPONSES or not (answer.message or answer.rejected):
        return b""
    kind, counted = RESPONSES[signal]
    response = kind()
    response.partial_success.error_message = answer.message
    setattr(response.partial_success, counted, answer.rejected)
    written: bytes = response.SerializeToString()
    return written


def response_json(answer: Answer, signal: Signal) -> dict[str, Any]:
    """As response_of, for OTLP/JSON.

    >>> response_json(Answer(Verdict.TAKEN, "no time", 2), Signal.LOGS)
    {'partialSuccess': {'errorMessage': 'no time', 'rejectedLogRecords': '2'}}
    """
    if signal not in RESPONSES or not (answer.message or answer.rejected):
        return {}
    partial: dict[str, Any] = {"errorMessage": answer.message}
    if answer.rejected:
        head, *rest = RESPONSES[signal][1].split("_")
        partial[head + "".join(part.title() for part in rest)] = str(answer.rejected)  # 64-bit integers are text in OTLP/JSON
    return {"partialSuccess": partial}


def status_of(answer: Answer, retry_after_seconds: int) -> bytes:
    """google.rpc.Status of a refusal, with RetryInfo where the sender shall come again."""
    code = CODES[answer.verdict]
    status = Status(code=code.grpc.value[0], message=answer.message)
    if code.retry:
        retry = RetryInfo()
        retry.retry_delay.seconds = retry_after_seconds
        detail = AnyMessage()
        detail.Pack(retry)
        status.details.append(detail)
    written: bytes = status.SerializeToString()
    return written


def status_json(answer: Answer) -> dict[str, Any]:
    """google.rpc.Status of a refusal, for OTLP/JSON."""
    return {"code": CODES[answer.verdict].grpc.value[0], "message": answer.message}
