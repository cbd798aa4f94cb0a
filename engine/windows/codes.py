"""Codes: small numbers for operations of services, contexts (operation, event), outcomes (context, next event) and keys of values.

Tables grow up to a cap; what comes later is counted and left out.
"""

from __future__ import annotations

import numpy as np

from engine import kernels
from engine.records import I32, I64
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT

EVENT_BITS = 43  # kind and payload of an event
SPAN_EVENT = 6 << KIND_SHIFT  # context "a span of the operation"; its outcomes are END and END_ERROR
SLOT_EVENT = 7 << KIND_SHIFT  # context "a slot of time with log records", operation 0; its outcomes are keys of log counts
EDGE, SELF, ENTRY, ROOT = 1, 2, 3, 4  # kinds of values: gap of a call, self time, requests a minute; time of a request from outside
CAPS = {"operations": 65536, "contexts": 65536, "outcomes": 131072, "values": 16384}


class Interner:
    """int64 keys to codes 0, 1, 2 ..., in the order of their first sight (of those seen together, ascending); -1 once there are `cap`."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.overflowed = 0
        self._count = 0
        self._keys = np.zeros(64, np.int64)
        self._slot_key, self._slot_code = np.zeros(128, np.int64), np.full(128, -1, np.int32)

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> I64:
        """Key of each code."""
        return self._keys[: self._count]

    def codes(self, keys: I64) -> I32:
        """Codes of keys, new ones given out."""
        codes = kernels.lookup(keys, self._slot_key, self._slot_code)
        new = np.flatnonzero(codes < 0)
        if len(new):
            distinct = np.unique(keys[new])
            room = self.cap - self._count
            self.overflowed += max(0, len(distinct) - room)
            self._add(distinct[:room])
            codes[new] = kernels.lookup(keys[new], self._slot_key, self._slot_code)
        return codes

    @property
    def slots(self) -> tuple[I64, I32]:
        """Keys and codes by slot, as `kernels.lookup` reads them."""
        return self._slot_key, self._slot_code

    def _add(self, keys: I64) -> None:
        before, self._count = self._count, self._count + len(keys)
        if self._count > len(self._keys):
            self._keys = np.concatenate([self._keys[:before], np.zeros(2 * self._count - before, np.int64)])
        self._keys[before : self._count] = keys
        slots = len(self._slot_key)
        if 2 * self._count > slots:  # half full: a table twice as large and more, filled anew
            slots = 1 << int(4 * self._count).bit_length()
            self._slot_key, self._slot_code = np.zeros(slots, np.int64), np.full(slots, -1, np.int32)
            before, keys = 0, self.keys
        starts = kernels.slot_of(keys, slots).tolist()
        for code, (start, key) in enumerate(zip(starts, keys.tolist(), strict=True), before):
            at = start
            while self._slot_code[at] >= 0:
                at = (at + 1) & (slots - 1)
            self._slot_key[at], self._slot_code[at] = key, code


class Codes:
    """The tables of codes."""

    def __init__(self) -> None:
        self.operations = Interner(CAPS["operations"])  # service << 20 | operation
        self.contexts = Interner(CAPS["contexts"])  # operation code << 43 | event
        self.outcomes = Interner(CAPS["outcomes"])  # context code << 43 | event
        self.values = Interner(CAPS["values"])  # kind << 40 | (caller << 20 | callee, or operation code)
        self.operations.codes(np.zeros(1, np.int64))  # 0: of no service

    @property
    def context_of(self) -> I32:
        """Context of each outcome."""
        contexts: I32 = (self.outcomes.keys >> EVENT_BITS).astype(np.int32)
        return contexts

    @property
    def service_of_context(self) -> I64:
        """Service of each context; 0 for slots of time."""
        services: I64 = self.operations.keys[self.contexts.keys >> EVENT_BITS] >> SERVICE_SHIFT
        return services

    def chances(self, operation: I32, *steps: tuple[I32, I64, I64]) -> tuple[I32, I32]:
        """Context and outcome codes of steps, one lot after the other; -1 where a table is full.

        Args: operation: code by span; steps: span, event and the event that follows, of each step.
        """
        tables = self.contexts.slots, self.outcomes.slots
        found = [kernels.chained(operation, *lot, EVENT_BITS, *tables[0], *tables[1]) for lot in steps]
        context, outcome = (np.concatenate(column) for column in zip(*found, strict=True))
        new = np.flatnonzero(outcome < 0)
        if len(new):
            owner, before, after = (np.concatenate(column)[new] for column in zip(*steps, strict=True))
            of = operation[owner]
            context[new] = self.contexts.codes((of.astype(np.int64) << EVENT_BITS) | before)
            codes = self.outcomes.codes((np.maximum(context[new], 0).astype(np.int64) << EVENT_BITS) | after)
            outcome[new] = np.where((of < 0) | (context[new] < 0), -1, codes)
        return context, outcome
