"""Gathers outcomes into sets: each folder's, and the sums of nested ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.evaluate.answers import Answer, NamedCause
from exporter.evaluate.nulls import outcome as null_outcome
from exporter.evaluate.runner import Outcome
from exporter.evaluate.score import Found, change_outcome, found, given, rank_of, ranked
from exporter.evaluate.sets import FOUND, GIVEN, Detection, ScoredSet, as_recorded, original, set_name, sum_name
from exporter.evaluate.stream import Answers
from exporter.evaluate.truth import Truth


@dataclass(slots=True)
class Plain:
    """The plain methods on one set's cases."""

    ranks: dict[str, list[int | None]] = field(default_factory=dict)  # method -> the root's rank in each case
    changes: dict[str, list[str]] = field(default_factory=dict)  # method -> outcome of each case (exporter.evaluate.score)


@dataclass(slots=True)
class Evaluation:
    """Everything that the report and the JSON say."""

    sets: list[ScoredSet] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)  # of the recordings that could be streamed
    failures: list[str] = field(default_factory=list)
    plain: dict[str, Plain] = field(default_factory=dict)  # by set
    pages_false: int = 0
    wall_seconds: float = 0.0  # of everything, as many recordings at a time as were asked for
    nulls: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)  # by set: (variant, outcome) of exporter.evaluate.nulls

    @property
    def cpu_seconds(self) -> float:
        """Of all streams."""
        return sum(outcome.answers.cpu_seconds for outcome in self.outcomes if outcome.answers)

    def find(self, name: str, mode: str) -> ScoredSet | None:
        """A set in a mode."""
        return next((one for one in self.sets if (one.name, one.mode) == (name, mode)), None)


def gather(outcomes: Sequence[Outcome], given_path: Path) -> Evaluation:
    """Score the outcomes of the recordings below one path; sets by name, given before found."""
    evaluation = Evaluation()
    sets: dict[tuple[str, str], ScoredSet] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.truth.recording):
        truth, answers = outcome.truth, outcome.answers
        if answers is None:
            evaluation.failures.append(f"{truth.recording}: {outcome.failure}")
            continue
        evaluation.outcomes.append(outcome)
        asked, alone = given(truth, answers.explained), found(truth, answers.published)
        name = set_name(truth, given_path)
        for target in filter(None, (name, sum_name(name))):
            _named(sets, target, GIVEN).cases += asked
            _add_plain(evaluation.plain.setdefault(target, Plain()), truth, answers)
            _add_nulls(evaluation.nulls.setdefault(target, Counter()), truth, answers)
            if truth.detection:
                in_found = _named(sets, target, FOUND)
                in_found.cases += alone.cases
                in_found.detection = in_found.detection or Detection()
                _add(in_found.detection, outcome, alone)
            elif target == name:  # a sum counts in found mode only what detection can be scored on
                _named(sets, target, FOUND).cases += alone.cases
        evaluation.pages_false += alone.pages_false if truth.detection else 0
    evaluation.sets = [sets[key] for key in sorted(sets, key=lambda key: (key[0], key[1] != GIVEN))]
    return evaluation


def _named(sets: dict[tuple[str, str], ScoredSet], name: str, mode: str) -> ScoredSet:
    return sets.setdefault((name, mode), ScoredSet(name, mode))


def _add(detection: Detection, outcome: Outcome, alone: Found) -> None:
    """Add one recording's openings and hours."""
    assert outcome.answers is not None
    detection.extra += alone.extra
    detection.false |= {(*original(outcome.truth, time_ns), root) for time_ns, root in alone.false}
    detection.recorded_ns += as_recorded(outcome.truth, outcome.answers.recorded_ns)


def _add_nulls(nulls: Counter[tuple[str, str]], truth: Truth, answers: Answers) -> None:
    """Add what the null tests of one recording answered."""
    for fault in truth.faults:
        if fault.change is not None:
            true = (fault.change.id, *fault.change.carried_by)
            nulls.update((name, null_outcome(name, answer, true)) for name, answer in answers.nulls.get(fault.case, {}).items())


def _add_plain(plain: Plain, truth: Truth, answers: Answers) -> None:
    """Add the plain methods' answers on one recording."""
    for fault in truth.faults:
        for name, scores in answers.plain.get(fault.case, {}).items():
            causes = [NamedCause(service, score, score) for service, score in scores.items()]
            plain.ranks.setdefault(name, []).append(rank_of(fault.root, ranked(causes, truth.candidates)))
        if fault.change is not None:
            for name, id in answers.latest.get(fault.case, {}).items():
                plain.changes.setdefault(name, []).append(change_outcome(Answer(change=id), fault.change))
