"""One bounded queue and one thread a sink: a destination that is down holds up nobody, and what it misses is counted."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from typing import Protocol

from engine.records import ConfigChange, Incident
from exporter.log import event
from exporter.metrics import Metrics

#: First and longest pause between two tries; each is twice the one before, less up to a half by chance.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0


class Permanent(Exception):  # noqa: N818
    """It will never be accepted: dropped and counted. Anything else that a sink raises is tried again."""


class Sink(Protocol):
    """A destination of findings."""

    name: str

    def send(self, item: Incident | ConfigChange) -> None:
        """Deliver one. Raises: Permanent if it never can be; anything else to be asked again."""
        ...


class SinkQueue:
    """Delivers in order, in a thread of its own. When full, the oldest goes: the newest says most."""

    def __init__(self, sink: Sink, *, capacity: int, metrics: Metrics, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.sink, self.capacity, self.metrics = sink, capacity, metrics
        self.pause_seconds = pause_seconds
        self._waiting: deque[Incident | ConfigChange] = deque()
        self._state = threading.Condition()
        self._closing: float | None = None  # monotonic time by which to stop
        self._down = False
        self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def down(self) -> bool:
        """True while deliveries fail."""
        return self._down

    def offer(self, item: Incident | ConfigChange) -> None:
        """Queue one; never waits."""
        with self._state:
            if len(self._waiting) >= self.capacity:
                self._waiting.popleft()
                self.metrics.count("rca_sink_dropped_total", sink=self.sink.name, reason="queue_full")
            self._waiting.append(item)
            self._state.notify_all()
        self.metrics.set("rca_sink_queue_length", len(self._waiting), sink=self.sink.name)

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits for at most so long; what is left is dropped and counted."""
        with self._state:
            self._closing = time.monotonic() + timeout_seconds
            self._state.notify_all()
        self._thread.join(timeout_seconds + 1.0)
        if self._waiting:
            self.metrics.count("rca_sink_dropped_total", len(self._waiting), sink=self.sink.name, reason="stopped")

    def _run(self) -> None:
        while True:
            with self._state:
                while not self._waiting:
                    if self._closing is not None:
                        return
                    self._state.wait()
                item = self._waiting.popleft()
            if not self._deliver(item):
                with self._state:
                    self._waiting.appendleft(item)
                return
            self.metrics.set("rca_sink_queue_length", len(self._waiting), sink=self.sink.name)

    def _deliver(self, item: Incident | ConfigChange) -> bool:
        """Try until it is delivered or never will be; False when time ran out while closing."""
        pause = self.pause_seconds
        while True:
            try:
                self.sink.send(item)
            except Permanent as error:
                self.metrics.count("rca_sink_dropped_total", sink=self.sink.name, reason="refused")
                event("sink refused", level=logging.WARNING, sink=self.sink.name, item=item.id, reason=str(error))
                return True
            except Exception as error:
                self.metrics.count("rca_sink_retries_total", sink=self.sink.name)
                self._note(down=True, reason=str(error))
                if not self._pause(pause * random.uniform(0.5, 1.0)):
                    return False
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self.metrics.count("rca_sink_sent_total", sink=self.sink.name)
                self._note(down=False, reason="")
                return True

    def _pause(self, seconds: float) -> bool:
        """Wait, but not longer than closing allows; False if there is no time for another try."""
        until = time.monotonic() + seconds
        with self._state:
            while True:
                end = until if self._closing is None else min(until, self._closing)
                left = end - time.monotonic()
                if left <= 0:
                    return self._closing is None or time.monotonic() < self._closing
                self._state.wait(left)

    def _note(self, *, down: bool, reason: str) -> None:
        if down and not self._down:
            event("sink down", level=logging.WARNING, sink=self.sink.name, reason=reason)
        elif self._down and not down:
            event("sink back", sink=self.sink.name)
        self._down = down
        self.metrics.set("rca_sink_up", float(not down), sink=self.sink.name)
