"""`whence demo`: two recorded failures go over OTLP/gRPC into a running whence; then what it found, and why."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.records import MINUTE_NS, SECOND_NS
from exporter.commands.client import Client, ClientError
from exporter.plain import rfc3339
from exporter.progress import Progress
from exporter.recording import RecordingError
from exporter.replay import Extent, Selection, measure, send, shift_to_now
from exporter.sender import Sender, SendError
from exporter.text import WIDTH, finding_text

DESCRIPTION = """Starts whence on free loopback ports with an empty store, sends it two recorded failures that come with it, as a Collector
would, and prints what it found. Needs no network; takes less than a minute. Nothing is left behind."""
EPILOG = """example: whence demo --serve      then point Prometheus at the address it prints
exit status: 0 both failures were found, 1 one was not, or whence did not start"""

READY_SECONDS, SETTLE_SECONDS, STOP_SECONDS = 60.0, 180.0, 30.0
POLL_SECONDS = 0.25
#: A source that was heard this long ago holds no window open; whence says 30 s.
SILENT_SECONDS = 31.0
#: Windows close 10 s behind the slowest source; after 15 s without telemetry time goes on by itself.
BEHIND_NS = 30 * SECOND_NS
BETWEEN_NS = 10 * MINUTE_NS
PORTS = {"RECEIVER__GRPC": 4317, "RECEIVER__HTTP": 4318, "WEB": 4319}

COLLECTOR = """exporters:
  otlp_grpc/whence:
    endpoint: 127.0.0.1:4317
    tls:
      insecure: true

service:
  pipelines:          # add the exporter to the pipelines that you have
    traces:  {receivers: [otlp], exporters: [otlp_grpc/whence]}
    metrics: {receivers: [otlp], exporters: [otlp_grpc/whence]}
    logs:    {receivers: [otlp], exporters: [otlp_grpc/whence]}"""


@dataclass(frozen=True, slots=True)
class Case:
    """A recording that is shipped."""

    recording: str
    what: str
    source: str


#: In the order of their times.
CASES = (
    Case(
        "nezha-trainticket/2023-01-30-1330.jsonl.zst",
        "A train ticket system of 46 services: spans, logs and gauges; a fault inside one service, after six others that day",
        "recorded by Nezha (FSE 2023, MIT licence), 58 % of the traces",
    ),
    Case(
        "petshop/issue_2.jsonl.zst",
        "A pet shop of 41 components: five-minute metrics and a call graph; requests get slow, five changes were made in the hours before",
        "recorded by Amazon Science (CC-BY-4.0), changed; its four innocent changes are authored decoys",
    ),
)


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence demo`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--serve", action="store_true", help="move the recordings to now, and leave whence up for Prometheus and Grafana")
    parser.add_argument("--recordings", type=Path, metavar="DIR", default=Path(__file__).parent / "recordings", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Play the recordings, print the findings. Returns the exit status."""
    began = time.monotonic()
    whences: list[Whence] = []
    with tempfile.TemporaryDirectory(prefix="whence-demo-") as folder:
        try:
            # the systems were recorded months apart, so each has a whence; one that stays up plays them one after the other
            for at in range(1 if args.serve else len(CASES)):
                whences.append(Whence(Path(folder, str(at)), keep_ports=args.serve))
            found = play(whences, args.recordings, to_now=args.serve)
            print(f"\nTo send your own telemetry, add to the Collector's configuration:\n\n{COLLECTOR}\n", flush=True)
            print(f"{len(CASES)} recordings, {time.monotonic() - began:.0f} s", file=sys.stderr)
            if args.serve:
                web, grpc = whences[0].web, whences[0].grpc
                print(f"whence stays up: {web}/ and {web}/metrics; OTLP/gRPC on {grpc}. Ctrl-C ends it.", file=sys.stderr)
                whences[0].process.wait()
        except KeyboardInterrupt:
            return 0
        except (DemoError, ClientError, RecordingError, SendError) as error:
            print(f"whence demo: {error}", file=sys.stderr)
            return 1
        finally:
            for whence in whences:
                whence.stop()
    return 0 if found == len(CASES) else 1


