"""Shapes of a hunk: what it has more or less of, before and after."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from engine.judge.attribution import marks
from engine.judge.attribution.diff import Hunk
from engine.judge.attribution.edits import CONFIGURATION, KEYED_NUMBER, LITERAL, NUMBER, number
from engine.judge.attribution.inert import TELLS

Pattern = re.Pattern[str]
When = Callable[[Hunk], bool]
CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9_]{3,}\b")
KEY: Final = re.compile(r"(?<![\w-])[\w-]+(?:\.[\w-]+)+|\b\w+(?=:)")
ITEM: Final = re.compile(r"[\w*./:@-]+")
LISTED: Final = re.compile(r"^(-\s+)?[-\"'`\w*./:@]+[\"'`]?,?$")


def net(pattern: Pattern, hunk: Hunk) -> int:
    """How many more added than removed lines fit."""
    return _count(pattern, hunk.added) - _count(pattern, hunk.removed)


def _count(pattern: Pattern, lines: Iterable[str]) -> int:
    return sum(bool(pattern.search(line)) for line in lines)


def fewer(pattern: Pattern, hunk: Hunk) -> bool:
    """Fewer lines fit than before."""
    return net(pattern, hunk) < 0


def more(pattern: Pattern, hunk: Hunk) -> bool:
    """More lines fit than before."""
    return net(pattern, hunk) > 0


def changed(pattern: Pattern, hunk: Hunk) -> bool:
    """A changed line fits."""
    return any(map(pattern.search, (*hunk.removed, *hunk.added)))


def replaced(pattern: Pattern, hunk: Hunk) -> bool:
    """A removed line fits, and an added one."""
    return any(map(pattern.search, hunk.removed)) and any(map(pattern.search, hunk.added))


def _limits(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if marks.LIMIT.search(line) and not marks.UNBOUNDED.search(line)]


def unlimited(hunk: Hunk) -> bool:
    """A limit goes, or becomes one that is none."""
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
    """What is locked, or for how long, is other."""
    around = hunk.kept if hunk.reordered else ()
    return any(map(marks.LOCK.search, (*hunk.added, *hunk.removed, *hunk.moved, *around)))


def waits(hunk: Hunk) -> bool:
    """It blocks where it did not, or calls at once what it awaited."""
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
    """Who may reach whom is other."""
    return changed(marks.NETWORK, hunk) or any(map(marks.NETWORKED.search, (*hunk.kept, hunk.place)))


def keyed(hunk: Hunk) -> bool:
    """What things are found again by is other."""
    code = not CONFIGURATION.search(hunk.file)
    fields = code and replaced(marks.KEY_FIELD, hunk)
    return fields or replaced(marks.KEYED, hunk) or any(map(marks.KEYED.search, (*hunk.kept, hunk.place)))


def relimited(hunk: Hunk) -> bool:
    """A limit is said otherwise; a number that is another one is seen as such."""
    return bool(_limits(hunk.removed)) and bool(_limits(hunk.added)) and not more(marks.UNBOUNDED, hunk)


def unconditional(hunk: Hunk) -> bool:
    """What was done under a condition is done always."""
    return fewer(marks.IF, hunk) and bool(hunk.moved)


def conditional(hunk: Hunk) -> bool:
    """What was done always is done under a condition."""
    return more(marks.IF, hunk) and bool(hunk.moved)


def _looked_up(lines: Iterable[str]) -> set[str]:
    """Names and literals in the lines that look settings up."""
    found = [line for line in lines if marks.LOOKUP.search(line)]
    return {each for line in found for each in (*LITERAL.findall(line), *CONSTANT.findall(line), *KEY.findall(line))}


def elsewhere(hunk: Hunk) -> bool:
    """Settings are read under other names."""
    before, after = _looked_up(hunk.removed), _looked_up(hunk.added)
    return bool(before and after) and before != after


def dropped(hunk: Hunk) -> bool:
    """A list, in a literal or a line an item, has lost some of its items and gained none."""
    before, after = _lists(hunk.removed), _lists(hunk.added)
    shorter = any(new < old for old in before for new in after)
    items = [line for line in hunk.removed if LISTED.match(line)]
    return shorter or (bool(items) and len(items) == len(hunk.removed) and not hunk.added)


def _lists(lines: Iterable[str]) -> list[frozenset[str]]:
    return [frozenset(each) for each in _ordered(lines)]


def _ordered(lines: Iterable[str]) -> list[list[str]]:
    """Lists within literals and brackets, with their items."""
    found = []
    for line in lines:
        texts = [each.strip("\"'`") for each in LITERAL.findall(line) if "," in each]
        texts += re.findall(r"[\[({]([^\[\](){}]*,[^\[\](){}]*)[\])}]", line)
        found += [ITEM.findall(text) for text in texts]
    return found


def reordered_list(hunk: Hunk) -> bool:
    """A list holds the same in another order: what counts places reads it differently."""
    before, after = _ordered(hunk.removed), _ordered(hunk.added)
    return any(sorted(old) == sorted(new) and old != new and len(old) > 1 for old in before for new in after)


def argument_dropped(hunk: Hunk) -> bool:
    """A call goes on without an argument, or a setter is not called any more."""
    before, after = (
        {name or setter for line in lines for name, setter in marks.ARGUMENT.findall(line)} for lines in (hunk.removed, hunk.added)
    )
    setters = any(marks.ARGUMENT.search(line) and ".set" in line for line in hunk.removed)
    return before > after and (bool(hunk.added) or setters) and not CONFIGURATION.search(hunk.file)


def options_dropped(hunk: Hunk) -> list[tuple[str, str]]:
    """Numbers that a program is told no longer: name and value."""
    before, after = ({name: value for line in lines for name, value in marks.OPTION.findall(line)} for lines in (hunk.removed, hunk.added))
    return [(name.lstrip("-"), value) for name, value in before.items() if name not in after]


def looped(hunk: Hunk, outward: Pattern | None) -> bool:
    """More calls out in a loop than were removed."""
    return _more_in_loops(hunk, lambda text: _calls(text, outward))


def nested(hunk: Hunk) -> bool:
    """A loop within a loop that was not there."""
    return _more_in_loops(hunk, lambda text: bool(marks.LOOP_HEAD.search(text)))


def deferred(hunk: Hunk) -> bool:
    """What is opened in a loop is closed when the function ends."""
    return _more_in_loops(hunk, lambda text: bool(marks.DEFERS.search(text)))


def _more_in_loops(hunk: Hunk, which: Callable[[str], bool]) -> bool:
    return _in_loops(hunk, "+", which) > _in_loops(hunk, "-", which)


def _in_loops(hunk: Hunk, sign: str, which: Callable[[str], bool]) -> int:
    """Changed lines of a kind that are deeper than a line that opens a loop, or on it."""
    lines = [line for line in hunk.lines if line.sign in (" ", sign)]
    flat = all(line.indent == lines[0].indent for line in lines)
    loops: list[int] = []
    found = 0
    for line in lines:
        while loops and line.indent <= loops[-1] and not flat:
            loops.pop()
        opens = bool(marks.LOOP.search(line.text))
        inside = bool(loops) or (opens and not marks.LOOP_HEAD.search(line.text))
        found += inside and line.sign == sign and which(line.text)
        if opens:
            loops.append(line.indent)
    return found


def _calls(text: str, outward: Pattern | None) -> bool:
    known = outward is not None and bool(outward.search(text)) and not marks.DEFINES.search(text)
    return not TELLS.search(text) and (known or bool(marks.CALLS_OUT.search(text)))


def within(pattern: Pattern, hunk: Hunk) -> bool:
    """A changed line fits, or an unchanged one beside, or the place."""
    return any(map(pattern.search, (*hunk.removed, *hunk.added, *hunk.kept, hunk.place)))


def other_unit(hunk: Hunk) -> bool:
    """A time is given in another unit, or in none."""
    before, after = ({found.lower() for line in lines for found in marks.UNITED.findall(line)} for lines in (hunk.removed, hunk.added))
    return bool(before) and before != after and len(hunk.removed) == len(hunk.added) and any(map(NUMBER.search, hunk.added))


def passed(hunk: Hunk) -> bool:
    """What each request passes is other, or in another order."""
    return changed(marks.PASSED, hunk) or (hunk.reordered and any(map(marks.PASSED.search, hunk.moved)))


def only_defines(hunk: Hunk) -> bool:
    """Nothing but a function that comes or goes: whoever calls it, or did, is changed elsewhere."""
    for these, others in ((hunk.added, hunk.removed), (hunk.removed, hunk.added)):
        if these and not others and marks.DEFINES.search(these[0]):
            return True
    return False


def acknowledges(hunk: Hunk) -> bool:
    """What was handled is acknowledged at another time."""
    return changed(marks.ACKS, hunk) or any(map(marks.ACKS.search, (*hunk.moved, *(hunk.kept if hunk.reordered else ()))))


def unset(hunk: Hunk) -> bool:
    """Settings are taken away, and nothing comes in their place."""
    return bool(CONFIGURATION.search(hunk.file)) and not hunk.added and any(map(marks.SETTING.match, hunk.removed))


def newly_set(hunk: Hunk) -> bool:
    """Settings come where there were none."""
    return bool(CONFIGURATION.search(hunk.file)) and not hunk.removed and any(map(marks.SETTING.match, hunk.added))


def in_pieces_no_more(hunk: Hunk) -> bool:
    """Everything is taken at once."""
    return more(marks.WHOLE, hunk) or (fewer(marks.PIECES, hunk) and bool(hunk.added))


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


def beside(pattern: Pattern) -> When:
    """A changed line fits, or an unchanged one beside it."""
    return partial(within, pattern)
