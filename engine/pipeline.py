"""The front door: batches in, incidents out; one window after the other, in event time, always in the same order.

inbox -> changes, topology, series, traces, rows -> evidence -> incidents -> learn
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.evidence.edge_gauge import edge_gauge_evidence, stopped_evidence
from engine.evidence.resource import utilisation_evidence
from engine.evidence.traces import Traces
from engine.judge.finding import compose
from engine.judge.incident import Incidents
from engine.records import SECOND_NS, Attribution, Batch, Evidence, Family, Finding, Incident, Snapshot, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.clock import Clocks
from engine.take.inbox import Inbox
from engine.take.points import SeriesStore
from engine.topology import Topology

TRACE_FAMILIES = frozenset({Family.FLOW, Family.GAP, Family.SELF_TIME})


class Engine:
    """Everything between a batch and an incident. Not for several threads at once; `snapshot` may be read from any."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.settings = settings
        self.strings, self.resources = strings, resources
        self.clocks = Clocks(settings)
        self.inbox = Inbox(resources, settings)
        self.topology = Topology(strings, resources, settings)
        self.series = SeriesStore(strings, resources, settings)
        self.traces = Traces(strings, resources, settings)
        self.incidents = Incidents(settings)
        self.snapshot = Snapshot()
        self._gauges: tuple[int, int, list[Evidence]] = (0, 0, [])
        self._last_item_ns = 0

    def observe(self, batch: Batch, received_unix_ns: int) -> list[Incident]:
        """Take a batch; transitions of incidents in the windows that the watermark passed because of it."""
        for source, latest_ns in _latest(batch, self.resources):
            self.clocks.hear(source, latest_ns, received_unix_ns)
        self.inbox.put(batch)
        return self._close(self.clocks.advance(received_unix_ns))

    def advance(self, received_unix_ns: int) -> list[Incident]:
        """As `observe` when nothing came for a while: time goes on."""
        return self._close(self.clocks.idle(received_unix_ns))

    def finish(self) -> list[Incident]:
        """Close all windows: the end of a recording."""
        pending = self.inbox.pending()
        times = [int(columns.time_ns[-1]) for columns in (pending.spans, pending.logs, pending.points) if len(columns.time_ns)]
        return self._close(max(times) + self.settings.window_ns) if times else []

    def explain(self, start_ns: int, end_ns: int) -> Finding:
        """What broke in [start, end] and why, with everything that came so far; changes nothing."""
        evidence = self._evidence(start_ns, end_ns, self.inbox.pending())
        return compose(evidence, self.topology.edges(end_ns), Attribution("inconclusive", (), 0.0), start_ns, end_ns)

    def _close(self, watermark_ns: int | None) -> list[Incident]:
        published: list[Incident] = []
        if watermark_ns is not None:
            for window in self.inbox.windows(watermark_ns):
                published += self._step(window)
        return published

    def _step(self, window: Window) -> list[Incident]:
        self.topology.take(window)
        self.series.take(window)
        self.traces.take(window)
        start = window.end_ns - self.settings.sliding_ns
        evidence = self._evidence(start, window.end_ns, None)
        edges = self.topology.edges(window.end_ns)
        published = self.incidents.step(evidence, window.end_ns, self.explain, edges=edges)
        self.traces.learn(window.end_ns - self.settings.quarantine_ns, self.incidents.abnormal())
        return published

    def _evidence(self, start_ns: int, end_ns: int, pending: Window | None) -> list[Evidence]:
        found = self.traces.evidence(start_ns, end_ns, pending)
        series = self.series
        found += utilisation_evidence(series, start_ns, end_ns)
        found += stopped_evidence(series, start_ns, end_ns)
        if not any(item.family in TRACE_FAMILIES for item in found):
            found += edge_gauge_evidence(series, start_ns, end_ns)
        return found


def _latest(batch: Batch, resources: Resources) -> list[tuple[str, int]]:
    """Latest event time by source in a batch."""
    latest: dict[str, int] = {}
    for columns in (batch.spans, batch.logs, batch.points):
        if columns is None or not len(columns.time_ns):
            continue
        codes, at = np.unique(columns.resource, return_inverse=True)
        newest = np.zeros(len(codes), np.int64)
        np.maximum.at(newest, at.reshape(-1), columns.time_ns)
        for code, time_ns in zip(codes.tolist(), newest.tolist(), strict=True):
            resource = resources[code]
            source = resource.service or resource.host or resource.instance
            latest[source] = max(latest.get(source, 0), time_ns)
    return sorted(latest.items())
