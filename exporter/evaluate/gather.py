"""Gathers outcomes into sets: each folder's, and the sums of nested ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.evaluate.runner import Outcome
from exporter.evaluate.score import Found, found, given
from exporter.evaluate.sets import FOUND, GIVEN, Detection, ScoredSet, as_recorded, original, set_name, sum_name


@dataclass(slots=True)
class Plain:
    """The plain methods on one set's cases."""

    services: dict[str, list[dict[str, float]]] = field(default_factory=dict)  # method -> a case's service scores
    latest_deploy: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Evaluation:
    """Everything that the report and the JSON say."""

    sets: list[ScoredSet] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)  # of the recordings that could be streamed
    failures: list[str] = field(default_factory=list)
    pages_false: int = 0

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
