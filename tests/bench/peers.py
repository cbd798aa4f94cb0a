"""The servers that are measured: each in a process of its own on a free port, stopped with the block."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from exporter.threads import ONE_THREAD
from tests.servers import free_port, started
from tests.serving import ROOT, Serving, settings

#: Where a Rotel binary is looked for: this variable, then PATH, then the wheel `pip install --pre rotel` beside this Python.
ROTEL = "ROTEL_AGENT"


class Server(NamedTuple):
    """A process that takes OTLP over gRPC."""

    name: str
    pid: int
    target: str


class Missing(Exception):  # noqa: N818  # a reason to skip, not an error
    """A server that is not installed; says how to get it."""


@contextlib.contextmanager
def module(name: str) -> Iterator[Server]:
    """A module of the tests that serves until its standard input ends."""
    command = [sys.executable, "-m", name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | ONE_THREAD
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            word, _, port = server.stdout.readline().partition(" ")
            if word != "listening":
                raise RuntimeError(f"{name} did not start")
            yield Server(name, server.pid, f"127.0.0.1:{int(port)}")
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def whence(folder: Path, more: str = "") -> Iterator[tuple[Server, Serving]]:
    """`whence serve` with default settings, free ports and a new store."""
    file = settings(folder)
    file.write_text(file.read_text() + more)
    with Serving(file) as serving:
        yield Server("whence serve", serving.process.pid, serving.grpc), serving
        serving.stop()


def otelcol_program() -> str:
    """Path of the Collector. Raises: Missing."""
    program = shutil.which("otelcol")
    if program is None:
        raise Missing("otelcol is not on PATH")
    return program


@contextlib.contextmanager
def otelcol(folder: Path, to: str = "") -> Iterator[Server]:
    """A real Collector: otlp -> nop without processors; or, `to` given, -> batch -> otlp_grpc, both with their defaults."""
    program, port = otelcol_program(), free_port()
    name = "otlp_grpc" if to else "nop"
    chosen = {"endpoint": to, "tls": {"insecure": True}} if to else None
    pipeline = {"receivers": ["otlp"], "processors": ["batch"] if to else [], "exporters": [name]}
    configuration = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}", "max_recv_msg_size_mib": 64}}}},
        "processors": {"batch": None} if to else {},
        "exporters": {name: chosen},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": dict.fromkeys(("traces", "metrics", "logs"), pipeline),
        },
    }
    file = folder / f"otelcol-{name}-{port}.yaml"
    file.write_text(yaml.safe_dump(configuration))
    with started([program, "--config", str(file)], file.with_suffix(".log"), ready="Everything is ready") as server:
        yield Server(f"otelcol otlp -> {name}", server.pid, f"127.0.0.1:{port}")


def rotel_program() -> str:
    """Path of rotel-agent. Raises: Missing."""
    beside = [Path(part) / "rotel" / "rotel-agent" for part in sys.path]
    for path in (os.environ.get(ROTEL), shutil.which("rotel-agent"), shutil.which("rotel"), *map(str, beside)):
        if path and Path(path).is_file():
            return path
    raise Missing(f"no Rotel: `pip install --pre rotel` here, or {ROTEL}=PATH of its rotel-agent")


@contextlib.contextmanager
def rotel(folder: Path) -> Iterator[Server]:
    """Rotel: otlp receiver -> blackhole exporter."""
    program, port, other = rotel_program(), free_port(), free_port()
    log = folder / f"rotel-{port}.log"
    command = [program, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{port}", "--otlp-http-endpoint", f"127.0.0.1:{other}"]
    command += ["--otlp-grpc-max-recv-msg-size-mib", "64", "--exporter", "blackhole"]
    with started(command, log, ready="") as server:
        yield Server("rotel otlp -> blackhole", server.pid, f"127.0.0.1:{port}")
