"""Real servers for tests: found on PATH, started on free loopback ports, stopped with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest


def need(program: str) -> str:
    """Path of a server's program; skips the test where it is not installed. `.ci/run` fails on this reason."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"server missing: {program} is not on PATH")
    return path


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def started(
    command: Sequence[str], log_path: Path, *, ready: str, environment: Mapping[str, str] | None = None, seconds: float = 60.0
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs until the end of the block: from when its log says `ready`, stopped by its own process id.

    Raises: RuntimeError with the end of its log where it ends or is not ready in time.
    """
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | dict(environment or {}))
    try:
        wait_until(lambda: server.poll() is not None or ready in log_path.read_text(errors="replace"), seconds)
        if server.poll() is not None or ready not in log_path.read_text(errors="replace"):
            raise RuntimeError(f"{command[0]} is not ready:\n{log_path.read_text(errors='replace')[-2000:]}")
        yield server
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether a condition comes true in time; asked often, since other processes cannot be waited for."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
