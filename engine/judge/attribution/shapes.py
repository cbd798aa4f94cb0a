"""Shapes of a hunk: what it has more or less of, before and after."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from engine.judge.attribution import marks
from engine.judge.attribution.diff import Hunk, Line
from engine.judge.attribution.edits import KEYED_NUMBER, LITERAL, number
from engine.judge.attribution.inert import TELLS

Pattern = re.Pattern[str]
When = Callable[[Hunk], bool]
CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9_]{3,}\b")
KEY: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+|\b\w+(?=:)")
ITEM: Final = re.compile(r"[\w*./:@-]+")
LISTED: Final = re.compile(r"^(-\s+)?[-\"'`\w*./:@]+[\"'`]?,?$")


def net(pattern: Pattern, hunk: Hunk) -> int:
    """How many more added than removed lines fit."""
    return _count(pattern, hunk.added) - _count(pattern, hunk.removed)


def _count(pattern: Pattern, lines: Iterable[str]) -> int:
    return sum(bool(pattern.search(line)) for line in lines)


def fewer(pattern: Pattern, hunk: Hunk) -> bool:
    return net(pattern, hunk) < 0


def more(pattern: Pattern, hunk: Hunk) -> bool:
    return net(pattern, hunk) > 0


def changed(pattern: Pattern, hunk: Hunk) -> bool:
    return any(map(pattern.search, (*hunk.removed, *hunk.added)))


def replaced(pattern: Pattern, hunk: Hunk) -> bool:
    return any(map(pattern.search, hunk.removed)) and any(map(pattern.search, hunk.added))


def _limits(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if marks.LIMIT.search(line) and not marks.UNBOUNDED.search(line)]


def unlimited(hunk: Hunk) -> bool:
    return more(marks.UNBOUNDED, hunk) or (bool(_limits(hunk.removed)) and not _limits(hunk.added))


def limited(hunk: Hunk, numbers: frozenset[float]) -> bool:
    """A limit that was not there, or one that was none; a number that only moved is no new one."""
    fresh = {number(found.group(2)) for line in _limits(hunk.added) for found in KEYED_NUMBER.finditer(line)}
    moved = bool(fresh) and fresh <= numbers
    return bool(_limits(hunk.added)) and not _limits(hunk.removed) and not moved and not unlimited(hunk)


def held(hunk: Hunk) -> bool:
    """What is closed or unlocked is so earlier or later than before."""
    return hunk.reordered and any(map(marks.CLEANUP.search, hunk.moved)) and net(marks.CLEANUP, hunk) == 0


def locks(hunk: Hunk) -> bool:
    around = hunk.kept if hunk.reordered else ()
    return any(map(marks.LOCK.search, (*hunk.added, *hunk.removed, *hunk.moved, *around)))


def waits(hunk: Hunk) -> bool:
    instead = fewer(marks.AWAIT, hunk) and net(marks.BLOCKING, hunk) >= 0 and bool(hunk.added) and not unawaited(hunk)
    return more(marks.BLOCKING, hunk) or instead


def unawaited(hunk: Hunk) -> bool:
    """A call that is made as before, but not waited for."""
    before = {marks.AWAIT.sub("", line) for line in hunk.removed if marks.AWAIT.search(line)}
    return any(line in before for line in hunk.added)


def client_each(hunk: Hunk) -> bool:
    """A client that all shared is made anew."""
    return replaced(marks.MAKES_CLIENT, hunk) and fewer(marks.SHARES, hunk)


def reaches(hunk: Hunk) -> bool:
    return changed(marks.NETWORK, hunk) or any(map(marks.NETWORKED.search, (*hunk.kept, hunk.place)))


def keyed(hunk: Hunk) -> bool:
    return replaced(marks.KEYED, hunk) or any(map(marks.KEYED.search, (*hunk.kept, hunk.place)))


def _looked_up(lines: Iterable[str]) -> set[str]:
    """Names and literals in the lines that look settings up."""
    found = [line for line in lines if marks.LOOKUP.search(line)]
    return {each for line in found for each in (*LITERAL.findall(line), *CONSTANT.findall(line), *KEY.findall(line))}


def elsewhere(hunk: Hunk) -> bool:
    before, after = _looked_up(hunk.removed), _looked_up(hunk.added)
    return bool(before and after) and before != after


def dropped(hunk: Hunk) -> bool:
    """A list, in a literal or a line an item, has lost some of its items and gained none."""
    before, after = _lists(hunk.removed), _lists(hunk.added)
    shorter = any(new < old for old in before for new in after)
    items = [line for line in hunk.removed if LISTED.match(line)]
    return shorter or (bool(items) and len(items) == len(hunk.removed) and not hunk.added)


def _lists(lines: Iterable[str]) -> list[frozenset[str]]:
    found = []
    for line in lines:
        texts = [each.strip("\"'`") for each in LITERAL.findall(line) if "," in each]
        texts += re.findall(r"[\[({]([^\[\](){}]*,[^\[\](){}]*)[\])}]", line)
        found += [frozenset(ITEM.findall(text)) for text in texts]
    return found


def looped(hunk: Hunk, outward: Pattern | None) -> bool:
    """More calls out in a loop than were removed: deeper than a line that opens one, or on it."""
    return _calls_in_loops(hunk, "+", outward) > _calls_in_loops(hunk, "-", outward)


def _calls_in_loops(hunk: Hunk, sign: str, outward: Pattern | None) -> int:
    lines = [line for line in hunk.lines if line.sign in (" ", sign)]
    flat = all(line.indent == lines[0].indent for line in lines)
    loops: list[int] = []
    calls = 0
    for line in lines:
        while loops and line.indent <= loops[-1] and not flat:
            loops.pop()
        opens = bool(marks.LOOP.search(line.text))
        inside = bool(loops) or (opens and not marks.LOOP_HEAD.search(line.text))
        calls += inside and line.sign == sign and _calls(line, outward)
        if opens:
            loops.append(line.indent)
    return calls


def _calls(line: Line, outward: Pattern | None) -> bool:
    known = outward is not None and bool(outward.search(line.text)) and not marks.DEFINES.search(line.text)
    return not TELLS.search(line.text) and (known or bool(marks.CALLS_OUT.search(line.text)))


def lost(pattern: Pattern) -> When:
    """Fewer lines fit than before."""
    return partial(fewer, pattern)


def gained(pattern: Pattern) -> When:
    """More lines fit than before."""
    return partial(more, pattern)


def touched(pattern: Pattern) -> When:
    """A changed line fits."""
    return partial(changed, pattern)


def rewritten(pattern: Pattern) -> When:
    """A removed line fits, and an added one."""
    return partial(replaced, pattern)
