"""How sure: the tables of an evaluation about confidence, by set, pooled, and with constants fitted without the kind or the day."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.pipeline import confidence
from engine.records import F64, Verdict
from exporter.evaluate.figures import accuracy_at, auroc, brier, brier_of_constant, calibration_error, wilson
from exporter.evaluate.forms import FORMS, left_out, logs
from exporter.evaluate.gather import Evaluation
from exporter.evaluate.runner import Outcome
from exporter.evaluate.score import Scored, found, given
from exporter.evaluate.sets import FOUND, GIVEN, ScoredSet
from exporter.evaluate.tables import share, table
from exporter.evaluate.truth import Truth

#: A confidence from which an answer counts as sure.
SURE = 0.8
IN_USE = next(form for form in FORMS if form.name == "logs")
HEAD = [
    "set", "mode", "cases", "Brier", "constant's", "less by", "AUROC", "calibration error", f"right when >= {SURE}", "95 %",
    f">= {SURE} when right",
]  # fmt: skip


def confidence_table(evaluation: Evaluation) -> str:
    """How much the confidence is worth, by set and over all of them."""
    rows = [_row(one.name, one.mode, *one.confidences()) for one in evaluation.sets if one.confidences()[0]]
    for modes in ((GIVEN,), (FOUND,), (GIVEN, FOUND)):
        parts = [pooled(evaluation.sets, mode) for mode in modes]
        said, right = [c for part in parts for c in part[0]], [yes for part in parts for yes in part[1]]
        if said:
            rows.append(_row("all sets", " and ".join(modes), said, right))
    return table(HEAD, rows)


def pooled(sets: Sequence[ScoredSet], mode: str) -> tuple[list[float], list[bool]]:
    """(confidence, right) of all cases in a mode; sums of sets are left out."""
    names = {one.name for one in sets}
    said: list[float] = []
    right: list[bool] = []
    for one in sets:
        if one.mode == mode and not any(name.startswith(one.name + "/") for name in names):
            more_said, more_right = one.confidences()
            said, right = said + more_said, right + more_right
    return said, right


def left_out_tables(evaluation: Evaluation) -> str:
    """What is said of each kind of fault, and of each day, beside what constants of confidence fitted on all the others would say."""
    by_kind = _left_out(evaluation, lambda truth, case: f"{truth.system}: {case.fault.kind}")
    by_day = _left_out(evaluation, lambda truth, case: f"{truth.system}: {_day(truth)}")
    return f"{by_kind}\n\n{by_day}"


def _left_out(evaluation: Evaluation, group_of: Callable[[Truth, Scored], str]) -> str:
    rows = []
    every = [(mode, truth, case) for outcome in evaluation.outcomes for mode, truth, case in _cases(outcome)]
    names = sorted({group_of(truth, case) for _, truth, case in every})
    answered = [(mode, group_of(truth, case), case) for mode, truth, case in every if case.answer is not None]
    right = np.array([case.right for _, _, case in answered])
    scores = _scores([case for _, _, case in answered])
    groups = [names.index(name) for _, name, _ in answered]
    if len(set(groups)) < 2:
        return "All cases are of one kind, or one day: there is nothing to leave out."
    refitted = left_out(IN_USE, scores, right, np.ones(len(right)), groups)
    shipped = logs(scores, (confidence.DEFAULT.exponent, confidence.DEFAULT.unseen))
    said = np.array([case.answer.confidence if case.answer else 0.0 for _, _, case in answered])
    changed = np.clip(said + np.array([_left(case) for _, _, case in answered]) * (refitted - shipped), 0.0, 1.0)
    for name in names:
        own = [(mode, case) for mode, truth, case in every if group_of(truth, case) == name]
        at = np.array([other == name for _, other, _ in answered])
        ranks = {mode: [case.rank for its, case in own if its == mode] for mode in (GIVEN, FOUND)}
        first = [share(accuracy_at(ranks[mode], 1)) if ranks[mode] else "-" for mode in (GIVEN, FOUND)]
        yes = right[at].tolist()
        row = [name, str(len(ranks[GIVEN])), *first, share(brier(said[at].tolist(), yes)), share(brier(changed[at].tolist(), yes))]
        rows.append([*row, share(brier_of_constant(yes))])
    whole = right.tolist()
    figures = [share(brier(values.tolist(), whole)) for values in (said, changed)]
    rows.append(["all", str(sum(mode == GIVEN for mode, _, _ in every)), "", "", *figures, share(brier_of_constant(whole))])
    return table(["left out", "cases", "given AC@1", "found AC@1", "Brier", "constants of the others", "a constant's"], rows)


def _cases(outcome: Outcome) -> list[tuple[str, Truth, Scored]]:
    """Every case of a recording, given, and found where detection is scored."""
    if outcome.answers is None:
        return []
    cases = [(GIVEN, outcome.truth, case) for case in given(outcome.truth, outcome.answers.explained)]
    if outcome.truth.detection:
        cases += [(FOUND, outcome.truth, case) for case in found(outcome.truth, outcome.answers.published).cases]
    return cases


def _scores(cases: Sequence[Scored]) -> F64:
    """Scores of each case's services, highest first."""
    rows = [sorted((cause.score for cause in case.answer.causes), reverse=True) if case.answer else [] for case in cases]
    scores = np.zeros((len(rows), max(2, *(len(row) for row in rows))))
    for at, row in enumerate(rows):
        scores[at, : len(row)] = row
    return scores


def _left(case: Scored) -> float:
    """Share of the probability that is not settled by confirmed changes."""
    changes = case.answer.changes if case.answer else ()
    return max(0.0, 1 - sum(change.probability for change in changes if change.verdict == Verdict.CONFIRMED))


def _day(truth: Truth) -> str:
    """A recording of several faults is a day; recordings of one fault count by scenario, else all together."""
    return truth.recording.name.split(".")[0] if len(truth.faults) > 1 else truth.scenario or "all recordings"


def _row(name: str, mode: str, said: Sequence[float], right: Sequence[bool]) -> list[str]:
    sure = [yes for value, yes in zip(said, right, strict=True) if value >= SURE]
    score, constant = brier(said, right) or 0.0, brier_of_constant(right) or 0.0
    low, high = wilson(sum(sure), len(sure))
    return [
        name, mode, str(len(said)), f"{score:.3f}", f"{constant:.3f}", f"{1 - score / constant:.0%}" if constant else "-",
        share(auroc(said, right)), share(calibration_error(said, right)), f"{sum(sure)} of {len(sure)}", f"{low:.2f}-{high:.2f}",
        f"{sum(sure)} of {sum(right)}",
    ]  # fmt: skip
