"""OTLP over gRPC: grpcio's sync server, raw bytes in, raw bytes out.

Decompression is switched off in grpc-core: libdeflate does it in the handler, after the intake has said that there is room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from exporter.receiver.answers import CODES, Answer, Signal, Verdict, response_of, status_of
from exporter.receiver.desk import Desk
from exporter.receiver.inflate import is_gzip
from exporter.receiver.ports import bound_port_error
from exporter.receiver.settings import GrpcSettings
from exporter.receiver.tls import grpc_credentials

TRANSPORT = "grpc"
SETTING = "receiver.grpc.endpoint"
_PACKAGE = "/opentelemetry.proto.collector"
METHODS = {
    f"{_PACKAGE}.trace.v1.TraceService/Export": Signal.TRACES,
    f"{_PACKAGE}.logs.v1.LogsService/Export": Signal.LOGS,
    f"{_PACKAGE}.metrics.v1.MetricsService/Export": Signal.METRICS,
    f"{_PACKAGE}.profiles.v1development.ProfilesService/Export": Signal.PROFILES,
}
ENCODINGS = ("", "identity", "gzip")
IDENTITY_AND_GZIP = 0b101  # bits of grpc_compression_algorithm: identity 0, deflate 1, gzip 2
SWEEP_SECONDS = 1.0
STATUS_DETAILS = "grpc-status-details-bin"

Handler = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]


class GrpcReceiver:
    """The server. `port` is the one it listens on (the endpoint may say 0)."""

    def __init__(self, desk: Desk, *, settings: GrpcSettings) -> None:
        """Bind the port. Raises: OSError that names the setting where it cannot be had."""
        self._desk = desk
        self._waiting: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._read_timeout_seconds = settings.read_timeout_seconds
        self._stopped = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="whence-grpc-sweep", daemon=True)
        self._pool = ThreadPoolExecutor(settings.workers, "whence-grpc")
        self._server = grpc.server(self._pool, options=options(desk.settings.max_message_bytes))
        self._server.add_generic_rpc_handlers((_Exports(self),))
        self.health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        try:
            if settings.tls.cert_file:
                self.port = self._server.add_secure_port(settings.endpoint, grpc_credentials(settings.tls))
            else:
                self.port = self._server.add_insecure_port(settings.endpoint)
        except RuntimeError as error:
            self._server.stop(None)
            raise bound_port_error(SETTING, settings.endpoint, str(error)) from None

    def start(self) -> None:
        """Take requests."""
        self._server.start()
        self._sweeper.start()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_seconds: float) -> None:
        """Say not serving, take no new requests, let those in flight end, for at most that long."""
        self.health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait(grace_seconds + 1)
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def handler(self, details: Any) -> Handler | None:
        """Handler of a call, before its message is read; None for a method that is none of ours."""
        signal = METHODS.get(details.method)
        if signal is None:
            if not details.method.startswith("/grpc.health."):
                self._desk.refuse(TRANSPORT, Verdict.PATH, details.method)
            return None
        headers = dict(details.invocation_metadata)
        if not self._desk.authorized(str(headers.get("authorization", "")), TRANSPORT):
            return self._refusal(Answer(Verdict.TOKEN, "bearer token missing or wrong"))
        return self._export(signal)

    def _refusal(self, answer: Answer) -> Handler:
        """Answer without reading the message."""

        def refuse(_: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            return self._answered(answer, Signal.PROFILES, context)

        return refuse

    def _export(self, signal: Signal) -> Handler:
        """Read one message, take it."""

        def export(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            key = id(context)
            self._waiting[key] = (monotonic() + self._read_timeout_seconds, context)
            try:
                body = next(messages, None)
            except grpc.RpcError:
                body = None
            finally:
                del self._waiting[key]
            if body is None:  # grpc-core has answered: too large, an encoding it does not know; or nobody is there
                return self._answered(self._desk.refuse(TRANSPORT, Verdict.UNRECEIVED, "no message"), signal, context)
            return self._answered(self._desk.take(TRANSPORT, signal, body, gzipped=is_gzip(body)), signal, context)

        return export

    def _answered(self, answer: Answer, signal: Signal, context: grpc.ServicerContext) -> bytes:
        if answer.verdict is Verdict.TAKEN:
            return response_of(answer, signal)
        code = CODES[answer.verdict]
        context.set_code(code.grpc)
        context.set_details(answer.message)
        if code.retry:
            context.set_trailing_metadata(((STATUS_DETAILS, status_of(answer, self._desk.settings.retry_after_seconds)),))
        return b""

    def _sweep(self) -> None:
        """Cancel calls whose message does not arrive: each holds a worker."""
        while not self._stopped.wait(SWEEP_SECONDS):
            now = monotonic()
            for deadline, context in list(self._waiting.values()):
                if now > deadline:
                    context.cancel()


class _Exports(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Gives grpcio the handlers. Calls are taken as streams of one message: so a message that is not received can be counted."""

    def __init__(self, receiver: GrpcReceiver) -> None:
        self._receiver = receiver

    def service(self, handler_call_details: Any) -> Any:
        handler = self._receiver.handler(handler_call_details)
        return None if handler is None else grpc.stream_unary_rpc_method_handler(handler)


def options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Channel arguments of the server. maximum_concurrent_rpcs stays unset: grpcio would answer RESOURCE_EXHAUSTED, and Collectors drop."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),  # else a second server would share the port instead of failing
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", IDENTITY_AND_GZIP),
        # the Collector may ping every 10 s without data: it must not get GOAWAY
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
        ("grpc.http2.max_ping_strikes", 0),
        # senders that vanished without closing
        ("grpc.keepalive_time_ms", 120_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
