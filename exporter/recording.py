"""Recordings: OTLP/JSON in the lines of the Collector's file exporter, plain or zstd-compressed, read one line at a time.

A recording is `NAME.jsonl.zst` or `NAME.jsonl`. A line is one export (`resourceSpans`, `resourceLogs` or `resourceMetrics`); lines are
ordered by the time of their last item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import zstandard

from engine.records import Batch

SUFFIXES = (".jsonl.zst", ".jsonl")
#: The longest line that is read: OTLP's own message limit.
LINE_LIMIT_BYTES = 64 * 1024 * 1024
READ_BYTES = 1 << 20
#: Small, since what it inflates to is held at once.
ZSTD_READ_BYTES = 4096


class RecordingError(Exception):
    """A recording cannot be read; the text names the file, the line and why."""


def stem(path: Path) -> str:
    """Name of a recording without its suffix.

    >>> stem(Path("low_traffic/issue_0.jsonl.zst"))
    'issue_0'
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    raise RecordingError(f"{path}: not a recording, its name ends with none of {', '.join(SUFFIXES)}")


def find(paths: Sequence[Path]) -> list[Path]:
    """Recordings at or below the paths, sorted, each once.

    Raises: RecordingError for a path that does not exist or holds no recording.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            stem(path)
            below = [path]
        elif path.is_dir():
            below = sorted(file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}"))
        else:
            raise RecordingError(f"{path}: no such file or folder")
        if not below:
            raise RecordingError(f"{path}: holds no recording ({' or '.join('*' + suffix for suffix in SUFFIXES)})")
        found.update(dict.fromkeys(below))
    return list(found)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a recording, without their ends; empty lines are left out. Memory is bounded by the longest line.

    Raises: RecordingError if the file is missing, is not zstd where its name says so, is cut short, or has a line over 64 MiB.
    """
    number, rest = 0, b""
    try:
        with path.open("rb") as file:
            for part in _inflated(file, path) if path.name.endswith(".zst") else iter(lambda: file.read(READ_BYTES), b""):
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    number += 1
                    if line := line.strip():
                        yield line
                if len(rest) > LINE_LIMIT_BYTES:
                    raise RecordingError(f"{path}:{number + 1}: a line of more than {LINE_LIMIT_BYTES} bytes")
            if rest := rest.strip():
                yield rest
    except zstandard.ZstdError as error:
        raise RecordingError(f"{path}: not readable as zstd: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error


def _inflated(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The content of zstd frames, in order. The library's own reader takes a frame that is cut short for its end."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun, raw = False, b""
    while raw := raw or file.read(ZSTD_READ_BYTES):
        begun = True
        yield frame.decompress(raw)
        raw = b""
        if frame.eof:
            raw, begun, frame = frame.unused_data, False, zstandard.ZstdDecompressor().decompressobj()
    if begun:
        raise RecordingError(f"{path}: cut short, its last zstd frame has no end")


def span_of_time(batch: Batch) -> tuple[int, int] | None:
    """(first, last) time in ns of a batch's items, None if it has none. The time of a span is its end."""
    times = [columns.time_ns for columns in (batch.spans, batch.logs, batch.points) if columns is not None and len(columns.time_ns)]
    firsts = [int(time.min()) for time in times] + [change.time_ns for change in batch.changes]
    lasts = [int(time.max()) for time in times] + [change.time_ns for change in batch.changes]
    return (min(firsts), max(lasts)) if firsts else None
