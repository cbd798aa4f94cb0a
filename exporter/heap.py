"""Memory of requests is kept for the next ones instead of being given back to the kernel and fetched again, page by page.

A request of 8192 spans takes some 3 MiB in several pieces. As glibc comes, each costs its page faults anew: 415 ns of CPU a span for
receiving alone, 297 ns with these limits. One arena for all threads held 600 MB where two held 650 (a window's work leaves its holes in
each) and one a thread 680; receiving costs the same. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes

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


def give_back() -> None:
    """Give free pages back, those between pieces that are in use too; a no-op where the C library cannot.

    What lives long lies between what a window needs for a moment, and a heap shrinks from its end only: 90 million spans of 200 services
    grew it from 550 to 740 MB, for 16 MB that were added. 30 ms after a window of 300,000 spans, and as much for fetching pages again.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
