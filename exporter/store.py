"""What outlives the process: incidents, changes and feedback in SQLite, one transaction a group, written by one thread.

What comes while a commit runs goes into the next one together, so a burst of changes costs few syncs. A caller that waits for its
transaction knows that kill -9 and a power cut lose nothing of it (WAL, synchronous=FULL).
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path

from engine.records import SECOND_NS, ConfigChange, Incident, IncidentState
from exporter.log import event
from exporter.plain import change_of, incident_of, stored

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, severity TEXT NOT NULL, opened_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    root TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS incidents_by_time ON incidents (opened_ns);
CREATE TABLE IF NOT EXISTS changes (
    id TEXT PRIMARY KEY, time_ns INTEGER NOT NULL, received_ns INTEGER NOT NULL, service TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changes_by_time ON changes (time_ns);
CREATE TABLE IF NOT EXISTS feedback (
    incident_id TEXT NOT NULL, received_ns INTEGER NOT NULL, verdict TEXT NOT NULL, service TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
CLOSED = (IncidentState.RESOLVED.value, IncidentState.MERGED.value)
DAY_NS = 24 * 3600 * SECOND_NS
#: Transactions waiting at most, and statements in one.
WAITING_MOST, GROUP_MOST = 10_000, 5_000
LOCK_SECONDS = 5.0

Statement = tuple[str, tuple[object, ...]]


class StoreError(Exception):
    """The store could not be opened, read or written; says why."""


class Store:
    """The database of one folder. Methods that write return a Future, or wait for it themselves where they say so."""

    def __init__(self, folder: Path, *, committed: Callable[[float, bool], None] = lambda seconds, good: None) -> None:
        """Open or create. committed(seconds, good) hears of each transaction. Raises: StoreError."""
        self.path = folder / "whence.sqlite"
        self._committed = committed
        self._queue: queue.Queue[tuple[list[Statement], Future[None]] | None] = queue.Queue(WAITING_MOST)
        self._failing = self._closed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version > SCHEMA_VERSION:
                    raise StoreError(f"store.path: {self.path} was written by a later version of whence (schema {version})")
                connection.executescript(SCHEMA)
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"store.path: cannot use {self.path}: {error}") from None
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what waits, then stop; what comes later fails."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is not None:
                item[1].set_exception(StoreError("store: closed"))

    @property
    def failing(self) -> bool:
        """True while the last transaction failed: disk full, file gone."""
        return self._failing

    # ------------------------------------------------------------ writing

    def add_changes(self, changes: Sequence[ConfigChange], received_ns: int) -> None:
        """Store changes; returns when they are safe. A known id is kept as it was. Raises: StoreError."""
        self._submit([_change(change, received_ns) for change in changes]).result()

    def close_windows(self, watermark_ns: int, incidents: Sequence[Incident]) -> Future[None]:
        """Watermark and incident transitions of the windows that just closed, in one transaction."""
        statements: list[Statement] = [_meta("watermark_ns", str(watermark_ns))]
        return self._submit(statements + [_incident(incident) for incident in incidents])

    def add_feedback(self, incident_id: str, received_ns: int, verdict: str, service: str, note: str) -> None:
        """What a person says of an incident; returns when it is safe. Raises: StoreError."""
        self._submit([("INSERT INTO feedback VALUES (?, ?, ?, ?, ?)", (incident_id, received_ns, verdict, service, note))]).result()

    def prune(self, now_ns: int, *, retention_days: float, max_incidents: int, max_changes: int) -> Future[None]:
        """Remove what is older than the retention (event time) or more than the maximum, oldest first."""
        before_ns = now_ns - int(retention_days * DAY_NS)
        closed = f"state IN {CLOSED}"
        return self._submit(
            [
                (f"DELETE FROM incidents WHERE {closed} AND updated_ns < ?", (before_ns,)),
                ("DELETE FROM changes WHERE time_ns < ?", (before_ns,)),
                (
                    f"DELETE FROM incidents WHERE {closed} AND id NOT IN (SELECT id FROM incidents ORDER BY opened_ns DESC LIMIT ?)",
                    (max_incidents,),
                ),
                ("DELETE FROM changes WHERE id NOT IN (SELECT id FROM changes ORDER BY time_ns DESC LIMIT ?)", (max_changes,)),
                ("DELETE FROM feedback WHERE incident_id NOT IN (SELECT id FROM incidents)", ()),
            ]
        )

    def _submit(self, statements: list[Statement]) -> Future[None]:
        future: Future[None] = Future()
        if self._closed:
            future.set_exception(StoreError("store: closed"))
            return future
        try:
            self._queue.put_nowait((statements, future))
        except queue.Full:
            future.set_exception(StoreError("store: too many transactions wait"))
        return future

    def _write(self) -> None:
        connection = self._connect()
        while True:
            first = self._queue.get()
            if first is None:
                break
            group, last = [first], False
            while not last and sum(len(statements) for statements, _ in group) < GROUP_MOST:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                last = more is None
                if more is not None:
                    group.append(more)
            self._commit(connection, group)
            if last:
                break
        connection.close()

    def _commit(self, connection: sqlite3.Connection, group: list[tuple[list[Statement], Future[None]]]) -> None:
        began = time.perf_counter()
        problem: StoreError | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statements, _ in group:
                for text, values in statements:
                    connection.execute(text, values)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            problem = StoreError(f"store: cannot write {self.path}: {error}")
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if self._failing != (problem is not None):
            self._failing = problem is not None
            if problem:
                event("store down", level=logging.ERROR, reason=str(problem))
            else:
                event("store back")
        self._committed(time.perf_counter() - began, problem is None)
        for _, future in group:
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)

    # ------------------------------------------------------------ reading

    def incidents(self, *, active: bool | None = None, since_ns: int = 0, limit: int = 100) -> list[Incident]:
        """Newest first. active: only open ones (True), only closed ones (False), or all."""
        state = "" if active is None else f"AND state {'NOT ' if active else ''}IN {CLOSED}"
        text = f"SELECT body FROM incidents WHERE opened_ns >= ? {state} ORDER BY opened_ns DESC, id LIMIT ?"
        return [incident_of(row[0]) for row in self._read(text, (since_ns, limit))]

    def incident(self, incident_id: str) -> Incident | None:
        """The incident of an id, as last published."""
        rows = self._read("SELECT body FROM incidents WHERE id = ?", (incident_id,))
        return incident_of(rows[0][0]) if rows else None

    def feedback(self, incident_id: str) -> list[dict[str, object]]:
        """What people said of an incident, oldest first."""
        text = "SELECT received_ns, verdict, service, note FROM feedback WHERE incident_id = ? ORDER BY received_ns"
        return [dict(zip(("received_ns", "verdict", "service", "note"), row, strict=True)) for row in self._read(text, (incident_id,))]

    def changes(self, *, start_ns: int = 0, end_ns: int = 2**63 - 1, service: str | None = None, limit: int = 100) -> list[ConfigChange]:
        """Changes of [start, end], newest first."""
        where = "time_ns BETWEEN ?1 AND ?2 AND (?3 IS NULL OR service = ?3)"
        text = f"SELECT body FROM changes WHERE {where} ORDER BY time_ns DESC, id LIMIT ?4"
        return [change_of(row[0]) for row in self._read(text, (start_ns, end_ns, service, limit))]

    def watermark_ns(self) -> int:
        """Event time up to which everything was decided, 0 at the first start."""
        rows = self._read("SELECT value FROM meta WHERE key = 'watermark_ns'", ())
        return int(rows[0][0]) if rows else 0

    def _read(self, text: str, values: tuple[object, ...]) -> list[tuple[str, ...]]:
        with self._reading() as connection:
            return connection.execute(text, values).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"store: cannot read {self.path}: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        return connection


def _change(change: ConfigChange, received_ns: int) -> Statement:
    values = (change.id, change.time_ns, received_ns, change.service, stored(change))
    return "INSERT INTO changes VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", values


def _incident(incident: Incident) -> Statement:
    values = (incident.id, incident.state.value, incident.severity.value, incident.opened_ns, incident.updated_ns)
    return "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?)", (*values, incident.finding.root, stored(incident))


def _meta(key: str, value: str) -> Statement:
    return "INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)
