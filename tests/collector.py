"""A real Collector for tests: its configuration, its log, and a sender into it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from tests.receiving import LOGS
from tests.servers import free_port, need, started

CONFIGS = Path(__file__).resolve().parent.parent / "otel-config"
#: The Collector's own metrics would take port 8888; the log is what the tests read.
QUIET = "yaml:service::telemetry::metrics::level: none"
READY = "Everything is ready"
#: One export in, one export out, at once: for tests that count exports.
UNBUFFERED = "yaml:exporters::otlp_grpc/whence::sending_queue::enabled: false"


class Collector:
    """A running Collector."""

    def __init__(self, port: int, log_path: Path) -> None:
        self.port = port
        self.log_path = log_path

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def channel(self) -> Any:
        return grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def send(self, *requests: Any) -> None:
        """Export log requests into the Collector."""
        with self.channel() as channel:
            call = channel.unary_unary(LOGS, request_serializer=lambda message: message.SerializeToString())
            for request in requests:
                call(request, timeout=30)


def arguments(extra: Sequence[str], files: Sequence[str] = ("collector.yaml",)) -> list[str]:
    """Command-line arguments that choose the configuration."""
    return [part for name in (*(str(CONFIGS / name) for name in files), QUIET, *extra) for part in ("--config", name)]


def validate(files: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What `otelcol validate` says."""
    command = [need("otelcol"), "validate", *arguments((), files)]
    return subprocess.run(command, env=os.environ | dict(environment), capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def collector(
    folder: Path, to_port: int, *extra: str, files: Sequence[str] = ("collector.yaml",), environment: Mapping[str, str] | None = None
) -> Iterator[Collector]:
    """A Collector with the shipped configuration that exports to a port of this host; stopped at the end."""
    program, port = need("otelcol"), free_port()
    ours = {"TO_WHENCE": f"127.0.0.1:{to_port}", "COLLECTOR_OTLP": f"127.0.0.1:{port}", "COLLECTOR_HTTP": "127.0.0.1:0"}
    log_path = folder / f"otelcol-{port}.log"
    command = [program, *arguments(extra, files)]
    with started(command, log_path, ready=READY, environment=ours | dict(environment or {})):
        yield Collector(port, log_path)
