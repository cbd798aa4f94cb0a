"""Between the receivers and the engine: a queue bounded by bytes, not by requests. Changes are on disk before a sender is answered."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from engine.records import Batch, ConfigChange, Finding, Incident
from exporter.hints import Hints
from exporter.metrics import Metrics
from exporter.receiver.intake import Busy
from exporter.store import Store, StoreError


class Arrived(NamedTuple):
    """A batch that waits for the engine."""

    batch: Batch
    received_ns: int
    size_bytes: int


class Question(NamedTuple):
    """A span of event time to be explained between two batches: the engine is one thread's."""

    start_ns: int
    end_ns: int
    answer: Future[Finding]


class Dismissal(NamedTuple):
    """What a person says of an incident: dismiss: it was none; else: seen."""

    incident_id: str
    dismiss: bool
    answer: Future[Incident | None]


Work = Arrived | Question | Dismissal


class BoundedIntake:
    """`exporter.receiver.intake.Intake`. Bytes are in flight from `reserve` until the engine has taken the batch."""

    def __init__(
        self,
        *,
        limit_bytes: int,
        store: Store,
        hints: Hints,
        metrics: Metrics,
        watermark_ns: Callable[[], int],
        full: Callable[[], bool],
        clock_ns: Callable[[], int] = time.time_ns,
        changed: Callable[[Sequence[ConfigChange]], None] = lambda changes: None,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.store, self.hints, self.metrics = store, hints, metrics
        self.watermark_ns, self.full, self.clock_ns, self.changed = watermark_ns, full, clock_ns, changed
        self.draining = False
        self._in_flight = 0
        self._waiting: deque[Work] = deque()
        self._state = threading.Condition()

    # ------------------------------------------------------------ receivers

    def reserve(self, size_bytes: int) -> bool:
        """Room for a request of so many bytes; False: full, here or in the engine, or draining; the sender should retry."""
        with self._state:
            # one request always fits, else a large one would never be taken
            if self.draining or self.full() or (self._in_flight and self._in_flight + size_bytes > self.limit_bytes):
                return False
            self._in_flight += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Give back what was reserved for a request that came to nothing."""
        with self._state:
            self._in_flight -= size_bytes

    def put(self, batch: Batch, size_bytes: int) -> Sequence[str]:
        """Take a decoded batch; returns warnings for the sender. Raises: Busy if changes cannot be stored now; then nothing is taken."""
        received_ns = self.clock_ns()
        batch.check_whole()
        hints = self.hints.read(batch, received_ns, self.watermark_ns())
        self.keep_changes(batch.changes, received_ns)
        self._add(Arrived(batch, received_ns, size_bytes))
        return hints

    def keep_changes(self, changes: Sequence[ConfigChange], received_ns: int) -> None:
        """Store changes durably. Raises: Busy."""
        if not changes:
            return
        try:
            self.store.add_changes(changes, received_ns)
        except StoreError as error:
            raise Busy(str(error)) from None
        for change in changes:
            self.metrics.count("rca_config_changes_total", change_type=change.type.value, inferred=str(change.inferred).lower())
        self.changed(changes)

    # ------------------------------------------------------------ engine

    def ask(self, start_ns: int, end_ns: int) -> Future[Finding]:
        """Have a span explained by the engine's thread."""
        question = Question(start_ns, end_ns, Future())
        self._add(question)
        return question.answer

    def tell(self, incident_id: str, *, dismiss: bool) -> Future[Incident | None]:
        """Dismiss or acknowledge an incident in the engine's thread; None if the engine does not know it."""
        told = Dismissal(incident_id, dismiss, Future())
        self._add(told)
        return told.answer

    def again(self, batch: Batch, received_ns: int) -> None:
        """Give the engine what the store kept."""
        self._add(Arrived(batch, received_ns, 0))

    def take(self, timeout_seconds: float) -> Work | None:
        """The next piece of work, None when nothing came in time."""
        with self._state:
            if not self._waiting:
                self._state.wait(timeout_seconds)
            return self._waiting.popleft() if self._waiting else None

    def drain(self) -> None:
        """Take nothing more from senders; wake the engine's thread."""
        with self._state:
            self.draining = True
            self._state.notify_all()

    @property
    def in_flight_bytes(self) -> int:
        """Bytes reserved and not released."""
        return self._in_flight

    def __len__(self) -> int:
        return len(self._waiting)

    def _add(self, work: Work) -> None:
        with self._state:
            self._waiting.append(work)
            self._state.notify()
