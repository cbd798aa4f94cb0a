"""Incidents, findings and changes as plain JSON values, and back. Named tuples and dataclasses become objects, enums their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import TypeAdapter

from engine.records import SECOND_NS, ConfigChange, Incident

_INCIDENT = TypeAdapter(Incident)
_CHANGE = TypeAdapter(ConfigChange)


def plain(value: Any) -> Any:
    """A record of engine.records as dicts, lists, texts and numbers. NaN stays NaN (orjson writes null).

    >>> from engine.records import Param
    >>> plain((Param("timeout", "1s", "2s"),))
    [{'name': 'timeout', 'old': '1s', 'new': '2s'}]
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value.item() if hasattr(value, "dtype") else value


def stored(value: Incident | ConfigChange) -> str:
    """Text that `incident_of` and `change_of` read back to an equal value."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def incident_of(text: str) -> Incident:
    """The incident of a stored text. Raises: ValueError if it is none."""
    return _INCIDENT.validate_python(json.loads(text))


def change_of(text: str) -> ConfigChange:
    """The change of a stored text. Raises: ValueError if it is none."""
    return _CHANGE.validate_python(json.loads(text))


def rfc3339(time_ns: int | None) -> str | None:
    """UTC, to the millisecond; None for none.

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_ns % SECOND_NS // 1_000_000:03d}Z"


def incident_view(incident: Incident, *, whole: bool = True) -> dict[str, Any]:
    """An incident as the API and the log line say it; whole: with evidence, graph and all changes."""
    finding = incident.finding
    view: dict[str, Any] = {
        "id": incident.id,
        "state": incident.state.value,
        "severity": incident.severity.value,
        "environment": incident.environment,
        "title": finding.title,
        "root_cause": finding.root or None,
        "cause_type": finding.cause_type,
        "change": finding.attribution.answer,
        "confidence": finding.confidence,
        "verdict": finding.verdict,
        "affected": list(finding.affected),
        "action": finding.action,
        "onset": rfc3339(incident.onset_ns),
        "opened": rfc3339(incident.opened_ns),
        "updated": rfc3339(incident.updated_ns),
        "resolved": rfc3339(incident.resolved_ns),
        "seconds_to_detect": (incident.opened_ns - incident.onset_ns) / SECOND_NS,
        "seconds_to_resolve": None if incident.resolved_ns is None else (incident.resolved_ns - incident.onset_ns) / SECOND_NS,
        "page": incident.page,
        "acknowledged": incident.acknowledged,
        "moved": incident.moved,
        "merged_into": incident.merged_into or None,
    }
    if whole:
        view["history"] = list(incident.history)
        view["finding"] = plain(finding)
    return view


def change_view(change: ConfigChange) -> dict[str, Any]:
    """A change as the API says it: what is empty is left out."""
    view = {key: value for key, value in plain(change).items() if value not in ("", [], 0) and key != "time_ns"}
    return {"id": change.id, "time": rfc3339(change.time_ns), **view, "inferred": change.inferred}
