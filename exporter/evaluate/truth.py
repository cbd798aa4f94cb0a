"""What is known of a recording: `NAME.truth.json` beside it. No other module opens these files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from engine.records import MINUTE_NS, SECOND_NS
from exporter.recording import RecordingError, find, stem

SUFFIX = ".truth.json"
#: How long an issue is looked at where the truth gives its start only.
ISSUE_NS = 30 * MINUTE_NS
#: An alert comes after its symptom by up to this much; where only the alert is known, an incident may open that long before it.
ALERT_LAG_NS = 15 * MINUTE_NS
#: How long a fault is looked at where the truth does not say when its burst of telemetry ended.
BURST_NS = 3 * MINUTE_NS
#: What is left of a fault after its end, and what may precede the next one.
CALM_AFTER_NS, CALM_BEFORE_NS = 15 * MINUTE_NS, 5 * MINUTE_NS
METRIC = re.compile(r"\w+\([^()]+\)")  # a metric and its unit
NONE = "none"  # the answer "no change did this"
UNKNOWN = "unknown"  # kind of a fault of which the truth tells none


@dataclass(frozen=True, slots=True)
class ChangeTruth:
    """The change that did it: its id, and the ids of deploys that carried it; (NONE, ()) when no change did."""

    id: str
    carried_by: tuple[str, ...] = ()

    def is_named_by(self, answer: str) -> bool:
        """Whether an answer names the change, or a deploy that carried it."""
        return answer == self.id or answer in self.carried_by


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure: when, where, and what did it. Times in ns."""

    case: str
    kind: str
    root: str
    onset_ns: int
    given_ns: tuple[int, int]  # the window that is explained when the time of the fault is given
    found_from_ns: int  # an incident that opens from here on may be this fault's
    alert_ns: int
    alert_metric: str  # "": no alert
    change: ChangeTruth | None  # None: the recording holds no changes


@dataclass(frozen=True, slots=True, order=True)
class Quiet:
    """A stretch in which nothing happened. `before`: root of the fault that follows at once, and may have begun sooner than was noted."""

    start_ns: int
    end_ns: int
    before: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of one recording."""

    recording: Path
    system: str
    scenario: str  # "": the system has none
    candidates: tuple[str, ...]  # services that a ranking may name
    faults: tuple[Fault, ...]  # in time order
    detection: bool  # False: the normal period is borrowed, so detection is not scored
    normal_ns: tuple[int, int] | None  # a period that other recordings of the set may repeat ...
    normal_shift_ns: int  # ... shifted by this much
    first_ns: int
    last_ns: int
    quiet: tuple[Quiet, ...] = ()  # in time order; they may overlap


def nanoseconds(text: str) -> int:
    """RFC 3339 time -> ns since 1970, exact to the microsecond.

    >>> nanoseconds("1970-01-01T00:00:01.5Z")
    1500000000
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.replace(microsecond=0).timestamp()) * SECOND_NS + moment.microsecond * 1000


def load(recording: Path) -> Truth:
    """The truth beside a recording. Needed are the candidates, the first and the last time, and of each fault its time and its root.

    Raises: RecordingError if there is none, or it is of no known shape.
    """
    path = recording.with_name(stem(recording) + SUFFIX)
    try:
        data = orjson.loads(path.read_bytes())
        first_ns, last_ns = nanoseconds(data["first_time"]), nanoseconds(data["last_time"])
        if "faults" in data:
            faults = [_burst(fault) for fault in data["faults"]]
        elif "issue_start" in data:
            faults = [_issue(data)]
        else:
            faults = [_alert(data, last_ns)]
        shift_seconds = data.get("normal_shift_seconds", 0)
        normal = next(iter(data.get("clean_windows", ())), None) if shift_seconds else None
        return Truth(
            recording=recording,
            system=data.get("system", recording.parent.name),
            scenario=data.get("scenario", ""),
            candidates=tuple(data["services"]),
            faults=tuple(sorted(faults, key=lambda fault: fault.onset_ns)),
            detection=data.get("own_normal_period", True),
            normal_ns=(nanoseconds(normal["start"]), nanoseconds(normal["end"])) if normal else None,
            normal_shift_ns=round(shift_seconds * SECOND_NS),
            first_ns=first_ns,
            last_ns=last_ns,
            quiet=_quiet(data),
        )
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise RecordingError(f"{path}: no truth of a known shape: {type(error).__name__} {error}") from error


