"""Pairs of a removed and an added line that differ in one thing: a number, a truth value, a literal, a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from engine.judge.attribution.diff import Diff, Hunk

UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "millis": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0,
    "second": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0,
    "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "k": 1e3, "kb": 1e3, "mb": 1e6, "gb": 1e9, "ki": 2.0**10, "mi": 2.0**20,
    "gi": 2.0**30, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
NUMBER: Final = re.compile(
    r"(?<![\w.])(\d[\d_]*(?:\.\d+)?)(?:\s*\*\s*(?:\w+[.:]{1,2})?|[.\s]?)"
    r"(milliseconds?|seconds?|minutes?|hours?|days?|millis|mins?|secs?|[kmg]i?b|[kmg]i|ms|us|ns|[smhdk])?\b",
    re.I,
)
BOOLEAN: Final = re.compile(r"\b(true|false|enabled|disabled|yes|no|on|off)\b", re.I)
LITERAL: Final = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`")
BARE_VALUE: Final = re.compile(r"(?<=[:=])\s*([^\s\"'`(){}\[\],;][^\s,;]*)\s*$|(?<=[\w-]) ([\w-]+);?$")
NEAR_MOST: Final = 32  # added lines that a removed one is compared with
CORES: Final = re.compile(r"cpu|cores?\b", re.I)
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


#: A line that declares a field, an enum value or a column.
DECLARES: Final = re.compile(
    r"^((public|private|protected|final|static|readonly|val|var|let|const|pub|optional|repeated|required)\s+)*\w+\??\s*:\s*[\w<>\[\]., ?"
    r"|]+[,;]?$|^\w+\s+\*?[\w\[\].]+(\s+`.*`)?$|^[\w<>,\[\]]+\s+\w+\s*(=.*)?;$|^(\w+\s+)+[\w<>?\[\]]+\s+\w+\s*\{ ?get;.*\}$",
    re.I,
)


class Edit(NamedTuple):
    """One thing that differs. `name`: the rest of the line and its place, in words."""

    kind: str  # number, boolean, literal, name
    name: str
    old: str
    new: str
    before: float = 0.0  # of numbers, in base units
    after: float = 0.0
    declares: bool = False  # a name that the line declares: a field, a column


KEYED_NUMBER: Final = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*)[\"']?\s*(?::=|[:=(])\s*[\"']?(" + NUMBER.pattern + ")", re.I)
CONFIGURATION: Final = re.compile(
    r"\.(ya?ml|toml|ini|conf|cfg|cnf|properties|env|json|tf|hcl|tfvars|service|vcl|exs)$|(^|/)(procfile|\.env[\w.]*)$", re.I
)
#: A setting whose name stands elsewhere.
NAMELESS: Final = re.compile(r"^[\"']?(value|values|default|val|mode|type|kind|policy|name|key|enabled|path)[\"']?\s*[:=]", re.I)
#: Sizes of heaps, glued to what they are of.
GLUED: Final = re.compile(r"(-X(?:mx|ms|ss|mn))(?=\d)")


def edits(diff: Diff) -> list[Edit]:
    """All pairs of lines that differ in one thing, in order; then numbers of one key that differ in lines that differ in more."""
    found = [edit for hunk in diff.hunks for edit, _, _ in edits_of(hunk)]
    known = {(edit.old, edit.new) for edit in found}
    for hunk in diff.hunks:
        before, after = _keyed(hunk.removed), _keyed(hunk.added)
        for key in before.keys() & after.keys():
            old, new = before[key], after[key]
            if number(old, key) != number(new, key) and (old, new) not in known:
                found.append(Edit("number", key, old, new, number(old, key), number(new, key)))
    return sorted(found, key=lambda edit: edit.kind != "number")


def _keyed(lines: tuple[str, ...]) -> dict[str, str]:
    return {match.group(1): match.group(2) for line in lines for match in KEYED_NUMBER.finditer(line)}


def edits_of(hunk: Hunk) -> Iterator[tuple[Edit, str, str]]:
    """Edits of a hunk, each with the lines before and after."""
    added = list(hunk.added)
    for old in hunk.removed:
        for new in added[:NEAR_MOST]:
            edit = _compare(old, new, hunk)
            if edit is not None:
                added.remove(new)
                yield edit, old, new
                break


def _compare(old: str, new: str, hunk: Hunk) -> Edit | None:
    old, new = GLUED.sub(r"\1 ", old), GLUED.sub(r"\1 ", new)
    beside = f" {' '.join(hunk.kept[-3:])}" if NAMELESS.match(old) else ""
    for kind, pattern in (("number", NUMBER), ("boolean", BOOLEAN), ("literal", LITERAL), ("literal", BARE_VALUE), ("name", NAME)):
        if pattern is BARE_VALUE and not CONFIGURATION.search(hunk.file):
            continue
        mask_old, mask_new = pattern.sub("\0", old), pattern.sub("\0", new)
        if _bare(mask_old) != _bare(mask_new):
            continue
        pairs = [
            (a.group(0), b.group(0)) for a, b in zip(pattern.finditer(old), pattern.finditer(new), strict=False) if a.group(0) != b.group(0)
        ]
        if not pairs or (kind == "name" and len(pairs) > 2):
            continue
        name = f"{mask_old}{beside} {hunk.place}".replace("\0", " ").strip()
        first, second = pairs[0]
        if kind == "number":
            a, b = number(first, name), number(second, name)
            return Edit(kind, name, first, second, a, b)
        declares = kind == "name" and bool(DECLARES.match(old)) and bool(DECLARES.match(new))
        return Edit(kind, name, first.strip(" \"'`"), second.strip(" \"'`"), declares=declares)
    return None


def number(text: str, name: str = "") -> float:
    """A number with its unit in base units (seconds, bytes, cores); NaN if it is none. `name`: of what; "m" of a processor is a thousandth.

    >>> number("10 * time.Minute"), number("256Mi"), number("1_000"), number("200m", "cpu")
    (600.0, 268435456.0, 1000.0, 0.2)
    """
    found = NUMBER.search(text)
    if not found:
        return float("nan")
    unit = (found.group(2) or "").lower()
    if unit == "m" and CORES.search(name):
        return float(found.group(1).replace("_", "")) / 1000
    return float(found.group(1).replace("_", "")) * UNITS.get(unit, 1.0)


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text)
