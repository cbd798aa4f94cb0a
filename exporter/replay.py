"""`whence replay PATH...`: sends recordings as OTLP/gRPC to a Collector or to whence, or streams them inline and prints the findings."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from engine.pipeline import Engine
from engine.records import MINUTE_NS, SECOND_NS, Batch, Incident, IncidentState
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.decode.protobuf import decode_logs, decode_metrics, decode_traces
from exporter.otlp import last_time_ns, request_of
from exporter.plain import incident_view, plain
from exporter.progress import Progress
from exporter.recording import RecordingError, find, lines, span_of_time
from exporter.sender import Sender, SendError
from exporter.text import finding_text

DESCRIPTION = """Sends recordings (NAME.jsonl or NAME.jsonl.zst, one OTLP/JSON export a line, as the Collector's file exporter writes them)
as OTLP/gRPC, in the order of their lines. Without --to they stream through whence's engine in this process, and the findings
are printed."""
EPILOG = """example: whence replay recordings/day.jsonl.zst --to 127.0.0.1:4317 --speed 20 --shift-to-now
exit status: 0 sent, 1 the receiver refused or a recording broke off, 2 wrong usage"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which lines are replayed, and when they are said to have happened. Times and gaps in ns."""

    start_ns: int | None = None
    end_ns: int | None = None
    close_gaps_ns: int | None = None  # longer gaps between lines are shortened to this

    def lines(self, path: Path) -> Iterator[tuple[int, int, bytes]]:
        """(time of the last item, shift that closes the gaps so far, line) of the selected lines."""
        shift_ns, previous_ns = 0, None
        for line in lines(path):
            time_ns = last_time_ns(line)
            if time_ns is None or (self.start_ns is not None and time_ns < self.start_ns):
                continue
            if self.end_ns is not None and time_ns > self.end_ns:
                return
            if self.close_gaps_ns is not None and previous_ns is not None and time_ns - previous_ns > self.close_gaps_ns:
                shift_ns -= time_ns - previous_ns - self.close_gaps_ns
            previous_ns = time_ns
            yield time_ns, shift_ns, line


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is replayed."""

    lines: int
    first_ns: int
    last_ns: int  # with gaps closed
    closed_ns: int  # time that closing gaps took out


def measure(path: Path, selection: Selection) -> Extent:
    """One pass over a recording: how many lines, from when to when.

    Raises: RecordingError if nothing is selected.
    """
    count, first_ns, last_ns, shift_ns = 0, 0, 0, 0
    for time_ns, shift_ns, _ in selection.lines(path):
        first_ns = first_ns if count else time_ns
        last_ns = time_ns + shift_ns
        count += 1
    if not count:
        raise RecordingError(f"{path}: no line between the given times")
    return Extent(count, first_ns, last_ns, -shift_ns)


def shift_to_now(extent: Extent, speed: float | None, now_ns: int) -> int:
    """The constant that makes the recording end when sending it ends: last item = now + duration / speed (at full speed: now)."""
    sending_ns = 0 if speed is None else int((extent.last_ns - extent.first_ns) / speed)
    return now_ns + sending_ns - extent.last_ns


def send(path: Path, sender: Sender, selection: Selection, *, speed: float | None, to_now: bool = False, shift_ns: int = 0) -> Extent:
    """Send a recording in order; `speed` times as fast as it was recorded, None: as fast as the receiver takes it.

    Every time is moved by `shift_ns`, or, `to_now`, so that the end of the recording is the end of sending it.
    Raises: RecordingError, SendError.
    """
    extent = measure(path, selection)
    # whole minutes, into the past: windows and blocks of time fall as they did in the recording
    constant_ns = shift_to_now(extent, speed, time.time_ns()) // MINUTE_NS * MINUTE_NS if to_now else shift_ns
    progress = Progress(f"sending {path.name}", extent.lines)
    began = time.monotonic()
    for time_ns, closed_ns, line in selection.lines(path):
        if speed is not None:
            due = began + (time_ns + closed_ns - extent.first_ns) / SECOND_NS / speed
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
        try:
            signal, request = request_of(line, closed_ns + constant_ns)
        except ValueError as error:
            raise RecordingError(f"{path}: {error}") from error
        sender.send(signal, request)
        progress.step(f"({_clock(time_ns)})")
    progress.end()
    return extent


def stream_inline(paths: Sequence[Path], selection: Selection, settings: EngineSettings) -> list[Incident]:
    """Stream recordings through a new engine in this process; every published state of every incident, in order.

    Raises: RecordingError.
    """
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, settings)
    published: list[Incident] = []
    for path in paths:
        progress = Progress(f"streaming {path.name}", measure(path, selection).lines)
        for time_ns, shift_ns, line in selection.lines(path):
            try:
                batch = _shifted(line, shift_ns, strings, resources) if shift_ns else decode_json(line, strings, resources)
            except ValueError as error:
                raise RecordingError(f"{path}: {error}") from error
            times = span_of_time(batch)
            if times is not None:
                published += engine.observe(batch, times[1])
            progress.step(f"({_clock(time_ns)}, {len(published)} findings)")
        progress.end()
    return published + engine.finish()


def last_states(published: Sequence[Incident]) -> list[Incident]:
    """Each incident as it was published last before it was resolved, in order of opening."""
    last: dict[str, Incident] = {}
    for incident in published:
        if incident.state != IncidentState.RESOLVED or incident.id not in last:
            last[incident.id] = incident
    return list(last.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence replay`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", nargs="+", type=Path, help="recording, or folder that holds recordings at any depth")
    parser.add_argument("--to", metavar="HOST:PORT", help="OTLP/gRPC endpoint of a Collector or of whence")
    parser.add_argument("--speed", type=_speed, default=None, metavar="max|N", help="N times as fast as recorded (default: max)")
    parser.add_argument("--shift-to-now", action="store_true", help="move all times by one constant, so that the last one is now")
    parser.add_argument("--start", type=time_ns_of, metavar="TIME", help="from here on: RFC 3339, or seconds since 1970")
    parser.add_argument("--end", type=time_ns_of, metavar="TIME", help="up to here")
    parser.add_argument("--close-gaps", type=float, metavar="SECONDS", help="shorten longer gaps between lines to this")
    parser.add_argument("--json", action="store_true", help="without --to: print every published incident as one JSON line")


def run(args: argparse.Namespace) -> int:
    """Send or stream; say what was done. Returns the exit status."""
    close_gaps_ns = None if args.close_gaps is None else int(args.close_gaps * SECOND_NS)
    selection = Selection(args.start, args.end, close_gaps_ns)
    try:
        paths = find(args.path)
    except RecordingError as error:
        print(f"whence replay: {error}", file=sys.stderr)
        return 2
    if not args.to and (args.shift_to_now or args.speed is not None):
        print("whence replay: --speed and --shift-to-now need --to HOST:PORT", file=sys.stderr)
        return 2
    try:
        if not args.to:
            _print_findings(stream_inline(paths, selection, EngineSettings()), as_json=args.json)
            return 0
        with Sender(args.to) as sender:
            for path in paths:
                _say(path, send(path, sender, selection, speed=args.speed, to_now=args.shift_to_now), sender)
    except (RecordingError, SendError) as error:
        print(f"\nwhence replay: {error}", file=sys.stderr)
        return 1
    return 0


def _say(path: Path, extent: Extent, sender: Sender) -> None:
    closed = f", gaps of {extent.closed_ns / SECOND_NS:.0f} s in all closed" if extent.closed_ns else ""
    counts = ", ".join(f"{count} of {name}" for name, count in sorted(sender.sent.items()))
    print(f"{path.name}: {extent.lines} exports sent{closed} (so far: {counts}; {sender.retried} sent again)", file=sys.stderr)


def _print_findings(published: Sequence[Incident], *, as_json: bool) -> None:
    if as_json:
        for incident in published:
            sys.stdout.buffer.write(orjson.dumps(incident_view(incident), option=orjson.OPT_APPEND_NEWLINE))
        return
    incidents = last_states(published)
    for incident in incidents:
        when = f"{_date(incident.onset_ns)} to {_clock(incident.finding.end_ns)} UTC"
        print(f"incident {incident.id} ({incident.severity}, {when})\n{finding_text(plain(incident.finding))}\n")
    print(f"{len(incidents)} incidents" if incidents else "no incident", file=sys.stderr)


def _shifted(line: bytes, shift_ns: int, strings: Strings, resources: Resources) -> Batch:
    signal, request = request_of(line, shift_ns)
    decode = {"traces": decode_traces, "logs": decode_logs, "metrics": decode_metrics}[signal.name]
    return decode(request.SerializeToString(), strings, resources)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    if not (speed := float(text)) > 0:
        raise ValueError(text)
    return speed


def time_ns_of(text: str) -> int:
    """A time given on the command line, RFC 3339 or seconds since 1970, in ns."""
    try:
        return int(float(text) * SECOND_NS)
    except ValueError:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * SECOND_NS)


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%H:%M:%S")


def _date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S")