def load_all(path: Path) -> list[Truth]:
    """The truths of all recordings at or below a path that have one.

    Raises: RecordingError if no recording there has one.
    """
    known = [recording for recording in find([path]) if recording.with_name(stem(recording) + SUFFIX).is_file()]
    if not known:
        raise RecordingError(f"{path}: no recording with NAME{SUFFIX} beside it")
    return [load(recording) for recording in known]


def _quiet(data: Mapping[str, Any]) -> tuple[Quiet, ...]:
    """Clean windows, what was recorded of the minutes before faults that are no code, and the time between faults.

    The minutes before a fault in code are not clean: that code was rolled out before it was made to fail. A fault that is known by a
    metric and its unit is none in code.
    """
    found = [Quiet(nanoseconds(window["start"]), nanoseconds(window["end"])) for window in data.get("clean_windows", ())]
    reached = None
    for start, onset, end, fault in sorted(((*_burst_ns(fault), fault) for fault in data.get("faults", ())), key=lambda one: one[:3]):
        if METRIC.fullmatch(fault.get("root_cause_detail") or "") and start < onset:
            found.append(Quiet(start, onset, fault["root_cause_service"]))
        calm = min(start, onset) - CALM_BEFORE_NS
        if reached is not None and reached < calm:
            found.append(Quiet(reached, calm))
        reached = end + CALM_AFTER_NS
    if reached is not None and reached < (last := nanoseconds(data["last_time"])):
        found.append(Quiet(reached, last))
    return tuple(sorted(found))


def _burst_ns(data: Mapping[str, Any]) -> tuple[int, int, int]:
    """Start of a fault's burst, its onset, and the end of the burst."""
    onset_ns = nanoseconds(data["inject_time"])
    start_ns = nanoseconds(data["burst_start"]) if data.get("burst_start") else onset_ns
    return start_ns, onset_ns, nanoseconds(data["burst_end"]) if data.get("burst_end") else onset_ns + BURST_NS


def _burst(data: Mapping[str, Any]) -> Fault:
    """A fault injected at a known time, seen in a burst of telemetry."""
    start_ns, onset_ns, end_ns = _burst_ns(data)
    return Fault(
        case=data.get("case_id", data["inject_time"]),
        kind=data.get("fault", UNKNOWN),
        root=data["root_cause_service"],
        onset_ns=onset_ns,
        given_ns=(onset_ns, end_ns),
        found_from_ns=min(onset_ns - MINUTE_NS, start_ns),
        alert_ns=end_ns,
        alert_metric="",
        change=None,
    )


def _issue(data: Mapping[str, Any]) -> Fault:
    """An issue with a known first row and a changed parameter behind it."""
    onset_ns, alert = nanoseconds(data["issue_start"]), data.get("alert") or {}
    metric = alert.get("metric", "")
    return Fault(
        case=data.get("case_id", data["issue_start"]),
        kind=metric or UNKNOWN,
        root=data["root_cause_service"],
        onset_ns=onset_ns,
        given_ns=(onset_ns, onset_ns + ISSUE_NS),
        found_from_ns=onset_ns - MINUTE_NS,
        alert_ns=nanoseconds(alert["time"]) if "time" in alert else onset_ns + ISSUE_NS,
        alert_metric="_".join(filter(None, (metric, alert.get("statistic", "").lower()))),
        change=_change(data),
    )


def _alert(data: Mapping[str, Any], last_ns: int) -> Fault:
    """An incident of which the truth gives the alert; it goes on to the end of the recording."""
    alert = data["alert"]
    fired_ns = nanoseconds(alert["fired_at"])
    change = _change(data)
    return Fault(
        case=data.get("case_id", alert["fired_at"]),
        kind=UNKNOWN if change is None else NONE if change.id == NONE else "code",
        root=data["root_cause_service"],
        onset_ns=fired_ns,
        given_ns=(fired_ns, last_ns),
        found_from_ns=fired_ns - ALERT_LAG_NS,
        alert_ns=fired_ns,
        alert_metric=alert.get("metric", ""),
        change=change,
    )


def _change(data: Mapping[str, Any]) -> ChangeTruth | None:
    """What did it: null says that no change did; None where the truth does not tell."""
    if "root_cause_change_id" not in data:
        return None
    return ChangeTruth(data["root_cause_change_id"] or NONE, tuple(data.get("root_cause_deployment_ids") or ()))
