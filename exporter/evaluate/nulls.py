"""Null tests of change attribution: what is blamed when the guilty change was never told, came too late, or is not alone.

    removed   the guilty change, and the deploys that carried it, are taken away
    moved     they went live ten minutes after the onset
    foreign   the changes are those of another incident, moved to this one's time
    added     another incident's guilty change stands beside the true one

Whoever is named in the first three, or is named in the last and is not the true one, is innocent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.pipeline import Engine
from engine.records import HOUR_NS, MINUTE_NS, ConfigChange, Finding, Verdict
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.truth import NONE, Fault, Truth
from exporter.recording import lines

VARIANTS = ("removed", "moved", "foreign", "added")
LATE_NS = 10 * MINUTE_NS
BACK_NS = 4 * HOUR_NS  # as far as changes are looked up
OTHER = "other-"


@dataclass(frozen=True, slots=True)
class Nulls:
    """What the null tests of one case need to be told: which changes did it, and which other incident lends its own."""

    guilty: tuple[str, ...]  # none where no change did it
    other: str = ""  # recording, "" without
    other_ns: tuple[int, int] = (0, 0)  # its interval
    other_guilty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NullAnswer:
    """What was said in one variant."""

    named: str  # change id, "none" or "inconclusive"
    confirmed: tuple[str, ...]


def partners(truths: Sequence[Truth]) -> dict[tuple[Path, str], Nulls]:
    """What the null tests of each case with changes need, by recording and case.

    The other incident is the next one of the system in which a change did it and whose root is another service; where there is none,
    whose kind is another.
    """
    cases = [(truth, fault) for truth in truths for fault in truth.faults if fault.change is not None]
    found = {}
    for at, (truth, fault) in enumerate(cases):
        assert fault.change is not None
        rest = [other for other in (*cases[at + 1 :], *cases[:at]) if other[0].system == truth.system and other[1].case != fault.case]
        rest.sort(key=lambda other: (_innocent(other[1]), other[1].root == fault.root, other[1].kind == fault.kind))
        guilty = _guilty(fault.change.id, fault.change.carried_by)
        if not rest:
            found[truth.recording, fault.case] = Nulls(guilty)
            continue
        other_truth, other = rest[0]
        assert other.change is not None
        theirs = _guilty(other.change.id, other.change.carried_by)
        found[truth.recording, fault.case] = Nulls(guilty, str(other_truth.recording), other.given_ns, theirs)
    return found


def changes_of(recording: Path, end_ns: int) -> list[ConfigChange]:
    """The changes of a recording that are looked up for a span that ends then."""
    strings, resources = Strings(), Resources()
    found = {}
    for line in lines(recording):
        if b"eventName" in line:  # the rest of the recording holds none
            found.update({change.id: change for change in decode_json(line, strings, resources).changes})
    return [change for change in found.values() if end_ns - BACK_NS <= change.time_ns <= end_ns]


def variants(known: Sequence[ConfigChange], nulls: Nulls, onset_ns: int, start_ns: int, end_ns: int) -> dict[str, list[ConfigChange]]:
    """The changes of each null test."""
    found: dict[str, list[ConfigChange]] = {}
    if nulls.guilty:
        late_ns = min(onset_ns + LATE_NS, end_ns)
        found["removed"] = [change for change in known if change.id not in nulls.guilty]
        found["moved"] = [replace(change, time_ns=late_ns) if change.id in nulls.guilty else change for change in known]
    if nulls.other:
        shift_ns = start_ns - nulls.other_ns[0]
        theirs = [
            replace(change, id=OTHER + change.id, revision=change.revision and OTHER + change.revision, time_ns=change.time_ns + shift_ns)
            for change in changes_of(Path(nulls.other), nulls.other_ns[1])
        ]
        found["foreign"] = theirs
        if nulls.guilty and nulls.other_guilty:
            found["added"] = [*known, *(change for change in theirs if change.id.removeprefix(OTHER) in nulls.other_guilty)]
    return found


def null_answers(engine: Engine, finding: Finding, nulls: Nulls) -> dict[str, NullAnswer]:
    """What is said in each variant that the case allows, of the telemetry that `finding` is about."""
    start_ns, end_ns = finding.start_ns, finding.end_ns
    lists = variants(engine.known_changes(end_ns), nulls, finding.onset_ns, start_ns, end_ns)
    said = engine.explain_had_there_been(start_ns, end_ns, list(lists.values()))
    return {name: answer_of(one) for name, one in zip(lists, said, strict=True)}


def answer_of(finding: Finding) -> NullAnswer:
    """Who is named, and who is held confirmed."""
    confirmed = tuple(verdict.change.id for verdict in finding.attribution.verdicts if verdict.verdict is Verdict.CONFIRMED)
    return NullAnswer(finding.attribution.answer, confirmed)


def outcome(variant: str, answer: NullAnswer, guilty: Sequence[str]) -> str:
    """right (the true one, where it is there), nobody, named (an innocent one), or confirmed (an innocent one, and held for sure)."""
    true = set(guilty) if variant == "added" else set()
    if set(answer.confirmed) - true:
        return "confirmed"
    if answer.named in true:
        return "right"
    return "nobody" if answer.named in {NONE, "inconclusive", ""} else "named"


def nulls_from(data: Mapping[str, Any] | None) -> Nulls | None:
    """What a case's null tests need, of its JSON form."""
    if data is None:
        return None
    start_ns, end_ns = data["other_ns"]
    return Nulls(tuple(data["guilty"]), data["other"], (start_ns, end_ns), tuple(data["other_guilty"]))


def null_answers_from(data: Mapping[str, Mapping[str, Any]]) -> dict[str, NullAnswer]:
    """Answers of their JSON form."""
    return {name: NullAnswer(one["named"], tuple(one["confirmed"])) for name, one in data.items()}


def _innocent(fault: Fault) -> bool:
    return fault.change is None or fault.change.id == NONE


def _guilty(id: str, carried_by: Sequence[str]) -> tuple[str, ...]:
    return () if id == NONE else (id, *carried_by)
