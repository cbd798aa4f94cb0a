"""Rows of changes: what a service's deployments and settings usually look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal.features import SCHEMAS, Dictionary, RowColumns, Source, hash_rows
from engine.normal.sender import Senders, hours
from engine.records import Batch, Window

SCHEMA = SCHEMAS[Source.CONFIG]


class ChangeRows:
    """State: dictionaries. Counts enter as 2 ln(1 + count): files, lines and parameters have no past of their own."""

    def __init__(self, senders: Senders) -> None:
        self.senders = senders
        self.skipped = 0  # every record has a row
        self.dictionaries = (senders.services, Dictionary(64), senders.environments, Dictionary(4096))
        self._first_ns = 0

    def rows(self, window: Window) -> RowColumns | None:
        """One row a change; a change of a service that nobody names is of service ""."""
        changes = window.changes
        if not changes:
            return None
        self._first_ns = self._first_ns or changes[0].time_ns
        texts = [(change.service, f"{change.type} {change.kind}".strip(), change.environment, change.actor) for change in changes]
        codes = np.array([[table.code(text) for table, text in zip(self.dictionaries, row, strict=True)] for row in texts], np.int32)
        counts = [(change.files_changed, change.lines_added, change.lines_removed, len(change.params)) for change in changes]
        time_ns = np.array([change.time_ns for change in changes], np.int64)
        numbers = np.empty((len(changes), len(SCHEMA.numbers)), np.float32)
        numbers[:, :4] = np.round(2 * np.log1p(np.array(counts, np.float64)))
        numbers[:, 4] = hours(time_ns, self._first_ns)[0]
        key = hash_rows(self.dictionaries, codes, numbers)
        ones = np.ones(len(changes), np.int64)
        return RowColumns(codes, numbers, key, time_ns, codes[:, 2], ones, np.zeros(len(changes), bool))

    def arrivals(self, batch: Batch) -> None:
        """None before their window: changes are few."""

    def forget(self) -> None:
        """Nothing was given."""

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Nothing waits here."""

    def state(self) -> dict[str, Any]:
        """When the first change was seen."""
        return {"first_ns": self._first_ns}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._first_ns = state["first_ns"]
