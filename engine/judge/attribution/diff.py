"""A unified diff, taken apart: changed lines by file, comments and moved lines left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

LINES_MOST: Final = 2000
LINE_MOST: Final = 240  # characters: patterns take the square of it at worst, and what is longer was written by no one
COMMENT: Final = re.compile(r"^\s*(//|/\*|\*|#(?!\[|include|define|if|e|pragma)|--\s|;;|<!--|\"\"\"|''')")
HEADER: Final = re.compile(r"^@@ ?(?:-\d[\d,]* \+\d[\d,]* @@)?\s*(.*?)\s*$")
FILE: Final = re.compile(r"([\w.@-]+/)*[\w.@-]+\.\w{1,12}|([\w.@-]+/)+[\w.@-]+|Dockerfile|Makefile")
SUBWORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
TOKEN: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*|\d+(?:\.\d+)?")


class Line(NamedTuple):
    """A line of a hunk."""

    sign: str  # "+", "-" or " "
    indent: int  # a tab counts as one
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """Changed lines of one place, stripped, comments and lines that only moved left out; `kept` are its unchanged lines."""

    file: str
    place: str  # what the header says: the function, mostly
    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    moved: tuple[str, ...] = ()  # lines that are removed here and added there
    reordered: bool = False  # some of them stand in another place now, past unchanged lines
    lines: tuple[Line, ...] = ()  # all of them, comments left out, in order


@dataclass(frozen=True, slots=True)
class Diff:
    """All hunks of a change; `only_comments` where there are changed lines, but none of code."""

    hunks: tuple[Hunk, ...]
    only_comments: bool

    @property
    def added(self) -> tuple[str, ...]:
        """Added lines."""
        return tuple(line for hunk in self.hunks for line in hunk.added)

    @property
    def removed(self) -> tuple[str, ...]:
        """Removed lines."""
        return tuple(line for hunk in self.hunks for line in hunk.removed)

    @property
    def kept(self) -> tuple[str, ...]:
        """Unchanged lines and headers."""
        return tuple(line for hunk in self.hunks for line in (*hunk.kept, hunk.place))


@lru_cache(maxsize=1024)
def parse(text: str) -> Diff:
    """Take a diff apart. Unknown lines are context; a line that is removed and added again (but for white space) did not change."""
    hunks: list[Hunk] = []
    file, place = "", ""
    added: list[str] = []
    removed: list[str] = []
    kept: list[str] = []
    lines: list[Line] = []
    changed = block = 0
    blocks: dict[tuple[str, str], set[int]] = {}  # sign and bare line -> runs of changed lines that hold it

    def close() -> None:
        again = Counter(_bare(line) for line in added) & Counter(_bare(line) for line in removed)
        if added or removed or kept:
            moved = tuple(line for line in dict.fromkeys(added) if again[_bare(line)])
            reordered = any(blocks["-", _bare(line)].isdisjoint(blocks["+", _bare(line)]) for line in moved) or _swapped(
                removed, added, again
            )
            hunks.append(Hunk(file, place, _without(added, again), _without(removed, again), tuple(kept), moved, reordered, tuple(lines)))

    for whole_line in text.splitlines()[:LINES_MOST]:
        line = whole_line[:LINE_MOST]
        if line.startswith(("+++", "---", "diff ", "index ")):
            found = FILE.search(line[4:].removeprefix("b/")) if line.startswith("+++") else None
            file = found.group(0) if found else file
        elif line.startswith("@@"):
            close()
            added, removed, kept, lines = [], [], [], []
            blocks.clear()
            header = HEADER.match(line)
            place = (header.group(1) if header else line[2:]).replace("@@", " ").strip()
            found = FILE.match(place)
            file = found.group(0) if found else file
        elif line.startswith(("+", "-")):
            changed += 1
            content = line[1:].strip()
            if content and not COMMENT.match(line[1:]):
                (added if line[0] == "+" else removed).append(_uncommented(content))
                lines.append(_line(line[0], line[1:]))
                blocks.setdefault((line[0], _bare(_uncommented(content))), set()).add(block)
        elif line.strip():
            block += 1
            kept.append(line.strip())
            lines.append(_line(" ", line.removeprefix(" ")))
    close()
    whole = Diff(tuple(hunks), False)
    code = any(hunk.added or hunk.removed or hunk.moved for hunk in hunks)
    return Diff(whole.hunks, bool(changed) and not code)


def _swapped(removed: list[str], added: list[str], again: Counter[str]) -> bool:
    """Whether lines that are here and there stand in another order."""
    before, after = ([_bare(line) for line in lines if again[_bare(line)]] for lines in (removed, added))
    return len(before) == len(after) and before != after


def _line(sign: str, text: str) -> Line:
    return Line(sign, len(text) - len(text.lstrip()), _uncommented(text.strip()))


def _uncommented(line: str) -> str:
    return re.sub(r"\s+(//|#)\s.*$", "", line)


def _bare(line: str) -> str:
    return re.sub(r"\s+", "", line)


def _without(lines: list[str], again: Counter[str]) -> tuple[str, ...]:
    left = Counter(again)
    result = []
    for line in lines:
        if left[_bare(line)] > 0:
            left[_bare(line)] -= 1
        else:
            result.append(line)
    return tuple(result)


def tokens(text: str) -> list[str]:
    """Identifiers and numbers.

    >>> tokens("pool.max_conns = 10")
    ['pool', 'max_conns', '10']
    """
    return TOKEN.findall(text)


def words(text: str) -> list[str]:
    """Stemmed sub-words of three letters and more, lower case.

    >>> words("MaxConns exhausted; QueryRowContext")
    ['max', 'conn', 'exhaust', 'query', 'row', 'context']
    """
    return [stem(word.lower()) for word in SUBWORD.findall(text) if len(word) >= 3 and not word.isdigit()]


def spaced(name: str) -> str:
    """A name as lower-case words with spaces between: for patterns that look for whole words.

    >>> spaced("DEFAULT_MaxConns: 5")
    'default max conns'
    """
    return " ".join(word.lower() for word in SUBWORD.findall(name) if not word.isdigit())


def stem(word: str) -> str:
    """A word without its commonest endings.

    >>> [stem(word) for word in ("connections", "missing", "retries", "expired", "process")]
    ['connection', 'miss', 'retry', 'expir', 'process']
    """
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
