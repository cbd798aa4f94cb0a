from __future__ import annotations

import subprocess
import sys

import pytest

#: Page faults of 200 pieces of 3 MiB, taken and given back, a second time: none are left where the heap is kept.
PROGRAM = """
import resource, sys
from exporter.heap import keep_heap
kept = sys.argv[1] == "kept" and keep_heap()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        pieces = [bytearray(b"x") * (3 << 20) for _ in range(3)]
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


def run(how: str) -> tuple[int, int]:
    kept, faults = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True, text=True).stdout.split()
    return int(kept), int(faults)


def test_a_kept_heap_is_not_fetched_again() -> None:
    kept, faults = run("kept")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert faults < run("given back")[1] / 10
