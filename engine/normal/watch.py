"""One source under watch: its rows are scored, wait, are learned, and become the next model's training set."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from engine.normal import encode
from engine.normal.features import ABSENT, OVERFLOW, Dictionary, RowColumns, Source, key_of
from engine.normal.index import Index, Meta
from engine.normal.learn import TrainingJob
from engine.normal.model import TrainedModel, embed
from engine.normal.remembered import SCORES, Remembered
from engine.normal.reservoir import Reservoir
from engine.normal.score import Scores, score
from engine.records import F32, F64, HOUR_NS, I32, I64, Bool, Window

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
    """State of one source: extractor, model, reservoir, scores of rows that came before."""

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
        self._remembered = Remembered()
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
        """Let rows that were normal into the reservoir and the index; what is the same to the model is scored anew when it comes again."""
        self.extractor.learn(until_ns, abnormal)
        fresh = self.reservoir.learn(until_ns, abnormal)
        if fresh is not None and self.model is not None:
            codes, numbers = self._encoded(fresh)
            distinct, first, same = np.unique(key_of(codes, numbers, fresh.window), return_index=True, return_inverse=True)
            self._index(fresh, embed(self.model.weights, codes[first], numbers[first])[same])
            self._remembered.outdate(distinct)

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
        self._remembered.clear()

    def _encoded(self, rows: RowColumns) -> tuple[I32, F32]:
        assert self.model is not None
        return self.model.encoder.codes(rows, self._tables), self.model.encoder.numbers(rows)

    def _index(self, rows: RowColumns, vectors: F32) -> None:
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

        A score is a function of what the model reads of a row, so rows that differ in texts that it does not know are scored once.
        Remembered for arrival rows, new for window rows and unseen ones. Over the budget the rows with the smallest keys are scored: a
        sample by a hash, whatever the order in which they came.
        """
        codes, numbers = self._encoded(rows)
        key = key_of(codes, numbers, rows.window)
        result, done = np.empty((SCORES, len(rows))), np.ones(len(rows), bool)
        known, result[:, known] = self._remembered.find(key)
        unseen = np.flatnonzero(~known)
        distinct, first, same = np.unique(key[unseen], return_index=True, return_inverse=True)
        first = unseen[first]
        arrived = np.flatnonzero(~rows.window[first])
        over = arrived[self.budget(int(rows.count[~rows.window].sum())) :]
        chosen, scored = np.delete(np.arange(len(first)), over), np.empty((SCORES, len(first)))
        for start in range(0, len(chosen), BATCH_ROWS):
            some = chosen[start : start + BATCH_ROWS]
            scored[:, some] = self._score(codes[first[some]], numbers[first[some]], rows.window[first[some]])
        result[:, unseen] = scored[:, same]
        done[unseen] = ~np.isin(same, over)
        self.counts["scored"] += len(chosen)
        self.counts["remembered"] += int(done.sum()) - len(chosen)
        self.counts["skipped"] += int((~done).sum())
        arrived = np.setdiff1d(arrived, over, assume_unique=True)
        self._remembered.put(distinct[arrived], scored[:, arrived])
        return result, done

    def budget(self, records: int) -> int:
        """How many unseen arrival rows of a window with so many records are scored."""
        work = WORK_A_SECOND * self._window_seconds - records
        return int(max(LEAST_UNSEEN_A_SECOND * self._window_seconds, work / ROW_WORK))

    def _score(self, codes: I32, numbers: F32, window: Bool) -> F64:
        assert self.model is not None
        scores: Scores = score(self.model, codes, numbers, window, self.index.distance(self.source))
        return np.concatenate([scores.nats[None], scores.distance[None], scores.field[None], scores.members.T])


def as_text(rows: RowColumns, dictionaries: Sequence[Dictionary], at: int) -> tuple[str, ...]:
    """The texts of one row's categories."""
    return tuple(dictionary.texts[code] for dictionary, code in zip(dictionaries, rows.codes[at].tolist(), strict=True))
