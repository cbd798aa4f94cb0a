from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pages = pytest.importorskip("exporter.pages", reason="nothing was compiled here")
LARGE = 48 << 10  # bytes


def apart(work: object) -> None:
    """Do it in a thread whose large arrays lie apart."""

    def run() -> None:
        pages.apart()
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    failed: list[BaseException] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@given(
    st.lists(
        st.tuples(st.integers(1, 4 * LARGE), st.sampled_from(["full", "zeros", "resize", "give back"]), st.integers(0, 9)), max_size=60
    )
)
@settings(max_examples=50, deadline=None)
def test_arrays_keep_what_is_in_them_and_leave_nothing(takes: list[tuple[int, str, int]]) -> None:
    def work() -> None:
        live: list[tuple[int, npt.NDArray[np.uint8]]] = []
        for number, (size, how, leaves) in enumerate(takes, start=1):
            mark = number % 256
            if how == "resize":
                new = np.full(max(1, size // 2), mark, np.uint8)
                new.resize(size, refcheck=False)
                assert not new[max(1, size // 2) :].any()
            else:
                new = np.zeros(size, np.uint8)
                assert not new.any()
            new[:] = mark
            live.append((mark, new))
            if how == "give back":
                pages.give_back()
            if leaves < len(live):
                mark, old = live.pop(leaves)
                assert (old == mark).all()
        assert all((each == mark).all() for mark, each in live)
        large = [each.nbytes for _, each in live if each.nbytes >= 2 * LARGE]  # what grew from less stays where it began
        assert pages.held()[1] - before >= sum(large)

    before = pages.held()[1]
    apart(work)
    assert pages.held()[1] == before


def test_large_arrays_of_threads_that_ask_for_it_lie_apart() -> None:
    def grown() -> None:
        before = pages.held()[1]
        kept = np.zeros(LARGE, np.uint8), np.zeros(LARGE - 1, np.uint8)
        sizes.append(pages.held()[1] - before)
        del kept

    sizes: list[int] = []
    apart(grown)
    thread = threading.Thread(target=grown)
    thread.start()
    thread.join()
    assert sizes == [LARGE, 0]


def test_what_became_free_is_taken_first() -> None:
    def work() -> None:
        first, second = np.zeros(4 * LARGE, np.uint8), np.zeros(LARGE, np.uint8)
        place = first.ctypes.data
        del first
        third, fourth = np.zeros(LARGE, np.uint8), np.zeros(3 * LARGE, np.uint8)
        assert (third.ctypes.data, fourth.ctypes.data) == (place, place + LARGE)
        assert second.ctypes.data == place + 4 * LARGE

    apart(work)


def test_an_array_may_end_in_another_thread() -> None:
    kept = []
    before = pages.held()[1]
    apart(lambda: kept.append(np.zeros(LARGE, np.uint8)))
    assert pages.held()[1] == before + LARGE
    kept.clear()
    assert pages.held()[1] == before


#: MiB in use after 64 MiB of arrays went, and after their pages were given back.
GIVEN = """
import numpy as np
from exporter.heap import give_back, large_apart
large_apart()
def size():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
before = size()
arrays = [np.ones(1 << 20, np.uint8) for _ in range(64)]
del arrays
print(size() - before, end=" ")
give_back()
print(size() - before)
"""


def test_pages_of_arrays_that_went_are_kept_until_they_are_given_back() -> None:
    if sys.platform != "linux":
        pytest.skip("sizes are read from /proc")
    kept, given_back = subprocess.run([sys.executable, "-c", GIVEN], capture_output=True, check=True, text=True).stdout.split()
    assert int(kept) >= 60
    assert int(given_back) < 8


def test_threads_share_the_room() -> None:
    def work(seed: int) -> None:
        pages.apart()
        rng, live = np.random.default_rng(seed), []
        for number in range(2000):
            live.append((number % 256, np.full(int(rng.integers(1, 3 * LARGE)), number % 256, np.uint8)))
            if len(live) > 8:
                mark, old = live.pop(int(rng.integers(len(live))))
                wrong.extend([mark] if (old != mark).any() else [])

    wrong: list[int] = []
    before = pages.held()[1]
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pages.held()[1] == before
