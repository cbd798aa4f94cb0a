"""Memory of requests and windows is kept for the next ones instead of being given back to the kernel and fetched again, page by page.

A request of 8192 spans takes some 3 MiB in several pieces. As glibc comes, each costs its page faults anew: 415 ns of CPU a span for
receiving alone, 297 ns with these limits. One arena for all threads held 600 MB where two held 650 (a window's work leaves its holes in
each) and one a thread 680; receiving costs the same. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes

try:
    from exporter import pages
except ImportError:  # not compiled
    pages = None  # type: ignore[assignment]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
ARENAS = 1  # heap; one a thread, as glibc comes, holds the free pieces of each thread apart
KEPT_BYTES = 32 << 20  # free memory at the end of a heap that is not given back
MAPPED_BYTES = 32 << 20  # pieces of this size and more still come and go by mmap; the largest that glibc allows


def keep_heap() -> bool:
    """Set the limits for this process; False where the C library has none (musl, macOS)."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    limits = {M_ARENA_MAX: ARENAS, M_MMAP_THRESHOLD: MAPPED_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES}
    kept = [library.mallopt(limit, value) for limit, value in limits.items()]
    return all(kept)


def large_apart() -> bool:
    """Large arrays that this thread makes lie apart from now on (`exporter.pages`); False where that was not compiled or finds no room."""
    if pages is None:
        return False
    try:
        pages.apart()
    except OSError:
        return False
    return True


def give_back() -> None:
    """Give free pages back, those between pieces that are in use too; what the C library cannot is left.

    After a window of 300,000 spans 30 ms, and some 50 for fetching 200 MB again, 1.7 us for each 4 KiB.
    """
    if pages is not None:
        pages.give_back()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
