"""Settings of the receiver, already checked: the service builds them from its settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.records import ChangeType
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode.decoder import How

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server; all empty: no TLS. They are read again when they change."""

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""  # set: clients must show a certificate signed by it (mTLS)


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """OTLP over gRPC."""

    endpoint: str = "127.0.0.1:4317"
    workers: int = 4  # threads that take requests
    tls: TlsFiles = TlsFiles()
    read_timeout_seconds: float = 30.0  # a message that takes longer to arrive is given up: it holds a worker


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """OTLP over HTTP."""

    endpoint: str = "127.0.0.1:4318"
    connections: int = 64  # more are answered 429
    tls: TlsFiles = TlsFiles()
    read_timeout_seconds: float = 30.0  # for the whole of a request
    idle_timeout_seconds: float = 120.0  # longer than senders keep idle connections (Go: 90 s), so that the sender closes first


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """What holds for both transports."""

    bearer_token: str = field(default="", repr=False)  # "": anyone may send
    max_message_bytes: int = 64 * MIB  # as sent, and after decompression
    retry_after_seconds: int = 5
    hints_an_hour: int = 6
    decoder: How = "auto"
    event_types: Mapping[str, ChangeType] = field(default_factory=lambda: EVENT_TYPES)
