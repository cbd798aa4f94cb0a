"""Streams one recording through an engine, once, and says what the engine answered: on its own, and where it was asked.

    python -m exporter.evaluate.stream < JOB.json > ANSWERS.json

Runs in a process of its own: a recording that fails takes no other with it, and the process that streams never sees the truth, only
the intervals to explain, and which changes the null tests take away once the answer is given.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.pipeline import Engine
from engine.records import MINUTE_NS, SECOND_NS, Batch, Family
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.ablation import rankings, steps
from exporter.evaluate.answers import Answer, Publication, answer_of, as_json, publication_of
from exporter.evaluate.baselines import MetricLog
from exporter.evaluate.nulls import NullAnswer, Nulls, null_answers, nulls_from
from exporter.recording import lines, span_of_time

#: Items of one line lie inside one slot; a window is explained when the slot that holds its end is over.
SLOT_NS = 10 * SECOND_NS
#: A longer gap was not recorded, however rarely the recording's series report.
LONGEST_GAP_NS = 10 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Question:
    """An interval to explain; `alert_ns` and `alert_metric` are for the plain methods, `nulls` for the null tests."""

    case: str
    start_ns: int
    end_ns: int
    alert_ns: int = 0
    alert_metric: str = ""
    nulls: Nulls | None = None  # told to the null tests, which run when the answer is given


@dataclass(slots=True)
class Answers:
    """What came of one recording."""

    lines: int = 0
    items: Counter[str] = field(default_factory=Counter)  # spans, logs, points
    explained: dict[str, Answer] = field(default_factory=dict)
    explain_seconds: dict[str, float] = field(default_factory=dict)
    published: list[Publication] = field(default_factory=list)
    plain: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # case -> method -> service -> score
    latest: dict[str, dict[str, str]] = field(default_factory=dict)  # case -> method -> change
    nulls: dict[str, dict[str, NullAnswer]] = field(default_factory=dict)  # case -> variant
    recorded_ns: list[tuple[int, int]] = field(default_factory=list)  # intervals without gaps
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def stream(recording: Path, questions: Sequence[Question], settings: EngineSettings, *, plain: bool = True) -> Answers:
    """Feed a recording to a new engine, in order, at full speed; received time is each line's own last time.

    A question is asked when the slot that holds its end is over, and at the end of the recording; asking changes nothing.
    """
    began, cpu_began = time.perf_counter(), time.process_time()
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, settings)
    metrics = MetricLog(strings, resources)
    answers = Answers()
    waiting = sorted(questions, key=lambda question: question.end_ns)
    slots: set[int] = set()

    def ask(question: Question) -> None:
        asked = time.perf_counter()
        finding = engine.explain(question.start_ns, question.end_ns)
        answers.explained[question.case] = answer_of(finding)
        answers.explain_seconds[question.case] = time.perf_counter() - asked
        if plain:
            answers.plain[question.case] = rankings(finding) | steps(engine, finding)
            if question.nulls is not None:
                answers.nulls[question.case] = null_answers(engine, finding, question.nulls)

    for line in lines(recording):
        batch = decode_json(line, strings, resources)
        answers.lines += 1
        times = span_of_time(batch)
        if times is None:
            continue
        slot = times[1] // SLOT_NS
        while waiting and slot > waiting[0].end_ns // SLOT_NS:
            ask(waiting.pop(0))
        slots.add(slot)
        _count(batch, answers.items)
        if plain:
            metrics.take(batch)
        answers.published += map(publication_of, engine.observe(batch, times[1]))
    for question in waiting:
        ask(question)
    answers.published += map(publication_of, engine.finish())
    for question in questions if plain else ():  # once, at the end: they look at a question's own time only
        answers.plain[question.case] |= metrics.scores(question.start_ns, question.end_ns, question.alert_metric)
        answers.latest[question.case] = metrics.latest(question.alert_ns)
    answers.recorded_ns = recorded(sorted(slots))
    answers.seconds, answers.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return answers


def recorded(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Intervals (ns) in which something was recorded, from the sorted 10 s slots that hold items.

    A gap longer than three usual ones (90 % quantile of the recording's gaps), or than 10 minutes, is a hole.
    >>> recorded([0, 6, 12, 60, 66])
    [(0, 130000000000), (600000000000, 670000000000)]
    """
    if not slots:
        return []
    at = np.asarray(slots, np.int64) * SLOT_NS
    gaps = np.diff(at)
    limit = min(LONGEST_GAP_NS, 3 * float(np.quantile(gaps, 0.9, method="lower"))) if len(gaps) else 0.0
    breaks = np.flatnonzero(gaps > limit)
    firsts, lasts = np.r_[at[0], at[breaks + 1]], np.r_[at[breaks], at[-1]] + SLOT_NS
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def _count(batch: Batch, items: Counter[str]) -> None:
    for name, columns in (("spans", batch.spans), ("logs", batch.logs), ("points", batch.points)):
        if columns is not None:
            items[name] += len(columns.time_ns)


def as_data(answers: Answers) -> dict[str, Any]:
    """JSON form of the answers; `exporter.evaluate.runner` reads it."""
    return {
        "lines": answers.lines,
        "items": dict(answers.items),
        "explained": {case: as_json(answer) for case, answer in answers.explained.items()},
        "explain_seconds": answers.explain_seconds,
        "published": [as_json(publication) for publication in answers.published],
        "plain": answers.plain,
        "latest": answers.latest,
        "nulls": {case: {name: asdict(one) for name, one in said.items()} for case, said in answers.nulls.items()},
        "recorded_ns": answers.recorded_ns,
        "seconds": answers.seconds,
        "cpu_seconds": answers.cpu_seconds,
    }


def settings_of(*, without: Sequence[str], rows: bool) -> EngineSettings:
    """Engine settings of a run: families left out by name, learned rows or none."""
    return EngineSettings(without=tuple(Family(name) for name in without), rows=rows)


def main() -> int:
    """Read a job on standard input, write the answers on standard output."""
    job = orjson.loads(sys.stdin.buffer.read())
    questions = [Question(**{**question, "nulls": nulls_from(question["nulls"])}) for question in job["questions"]]
    answers = stream(Path(job["recording"]), questions, settings_of(without=job["without"], rows=job["rows"]), plain=job["plain"])
    sys.stdout.buffer.write(orjson.dumps(as_data(answers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
