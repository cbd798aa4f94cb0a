"""Sends export requests over OTLP/gRPC as a Collector does: waits when told to, gives up on what will never succeed."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from exporter.otlp import SIGNALS, Signal

LIMIT_BYTES = 64 * 1024 * 1024
#: Without RetryInfo: first pause, longest pause.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
#: OTLP 1.11, OTLP/gRPC response: these may be sent again. RESOURCE_EXHAUSTED only where RetryInfo comes with it.
RETRYABLE = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}


class SendError(Exception):
    """A request cannot be delivered; the text says what the receiver answered."""


class Sender:
    """One connection to a receiver. `sent` and `retried` count what happened so far."""

    def __init__(self, endpoint: str, *, patience_seconds: float = 60.0, timeout_seconds: float = 30.0) -> None:
        self.endpoint = endpoint
        self.patience_seconds, self.timeout_seconds = patience_seconds, timeout_seconds
        self.sent: Counter[str] = Counter()
        self.retried = 0
        limits = [("grpc.max_send_message_length", LIMIT_BYTES), ("grpc.max_receive_message_length", LIMIT_BYTES)]
        self._channel = grpc.insecure_channel(endpoint, options=limits)
        self._calls: dict[str, Any] = {
            signal.name: self._channel.unary_unary(signal.method, request_serializer=_serialize) for signal in SIGNALS.values()
        }

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()

    def send(self, signal: Signal, request: Message) -> None:
        """Deliver one request; again and again for up to `patience_seconds` while the receiver says that it may be.

        Raises: SendError if the receiver refuses for good, or for that long.
        """
        give_up, pause = time.monotonic() + self.patience_seconds, PAUSE_SECONDS
        while True:
            try:
                self._calls[signal.name](request, timeout=self.timeout_seconds)
            except grpc.RpcError as error:
                told = retry_seconds(error)
                if error.code() not in RETRYABLE and told is None:
                    raise SendError(f"{self.endpoint} refused {signal.name}: {error.code().name}: {error.details()}") from error
                wait = pause if told is None else told
                if time.monotonic() + wait > give_up:
                    raise SendError(f"{self.endpoint}: {error.code().name} for {self.patience_seconds:.0f} s: {error.details()}") from error
                self.retried += 1
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self.sent[signal.name] += 1
                return


def retry_seconds(error: grpc.RpcError) -> float | None:
    """The pause that the receiver asks for (google.rpc.RetryInfo in `grpc-status-details-bin`), None if it asks for none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                status = Status.FromString(value)
            except DecodeError:
                return None
            for detail in status.details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return _seconds(info.retry_delay)
    return None


def _seconds(duration: Duration) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9


def _serialize(message: Message) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw
