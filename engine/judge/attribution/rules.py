"""What the lines of a diff do, a rule each: when it holds, and nats by kind of symptom that it explains."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.judge.attribution import marks, shapes
from engine.judge.attribution.edits import CONFIGURATION
from engine.judge.attribution.quantities import Fits


class Rule(NamedTuple):
    """Something that a hunk does, `when` it does it."""

    what: str
    fits: Fits
    when: shapes.When


RULES: Final = (
    Rule(
        "removes a check for absent values or errors",
        {"null": 2.0, "crash": 1.2, "missing": 0.9, "errors": 0.7, "parse": 0.5, "retry": 0.4},
        lambda hunk: shapes.fewer(marks.GUARD, hunk) or shapes.more(marks.ASSERTION, hunk),
    ),
    Rule(
        "reaches through values without a check",
        {"null": 0.8, "crash": 0.4},
        lambda hunk: shapes.more(marks.DEREFERENCE, hunk) and shapes.net(marks.GUARD, hunk) == 0 and shapes.net(marks.ASSERTION, hunk) <= 0,
    ),
    Rule("no longer sets something up", {"null": 1.4, "crash": 1.0, "missing": 1.0, "errors": 0.4}, shapes.lost(marks.SETS_UP)),
    Rule(
        "no longer closes or releases something",
        {"exhausted": 2.0, "memory": 1.6, "lock": 1.4, "saturation": 1.1, "timeout": 0.8, "latency": 0.5},
        shapes.lost(marks.CLEANUP),
    ),
    Rule(
        "opens something without closing it",
        {"exhausted": 1.2, "memory": 0.9, "saturation": 0.7},
        lambda hunk: shapes.more(marks.ACQUIRE, hunk) and shapes.net(marks.CLEANUP, hunk) == 0,
    ),
    Rule(
        "holds something for longer, or shorter",
        {"exhausted": 1.6, "lock": 1.6, "latency": 1.0, "saturation": 1.0, "timeout": 0.8, "race": 1.0},
        shapes.held,
    ),
    Rule(
        "removes a limit, or takes it back to its default",
        {
            "memory": 1.4,
            "fanout": 1.2,
            "throttled": 1.0,
            "exhausted": 1.0,
            "saturation": 0.9,
            "timeout": 0.8,
            "latency": 0.6,
            "refused": 0.6,
            "errors": 0.4,
        },
        shapes.unlimited,
    ),
    Rule(
        "says a limit otherwise",
        {"timeout": 1.3, "exhausted": 1.0, "throttled": 0.9, "memory": 0.7, "latency": 0.7, "retry": 0.6, "errors": 0.4},
        shapes.relimited,
    ),
    Rule(
        "does always what it did under a condition",
        {"fanout": 1.0, "data": 0.9, "auth": 0.9, "null": 0.9, "latency": 0.7, "lag": 0.8, "saturation": 0.6, "crash": 0.6},
        shapes.unconditional,
    ),
    Rule("does under a condition what it did always", {"idle": 0.9, "missing": 0.9, "data": 0.8, "auth": 0.5}, shapes.conditional),
    Rule(
        "does at once what was done later",
        {"latency": 1.4, "timeout": 1.1, "exhausted": 0.8, "saturation": 0.8, "errors": 0.3},
        shapes.lost(marks.LATER),
    ),
    Rule(
        "changes what is kept in a cache",
        {"cache": 1.3, "fanout": 0.9, "query": 0.8, "data": 0.8, "memory": 0.6},
        shapes.rewritten(marks.CACHE),
    ),
    Rule("caches what it did not", {"memory": 1.1, "data": 1.0, "cache": 0.7, "missing": 0.5}, shapes.gained(marks.CACHE)),
    Rule(
        "removes a pause between attempts",
        {"retry": 1.6, "throttled": 1.6, "fanout": 1.5, "lock": 1.3, "cpu": 1.1, "exhausted": 0.9},
        shapes.lost(marks.PAUSE),
    ),
    Rule(
        "repeats without end or pause",
        {"fanout": 2.0, "retry": 1.9, "throttled": 1.9, "cpu": 1.4, "saturation": 1.2, "latency": 0.7},
        lambda hunk: any(map(marks.ENDLESS.search, hunk.added)),
    ),
    Rule("no longer loads things together", {"query": 2.0, "fanout": 1.2, "latency": 1.1}, shapes.lost(marks.PRELOAD)),
    Rule(
        "no longer uses a cache", {"cache": 1.8, "fanout": 1.5, "query": 1.4, "latency": 1.0, "saturation": 0.6}, shapes.lost(marks.CACHE)
    ),
    Rule("changes what is locked, or for how long", {"lock": 2.0, "latency": 1.0, "timeout": 0.8, "saturation": 0.8}, shapes.locks),
    Rule(
        "waits where it did not wait before",
        {"cpu": 1.4, "exhausted": 1.4, "latency": 1.3, "saturation": 1.3, "timeout": 0.8, "lag": 1.2},
        shapes.waits,
    ),
    Rule(
        "does more at the same time",
        {"race": 1.4, "lock": 1.2, "fanout": 1.2, "exhausted": 1.1, "throttled": 0.9, "memory": 0.7, "saturation": 0.7},
        lambda hunk: shapes.more(marks.PARALLEL, hunk) or (shapes.more(marks.ASYNC, hunk) and not shapes.waits(hunk)),
    ),
    Rule(
        "shares between requests what each had for itself",
        {"race": 2.0, "lock": 0.8, "data": 0.8, "parse": 0.6, "errors": 0.3},
        shapes.gained(marks.SHARES),
    ),
    Rule(
        "repeats a repetition in a pattern",
        {"cpu": 2.0, "latency": 1.2, "timeout": 1.0, "saturation": 0.8},
        shapes.gained(marks.BACKTRACKS),
    ),
    Rule(
        "keeps a table from others while it runs",
        {"lock": 2.0, "timeout": 1.0, "latency": 0.8, "exhausted": 0.7},
        shapes.gained(marks.TABLE_LOCK),
    ),
    Rule(
        "drops an index",
        {"query": 2.0, "cpu": 1.2, "latency": 1.2},
        lambda hunk: any(map(marks.INDEX_GONE.search, hunk.added)),
    ),
    Rule(
        "changes a schema or contract",
        {"parse": 1.6, "missing": 1.3, "errors": 0.4},
        lambda hunk: shapes.changed(marks.SCHEMA, hunk) and not any(map(marks.INDEX_GONE.search, hunk.added)),
    ),
    Rule(
        "reads data differently",
        {"parse": 0.8, "null": 0.4},
        lambda hunk: shapes.replaced(marks.DECODES, hunk) and not shapes.changed(marks.SCHEMA, hunk),
    ),
    Rule(
        "changes a query",
        {"query": 1.1, "missing": 1.0, "latency": 0.6, "errors": 0.3},
        lambda hunk: any(map(marks.SQL.search, hunk.added)),
    ),
    Rule(
        "keeps adding to something",
        {"memory": 1.4, "saturation": 0.5},
        lambda hunk: (
            any(marks.GROWS.search(line) and marks.GLOBAL.search(line) for line in hunk.added)
            and not any(map(marks.CLEANUP.search, hunk.added))
        ),
    ),
    Rule(
        "keeps things in a store without an end",
        {"memory": 1.4, "cache": 1.2, "saturation": 0.6},
        lambda hunk: any(marks.KEEPS.search(line) and not marks.UNTIL.search(line) for line in hunk.added),
    ),
    Rule(
        "changes what things are found by",
        {"cache": 1.4, "data": 0.8, "missing": 0.6, "fanout": 0.5, "lag": 1.0, "throttled": 0.8},
        shapes.keyed,
    ),
    Rule(
        "changes where work runs",
        {"latency": 1.1, "saturation": 1.0, "exhausted": 1.0, "lag": 1.0, "timeout": 0.7, "lock": 0.6},
        shapes.touched(marks.EXECUTES),
    ),
    Rule("adds costly work", {"cpu": 1.4, "latency": 0.9, "saturation": 0.5}, shapes.gained(marks.COSTLY)),
    Rule(
        "is stricter than before",
        {"parse": 1.3, "auth": 1.1, "errors": 0.7, "missing": 0.7, "exhausted": 0.4},
        shapes.gained(marks.STRICT),
    ),
    Rule(
        "changes a condition",
        {"auth": 1.2, "data": 0.9, "errors": 0.5, "null": 0.4, "missing": 0.4, "route": 0.6},
        shapes.rewritten(marks.CONDITION),
    ),
    Rule("changes what counts as the same", {"data": 1.3, "missing": 0.8, "cache": 0.7, "errors": 0.3}, shapes.touched(marks.EQUALITY)),
    Rule("reads a setting elsewhere", {"missing": 1.3, "auth": 1.4, "refused": 0.9, "errors": 0.4}, shapes.elsewhere),
    Rule(
        "converts values differently",
        {"data": 1.7, "type": 1.7, "parse": 0.9, "missing": 0.8, "errors": 0.3},
        shapes.touched(marks.CONVERT),
    ),
    Rule(
        "writes values differently",
        {"type": 1.2, "parse": 1.0, "errors": 0.2},
        lambda hunk: shapes.changed(marks.WRITTEN, hunk) and not shapes.changed(marks.CONVERT, hunk),
    ),
    Rule(
        "changes a language, an encoding or a time zone",
        {"parse": 1.6, "data": 1.6, "type": 1.0, "idle": 0.8, "missing": 0.6, "errors": 0.4},
        shapes.touched(marks.LOCALE),
    ),
    Rule("changes who may reach whom", {"refused": 1.6, "timeout": 1.6, "auth": 0.7}, shapes.reaches),
    Rule(
        "no longer hands on when to give up",
        {"exhausted": 1.2, "latency": 1.0, "saturation": 1.0, "memory": 0.6, "timeout": 0.6},
        shapes.lost(marks.HANDED_ON),
    ),
    Rule("no longer waits for something", {"race": 1.4, "data": 1.2, "missing": 1.0, "idle": 0.5}, shapes.unawaited),
    Rule(
        "makes a client for each call",
        {"exhausted": 1.6, "refused": 1.0, "latency": 1.0, "certificate": 0.4, "memory": 0.6},
        shapes.client_each,
    ),
    Rule(
        "changes which rows are found",
        {"missing": 1.2, "data": 0.9, "query": 0.9, "idle": 0.6, "latency": 0.5},
        shapes.touched(marks.FILTERS),
    ),
    Rule("asks what no index answers", {"query": 1.7, "cpu": 1.2, "latency": 1.2, "timeout": 0.8}, shapes.gained(marks.SCANS)),
    Rule("takes values times another factor", {"data": 1.4, "errors": 0.4}, lambda hunk: shapes.net(marks.SCALES, hunk) != 0),
    Rule(
        "changes headers",
        {"parse": 0.9, "auth": 0.9, "cache": 0.8, "data": 0.7, "missing": 0.6, "errors": 0.4, "route": 0.5},
        shapes.touched(marks.HEADERS),
    ),
    Rule("no longer tells repeats apart", {"data": 1.6, "fanout": 0.6, "errors": 0.5}, shapes.lost(marks.REPEATS)),
    Rule("changes whom it trusts", {"certificate": 1.8, "refused": 0.8, "auth": 0.5}, shapes.touched(marks.TRUSTS)),
    Rule(
        "changes where it may run",
        {"health": 1.2, "saturation": 1.0, "idle": 1.0, "crash": 0.6, "exhausted": 0.6, "latency": 0.6},
        shapes.beside(marks.PLACEMENT),
    ),
    Rule(
        "changes where data lies, or who may write it",
        {"disk": 1.5, "missing": 1.2, "data": 1.0, "crash": 0.8, "auth": 0.8, "latency": 0.6, "errors": 0.4},
        shapes.touched(marks.VOLUMES),
    ),
    Rule(
        "changes who gets the requests",
        {"refused": 1.4, "health": 1.4, "idle": 1.2, "route": 1.0, "timeout": 0.8},
        lambda hunk: bool(CONFIGURATION.search(hunk.file)) and shapes.within(marks.SELECTS, hunk),
    ),
    Rule("no longer makes others wait", {"race": 1.4, "fanout": 1.1, "query": 1.0, "data": 1.0, "cpu": 0.6}, shapes.lost(marks.LOCK)),
    Rule(
        "changes how long connections live",
        {"refused": 1.3, "exhausted": 1.0, "timeout": 0.9, "latency": 0.8, "retry": 0.7},
        shapes.touched(marks.LIVES),
    ),
    Rule(
        "changes how load is shared",
        {"saturation": 1.3, "cpu": 1.0, "latency": 1.0, "lag": 0.8, "exhausted": 0.8, "missing": 0.6, "auth": 0.5},
        shapes.touched(marks.BALANCES),
    ),
    Rule("changes how queries are planned", {"query": 1.6, "latency": 1.2, "cpu": 1.1, "timeout": 0.7}, shapes.touched(marks.PLANS)),
    Rule("signs or encrypts differently", {"auth": 1.5, "data": 0.6, "parse": 0.6, "missing": 0.4}, shapes.touched(marks.SIGNS)),
    Rule("changes routes", {"route": 1.8, "missing": 0.6, "auth": 0.5, "idle": 0.5}, shapes.touched(marks.ROUTES)),
    Rule("changes what each request passes", {"auth": 1.2, "null": 0.6, "errors": 0.6, "latency": 0.6, "parse": 0.5}, shapes.passed),
    Rule(
        "changes sessions or cookies", {"auth": 1.4, "missing": 0.8, "cache": 0.6, "data": 0.6, "lock": 0.5}, shapes.touched(marks.SESSIONS)
    ),
    Rule("changes how it ends", {"refused": 1.2, "errors": 0.9, "data": 0.8, "timeout": 0.5}, shapes.touched(marks.ENDS)),
    Rule(
        "does more at every write",
        {"latency": 1.2, "lock": 1.0, "query": 1.2, "cpu": 0.8, "saturation": 0.7, "data": 0.6},
        shapes.gained(marks.TRIGGERS),
    ),
    Rule(
        "takes everything at once",
        {"memory": 1.7, "latency": 1.0, "query": 0.8, "saturation": 0.7, "cpu": 0.6, "exhausted": 0.5},
        shapes.in_pieces_no_more,
    ),
    Rule(
        "gives a time in another unit",
        {"timeout": 1.5, "cache": 1.4, "auth": 1.0, "fanout": 0.9, "retry": 0.9, "latency": 0.8, "errors": 0.6, "memory": 0.6},
        shapes.other_unit,
    ),
    Rule(
        "is less strict than before",
        {"data": 1.3, "null": 1.2, "missing": 0.8, "parse": 0.7, "auth": 0.8, "crash": 0.7},
        shapes.lost(marks.STRICT),
    ),
    Rule(
        "no longer leaves early",
        {"data": 0.9, "crash": 0.9, "auth": 0.9, "null": 0.8, "fanout": 0.8, "memory": 0.7, "latency": 0.6},
        shapes.lost(marks.LEAVES),
    ),
    Rule("puts a list in another order", {"data": 1.2, "parse": 0.8, "missing": 0.6, "auth": 0.5}, shapes.reordered_list),
    Rule(
        "leaves an argument out",
        {
            "parse": 0.9,
            "data": 0.9,
            "missing": 0.7,
            "timeout": 0.7,
            "memory": 0.6,
            "auth": 0.6,
            "latency": 0.6,
            "null": 0.6,
            "saturation": 0.5,
            "errors": 0.4,
        },
        shapes.argument_dropped,
    ),
    Rule("leaves earlier", {"idle": 0.8, "missing": 0.8, "null": 0.6, "data": 0.6}, shapes.gained(marks.LEAVES)),
    Rule("changes an order", {"data": 0.8, "race": 0.8, "missing": 0.6, "null": 0.6, "auth": 0.4}, lambda hunk: hunk.reordered),
    Rule(
        "changes what a queue holds",
        {"memory": 1.2, "lock": 1.0, "exhausted": 1.0, "saturation": 1.0, "lag": 1.0, "latency": 0.8},
        shapes.touched(marks.QUEUES),
    ),
    Rule("acknowledges at another time", {"data": 1.4, "missing": 1.0, "retry": 0.9, "lag": 0.8, "fanout": 0.7}, shapes.acknowledges),
    Rule(
        "writes or reads times differently",
        {"parse": 1.7, "data": 1.0, "type": 0.8, "missing": 0.5, "errors": 0.4},
        shapes.touched(marks.TIMES),
    ),
    Rule(
        "answers differently",
        {"errors": 1.0, "health": 1.0, "route": 1.0, "auth": 0.6, "parse": 0.5, "retry": 0.6},
        shapes.touched(marks.ANSWERS),
    ),
    Rule("loops within a loop", {"cpu": 1.5, "latency": 1.2, "timeout": 0.8, "saturation": 0.7, "memory": 0.5}, shapes.nested),
    Rule("closes what it opens in a loop only at the end", {"exhausted": 1.6, "memory": 0.8, "disk": 0.6}, shapes.deferred),
    Rule(
        "takes a setting away",
        {
            "missing": 1.3,
            "refused": 0.9,
            "auth": 0.8,
            "timeout": 0.8,
            "exhausted": 0.8,
            "memory": 0.8,
            "latency": 0.7,
            "retry": 0.7,
            "saturation": 0.6,
            "certificate": 0.6,
            "health": 0.6,
            "lag": 0.6,
            "errors": 0.5,
        },
        shapes.unset,
    ),
    Rule(
        "sets what was not set",
        {
            "errors": 0.5,
            "latency": 0.6,
            "cpu": 0.6,
            "memory": 0.6,
            "auth": 0.6,
            "saturation": 0.6,
            "timeout": 0.6,
            "exhausted": 0.6,
            "refused": 0.6,
            "health": 0.6,
            "lag": 0.5,
            "crash": 0.5,
        },
        shapes.newly_set,
    ),
    Rule(
        "calls out where it did not",
        {"latency": 0.8, "query": 0.8, "fanout": 0.7, "timeout": 0.6, "errors": 0.3},
        shapes.gained(marks.CALLS_OUT),
    ),
    Rule("changes who may do what", {"auth": 1.8, "errors": 0.4, "missing": 0.6}, shapes.touched(marks.ALLOWS)),
    Rule(
        "takes something from a list",
        {"auth": 1.2, "missing": 1.2, "refused": 1.0, "route": 1.0, "data": 1.0, "cache": 1.0, "type": 0.6, "errors": 0.5},
        shapes.dropped,
    ),
    Rule(
        "changes when something runs",
        {"fanout": 1.6, "saturation": 1.2, "exhausted": 1.2, "cpu": 1.1, "latency": 0.6},
        shapes.touched(marks.SCHEDULE),
    ),
    Rule(
        "changes what the image holds",
        {"missing": 1.8, "crash": 1.2, "certificate": 1.4, "auth": 0.8, "parse": 0.8, "errors": 0.5},
        lambda hunk: bool(marks.IMAGE.search(hunk.file)),
    ),
    Rule(
        "changes how health is checked",
        {"health": 2.0, "crash": 1.0},
        lambda hunk: shapes.changed(marks.PROBE, hunk) or any(map(marks.PROBED.search, (*hunk.kept, hunk.place))),
    ),
)
