"""What a change does, and whether that is how such symptoms come about: at most 2 nats, -.8 for what would have helped.

Each thing that a diff does explains some kinds of symptom better than others. Kinds that everything shows (errors, latency) say little;
a kind that only such a change brings (a pool that runs dry, a field that is missing) says much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from engine.judge.attribution.diff import Diff, Hunk, spaced
from engine.judge.attribution.edits import LITERAL, Edit, edits, number
from engine.judge.attribution.files import MODULES
from engine.judge.attribution.inert import TELLS, bump
from engine.judge.attribution.marks import (
    ACQUIRE,
    ADDRESS,
    ASSERTION,
    ASYNC,
    BACKTRACKS,
    BLOCKING,
    CACHE,
    CALLS_OUT,
    CLEANUP,
    CONDITION,
    CONVERT,
    COSTLY,
    DECODES,
    DEFINES,
    DEREFERENCE,
    ENDLESS,
    EXECUTES,
    GLOBAL,
    GROWS,
    GUARD,
    IMAGE,
    INDEX_GONE,
    KEEPS,
    KEYED,
    LIMIT,
    LOCK,
    LOOKUP,
    LOOP,
    LOOP_HEAD,
    NETWORK,
    PAUSE,
    PRELOAD,
    PROBE,
    SCHEDULE,
    SCHEMA,
    SHARES,
    SQL,
    STRICT,
    TABLE_LOCK,
    UNTIL,
    WRITTEN,
)
from engine.judge.attribution.quantities import Mechanism, against, of_number
from engine.judge.attribution.symptoms import WORDS, text_kinds
from engine.records import ChangeType, ConfigChange

CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9_]{3,}\b")
KEY: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+|\b\w+(?=:)")
MOST: Final = 2.0
SECOND: Final = 0.3  # what a second mechanism adds
BUMPS: Final = {"major": 1.0, "minor": 0.6, "patch": 0.3}
ALSO: Final = 0.15  # what two more kinds of symptom add that the same mechanism explains


#: Parameters and flags of which no more is known than their name.
PARAMETERS: Final = (
    (re.compile(r"delay|latenc|timeout|sleep|wait|interval", re.I), {"latency": 0.5, "timeout": 0.5}),
    (re.compile(r"error|fail|fault|percent|invalid|reject|abort", re.I), {"errors": 0.5}),
    (
        re.compile(r"memory|leak|alloc|cpu|capacity|limit|concurren|throttl|replica|read|write", re.I),
        {"latency": 0.5, "errors": 0.5, "saturation": 0.5},
    ),
)


def mechanism_term(change: ConfigChange, diff: Diff, symptoms: Mapping[str, float]) -> tuple[float, str]:
    """The best mechanism's fit, .3 of the next, at most 2; and what it is. `symptoms`: weights 0 ... 1 by kind."""
    scored = []
    for mechanism in mechanisms(change, diff):
        fits = sorted(((nats * symptoms.get(kind, 0.0), kind) for kind, nats in mechanism.fits.items()), reverse=True)
        if fits and fits[0][0] > 0:
            also = sum(nats for nats, _ in fits[1:3]) * ALSO
            scored.append((fits[0][0] + also, f"{mechanism.what}, which fits {WORDS[fits[0][1]]}"))
    if not scored:
        return against(change, diff, symptoms)
    scored.sort(key=lambda each: (-each[0], each[1]))
    total = scored[0][0] + (SECOND * scored[1][0] if len(scored) > 1 else 0.0)
    return min(MOST, total), scored[0][1]


