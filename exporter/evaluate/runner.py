"""Runs `exporter.evaluate.stream` over recordings, a few processes at a time, and scores what each answers as it comes in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from exporter.evaluate.answers import answer_from, publication_from
from exporter.evaluate.nulls import Nulls, null_answers_from, partners
from exporter.evaluate.stream import Answers, Question
from exporter.evaluate.truth import Truth
from exporter.threads import ONE_THREAD

#: The last lines of what a process said before it ended badly.
LAST_LINES = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one recording: answers, or the reason why there are none."""

    truth: Truth
    answers: Answers | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How recordings are streamed."""

    without: tuple[str, ...] = ()
    rows: bool = True
    plain: bool = True
    jobs: int = 2


def run(truths: Sequence[Truth], options: Options, progress: Callable[[str], None]) -> Iterator[Outcome]:
    """Stream every recording in a process of its own, largest first; a recording that fails stops no other."""
    largest_first = sorted(truths, key=lambda truth: -truth.recording.stat().st_size)
    lent = partners(truths)
    with ThreadPoolExecutor(options.jobs) as waiting:  # a thread here only waits for its process
        tasks = {waiting.submit(stream_apart, truth, options, lent): truth for truth in largest_first}
        for done, task in enumerate(as_completed(tasks), 1):
            outcome = task.result()
            seconds = f"{outcome.answers.seconds:.1f} s" if outcome.answers else outcome.failure
            progress(f"[{done}/{len(tasks)}] {outcome.truth.recording.parent.name}/{outcome.truth.recording.name}: {seconds}")
            yield outcome


def stream_apart(truth: Truth, options: Options, lent: Mapping[tuple[Path, str], Nulls]) -> Outcome:
    """Stream one recording in a new process. The engine is told where to stop and explain, never what the answer is."""
    job = {
        "recording": os.fspath(truth.recording),
        "questions": [
            asdict(
                Question(
                    fault.case,
                    *fault.given_ns,
                    alert_ns=fault.alert_ns,
                    alert_metric=fault.alert_metric,
                    nulls=lent.get((truth.recording, fault.case)),
                )
            )
            for fault in truth.faults
        ],
        "without": options.without,
        "rows": options.rows,
        "plain": options.plain,
    }
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "exporter.evaluate.stream"],
        input=orjson.dumps(job),
        capture_output=True,
        check=False,
        env={**os.environ, **ONE_THREAD},
    )
    if ran.returncode != 0:
        said = ran.stderr.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        return Outcome(truth, None, f"exit status {ran.returncode} after {time.perf_counter() - began:.0f} s: " + " | ".join(said))
    return Outcome(truth, answers_from(orjson.loads(ran.stdout)))


def answers_from(data: dict[str, Any]) -> Answers:
    """Answers of their JSON form."""
    return Answers(
        **{
            **data,
            "explained": {case: answer_from(answer) for case, answer in data["explained"].items()},
            "published": [publication_from(publication) for publication in data["published"]],
            "nulls": {case: null_answers_from(said) for case, said in data["nulls"].items()},
            "recorded_ns": [(start, end) for start, end in data["recorded_ns"]],
        }
    )
