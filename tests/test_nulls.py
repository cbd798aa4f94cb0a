"""Null tests: the guilty change is taken away, moved or joined by another incident's, and the telemetry stays what it was."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from engine.records import MINUTE_NS, ChangeType, ConfigChange
from engine.settings import EngineSettings
from exporter.evaluate.ablation import STEPS
from exporter.evaluate.nulls import NullAnswer, Nulls, changes_of, outcome, partners, variants
from exporter.evaluate.stream import Answers, Question, stream
from exporter.evaluate.truth import Truth, load
from tests import authored

GUILTY, OTHER = "01-session-leak", "12-field-renamed"


@pytest.fixture(scope="module")
def incidents(tmp_path_factory: pytest.TempPathFactory) -> list[Truth]:
    """Two authored incidents on disk."""
    folder = tmp_path_factory.mktemp("authored")
    for name in (GUILTY, OTHER):
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(authored.payloads(name)) + b"\n")
        (folder / f"{name}.truth.json").write_bytes(orjson.dumps(authored.truth(name)))
    return [load(folder / f"{name}.jsonl") for name in (GUILTY, OTHER)]


@pytest.fixture(scope="module")
def answers(incidents: list[Truth]) -> Answers:
    (fault,) = incidents[0].faults
    nulls = partners(incidents)[incidents[0].recording, fault.case]
    question = Question(fault.case, *fault.given_ns, nulls=nulls)
    return stream(incidents[0].recording, [question], EngineSettings(rows=False), plain=True)


def test_the_other_incident_is_one_with_a_guilty_change_of_its_own(incidents: list[Truth]) -> None:
    found = partners(incidents)
    for one, other in (incidents, incidents[::-1]):
        nulls = found[one.recording, one.faults[0].case]
        assert one.faults[0].change is not None
        assert other.faults[0].change is not None
        assert one.faults[0].change.id in nulls.guilty
        assert (Path(nulls.other), nulls.other_ns) == (other.recording, other.faults[0].given_ns)
        assert other.faults[0].change.id in nulls.other_guilty


def test_the_variants_are_what_they_say(incidents: list[Truth]) -> None:
    known = [ConfigChange("good", 10 * MINUTE_NS, ChangeType.DEPLOYMENT), ConfigChange("bad", 20 * MINUTE_NS, ChangeType.DEPLOYMENT)]
    (other,) = incidents[1].faults
    assert other.change is not None
    nulls = Nulls(("bad",), str(incidents[1].recording), other.given_ns, (other.change.id,))
    found = variants(known, nulls, 21 * MINUTE_NS, 30 * MINUTE_NS, 60 * MINUTE_NS)
    assert [change.id for change in found["removed"]] == ["good"]
    assert {change.id: change.time_ns for change in found["moved"]} == {"good": 10 * MINUTE_NS, "bad": 31 * MINUTE_NS}
    theirs = changes_of(incidents[1].recording, other.given_ns[1])
    shift = 30 * MINUTE_NS - other.given_ns[0]
    assert [(change.id, change.time_ns) for change in found["foreign"]] == [
        (f"other-{change.id}", change.time_ns + shift) for change in theirs
    ]
    assert [change.id for change in found["added"]] == ["good", "bad", f"other-{other.change.id}"]
    assert set(variants(known, Nulls(()), 0, 0, 60 * MINUTE_NS)) == set(), "no change did it, and nobody lends any"


def test_without_its_guilty_change_no_innocent_one_is_named(answers: Answers, incidents: list[Truth]) -> None:
    (fault,) = incidents[0].faults
    assert fault.change is not None
    guilty = (fault.change.id, *fault.change.carried_by)
    assert answers.explained[fault.case].change in guilty
    said = {name: outcome(name, one, guilty) for name, one in answers.nulls[fault.case].items()}
    assert said == {"removed": "nobody", "moved": "nobody", "foreign": "nobody", "added": "right"}


def test_every_step_of_the_ranking_is_scored(answers: Answers, incidents: list[Truth]) -> None:
    scores = answers.plain[incidents[0].faults[0].case]
    assert all(scores[step] for step in STEPS)


def test_asking_what_if_changes_no_answer(answers: Answers, incidents: list[Truth]) -> None:
    (fault,) = incidents[0].faults
    plainly = stream(incidents[0].recording, [Question(fault.case, *fault.given_ns)], EngineSettings(rows=False), plain=False)
    assert plainly.explained == answers.explained
    assert plainly.published == answers.published


def test_outcomes() -> None:
    assert outcome("removed", NullAnswer("none", ()), ("bad",)) == "nobody"
    assert outcome("removed", NullAnswer("good", ()), ("bad",)) == "named"
    assert outcome("moved", NullAnswer("bad", ("bad",)), ("bad",)) == "confirmed"
    assert outcome("added", NullAnswer("bad", ("bad",)), ("bad",)) == "right"
    assert outcome("added", NullAnswer("bad", ("bad", "other-bad")), ("bad",)) == "confirmed"
