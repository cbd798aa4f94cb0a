"""A stretch of a recording as one table of spans and one of log records, to be changed and made batches of again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from engine.records import U8, Batch, Bool
from engine.strings import Resources, Strings
from exporter.evaluate.columns import chosen, joined_batches
from exporter.evaluate.held_up import Forest, Hold, hold_up
from exporter.evaluate.planted_points import Gauges

FEWEST_VISITS = 5  # a service that does less in the stretch has nothing to go wrong with


class Stretch:
    """The batches of a stretch, their spans and records as one table each."""

    def __init__(self, batches: Sequence[Batch], strings: Strings, resources: Resources) -> None:
        self.batches, self.strings, self.resources = batches, strings, resources
        whole = joined_batches(batches)
        assert whole.spans is not None
        assert whole.logs is not None
        assert whole.links is not None
        self.links, self.spans, self.logs = whole.links, whole.spans, whole.logs
        self.forest = Forest(self.spans)
        names = np.array([resources[code].service for code in range(len(resources))], object)
        self.service = names[self.spans.resource] if len(self.spans.span) else np.zeros(0, object)
        parent = self.forest.parent
        self.entering: Bool = (parent < 0) | (self.service != self.service[parent]) if len(parent) else np.zeros(0, bool)
        keys = zip(self.spans.trace_hi.tolist(), self.spans.trace_lo.tolist(), self.spans.span.tolist(), strict=True)
        row_of = {key: row for row, key in enumerate(keys)}
        of_logs = zip(self.logs.trace_hi.tolist(), self.logs.trace_lo.tolist(), self.logs.span.tolist(), strict=True)
        self.log_span = np.array([row_of.get(key, -1) for key in of_logs], np.int64).reshape(len(self.logs.time_ns))
        self.gauges = Gauges(batches, strings, resources)

    def services(self, least: int = FEWEST_VISITS) -> list[str]:
        """Services with so many visits, by name."""
        names, counts = np.unique(self.service[self.entering].astype(str), return_counts=True)
        return [str(name) for name, count in zip(names, counts, strict=True) if name and count >= least]

    def moved(
        self,
        holds: Iterable[Hold],
        *,
        keep: Bool | None = None,
        keep_logs: Bool | None = None,
        status: U8 | None = None,
    ) -> tuple[Batch, ...]:
        """The batches with spans held up and the rest of what is not kept left out; spans and records come as one batch at the end."""
        spans, logs = self.spans, self.logs
        starts, ends, records = hold_up(self.forest, holds, self.log_span, logs.time_ns)
        start_ns = spans.start_ns + starts
        spans = replace(
            spans, start_ns=start_ns, time_ns=np.maximum(spans.time_ns + ends, start_ns), status=spans.status if status is None else status
        )
        logs = replace(logs, time_ns=logs.time_ns + records)
        links = self.links
        if keep is not None:
            place = np.cumsum(keep) - 1
            links = chosen(links, keep[links.row])
            links = replace(links, row=place[links.row])
            spans = chosen(spans, keep)
        if keep_logs is not None:
            logs = chosen(logs, keep_logs)
        rest = [replace(batch, spans=None, logs=None, links=None) for batch in self.batches]
        return (*rest, Batch(spans=spans, logs=logs, links=links))
