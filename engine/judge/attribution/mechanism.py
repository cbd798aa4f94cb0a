"""What a change does, and whether that is how such symptoms come about: at most 2 nats, -.8 for what would have helped.

Each thing that a diff does explains some kinds of symptom better than others. Kinds that everything shows (errors, latency) say little;
a kind that only such a change brings (a pool that runs dry, a field that is missing) says much.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from engine.judge.attribution.diff import Diff, Hunk, spaced
from engine.judge.attribution.edits import Edit, edits, number
from engine.judge.attribution.inert import TELLS, bump
from engine.records import ChangeType, ConfigChange

MOST: Final = 2.0
CONFIRMS: Final = 0.5  # a mechanism worth naming
WRONG_WAY: Final = -0.8
LOOSENING: Final = 0.6
SECOND: Final = 0.3  # what a second mechanism adds
ALSO: Final = 0.15  # what two more kinds of symptom add that the same mechanism explains


class Mechanism(NamedTuple):
    """Something that a change does. `fits`: nats by kind of symptom, when it is there in full."""

    what: str
    fits: Mapping[str, float]


GUARD: Final = re.compile(
    r"\bif\b.*\b(null|nil|none|undefined|nullptr|empty|is_?(some|none|null|nil|empty|present))\b|\bif\b.*\b(len|size|length|count)\b.*[<>=]|\?\.|\bOptional\b|\.or_?else|unwrap_or"
    r"|\?\?|&\.|\b(try|catch|except|rescue|recover)\b|\bif err\b|\.get\([^()]+,[^()]+\)|get_?or_?default|\bif let\b|\blet Some\b|\bguard let\b|\b(present|blank)\?|\bunless\b.*nil",
    re.I,
)
ASSERTION: Final = re.compile(r"\.unwrap\(\)|\.expect\(|!!(\.|\)|$)|\w!\.|\bas!\s|\.get\(\)(?=\.)|\[0\]\.|\.first\(\)\.|\bforce")
DEREFERENCE: Final = re.compile(r"\b\w+(?:(?:\.|->)\w+(?:\(\))?){2,}")
CLEANUP: Final = re.compile(
    r"\bdefer\b|\.(close|release|unlock|dispose|cancel|rollback|disconnect|destroy|stop|end|shutdown|detach|unsubscribe|recycle|evict|expire)(all|async|_all)?\(|\bcancel\(\)"
    r"|\busing\b|\bwith\b.*\b\w*(session|open|connect|lock|pool|scope|cursor|client|transaction)\w*|\bfinally\b|\bensure\b|\bfree\(|remove_?listener|clear_?(interval|timeout)|\btry\s*\(",
    re.I,
)
ADDRESS: Final = re.compile(r"^[/\w.:-]*(/|://|:\d{2,5}\b)|^[\w-]+(\.[\w-]+)+$")
ACQUIRE: Final = re.compile(
    r"\b(open|connect|acquire|borrow|checkout|get_?connection|new_?client|subscribe|add_?listener|set_?interval|session_?factory|begin)\w*\(",
    re.I,
)
LIMIT: Final = re.compile(
    r"\blimit\b|\bmax_?\w*|\btimeout\w*|deadline|\bttl\b|bound|capacity|evict|expire|quota|backoff|throttle|semaphore|\btake\(|\bcap\b|maxsize",
    re.I,
)
PAUSE: Final = re.compile(r"back_?off|\bsleep|jitter|\w*delay\b|debounce", re.I)
LOOP: Final = re.compile(r"\bfor\b|\bforeach\b|\bwhile\b|\.(each|map|forEach|flatMap|collect|select)\b\s*[({]|\bloop\b|\.stream\(\)", re.I)
ENDLESS: Final = re.compile(r"\bfor\s*\(\s*;\s*;\s*\)|\bfor\s*\{|\bwhile\s*\(?\s*(true|1)\b|\bloop\s*\{|\bloop do\b", re.I)
CALLS_OUT: Final = re.compile(
    r"quer(y|ies)\w*\(|\bselect\b.+\bfrom\b|\b\w*(fetch|http|requests?|client|repo|repository|dao|store|redis|db|database|session|stub|gateway|api|rpc|catalog|cursor)\w*(?:[.:]{1,2}\w+)+\(|\bawait\s+\w+"
    r"|\.(execute|find_?(by|one|all|first)?\w*|where|load\w*|save|send\w*|post|put|exec\w*|invoke|publish|get_?\w+)\(",
    re.I,
)
PRELOAD: Final = re.compile(
    r"\bincludes\(|preload|eager|prefetch|select_related|joinedload|selectinload|\bjoin\b|\bbatch|bulk|loaders?\b|load_?many|\bin\s*\(|multi_?get|mget|pipelin|denormali",
    re.I,
)
CACHE: Final = re.compile(r"cache|memoi[sz]", re.I)
LOCK: Final = re.compile(
    r"\b\w*(lock|mutex|semaphore|latch|barrier)\w*\b|synchronized|for update|isolation|\btransaction\w*|compare_?and|\bcas\b|serializable",
    re.I,
)
BLOCKING: Final = re.compile(
    r"\w+Sync\(|\.Result\b|\.Wait\(\)|\.join\(\)|\.get\(\)\s*;|GetAwaiter|\bsleep\(|Thread\.sleep|time\.Sleep|block_on|runBlocking|\.block\(\)|spin"
)
ASYNC: Final = re.compile(
    r"\bawait\b|\basync\b|\bgo\s+\w|go func|\bspawn\b|executor|submit\(|\.then\(|thread\(|\bTask\.|parallel|concurren|worker_?pool", re.I
)
GROWS: Final = re.compile(r"\.(append|push|add|put|set)\(|\[[^\]]+\]\s*=[^=]|\+=")
GLOBAL: Final = re.compile(r"\b(static|global|var|self\.|this\.|@@|\$)\b|^\s*[A-Z_]{3,}\b|registry|history|seen|buffer", re.I)
COSTLY: Final = re.compile(
    r"regex|re\.compile|\bsort(ed)?\b|\bdeep_?(copy|clone)|json\.(parse|dumps|loads)|serialize|encrypt|hash|pbkdf|bcrypt|scrypt|compress|reflect|levenshtein|contains\(",
    re.I,
)
STRICT: Final = re.compile(
    r"\braise\b|\bthrow\b|\bpanic!?\(|return\s+err|\bErr\(|required|strict|assert|disallow|reject|not[_ ]null|nonnull|validate|forbid|deny|must\b|additionalProperties|check\s*\(",
    re.I,
)
CONDITION: Final = re.compile(
    r"\b(if|while|when|unless|elif|else|case|switch|filter|where)\b|&&|\|\||[=!<>]=|[^-=<>]>[^>=]|<[^<=]|\bnot\b|\band\b|\bor\b|\?.*:"
)
SCHEMA: Final = re.compile(
    r"\b(create|alter|drop|rename|add)\s+(table|column|type|view|index|constraint|schema)|migration|json:\"|serialized?_?name|@(json|column|field|entity|serial)\w*|\[(json|data)\w*"
    r"|\b(optional|repeated|required)\s+\w+\s+\w+\s*=\s*\d+|\b\w+\s+\w+\s*=\s*\d+;|additionalProperties|\"required\"",
    re.I,
)
DECODES: Final = re.compile(r"decod|unmarshal|deseriali|parse|from_?json|loads?\(", re.I)
SQL: Final = re.compile(r"\b(select|insert|update|delete)\b.+\b(from|into|set|where)\b|\bwhere\b.+=|\border by\b|\bjoin\b", re.I)
INDEX_GONE: Final = re.compile(r"drop\s+index|remove_?index|dropindex|delete_?index", re.I)
NETWORK: Final = re.compile(
    r"security_?group|firewall|cidr|network_?polic|\b(in|e)gress\b|\backl\b|allow_?list|deny_?list|iptables|from_?port|to_?port|subnet|peering|\bdns\b|\bcname\b|hosted_?zone",
    re.I,
)
PROBE: Final = re.compile(r"\w*probe\b|health_?check|/(healthz?|readyz?|livez?|up|status)\b", re.I)
LOOKUP: Final = re.compile(r"getenv|environ|process\.env|config(uration)?\b|settings?\b|properties|\benv\(|secret|viper|@Value|vault", re.I)
WRITTEN: Final = re.compile(r"\b(to_?string|to_?s|str|string|encode|format|sprintf|render\w*)\b\s*[(.!]|\bf\"", re.I)
CONVERT: Final = re.compile(
    r"\b(int|float|double|long|decimal|number|u?int\d+|i\d+|parse\w*|to_?(int|i|f)|cast|convert|round\w*|floor|ceil|truncate|set_?scale|big_?decimal|to_?double|from_?iso\w*|decode|unix|timestamp|time_?zone|tz_?info|utc|milli\w*|cents?)\b\s*[(<.!=]",
    re.I,
)

#: Numbers by what their name says; the first that fits counts. Fits when the number falls, and when it rises.
NUMBERS: Final = (
    (r"\b(retr(y|ies)|attempts?)\b", {"retry": 1.5, "exhausted": 1.2, "timeout": 0.7, "errors": 0.7}, {"fanout": 1.3, "retry": 1.3, "throttled": 1.2, "saturation": 0.6, "latency": 0.5}),
    (r"time ?out|\bdeadline|max wait", {"timeout": 1.9, "errors": 0.7}, {"latency": 1.0, "exhausted": 1.0, "saturation": 0.7}),
    (r"\bttl|max age|cache.*(life|time|size|entries)|\bexpir", {"cache": 2.0, "query": 1.0, "fanout": 1.3, "latency": 0.7, "auth": 0.5}, {"memory": 1.0, "errors": 0.2}),
    (r"\b(delay|sleep|backoff|back off|interval|period|pause|linger|debounce|poll(?!.*record))", {"fanout": 1.4, "throttled": 1.2, "cpu": 1.2, "saturation": 0.7}, {"latency": 1.6, "lag": 1.5, "timeout": 0.8}),
    (r"\b(batch|poll.*records?|bulk|chunk|prefetch|page size|fetch size)", {"fanout": 1.2, "query": 1.0, "lag": 1.2, "latency": 0.6}, {"lag": 1.8, "memory": 1.4, "timeout": 1.3, "latency": 1.0}),
    (r"rate limit|\bthrottl|\bquota|\brps\b|\bqps\b|\bburst|\bpermits", {"throttled": 2.0, "exhausted": 1.2, "errors": 0.8}, {"saturation": 1.2, "fanout": 1.0, "latency": 0.7}),
    (r"\b(error|fail|fault|abort|inject|percent|ratio|probability|sampl)", {"errors": 0.3}, {"errors": 1.5}),
    (r"\b(memory|heap|xmx|ram)\b", {"memory": 2.0, "crash": 1.5, "saturation": 0.6}, {"memory": 0.6}),
    (r"\b(cpu|cores?|millicores)\b", {"cpu": 1.8, "throttled": 1.2, "latency": 1.2, "saturation": 1.0}, {}),
    (r"\b(replica|instances|min size|desired|partitions|shards)", {"saturation": 1.5, "cpu": 1.2, "exhausted": 1.2, "latency": 1.0, "lag": 1.5}, {"exhausted": 1.0}),
    (r"\b(pool|conns?|connections?|workers?|threads?|concurren\w*|open|idle|semaphore|capacity|queue|buffer|limits?|max|slots?|size|descriptors|nofile|parallel\w*)\b", {"exhausted": 2.0, "saturation": 1.2, "timeout": 0.8, "latency": 0.7, "throttled": 0.7, "lag": 1.0}, {"memory": 0.8, "exhausted": 0.6, "saturation": 0.5, "cpu": 0.6}),
)  # fmt: skip
_NUMBERS: Final = tuple((re.compile(words, re.I), falls, rises) for words, falls, rises in NUMBERS)
#: Parameters and flags of which no more is known than their name.
PARAMETERS: Final = (
    (re.compile(r"delay|latenc|timeout|sleep|wait|interval", re.I), {"latency": 0.5, "timeout": 0.5}),
    (re.compile(r"error|fail|fault|percent|invalid|reject|abort", re.I), {"errors": 0.5}),
    (re.compile(r"memory|leak|alloc|cpu|capacity|limit|concurren|throttl|replica|read|write", re.I), {"latency": 0.5, "errors": 0.5, "saturation": 0.5}),
)  # fmt: skip


def mechanism_term(change: ConfigChange, diff: Diff, symptoms: Mapping[str, float]) -> tuple[float, str]:
    """The best mechanism's fit, .3 of the next, at most 2; and what it is. `symptoms`: weights 0 ... 1 by kind."""
    scored = []
    for mechanism in mechanisms(change, diff):
        fits = sorted(((nats * symptoms.get(kind, 0.0), kind) for kind, nats in mechanism.fits.items()), reverse=True)
        if fits and fits[0][0] > 0:
            also = sum(nats for nats, _ in fits[1:3]) * ALSO
            scored.append((fits[0][0] + also, f"{mechanism.what}, which fits {WORDS[fits[0][1]]}"))
    if not scored:
        return _against(change, diff, symptoms)
    scored.sort(key=lambda each: (-each[0], each[1]))
    total = scored[0][0] + (SECOND * scored[1][0] if len(scored) > 1 else 0.0)
    return min(MOST, total), scored[0][1]


