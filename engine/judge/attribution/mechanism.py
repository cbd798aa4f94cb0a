"""What a change does, and whether that is how such symptoms come about: at most 2 nats, -.8 for what would have helped.

Each thing that a diff does explains some kinds of symptom better than others. Kinds that everything shows (errors, latency) say little;
a kind that only such a change brings (a pool that runs dry, a field that is missing) says much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from engine.judge.attribution.diff import Diff, Hunk, spaced
from engine.judge.attribution.edits import Edit, edits, number
from engine.judge.attribution.files import MODULES
from engine.judge.attribution.hunks import around, of_hunk
from engine.judge.attribution.inert import bump, reworded
from engine.judge.attribution.quantities import WRONG_WAY, Mechanism, helps, of_number
from engine.judge.attribution.settings import of_edit
from engine.judge.attribution.symptoms import WORDS, text_kinds
from engine.records import ChangeType, ConfigChange

MOST: Final = 2.0
SECOND: Final = 0.3  # what a second mechanism adds
BUMPS: Final = {"major": 1.0, "minor": 0.6, "patch": 0.3}
ALSO: Final = 0.15  # what two more kinds of symptom add that the same mechanism explains


#: Parameters and flags of which no more is known than their name.
PARAMETERS: Final = (
    (
        re.compile(r"version|revision|\bmodel|schema|image|\btag\b|variant|release|template", re.I),
        {"type": 1.2, "parse": 1.2, "missing": 1.0, "data": 0.8, "null": 0.8, "errors": 0.6, "latency": 0.5, "memory": 0.5},
    ),
    (re.compile(r"delay|latenc|timeout|sleep|wait|interval", re.I), {"latency": 0.5, "timeout": 0.5}),
    (re.compile(r"error|fail|fault|percent|invalid|reject|abort", re.I), {"errors": 0.5}),
    (
        re.compile(r"memory|leak|alloc|cpu|capacity|limit|concurren|throttl|replica|read|write", re.I),
        {"latency": 0.5, "errors": 0.5, "saturation": 0.5},
    ),
)


def mechanism_term(change: ConfigChange, diff: Diff, symptoms: Mapping[str, float]) -> tuple[float, str]:
    """The best mechanism's fit, .3 of the next, at most 2; and what it is. `symptoms`: weights 0 ... 1 by kind."""
    scored, helped = [], ""
    for mechanism in mechanisms(change, diff):
        if helps(mechanism, symptoms):
            helped = mechanism.what
            continue
        fits = sorted(((nats * symptoms.get(kind, 0.0), kind) for kind, nats in mechanism.fits.items()), reverse=True)
        if fits and fits[0][0] > 0:
            also = sum(nats for nats, _ in fits[1:3]) * ALSO
            scored.append((fits[0][0] + also, f"{mechanism.what}, which fits {WORDS[fits[0][1]]}"))
    if not scored:
        return (WRONG_WAY, f"{helped} is the direction that would have helped") if helped else (0.0, "")
    scored.sort(key=lambda each: (-each[0], each[1]))
    total = scored[0][0] + (SECOND * scored[1][0] if len(scored) > 1 else 0.0)
    return min(MOST, total), scored[0][1]


@lru_cache(maxsize=1024)
def mechanisms(change: ConfigChange, diff: Diff) -> tuple[Mechanism, ...]:
    """Everything that a change does, as far as its diff and parameters tell."""
    common, said = around(diff), reworded(diff)
    hunks = tuple(_without(hunk, said) for hunk in diff.hunks if not MODULES.search(hunk.file))
    found = [mechanism for hunk in hunks for mechanism in of_hunk(hunk, common)]
    found += [mechanism for edit in edits(Diff(hunks, False)) if (mechanism := of_edit(edit)) is not None]
    for param in change.params:
        old, new = number(param.old), number(param.new)
        if math.isfinite(old) and math.isfinite(new):
            edit = of_number(Edit("number", param.name, param.old, param.new, old, new))
            found += [edit] if edit is not None else []
        about = text_kinds(f"{spaced(param.name)} {spaced(param.old)} {spaced(param.new)}")
        found += [Mechanism(f"{param.name} is about {WORDS[kind]}", {kind: 1.0}) for kind in sorted(about)]
        found += [
            Mechanism(f"{param.name} is about {WORDS[next(iter(fits))]}", fits)
            for words, fits in PARAMETERS
            if words.search(spaced(param.name))
        ]
    if change.type is ChangeType.DEPLOYMENT and change.files:
        text = f"{change.summary} {' '.join(change.files)}"
        found += [Mechanism("is about such things by its words", fits) for words, fits in PARAMETERS if words.search(text)][:1]
    step = bump(diff) if change.files and all(map(MODULES.search, change.files)) else ""
    if step:
        share, fits = BUMPS[step], {"missing": 1.5, "parse": 1.2, "type": 1.0, "errors": 0.8, "null": 0.8, "latency": 0.6, "exhausted": 0.6}
        found.append(Mechanism(f"takes a library to its next {step} release", {kind: share * nats for kind, nats in fits.items()}))
    return tuple(found)


def _without(hunk: Hunk, said: frozenset[str]) -> Hunk:
    added, removed = (tuple(line for line in lines if line not in said) for lines in (hunk.added, hunk.removed))
    return replace(hunk, added=added, removed=removed)
