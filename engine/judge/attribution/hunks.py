"""What a hunk does: by its rules, and by what they do not see, loops, limits and labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from engine.judge.attribution import marks, quantities, shapes
from engine.judge.attribution.diff import Diff, Hunk
from engine.judge.attribution.edits import LITERAL, NUMBER, edits_of, number
from engine.judge.attribution.inert import TELLS, endless_labels, is_prose
from engine.judge.attribution.quantities import Mechanism
from engine.judge.attribution.rules import RULES

LOOPED: Final = Mechanism(
    "calls out once an item in a loop",
    {"query": 1.9, "fanout": 1.8, "latency": 1.3, "exhausted": 0.8, "saturation": 0.6, "timeout": 0.6, "throttled": 0.8},
)
LIMITED: Final = Mechanism("adds a limit", {"timeout": 1.4, "throttled": 1.4, "exhausted": 1.2, "refused": 0.5, "errors": 0.5, "idle": 0.4})
ONLY_DEFINES: Final = 0.5
LABELLED: Final = Mechanism("tells more series of a metric apart", {"memory": 1.6, "saturation": 0.8, "cpu": 0.7})


class Around(NamedTuple):
    """What the hunks of a diff have in common."""

    calls: shapes.Pattern | None  # of functions that the diff adds and that call out themselves
    numbers: frozenset[float]  # in removed lines


def around(diff: Diff) -> Around:
    """What the hunks of a diff have in common."""
    names = set()
    for hunk in diff.hunks:
        if any(marks.CALLS_OUT.search(line) or marks.SQL.search(line) for line in hunk.added):
            names |= {one or other for line in hunk.added for one, other in marks.DEFINES.findall(line)}
    calls = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\(") if names else None
    return Around(calls, frozenset(number(found.group(0)) for line in diff.removed for found in NUMBER.finditer(line)))


def of_hunk(hunk: Hunk, around: Around) -> Iterator[Mechanism]:
    """What a hunk does. Lines that only log or measure do nothing, sentences in quotes neither; numbers that changed: see quantities."""
    if endless_labels(hunk.added) > endless_labels(hunk.removed) or shapes.more(
        marks.LABELS, replace(hunk, added=_told(hunk.added), removed=_told(hunk.removed))
    ):
        yield LABELLED
    numbers = {line for edit, old, new in edits_of(hunk) if edit.kind == "number" for line in (old, new)}
    hunk = replace(hunk, added=_does(hunk.added, numbers), removed=_does(hunk.removed, numbers))
    if not hunk.added and not hunk.removed and not hunk.reordered:
        return
    if shapes.looped(hunk, around.calls):
        yield LOOPED
    for name, value in shapes.options_dropped(hunk):
        yield quantities.unset(name, value)
    if shapes.limited(hunk, around.numbers):
        yield LIMITED
    share = ONLY_DEFINES if shapes.only_defines(hunk) else 1.0
    for rule in RULES:
        if rule.when(hunk):
            yield Mechanism(rule.what, {kind: share * nats for kind, nats in rule.fits.items()})


def _told(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line for line in lines if TELLS.search(line))


def _does(lines: Iterable[str], numbers: set[str]) -> tuple[str, ...]:
    kept = (line for line in lines if not TELLS.search(line) and (line not in numbers or marks.NO_QUANTITY.search(line)))
    return tuple(LITERAL.sub(_unsaid, line) for line in kept)


def _unsaid(literal: re.Match[str]) -> str:
    text = literal.group(0)
    stated = marks.SQL.search(text) or marks.STATED.search(text)
    return f"{text[0]}{text[-1]}" if is_prose(text[1:-1]) and not stated else text
