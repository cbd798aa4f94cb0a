"""What failing and warning records say: texts by service, with when they were first seen and how often, in normal times too."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from engine.records import I32, I64, SEVERITY_ERROR, SEVERITY_WARN, Bool, ChangeType, LogColumns, PeerKind, SpanColumns, Status, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import select
from engine.take.keys import KeyTable

KEYS_CAP = 16384
KEY_BITS = 20  # of a text's code, beside its slot
LOOKED_UP = 65536  # (resource, level, text) remembered a kind
ROWS_KEPT = 200_000  # (minute, text) pairs
SLOT_NS = 10_000_000_000


class TextKind(IntEnum):
    """What a text is."""

    LOG = 0  # folded body of a log record
    EXCEPTION = 1  # type, message and stack of a record of severity WARN or more
    STATEMENT = 2  # of such a record, or of a failed span
    PEER = 3  # whom such a record, or a failed client span, names; the text is empty where it names nobody
    MESSAGE = 4  # of a failed span
    OPERATION = 5  # of a failed span
    ERROR_TYPE = 6  # of a failed span


#: Kind of dictionary that the codes of a text's kind belong to.
DICTIONARY = {
    TextKind.LOG: "template",
    TextKind.EXCEPTION: "text",
    TextKind.STATEMENT: "template",
    TextKind.PEER: "value",
    TextKind.MESSAGE: "template",
    TextKind.OPERATION: "operation",
    TextKind.ERROR_TYPE: "value",
}


class TextCount(NamedTuple):
    """How often a service said something in a stretch of time. `level`: OTLP severity of a log record, PeerKind of a peer."""

    service: str
    kind: TextKind
    text: str
    level: int
    records: int
    first_ns: int  # in the stretch
    last_ns: int
    first_ever_ns: int


@dataclass(frozen=True, slots=True)
class _Rows:
    slot_ns: I64
    key: I64
    count: I64


class Texts:
    """Bounded in texts (later ones are counted in `overflowed`), in rows and in age (`changes_ns`)."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings, *, cap: int = KEYS_CAP) -> None:
        self.overflowed = 0
        self.senders: set[str] = set()  # services that sent anything; as bounded as the resources are
        self._strings, self._resources, self._keep_ns, self._cap = strings, resources, settings.changes_ns, cap
        self._keys: dict[tuple[str, int, int, int], int] = {}
        self._seen = {kind: KeyTable(LOOKED_UP) for kind in TextKind}  # (resource, level, text), packed
        self._known: list[tuple[str, int, int, int]] = []
        self._first_ns: list[int] = []
        self._rows: deque[_Rows] = deque()
        self._held = 0

    def __len__(self) -> int:
        return len(self._known)

    def take(self, window: Window) -> None:
        """Count a window's records and failed spans."""
        for columns in (window.spans, window.logs, window.points):
            self.senders.update(self._resources[code].service for code in np.flatnonzero(np.bincount(columns.resource)).tolist())
        none = np.zeros(0, np.int64)
        codes, time_ns = self._logs(window.logs) if len(window.logs.time_ns) else (none, none)
        failed = np.flatnonzero(window.spans.status == Status.ERROR)
        more, when_ns = self._spans(select(window.spans, failed)) if len(failed) else (none, none)
        key, time_ns = np.concatenate([codes, more]), np.concatenate([time_ns, when_ns])
        key, time_ns = key[key >= 0], time_ns[key >= 0]
        if len(key):
            pair, count = np.unique(time_ns // SLOT_NS << KEY_BITS | key, return_counts=True)
            self._rows.append(_Rows((pair >> KEY_BITS) * SLOT_NS, pair & ((1 << KEY_BITS) - 1), count.astype(np.int64)))
            self._held += len(count)
        while self._rows and (self._held > ROWS_KEPT or self._rows[0].slot_ns.max() < window.end_ns - self._keep_ns):
            self._held -= len(self._rows.popleft().key)

    def counts(self, start_ns: int, end_ns: int) -> list[TextCount]:
        """Texts in slots of 10 s that begin in [start, end), most frequent first."""
        found: dict[int, list[int]] = {}
        for part in self._rows:
            for row in np.flatnonzero((part.slot_ns >= start_ns) & (part.slot_ns < end_ns)).tolist():
                slot, size = int(part.slot_ns[row]), int(part.count[row])
                sums = found.setdefault(int(part.key[row]), [0, slot, slot])
                sums[:] = [sums[0] + size, min(sums[1], slot), max(sums[2], slot)]
        result = []
        for key, (size, first, last) in found.items():
            service, kind, level, code = self._known[key]
            text = self._strings.text(DICTIONARY[TextKind(kind)], code)
            # a text that began in the stretch began at its first record, not at its slot
            begun = max(first, self._first_ns[key])
            result.append(TextCount(service, TextKind(kind), text, level, size, begun, last, self._first_ns[key]))
        return sorted(result, key=lambda each: (-each.records, each.service, each.kind, each.text, each.level))

    def _logs(self, logs: LogColumns) -> tuple[I64, I64]:
        # what announces a change is no symptom, and its words are not what services usually say
        told = np.isin(logs.event_name, [self._strings.intern("value", name) for name in ChangeType])
        loud = (logs.severity >= SEVERITY_WARN) & ~told
        level = np.where(logs.severity >= SEVERITY_ERROR, SEVERITY_ERROR, np.where(loud, SEVERITY_WARN, 0)).astype(np.int64)
        nobody = np.zeros(len(level), np.int64)
        parts = [
            self._codes(logs.resource, TextKind.LOG, level, logs.template, logs.time_ns, ~told & (logs.template > 0)),
            self._codes(logs.resource, TextKind.EXCEPTION, level, logs.exception, logs.time_ns, loud & (logs.exception > 0)),
            self._codes(logs.resource, TextKind.STATEMENT, level, logs.statement, logs.time_ns, loud & (logs.statement > 0)),
            self._codes(logs.resource, TextKind.PEER, nobody, logs.peer, logs.time_ns, ~told & (level == SEVERITY_ERROR)),
        ]
        return np.concatenate(parts), np.tile(logs.time_ns, len(parts))

    def _spans(self, spans: SpanColumns) -> tuple[I64, I64]:
        failed = np.ones(len(spans.time_ns), bool)
        level = np.full(len(failed), SEVERITY_ERROR, np.int64)
        outside = np.isin(spans.peer_kind, (PeerKind.EXTERNAL, PeerKind.SERVICE, PeerKind.DATABASE, PeerKind.QUEUE))
        parts = [
            self._codes(spans.resource, TextKind.MESSAGE, level, spans.message, spans.time_ns, failed & (spans.message > 0)),
            self._codes(spans.resource, TextKind.OPERATION, level, spans.operation, spans.time_ns, failed),
            self._codes(spans.resource, TextKind.ERROR_TYPE, level, spans.error_type, spans.time_ns, failed & (spans.error_type > 0)),
            self._codes(spans.resource, TextKind.STATEMENT, level, spans.statement, spans.time_ns, failed & (spans.statement > 0)),
            self._codes(spans.resource, TextKind.PEER, spans.peer_kind.astype(np.int64), spans.peer, spans.time_ns, failed & outside),
        ]
        return np.concatenate(parts), np.tile(spans.time_ns, len(parts))

    def _codes(self, resource: I32, kind: TextKind, level: I64, text: I32, time_ns: I64, use: Bool) -> I64:
        """Key of each row, -1 where it is not used. One step of Python a distinct (resource, level, text)."""
        result = np.full(len(text), -1, np.int64)
        rows = np.flatnonzero(use)
        if not len(rows):
            return result
        packed = (resource[rows].astype(np.int64) << 40) | (level[rows] << 34) | text[rows]
        seen = self._seen[kind]
        if len(seen) >= seen.cap:
            seen.clear()
        found = seen.intern(packed)
        first = np.full(len(seen) + 1, -1, np.int64)  # the last place is of rows that found none
        first[found[::-1]] = np.arange(len(found))[::-1]  # of equal places the last write stays: rows are sorted by time
        codes = np.full(len(first), -1, np.int64)
        for place in np.flatnonzero(first[:-1] >= 0).tolist():
            at = int(rows[first[place]])
            service = self._resources[int(resource[at])].service
            codes[place] = self._code((service, int(kind), int(level[at]), int(text[at])), int(time_ns[at]))
        result[rows] = codes[found]
        return result

    def _code(self, row: tuple[str, int, int, int], time_ns: int) -> int:
        code = self._keys.get(row)
        if code is None:
            if len(self._known) >= self._cap:
                self.overflowed += 1
                return -1
            code = self._keys[row] = len(self._known)
            self._known.append(row)
            self._first_ns.append(time_ns)
        self._first_ns[code] = min(self._first_ns[code], time_ns)
        return code

    def state(self) -> dict[str, Any]:
        """Texts, never codes, and the kept counts."""
        columns = {name: np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in self._rows)]) for name in _Rows.__slots__}
        texts = [self._strings.text(DICTIONARY[TextKind(kind)], code) for _, kind, _, code in self._known]
        return {
            "services": [row[0] for row in self._known],
            "kinds": [row[1] for row in self._known],
            "levels": [row[2] for row in self._known],
            "texts": texts,
            "first_ns": list(self._first_ns),
            "rows": columns,
            "senders": sorted(self.senders),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, on a new object, with dictionaries that may be new."""
        rows = zip(state["services"], state["kinds"], state["levels"], state["texts"], state["first_ns"], strict=True)
        self.senders.update(state["senders"])
        codes = []
        for service, kind, level, text, first_ns in rows:
            code = self._strings.intern(DICTIONARY[TextKind(int(kind))], text)
            codes.append(self._code((service, int(kind), int(level), code), int(first_ns)))
        held = state["rows"]
        if len(held["key"]):
            key = np.array(codes, np.int64)[held["key"]]
            self._rows.append(_Rows(np.array(held["slot_ns"], np.int64), key, np.array(held["count"], np.int64)))
            self._held = len(key)
