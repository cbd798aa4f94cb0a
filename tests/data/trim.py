"""Cuts a recording down to what the repository ships; see exporter/recordings/README.md for the two calls.

    python tests/data/trim.py IN.jsonl.zst OUT.jsonl.zst --start TIME --end TIME [--traces SHARE] [--active-only] [--body BYTES]

Items keep their times, lines the order of their last item. --traces keeps whole traces, chosen by a hash of their id, with their log
records; --active-only keeps metric lines only in minutes that have spans; --body cuts log bodies, ids in them included (whence reads
256 bytes).
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from exporter.otlp import last_time_ns
from exporter.recording import lines
from exporter.replay import time_ns_of

MINUTE_NS = 60 * 10**9
ITEMS = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}


def kept(trace_id: str, share: float) -> bool:
    """Whether a trace is kept: by its id, so that its spans and logs go together."""
    return not trace_id or zlib.crc32(bytes.fromhex(trace_id)) < share * 2**32


def filtered(payload: dict[str, Any], keep: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """A payload with the items that are kept, None if none is."""
    for outer, (inner, name) in ITEMS.items():
        for of in payload.get(outer, ()):
            for scope in of[inner]:
                scope[name] = [item for item in scope[name] if keep(item)]
            of[inner] = [scope for scope in of[inner] if scope[name]]
        if outer in payload:
            payload[outer] = [of for of in payload[outer] if of[inner]]
            return payload if payload[outer] else None
    return payload


def cut_body(record: dict[str, Any], longest_bytes: int) -> None:
    """Cut a log record's text body."""
    body = record.get("body", {})
    if "stringValue" in body:
        body["stringValue"] = body["stringValue"].encode()[:longest_bytes].decode(errors="ignore")


def trimmed(args: argparse.Namespace) -> Iterator[bytes]:
    """The lines that stay."""
    chosen = [(time_ns, line) for line in lines(args.source) if args.start <= (time_ns := last_time_ns(line) or 0) <= args.end]
    active = {time_ns // MINUTE_NS for time_ns, line in chosen if line.startswith(b'{"resourceSpans"')}
    for time_ns, line in chosen:
        if line.startswith(b'{"resourceMetrics"'):
            if not args.active_only or time_ns // MINUTE_NS in active:
                yield line
            continue
        payload = filtered(orjson.loads(line), lambda item: kept(item.get("traceId", ""), args.traces))
        if payload is None:
            continue
        if args.body:
            for of in payload.get("resourceLogs", ()):
                for scope in of["scopeLogs"]:
                    for record in scope["logRecords"]:
                        cut_body(record, args.body)
        yield orjson.dumps(payload)


def main() -> None:
    """Trim one recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--start", type=time_ns_of, required=True)
    parser.add_argument("--end", type=time_ns_of, required=True)
    parser.add_argument("--traces", type=float, default=1.0)
    parser.add_argument("--active-only", action="store_true")
    parser.add_argument("--body", type=int, default=0)
    args = parser.parse_args()
    raw = b"".join(line + b"\n" for line in sorted(trimmed(args), key=lambda line: last_time_ns(line) or 0))
    parameters = zstandard.ZstdCompressionParameters.from_level(22, window_log=27, enable_ldm=True)
    args.target.write_bytes(zstandard.ZstdCompressor(compression_params=parameters).compress(raw))
    print(f"{args.target}: {len(raw.splitlines())} lines, {args.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
