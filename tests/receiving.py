"""A receiver on free ports, with an intake that remembers; and senders for both transports."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from prometheus_client import CollectorRegistry

from engine.records import Batch
from engine.strings import Resources, Strings
from exporter.receiver.counters import Counters
from exporter.receiver.desk import Desk
from exporter.receiver.grpc import METHODS, GrpcReceiver
from exporter.receiver.http import HttpReceiver
from exporter.receiver.intake import Busy
from exporter.receiver.settings import DeskSettings, GrpcSettings, HttpSettings

LOGS = next(method for method, signal in METHODS.items() if signal == "logs")


class Remembers:
    """An intake with a limit of bytes, that keeps what it took and can be told to refuse."""

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self.lock = threading.Condition()
        self.limit_bytes, self.held_bytes, self.most_bytes = limit_bytes, 0, 0
        self.batches: list[Batch] = []
        self.refuse_next = 0
        self.busy_next = 0
        self.refused = 0
        self.error: Exception | None = None
        self.hints: list[str] = []

    def reserve(self, size_bytes: int) -> bool:
        with self.lock:
            if self.refuse_next or self.held_bytes + size_bytes > self.limit_bytes:
                self.refuse_next = max(0, self.refuse_next - 1)
                self.refused += 1
                return False
            self.held_bytes += size_bytes
            self.most_bytes = max(self.most_bytes, self.held_bytes)
            return True

    def release(self, size_bytes: int) -> None:
        with self.lock:
            self.held_bytes -= size_bytes

    def put(self, batch: Batch, size_bytes: int) -> list[str]:
        with self.lock:
            if self.error is not None:
                raise self.error
            if self.busy_next:
                self.busy_next -= 1
                self.refused += 1
                raise Busy("queue is full")
            self.batches.append(batch)
            self.held_bytes -= size_bytes
            self.lock.notify_all()
            return list(self.hints)

    def items(self) -> Counter[str]:
        with self.lock:
            return Counter(
                {
                    name: sum(len(getattr(batch, name).time_ns) for batch in self.batches if getattr(batch, name) is not None)
                    for name in ("spans", "logs", "points")
                }
            )

    def wait_for(self, name: str, count: int, seconds: float = 20.0) -> bool:
        """Whether that many items arrive in time."""
        end = time.monotonic() + seconds
        with self.lock:
            while (left := end - time.monotonic()) > 0:
                held = sum(len(getattr(batch, name).time_ns) for batch in self.batches if getattr(batch, name) is not None)
                if held >= count:
                    return True
                self.lock.wait(left)
        return False


class Running:
    """A desk with both transports, and its counters."""

    def __init__(self, intake: Remembers, desk: DeskSettings, grpc_settings: GrpcSettings, http_settings: HttpSettings) -> None:
        self.registry = CollectorRegistry()
        self.strings, self.resources = Strings(), Resources()
        self.intake = intake
        self.now_ns = 0
        self.desk = Desk(
            intake,
            strings=self.strings,
            resources=self.resources,
            settings=desk,
            counters=Counters(self.registry),
            clock_ns=lambda: self.now_ns,
        )
        self.grpc = GrpcReceiver(self.desk, settings=grpc_settings)
        self.http = HttpReceiver(self.desk, settings=http_settings)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def refused(self, transport: str, reason: str) -> float:
        return self.count("rca_receiver_refused_requests_total", transport=transport, reason=reason)

    def all_refused(self) -> float:
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "rca_receiver_refused_requests_total"
        )


@contextlib.contextmanager
def running(
    intake: Remembers | None = None,
    desk: DeskSettings | None = None,
    grpc_settings: GrpcSettings | None = None,
    http_settings: HttpSettings | None = None,
) -> Iterator[Running]:
    """A receiver on free ports, stopped at the end."""
    receiver = Running(
        intake or Remembers(),
        desk or DeskSettings(),
        grpc_settings or GrpcSettings("127.0.0.1:0"),
        http_settings or HttpSettings("127.0.0.1:0"),
    )
    receiver.grpc.start()
    receiver.http.start()
    try:
        yield receiver
    finally:
        receiver.http.stop(2.0)
        receiver.grpc.stop(2.0)


def logs_request(records: int = 3, body: str = "hello") -> ExportLogsServiceRequest:
    """An export of log records."""
    items = [LogRecord(time_unix_nano=1_700_000_000_000_000_000 + at, body={"string_value": body}) for at in range(records)]
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=items)])])


class Sent:
    """What a gRPC call came to."""

    def __init__(self, code: grpc.StatusCode, message: str, reply: bytes, status: Status | None) -> None:
        self.code, self.message, self.reply, self.status = code, message, reply, status

    def retry_seconds(self) -> float | None:
        """Of RetryInfo, None without one."""
        for detail in self.status.details if self.status else ():
            info = RetryInfo()
            if detail.Unpack(info):
                return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        return None


def send_grpc(channel: grpc.Channel, method: str, raw: bytes, metadata: Any = (), compression: Any = None) -> Sent:
    """Call with raw bytes."""
    try:
        reply, call = channel.unary_unary(method).with_call(raw, metadata=metadata, compression=compression, timeout=20)
        return Sent(call.code(), "", reply, None)
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        return Sent(error.code(), error.details(), b"", Status.FromString(details) if details else None)


def channel_to(receiver: Running, **options: Any) -> grpc.Channel:
    """An insecure channel without a limit of its own."""
    chosen = {"grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1} | options
    return grpc.insecure_channel(f"127.0.0.1:{receiver.grpc.port}", options=list(chosen.items()))


def send_http(
    port: int, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of one request on its own connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/x-protobuf"} | (headers or {}))
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1, signed by itself; made by openssl."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        key,
        "-out",
        cert,
        "-subj",
        f"/CN={name}",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return key, cert
