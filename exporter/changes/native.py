"""Own JSON of a change: what `POST /api/v1/changes` takes and `whence changes add` sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from engine.records import ChangeType, ConfigChange, Param
from exporter.changes.log_record import (
    COUNT_MAX,
    FILES_CAP,
    LONGEST_DIFF,
    LONGEST_SUMMARY,
    LONGEST_TEXT,
    LONGEST_VALUE,
    PARAMS_CAP,
    text,
)
from exporter.changes.secrets import content_id, scrubbed, scrubbed_text

Item = TypeVar("Item")
TIME_MAX = (1 << 63) - 1
ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)")


def string(longest: int, about: str) -> dict[str, Any]:
    """JSON schema of a text."""
    return {"type": "string", "maxLength": longest, "description": about}


def whole(about: str) -> dict[str, Any]:
    """JSON schema of a count."""
    return {"type": "integer", "minimum": 0, "exclusiveMaximum": COUNT_MAX, "description": about}


#: JSON schema of a change. Unknown fields are refused: a misspelt one would be a silent loss.
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "whence change",
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "id": string(LONGEST_TEXT, "Idempotency key; without it a hash of the content, so that sending twice is one change."),
        "time": {
            "type": ["string", "integer"],
            "description": "When it went live: RFC 3339 with a zone, or nanoseconds since 1970. Default: when it is received.",
        },
        "type": {"type": "string", "enum": [str(each) for each in ChangeType], "description": "What kind of thing changed."},
        "service": string(LONGEST_TEXT, "Service that changed, as it names itself; leave it out where it is not known."),
        "environment": string(LONGEST_TEXT, "deployment.environment.name."),
        "kind": string(LONGEST_TEXT, "The source's own word: parameter, deploy, commit, flag."),
        "actor": string(LONGEST_TEXT, "Who did it."),
        "version": string(LONGEST_TEXT, "service.version that went live."),
        "revision": string(LONGEST_TEXT, "vcs.ref.head.revision."),
        "deployment_id": string(LONGEST_TEXT, "deployment.id."),
        "flag_key": string(LONGEST_TEXT, "feature_flag.key."),
        "flag_variant": string(LONGEST_TEXT, "feature_flag.result.variant."),
        "files": {
            "type": "array",
            "maxItems": FILES_CAP,
            "items": {"type": "string", "maxLength": LONGEST_VALUE},
            "description": "Paths of the files that changed.",
        },
        "files_changed": whole("How many files changed, where more than listed."),
        "lines_added": whole("Lines added."),
        "lines_removed": whole("Lines removed."),
        "params": {
            "type": "array",
            "maxItems": PARAMS_CAP,
            "description": "Changed parameters; values of parameters with secret names are not kept.",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": string(LONGEST_TEXT, "Name of the parameter."),
                    "old": string(LONGEST_VALUE, "Value before."),
                    "new": string(LONGEST_VALUE, "Value after."),
                },
            },
        },
        "summary": string(LONGEST_SUMMARY, "One line for a person."),
        "diff": string(LONGEST_DIFF, "Unified diff."),
    },
}


def change_from_json(obj: object, received_unix_ns: int) -> ConfigChange:
    """The change of an object of SCHEMA; `received_unix_ns` is its time where it says none.

    Raises: ValueError that names the field.

    >>> change_from_json({"type": "deployment", "service": "cart", "time": "2026-01-02T03:04:05.5Z"}, 0).time_ns
    1767323045500000000
    """
    fields = checked(obj, "change", SCHEMA)
    files = tuple(checked_list(fields, "files", lambda each, at: checked_text(each, at, LONGEST_VALUE)))
    named: dict[str, str] = {
        key: checked_text(fields.get(key, ""), key, shape["maxLength"])
        for key, shape in SCHEMA["properties"].items()
        if shape["type"] == "string" and key not in ("id", "type", "summary", "diff")
    }
    change = ConfigChange(
        id="",
        time_ns=time_of(fields["time"]) if "time" in fields else received_unix_ns,
        type=checked_type(fields["type"]),
        files=files,
        params=scrubbed(tuple(checked_list(fields, "params", checked_param))),
        summary=scrubbed_text(checked_text(fields.get("summary", ""), "summary", LONGEST_SUMMARY)),
        diff=scrubbed_text(checked_text(fields.get("diff", ""), "diff", LONGEST_DIFF)),
        service=named["service"],
        environment=named["environment"],
        kind=named["kind"],
        actor=named["actor"],
        version=named["version"],
        revision=named["revision"],
        deployment_id=named["deployment_id"],
        flag_key=named["flag_key"],
        flag_variant=named["flag_variant"],
        files_changed=checked_count(fields.get("files_changed", 0), "files_changed") or len(files),
        lines_added=checked_count(fields.get("lines_added", 0), "lines_added"),
        lines_removed=checked_count(fields.get("lines_removed", 0), "lines_removed"),
    )
    return content_id(change, checked_text(fields.get("id", ""), "id", LONGEST_TEXT) or change.deployment_id)


def change_to_json(change: ConfigChange) -> dict[str, Any]:
    """An object of SCHEMA, without empty fields. `change_from_json` of it is the change again, if it was not inferred.

    >>> change_to_json(ConfigChange("c1", 5, ChangeType.CONFIG, params=(Param("pool", "1", "2"),)))
    {'id': 'c1', 'time': 5, 'type': 'config.change', 'params': [{'name': 'pool', 'old': '1', 'new': '2'}]}
    """
    found: dict[str, Any] = {"id": change.id, "time": change.time_ns, "type": str(change.type)}
    for key in SCHEMA["properties"]:
        if key in ("id", "time", "type"):
            continue
        value = getattr(change, key)
        if value and key == "params":
            found[key] = [{name: held for name, held in each._asdict().items() if held} for each in value]
        elif value:
            found[key] = list(value) if key == "files" else value
    return found


def checked(value: object, at: str, shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object with the fields of the shape only, and those that it requires."""
    if not isinstance(value, dict):
        raise ValueError(f"{at}: must be an object, however: {type(value).__name__}")
    for field in value:
        if field not in shape["properties"]:
            raise ValueError(f"{at}: unknown field {field!r}; known: {', '.join(shape['properties'])}")
    for field in shape["required"]:
        if field not in value:
            raise ValueError(f"{at}: {field} is missing")
    return value


