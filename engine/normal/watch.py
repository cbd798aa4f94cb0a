"""One source under watch: its rows are scored, wait, are learned, and become the next model's training set."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

import numpy as np

from engine import kernels
from engine.normal import encode
from engine.normal.features import ABSENT, OVERFLOW, Dictionary, RowColumns, Source, key_of
from engine.normal.index import Index, Meta
from engine.normal.learn import TrainingJob
from engine.normal.lot import Lot, Oddest
from engine.normal.model import TrainedModel, embed
from engine.normal.remembered import Remembered
from engine.normal.reservoir import Reservoir
from engine.normal.score import Scores, score
from engine.records import F32, F64, HOUR_NS, I32, Batch, Bool, Window

FIRST_ROWS = 512
GROWTH = 4  # from one training to the next: at each doubling, most of those under 3,000 rows were refused, at 3 s of CPU each
TRAININGS_A_DAY = 4
#: After the first, second, third training of a day: the first rows of a busy system are all of its first minute, and a model that they did
#: not suffice for has another chance soon, but a busy first hour must not use up the day's.
APART_NS = (HOUR_NS // 4, HOUR_NS, 4 * HOUR_NS)
WINDOW_ROWS_A_SECOND = 500
#: Rows of batches: as many are scored together at least, at most (10 to 40 ms), and as many wait at most; more are left to their window.
EARLY_LEAST, EARLY_ROWS, EARLY_MOST = 64, 256, 8192
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

    def arrivals(self, batch: Batch) -> tuple[I32, F32] | None:
        """Categories and numbers of the arrival rows of a batch, as they look before their window. None: nothing new since `forget`."""
        ...

    def forget(self) -> None:
        """Scores changed: `arrivals` gives rows again that it gave before."""
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
        self._lot: Lot | None = None  # rows of the last window, on their way to scores
        self._early = int(LEAST_UNSEEN_A_SECOND * window_seconds)  # unseen rows that may yet be scored before the next window
        self._left: tuple[I32, F32] = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)  # of batches, encoded, not scored yet
        self._cut = 0  # rows of batches that are left to their window
        self._next_rows = FIRST_ROWS
        self._trained_ns: deque[int] = deque(maxlen=TRAININGS_A_DAY)
        self._training = False

    def arrive(self, batch: Batch) -> int | None:
        """Score what batches bring that did not come before, oldest first, so that its window finds it done; how many rows are left.

        A few rows cost as much as many, so they wait until they are `EARLY_LEAST`, or for `rest`. None: no model reads any.
        """
        if self.model is None:
            return None
        found = self.extractor.arrivals(batch)
        if found is not None:
            codes, numbers = self._encoded(*found)
            key = key_of(codes, numbers, np.zeros(len(codes), bool))
            _, first = kernels.group(key)
            new = first[~self._remembered.find(key[first])[0]]
            kept = new[: EARLY_MOST - len(self._left[0])]
            self._cut += len(new) - len(kept)
            self._left = np.concatenate([self._left[0], codes[kept]]), np.concatenate([self._left[1], numbers[kept]])
        return self.rest() if len(self._left[0]) >= EARLY_LEAST else len(self._left[0]) + self._cut

    def rest(self) -> int:
        """Score rows of batches that wait for it, a piece of them; how many are left."""
        now = min(EARLY_ROWS, self._early)
        codes, numbers = self._left[0][:now], self._left[1][:now]
        if len(codes):
            self._left = self._left[0][len(codes) :], self._left[1][len(codes) :]
            self._early -= len(codes)
            self.counts["early"] += len(codes)
            arrival = np.zeros(len(codes), bool)
            self._remembered.put(key_of(codes, numbers, arrival), self._score(codes, numbers, arrival))
        return len(self._left[0]) + self._cut

    def take(self, window: Window) -> None:
        """Rows of a window: they wait for their scores (`work`, `finish`), and to be learned. The last window must be finished."""
        rows = self.extractor.rows(window)
        if rows is None or not len(rows):
            return
        at = np.flatnonzero(rows.window)
        if len(at) > self._window_rows:
            loudest = at[np.argsort(-rows.count[at], kind="stable")[: self._window_rows]]
            self.counts["skipped"] += len(at) - len(loudest)
            rows = rows.select(np.sort(np.concatenate([np.flatnonzero(~rows.window), loudest])))
        records = int(rows.count[~rows.window].sum())
        self.counts["rows"] += len(rows)
        self.counts["records"] += records
        if self.model is not None:
            self._lot = Lot(window.end_ns, rows, *self._encoded(rows.codes, rows.numbers), self._remembered, self.budget(records))
            self.counts["scored"] += self._lot.scored
            self.counts["skipped"] += self._lot.skipped
            self.counts["remembered"] += len(rows) - self._lot.scored - self._lot.skipped
        self._early, self._cut = int(LEAST_UNSEEN_A_SECOND * self._window_seconds), 0
        self.reservoir.wait(window.end_ns, rows)

    def work(self, most: int) -> int:
        """Score at most so many rows of the last window; how many were."""
        if self._lot is None:
            return 0
        before = len(self._lot)
        self._lot.work(self._score, most)
        return before - len(self._lot)

    def finish(self) -> Oddest | None:
        """Score what is left of the last window and say what was oddest in it, once; None without a model or rows."""
        lot, self._lot = self._lot, None
        if lot is None:
            return None
        lot.work(self._score, len(lot))
        return lot.oddest()

    def learn(self, until_ns: int, abnormal: Sequence[tuple[int, int]]) -> None:
        """Let rows that were normal into the reservoir and the index; what is the same to the model is scored anew when it comes again."""
        self.extractor.learn(until_ns, abnormal)
        fresh = self.reservoir.learn(until_ns, abnormal)
        if fresh is not None and self.model is not None:
            codes, numbers = self._encoded(fresh.codes, fresh.numbers)
            distinct, first, same = np.unique(key_of(codes, numbers, fresh.window), return_index=True, return_inverse=True)
            self._index(fresh, embed(self.model.weights, codes[first], numbers[first])[same])
            self._remembered.outdate(distinct)
            self.extractor.forget()

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
        codes = encoder.codes(rows.codes, encoder.tables(self.extractor.dictionaries))
        seed = self._seed + self.counts["trainings"]
        self.counts["trainings"] += 1
        return TrainingJob(
            source=self.source,
            encoder=encoder,
            codes=codes,
            numbers=encoder.numbers(rows.numbers),
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
            self._index(rows, embed(model.weights, *self._encoded(rows.codes, rows.numbers)))
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
        width = len(model.encoder.vocabulary), len(model.encoder.used)
        self._left = np.zeros((0, width[0]), np.int32), np.zeros((0, width[1]), np.float32)
        self.extractor.forget()

    def _encoded(self, codes: I32, numbers: F32) -> tuple[I32, F32]:
        assert self.model is not None
        return self.model.encoder.codes(codes, self._tables), self.model.encoder.numbers(numbers)

    def _index(self, rows: RowColumns, vectors: F32) -> None:
        meta = Meta(rows.key, rows.codes[:, 0], rows.environment, rows.time_ns, rows.count)
        self.index.add(self.source, vectors, meta)

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
