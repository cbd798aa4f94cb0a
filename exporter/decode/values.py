"""OTLP AnyValue in JSON: as text for columns, as plain Python for change events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

DEPTH_MAX = 16  # arrays and lists within each other; deeper ones are left out
ATTRIBUTES_CAP = 1024  # attributes of an item that are looked at
LONGEST_TEXT = 4096  # characters of a value that is written out
#: Keys of a structured log body that hold what a person would read.
BODY_KEYS = ("message", "msg", "body", "event", "log")

Plain = str | int | float | bool | list[Any] | dict[str, Any] | None
Attributes = tuple[tuple[str, str], ...]  # of a point, sorted by key


def plain_of(value: Any, depth: int = 0) -> Plain:
    """An AnyValue as plain Python; bytes stay base64 text. Raises ValueError, TypeError or AttributeError where it is none.

    >>> plain_of({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "7"}}]}})
    {'a': 7}
    """
    if value is None:
        return None
    for kind, held in value.items():
        if held is None:
            continue
        if kind in ("stringValue", "bytesValue"):
            if type(held) is not str:
                raise TypeError(f"{kind} must be text, however: {held!r}")
            return held
        if kind == "intValue":
            return int64(held)
        if kind == "doubleValue":
            return float(held)
        if kind == "boolValue":
            if type(held) is not bool:
                raise TypeError(f"boolValue must be true or false, however: {held!r}")
            return held
        if kind == "arrayValue":
            return [plain_of(each, depth + 1) for each in held.get("values") or ()] if depth < DEPTH_MAX else None
        if kind == "kvlistValue":
            pairs = held.get("values") or () if depth < DEPTH_MAX else ()
            return {str(each.get("key") or ""): plain_of(each.get("value"), depth + 1) for each in pairs}
    return None


def int64(value: Any) -> int:
    """A 64-bit integer that JSON writes as text or number. Raises ValueError or TypeError where it is none."""
    if type(value) is int:
        return value
    if type(value) is str:
        return int(value)
    if type(value) is float and value.is_integer():
        return int(value)
    raise TypeError(f"not a 64-bit integer: {value!r}")


def text_of(plain: Plain) -> str:
    """Plain Python as the text that goes into columns.

    >>> text_of(True), text_of(0.5), text_of([1, "a"]), text_of(None)
    ('true', '0.5', '[1,"a"]', '')
    """
    if type(plain) is str:
        return plain
    if plain is None:
        return ""
    if type(plain) is bool:
        return "true" if plain else "false"
    if isinstance(plain, list | dict):
        return (
            orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS, default=str).decode()[:LONGEST_TEXT]
            if within_64_bits(plain)
            else str(plain)
        )
    return str(plain)


def within_64_bits(plain: Plain) -> bool:
    """Whether orjson can write it: no integer past 64 bits."""
    if isinstance(plain, list):
        return all(within_64_bits(each) for each in plain)
    if isinstance(plain, dict):
        return all(within_64_bits(each) for each in plain.values())
    return not isinstance(plain, int) or -(1 << 63) <= plain < 1 << 64


def body_of(plain: Plain) -> str:
    """Text of a log body; of a structured one its message, if it names one.

    >>> body_of({"message": "pool exhausted", "n": 3}), body_of({"n": 3})
    ('pool exhausted', '{"n":3}')
    """
    if isinstance(plain, Mapping):
        for key in BODY_KEYS:
            held = plain.get(key)
            if held and type(held) is str:
                return held
    return text_of(plain)
