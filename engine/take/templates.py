"""Templates of log records: which statement of the program wrote this text, whatever its arguments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.records import I32
from engine.strings import Strings

#: `Name.of.Class#12` (logger and line) or `path/file.ext:12`: a place in the source.
LOCATION = re.compile(
    r"(?<![\w.])((?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$]*#\d+"
    r"|[\w/.-]+\.(?:go|py|js|mjs|ts|tsx|java|cs|rb|rs|kt|scala|php|cpp|cc|c|ex|erl|swift):\d+)"
)
WILDCARD = "<*>"
PREFIX_TOKENS = 3  # levels of the tree below the number of tokens; the paper's depth 4 counts the root and the length
MOST_CHILDREN = 100  # of a node; more share the wildcard's branch (maxChild of the paper)
SIMILAR = 0.5  # share of equal tokens from which two texts are one template (st of the paper, 0.4 ... 0.6)
MOST_TOKENS = 40
CAP = 16384
LABEL_CHARACTERS = 80


def location(text: str) -> str:
    """The first place in the source that the text names, "" if none.

    >>> location("<*> INFO o.shop.Cart#12 [add]"), location("main.go:33 listening"), location("a#b")
    ('o.shop.Cart#12', 'main.go:33', '')
    """
    match = LOCATION.search(text)
    return match.group(1) if match else ""


class Templates:
    """Folded bodies (codes of kind "template") to template codes; 0 for no text, and once there are too many.

    A place in the source named by the text decides alone: two places are never one template, one place never two. Other texts go
    down a prefix tree of fixed depth to the most similar template of equal length, whose differing tokens become wildcards
    (He, Zhu, Zheng, Lyu 2017: Drain). Codes stay; texts of wildcard templates become more general.

    >>> strings = Strings()
    >>> templates = Templates(strings)
    >>> bodies = ["user <*> paid in euro", "user <*> paid in yen", "disk full", "A.b#12 paid", "A.b#12 done", "A.b#13 paid"]
    >>> templates.of(np.array([strings.intern("template", body) for body in bodies], np.int32)).tolist()
    [1, 1, 2, 3, 3, 4]
    >>> templates.text(1), templates.label(3)
    ('user <*> paid in <*>', 'A.b#12')
    """

    def __init__(self, strings: Strings, *, cap: int = CAP) -> None:
        self.cap = cap
        self.overflowed = 0
        self._strings = strings
        self._of_folded = np.full(1024, -1, np.int32)
        self._texts: list[str] = [""]
        self._places: dict[str, int] = {}
        self._labels: list[str] = [""]
        self._tokens: list[list[str]] = [[]]
        self._leaves: defaultdict[tuple[str | int, ...], list[int]] = defaultdict(list)
        self._children: defaultdict[tuple[str | int, ...], set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, code: int) -> str:
        """The template: folded text with wildcards; of a place in the source the first text seen from there."""
        return self._texts[code] if 0 <= code < len(self._texts) else ""

    def label(self, code: int) -> str:
        """A short name for sentences: the place in the source if there is one, else the text, cut."""
        if not 0 <= code < len(self._texts):
            return ""
        return self._labels[code] or self._texts[code][:LABEL_CHARACTERS]

    def of(self, folded: I32) -> I32:
        """Template codes of folded bodies, both int32 [n]."""
        if not len(folded):
            return np.zeros(0, np.int32)
        highest = int(folded.max())
        if highest >= len(self._of_folded):
            grown = np.full(max(highest + 1, 2 * len(self._of_folded)), -1, np.int32)
            grown[: len(self._of_folded)] = self._of_folded
            self._of_folded = grown
        codes: I32 = self._of_folded[folded]
        if (codes < 0).any():
            for new in np.unique(folded[codes < 0]).tolist():
                self._of_folded[new] = self._match(self._strings.text("template", new))
            codes = self._of_folded[folded]
        return codes

    def _match(self, text: str) -> int:
        if not text:
            return 0
        place = location(text)
        if place:
            code = self._places.get(place)
            if code is None:
                code = self._add(text, place, [])
                if code:
                    self._places[place] = code
            return code
        tokens = text.split()[:MOST_TOKENS]
        leaf = self._leaf(tokens)
        best, best_equal = 0, 0
        for code in self._leaves[leaf]:
            known = self._tokens[code]
            equal = sum(a == b for a, b in zip(known, tokens, strict=True) if a != WILDCARD)
            if equal > best_equal:
                best, best_equal = code, equal
        constant = max(1, len(tokens) - tokens.count(WILDCARD))
        if best and best_equal >= SIMILAR * constant:
            known = self._tokens[best]
            if known != tokens:
                self._tokens[best] = [a if a == b else WILDCARD for a, b in zip(known, tokens, strict=True)]
                self._texts[best] = " ".join(self._tokens[best])
            return best
        code = self._add(" ".join(tokens), "", tokens)
        if code:
            self._leaves[leaf].append(code)
        return code

    def _leaf(self, tokens: Sequence[str]) -> tuple[str | int, ...]:
        """Number of tokens, then the first tokens; one with a digit or wildcard is an argument, as are those past a node's limit."""
        path: tuple[str | int, ...] = (len(tokens),)
        for token in tokens[:PREFIX_TOKENS]:
            children = self._children[path]
            constant = WILDCARD not in token and not any(character.isdigit() for character in token)
            if not constant or (token not in children and len(children) >= MOST_CHILDREN):
                path = (*path, WILDCARD)
            else:
                children.add(token)
                path = (*path, token)
        return path

    def _add(self, text: str, label: str, tokens: list[str]) -> int:
        if len(self._texts) >= self.cap:
            self.overflowed += 1
            return 0
        self._texts.append(text)
        self._labels.append(label)
        self._tokens.append(tokens)
        return len(self._texts) - 1

    def state(self) -> dict[str, Any]:
        """Templates in the order of their codes."""
        return {"texts": self._texts[1:], "labels": self._labels[1:]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`: codes are those of the state. Raises: ValueError if templates are known already."""
        if len(self._texts) > 1:
            raise ValueError(f"restore needs an empty table, however: {len(self._texts) - 1} templates")
        for text, label in zip(state["texts"], state["labels"], strict=True):
            tokens = [] if label else text.split()
            code = self._add(text, label, tokens)
            if label:
                self._places[label] = code
            else:
                self._leaves[self._leaf(tokens)].append(code)
