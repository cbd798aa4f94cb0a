"""Capped string dictionaries: a string's code outlives the request it came with; code 0 is "other" (the cap was reached, or absent)."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Protocol

from engine.records import Resource

#: Most codes a kind may hold; past it everything new is code 0 and counted.
CAPS = {"service": 4096, "operation": 65536, "template": 65536, "series": 131072, "value": 65536, "text": 8192}
RESOURCES_CAP = 16384
#: A text is cut to this many characters.
LONGEST = {"template": 1024, "series": 1024, "text": 2048}
LONGEST_DEFAULT = 256


class StringTable(Protocol):
    """What a decoder needs of a dictionary."""

    def intern(self, kind: str, text: str) -> int:
        """Code of a text, a new one if it was not seen before."""
        ...

    def text(self, kind: str, code: int) -> str:
        """Text of a code, "" for 0."""
        ...


class Strings:
    """Append-only dictionaries, one a kind. Codes order nothing and are never written to disk.

    >>> strings = Strings()
    >>> strings.intern("service", "cart"), strings.intern("service", "cart"), strings.text("service", 1)
    (1, 1, 'cart')
    """

    def __init__(self, caps: dict[str, int] | None = None) -> None:
        self.caps = dict(CAPS if caps is None else caps)
        self.overflowed: Counter[str] = Counter()
        self._codes: dict[str, dict[str, int]] = {kind: {"": 0} for kind in self.caps}
        self._texts: dict[str, dict[int, str]] = {kind: {0: ""} for kind in self.caps}
        self._next = {kind: count(1) for kind in self.caps}

    def intern(self, kind: str, text: str) -> int:
        """Code of a text; 0 (and counted in `overflowed`) once the kind is full. Texts are cut to the kind's longest."""
        codes = self._codes[kind]
        code = codes.get(text)
        if code is not None:
            return code
        longest = LONGEST.get(kind, LONGEST_DEFAULT)
        if len(text) > longest:
            return self.intern(kind, text[:longest])
        texts = self._texts[kind]
        if len(texts) >= self.caps[kind]:
            self.overflowed[kind] += 1
            return 0
        # decoders and the engine intern at the same time: next, [] and setdefault are atomic, and a code is readable before it is given
        # out; whoever loses the race leaves a code that nobody has
        code = next(self._next[kind])
        texts[code] = text
        return codes.setdefault(text, code)

    def text(self, kind: str, code: int) -> str:
        """Text of a code; "" for 0 and for codes that were never given out."""
        return self._texts[kind].get(code, "")

    def size(self, kind: str) -> int:
        """Codes given out, the 0 included."""
        return len(self._texts[kind])


class Resources:
    """Append-only table of who sends; code 0 is the nameless Resource()."""

    def __init__(self, cap: int = RESOURCES_CAP) -> None:
        self.cap = cap
        self.overflowed = 0
        self._codes: dict[Resource, int] = {Resource(): 0}
        self._rows: list[Resource] = [Resource()]

    def intern(self, resource: Resource) -> int:
        """Code of a resource; 0 (and counted in `overflowed`) once the table is full."""
        code = self._codes.get(resource)
        if code is None:
            if len(self._rows) >= self.cap:
                self.overflowed += 1
                return 0
            code = self._codes[resource] = len(self._rows)
            self._rows.append(resource)
        return code

    def __getitem__(self, code: int) -> Resource:
        return self._rows[code]

    def __len__(self) -> int:
        return len(self._rows)
