"""Evidence from metrics: resources, call edges, stopped edges and golden signals behind one door."""

from __future__ import annotations

from collections.abc import Sequence

from engine.evidence.creep import creep_evidence
from engine.evidence.edge_gauge import edge_gauge_evidence, stopped_evidence
from engine.evidence.level import level_evidence
from engine.evidence.metric import ExcessFlow, excess_evidence, excess_flow
from engine.evidence.resource import utilisation_evidence
from engine.normal.days import Days
from engine.records import Evidence, TopologyEdge
from engine.settings import EngineSettings
from engine.take.points import SeriesStore

FOREVER_NS = 1 << 62


def series_evidence(
    store: SeriesStore, days: Days, edges: Sequence[TopologyEdge], start_ns: int, end_ns: int, *, spans: bool, traced: bool
) -> tuple[list[Evidence], ExcessFlow | None]:
    """Evidence of [start, end], and the excess flow that its golden signals show.

    `spans`: there are spans enough in the window; then they tell of latencies and failures, and their aggregates are not asked again.
    `traced`: spans told of them lately; then levels are of the few requests that left none, and open what nobody feels.
    """
    found = [*utilisation_evidence(store, start_ns, end_ns, days), *creep_evidence(days, start_ns, end_ns)]
    found += stopped_evidence(store, start_ns, end_ns)
    if spans:
        return found, None
    flow = excess_flow(store, edges, start_ns, end_ns)
    found += edge_gauge_evidence(store, start_ns, end_ns)
    if not traced:
        found += level_evidence(store, edges, start_ns, end_ns)
    return [*found, *excess_evidence(flow, start_ns, end_ns)], flow


class Latest:
    """The evidence of the latest points, until others come: series report every minute or five, steps come every ten seconds."""

    def __init__(self, store: SeriesStore, days: Days, settings: EngineSettings) -> None:
        self._store, self._days, self._settings = store, days, settings
        self._points = -1
        self._told = False, False
        self._until_ns = 0
        self._found: list[Evidence] = []

    def evidence(self, edges: Sequence[TopologyEdge], end_ns: int, *, spans: bool, traced: bool) -> list[Evidence]:
        """Evidence of the sliding span before `end_ns`, computed anew when points came or the last ones are too old to speak."""
        store = self._store
        if (store.points, (spans, traced)) != (self._points, self._told) or end_ns > self._until_ns:
            start_ns = end_ns - self._settings.sliding_ns
            self._found, flow = series_evidence(store, self._days, edges, start_ns, end_ns, spans=spans, traced=traced)
            wait_ns = max(self._settings.sliding_ns, flow.step_ns * 3 // 2) if flow else self._settings.sliding_ns
            self._points, self._told, self._until_ns = store.points, (spans, traced), end_ns + wait_ns
            if not self._found:  # nothing fades: only points can change that
                self._until_ns = FOREVER_NS
        return self._found