def play(whences: list[Whence], recordings: Path, *, to_now: bool) -> int:
    """Send every recording to its whence, or one after the other to the only one; print what was found; how many were found."""
    extents = [measure(recordings / case.recording, Selection()) for case in CASES]
    shifts_ns = shifts(extents, time.time_ns()) if to_now else [0] * len(extents)
    for whence in whences:
        whence.wait_until_ready()
    apart = len(whences) == len(CASES)
    if apart:  # each works while the next one is sent
        for whence, case, shift_ns in zip(whences, CASES, shifts_ns, strict=True):
            whence.send(recordings / case.recording, shift_ns)
    found = 0
    for at, (case, extent, shift_ns) in enumerate(zip(CASES, extents, shifts_ns, strict=True)):
        whence = whences[at if apart else 0]
        first_ns, last_ns = extent.first_ns + shift_ns, extent.last_ns + shift_ns
        print(f"{_rule()}\n{at + 1}. {case.what}\n   ({case.source})\n   {rfc3339(first_ns)} to {rfc3339(last_ns)}\n", flush=True)
        if not apart:
            if at:
                print("   (waiting until the system before counts as silent)", file=sys.stderr)
                time.sleep(SILENT_SECONDS)
            whence.send(recordings / case.recording, shift_ns)
        whence.settle(last_ns)
        incident, others = whence.last_incident(first_ns)
        if incident is None:
            print("   no incident opened")
            continue
        found += 1
        print(f"incident {incident['id']}, {incident['severity']}, since {incident['onset']}\n")
        print(finding_text(incident["finding"]))
        if others:
            print(f"\n({others} earlier incident{'s' * (others > 1)} in this recording)")
    print(_rule())
    return found


def shifts(extents: list[Extent], now_ns: int) -> list[int]:
    """Constants that lay recordings one after the other, the last one ending now; whole minutes, so that no window falls otherwise."""
    found: list[int] = []
    end_ns = now_ns
    for extent in reversed(extents):
        found.insert(0, shift_to_now(extent, None, end_ns) // MINUTE_NS * MINUTE_NS)
        end_ns = extent.first_ns + found[0] - BETWEEN_NS
    return found


class Whence:
    """A whence of our own, in a process of its own, on loopback."""

    def __init__(self, folder: Path, *, keep_ports: bool) -> None:
        """Start it. `keep_ports`: on its usual ports where they are free."""
        ports = {name: _free_port(port if keep_ports else 0) for name, port in PORTS.items()}
        self.grpc = f"127.0.0.1:{ports['RECEIVER__GRPC']}"
        self.web = f"http://127.0.0.1:{ports['WEB']}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WHENCE_")}
        environment |= {f"WHENCE_{name}__ENDPOINT": f"127.0.0.1:{port}" for name, port in ports.items()}
        environment |= {"WHENCE_STORE__PATH": str(folder / "store"), "WHENCE_SINKS__LOG__ENABLED": "false"}
        if not keep_ports:  # what a training process finds when depends on the machine's speed; these minutes need no model
            environment["WHENCE_TRAINER__ENABLED"] = "false"
        folder.mkdir()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "exporter", "serve"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.client = Client(argparse.Namespace(config=None, url=self.web))

    def wait_until_ready(self) -> None:
        """Until it takes telemetry. Raises: DemoError with its last words if it ends, or takes too long."""
        give_up = time.monotonic() + READY_SECONDS
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                break
            try:
                if self.client.get("/api/v1/status")["state"] == "ready":
                    return
            except ClientError:
                pass
            time.sleep(POLL_SECONDS)
        last_words = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        raise DemoError("whence did not start:\n" + "\n".join(last_words))

    def send(self, path: Path, shift_ns: int) -> None:
        """Send a recording at full speed, every time moved by a constant."""
        with Sender(self.grpc) as sender:
            send(path, sender, Selection(), speed=None, shift_ns=shift_ns)

    def settle(self, last_ns: int) -> None:
        """Until it has worked off what it was sent. Raises: DemoError if that takes too long."""
        give_up = time.monotonic() + SETTLE_SECONDS
        wanted = rfc3339(last_ns - BEHIND_NS) or ""
        progress = Progress("whence works it off", 0)
        while time.monotonic() < give_up:
            status = self.client.get("/api/v1/status")
            if not status["queue"]["batches"] and (status["watermark"] or "") >= wanted:
                progress.end()
                return
            progress.say(f"{status['queue']['batches']} exports waiting, decided up to {status['watermark']}")
            time.sleep(POLL_SECONDS)
        progress.end()
        raise DemoError(f"whence has not worked off the recording in {SETTLE_SECONDS:.0f} s; decided up to {status['watermark']}")

    def last_incident(self, since_ns: int) -> tuple[dict[str, Any] | None, int]:
        """The incident that opened last since a time, whole, and how many others did."""
        found = [one for one in self.client.get("/api/v1/incidents")["incidents"] if one["opened"] >= (rfc3339(since_ns) or "")]
        if not found:
            return None, 0
        last = max(found, key=lambda one: str(one["opened"]))
        whole: dict[str, Any] = self.client.get(f"/api/v1/incidents/{last['id']}")
        return whole, len(found) - 1

    def stop(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _free_port(wanted: int) -> int:
    """The wanted loopback port where it is free, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def _rule() -> str:
    return "-" * WIDTH