WORDS: Final = {
    "null": "an absent value used",
    "missing": "something missing",
    "parse": "data that cannot be read",
    "timeout": "timeouts",
    "refused": "refused connections",
    "exhausted": "a resource that runs out",
    "memory": "memory that runs out",
    "lock": "waiting for locks",
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


def mechanisms(change: ConfigChange, diff: Diff) -> list[Mechanism]:
    """Everything that a change does, as far as its diff and parameters tell."""
    found = [mechanism for hunk in diff.hunks for mechanism in _of_hunk(hunk)]
    changed = edits(diff)
    found += [mechanism for edit in changed if (mechanism := _of_edit(edit)) is not None]
    for param in change.params:
        old, new = number(param.old), number(param.new)
        if math.isfinite(old) and math.isfinite(new):
            edit = _of_number(Edit("number", param.name, param.old, param.new, old, new))
            found += [edit] if edit is not None else []
        found += [
            Mechanism(f"{param.name} is about {WORDS[next(iter(fits))]}", fits) for words, fits in PARAMETERS if words.search(param.name)
        ]
    if change.type is ChangeType.DEPLOYMENT and change.files:
        text = f"{change.summary} {' '.join(change.files)}"
        found += [Mechanism("is about such things by its words", fits) for words, fits in PARAMETERS if words.search(text)][:1]
    if bump(diff) == "major":
        found.append(Mechanism("takes a library to its next major release", {"missing": 1.5, "parse": 1.0, "errors": 0.8, "null": 0.8}))
    return found


def _net(pattern: re.Pattern[str], hunk: Hunk) -> int:
    """How many more added than removed lines fit."""
    return sum(bool(pattern.search(line)) for line in hunk.added) - sum(bool(pattern.search(line)) for line in hunk.removed)


def _of_hunk(hunk: Hunk) -> Iterator[Mechanism]:
    added = tuple(line for line in hunk.added if not TELLS.search(line))
    removed = tuple(line for line in hunk.removed if not TELLS.search(line))
    hunk = Hunk(hunk.file, hunk.place, added, removed, hunk.kept, hunk.moved)
    if not added and not removed:
        return
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
        yield Mechanism(
            "removes a limit", {"memory": 1.4, "fanout": 1.2, "throttled": 1.0, "exhausted": 1.0, "saturation": 0.9, "latency": 0.6}
        )
    if _net(PAUSE, hunk) < 0:
        fits = {"retry": 1.6, "throttled": 1.6, "fanout": 1.5, "lock": 1.3, "cpu": 1.1, "exhausted": 0.9}
        yield Mechanism("removes a pause between attempts", fits)
    if endless:
        yield Mechanism(
            "repeats without end or pause", {"fanout": 2.0, "retry": 1.9, "throttled": 1.9, "cpu": 1.4, "saturation": 1.2, "latency": 0.7}
        )
    if _io_in_loop(hunk):
        fits = {"query": 1.9, "fanout": 1.8, "latency": 1.3, "exhausted": 0.8, "saturation": 0.6, "timeout": 0.6, "throttled": 0.8}
        yield Mechanism("calls out once an item in a loop", fits)
    if _net(PRELOAD, hunk) < 0:
        yield Mechanism("no longer loads things together", {"query": 2.0, "fanout": 1.2, "latency": 1.1})
    if _net(CACHE, hunk) < 0:
        yield Mechanism("no longer uses a cache", {"cache": 1.8, "fanout": 1.5, "query": 1.4, "latency": 1.0, "saturation": 0.6})
    if any(LOCK.search(line) for line in (*added, *removed, *hunk.moved)):
        yield Mechanism("changes what is locked, or for how long", {"lock": 2.0, "latency": 0.7, "timeout": 0.7, "saturation": 0.6})
    if _net(BLOCKING, hunk) > 0 or (_net(re.compile(r"\bawait\b"), hunk) < 0 and _net(BLOCKING, hunk) >= 0 and added):
        fits = {"cpu": 1.4, "exhausted": 1.4, "latency": 1.3, "saturation": 1.3, "timeout": 0.8, "lag": 1.2}
        yield Mechanism("waits where it did not wait before", fits)
    elif _net(ASYNC, hunk) > 0:
        yield Mechanism("does more at the same time", {"lock": 1.2, "exhausted": 0.9, "memory": 0.7, "saturation": 0.7})
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
    if _net(COSTLY, hunk) > 0:
        yield Mechanism("adds costly work", {"cpu": 1.4, "latency": 0.9, "saturation": 0.5})
    if _net(STRICT, hunk) > 0:
        yield Mechanism("is stricter than before", {"parse": 1.3, "auth": 1.1, "errors": 0.7, "missing": 0.7, "exhausted": 0.4})
    if any(map(CONDITION.search, added)) and any(map(CONDITION.search, removed)):
        yield Mechanism("changes a condition", {"auth": 1.2, "data": 0.9, "errors": 0.5, "null": 0.4, "missing": 0.4, "route": 0.6})
    if any(map(LOOKUP.search, removed)) and any(map(LOOKUP.search, added)):
        yield Mechanism("reads a setting elsewhere", {"missing": 1.3, "auth": 1.4, "refused": 0.9, "errors": 0.4})
    if any(map(CONVERT.search, (*removed, *added))):
        yield Mechanism("converts values differently", {"data": 1.7, "type": 1.7, "parse": 0.9, "errors": 0.3})
    elif any(map(WRITTEN.search, (*removed, *added))):
        yield Mechanism("writes values differently", {"type": 1.2, "parse": 1.0, "errors": 0.2})
    if any(map(NETWORK.search, (*removed, *added))):
        yield Mechanism("changes who may reach whom", {"refused": 1.6, "timeout": 1.6, "auth": 0.7})
    if any(map(PROBE.search, (*removed, *added, *hunk.kept, hunk.place))):
        yield Mechanism("changes how health is checked", {"health": 2.0, "crash": 1.0, "idle": 0.8})


def _io_in_loop(hunk: Hunk) -> bool:
    """More calls out in a loop, before or among the lines, than were removed."""
    around = any(LOOP.search(line) for line in hunk.kept)

    def looped(lines: tuple[str, ...]) -> int:
        inside, calls = around, 0
        for line in lines:
            inside = inside or bool(LOOP.search(line))
            calls += inside and bool(CALLS_OUT.search(line))
        return calls

    return looped(hunk.added) > looped(hunk.removed)


def _of_edit(edit: Edit) -> Mechanism | None:
    if edit.kind == "number":
        return _of_number(edit)
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


def _of_number(edit: Edit) -> Mechanism | None:
    """A number that fell or rose, as strong as the logarithm of its ratio: full at a factor of 4."""
    if not (math.isfinite(edit.before) and math.isfinite(edit.after)) or edit.before == edit.after:
        return None
    for words, falls, rises in _NUMBERS:
        if words.search(spaced(edit.name)):
            fell = edit.after < edit.before
            floor = 1e-9
            size = min(1.0, abs(math.log(max(edit.after, floor) / max(edit.before, floor))) / math.log(4))
            fits = falls if fell else rises
            name = " ".join(re.findall(r"[\w.]+", edit.name)[:4])
            return Mechanism(f"{name}: {edit.old} -> {edit.new}", {kind: nats * size for kind, nats in fits.items()})
    return None


def _against(change: ConfigChange, diff: Diff, symptoms: Mapping[str, float]) -> tuple[float, str]:
    """Numbers that moved the way that would have helped: -.8."""
    changed = [edit for edit in edits(diff) if edit.kind == "number"]
    changed += [Edit("number", param.name, param.old, param.new, number(param.old), number(param.new)) for param in change.params]
    for edit in changed:
        for words, falls, rises in _NUMBERS:
            if words.search(spaced(edit.name)) and edit.after != edit.before:
                other = rises if edit.after < edit.before else falls
                if any(nats * symptoms.get(kind, 0.0) > 1.0 for kind, nats in other.items()):
                    return WRONG_WAY, f"{edit.old} -> {edit.new} is the direction that would have helped"
                break
    return 0.0, ""
