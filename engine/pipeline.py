"""The front door: batches in, incidents out; one window after the other, in event time, always in the same order.

inbox -> changes, topology, series, traces, rows -> evidence -> incidents -> learn -> snapshot
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import kernels
from engine.evidence.absence import silent_services
from engine.evidence.rows import Rows
from engine.evidence.series import Latest, series_evidence
from engine.evidence.traces import Traces
from engine.judge import confidence
from engine.judge.conclude import conclude
from engine.judge.context import build_context
from engine.judge.incident import Incidents
from engine.judge.resume import resume
from engine.normal.days import Days
from engine.normal.learn import TrainedModel, TrainingJob, train
from engine.records import HOUR_NS, MINUTE_NS, Batch, ConfigChange, Evidence, Family, Finding, Incident, Snapshot, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.changes import Changes
from engine.take.clock import Clocks
from engine.take.inbox import TAIL_NS, Inbox
from engine.take.points import SeriesStore
from engine.take.presence import Presence
from engine.take.texts import Texts
from engine.topology import Topology

__all__ = ["Engine", "TrainedModel", "TrainingJob", "confidence", "train"]

#: Rows of the last window that are scored after each batch: 5 to 20 ms.
PIECE = 128
#: For so long after spans told of latencies, gauges of them open nothing: a quiet night is no lack of spans.
TRACED_NS = 24 * HOUR_NS
TRACE_FAMILIES = frozenset({Family.FLOW, Family.GAP, Family.SELF_TIME})


class Engine:
    """Everything between a batch and an incident. Not for several threads at once; `snapshot` may be read from any."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.settings = settings
        self.strings, self.resources = strings, resources
        self.clocks = Clocks(resources, settings)
        self.inbox = Inbox(resources, settings)
        self.presence = Presence(resources)
        self.changes = Changes(resources, settings)
        self.topology = Topology(strings, resources, settings)
        self.texts = Texts(strings, resources, settings)
        self.series = SeriesStore(strings, resources, settings)
        self.traces = Traces(strings, resources, settings)
        self.rows = Rows(strings, resources, settings)
        self.incidents = Incidents(settings)
        self.snapshot = Snapshot()
        self.rows_left: int | None = None  # rows of batches so far that are not scored yet; None: no model reads the last one
        self.days = Days(settings)
        self._latest = Latest(self.series, self.days, settings)
        self._traced_ns: int | None = None  # when spans told of latencies last
        self._silent: list[Evidence] = []  # of the last whole minutes
        self._learnt: tuple[int, list[tuple[int, int]]] | None = None  # end of the last window, and what was abnormal
        self._hurried = 0  # times that windows closed for want of room
        self._anomalies: Counter[tuple[str, str]] = Counter()
        self._ahead: tuple[Window, int | None, SeriesStore, Texts] | None = None  # what explanations read: with what still waits

    def observe(self, batch: Batch, received_unix_ns: int) -> list[Incident]:
        """Take a batch; transitions of incidents in the windows that the watermark passed because of it."""
        for columns in (batch.spans, batch.logs, batch.points):
            if columns is not None and len(columns.time_ns):
                _, newest = kernels.bounds(columns.resource, columns.time_ns, len(self.resources))
                codes = np.flatnonzero(newest > np.iinfo(np.int64).min)
                self.clocks.hear(codes, newest[codes], received_unix_ns)
        self.inbox.put(batch)
        self.rows_left = self.rows.arrive(batch) if self.settings.rows and self.settings.live else None
        closed_ns = self.inbox.window_end_ns
        published = self._close(self.clocks.advance(received_unix_ns)) + self._make_room(received_unix_ns)
        if self.settings.live and closed_ns == self.inbox.window_end_ns:
            self.rows.work(PIECE)
        return published

    @property
    def full(self) -> bool:
        """Whether there is no room for items until `advance` can close the window that is still open; refuse senders till then."""
        return self.inbox.full

    def rest(self) -> None:
        """Nothing waits to be observed: do what waits for that. Rows of the last batches are scored."""
        if self.rows_left:
            self.rows_left = self.rows.rest()

    def advance(self, received_unix_ns: int) -> list[Incident]:
        """As `observe` when nothing came for a while: time goes on."""
        return self._close(self.clocks.idle(received_unix_ns)) + self._make_room(received_unix_ns)

    def finish(self) -> list[Incident]:
        """Close all windows: the end of a recording."""
        last_ns = self.inbox.latest_ns or self.inbox.last_item_ns
        # as far as windows go on live when nothing comes any more: what the last items opened is decided in them
        return self._close(last_ns + self.settings.window_ns + TAIL_NS) if last_ns else []

    def explain(self, start_ns: int, end_ns: int) -> Finding:
        """What broke in [start, end] and why, with everything that came so far; changes nothing. Raises: ValueError if it is empty.

        People ask for hours from the alert on. Where so long a span shows too little, what was found of an incident that was active in
        it is the answer; the finding's own times say which minutes it is about.
        """
        finding = self.explain_span(start_ns, end_ns)
        known = self.incidents.surest(start_ns, end_ns) if finding.verdict == "inconclusive" else None
        return known if known and known.confidence > finding.confidence else finding

    def explain_span(self, start_ns: int, end_ns: int) -> Finding:
        """As `explain`, by what the span itself shows."""
        return self.explain_had_there_been(start_ns, end_ns, (self.known_changes(end_ns),))[0]

    def known_changes(self, end_ns: int) -> list[ConfigChange]:
        """What `explain` weighs for a span that ends then: the changes of the last hours, those that wait included."""
        waiting = self.inbox.pending().changes
        known = {change.id: change for change in (*waiting, *self.changes.between(end_ns - self.settings.changes_ns, end_ns))}
        return list(known.values())

    def explain_had_there_been(self, start_ns: int, end_ns: int, changes: Sequence[Sequence[ConfigChange]]) -> list[Finding]:
        """What `explain` would say of the same telemetry with other changes than those that came, for each list of them.

        What an innocent change is blamed for when the guilty one was never told is found out this way.
        """
        pending = self.inbox.pending()
        edges = self.topology.edges(end_ns)
        series, texts = self._with(pending)
        evidence = self.traces.evidence(start_ns, end_ns, pending)
        found, flow = series_evidence(series, self.days, edges, start_ns, end_ns, spans=_has_spans(evidence), traced=self._traced(end_ns))
        silent = silent_services(self.presence, start_ns, end_ns)
        evidence = self._wanted([*evidence, *found, *silent, *self._odd_rows(start_ns, end_ns)])
        context = build_context(evidence, flow, series, texts, edges, start_ns, end_ns)
        return [conclude(evidence, edges, some, context, start_ns, end_ns, self.settings) for some in changes]

    def under(self, settings: EngineSettings) -> Engine:
        """The same state under other settings, to be asked (`explain`) and not to be fed: what a part of the method is worth."""
        other = copy.copy(self)
        other.settings, other.traces = settings, self.traces.under(settings)
        return other

    def due(self, now_ns: int) -> TrainingJob | None:
        """A training that should run now, in a process beside this one; it must end in `adopt`."""
        return self.rows.due(now_ns) if self.settings.rows else None

    def adopt(self, model: TrainedModel) -> bool:
        """Take a trained model from now on; False if it did not pass the gate."""
        return self.rows.adopt(model)

    def state(self) -> dict[str, Any]:
        """What was learnt and which incidents live, as JSON values, arrays and texts. Items that wait are not part of it."""
        return {
            "watermark_ns": self.inbox.window_end_ns or 0,
            "presence": self.presence.state(),
            "changes": self.changes.state(),
            "topology": self.topology.state(),
            "texts": self.texts.state(),
            "series": self.series.state(),
            "days": self.days.state(),
            "traces": self.traces.state(),
            "rows": self.rows.state(),
            "incidents": self.incidents.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`, in a new engine."""
        self.inbox.resume(state["watermark_ns"])
        for name in ("presence", "changes", "topology", "texts", "series", "days", "traces", "rows", "incidents"):
            if name in state:  # a state of an earlier version has no days
                getattr(self, name).restore(state[name])
        self._publish(state["watermark_ns"], [])

    def resume(self, published: Sequence[Incident]) -> None:
        """After `restore`, or instead of it: lay incidents over the state that were published after it was taken."""
        resume(self.incidents, published)
        self._publish(self.inbox.window_end_ns or 0, [])

    def _close(self, watermark_ns: int | None, ahead_ns: int = HOUR_NS) -> list[Incident]:
        published: list[Incident] = []
        if watermark_ns is not None:
            for window in self.inbox.windows(watermark_ns, ahead_ns):
                published += self._step(window)
        return published

    def _make_room(self, received_unix_ns: int) -> list[Incident]:
        """Where more items wait than may, close windows before all senders could be waited for: the late join later windows.

        What a wrong clock dates ahead does not hold the room either.
        """
        if not self.inbox.full:
            return []
        closed_ns = self.inbox.window_end_ns
        published = self._close(self.clocks.hurry(received_unix_ns), self.settings.ahead_ns)
        self._hurried += closed_ns != self.inbox.window_end_ns
        return published

    def _step(self, window: Window) -> list[Incident]:
        settings, end_ns = self.settings, window.end_ns
        self._ahead = None
        if settings.rows and self._learnt is not None:
            self._learn_rows(*self._learnt)
        self._take(window)
        self.days.take(self.series, end_ns)
        edges = self.topology.edges(end_ns)
        evidence = self.traces.evidence(end_ns - settings.sliding_ns, end_ns)
        spans = _has_spans(evidence)
        self._traced_ns = end_ns if spans else self._traced_ns
        evidence += self._latest.evidence(edges, end_ns, spans=spans, traced=self._traced(end_ns))
        if end_ns % MINUTE_NS == 0:
            self._silent = silent_services(self.presence, end_ns, end_ns)
        evidence = self._wanted(evidence + self._silent)
        published = self.incidents.step(evidence, end_ns, self.explain_span, edges=edges, learning=self.presence.learning())
        abnormal = self.incidents.abnormal()
        self.traces.learn(end_ns - settings.quarantine_ns, abnormal)
        self._learnt = end_ns, abnormal
        if settings.live or published or end_ns % MINUTE_NS == 0:  # inline nobody looks at every window
            self._publish(end_ns, evidence)
        return published

    def _traced(self, now_ns: int) -> bool:
        """Whether spans told of latencies in the last day."""
        return self._traced_ns is not None and now_ns - self._traced_ns < TRACED_NS

    def _take(self, window: Window) -> None:
        self.traces.take(window)  # traces end in windows without items, too
        if not _is_empty(window):
            for branch in (self.presence, self.changes, self.topology, self.texts, self.series):
                branch.take(window)
            if self.settings.rows:
                self.rows.take(window)

    def _learn_rows(self, end_ns: int, abnormal: list[tuple[int, int]]) -> None:
        """Rows learn what the last window let them when the next one comes: until then its own rows are scored, between batches.

        Inline, a training that is due runs at once; `live`, a process beside does it.
        """
        self.rows.learn(end_ns - self.settings.quarantine_ns, abnormal)
        if self.settings.live:
            return
        while (job := self.rows.due(end_ns)) is not None:
            self.rows.adopt(train(job))

    def _odd_rows(self, start_ns: int, end_ns: int) -> list[Evidence]:
        return self.rows.evidence(start_ns, end_ns) if self.settings.rows else []

    def _wanted(self, evidence: list[Evidence]) -> list[Evidence]:
        return [item for item in evidence if item.family not in self.settings.without]

    def _with(self, pending: Window) -> tuple[SeriesStore, Texts]:
        """Series and texts, with what no window held yet; one copy for all explanations of a window."""
        if not (len(pending.points.time_ns) or len(pending.logs.time_ns) or len(pending.spans.time_ns)):
            return self.series, self.texts
        if self._ahead is None or self._ahead[0] is not pending or self._ahead[1] != self.inbox.window_end_ns:
            # values that never change need no copy: keys of series are most of what would be copied
            shared: dict[int, Any] = {id(one): one for one in (self.strings, self.resources, self.settings, *self.series.keys)}
            series, texts = copy.deepcopy((self.series, self.texts), shared)
            series.take(pending)
            texts.take(pending)
            self._ahead = pending, self.inbox.window_end_ns, series, texts
        return self._ahead[2:]

    def _publish(self, now_ns: int, evidence: list[Evidence]) -> None:
        scores: dict[tuple[str, str], float] = {}
        for item in evidence:
            key = item.service, item.family.value
            scores[key] = max(scores.get(key, 0.0), item.score_nats)
            if item.for_opening and item.z >= self.incidents.detector.threshold(item.family):
                self._anomalies[key] += 1
        dropped = {("inbox", f"{what}_{reason}"): count for (what, reason), count in self.inbox.dropped.items()}
        dropped |= {("traces", reason): count for reason, count in self.traces.counters().items()}
        dropped |= {("series", reason): count for reason, count in self.series.dropped.items()}
        dropped |= {("days", "subjects_full"): self.days.refused}
        dropped |= {("topology", reason): count for reason, count in self.topology.dropped.items()}
        dropped |= {("rows", reason): count for reason, count in self.rows.dropped().items()}
        dropped |= {("changes", reason): count for reason, count in self.changes.dropped.items()}
        dropped |= {("strings", kind): count for kind, count in self.strings.overflowed.items()}
        self.snapshot = Snapshot(
            watermark_ns=now_ns,
            incidents=self.incidents.active(),
            services=self.presence.statuses(),
            edges=self.topology.edges(now_ns),
            scores=tuple((service, family, nats) for (service, family), nats in sorted(scores.items())),
            counters=(
                *(
                    ("rca_anomalies_total", (("service_name", service), ("signal", family)), float(count))
                    for (service, family), count in sorted(self._anomalies.items())
                ),
                *(
                    ("rca_rows_total", (("source", source), ("what", what)), float(count))
                    for (source, what), count in sorted(self.rows.counts().items())
                    if count and what != "indexed"  # which may fall
                ),
                ("rca_engine_hurried_total", (), float(self._hurried)),
                *(("rca_traces_share_ratio", (("place", place),), share) for place, share in self.traces.shares(now_ns).items()),
            ),
            dropped=tuple((what, reason, float(count)) for (what, reason), count in sorted(dropped.items()) if count),
        )


def _is_empty(window: Window) -> bool:
    return not (len(window.spans.time_ns) or len(window.logs.time_ns) or len(window.points.time_ns) or window.changes)


def _has_spans(evidence: list[Evidence]) -> bool:
    """Whether spans told of latencies: then the series' aggregates of them are not asked."""
    return any(item.family in TRACE_FAMILIES for item in evidence)
