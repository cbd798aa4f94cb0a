"""Kinds of symptom: what series did, and what error texts say went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from engine.judge.attribution.onset import Departure

if TYPE_CHECKING:
    from engine.judge.context import SymptomText

#: What an error says, in the words that languages, databases, brokers and clusters use.
TEXTS: Final = (
    ("null",
    r"null ?pointer|\bnil\b|nonetype|\bnull\b|undefined is not|cannot read propert|of undefined|`?none`? value"
    r"|dereference|unwrap|nullreference|segmentation|bad_optional|keyerror|nosuchelement|index out of|out of range"
    r"|out of bounds"),
    ("missing",
    r"does not exist|not found|no such|missing|unknown (column|field|table|method|topic|queue|flag|enum|type)"
    r"|undefined|is not a function|unresolved|not defined|no attribute|nosuchmethod|classnotfound|no module"
    r"|cannot find|could ?n[o']t find|cannot (import|open)|does not host|unknown_?(topic|table|column|field)|unknowntopic|manifest unknown"
    r"|imagepull|not set\b|is empty|unregistered|no graph|not loaded"),
    ("parse",
    r"pars(e|ing)|deseriali|seriali[sz]ation|unmarshal|decod|malformed|invalid (json|format|syntax|character"

    r"|value|type)|unexpected (token|end|eof|type)|schema|cannot cast|could not be converted|cannot convert"
    r"|type ?mismatch|conversion|required field"
    r"|is required|validation|constraint|violates|checksum|incompatible|number ?format|format ?exception|for input string"
    r"|invalid literal|invalid input|unsupported media|\b415\b|too long for|foreign key|not a valid|unrecognized|illegal ?argument"),
    ("timeout", r"time[d]? ?-?out|timeout|deadline|exceeded|cancel?led|did not answer|too slow|slow|\b504\b|gateway time"),
    ("refused",
    r"refused|unreachable|no route|connection reset|reset by peer|broken pipe|no such host|name resolution"
    r"|dns|bad gateway|service unavailable|unavailable|\b50[234]\b|econn(refused|reset)|epipe|socket hang ?up|\beof\b|enotfound|goaway"
    r"|not permit further|circuit ?breaker|leader not available|rst_stream"),
    ("exhausted",
    r"exhaust|too many|pool|no (free|available)|limit( of| reached| exceeded)?|quota|capacity|queue (is )?full"
    r"|starv|saturat|overload|backlog|rejected|out of (file|memory|connections)|checked out|busy|emfile|too (large|big|long)|toolarge"
    r"|larger than|connection slots|in-sync replicas"
    r"|exceeds the (maximum|limit)|cannot assign requested address"),
    ("memory", r"out ?of ?memory|oom|heap|gc overhead|memory|exit code 137|evict"),
    ("lock", r"dead-?lock|\block(s|ed|ing)?\b|contention|mutex|\bblocked|serialization failure|concurrent|\brace\b|conflict|\bcas\b"
        r"|stale ?object|optimistic"),
    ("race",
    r"concurrent ?(modification|map|access|use|write)|second operation|previous operation|\brace\b|thread-?safe|already (in use"
    r"|closed|running|disposed)|busy with|context (was )?cancell?ed|interleav"),
    ("auth", r"unauthori[sz]ed|forbidden|denied|\b40[13]\b|permission|credential|signature|token|secret|csrf|not allowed|may not"
        r"|authentication failed|access-control|\bcors\b|not authorized|access ?denied|invalid_grant"),
    ("route", r"\b404\b|no route for|default backend|method not allowed|unknown (path|route|endpoint)"),
    ("throttled", r"\b429\b|too many requests|rate limit|throttl|slow ?down|enhance_your_calm|rate exceeded"),
    ("crash", r"panic|crash|segfault|core dumped|fatal|abort|exited|oomkill|restart|recursion depth|stack ?overflow|exec format|crashloop"),
    ("retry", r"retr(y|ies)|attempt|backoff|trying again"),
    ("lag", r"\blag\b|behind|rebalanc|poll (timeout|interval)|max\.poll|backlog|unacked"),
    ("cache", r"cache|evict|\bmiss(es)?\b"),
    ("disk", r"no space|disk|read-only file|i/o error|inode"),
    ("certificate", r"certificate|x509|\btls\b|\bssl\b|handshake"),
    ("data",
    r"mismatch|(does|do|did) not (balance|match|agree|add up)|no (match|counterpart)|unmatched|differ|inconsisten|incorrect|wrong|unequal"
    r"|checksum|duplicate|negative|(?<!stack)(?<!stack )overflow|division by zero|precision|corrupt|stale|out of sync|diverge"),
    ("type",
    r"type ?error|can(not|'t) compare|incompatible|unsupported operand|class ?cast|not (an? )?(instance|assignable"
    r"|iterable|callable|serializable)|expect(ed|ing) .{1,40}(got|but|features|arguments|values)|unhashable|positional argument"
    r"|wrong number of|dimension|shape"),
    ("health", r"readiness|liveness|health ?check|unhealthy|no healthy|not ready|probe failed"),
    ("query", r"quer(y|ies)|temp(orary)? file (limit|size)|\bselect\b.+\bfrom\b|\bsql\b|sql statement|statement timeout"
        r"|cancell?ing statement|activerecord"),
)  # fmt: skip
#: What the name of a series says on top.
NAMES: Final = (
    ("cpu", r"cpu|load_avg"),
    ("memory", r"memory|heap|rss|\bgc|oom"),
    ("lock", r"lock|contention|mutex"),
    ("exhausted", r"pool|queue|connections|threads|in_use|in_flight|pending|busy|descriptors"),
    ("cache", r"cache|hit_ratio|miss"),
    ("query", r"db_|sql|quer"),
    ("lag", r"lag(?![a-z])|backlog|oldest|(?<![a-z])age(?![a-z])|depth|rebalance"),
    ("health", r"ready|healthy|available_(replicas|pods)|(?<![a-z])up(?![a-z])|alive"),
    ("timeout", r"timeout"),
    ("crash", r"restart|panic|crash|oom"),
    ("auth", r"401|403|auth|denied"),
    ("route", r"404"),
    ("retry", r"retr"),
    ("throttled", r"429|throttl"),
    ("parse", r"deserial|parse|decode|schema|invalid|failed_records"),
    ("data", r"mismatch|unmatched|duplicate|inconsisten|violation|drift|diverg|corrupt|stale"),
    ("missing", r"missing|not_found|unknown|without_|orphan|skipped"),
    ("disk", r"disk|volume|inode|filesystem"),
)
#: What is ill only where its series rise, unless they measure what is left.
LOADED: Final = frozenset({"cpu", "memory", "lock", "exhausted", "lag", "timeout", "crash", "retry", "throttled", "disk"})
SPARE: Final = re.compile(r"free|avail|idle|remain|left|headroom", re.I)
#: Each kind for people.
WORDS: Final = {
    "null": "an absent value used",
    "missing": "something missing",
    "parse": "data that cannot be read",
    "timeout": "timeouts",
    "refused": "refused connections",
    "exhausted": "a resource that runs out",
    "memory": "memory that runs out",
    "lock": "waiting for locks",
    "race": "things used by several at once",
    "auth": "denied access",
    "route": "unknown routes",
    "throttled": "throttling",
    "crash": "crashes",
    "retry": "repeated attempts",
    "cache": "cache misses",
    "query": "many or slow queries",
    "cpu": "a busy processor",
    "lag": "growing backlogs",
    "data": "values that do not agree",
    "type": "values of the wrong type",
    "health": "failing health checks",
    "certificate": "certificates",
    "disk": "full disks",
    "fanout": "more requests behind it",
    "idle": "fewer requests behind it",
    "latency": "longer times",
    "errors": "failures",
    "saturation": "saturation",
}
_TEXTS = tuple((kind, re.compile(words, re.I)) for kind, words in TEXTS)
_NAMES = tuple((kind, re.compile(words, re.I)) for kind, words in NAMES)
LEAST: Final = 0.05
WAITS: Final = 0.7


#: A line of a stack trace: where it happened, not what.
PLACE: Final = re.compile(r"^\s+(at|in|File|from)\b|^\s*[\w./$<>@-]+\.\w{1,5}:\d+|^\s{2,}\S|\.go:\d+")


def text_kinds(text: str) -> set[str]:
    """Kinds of symptom that an error text names; lines of a stack trace say where, not what.

    >>> sorted(text_kinds("workers exhausted: deadline exceeded"))
    ['exhausted', 'timeout']
    """
    lines = text.splitlines()
    said = "\n".join([*lines[:1], *(line for line in lines[1:] if not PLACE.search(line))])
    return {kind for kind, words in _TEXTS if words.search(said)}


@lru_cache(maxsize=4096)  # many series have one name
def _named_kinds(metric: str) -> tuple[str, ...]:
    return tuple(kind for kind, words in _NAMES if words.search(metric))


def eases(each: Departure) -> bool:
    """Whether a series of load or time fell: less work is a consequence, not an illness."""
    return each.kind in ("saturation", "latency") and each.new < each.old and not SPARE.search(each.metric)


def _waits(risen: Iterable[Departure]) -> set[str]:
    """Services that take longer and compute less: they wait for something (utilisation, saturation, errors: Gregg 2013)."""
    slower = {each.service for each in risen if each.kind == "latency" and each.new > each.old}
    return slower & {each.service for each in risen if each.new < each.old and "cpu" in _named_kinds(each.metric)}


def symptoms_of(
    risen: Iterable[Departure], texts: Iterable[SymptomText], weights: Mapping[str, float], measured: str
) -> tuple[tuple[str, float], ...]:
    """Kinds of symptom with weights 0 ... 1, strongest first: each as strong as the likeliest root that shows it.

    Of series: latency, errors, saturation, fanout (more requests), idle (fewer) and what their names say; of texts: see TEXTS.
    """
    found: dict[str, float] = {}
    most = max(weights.values(), default=0.0) or 1.0

    def add(kind: str, weight: float) -> None:
        found[kind] = max(found.get(kind, 0.0), weight)

    if measured:
        add("errors" if measured == "failures" else measured, 1.0)
    for each in risen:
        share = weights.get(each.service, 0.0) / most
        up = each.new > each.old
        if each.kind == "requests":
            add("fanout" if up else "idle", max(share, 0.5))
        elif each.kind != "other" and not eases(each):
            add(each.kind, share)
        for kind in _named_kinds(each.metric):
            if up or kind not in LOADED or SPARE.search(each.metric):
                add(kind, share)
    for service in _waits(risen):
        share = weights.get(service, 0.0) / most
        add("lock", WAITS * share)
        add("exhausted", WAITS * share)
    for text in texts:
        for kind in text_kinds(text.text):
            add(kind, text.weight)
        if not text.usual:
            add("errors", 0.5 * text.weight)
    return tuple(sorted(((kind, weight) for kind, weight in found.items() if weight >= LEAST), key=lambda each: (-each[1], each[0])))
