"""`whence serve`: puts the rooms together, starts them in order, and takes them down so that nothing acknowledged is lost.

receivers -> intake -> engine thread -> store, sinks, snapshot;  web port beside
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, BinaryIO

from engine import kernels
from engine.records import Batch, ConfigChange, Finding, Incident, Snapshot
from engine.strings import Resources, Strings
from exporter import __version__, log
from exporter.api import Api
from exporter.config import ConfigError
from exporter.decode.decoder import in_use
from exporter.engine_thread import EngineThread
from exporter.heap import keep_heap
from exporter.hints import Hints
from exporter.intake import BoundedIntake
from exporter.listeners import Listeners
from exporter.log import event
from exporter.metrics import Metrics
from exporter.receiver.counters import Counters
from exporter.receiver.desk import Desk
from exporter.receiver.settings import MIB, DeskSettings
from exporter.reload import StartError, needs_restart, tokens_of
from exporter.restore import changes_again, restored
from exporter.sections import Config, engine_settings
from exporter.sinks.annotations import Annotations
from exporter.sinks.jsonlog import JsonLog
from exporter.sinks.prometheus import Findings, exposition
from exporter.sinks.queue import SinkQueue
from exporter.status import Status, status_view
from exporter.store import Store, StoreError
from exporter.trainer import Trainer

#: Requests in flight get so long when stopping; then the engine, to work off its queue; then the sinks.
GRACE_SECONDS, DRAIN_SECONDS, SINK_SECONDS = 2.0, 20.0, 3.0
LOG_QUEUE = 1000


class Service:
    """One running whence. `start`, then `stop`; everything else may be called from any thread in between."""

    def __init__(self, config: Config, *, load: Callable[[], Config], stdout: BinaryIO | None = None) -> None:
        """Open store and ports, restore the engine. Raises: StartError."""
        self.config, self.started_config, self._load = config, config, load
        self.state = "starting"
        self.started_ns = time.time_ns()
        self.restart_required: list[str] = []
        self._tokens = tokens_of(config)
        self._lock = threading.Lock()
        self.metrics = Metrics()
        self.metrics.registry.register(Findings(lambda: self.snapshot))
        self.metrics.set("rca_build_info", 1, version=__version__, decoder=in_use(config.receiver.decoder), kernels=kernels.in_use())
        if not kernels.COMPILED:
            event("the plain kernels are in use: no compiled ones here; joining spans costs several times as much", level=logging.WARNING)
        self._loaded(good=True)
        folder = Path(config.store.path)
        try:
            self.store = Store(folder, committed=self._committed)
        except StoreError as error:
            raise StartError(str(error)) from None
        self.strings, self.resources = Strings(), Resources()
        self.hints = Hints(self.resources)
        self.intake = BoundedIntake(
            limit_bytes=config.receiver.in_flight_mib * MIB,
            store=self.store,
            hints=self.hints,
            metrics=self.metrics,
            watermark_ns=lambda: self.snapshot.watermark_ns,
            full=lambda: self.engine.full,
            changed=self._changed,
        )
        self.metrics.set("rca_receiver_in_flight_limit_bytes", self.intake.limit_bytes)
        settings = engine_settings(config, live=True)
        self.engine, self.state_problem = restored(self.strings, self.resources, settings, folder / "state.npz", self.store)
        known = changes_again(self.store, settings)
        if known:
            self.intake.again(Batch(changes=known), time.time_ns())
        self.sinks = self._open_sinks(stdout or sys.stdout.buffer)
        trains = config.trainer.enabled and self.engine.settings.rows
        self.trainer = Trainer(folder / "training", timeout_seconds=config.trainer.timeout_seconds) if trains else None
        self.thread = EngineThread(
            self.engine,
            intake=self.intake,
            store=self.store,
            state_path=folder / "state.npz",
            settings=config.store,
            metrics=self.metrics,
            publish=self._publish,
            trainer=self.trainer,
        )
        self.desk = Desk(
            self.intake,
            strings=self.strings,
            resources=self.resources,
            settings=DeskSettings(
                bearer_token=self._tokens["receiver"],
                max_message_bytes=config.receiver.max_message_mib * MIB,
                retry_after_seconds=config.receiver.retry_after_seconds,
                hints_an_hour=config.receiver.hints_an_hour,
                decoder=config.receiver.decoder,
                event_types=config.receiver.change_events,
            ),
            counters=Counters(self.metrics.registry),
            clock_ns=time.time_ns,
        )
        try:
            self.listeners = Listeners(
                self.desk,
                Api(self, timeout_seconds=config.web.timeout_seconds),
                receiver=config.receiver,
                web=config.web,
                metrics=self.metrics,
            )
        except (OSError, StartError) as error:
            self.store.close()
            raise StartError(str((error.strerror if isinstance(error, OSError) else None) or error)) from None

    # ------------------------------------------------------------ putting together

    def _open_sinks(self, stdout: BinaryIO) -> list[SinkQueue]:
        sinks = []
        if self.config.sinks.log.enabled:
            sinks.append(SinkQueue(JsonLog(stdout), capacity=LOG_QUEUE, metrics=self.metrics))
        if self.config.sinks.annotations.url:
            sinks.append(self._annotations())
        return sinks

    def _annotations(self) -> SinkQueue:
        settings = self.config.sinks.annotations
        sink = Annotations(settings, lambda: self._tokens["annotations"], external_url=self.config.web.external_url)
        return SinkQueue(sink, capacity=settings.queue, metrics=self.metrics)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Begin: the engine, the web port, then the receivers."""
        self.thread.start()
        self.listeners.start()
        self.state = "ready"
        event("started", version=__version__, **dict[str, Any](self.listeners.addresses))

    def stop(self) -> bool:
        """Answer senders UNAVAILABLE, work off the queue, save, deliver, close. False if the engine did not end in time."""
        self.state = "draining"
        self.desk.draining = True
        event("stopping")
        self.listeners.stop_receivers(GRACE_SECONDS)
        self.intake.drain()
        ended = self.thread.join(DRAIN_SECONDS)
        if self.trainer is not None:
            self.trainer.stop()
        for sink in self.sinks:
            sink.close(SINK_SECONDS)
        self.listeners.stop_web()
        self.store.close()
        self.state = "stopped"
        event("stopped", clean=ended)
        return ended

    def reload(self) -> list[str]:
        """Settings, tokens and certificates again. Problems, none if it worked; then the old ones stay."""
        with self._lock:
            try:
                config = self._load()
                tokens = tokens_of(config)
            except ConfigError as error:
                self._loaded(good=False)
                event("settings not reloaded", level=logging.ERROR, problems="; ".join(error.problems))
                return error.problems
            except StartError as error:
                self._loaded(good=False)
                event("settings not reloaded", level=logging.ERROR, problems=str(error))
                return [str(error)]
            before, self.config, self._tokens = self.config, config, tokens
            self.desk.replace_token(tokens["receiver"])
            log.setup(config.log.level, config.log.format)
            if config.sinks.annotations != before.sinks.annotations:
                self._replace_annotations()
            self.restart_required = needs_restart(self.started_config, config)
            self._loaded(good=True)
            event("settings reloaded", restart_required=",".join(self.restart_required) or "nothing")
            return []

    def _replace_annotations(self) -> None:
        kept = [each for each in self.sinks if each.sink.name != Annotations.name]
        gone = [each for each in self.sinks if each.sink.name == Annotations.name]
        fresh = [self._annotations()] if self.config.sinks.annotations.url else []
        self.sinks = kept + fresh
        for each in gone:
            each.close(0)
        for one in self.snapshot.incidents:
            for each in fresh:
                each.offer(one)

    def _loaded(self, *, good: bool) -> None:
        self.metrics.set("rca_config_last_reload_successful", float(good))
        if good:
            self.metrics.set("rca_config_last_reload_timestamp_seconds", time.time())

    # ------------------------------------------------------------ between the rooms

    def _publish(self, incidents: Sequence[Incident]) -> None:
        for sink in self.sinks:
            for each in incidents:
                sink.offer(each)

    def _changed(self, changes: Sequence[ConfigChange]) -> None:
        if self.config.sinks.annotations.changes:
            for sink in self.sinks:
                if sink.sink.name == Annotations.name:
                    for each in changes:
                        sink.offer(each)

    def _committed(self, seconds: float, good: bool) -> None:
        self.metrics.count("rca_store_commits_total" if good else "rca_store_errors_total")
        self.metrics.observe("rca_store_commit_duration_seconds", seconds)

    # ------------------------------------------------------------ exporter.api.Backend

    @property
    def snapshot(self) -> Snapshot:
        """The engine's last snapshot."""
        return self.engine.snapshot

    def token(self) -> str:
        """Token that /api/v1 and /-/reload want, "" for none."""
        return self._tokens["web"]

    def alive(self) -> bool:
        """Whether the engine still runs."""
        return self.thread.alive

    def readiness(self) -> tuple[bool, list[str]]:
        """Senders may come unless whence starts or stops; what does not work fully does not send them away."""
        degraded = [self.state_problem] if self.state_problem else []
        degraded += ["store: the last transaction failed"] if self.store.failing else []
        degraded += ["state: the last save failed"] if self.thread.save_failing else []
        degraded += [f"sink {each.sink.name}: down" for each in self.sinks if each.down]
        learning = [each.service for each in self.snapshot.services if each.learning_ratio < 1]
        degraded += [f"learning: {len(learning)} of {len(self.snapshot.services)} services"] if learning else []
        degraded += [f"settings: restart for {', '.join(self.restart_required)}"] if self.restart_required else []
        return self.state == "ready", degraded

    def status(self) -> Status:
        """The view of `exporter.status`."""
        self._gauges()
        return status_view(
            self.snapshot,
            hints=self.hints.standing(time.time_ns()),
            metrics=self.metrics,
            state=self.state,
            version=__version__,
            listening=self.listeners.addresses,
            degraded=self.readiness()[1],
            started_ns=self.started_ns,
            now_ns=time.time_ns(),
        )

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Body and content type of /metrics."""
        self._gauges()
        return exposition(self.metrics.registry, accept)

    def _gauges(self) -> None:
        """What is true now, rather than counted when it happens."""
        self.metrics.set("rca_receiver_in_flight_bytes", self.intake.in_flight_bytes)
        self.metrics.set("rca_engine_queue_batches", len(self.intake))
        self.metrics.set("rca_training_running", float(self.trainer is not None and self.trainer.source is not None))
        self.metrics.only("rca_hint", [(each.service, each.kind) for each in self.hints.standing(time.time_ns())])
        self.metrics.only("rca_degraded", [(each.partition(":")[0],) for each in self.readiness()[1]])

    def add_changes(self, changes: Sequence[ConfigChange]) -> None:
        """Store changes and give them to the engine. Raises: Busy."""
        self.intake.put(Batch(changes=tuple(changes)), 0)

    def ask(self, start_ns: int, end_ns: int) -> Future[Finding]:
        """An explanation of a span."""
        return self.intake.ask(start_ns, end_ns)

    def tell(self, incident_id: str, *, dismiss: bool) -> Future[Incident | None]:
        """Dismiss or acknowledge an incident."""
        return self.intake.tell(incident_id, dismiss=dismiss)

    def now_ns(self) -> int:
        """Received time."""
        return time.time_ns()


def run(config: Config, load: Callable[[], Config]) -> int:
    """Serve until SIGTERM or SIGINT. SIGHUP reloads. 0 after a clean stop, 1 if it was not, 2 if it could not start."""
    log.setup(config.log.level, config.log.format)
    keep_heap()
    try:
        service = Service(config, load=load)
    except StartError as error:
        print(f"whence: {error}", file=sys.stderr)
        return 2
    wake = threading.Event()
    pending: list[int] = []

    def note(number: int, frame: object) -> None:
        pending.append(number)
        wake.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    service.start()
    while True:
        wake.wait()
        wake.clear()
        while pending:
            if pending.pop(0) != signal.SIGHUP:
                return 0 if service.stop() else 1
            service.reload()
