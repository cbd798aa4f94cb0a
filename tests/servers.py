"""Real servers for tests: found on PATH, started on free loopback ports, stopped with the test."""

from __future__ import annotations

import shutil
import socket

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