def mechanisms(change: ConfigChange, diff: Diff) -> list[Mechanism]:
    """Everything that a change does, as far as its diff and parameters tell."""
    outward = _outward(diff)
    found = [mechanism for hunk in diff.hunks for mechanism in _of_hunk(hunk, outward)]
    changed = edits(diff)
    found += [mechanism for edit in changed if (mechanism := _of_edit(edit)) is not None]
    for param in change.params:
        old, new = number(param.old), number(param.new)
        if math.isfinite(old) and math.isfinite(new):
            edit = of_number(Edit("number", param.name, param.old, param.new, old, new))
            found += [edit] if edit is not None else []
        about = text_kinds(f"{spaced(param.name)} {spaced(param.old)} {spaced(param.new)}")
        found += [Mechanism(f"{param.name} is about {WORDS[kind]}", {kind: 1.0}) for kind in sorted(about)]
        found += [
            Mechanism(f"{param.name} is about {WORDS[next(iter(fits))]}", fits) for words, fits in PARAMETERS if words.search(param.name)
        ]
    if change.type is ChangeType.DEPLOYMENT and change.files:
        text = f"{change.summary} {' '.join(change.files)}"
        found += [Mechanism("is about such things by its words", fits) for words, fits in PARAMETERS if words.search(text)][:1]
    step = bump(diff) if change.files and all(map(MODULES.search, change.files)) else ""
    if step:
        share, fits = BUMPS[step], {"missing": 1.5, "parse": 1.2, "type": 1.0, "errors": 0.8, "null": 0.8, "latency": 0.6, "exhausted": 0.6}
        found.append(Mechanism(f"takes a library to its next {step} release", {kind: share * nats for kind, nats in fits.items()}))
    return found


def _net(pattern: re.Pattern[str], hunk: Hunk) -> int:
    """How many more added than removed lines fit."""
    return sum(bool(pattern.search(line)) for line in hunk.added) - sum(bool(pattern.search(line)) for line in hunk.removed)