def checked_text(value: object, at: str, longest: int) -> str:
    """A text within its length."""
    if not isinstance(value, str):
        raise ValueError(f"{at}: must be a string, however: {type(value).__name__}")
    if len(value) > longest:
        raise ValueError(f"{at}: must have at most {longest} characters, however: {len(value)}")
    return value


def checked_count(value: object, at: str) -> int:
    """A count."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < COUNT_MAX:
        raise ValueError(f"{at}: must be an integer in 0 ... {COUNT_MAX - 1}, however: {value!r}")
    return value


def checked_type(value: object) -> ChangeType:
    """A type of change."""
    try:
        return ChangeType(value)  # type: ignore[arg-type]  # anything may stand in JSON
    except ValueError:
        raise ValueError(f"type: must be one of {', '.join(ChangeType)}, however: {value!r}") from None


def checked_list(fields: Mapping[str, Any], key: str, check: Callable[[object, str], Item]) -> list[Item]:
    """A list within its length, each item checked."""
    value = fields.get(key, [])
    longest = SCHEMA["properties"][key]["maxItems"]
    if not isinstance(value, list):
        raise ValueError(f"{key}: must be an array, however: {type(value).__name__}")
    if len(value) > longest:
        raise ValueError(f"{key}: must have at most {longest} items, however: {len(value)}")
    return [check(each, f"{key}[{at}]") for at, each in enumerate(value)]


def checked_param(value: object, at: str) -> Param:
    """A changed parameter."""
    fields = checked(value, at, SCHEMA["properties"]["params"]["items"])
    if not text(fields, ("name",)):
        raise ValueError(f"{at}.name: must not be empty")
    return Param(
        checked_text(fields["name"], f"{at}.name", LONGEST_TEXT),
        checked_text(fields.get("old", ""), f"{at}.old", LONGEST_VALUE),
        checked_text(fields.get("new", ""), f"{at}.new", LONGEST_VALUE),
    )


def time_of(value: object) -> int:
    """Nanoseconds since 1970 of RFC 3339 with a zone, or of nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= TIME_MAX:
        return value
    found = ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        try:
            seconds = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            seconds = -1.0
        time_ns = int(seconds) * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))
        if 0 < time_ns <= TIME_MAX:
            return time_ns
    raise ValueError(f"time: must be RFC 3339 with a zone or nanoseconds since 1970, however: {value!r}")
