"""What a receiver asks of the rest of whence: room before it inflates a request, and a place for the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.records import Batch


class Busy(Exception):  # noqa: N818
    """Cannot be taken now: answer UNAVAILABLE with RetryInfo."""


class Intake(Protocol):
    """Where decoded batches go. Thread-safe."""

    def reserve(self, size_bytes: int) -> bool:
        """Room for a request of so many bytes, before inflating it; False: full or draining, answer UNAVAILABLE with RetryInfo."""
        ...

    def release(self, size_bytes: int) -> None:
        """Give back what was reserved for a request that `put` did not take: malformed, or Busy."""
        ...

    def put(self, batch: Batch, size_bytes: int) -> Sequence[str]:
        """Take a batch whose bytes were reserved; returns warnings for the sender (partial_success with rejected = 0).

        Changes are on disk when it returns. Raises: Busy; then nothing was taken.
        """
        ...
