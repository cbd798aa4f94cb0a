"""Scored cases gathered by set, and the document `--json` writes (version 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS
from exporter.evaluate.figures import accuracy_at, average_at_5, brier, chance_average_at_5
from exporter.evaluate.score import CHANGE_OUTCOMES, Scored
from exporter.evaluate.truth import Truth

VERSION = 1
GIVEN, FOUND = "given", "found"


@dataclass(slots=True)
class Detection:
    """What detection is scored by, over the recordings of a set whose normal period is their own."""

    extra: int = 0
    false: set[tuple[str, int, str]] = field(default_factory=set)  # recording or system, original time, first cause
    recorded_ns: list[tuple[str, int, int]] = field(default_factory=list)  # (recording or system, start, end), at their original times

    def hours(self) -> float:
        """Hours really recorded: the union of the intervals."""
        total, by_source = 0, {source for source, _, _ in self.recorded_ns}
        for source in by_source:
            reached = -(1 << 62)
            for start, end in sorted((start, end) for name, start, end in self.recorded_ns if name == source):
                total += max(0, end - max(start, reached))
                reached = max(reached, end)
        return total / HOUR_NS


@dataclass(slots=True)
class ScoredSet:
    """All cases of one set in one mode. `detection` is None where it is not scored."""

    name: str
    mode: str
    cases: list[Scored] = field(default_factory=list)
    detection: Detection | None = None

    @property
    def ranks(self) -> list[int | None]:
        """Rank of each case's root."""
        return [case.rank for case in self.cases]

    def confidences(self) -> tuple[list[float], list[bool]]:
        """(confidence, right) of the cases that have an answer."""
        answered = [(case.answer.confidence, case.right) for case in self.cases if case.answer is not None]
        return [confidence for confidence, _ in answered], [right for _, right in answered]

    def delays(self) -> list[float]:
        """Seconds from onset to publication of the detected cases."""
        return [case.delay_seconds for case in self.cases if case.delay_seconds is not None]

    def after_alerts(self) -> list[float]:
        """Seconds from the alert that the truth tells of to publication; negative: whence was first."""
        told = [case for case in self.cases if case.delay_seconds is not None and case.fault.alert_metric]
        return [(case.delay_seconds or 0.0) + (case.fault.onset_ns - case.fault.alert_ns) / SECOND_NS for case in told]

    def detected(self) -> float | None:
        """Share of faults with an opening."""
        return len(self.delays()) / len(self.cases) if self.detection and self.cases else None

    def false_per_hour(self) -> float | None:
        """Openings outside faults' windows by hour recorded."""
        hours = self.detection.hours() if self.detection else 0.0
        return len(self.detection.false) / hours if self.detection and hours else None

    def changes(self) -> dict[str, int] | None:
        """How often each outcome occurred; None where the set holds no changes."""
        outcomes = Counter(case.change_outcome for case in self.cases if case.change_outcome is not None)
        return {name: outcomes[name] for name in CHANGE_OUTCOMES} if outcomes else None


def set_name(truth: Truth, given_path: Path) -> str:
    """The folder below the given path that holds the recording; a system's scenario is `system/scenario` from wherever it was given.

    The folder itself where the path is that folder, or the recording.
    """
    folder = truth.recording.resolve().parent
    base = given_path.resolve()
    inside = folder.relative_to(base).as_posix() if base.is_dir() else "."
    name = folder.name if inside == "." else inside
    return f"{truth.system}/{name}" if name == truth.scenario else name


def sum_name(name: str) -> str:
    """The set that sums a nested one: the part before the last slash, "" if there is none."""
    return name.rpartition("/")[0]


def as_recorded(truth: Truth, intervals: Iterable[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """Recorded intervals at their original times: a normal period that several recordings repeat falls on itself and counts once."""
    moved = []
    for start, end in intervals:
        if truth.normal_ns is None:
            moved.append((truth.recording.name, start, end))
            continue
        cut = max(start, min(end, truth.normal_ns[1] + MINUTE_NS))
        moved.append((truth.system, start - truth.normal_shift_ns, cut - truth.normal_shift_ns))
        if cut < end:
            moved.append((truth.recording.as_posix(), cut, end))
    return moved


def original(truth: Truth, time_ns: int) -> tuple[str, int]:
    """Where and when a moment of the recording was recorded; in a repeated period to the minute, since windows may fall otherwise."""
    if truth.normal_ns is not None and time_ns <= truth.normal_ns[1] + MINUTE_NS:
        return truth.system, (time_ns - truth.normal_shift_ns) // MINUTE_NS * MINUTE_NS
    return truth.recording.as_posix(), time_ns


def document(sets: Sequence[ScoredSet]) -> dict[str, Any]:
    """What `--json` writes."""
    return {"version": VERSION, "sets": [_set_data(one) for one in sets]}


def _set_data(one: ScoredSet) -> dict[str, Any]:
    delays, detection = one.delays(), one.detection
    confidence, right = one.confidences()
    return {
        "set": one.name,
        "mode": one.mode,
        "cases": len(one.cases),
        "ac_at_1": accuracy_at(one.ranks, 1),
        "ac_at_3": accuracy_at(one.ranks, 3),
        "ac_at_5": accuracy_at(one.ranks, 5),
        "avg_at_5": average_at_5(one.ranks),
        "chance_avg_at_5": chance_average_at_5([case.candidates for case in one.cases]),
        "detected": one.detected(),
        "extra_per_fault": detection.extra / len(one.cases) if detection and one.cases else None,
        "false_incidents_per_hour": one.false_per_hour(),
        "delay_seconds_median": float(np.median(delays)) if detection and delays else None,
        "delay_seconds_p95": float(np.quantile(delays, 0.95)) if detection and delays else None,
        "changes": one.changes(),
        "brier": brier(confidence, right),
        "per_case": [_case_data(case) for case in one.cases],
    }


def _case_data(case: Scored) -> dict[str, Any]:
    truth, answer = case.fault.change, case.answer
    said = answer.change if answer is not None and truth is not None else None
    return {
        "case": case.fault.case,
        "kind": case.fault.kind,
        "truth": case.fault.root,
        "ranking": list(case.ranking),
        "rank": case.rank,
        "confidence": answer.confidence if answer is not None else None,
        "incident_id": case.incident,
        "change": said if said not in {"", "inconclusive"} else None,
        "change_ranking": list(case.change_ranking),
        "change_truth": truth.id if truth is not None else None,
    }
