"""A real `whence serve` in a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STARTED = re.compile(r"event=started .*web=(\S+) grpc=(\S+) http=(\S+)")
STOP_SECONDS = 60.0


def call(url: str, body: Any = None, *, token: str = "", method: str | None = None, raw: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON (or text) of an answer."""
    data = raw if raw is not None else None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def settings(folder: Path, more: str = "") -> Path:
    """A settings file with free ports and a store below the folder."""
    file = folder / "whence.yaml"
    file.write_text(
        f"receiver: {{grpc: {{endpoint: '127.0.0.1:0'}}, http: {{endpoint: '127.0.0.1:0'}}{more}}}\n"
        f"store: {{path: {folder / 'data'}}}\nweb: {{endpoint: '127.0.0.1:0'}}\n"
    )
    return file


class Serving:
    """Started on entering, stopped on leaving. `err` has what it wrote to standard error."""

    def __init__(self, file: Path, environ: dict[str, str] | None = None) -> None:
        self.file, self.environ = file, environ or {}
        self.out = file.with_suffix(".out")
        self.err = file.with_suffix(".err")

    def __enter__(self) -> Serving:
        with self.out.open("w") as out, self.err.open("w") as err:
            command = [sys.executable, "-m", "exporter", "serve", "--config", str(self.file)]
            self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env=os.environ | self.environ)
        found = self.wait_for(STARTED)
        self.web, self.grpc, self.http = (f"http://{found[1]}", found[2], f"http://{found[3]}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for(self, pattern: re.Pattern[str], seconds: float = 60.0) -> re.Match[str]:
        """The first line on standard error that matches; asks the process every few milliseconds whether it still runs."""
        for _ in range(int(seconds / 0.02)):
            found = pattern.search(self.err.read_text())
            if found:
                return found
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            found = pattern.search(self.err.read_text())
            if found:
                return found
            raise AssertionError(f"whence ended with {self.process.returncode}: {self.err.read_text()}")
        raise AssertionError(f"no {pattern.pattern} in: {self.err.read_text()}")

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.send(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)
