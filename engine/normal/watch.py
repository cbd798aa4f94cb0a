"""One source under watch: its rows are scored, wait, are learned, and become the next model's training set."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from engine.normal import encode
from engine.normal.features import ABSENT, OVERFLOW, Dictionary, RowColumns, Source
from engine.normal.index import Index, Meta
from engine.normal.learn import TrainingJob
from engine.normal.model import TrainedModel, embed
from engine.normal.reservoir import Reservoir
from engine.normal.score import Scores, score
from engine.records import F64, HOUR_NS, I32, I64, U64, Bool, Window
from engine.take.keys import KeyTable

FIRST_ROWS = 512
GROWTH = 4  # from one training to the next: at each doubling, most of those under 3,000 rows were refused, at 3 s of CPU each
TRAININGS_A_DAY = 4
#: After the first, second, third training of a day: the first rows of a busy system are all of its first minute, and a model that they did
#: not suffice for has another chance soon, but a busy first hour must not use up the day's.
APART_NS = (HOUR_NS // 4, HOUR_NS, 4 * HOUR_NS)
WINDOW_ROWS_A_SECOND = 500
BATCH_ROWS = 1024  # scored at a time
#: Unseen arrival rows scored a second of event time: what is left of the work after the records, at least 2000. By counts, never by a
#: clock: equal telemetry is scored alike on every machine.
LEAST_UNSEEN_A_SECOND = 2000
WORK_A_SECOND = 450_000  # records, or rows at ROW_WORK each
ROW_WORK = 50  # a row costs as much as 50 records: embedding, neighbours, fields in turn
CACHE_ROWS = 200_000
_DAY_NS = 24 * HOUR_NS


class Extractor(Protocol):
    """What makes rows of a window."""

    @property
    def dictionaries(self) -> tuple[Dictionary, ...]:
        """Of the categories, in the order of the schema."""
        ...

    def rows(self, window: Window) -> RowColumns | None:
        """Rows of a window, None if there is none."""
        ...

    @property
    def skipped(self) -> int:
        """Records that have no row: more combinations of categories came than there are codes."""
        ...

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let what left quarantine count."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON values and arrays; texts, never codes."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        ...


@dataclass(frozen=True, slots=True)
class Oddest:
    """The oddest row of each service in one window, and how many distinct rows the service had."""

    end_ns: int
    rows: RowColumns  # one a service
    nats: F64  # [s] of that row alone
    tried: I64  # [s] distinct rows of the service
    members: F64  # [s, 4]
    field: I32  # [s]
    distance: F64  # [s]


class Watch:
    """State of one source: extractor, model, reservoir, cache of scores by key."""

    def __init__(self, source: Source, extractor: Extractor, index: Index, *, seed: int, window_seconds: float) -> None:
        self.source, self.extractor, self.index = source, extractor, index
        self.reservoir = Reservoir(seed)
        self.model: TrainedModel | None = None
        self.refused = ""  # why the last model did not go live
        self.counts: Counter[str] = Counter()
        self._seed = seed
        self._window_rows = int(WINDOW_ROWS_A_SECOND * window_seconds)
        self._window_seconds = window_seconds
        self._tables: tuple[I32, ...] = ()
        self._cache = KeyTable(CACHE_ROWS)
        self._cached = np.zeros((7, 0))  # by code: nats, distance, field, members
        self._current = np.zeros(0, bool)  # by code: the score still holds
        self._next_rows = FIRST_ROWS
        self._trained_ns: deque[int] = deque(maxlen=TRAININGS_A_DAY)
        self._training = False

    def take(self, window: Window) -> Oddest | None:
        """Score the rows of a window, then let them wait; None without a model or rows."""
        rows = self.extractor.rows(window)
        if rows is None or not len(rows):
            return None
        at = np.flatnonzero(rows.window)
        if len(at) > self._window_rows:
            loudest = at[np.argsort(-rows.count[at], kind="stable")[: self._window_rows]]
            self.counts["skipped"] += len(at) - len(loudest)
            rows = rows.select(np.sort(np.concatenate([np.flatnonzero(~rows.window), loudest])))
        self.counts["rows"] += len(rows)
        self.counts["records"] += int(rows.count[~rows.window].sum())
        oddest = None if self.model is None else self._oddest(rows, window.end_ns)
        self.reservoir.wait(window.end_ns, rows)
        return oddest

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let rows that were normal into the reservoir and the index; those near them are scored anew when they come again."""
        self.extractor.learn(until_ns, abnormal)
        fresh = self.reservoir.learn(until_ns, abnormal)
        if fresh is not None and self.model is not None:
            codes, numbers = self._encoded(fresh)
            self._index(fresh, embed(self.model.weights, codes, numbers))
            known = self._cache.find(fresh.key.view(np.int64))
            self._current[known[known >= 0]] = False

    def due(self, now_ns: int, steps: int, pairs: int) -> TrainingJob | None:
        """A job when enough distinct rows came: 512, then four times as many, at most 4 in 24 h, `APART_NS`, one at a time."""
        if self._training or self.reservoir.learned < self._next_rows:
            return None
        lately = sum(now_ns - at_ns < _DAY_NS for at_ns in self._trained_ns)
        if lately >= TRAININGS_A_DAY or (lately and now_ns - self._trained_ns[-1] < APART_NS[lately - 1]):
            return None
        rows = self.reservoir.rows()
        if rows is None or len(rows) < FIRST_ROWS:
            return None
        self._training = True
        self._trained_ns.append(now_ns)
        self._next_rows = GROWTH * self.reservoir.learned
        encoder = encode.fit(rows, self.extractor.dictionaries)
        codes = encoder.codes(rows, encoder.tables(self.extractor.dictionaries))
        seed = self._seed + self.counts["trainings"]
        self.counts["trainings"] += 1
        return TrainingJob(
            source=self.source,
            encoder=encoder,
            codes=codes,
            numbers=encoder.numbers(rows),
            window=rows.window,
            key=rows.key,
            time_ns=rows.time_ns,
            seed=seed,
            steps=steps,
            pairs=pairs,
        )

    def adopt(self, model: TrainedModel | None) -> bool:
        """Take a trained model, if the gate passed it; None: the training came to nothing. The index starts anew from what is kept."""
        self._training = False
        if model is None:
            self.refused = "training came to nothing"
            return False
        if not model.report.passed:
            self.refused = model.report.refused
            self.counts["refused"] += 1
            return False
        self.refused = ""
        self._live(model)
        rows = self.reservoir.rows()
        self.index.clear(self.source)
        if rows is not None:
            self._index(rows, embed(model.weights, *self._encoded(rows)))
        return True

    def state(self) -> dict[str, Any]:
        """Extractor, kept rows and model; rows in quarantine are left out."""
        rows = self.reservoir.rows()
        return {
            "extractor": self.extractor.state(),
            "texts": [dictionary.texts[2:] for dictionary in self.extractor.dictionaries],
            "environments": self.index.environments.texts[2:],
            "rows": None if rows is None else {field.name: getattr(rows, field.name) for field in fields(RowColumns)},
            "learned": self.reservoir.learned,
            "next_rows": self._next_rows,
            "trained_ns": list(self._trained_ns),
            "trainings": self.counts["trainings"],
            "model": None if self.model is None else self.model.to_arrays(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the index is built anew from the kept rows."""
        own = [
            np.array([ABSENT, OVERFLOW, *map(dictionary.code, texts)], np.int32)
            for dictionary, texts in zip(self.extractor.dictionaries, state["texts"], strict=True)
        ]
        environment = np.array([ABSENT, OVERFLOW, *map(self.index.environments.code, state["environments"])], np.int32)
        self.extractor.restore(state["extractor"])
        if state["rows"] is not None:
            rows = RowColumns(**state["rows"])
            codes = np.stack([table[rows.codes[:, column]] for column, table in enumerate(own)], axis=1)
            self.reservoir.restore(replace(rows, codes=codes, environment=environment[rows.environment]), state["learned"])
        self._next_rows, self.counts["trainings"] = state["next_rows"], state["trainings"]
        self._trained_ns.extend(state["trained_ns"])
        if state["model"] is not None:
            self.adopt(TrainedModel.from_arrays(state["model"]))

    def _live(self, model: TrainedModel) -> None:
        self.model = model
        self._tables = model.encoder.tables(self.extractor.dictionaries)
        self._forget()

    def _encoded(self, rows: RowColumns) -> tuple[I32, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        assert self.model is not None
        return self.model.encoder.codes(rows, self._tables), self.model.encoder.numbers(rows)

    def _index(self, rows: RowColumns, vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        meta = Meta(rows.key, rows.codes[:, 0], rows.environment, rows.time_ns, rows.count)
        self.index.add(self.source, vectors, meta)

    def _oddest(self, rows: RowColumns, end_ns: int) -> Oddest | None:
        scored, done = self._scores(rows)
        if not done.all():
            rows, scored = rows.select(done), scored[:, done]
        if not len(rows):
            return None
        service = rows.codes[:, 0]
        order = np.lexsort((rows.key, scored[0], service))  # the key breaks ties, so that batches do not
        last = np.flatnonzero(np.diff(service[order], append=-1))
        best = order[last]
        tried = np.diff(last, prepend=-1)
        members = scored[3:, best].T
        return Oddest(end_ns, rows.select(best), scored[0, best], tried, members, scored[2, best].astype(np.int32), scored[1, best])

    def _scores(self, rows: RowColumns) -> tuple[F64, Bool]:
        """Columns nats, distance, field, 4 members [7, n], and which rows have them: the budget leaves some unseen ones out.

        Remembered for arrival rows, new for window rows and unseen ones. Over the budget the rows with the smallest keys are scored: a
        sample by a hash, whatever the order in which they came.
        """
        at = self._cache.find(rows.key.view(np.int64))
        known = (at >= 0) & np.append(self._current, False)[at]
        result = np.empty((7, len(rows)))
        result[:, known] = self._cached[:, at[known]]
        unseen, done = np.flatnonzero(~known), np.ones(len(rows), bool)
        arrived = unseen[~rows.window[unseen]]
        budget = self.budget(int(rows.count[~rows.window].sum()))
        if len(arrived) > budget:
            done[arrived[np.argsort(rows.key[arrived], kind="stable")[budget:]]] = False
            unseen = unseen[done[unseen]]
            self.counts["skipped"] += len(arrived) - budget
        for start in range(0, len(unseen), BATCH_ROWS):
            chosen = unseen[start : start + BATCH_ROWS]
            result[:, chosen] = self._score(rows.select(chosen))
        self.counts["scored"] += len(unseen)
        self.counts["remembered"] += int(known.sum())
        arrived = unseen[~rows.window[unseen]]
        self._remember(rows.key[arrived], result[:, arrived])
        return result, done

    def budget(self, records: int) -> int:
        """How many unseen arrival rows of a window with so many records are scored."""
        work = WORK_A_SECOND * self._window_seconds - records
        return int(max(LEAST_UNSEEN_A_SECOND * self._window_seconds, work / ROW_WORK))

    def _score(self, rows: RowColumns) -> F64:
        assert self.model is not None
        codes, numbers = self._encoded(rows)
        scores: Scores = score(self.model, codes, numbers, rows.window, self.index.distance(self.source))
        return np.concatenate([scores.nats[None], scores.distance[None], scores.field[None], scores.members.T])

    def _remember(self, key: U64, scored: F64) -> None:
        """Keep the scores [7, n] of keys [n]; a full cache begins anew."""
        if len(self._cache) + len(key) > CACHE_ROWS:
            self._forget()
        at = self._cache.intern(key.view(np.int64))
        room = len(self._cache) - len(self._current)
        if room > 0:
            room = max(room, len(self._current), 1024)
            self._cached = np.concatenate([self._cached, np.zeros((7, room))], axis=1)
            self._current = np.concatenate([self._current, np.zeros(room, bool)])
        kept = np.flatnonzero(at >= 0)
        self._cached[:, at[kept]], self._current[at[kept]] = scored[:, kept], True

    def _forget(self) -> None:
        self._cache.clear()
        self._cached, self._current = np.zeros((7, 0)), np.zeros(0, bool)


def as_text(rows: RowColumns, dictionaries: Sequence[Dictionary], at: int) -> tuple[str, ...]:
    """The texts of one row's categories."""
    return tuple(dictionary.texts[code] for dictionary, code in zip(dictionaries, rows.codes[at].tolist(), strict=True))
