"""Changed bytes to both decoders, by the million: what one refuses the other must refuse, what one takes the other must take alike.

    python -m tests.fuzz --inputs 10000000           zero differences
    python -m tests.fuzz --sanitize                  under AddressSanitizer, each input in a buffer of just its size
    python -m tests.fuzz --sanitize --drop-check 5   with bounds check 5 left out of the build: must be caught

Exit code 1: they differ (the input is printed), or a byte out of bounds was read.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.records import Batch
from engine.strings import Resources, Strings
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode import protobuf
from tests.fuzz_seeds import SEEDS

PLAIN: dict[str, Callable[..., Batch]] = {
    "traces": protobuf.decode_traces,
    "logs": protobuf.decode_logs,
    "metrics": protobuf.decode_metrics,
}
ROOT = Path(__file__).resolve().parent.parent
ANEW = 20_000  # inputs after which dictionaries start anew
#: Bytes that mean something: ends of varints, tags, lengths, UTF-8 that is none.
TELLING = b"\x00\x01\x07\x08\x0a\x0b\x0c\x12\x1a\x22\x2a\x32\x39\x3a\x42\x4a\x5a\x6a\x7a\x7f\x80\xc0\xed\xf4\xff"


def mutated(raw: bytes, other: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled, cut off, or put in from another message."""
    changed = bytearray(raw)
    for _ in range(1 + (rng.random() < 0.3)):
        if not changed:
            break
        at, how = rng.randrange(len(changed)), rng.randrange(8)
        if how == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            changed[at] = TELLING[rng.randrange(len(TELLING))]
        elif how == 2:
            changed[at] = (changed[at] + rng.randrange(7) - 3) & 255
        elif how == 3:
            del changed[at:]
        elif how == 4:
            del changed[at : at + 1 + rng.randrange(8)]
        elif how == 5:
            changed[at:at] = changed[at : at + 1 + rng.randrange(24)]
        elif how == 6:
            start = rng.randrange(len(other))
            changed[at:at] = other[start : start + 1 + rng.randrange(24)]
        else:
            changed[at : at + 1] = bytes([changed[at] | 128]) + b"\x80" * rng.randrange(5) + bytes([rng.randrange(2)])
    return bytes(changed)


def same(one: Batch, two: Batch) -> bool:
    """Whether two batches with codes of the same dictionaries are equal to the bit; NaN equals NaN."""
    if one.dropped != two.dropped or one.changes != two.changes or len(one.bounds) != len(two.bounds):
        return False
    if any(left.tobytes() != right.tobytes() for left, right in zip(one.bounds, two.bounds, strict=True)):
        return False
    for name in ("spans", "logs", "points", "links"):
        left, right = getattr(one, name), getattr(two, name)
        if (left is None) != (right is None):
            return False
        for field in fields(left) if left is not None else ():
            mine, yours = getattr(left, field.name), getattr(right, field.name)
            equal = mine.tobytes() == yours.tobytes() or (mine.dtype.kind == "f" and repr(mine.tolist()) == repr(yours.tolist()))
            if mine.dtype != yours.dtype or not equal:  # repr: NaN has many bits
                return False
    return True


def outcome(decode: Callable[..., Batch], *given: Any) -> Batch | None:
    """The batch, None where the bytes are refused."""
    try:
        return decode(*given)
    except ValueError:
        return None


def fuzz(walker: Any, *, inputs: int, seconds: float, seed: int) -> int:
    """Compares until so many inputs or seconds are over; returns the exit code."""
    rng = random.Random(seed)
    started, taken, number = time.monotonic(), 0, 0
    while number < inputs and time.monotonic() - started < seconds:
        strings, resources = Strings(), Resources()
        both = walker.Walker(strings, resources, EVENT_TYPES, entries_cap=1000 if number % 3 else 1 << 18)
        for _ in range(min(ANEW, inputs - number)):
            signal = ("traces", "logs", "metrics")[number % 3]
            seeds = SEEDS[signal]
            raw = mutated(seeds[rng.randrange(len(seeds))], seeds[rng.randrange(len(seeds))], rng)
            expected = outcome(PLAIN[signal], raw, strings, resources)
            actual = outcome(getattr(both, signal), raw)
            number += 1
            if (expected is None) != (actual is None) or (expected is not None and actual is not None and not same(expected, actual)):
                print(f"DIFFERENT after {number} inputs: {signal} {raw!r}\nplain: {expected}\nwalker: {actual}")
                return 1
            taken += expected is not None
            if number % 1000 == 0 and time.monotonic() - started >= seconds:
                break
    print(f"{number} inputs (seed {seed}), {taken} taken and {number - taken} refused by both, no difference")
    return 0


def build(folder: Path, flags: list[str]) -> Path:
    """The walker alone, built with other flags."""
    folder.mkdir(parents=True, exist_ok=True)
    source, path = folder / "walker.c", folder / "walker.so"
    subprocess.run([sys.executable, "-m", "cython", "-3", "exporter/decode/walker.pyx", "-o", str(source)], cwd=ROOT, check=True)
    includes = [f"-I{ROOT / 'exporter/decode'}", f"-I{sysconfig.get_paths()['include']}"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-fno-strict-aliasing", *flags, *includes, str(source), "-o", str(path)], check=True)
    return path


def loaded(path: str) -> Any:
    """The module of a file."""
    spec = importlib.util.spec_from_file_location("exporter.decode.walker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Runs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--drop-check", type=int, default=0)
    parser.add_argument("--extension", default="", help="file of the extension, where another one is tested")
    args = parser.parse_args()
    if not args.sanitize:
        if args.extension:
            return fuzz(loaded(args.extension), inputs=args.inputs, seconds=args.seconds, seed=args.seed)
        from exporter.decode import walker

        return fuzz(walker, inputs=args.inputs, seconds=args.seconds, seed=args.seed)
    flags = ["-fsanitize=address", "-g", "-O1", "-DWHENCE_EXACT", f"-DWHENCE_DROP_CHECK={args.drop_check}"]
    path = build(ROOT / "build" / f"sanitized-{args.drop_check}", flags)
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True).stdout.strip()
    environment = os.environ | {"LD_PRELOAD": library, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0"}
    command = [sys.executable, "-m", "tests.fuzz", "--extension", str(path), "--inputs", str(args.inputs), "--seed", str(args.seed)]
    return 1 if subprocess.run([*command, "--seconds", str(args.seconds)], cwd=ROOT, env=environment, check=False).returncode else 0


if __name__ == "__main__":
    sys.exit(main())