def _outward(diff: Diff) -> re.Pattern[str] | None:
    """Calls of functions that the diff adds and that call out themselves; None where there are none."""
    names = set()
    for hunk in diff.hunks:
        if any(CALLS_OUT.search(line) or SQL.search(line) for line in hunk.added):
            names |= {one or other for line in hunk.added for one, other in DEFINES.findall(line)}
    return re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\(") if names else None


def _of_hunk(hunk: Hunk, outward: re.Pattern[str] | None) -> Iterator[Mechanism]:
    added = tuple(line for line in hunk.added if not TELLS.search(line))
    removed = tuple(line for line in hunk.removed if not TELLS.search(line))
    if not added and not removed and not hunk.reordered:
        return
    hunk = replace(hunk, added=added, removed=removed)
    if _net(GUARD, hunk) < 0 or _net(ASSERTION, hunk) > 0:
        yield Mechanism(
            "removes a check for absent values or errors", {"null": 2.0, "crash": 1.2, "errors": 0.7, "parse": 0.5, "retry": 0.4}
        )
    elif _net(DEREFERENCE, hunk) > 0 and _net(GUARD, hunk) <= 0:
        yield Mechanism("reaches through values without a check", {"null": 0.9, "crash": 0.5})
    if _net(CLEANUP, hunk) < 0:
        fits = {"exhausted": 2.0, "memory": 1.6, "lock": 1.4, "saturation": 1.1, "timeout": 0.8, "latency": 0.5}
        yield Mechanism("no longer closes or releases something", fits)
    elif _net(ACQUIRE, hunk) > 0 and _net(CLEANUP, hunk) <= 0:
        yield Mechanism("opens something without closing it", {"exhausted": 1.2, "memory": 0.9, "saturation": 0.7})
    endless = any(ENDLESS.search(line) for line in added)
    if _net(LIMIT, hunk) < 0 and not any(LIMIT.search(line) for line in added):
        fits = {"memory": 1.4, "fanout": 1.2, "throttled": 1.0, "exhausted": 1.0, "saturation": 0.9, "timeout": 0.8, "latency": 0.6}
        yield Mechanism("removes a limit, or takes it back to its default", fits | {"refused": 0.6, "errors": 0.4})
    elif _net(LIMIT, hunk) > 0 and not any(LIMIT.search(line) for line in removed):
        yield Mechanism("adds a limit", {"timeout": 1.4, "throttled": 1.4, "exhausted": 1.2, "errors": 0.5, "idle": 0.4})
    if _net(PAUSE, hunk) < 0:
        fits = {"retry": 1.6, "throttled": 1.6, "fanout": 1.5, "lock": 1.3, "cpu": 1.1, "exhausted": 0.9}
        yield Mechanism("removes a pause between attempts", fits)
    if endless:
        yield Mechanism(
            "repeats without end or pause", {"fanout": 2.0, "retry": 1.9, "throttled": 1.9, "cpu": 1.4, "saturation": 1.2, "latency": 0.7}
        )
    if _io_in_loop(hunk, outward):
        fits = {"query": 1.9, "fanout": 1.8, "latency": 1.3, "exhausted": 0.8, "saturation": 0.6, "timeout": 0.6, "throttled": 0.8}
        yield Mechanism("calls out once an item in a loop", fits)
    if _net(PRELOAD, hunk) < 0:
        yield Mechanism("no longer loads things together", {"query": 2.0, "fanout": 1.2, "latency": 1.1})
    if _net(CACHE, hunk) < 0:
        yield Mechanism("no longer uses a cache", {"cache": 1.8, "fanout": 1.5, "query": 1.4, "latency": 1.0, "saturation": 0.6})
    around = hunk.kept if hunk.reordered else ()
    if any(LOCK.search(line) for line in (*added, *removed, *hunk.moved, *around)):
        yield Mechanism("changes what is locked, or for how long", {"lock": 2.0, "latency": 0.7, "timeout": 0.7, "saturation": 0.6})
    if _net(BLOCKING, hunk) > 0 or (_net(re.compile(r"\bawait\b"), hunk) < 0 and _net(BLOCKING, hunk) >= 0 and added):
        fits = {"cpu": 1.4, "exhausted": 1.4, "latency": 1.3, "saturation": 1.3, "timeout": 0.8, "lag": 1.2}
        yield Mechanism("waits where it did not wait before", fits)
    elif _net(ASYNC, hunk) > 0:
        yield Mechanism(
            "does more at the same time", {"race": 1.4, "lock": 1.2, "fanout": 1.2, "exhausted": 0.9, "memory": 0.7, "saturation": 0.7}
        )
    if _net(SHARES, hunk) > 0:
        yield Mechanism(
            "shares between requests what each had for itself", {"race": 2.0, "lock": 0.8, "data": 0.8, "parse": 0.6, "errors": 0.3}
        )
    if _net(BACKTRACKS, hunk) > 0:
        yield Mechanism("repeats a repetition in a pattern", {"cpu": 2.0, "latency": 1.2, "timeout": 1.0, "saturation": 0.8})
    if _net(TABLE_LOCK, hunk) > 0:
        yield Mechanism("keeps a table from others while it runs", {"lock": 2.0, "timeout": 1.0, "latency": 0.8, "exhausted": 0.7})
    if any(INDEX_GONE.search(line) for line in added):
        yield Mechanism("drops an index", {"query": 2.0, "cpu": 1.2, "latency": 1.2})
    elif any(map(SCHEMA.search, (*removed, *added))):
        yield Mechanism("changes a schema or contract", {"parse": 1.6, "missing": 1.3, "errors": 0.4})
    elif any(map(DECODES.search, removed)) and any(map(DECODES.search, added)):
        yield Mechanism("reads data differently", {"parse": 0.8, "null": 0.4})
    if any(SQL.search(line) for line in added):
        yield Mechanism("changes a query", {"query": 1.1, "missing": 1.0, "latency": 0.6, "errors": 0.3})
    if any(GROWS.search(line) and GLOBAL.search(line) for line in added) and not any(map(CLEANUP.search, added)):
        yield Mechanism("keeps adding to something", {"memory": 1.4, "saturation": 0.5})
    if any(KEEPS.search(line) and not UNTIL.search(line) for line in added):
        yield Mechanism("keeps things in a store without an end", {"memory": 1.4, "cache": 1.2, "saturation": 0.6})
    if (any(map(KEYED.search, added)) and any(map(KEYED.search, removed))) or any(map(KEYED.search, (*hunk.kept, hunk.place))):
        yield Mechanism("changes what things are found by", {"cache": 1.4, "data": 0.8, "missing": 0.6, "fanout": 0.5})
    if any(map(EXECUTES.search, (*added, *removed))):
        fits = {"latency": 1.1, "saturation": 1.0, "exhausted": 1.0, "lag": 1.0, "timeout": 0.7, "lock": 0.6}
        yield Mechanism("changes where work runs", fits)
    if _net(COSTLY, hunk) > 0:
        yield Mechanism("adds costly work", {"cpu": 1.4, "latency": 0.9, "saturation": 0.5})
    if _net(STRICT, hunk) > 0:
        yield Mechanism("is stricter than before", {"parse": 1.3, "auth": 1.1, "errors": 0.7, "missing": 0.7, "exhausted": 0.4})
    if any(map(CONDITION.search, added)) and any(map(CONDITION.search, removed)):
        yield Mechanism("changes a condition", {"auth": 1.2, "data": 0.9, "errors": 0.5, "null": 0.4, "missing": 0.4, "route": 0.6})
    if _looked_up(removed) and _looked_up(added) and _looked_up(removed) != _looked_up(added):
        yield Mechanism("reads a setting elsewhere", {"missing": 1.3, "auth": 1.4, "refused": 0.9, "errors": 0.4})
    if any(map(CONVERT.search, (*removed, *added))):
        yield Mechanism("converts values differently", {"data": 1.7, "type": 1.7, "parse": 0.9, "errors": 0.3})
    elif any(map(WRITTEN.search, (*removed, *added))):
        yield Mechanism("writes values differently", {"type": 1.2, "parse": 1.0, "errors": 0.2})
    if any(map(NETWORK.search, (*removed, *added))):
        yield Mechanism("changes who may reach whom", {"refused": 1.6, "timeout": 1.6, "auth": 0.7})
    if any(map(SCHEDULE.search, (*removed, *added))):
        yield Mechanism("changes when something runs", {"fanout": 1.6, "saturation": 1.2, "exhausted": 1.2, "cpu": 1.1, "latency": 0.6})
    if IMAGE.search(hunk.file):
        yield Mechanism(
            "changes what the image holds", {"missing": 1.8, "crash": 1.2, "auth": 0.8, "certificate": 0.8, "parse": 0.8, "errors": 0.5}
        )
    if any(map(PROBE.search, (*removed, *added, *hunk.kept, hunk.place))):
        yield Mechanism("changes how health is checked", {"health": 2.0, "crash": 1.0})


def _looked_up(lines: Iterable[str]) -> set[str]:
    """Names and literals in the lines that look settings up."""
    found = [line for line in lines if LOOKUP.search(line)]
    return {each for line in found for each in (*LITERAL.findall(line), *CONSTANT.findall(line), *KEY.findall(line))}


def _io_in_loop(hunk: Hunk, outward: re.Pattern[str] | None) -> bool:
    """More calls out in a loop than were removed: deeper than a line that opens one, or on it."""
    return _looped(hunk, "+", outward) > _looped(hunk, "-", outward)


def _looped(hunk: Hunk, sign: str, outward: re.Pattern[str] | None) -> int:
    lines = [line for line in hunk.lines if line.sign in (" ", sign)]
    flat = all(line.indent == lines[0].indent for line in lines)
    loops: list[int] = []
    calls = 0
    for line in lines:
        while loops and line.indent <= loops[-1] and not flat:
            loops.pop()
        opens = bool(LOOP.search(line.text))
        inside = bool(loops) or (opens and not LOOP_HEAD.search(line.text))
        if inside and line.sign == sign and not TELLS.search(line.text):
            calls += bool(CALLS_OUT.search(line.text) or (outward and outward.search(line.text) and not DEFINES.search(line.text)))
        if opens:
            loops.append(line.indent)
    return calls


def _of_edit(edit: Edit) -> Mechanism | None:
    if edit.kind == "number":
        return of_number(edit)
    if edit.kind == "boolean":
        return Mechanism(
            f"sets {edit.old} to {edit.new}",
            {"errors": 0.6, "latency": 0.5, "auth": 0.6, "missing": 0.5, "cache": 0.8 if CACHE.search(edit.name) else 0.2},
        )
    if TELLS.search(edit.name):
        return None
    if edit.kind == "literal":
        path = bool(ADDRESS.search(edit.old) and ADDRESS.search(edit.new))
        fits = {"missing": 1.1, "auth": 0.8, "parse": 0.8, "errors": 0.4}
        fits |= {"route": 2.0, "refused": 1.4, "idle": 0.8} if path else {"route": 0.6, "refused": 0.6}
        return Mechanism(f"{edit.old!r} becomes {edit.new!r}", fits)
    if edit.declares:
        return Mechanism(f"field {edit.old} becomes {edit.new}", {"parse": 1.8, "missing": 1.6, "null": 0.8, "errors": 0.3})
    return Mechanism(f"{edit.old} becomes {edit.new}", {"missing": 0.8, "parse": 0.4, "errors": 0.2})
