"""Family row: which service has a row that no normal row is near to, and which field of it is odd.

    s(window)   = -ln(1 - (1 - e^-max nats)^rows)      the oddest of the service's rows, searching through them paid for
    nats        = the smaller of s and its tail among the service's own past windows (the source's, while it has fewer than 30)
    Z           = sqrt(2 nats)

Rows see everything and explain nothing: they rank, and do not open incidents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.normal import tail
from engine.normal.change_rows import ChangeRows
from engine.normal.features import SCHEMAS, Schema, Source
from engine.normal.index import Index
from engine.normal.learn import TrainedModel, TrainingJob
from engine.normal.log_rows import LogRows
from engine.normal.lot import Oddest
from engine.normal.model import MEMBERS
from engine.normal.past import Past
from engine.normal.point_rows import PointRows
from engine.normal.sender import Senders
from engine.normal.span_rows import SpanRows
from engine.normal.watch import Extractor, Watch
from engine.records import F32, SECOND_NS, Batch, Evidence, Family, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings

LEAST_NATS = 2.0  # rarer than 1 in 7 among normal rows and among its own windows, or nothing is said
LEAST_WINDOW_NATS = 0.1
HISTORY_WINDOWS = 512  # of a service
POOL_WINDOWS = 4096  # of a source
KEPT_WINDOWS = 720


class Rows:
    """Rows of the four sources: `take`, then `learn`; `due` and `adopt` between windows."""

    def __init__(self, strings: Strings, resources: Resources, settings: EngineSettings) -> None:
        self.settings = settings
        self.senders = Senders(resources)
        self.index = Index(self.senders.services, self.senders.environments)
        extractors: dict[Source, Extractor] = {
            Source.LOGS: LogRows(strings, self.senders),
            Source.METRICS: PointRows(strings, self.senders),
            Source.TRACES: SpanRows(strings, self.senders),
            Source.CONFIG: ChangeRows(self.senders),
        }
        seconds = settings.window_ns / SECOND_NS
        self.watches = {
            source: Watch(source, extractor, self.index, seed=settings.seed + 1000 * number, window_seconds=seconds)
            for number, (source, extractor) in enumerate(extractors.items())
        }
        self._window: Window | None = None  # the last one, until its rows are made
        self._kept: dict[Source, deque[Oddest]] = {source: deque(maxlen=KEPT_WINDOWS) for source in extractors}
        self._past: dict[tuple[Source, str], Past] = {}
        self._waiting: deque[tuple[int, Source, str, float]] = deque()

    def arrive(self, batch: Batch) -> int | None:
        """Score what a batch brings that did not come before; how many rows are left to their window. None: no model reads any."""
        left = [rows for watch in self.watches.values() if (rows := watch.arrive(batch)) is not None]
        return sum(left) if left else None

    def rest(self) -> int:
        """Score rows of batches that wait for more of them; how many are left."""
        return sum(watch.rest() for watch in self.watches.values())

    def take(self, window: Window) -> None:
        """Take a window; its rows are made and scored, against what is normal now, when they are asked for, or as `work` comes to them."""
        self._finish()
        self._window = window

    def work(self, most: int) -> None:
        """Make the rows of the last window, then score at most so many of them: between two batches."""
        self._make()
        for watch in self.watches.values():
            most -= watch.work(most)

    def _make(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            for watch in self.watches.values():
                watch.take(window)

    def _finish(self) -> None:
        """Score what is left of the last window, and keep its oddest rows."""
        self._make()
        for source, watch in self.watches.items():
            oddest = watch.finish()
            if oddest is None:
                continue
            kept = self._kept[source]
            kept.append(oddest)
            while kept[0].end_ns < oddest.end_ns - self.settings.keep_ns:
                kept.popleft()
            paid = tail.largest_of(oddest.nats, oddest.tried.astype(np.float64))
            names = [self.senders.services.texts[code] for code in oddest.rows.codes[:, 0].tolist()]
            self._waiting.extend((oddest.end_ns, source, name, nats) for name, nats in zip(names, paid.tolist(), strict=True))

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let windows that ended by `until_ns` outside abnormal intervals become normal, after the last window's rows are scored."""
        self._finish()
        for watch in self.watches.values():
            watch.learn(until_ns, abnormal)
        while self._waiting and self._waiting[0][0] <= until_ns:
            end_ns, source, service, nats = self._waiting.popleft()
            if not any(start <= end_ns <= end for start, end in abnormal):
                self._past.setdefault((source, service), Past(HISTORY_WINDOWS)).add(end_ns, nats)
                self._past.setdefault((source, ""), Past(POOL_WINDOWS)).add(end_ns, nats)

    def due(self, now_ns: int) -> TrainingJob | None:
        """The next training, if one is due; each must end in `adopt` or `fail`."""
        for watch in self.watches.values():
            job = watch.due(now_ns, self.settings.training_steps, self.settings.training_pairs)
            if job is not None:
                return job
        return None

    def adopt(self, model: TrainedModel) -> bool:
        """Take a trained model; False (and `refusals` says why) if the gate refused it: the old one stays."""
        self._finish()
        return self.watches[model.source].adopt(model)

    def fail(self, source: str) -> None:
        """A training came to nothing: the old model stays, the next one due tries again. Raises: ValueError for no source."""
        self.watches[Source(source)].adopt(None)

    @property
    def refusals(self) -> dict[str, str]:
        """Why the last model of a source is not live, by source; absent where it is, or where none was due."""
        return {source.value: watch.refused for source, watch in self.watches.items() if watch.refused}

    def evidence(self, start_ns: int, end_ns: int) -> list[Evidence]:
        """At most one piece for each service and source: its oddest row in the windows of [start, end)."""
        self._finish()
        found = []
        for source, kept in self._kept.items():
            windows = [window for window in kept if start_ns < window.end_ns <= end_ns]
            for service, window, at, tried, paid in self._loudest(windows):
                reference = self._reference(source, service, start_ns)
                if reference is None:
                    continue
                nats = min(paid, float(reference.score(np.array([paid]))[0]))
                if nats >= LEAST_NATS:
                    found.append(self._piece(source, service, window, at, tried, nats, start_ns, end_ns))
        return sorted(found, key=lambda piece: (-piece.z, piece.service, piece.subject))

    def scores(self, start_ns: int, end_ns: int) -> tuple[tuple[str, str, float], ...]:
        """(service, source, nats) of every service with evidence in [start, end), for rca_anomaly_score_nats."""
        return tuple((piece.service, piece.unit, piece.score_nats) for piece in self.evidence(start_ns, end_ns))

    def distances(self, source: Source, start_ns: int, end_ns: int) -> dict[str, float]:
        """Largest mean distance to the 10 nearest normal rows by service: what k-NN alone would say."""
        self._finish()
        result: dict[str, float] = {}
        for window in self._kept[source]:
            if start_ns < window.end_ns <= end_ns:
                for code, distance in zip(window.rows.codes[:, 0].tolist(), window.distance.tolist(), strict=True):
                    service = self.senders.services.texts[code]
                    result[service] = max(result.get(service, 0.0), distance)
        return result

    def counts(self) -> dict[tuple[str, str], int]:
        """(source, what) -> number: rows, records, early, scored, remembered, skipped, trainings, refused, dropped, learned, indexed."""
        result: dict[tuple[str, str], int] = {}
        for source, watch in self.watches.items():
            own = {
                **watch.counts,
                "learned": watch.reservoir.learned,
                "dropped": watch.reservoir.dropped,
                "indexed": self.index.rows(source),
            }
            result |= {(source.value, what): count for what, count in own.items()}
        return result

    def dropped(self) -> dict[str, int]:
        """Rows that did not wait to be learnt, and records without a row, by reason."""
        result = {f"{source.value}_quarantine_full": watch.reservoir.dropped for source, watch in self.watches.items()}
        return result | {f"{source.value}_combinations_full": watch.extractor.skipped for source, watch in self.watches.items()}

    def state(self) -> dict[str, Any]:
        """What was learnt, as JSON values, arrays and texts. Kept windows and rows in quarantine are not part of it."""
        self._finish()
        past = [[source.value, service, known.entries()] for (source, service), known in self._past.items()]
        return {"past": past, "sources": {source.value: watch.state() for source, watch in self.watches.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an earlier `state`, in new Rows."""
        for source, service, entries in state["past"]:
            known = self._past[Source(source), service] = Past(HISTORY_WINDOWS if service else POOL_WINDOWS)
            for end_ns, nats in entries:
                known.add(end_ns, nats)
        for source, watch in self.watches.items():
            watch.restore(state["sources"][source.value])

    def _loudest(self, windows: Sequence[Oddest]) -> list[tuple[str, Oddest, int, int, float]]:
        """Services whose oddest row is rare even for so many tried: (service, window and position of the row, rows tried, nats)."""
        if not windows:
            return []
        service = np.concatenate([window.rows.codes[:, 0] for window in windows])
        nats = np.concatenate([window.nats for window in windows])
        of = np.repeat(np.arange(len(windows)), [len(window.nats) for window in windows])
        at = np.concatenate([np.arange(len(window.nats)) for window in windows])
        tried = np.bincount(service, np.concatenate([window.tried for window in windows]))
        order = np.lexsort((-of, nats, service))
        best = order[np.flatnonzero(np.diff(service[order], append=-1))]
        paid = tail.largest_of(nats[best], tried[service[best]])
        return [
            (self.senders.services.texts[service[row]], windows[of[row]], int(at[row]), int(tried[service[row]]), value)
            for row, value in zip(best.tolist(), paid.tolist(), strict=True)
            if value >= LEAST_NATS
        ]

    def _reference(self, source: Source, service: str, before_ns: int) -> tail.Tail | None:
        """Tail of the past window scores of the service, or of the source; None if there are not even those."""
        for name in (service, ""):
            known = self._past.get((source, name))
            if known is not None and len(past := known.until(before_ns)) >= tail.ENOUGH:
                return tail.fit(past, LEAST_WINDOW_NATS)
        return None

    def _piece(
        self, source: Source, service: str, window: Oddest, at: int, tried: int, nats: float, start_ns: int, end_ns: int
    ) -> Evidence:
        schema, texts = SCHEMAS[source], self._texts(source, window, at)
        field = int(window.field[at])
        name = schema.fields[field] if field >= 0 else "the row as a whole"
        odd = _value(schema, texts, window.rows.numbers[at], field)
        parts = ", ".join(f"{member} {value:.1f}" for member, value in zip(MEMBERS, window.members[at].tolist(), strict=True) if value > 0)
        kind = "window" if window.rows.window[at] else "single"
        sentence = (
            f"{service}: the oddest of {tried} {source.value} rows is {texts[1] or 'unnamed'}, where {name} is {odd} ({kind} row; "
            f"nats by member: {parts or 'none'}; rarer than its own windows by {nats:.1f} nats)"
        )
        return Evidence(
            family=Family.ROW,
            service=service,
            subject=f"{texts[1]}: {name}",
            start_ns=start_ns,
            end_ns=end_ns,
            z=tail.z_of(nats),
            observed=float(window.nats[at]),
            expected=float(np.log(max(tried, 1))),
            n=tried,
            unit=source.value,
            sentence=sentence,
            for_opening=False,
        )

    def _texts(self, source: Source, window: Oddest, at: int) -> tuple[str, ...]:
        dictionaries = self.watches[source].extractor.dictionaries
        return tuple(table.texts[code] for table, code in zip(dictionaries, window.rows.codes[at].tolist(), strict=True))


def _value(schema: Schema, texts: Sequence[str], numbers: F32, field: int) -> str:
    """What an odd field holds, in words: a text, a count (2 ln(1 + count) undone) or standard deviations (2 asinh(z) undone)."""
    if field < 0:
        return "far from all normal ones"
    categories = len(schema.categories)
    if field < categories:
        return f"“{texts[field]}”" if texts[field] else "absent"
    number = float(numbers[field - categories])
    if schema.fields[field] in {"hour of day", "day of week"}:
        return f"{number:.0f}"
    if schema.source == Source.CONFIG:
        return f"{np.expm1(number / 2):.0f}"
    return "absent" if np.isnan(number) else f"{np.sinh(number / 2):+.1f} standard deviations from usual"
