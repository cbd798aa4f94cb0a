"""Fits confidence on planted faults, each recording scored by constants that were fitted on the others.

    python -m exporter.evaluate.calibrate PATH...          (or: make calibrate)

No recorded fault is looked at: only stretches in which nothing happened. Prints how good each form of confidence is, how good the one in
use is on each recording that was left out, and the line to put into engine/judge/confidence.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.pipeline import confidence
from engine.records import F64, I64, Family
from exporter.evaluate.figures import auroc, brier, brier_of_constant, calibration_error
from exporter.evaluate.forms import FORMS, binary_log_loss, left_out
from exporter.evaluate.planting import stretches
from exporter.evaluate.report_confidence import SURE
from exporter.evaluate.tables import share, table
from exporter.evaluate.truth import Truth, load_all
from exporter.recording import RecordingError
from exporter.threads import ONE_THREAD

#: Recordings of a system: planted faults differ more between systems than between days.
OF_EACH_SYSTEM = 2
GAMMAS = (0.0, 0.25, 0.5)
LEAST_GAIN = 0.02  # nats a case, from which on PageRank is worth its place
HEAD = [
    "",
    "cases",
    "right",
    "log loss",
    "Brier",
    "constant's",
    "calibration error",
    "AUROC",
    f"right when >= {SURE}",
    f">= {SURE} when right",
]


def chosen(truths: Sequence[Truth], most: int) -> list[Truth]:
    """Of each system at most so many recordings that have quiet stretches: the first of each folder, then the second of each."""
    taken: Counter[str] = Counter()
    found = []
    in_folder: Counter[Path] = Counter()
    order = {}
    for truth in sorted(truths, key=lambda truth: truth.recording):
        order[truth.recording] = in_folder[truth.recording.parent]
        in_folder[truth.recording.parent] += 1
    for truth in sorted(truths, key=lambda truth: (order[truth.recording], truth.recording)):
        if taken[truth.system] < most and stretches(truth):
            taken[truth.system] += 1
            found.append(truth)
    return found


def planted(truth: Truth, seed: int) -> list[dict[str, Any]]:
    """What was said of the faults planted into one recording, by a process of its own. Raises: RecordingError if it fails."""
    command = [sys.executable, "-m", "exporter.evaluate.planting", os.fspath(truth.recording), str(seed)]
    ran = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **ONE_THREAD})
    if ran.returncode != 0:
        raise RecordingError(f"{truth.recording}: {ran.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
    found: list[dict[str, Any]] = orjson.loads(ran.stdout)
    return found


def case_from(one: dict[str, Any], weight: float) -> confidence.Case:
    """A case from its JSON form."""
    rows = {service: {Family(name): z for name, z in row.items()} for service, row in one["table"].items()}
    return confidence.Case(rows, one["service"], one["walk"], weight, one["roots"])


def row_of(name: str, said: F64, right: F64, weight: F64) -> list[str]:
    """One line of figures."""
    sure = said >= SURE
    yes = [bool(each) for each in right]
    return [
        name, str(len(yes)), str(sum(yes)), f"{binary_log_loss(said, right > 0, weight):.3f}", f"{brier(said.tolist(), yes) or 0:.3f}",
        f"{brier_of_constant(yes) or 0:.3f}", share(calibration_error(said.tolist(), yes)), share(auroc(said.tolist(), yes)),
        f"{int(right[sure].sum())} of {int(sure.sum())}", f"{int(right[sure].sum())} of {sum(yes)}",
    ]  # fmt: skip


def report(found: Sequence[dict[str, Any]]) -> str:
    """Tables, and the line for engine/judge/confidence.py."""
    names = sorted({one["recording"] for one in found})
    group = np.array([names.index(one["recording"]) for one in found])
    weight: F64 = 1.0 / np.bincount(group)[group] * len(found) / len(names)  # each recording counts alike
    cases = [case_from(one, float(w)) for one, w in zip(found, weight, strict=True)]
    kinds = Counter(one["kind"] for one in found)
    said, right, scores = np.zeros(len(cases)), np.zeros(len(cases)), _scores(cases)
    fits = left_out_fits(cases, group, 0.0)
    for at, case in enumerate(cases):
        first, said[at], _ = confidence.answer(case, fits[group[at]])
        right[at] = first != "" and first == case.truth
    by_form = [row_of(form.name, left_out(form, scores, right > 0, weight, group.tolist()), right, weight) for form in FORMS]
    by_recording = [row_of("all, each left out", said, right, weight)]
    for number, name in enumerate(names):
        own = group == number
        label = f"{Path(name).parent.name}/{Path(name).name.split('.')[0]} (k {fits[number].exponent:g}, unseen {fits[number].unseen:g})"
        by_recording.append(row_of(label, said[own], right[own], weight[own]))
    losses = {gamma: left_out_loss(cases, group, left_out_fits(cases, group, gamma)) for gamma in GAMMAS}
    gamma = min(losses, key=lambda gamma: (losses[gamma] + LEAST_GAIN * (gamma > 0), gamma))
    best = confidence.fit(cases, gammas=(gamma,))
    return "\n\n".join(
        [
            f"{len(cases)} planted faults: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}",
            "Forms, constants chosen on the other recordings:",
            table(HEAD, by_form),
            "The form in use, fitted on the other recordings:",
            table(HEAD, by_recording),
            "Log loss of the true service, left out: " + ", ".join(f"{loss:.3f} with gamma {one:g}" for one, loss in losses.items()),
            f"DEFAULT = Calibration(exponent={best.exponent}, unseen={best.unseen}, gamma={best.gamma})",
        ]
    )


def left_out_fits(cases: Sequence[confidence.Case], group: I64, gamma: float) -> list[confidence.Calibration]:
    """For each group the constants fitted on all others."""
    others = ([case for case, at in zip(cases, group, strict=True) if at != number] for number in range(int(group.max()) + 1))
    return [confidence.fit(rest, gammas=(gamma,)) for rest in others]


def left_out_loss(cases: Sequence[confidence.Case], group: I64, fits: Sequence[confidence.Calibration]) -> float:
    """Mean over the groups of the log loss of the true service."""
    own = ([case for case, at in zip(cases, group, strict=True) if at == number] for number in range(len(fits)))
    return float(np.mean([confidence.log_loss(some, fitted) for some, fitted in zip(own, fits, strict=True)]))


def _scores(cases: Sequence[confidence.Case]) -> F64:
    """Scores of each case, highest first."""
    rows = [sorted(confidence.case_scores(case).values(), reverse=True) for case in cases]
    scores = np.zeros((len(cases), max(2, *(len(row) for row in rows))))
    for at, row in enumerate(rows):
        scores[at, : len(row)] = row
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, ask, fit, print. Exit status 0; 2 without recordings that have quiet stretches, or when one cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m exporter.evaluate.calibrate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("path", nargs="+", type=Path, help="recording, or folder that holds recordings at any depth")
    parser.add_argument("--each", type=int, default=OF_EACH_SYSTEM, metavar="N", help="recordings of a system (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="recordings at a time, a process each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is planted (default: %(default)s)")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="keep the planted faults, and what was said of them, as JSON")
    args = parser.parse_args(arguments)
    began = time.perf_counter()
    try:
        truths = chosen([truth for path in args.path for truth in load_all(path)], args.each)
        if len(truths) < 2:
            raise RecordingError("at least two recordings with quiet stretches are needed")
        with ThreadPoolExecutor(args.jobs) as waiting:  # a thread here only waits for its process
            found = [one for part in waiting.map(planted, truths, range(args.seed, args.seed + len(truths))) for one in part]
    except RecordingError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 2
    if args.cases:
        args.cases.write_bytes(orjson.dumps(found))
    print(report(found))
    print(f"calibrate: {len(truths)} recordings in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
