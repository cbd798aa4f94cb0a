"""Rows of log records: one an equal record, and one a (service, template) and window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal.features import SCHEMAS, Dictionary, RowColumns, Source, Translation, distinct, hash_rows, quantised
from engine.normal.scales import Pairs, Scales
from engine.normal.sender import Senders
from engine.records import I64, Window
from engine.strings import Strings

SCHEMA = SCHEMAS[Source.LOGS]
_FLOORS = {"time since this template": 0.5, "count": 0.1, "share of the service's lines": 0.1}
_SEVERITIES = ("", "trace", "debug", "info", "warn", "error", "fatal")


class LogRows:
    """State: dictionaries, scales, and when a service last wrote a template."""

    def __init__(self, strings: Strings, senders: Senders) -> None:
        self.senders = senders
        self.dictionaries = (senders.services, Dictionary(), Dictionary(8), Dictionary(4096))
        _, templates, severities, exceptions = self.dictionaries
        self._template = Translation(templates, lambda code: strings.text("template", code))
        self._severity = Translation(severities, lambda code: _SEVERITIES[min((code + 3) // 4, 6)])
        self._exception = Translation(exceptions, lambda code: exception_type(strings.text("text", code)))
        self.pairs = Pairs()
        self.scales = {name: Scales(floor=floor) for name, floor in _FLOORS.items()}
        self._last_ns: I64 = np.zeros(256, np.int64)

    def rows(self, window: Window) -> RowColumns | None:
        """Distinct arrival rows, then window rows. Change events are logs, too: they are rows of another source."""
        logs = window.logs
        service = self.senders.service(logs.resource)
        named = np.flatnonzero((service > 0) & (logs.template > 0))
        if not len(named):
            return None
        service, resource, time_ns = service[named], logs.resource[named], logs.time_ns[named]
        template = self._template(logs.template[named])
        columns = [service, template, self._severity(logs.severity[named]), self._exception(logs.exception[named])]
        codes = np.stack(columns, axis=1)
        environment = self.senders.environment(resource)
        numbers = np.full((len(codes), len(SCHEMA.numbers)), np.nan, np.float32)
        key = hash_rows(self.dictionaries, codes, numbers)
        none = np.zeros(len(codes), bool)
        arrivals = distinct(RowColumns(codes, numbers, key, time_ns, environment, np.ones(len(codes), np.int64), none))
        pair = self.pairs(service, template)
        subject, first, at = np.unique(pair, return_index=True, return_inverse=True)
        n = np.bincount(at).astype(np.float64)
        lines = np.bincount(service)[service[first]]
        if len(self._last_ns) <= subject.max():
            self._last_ns = np.concatenate([self._last_ns, np.zeros(max(int(subject.max()) + 1, len(self._last_ns)), np.int64)])
        since = np.where(self._last_ns[subject] > 0, np.log1p(np.maximum(window.end_ns - self._last_ns[subject], 0) / 1e9), np.nan)
        self._last_ns[subject] = window.end_ns
        window_numbers = np.empty((len(subject), len(SCHEMA.numbers)), np.float32)
        for column, (name, x) in enumerate(zip(SCHEMA.numbers, (since, np.log(n), np.log(n / lines)), strict=True)):
            scales = self.scales[name]
            window_numbers[:, column] = quantised(scales.z(subject, self.pairs.parent, x))
            scales.take(subject, self.pairs.parent, x, window.end_ns)
        window_codes = codes[first]
        key = hash_rows(self.dictionaries, window_codes, window_numbers)
        stamp = np.full(len(subject), window.end_ns - 1, np.int64)
        windows = RowColumns(window_codes, window_numbers, key, stamp, environment[first], n.astype(np.int64), np.ones(len(subject), bool))
        return RowColumns.concat([arrivals, windows])

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let what left quarantine count."""
        for scales in self.scales.values():
            scales.learn(until_ns, abnormal, self.pairs.parent)

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
