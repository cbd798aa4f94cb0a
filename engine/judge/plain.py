"""Records to plain values and back (dictionaries, lists, numbers, texts), for state that is written as JSON."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

_hints = cache(get_type_hints)


def to_plain(value: Any) -> Any:
    """Dataclasses and named tuples become dictionaries, enumerations their values, tuples lists."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: to_plain(part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [to_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: to_plain(part) for key, part in value.items()}
    return value


def from_plain(kind: Any, plain: Any) -> Any:
    """The value of type `kind` that `to_plain` made `plain` of. Fields that are missing take their defaults, unknown ones are left out.

    >>> from engine.records import Cause
    >>> cause = Cause("cart", 4.0, 0.9, (("flow", 4.0),))
    >>> from_plain(Cause, to_plain(cause)) == cause
    True
    """
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return None if plain is None else from_plain(next(one for one in get_args(kind) if one is not types.NoneType), plain)
    if origin is tuple:
        parts = get_args(kind)
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(from_plain(parts[0], one) for one in plain)
        return tuple(from_plain(part, one) for part, one in zip(parts, plain, strict=True))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(plain)
    if isinstance(plain, Mapping) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return kind(**{name: from_plain(hint, plain[name]) for name, hint in _hints(kind).items() if name in plain})
    return plain
