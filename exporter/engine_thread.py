"""The one thread that runs the engine: batches in, incidents stored and then published, state saved now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from engine.pipeline import Engine
from engine.records import SECOND_NS, Incident
from exporter import state_file
from exporter.heap import give_back, large_apart
from exporter.intake import Arrived, BoundedIntake, Dismissal, Question
from exporter.log import event
from exporter.metrics import Metrics
from exporter.row_latency import RowLatency
from exporter.sections import Store as StoreSettings
from exporter.store import Store, StoreError

#: Received time without data after which time goes on by itself, and how often then.
SILENT_SECONDS, STEP_SECONDS = 15.0, 10.0
#: However fast event time runs (a replay), state is saved at most this often.
SAVE_PAUSE_SECONDS = 10.0
#: What windows need for a moment is kept for the next one, and goes back to the kernel at most this often: some 80 ms of CPU.
TRIM_PAUSE_SECONDS = 60.0
WAIT_SECONDS = 1.0


class Trainer(Protocol):
    """Trains beside the stream and hands models over between two batches."""

    def step(self, engine: Engine, now_ns: int) -> None:
        """Start what is due, adopt what is done; never waits."""
        ...


class EngineThread:
    """Owns the engine while it runs. Others read `engine.snapshot`, or ask through the intake."""

    def __init__(
        self,
        engine: Engine,
        *,
        intake: BoundedIntake,
        store: Store,
        state_path: Path,
        settings: StoreSettings,
        metrics: Metrics,
        publish: Callable[[Sequence[Incident]], None],
        trainer: Trainer | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.engine, self.intake, self.store, self.state_path = engine, intake, store, state_path
        self.settings, self.metrics, self.publish, self.trainer, self.clock_ns = settings, metrics, publish, trainer, clock_ns
        self.save_failing = False
        self._latency = RowLatency(metrics, clock_ns)
        self._saved_event_ns = engine.snapshot.watermark_ns
        self._saved_at = self._gave_back = time.monotonic()
        self._stored_ns = 0
        self._unsaved: dict[str, Incident] = {}  # published while the store was down
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._broken: str | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_seconds: float) -> bool:
        """Wait until the queue is empty and the state is saved; the intake must be draining. False: it took longer."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        large_apart()
        heard = stepped = time.monotonic()
        while True:
            work = self.intake.take(WAIT_SECONDS)
            if work is None and self.intake.draining:
                break
            now = time.monotonic()
            if isinstance(work, Arrived):
                heard = now
                if self._guarded(partial(self._observe, work)):
                    self._latency.batch(work.received_ns, self.engine.rows_left)
                self.intake.release(work.size_bytes)
                self.metrics.count("rca_engine_batches_total")
            elif isinstance(work, Question):
                self._answer(work)
            elif isinstance(work, Dismissal):
                self._dismiss(work)
            elif self.engine.full or (now - heard >= SILENT_SECONDS and now - stepped >= STEP_SECONDS):
                stepped = now
                self._guarded(partial(self.engine.advance, self.clock_ns()))
            elif self.engine.rows_left:
                self._guarded(self._rest)
                self._latency.scored(self.engine.rows_left)
            self.metrics.count("rca_engine_busy_seconds_total", time.monotonic() - now)
            self._train()
            self._save_if_due()
        self._save()

    def _observe(self, arrived: Arrived) -> list[Incident]:
        published = self.engine.observe(arrived.batch, arrived.received_ns)
        if not len(self.intake):
            self.engine.rest()
        return published

    def _rest(self) -> list[Incident]:
        self.engine.rest()
        return []

    def _guarded(self, step: Callable[[], list[Incident]]) -> bool:
        """One step of the engine: a bug (False) costs its batch, not the process. It is logged when it is new, and counted."""
        closed_ns, began = self.engine.snapshot.watermark_ns, time.monotonic()
        try:
            published = step()
            if self.engine.snapshot.watermark_ns > closed_ns:
                self.metrics.observe("rca_engine_window_close_seconds", time.monotonic() - began)
                self._latency.closed()
                if time.monotonic() - self._gave_back >= TRIM_PAUSE_SECONDS:
                    give_back()
                    self._gave_back = time.monotonic()
            self._after(published)
        except Exception as error:
            self.metrics.count("rca_engine_errors_total")
            kind = f"{type(error).__name__}: {error}"
            if kind != self._broken:
                self._broken = kind
                event("engine error", level=logging.ERROR, trace=True, reason=kind)
            return False
        return True

    def _after(self, incidents: list[Incident]) -> None:
        watermark_ns = self.engine.snapshot.watermark_ns
        if not incidents and watermark_ns == self._stored_ns:
            return
        self._stored_ns = watermark_ns
        self._unsaved.update((each.id, each) for each in incidents)
        written = self.store.close_windows(watermark_ns, list(self._unsaved.values()))
        if self._unsaved:
            try:
                written.result()  # first safe, then told
                self._unsaved.clear()
            except StoreError:
                pass  # the store says so itself; people are told all the same, and the next commit tries again
        for each in incidents:
            if each.state.value in {"open", "reopened"}:
                self.metrics.count("rca_incidents_total", severity=each.severity.value)
        if incidents:
            self.publish(incidents)

    def _answer(self, question: Question) -> None:
        if not question.answer.set_running_or_notify_cancel():
            return
        try:
            question.answer.set_result(self.engine.explain(question.start_ns, question.end_ns))
        except Exception as error:
            question.answer.set_exception(error)

    def _dismiss(self, dismissal: Dismissal) -> None:
        if not dismissal.answer.set_running_or_notify_cancel():
            return
        now_ns = self.engine.snapshot.watermark_ns
        try:
            incidents = self.engine.incidents
            found = incidents.dismiss(dismissal.incident_id, now_ns) if dismissal.dismiss else incidents.acknowledge(dismissal.incident_id)
        except Exception as error:
            dismissal.answer.set_exception(error)
            return
        if found is not None:
            self._after([found])
        dismissal.answer.set_result(found)

    def _train(self) -> None:
        if self.trainer is None or self.intake.draining:
            return
        try:
            self.trainer.step(self.engine, self.engine.snapshot.watermark_ns)
        except Exception as error:
            self.metrics.count("rca_engine_errors_total")
            event("trainer error", level=logging.ERROR, trace=True, reason=str(error))
            self.trainer = None

    def _save_if_due(self) -> None:
        watermark_ns = self.engine.snapshot.watermark_ns
        due_ns = self._saved_event_ns + round(self.settings.state_interval_seconds * SECOND_NS)
        if watermark_ns >= due_ns and time.monotonic() - self._saved_at >= SAVE_PAUSE_SECONDS:
            self._save()

    def _save(self) -> None:
        """State of the engine to its file. It carries its watermark; incidents and changes after that are in the store."""
        watermark_ns = self.engine.snapshot.watermark_ns
        self._saved_event_ns, self._saved_at = watermark_ns, time.monotonic()
        try:
            size = state_file.save(self.state_path, {"watermark_ns": watermark_ns, "engine": self.engine.state()})
        except (OSError, TypeError) as error:
            if not self.save_failing:
                event("state not saved", level=logging.ERROR, reason=str(error))
            self.save_failing = True
            return
        self.save_failing = False
        seconds = time.monotonic() - self._saved_at
        self.metrics.set("rca_state_save_timestamp_seconds", self.clock_ns() / SECOND_NS)
        self.metrics.set("rca_state_size_bytes", size)
        event("state saved", bytes=size, seconds=f"{seconds:.2f}")
        self.store.prune(
            watermark_ns,
            retention_days=self.settings.retention_days,
            max_incidents=self.settings.max_incidents,
            max_changes=self.settings.max_changes,
        )
