"""Recordings are read a line at a time, and every way to be unreadable has its reason."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard

from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.otlp import last_time_ns
from exporter.recording import RecordingError, find, lines, span_of_time, stem

SHIPPED = Path(__file__).resolve().parent.parent / "exporter" / "recordings"


def test_the_shipped_recordings_are_found_once_and_in_order() -> None:
    found = find([SHIPPED, SHIPPED / "petshop"])
    assert [stem(path) for path in found] == ["2023-01-30-1330", "issue_2"]


def test_plain_and_compressed_lines_are_the_same(tmp_path: Path) -> None:
    raw = b'{"resourceSpans":[]}\n\n{"resourceLogs":[]}'
    (tmp_path / "a.jsonl").write_bytes(raw)
    frames = [zstandard.ZstdCompressor().compress(raw[:20]), zstandard.ZstdCompressor().compress(raw[20:])]
    (tmp_path / "a.jsonl.zst").write_bytes(b"".join(frames))
    assert list(lines(tmp_path / "a.jsonl")) == list(lines(tmp_path / "a.jsonl.zst")) == [b'{"resourceSpans":[]}', b'{"resourceLogs":[]}']


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl.zst"
    rng = np.random.default_rng(1)
    raw = b"".join(rng.integers(32, 127, 999, np.uint8).tobytes().replace(b" ", b"x") + b"\n" for _ in range(20_000))
    path.write_bytes(zstandard.ZstdCompressor().compress(raw))
    tracemalloc.start()
    count = sum(1 for _ in lines(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert len(raw) == 20_000_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.jsonl.zst", zstandard.ZstdCompressor().compress(b"{}\n" * 100_000)[:-8], "cut short"),
        ("plain.jsonl.zst", b'{"resourceSpans":[]}\n', "not readable as zstd"),
    ],
    ids=["cut", "plain"],
)
def test_an_unreadable_recording_says_why(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        list(lines(tmp_path / name))


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such file or folder"):
        find([tmp_path / "nowhere"])
    with pytest.raises(RecordingError, match="holds no recording"):
        find([tmp_path])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RecordingError, match="not a recording"):
        find([tmp_path / "notes.txt"])


def test_the_time_of_a_batch_is_that_of_its_items() -> None:
    strings, resources = Strings(), Resources()
    for line in lines(SHIPPED / "petshop" / "issue_2.jsonl.zst"):
        times = span_of_time(decode_json(line, strings, resources))
        assert times is not None
        assert times[1] == last_time_ns(line)
        assert times[0] // 10**10 == times[1] // 10**10, "a line's items lie inside one 10 s slot"
