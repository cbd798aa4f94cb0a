"""Numbers that changed: what a limit, a timeout or an interval brings about when it falls, and when it rises."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from engine.judge.attribution.diff import spaced
from engine.judge.attribution.edits import Edit

WRONG_WAY: Final = -0.8
FULL_RATIO: Final = 4.0  # a number that changes by this factor has its mechanism in full
Fits = Mapping[str, float]
STEEP_RATIO: Final = 1.3  # and by this one where work grows with its power
UNSET: Final = 0.7
HELPS_FROM: Final = 1.0
HELPS_MORE: Final = 0.5
NONE_AT_ZERO: Final = re.compile(r"time ?out|deadline|\bttl\b|\bmax\b|limit|pool|conns?\b|connections|quota|burst|size|capacity", re.I)
STEEP: Final = re.compile(r"\b(cost|rounds?|factor|depth|level|dimensions?)\b")


class Mechanism(NamedTuple):
    """Something that a change does. `fits`: nats by kind of symptom, when it is there in full."""

    what: str
    fits: Fits
    opposite: Fits = MappingProxyType({})  # of a number: the fits, had it moved the other way


#: Any other number is another place.
ELSEWHERE: Final = {"refused": 1.8, "timeout": 1.2, "certificate": 0.8, "route": 0.8, "idle": 0.6}
#: Any other number puts things elsewhere.
REHASHED: Final = {"missing": 1.2, "cache": 1.2, "data": 1.0, "lag": 1.0, "saturation": 0.8, "exhausted": 0.8}
#: What passes, and what does not.
OTHER_VERSION: Final = {"missing": 1.2, "parse": 1.2, "type": 1.0, "route": 0.8, "null": 0.7, "errors": 0.7, "data": 0.6}
BORDER: Final = {"errors": 0.8, "idle": 0.8, "auth": 0.7, "parse": 0.7, "data": 0.6}
#: Numbers by what their name says; the first that fits counts. Fits when the number falls, and when it rises.
NUMBERS: Final[tuple[tuple[str, Fits, Fits], ...]] = (
    (r"\b(storage|disk|volume|allocated)\b", {"disk": 2.0, "saturation": 0.8, "crash": 0.6, "errors": 0.4}, {"latency": 0.2}),
    (r"\b(api )?(version|revision)\b", OTHER_VERSION, OTHER_VERSION),
    (r"\b(ports?|urls?|uri|hosts?|addr\w*|endpoint|dsn)\b", ELSEWHERE, ELSEWHERE),
    (r"\bsampl", {"errors": 0.2}, {"cpu": 1.0, "latency": 0.8, "saturation": 0.8, "disk": 0.8, "memory": 0.8}),
    (
        r"\b(retr(y|ies)|attempts?)\b",
        {"retry": 1.5, "exhausted": 1.2, "timeout": 0.7, "errors": 0.7},
        {"fanout": 1.3, "retry": 1.3, "throttled": 1.2, "saturation": 0.6, "latency": 0.5},
    ),
    (r"grace|terminat|\bdrain|shutdown|\bpre stop", {"refused": 1.3, "errors": 1.0, "data": 0.8}, {"latency": 0.3}),
    (
        r"\b(visibility|lease|heartbeat|session|ack)\b.*(time|ttl|interval|seconds|ms)",
        {"data": 1.2, "fanout": 1.2, "retry": 1.2, "lag": 1.0, "lock": 1.0, "auth": 0.8, "health": 0.6, "errors": 0.5},
        {"lag": 0.8, "lock": 0.6},
    ),
    (r"time ?out|\bdeadline|max wait", {"timeout": 1.9, "errors": 0.7}, {"latency": 1.0, "exhausted": 1.0, "saturation": 0.7}),
    (
        r"\b(retention|retain|history|keep (?!alive)|days|archive)\b",
        {"missing": 1.6, "data": 1.2, "errors": 0.6, "lag": 0.6},
        {"disk": 1.6, "memory": 1.4, "saturation": 0.8, "query": 0.7},
    ),
    (
        r"\bttl|max age|cache.*(life|time|size|entries)|\bexpir",
        {"cache": 2.0, "query": 1.0, "fanout": 1.3, "latency": 0.7, "auth": 0.5},
        {"memory": 1.0, "errors": 0.2},
    ),
    (
        r"^\W*cache\b",
        {"cache": 1.6, "fanout": 1.0, "query": 0.8, "latency": 0.8, "refused": 0.6, "timeout": 0.5},
        {"memory": 1.0, "data": 0.8},
    ),
    (
        r"\b(delay|sleep|backoff|back off|interval|period|pause|linger|debounce|poll(?!.*record))",
        {"fanout": 1.4, "throttled": 1.2, "cpu": 1.2, "saturation": 0.7},
        {"latency": 1.6, "lag": 1.5, "timeout": 0.8},
    ),
    (
        r"\b(batch\w*|group\w*|poll.*records?|bulk|chunk|prefetch|page size|fetch size)",
        {"fanout": 1.2, "query": 1.0, "lag": 1.2, "latency": 0.6},
        {"lag": 1.8, "memory": 1.4, "timeout": 1.3, "latency": 1.0},
    ),
    (
        r"rate limit|\bthrottl|\bquota|\brps\b|\bqps\b|\bburst|\bpermits",
        {"throttled": 2.0, "exhausted": 1.2, "errors": 0.8},
        {"saturation": 1.2, "fanout": 1.0, "latency": 0.7},
    ),
    (
        r"\b(weight|traffic|canary|rollout|split)\b",
        {"health": 1.2, "errors": 0.8, "refused": 0.8, "latency": 0.6},
        {"health": 1.2, "errors": 0.8, "refused": 0.8, "latency": 0.8, "missing": 0.6, "crash": 0.6},
    ),
    (r"\b(error|fail|fault|abort|inject|percent|ratio|probability)", {"errors": 0.3}, {"errors": 1.5}),
    (
        r"work mem|sort (mem|buffer)|shared buffers|buffer pool",
        {"query": 1.5, "disk": 1.2, "latency": 1.2, "cpu": 0.6},
        {"memory": 1.8, "crash": 0.8},
    ),
    (r"\b(shards?|buckets|vnodes|hash ring)\b", REHASHED, REHASHED),
    (r"\b(memory|heap|x ?mx|x ?ss|ram)\b", {"memory": 2.0, "crash": 1.5, "saturation": 0.6}, {"memory": 0.6}),
    (r"\b(cpus?|cores?|millicores|max ?procs|gomaxprocs)\b", {"cpu": 1.8, "throttled": 1.2, "latency": 1.2, "saturation": 1.0}, {}),
    (
        r"\b(replica|instances|min size|desired|partitions)",
        {"saturation": 1.5, "cpu": 1.2, "exhausted": 1.2, "latency": 1.0, "lag": 1.5},
        {"exhausted": 1.0},
    ),
    (
        r"\b(workers?|threads?|concurren\w*|parallel\w*)\b",
        {"exhausted": 1.6, "saturation": 1.2, "lag": 1.4, "timeout": 0.8, "latency": 0.9},
        {"exhausted": 1.5, "saturation": 1.0, "memory": 0.9, "throttled": 1.0, "lock": 0.8, "fanout": 1.0, "cpu": 0.7, "latency": 0.6},
    ),
    (
        r"\b(pool|max ?conn\w*|conns?|connections?|workers?|threads?|concurren\w*|open|idle|semaphore|capacity|queue|buffer"
        r"|limits?|max|slots?|size|descriptors|nofile|parallel\w*)\b",
        {"exhausted": 2.0, "saturation": 1.2, "timeout": 0.8, "latency": 0.7, "throttled": 0.7, "lag": 1.0},
        {"memory": 0.8, "exhausted": 0.6, "saturation": 0.5, "cpu": 0.6},
    ),
    (
        r"\b(cost|rounds?|iterations?|factor|depth|level|complexity|dimensions?|effort)\b",
        {"errors": 0.3},
        {"cpu": 1.8, "latency": 1.2, "saturation": 1.0, "timeout": 0.6},
    ),
    (r"\b(threshold|above|below|cut ?off|min(imum)?|at least|at most|floor|ceil(ing)?)\b", BORDER, BORDER),
    # no more is known than that it is a number
    (
        r"",
        {"latency": 0.4, "errors": 0.4, "data": 0.5},
        {"latency": 0.5, "errors": 0.4, "cpu": 0.5, "saturation": 0.4, "data": 0.5, "memory": 0.5},
    ),
)
_NUMBERS: Final = tuple((re.compile(words, re.I), falls, rises) for words, falls, rises in NUMBERS)


def of_number(edit: Edit) -> Mechanism | None:
    """A number that fell or rose, as strong as the logarithm of its ratio: full at a factor of 4; half where a limit was none before."""
    if not (math.isfinite(edit.before) and math.isfinite(edit.after)) or edit.before == edit.after:
        return None
    called = spaced(edit.name)
    falls, rises = next((falls, rises) for words, falls, rises in _NUMBERS if words.search(called))
    fell, size = edit.after < edit.before, 1.0
    if falls is rises:
        pass
    elif min(edit.before, edit.after) > 0:
        full = STEEP_RATIO if STEEP.search(called) else FULL_RATIO
        size = min(1.0, abs(math.log(edit.after / edit.before)) / math.log(full))
    elif NONE_AT_ZERO.search(called):  # nothing at all, or no limit: nobody knows
        both = {kind: max(falls.get(kind, 0.0), rises.get(kind, 0.0)) for kind in {*falls, *rises}}
        falls = rises = both
        size = 0.5 if edit.before <= 0 else 1.0
    fits, opposite = (falls, rises) if fell else (rises, falls)
    name = " ".join(re.findall(r"[\w.]+", edit.name)[:4])
    return Mechanism(f"{name}: {edit.old} -> {edit.new}", {kind: nats * size for kind, nats in fits.items()}, opposite)


def unset(name: str, value: str) -> Mechanism:
    """A number that is said no longer: nobody knows which way its default lies."""
    falls, rises = next((falls, rises) for words, falls, rises in _NUMBERS if words.search(spaced(name)))
    fits = {kind: UNSET * max(falls.get(kind, 0.0), rises.get(kind, 0.0)) for kind in {*falls, *rises}}
    return Mechanism(f"no longer sets {name} to {value}", fits)


def helps(mechanism: Mechanism, symptoms: Mapping[str, float]) -> bool:
    """Whether a number moved the way that would have helped: the other way explains what is seen, and this one does not."""
    this, other = (
        max((nats * symptoms.get(kind, 0.0) for kind, nats in fits.items()), default=0.0) for fits in (mechanism.fits, mechanism.opposite)
    )
    return other > HELPS_FROM and other > this + HELPS_MORE
