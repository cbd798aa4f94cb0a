"""Attribution of changes, on the authored incidents: who did it, and what is said when nobody known did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from engine.judge.attribute import NONE_AT, SUSPECTS_MOST, attribute
from engine.records import MINUTE_NS, Attribution, ConfigChange, Verdict
from tests import authored
from tests.bench.attribution import SPLITS, figures, split_of
from tests.bench.compare_changes import Case, cases, right

NAMES = authored.names()


@cache
def incidents() -> dict[str, Case]:
    """All authored incidents, read."""
    return {case.name: case for case in cases("authored")}


def confirmed(attribution: Attribution) -> list[str]:
    """Ids of the changes that are confirmed."""
    return [verdict.change.id for verdict in attribution.verdicts if verdict.verdict is Verdict.CONFIRMED]


def culprit(case: Case) -> set[str]:
    """The change that did it and the deploys that carried it."""
    return {case.truth.id, *case.truth.carried_by}


def of_split(split: str) -> list[Case]:
    """Incidents of a split."""
    return [case for name, case in incidents().items() if split_of(name) == split]


@pytest.mark.parametrize(
    ("split", "right_least", "suspected_least", "none_least", "decoys_most"),
    [
        ("old", 0.9, 0.95, 1.0, 0),
        ("dev", 0.95, 0.95, 1.0, 0),
        ("test", 0.85, 0.95, 1.0, 1),
        ("late", 0.7, 0.9, 0.9, 3),
        ("last", 0.9, 0.95, 1.0, 0),
        ("seen", 0.7, 0.85, 0.75, 3),
        ("kept", 0.6, 0.85, 0.75, 0),
        ("blind", 0.6, 0.9, 0.75, 4),
    ],
)
def test_culprits_are_named_or_suspected_and_innocent_changes_left_alone(
    split: str, right_least: float, suspected_least: float, none_least: float, decoys_most: int
) -> None:
    found = figures([(case, attribute(case.changes, case.context)) for case in of_split(split)])
    assert found.right >= right_least * found.culprits
    assert found.suspected >= suspected_least * found.culprits
    assert found.none_right >= none_least * (found.cases - found.culprits)
    assert found.decoys_named <= decoys_most
    assert found.decoys_confirmed == 0


@pytest.mark.parametrize(
    ("split", "most"), [("old", 0), ("dev", 1), ("test", 0), ("late", 0), ("last", 0), ("seen", 0), ("kept", 0), ("blind", 1)]
)
def test_without_the_culprit_hardly_anyone_is_confirmed(split: str, most: int) -> None:
    rests = [(case, [change for change in case.changes if change.id not in culprit(case)]) for case in of_split(split)]
    assert sum(bool(confirmed(attribute(rest, case.context))) for case, rest in rests if case.truth.id != "none") <= most


@pytest.mark.parametrize("name", NAMES)
def test_a_culprit_that_went_live_afterwards_is_ruled_out(name: str) -> None:
    case = incidents()[name]
    late = case.context.symptom_ns + 10 * MINUTE_NS
    moved = [replace(change, time_ns=late) if change.id in culprit(case) else change for change in case.changes]
    attribution = attribute(moved, case.context)
    assert {v.verdict for v in attribution.verdicts if v.change.id == case.truth.id} <= {Verdict.RULED_OUT}


@pytest.mark.parametrize("split", SPLITS)
def test_changes_of_another_incident_confirm_nothing(split: str) -> None:
    found = of_split(split)
    for case, other in zip(found, [*found[1:], found[0]], strict=True):
        shift = case.context.start_ns - other.context.start_ns
        changes = [replace(change, time_ns=change.time_ns + shift) for change in other.changes]
        assert not confirmed(attribute(changes, case.context))


def test_another_culprit_beside_the_true_one_does_not_take_its_place() -> None:
    guilty, named = [case for case in incidents().values() if case.truth.id != "none"], 0
    for case, other in zip(guilty, [*guilty[1:], guilty[0]], strict=True):
        shift = case.context.start_ns - other.context.start_ns
        added = [
            replace(change, id=f"other-{change.id}", revision=f"other-{change.revision}", time_ns=change.time_ns + shift)
            for change in other.changes
            if change.id in culprit(other)
        ]
        attribution = attribute([*case.changes, *added], case.context)
        assert not any(name.startswith("other-") for name in confirmed(attribution))
        named += attribution.answer.startswith("other-")
    assert named <= 2


def test_without_diffs_no_innocent_change_is_named() -> None:
    answers = [
        right(case, attribute([replace(change, diff="") for change in case.changes], case.context).answer) for case in incidents().values()
    ]
    assert answers.count("decoy") == 0


@pytest.mark.parametrize("name", NAMES[:6])
def test_the_order_of_changes_and_repeats_do_not_matter(name: str) -> None:
    case = incidents()[name]
    there = attribute(case.changes, case.context)
    assert there == attribute([*reversed(case.changes), *case.changes], case.context)


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_keep_their_promises(name: str) -> None:
    case = incidents()[name]
    attribution = attribute(case.changes, case.context)
    suspects = [verdict for verdict in attribution.verdicts if verdict.verdict is Verdict.SUSPECT]
    assert len(suspects) <= SUSPECTS_MOST
    assert all(verdict.reasons and all(verdict.reasons) for verdict in attribution.verdicts)
    assert all(verdict.probability < 0.05 for verdict in attribution.verdicts if verdict.verdict is Verdict.RULED_OUT)
    assert attribution.answer != "none" or attribution.none_probability >= NONE_AT
    assert attribution.answer != "none" or attribution.none_reasons
    ordered = [verdict.probability for verdict in attribution.verdicts]
    assert ordered == sorted(ordered, reverse=True)


def test_without_changes_nothing_is_blamed() -> None:
    case = incidents()[NAMES[0]]
    attribution = attribute([], case.context)
    assert attribution.verdicts == ()
    assert attribution.answer in {"none", "inconclusive"}


def test_the_week_does_not_matter() -> None:
    """All times moved by three weeks: the same answer."""
    names: Sequence[str] = ("01-session-leak", "12-field-renamed", "16-sms-provider", "26-poll-interval")
    weeks = 21 * 24 * 60 * MINUTE_NS
    for name in names:
        case = incidents()[name]
        context = replace(
            case.context,
            start_ns=case.context.start_ns + weeks,
            end_ns=case.context.end_ns + weeks,
            onset_earliest_ns=case.context.onset_earliest_ns + weeks,
            onset_ns=case.context.onset_ns + weeks,
            symptom_ns=case.context.symptom_ns + weeks,
        )
        moved: list[ConfigChange] = [replace(change, time_ns=change.time_ns + weeks) for change in case.changes]
        there, here = attribute(case.changes, case.context), attribute(moved, context)
        assert there.answer == here.answer
        assert [v.probability for v in there.verdicts] == pytest.approx([v.probability for v in here.verdicts])
