"""Log records counted by service, template and severity in slots of ten seconds, with or without a trace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from engine.records import I32, I64, SEVERITY_ERROR, Bool, Window
from engine.settings import EngineSettings
from engine.strings import Strings
from engine.take.spans import Mentions, ServiceCodes
from engine.take.templates import Templates

SLOTS_KEPT_ROWS = 500_000  # (slot, key) pairs
KEYS_CAP = 16384


class LogCount(NamedTuple):
    """Records of one service, template and severity in a stretch of time."""

    service: str
    template: str
    severity: int
    exception: str  # of the first record that has one
    records: int  # how many
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Counts of one window's records: one row a (slot, key)."""

    slot_ns: I64
    key: I64
    count: I64
    first_ns: I64
    last_ns: I64
    exception: I32  # code of kind "text", 0: none


class LogCounts:
    """Bounded in keys (later ones are counted in `overflowed`), rows and age."""

    def __init__(
        self, strings: Strings, services: ServiceCodes, templates: Templates, settings: EngineSettings, *, cap: int = KEYS_CAP
    ) -> None:
        self.overflowed = 0
        self._strings, self._services, self._templates = strings, services, templates
        self._mentions = Mentions(strings)
        self._slot_ns, self._keep_ns = settings.window_ns, settings.keep_ns
        self._cap = cap
        self._keys: dict[tuple[int, int, int], int] = {}
        self._rows: list[tuple[int, int, int]] = []
        self._first_ns: list[int] = []
        self._foreign: list[bool] = []
        self._error: list[bool] = []
        self._slots: deque[Slots] = deque()
        self._held = 0

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, code: int) -> tuple[str, int, int]:
        """Service, template code and severity of a key."""
        service, template, severity = self._rows[code]
        return self._strings.text("service", service), template, severity

    def is_foreign(self, code: int) -> bool:
        """Whether an error of this key named another service: it is passed on, not made here."""
        return self._foreign[code]

    def are_errors(self, codes: I64) -> Bool:
        """Keys of severity ERROR or above, or whose records have carried an exception."""
        return np.array([self._error[code] for code in codes.tolist()], bool)

    def take(self, window: Window) -> Slots:
        """Count a window's records. Returns the (slot, key) pairs that no earlier window had."""
        slots = self.count(window)
        before = np.array([], np.int64)
        if len(slots.key):
            low, high = slots.slot_ns.min(), slots.slot_ns.max()
            known = [part for part in self._slots if len(part.key) and part.slot_ns.max() >= low and part.slot_ns.min() <= high]
            before = np.concatenate([before, *(self._pair(part.slot_ns, part.key) for part in known)])
            self._slots.append(slots)
            self._held += len(slots.key)
        while self._slots and (self._held > SLOTS_KEPT_ROWS or self._slots[0].slot_ns.max() < window.end_ns - self._keep_ns):
            self._held -= len(self._slots.popleft().key)
        new = ~np.isin(self._pair(slots.slot_ns, slots.key), before)
        return Slots(*(getattr(slots, name)[new] for name in ("slot_ns", "key", "count", "first_ns", "last_ns", "exception")))

    def count(self, window: Window) -> Slots:
        """Counts of a window's records, without keeping them."""
        logs = window.logs
        service = self._services.array()[logs.resource]
        foreign = self._mentions.foreign(logs, service)
        key = self._codes(service, self._templates.of(logs.template), logs.severity.astype(np.int64), logs.time_ns, foreign)
        for failing in np.unique(key[(key >= 0) & (logs.exception > 0)]).tolist():
            self._error[failing] = True
        kept = np.flatnonzero(key >= 0)
        key, time = key[kept], logs.time_ns[kept]
        slot = time // self._slot_ns * self._slot_ns
        order = np.lexsort((time, key, slot))
        key, slot, time = key[order], slot[order], time[order]
        exception = logs.exception[kept][order]
        edges = np.flatnonzero(np.concatenate([[True], (key[1:] != key[:-1]) | (slot[1:] != slot[:-1])])) if len(key) else np.zeros(0, int)
        sizes = np.diff(np.append(edges, len(key)))
        # The first exception of each run: the positions where there is one, the smallest in each run.
        at = np.where(exception > 0, np.arange(len(key)), len(key))
        first = np.minimum.reduceat(at, edges) if len(edges) else edges
        texts = np.where(first < len(key), np.append(exception, 0)[np.minimum(first, len(key))], 0).astype(np.int32)
        return Slots(slot[edges], key[edges], sizes.astype(np.int64), time[edges], time[edges + sizes - 1] if len(edges) else time, texts)

    def hits(self, start_ns: int, end_ns: int, extra: Slots | None = None) -> tuple[I64, I64, I64]:
        """In slots that begin in [start, end]: keys, the slots each came in, and (one number) the slots with any record."""
        slot, key = self._between(start_ns, end_ns, extra)
        keys, counts = np.unique(np.unique(self._pair(slot, key)) & (2**20 - 1), return_counts=True)
        return keys, counts, np.array([len(np.unique(slot))])

    def counts(self, start_ns: int, end_ns: int) -> list[LogCount]:
        """Records in slots that begin in [start, end), most frequent first."""
        found: dict[int, list[int]] = {}
        for part in self._slots:
            for row in np.flatnonzero((part.slot_ns >= start_ns) & (part.slot_ns < end_ns)).tolist():
                key, size, first, last = int(part.key[row]), int(part.count[row]), int(part.first_ns[row]), int(part.last_ns[row])
                sums = found.setdefault(key, [0, first, last, 0])
                sums[:] = [sums[0] + size, min(sums[1], first), max(sums[2], last), sums[3] or int(part.exception[row])]
        rows = []
        for key, (size, first, last, exception) in found.items():
            service, template, severity = self.key(key)
            text = self._strings.text("text", exception)
            rows.append(LogCount(service, self._templates.text(template), severity, text, size, first, last))
        return sorted(rows, key=lambda row: (-row.records, row.service, row.template, row.severity))

    def first_seen(self, service: str, template: str) -> int | None:
        """Event time of the first record ever of this service and template text, None if there was none."""
        times = [
            self._first_ns[code]
            for (owner, body, _), code in self._keys.items()
            if self._strings.text("service", owner) == service and self._templates.text(body) == template
        ]
        return min(times) if times else None

    def _between(self, start_ns: int, end_ns: int, extra: Slots | None) -> tuple[I64, I64]:
        parts = [*self._slots, *([extra] if extra is not None else [])]
        slot = np.concatenate([np.zeros(0, np.int64), *(part.slot_ns for part in parts)])
        key = np.concatenate([np.zeros(0, np.int64), *(part.key for part in parts)])
        here = (slot >= start_ns) & (slot <= end_ns)
        return slot[here], key[here]

    def _pair(self, slot_ns: I64, key: I64) -> I64:
        pair: I64 = (slot_ns // self._slot_ns << 20) | key
        return pair

    def _codes(self, service: I32, template: I32, severity: I64, time_ns: I64, foreign: Bool) -> I64:
        packed = (service.astype(np.int64) << 40) | (template.astype(np.int64) << 8) | severity
        distinct, first, position = np.unique(packed, return_index=True, return_inverse=True)
        position = position.reshape(-1)
        earliest = np.full(len(distinct), np.iinfo(np.int64).max)
        np.minimum.at(earliest, position, time_ns)
        passes = np.zeros(len(distinct), bool)
        np.logical_or.at(passes, position, foreign)
        codes = np.full(len(distinct), -1, np.int64)
        for place, (row, time, passing) in enumerate(zip(first.tolist(), earliest.tolist(), passes.tolist(), strict=True)):
            codes[place] = self._code((int(service[row]), int(template[row]), int(severity[row])), time, passing)
        return codes[position]

    def _code(self, row: tuple[int, int, int], time_ns: int, foreign: bool) -> int:
        code = self._keys.get(row)
        if code is None:
            if len(self._rows) >= self._cap:
                self.overflowed += 1
                return -1
            code = self._keys[row] = len(self._rows)
            self._rows.append(row)
            self._first_ns.append(time_ns)
            self._foreign.append(foreign)
            self._error.append(row[2] >= SEVERITY_ERROR)
        elif foreign:
            self._foreign[code] = True
        self._first_ns[code] = min(self._first_ns[code], time_ns)
        return code

    def state(self) -> dict[str, Any]:
        """Keys with service names and template codes, and the kept slots."""
        columns = ("slot_ns", "key", "count", "first_ns", "last_ns")
        return {
            "services": [self._strings.text("service", service) for service, _, _ in self._rows],
            "templates": [template for _, template, _ in self._rows],
            "severities": [severity for _, _, severity in self._rows],
            "first_ns": list(self._first_ns),
            "foreign": list(self._foreign),
            "error": list(self._error),
            "slots": {name: np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in self._slots)]) for name in columns},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`; template codes must be those of then. Texts of exceptions start anew."""
        rows = zip(state["services"], state["templates"], state["severities"], state["first_ns"], state["foreign"], strict=True)
        for service, template, severity, first_ns, foreign in rows:
            self._code((self._strings.intern("service", service), int(template), int(severity)), int(first_ns), bool(foreign))
        self._error = [bool(error) for error in state["error"]]
        columns = [np.array(state["slots"][name], np.int64) for name in ("slot_ns", "key", "count", "first_ns", "last_ns")]
        if len(columns[0]):
            slot_ns, key, count, first_ns, last_ns = columns
            self._slots.append(Slots(slot_ns, key, count, first_ns, last_ns, np.zeros(len(key), np.int32)))
            self._held = len(columns[0])
