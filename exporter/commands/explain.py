"""`whence explain --at TIME [PATH...]`: what broke around a time, asked of a running whence or of recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.records import SECOND_NS, Finding
from exporter.commands import client
from exporter.commands.client import Client, ClientError
from exporter.plain import plain
from exporter.text import finding_text
from exporter.times import parse_time

DESCRIPTION = """Explains a span of time: the cause, the evidence, how sure, which changes were ruled out. Without PATH a running whence
is asked, which remembers about an hour; with PATH recordings are streamed up to that time and explained here."""
EPILOG = """examples: whence explain --at 2026-01-02T14:34:00Z
          whence explain --at 2023-01-29T10:27:00Z exporter/recordings
exit status: 0, 1 not running or nothing to explain, 2 wrong usage or settings"""
SPAN_SECONDS = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence explain`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("path", nargs="*", type=Path, metavar="PATH", help="recording, or folder that holds recordings at any depth")
    parser.add_argument("--at", required=True, metavar="TIME", help="end of the span: RFC 3339, or seconds since 1970")
    parser.add_argument("--span", type=float, default=SPAN_SECONDS, metavar="SECONDS", help="its length (default: %(default)g)")
    client.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the finding as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    try:
        end_ns = parse_time(args.at)
        if not 0 < args.span <= 6 * 3600:
            raise ValueError(f"--span must be more than 0 and at most 21600 seconds, however: {args.span}")
    except ValueError as error:
        print(f"whence explain: {error}", file=sys.stderr)
        return 2
    start_ns = end_ns - int(args.span * SECOND_NS)
    try:
        finding = recorded(args.path, start_ns, end_ns) if args.path else asked(args, start_ns, end_ns)
    except ClientError as error:
        return client.fail("explain", error)
    if args.json:
        client.print_json(finding)
    else:
        print(finding_text(finding))
    return 0


def asked(args: argparse.Namespace, start_ns: int, end_ns: int) -> Any:
    """The finding of a running whence. Raises: ClientError."""
    return Client(args).get("/api/v1/explain", start=start_ns, end=end_ns)


def recorded(paths: Sequence[Path], start_ns: int, end_ns: int) -> Any:
    """The finding of recordings, streamed through an engine of our own up to the end of the span. Raises: ClientError."""
    from engine.pipeline import Engine  # the engine takes a second to import, and only this way needs it
    from engine.settings import EngineSettings
    from engine.strings import Resources, Strings
    from exporter.decode.json import decode_json
    from exporter.recording import RecordingError, find, lines, span_of_time

    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, EngineSettings())
    heard = False
    try:
        for path in find(paths):
            for line in lines(path):
                batch = decode_json(line, strings, resources)
                times = span_of_time(batch)
                if times is None or times[0] > end_ns:
                    continue
                heard = heard or times[1] >= start_ns
                engine.observe(batch, times[1])
    except (RecordingError, ValueError) as error:
        raise ClientError(str(error)) from None
    if not heard:
        raise ClientError("the recordings hold nothing of that time")
    finding: Finding = engine.explain(start_ns, end_ns)
    return plain(finding)
