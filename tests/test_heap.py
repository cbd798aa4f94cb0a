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


#: MiB in use after 64 MiB of pieces went, of which every hundredth stays and pins what is between.
HOLES = """
from exporter.heap import give_back, keep_heap
keep_heap()
pieces = [bytes(8000) for _ in range(8192)]
del pieces[0::2], pieces[0::2], pieces[0::2], pieces[0::2], pieces[0::2], pieces[0::2]
def size():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
before = size()
give_back()
print(before - size())
"""


def test_pages_between_pieces_in_use_are_given_back() -> None:
    if not run("kept")[0]:
        pytest.skip("this C library has no mallopt")
    given = int(subprocess.run([sys.executable, "-c", HOLES], capture_output=True, check=True, text=True).stdout)
    assert given > 20
