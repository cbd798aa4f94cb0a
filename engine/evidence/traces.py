"""Evidence from spans and log records: assembler, ring, history and the families flow, gap, self time, errors, rate behind one door."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engine.evidence.errors import error_records, errors, slot_context, slot_outcomes
from engine.evidence.felt import felt
from engine.evidence.flow import flow, score
from engine.evidence.gap import gap
from engine.evidence.latency import latency
from engine.evidence.names import Names
from engine.evidence.place import placed
from engine.evidence.rate import Load, entry_load, rate
from engine.evidence.self_time import self_time
from engine.normal.history import Baseline, History
from engine.records import I64, Evidence, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.take.logs import LogCounts, Slots
from engine.take.spans import Assembler
from engine.take.templates import Templates
from engine.windows import EVENT_BITS, Codes, Ring, Spans, View, view

#: With no more spans than these there is nothing to compare: synthetic or sampled to almost nothing.
FEW_IN_WINDOW, FEW_IN_HISTORY = 50, 200


class Traces:
    """The branch of spans and log records. `take` every window in order; `evidence` changes nothing."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.templates = Templates(strings)
        self.assembler = Assembler(strings, resources, self.templates)
        self.logs = LogCounts(strings, self.assembler.services, self.templates, settings)
        self.codes = Codes()
        self.ring = Ring(keep_ns=settings.keep_ns + settings.sliding_ns)
        self.history = History(self.codes, settings)
        self.names = Names(strings, self.templates, self.codes)
        self._strings, self._resources = strings, resources
        self._settings = settings
        self._slots: set[int] = set()  # slots of time that had log records
        self._preview: tuple[Window | None, Spans] | None = None  # what waits, with the items it was joined with

    def take(self, window: Window) -> None:
        """Take a closed window."""
        self._preview = None  # as large as a window: it must be gone before the next one is joined
        if not self.assembler.busy and not len(window.spans.time_ns) and not len(window.logs.time_ns):
            self.history.expire(window.end_ns)
            return
        spans = Spans.of(self.assembler.take(window), self.codes)
        self.ring.add(spans, window.end_ns)
        self.history.add(spans)
        self._take_slots(self.logs.take(window), window.end_ns)
        self.history.expire(window.end_ns)

    def evidence(self, start_ns: int, end_ns: int, pending: Window | None = None) -> list[Evidence]:
        """What deviates in spans that end in [start, end] and records of that time, against everything before start.

        Traces that still wait are joined as far as they are here, with the items of `pending` that no window held yet.
        """
        chunks = self._chunks(start_ns, end_ns, pending)
        hits = self._error_hits(start_ns, end_ns, pending)
        now = view(chunks, start_ns, end_ns)
        if now.spans <= FEW_IN_WINDOW and not len(hits[0]):
            return []  # the usual case where only metrics come
        baseline = self.history.baseline(start_ns, chunks)
        found = error_records(start_ns, end_ns, hits, baseline.shares, self.codes, self.logs, self.names)
        if not enough(now, baseline):
            return found
        if not self._settings.pass_on:
            now = view([replace(chunk, passes_on_error=np.zeros(len(chunk), bool)) for chunk in chunks], start_ns, end_ns)
        explain_away = self._settings.explain_away
        shifts = baseline.levels.shift(now.values)
        slow = latency(now, shifts, self.codes, self.names.services, explain_away=explain_away)
        steps = score(now, baseline.shares, self.codes, explain_away=explain_away)
        found = [
            *flow(now, steps, self.codes, self.names),
            *gap(now, slow, self.names),
            *self_time(now, slow, self.codes, self.names),
            *errors(now, baseline.shares, self.codes, self.names, steps),
            *rate(now, baseline.levels, self.codes, self.names),
            *found,
        ]
        found = placed(now, slow, found, self._resources, self.names)
        return felt(now, shifts, self.codes, self.names, found)

    def under(self, settings: EngineSettings) -> Traces:
        """The same history, read under other settings: for questions, not to be fed."""
        other = copy.copy(self)
        other._settings = settings
        return other

    def load(self, start_ns: int, end_ns: int, pending: Window | None = None) -> list[Load]:
        """Requests from outside in [start, end] against before, most requests first; empty where spans are few."""
        chunks = self._chunks(start_ns, end_ns, pending)
        baseline = self.history.baseline(start_ns, chunks)
        now = view(chunks, start_ns, end_ns)
        if not enough(now, baseline):
            return []
        return entry_load(now, baseline.levels, self.codes, self.names)

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Leave blocks out that an abnormal interval covers; for those that ended by `until_ns` for good."""
        self.history.learn(until_ns, abnormal)

    def counters(self) -> dict[str, int]:
        """What was left out, by reason, since the start."""
        tables = {"operations": self.codes.operations, "contexts": self.codes.contexts, "outcomes": self.codes.outcomes}
        return {
            **self.assembler.counts,
            "templates_full": self.templates.overflowed,
            "log_keys_full": self.logs.overflowed,
            **{f"{name}_full": table.overflowed for name, table in tables.items()},
            "values_full": self.codes.values.overflowed,
            "ring_full": self.ring.dropped,
            "late_spans": self.history.late,
        }

    def shares(self, now_ns: int) -> dict[str, float]:
        """Share of all traces that are joined, that are kept of the sliding span, at its thinnest, and that are read while they wait."""
        assembled, sliding = self.assembler.share, self.ring.between(now_ns - self._settings.sliding_ns, now_ns)
        return {
            "assembled": assembled,
            "sliding": min((chunk.share for chunk in sliding), default=assembled),
            "waiting": self._preview[1].share if self._preview else assembled,
        }

    def _chunks(self, start_ns: int, end_ns: int, pending: Window | None) -> list[Spans]:
        """Spans from the block that start cuts to end, those that wait included."""
        if self._preview is None or self._preview[0] is not pending:
            self._preview = None  # the old one first: they are large
            self._preview = pending, Spans.of(self.assembler.preview(pending), self.codes)
        since = start_ns // self._settings.block_ns * self._settings.block_ns
        return self.ring.between(since, end_ns, self._preview[1])

    def _take_slots(self, new: Slots, now_ns: int) -> None:
        """Count slots: a chance each, and the error records that came in them."""
        slots = np.array(sorted(set(new.slot_ns.tolist()) - self._slots), np.int64)
        self._slots.update(slots.tolist())
        self._slots = {slot for slot in self._slots if slot >= now_ns - self._settings.keep_ns}
        failing = np.flatnonzero(self.logs.are_errors(new.key))
        context = slot_context(self.codes)
        time = np.concatenate([slots, new.slot_ns[failing]])
        outcome = np.concatenate([np.full(len(slots), -1, np.int64), slot_outcomes(new.key[failing], self.codes)])
        kept = np.arange(len(time)) < len(slots)
        kept |= outcome >= 0
        self.history.add_slots(time[kept], np.full(int(kept.sum()), context, np.int64), outcome[kept])

    def _error_hits(self, start_ns: int, end_ns: int, pending: Window | None) -> tuple[I64, I64, int]:
        """Keys and slots of error records, and the slots that had records at all."""
        extra = self.logs.count(pending) if pending is not None else None
        keys, slots, trials = self.logs.hits(start_ns, end_ns, extra)
        failing = self.logs.are_errors(keys)
        return keys[failing], slots[failing], int(trials[0])

    def state(self) -> dict[str, Any]:
        """Everything learnt, with texts in place of codes. The ring and traces that wait are not part of it."""
        text, codes = self._strings.text, self.codes
        operations = codes.operations.keys.tolist()
        return {
            "templates": self.templates.state(),
            "logs": self.logs.state(),
            "operations": [(text("service", key >> SERVICE_SHIFT), text("operation", key & (2**SERVICE_SHIFT - 1))) for key in operations],
            "contexts": [(key >> EVENT_BITS, *self._event_state(key & (2**EVENT_BITS - 1))) for key in codes.contexts.keys.tolist()],
            "outcomes": [(key >> EVENT_BITS, *self._event_state(key & (2**EVENT_BITS - 1))) for key in codes.outcomes.keys.tolist()],
            "values": [self._value_state(key) for key in codes.values.keys.tolist()],
            "slots": sorted(self._slots),
            "history": self.history.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()` in a new branch. Raises: ValueError if this one has taken windows already."""
        self.templates.restore(state["templates"])
        self.logs.restore(state["logs"])
        code = self._strings.intern
        operations = [(code("service", service) << SERVICE_SHIFT) | code("operation", name) for service, name in state["operations"]]
        for key in operations:
            self.codes.operations.codes(np.array([key], np.int64))
        for table, rows in ((self.codes.contexts, state["contexts"]), (self.codes.outcomes, state["outcomes"])):
            for above, *event in rows:
                table.codes(np.array([(above << EVENT_BITS) | self._event_of(*event)], np.int64))
        for row in state["values"]:
            self.codes.values.codes(np.array([self._value_of(*row)], np.int64))
        self._slots = set(state["slots"])
        self.history.restore(state["history"])

    def _event_state(self, event: int) -> tuple[int, int, str, str]:
        kind, payload = event >> KIND_SHIFT, event & (2**KIND_SHIFT - 1)
        text = self._strings.text
        if kind == EventKind.CHILD:
            return kind, 0, "", text("operation", payload)
        if kind == EventKind.CALL:
            return kind, 0, text("service", payload >> SERVICE_SHIFT), text("operation", payload & (2**SERVICE_SHIFT - 1))
        return kind, payload, "", ""

    def _event_of(self, kind: int, payload: int, service: str, operation: str) -> int:
        code = self._strings.intern
        if kind == EventKind.CHILD:
            payload = code("operation", operation)
        elif kind == EventKind.CALL:
            payload = (code("service", service) << SERVICE_SHIFT) | code("operation", operation)
        return (kind << KIND_SHIFT) | payload

    def _value_state(self, key: int) -> tuple[int, int, str, str]:
        kind, payload = key >> KIND_SHIFT, key & (2**KIND_SHIFT - 1)
        if kind != 1:
            return kind, payload, "", ""
        return (
            kind,
            0,
            self._strings.text("service", payload >> SERVICE_SHIFT),
            self._strings.text("service", payload & (2**SERVICE_SHIFT - 1)),
        )

    def _value_of(self, kind: int, payload: int, caller: str, callee: str) -> int:
        if kind == 1:
            payload = (self._strings.intern("service", caller) << SERVICE_SHIFT) | self._strings.intern("service", callee)
        return (kind << KIND_SHIFT) | payload


def enough(now: View, baseline: Baseline) -> bool:
    """Whether there are spans enough to compare."""
    return now.spans > FEW_IN_WINDOW and baseline.shares.spans > FEW_IN_HISTORY
