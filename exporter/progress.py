"""Progress on a terminal: one line, rewritten twice a second; nothing where standard error is no terminal."""

from __future__ import annotations

import sys
import time

EVERY_SECONDS = 0.5


class Progress:
    """Says how far something is that takes longer than two seconds."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._shown_at = 0.0
        self._terminal = sys.stderr.isatty()

    def step(self, note: str = "") -> None:
        """One more is done."""
        self.done += 1
        self.say(f"{100 * self.done // max(1, self.total)} % {note}")

    def say(self, note: str) -> None:
        """Where it stands."""
        if self._terminal and time.monotonic() - self._shown_at >= EVERY_SECONDS:
            self._shown_at = time.monotonic()
            print(f"\r\033[K{self.what}: {note}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Wipe the line."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
