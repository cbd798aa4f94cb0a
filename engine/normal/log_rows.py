"""Rows of log records: one an equal record, and one a (service, template) and window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal.combinations import Combinations
from engine.normal.features import SCHEMAS, Dictionary, RowColumns, Source, Translation, grouped, hash_rows, quantised
from engine.normal.scales import Pairs, Scales
from engine.normal.sender import Senders
from engine.records import F32, I32, I64, Batch, LogColumns, Window
from engine.strings import Strings

SCHEMA = SCHEMAS[Source.LOGS]
_FLOORS = {"time since this template": 0.5, "count": 0.1, "share of the service's lines": 0.1}
_SEVERITIES = ("", "trace", "debug", "info", "warn", "error", "fatal")


class LogRows:
    """State: dictionaries, scales, and when a service last wrote a template."""

    def __init__(self, strings: Strings, senders: Senders) -> None:
        self.senders = senders
        self.skipped = 0  # records without a row: more combinations of categories than there are codes
        self.dictionaries = (senders.services, Dictionary(), Dictionary(8), Dictionary(4096))
        _, templates, severities, exceptions = self.dictionaries
        self._template = Translation(templates, lambda code: strings.text("template", code))
        self._severity = Translation(severities, lambda code: _SEVERITIES[min((code + 3) // 4, 6)])
        self._exception = Translation(exceptions, lambda code: exception_type(strings.text("text", code)))
        self.pairs = Pairs()
        self.combinations = Combinations(self.pairs, self._unpacked)
        self.scales = {name: Scales(floor=floor) for name, floor in _FLOORS.items()}
        self._last_ns: I64 = np.zeros(256, np.int64)

    def rows(self, window: Window) -> RowColumns | None:
        """Distinct arrival rows, then window rows. Change events are logs, too: they are rows of another source."""
        logs = window.logs
        named, combination = self._named(logs)
        self.skipped += int((combination < 0).sum())
        named, combination = named[combination >= 0], combination[combination >= 0]
        if not len(named):
            return None
        there, count, first = grouped(combination)
        codes, numbers = self._fields(there)
        key = hash_rows(self.dictionaries, codes, numbers)
        first = named[first]
        environment = self.senders.environment(logs.resource[first])
        arrivals = RowColumns(codes, numbers, key, logs.time_ns[first], environment, count, np.zeros(len(there), bool))
        order = np.argsort(first, kind="stable")
        return RowColumns.concat([arrivals.select(order), self._windows(arrivals, self.combinations.pair(there), window.end_ns)])

    def arrivals(self, batch: Batch) -> tuple[I32, F32] | None:
        """Categories and numbers of distinct records."""
        if batch.logs is None:
            return None
        _, combination = self._named(batch.logs)
        there = np.unique(combination[combination >= 0])
        return self._fields(there) if len(there) else None

    def forget(self) -> None:
        """Records are few kinds: `arrivals` gives them every time."""

    def _named(self, logs: LogColumns) -> tuple[I64, I32]:
        """Records with a service and a template, and the combination of each, -1 without room."""
        service = self.senders.service(logs.resource)
        packed = service.astype(np.int64) << 40 | logs.template.astype(np.int64) << 24  # service 12 bits, template 16
        packed |= logs.severity.astype(np.int64) << 16 | logs.exception  # severity 8, exception 16
        named = np.flatnonzero((service > 0) & (logs.template > 0))
        return named, self.combinations(packed[named])

    def _fields(self, combination: I64 | I32) -> tuple[I32, F32]:
        codes = self.combinations.codes(combination)
        return codes, np.full((len(codes), len(SCHEMA.numbers)), np.nan, np.float32)

    def _unpacked(self, packed: I64) -> Sequence[I32]:
        return (
            (packed >> 40).astype(np.int32),
            self._template(packed >> 24 & 0xFFFF),
            self._severity(packed >> 16 & 0xFF),
            self._exception(packed & 0xFFFF),
        )

    def _windows(self, arrivals: RowColumns, pair: I32, end_ns: int) -> RowColumns:
        """One row a pair, of the distinct records and their counts."""
        n_of = np.bincount(pair, arrivals.count)
        subject = np.flatnonzero(n_of)
        n = n_of[subject]
        service = self.pairs.parent[subject]
        lines = np.bincount(service, n)[service]
        if len(self._last_ns) <= subject[-1]:
            self._last_ns = np.concatenate([self._last_ns, np.zeros(max(int(subject[-1]) + 1, len(self._last_ns)), np.int64)])
        since = np.where(self._last_ns[subject] > 0, np.log1p(np.maximum(end_ns - self._last_ns[subject], 0) / 1e9), np.nan)
        self._last_ns[subject] = end_ns
        numbers = np.empty((len(subject), len(SCHEMA.numbers)), np.float32)
        for column, (name, x) in enumerate(zip(SCHEMA.numbers, (since, np.log(n), np.log(n / lines)), strict=True)):
            scales = self.scales[name]
            numbers[:, column] = quantised(scales.z(subject.astype(np.int32), self.pairs.parent, x))
            scales.take(subject.astype(np.int32), self.pairs.parent, x, end_ns)
        earliest = np.lexsort((arrivals.time_ns, pair))
        first = earliest[np.searchsorted(pair[earliest], subject)]  # a pair's severity and exception are those of its first record
        key = hash_rows(self.dictionaries, arrivals.codes[first], numbers)
        stamp = np.full(len(subject), end_ns - 1, np.int64)
        window = np.ones(len(subject), bool)
        return RowColumns(arrivals.codes[first], numbers, key, stamp, arrivals.environment[first], n.astype(np.int64), window)

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let what left quarantine count."""
        for scales in self.scales.values():
            scales.learn(until_ns, abnormal)

    def state(self) -> dict[str, Any]:
        """Pairs as texts, and what was learnt of them."""
        return {
            "pairs": self.pairs.texts(self.dictionaries[0], self.dictionaries[1]),
            "scales": {name: scales.state() for name, scales in self.scales.items()},
            "last_ns": self._last_ns.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.pairs.restore(state["pairs"], self.dictionaries[0], self.dictionaries[1])
        for name, scales in self.scales.items():
            scales.restore(state["scales"][name])
        self._last_ns = state["last_ns"].copy()


def exception_type(text: str) -> str:
    """The type that an exception text begins with, "" if there is no text.

    >>> exception_type("java.lang.IllegalStateException: no seat left")
    'java.lang.IllegalStateException'
    """
    words = text.split(None, 1)
    return words[0].rstrip(":")[:128] if words else ""
