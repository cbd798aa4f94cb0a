"""What the receiver needs of whoever takes the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.records import Batch


class Busy(Exception):  # noqa: N818  # a state, not an error
    """There is no room now; the sender shall come again."""


class Intake(Protocol):
    """Takes batches. Called from several threads.

    The receiver reserves before it inflates and decodes. After `put` has returned the reservation is the intake's to give back, when the
    batch is done with; in every other case the receiver gives it back by `release`.
    """

    def reserve(self, size_bytes: int) -> bool:
        """Take room for a request of this size (inflated); False: there is none."""
        ...

    def release(self, size_bytes: int) -> None:
        """Give room back: nothing came of the request."""
        ...

    def put(self, batch: Batch, size_bytes: int) -> Sequence[str]:
        """Take the columns; what must be durable is, when this returns. Gives hints for the sender, each naming its service.

        Raises: Busy where there is no room after all.
        """
        ...
