"""Settings that changed, by what their name says: truth values, texts, names of things."""

from __future__ import annotations

import re
from typing import Final

from engine.judge.attribution.diff import spaced
from engine.judge.attribution.edits import Edit
from engine.judge.attribution.inert import TELLS
from engine.judge.attribution.marks import ADDRESS
from engine.judge.attribution.quantities import Fits, Mechanism, of_number

#: Truth values by name; the first that fits counts.
BOOLEANS: Final[tuple[tuple[str, Fits], ...]] = (
    (r"commit|\back", {"data": 1.3, "missing": 1.0, "lag": 0.8, "errors": 0.3}),
    (r"verify|\btls|\bssl|certificate|secure", {"certificate": 1.5, "refused": 1.0, "auth": 0.7}),
    (r"cache", {"cache": 1.2, "query": 0.8, "data": 0.7, "latency": 0.7, "fanout": 0.7}),
    (r"strict|validat|required|enforce|\bfail|unknown|check", {"parse": 1.3, "auth": 0.8, "errors": 0.8, "missing": 0.6}),
    (
        r"multi az|replica|redundan|backup|standby|failover|\bha\b|durable|persist",
        {"refused": 1.0, "errors": 0.8, "latency": 0.8, "missing": 0.8, "data": 0.7},
    ),
    (r"gzip|compress|deflate|brotli|zstd", {"cpu": 1.2, "memory": 1.0, "latency": 0.9, "saturation": 0.8, "parse": 0.7}),
    (r"keep ?alive|pool|reuse|persistent|pipelin", {"exhausted": 1.2, "latency": 1.0, "refused": 1.0, "saturation": 0.6}),
    (r"debug|verbose|trace|profil|log", {"disk": 1.2, "cpu": 0.9, "latency": 0.8, "memory": 0.6, "saturation": 0.6}),
    (r"\bsync|fsync|blocking|durable|\bwait", {"latency": 1.2, "saturation": 0.8, "data": 0.6}),
    (r"lazy|eager|prefetch|preload|batch", {"query": 1.3, "latency": 1.0, "memory": 0.7}),
    (r"auth|login|public|private|anonymous|permission|readonly|read only", {"auth": 1.5, "errors": 0.5, "missing": 0.5}),
)
ANY_BOOLEAN: Final = {
    "errors": 0.6, "latency": 0.5, "auth": 0.5, "missing": 0.5, "cpu": 0.4, "lock": 0.5, "saturation": 0.4, "memory": 0.4, "cache": 0.2,
}  # fmt: skip
#: Texts by the name that they are set to.
TEXTS: Final[tuple[tuple[str, Fits], ...]] = (
    (
        r"audience|issuer|scopes?\b|\broles?\b|client id|realm|secret|token|credential|passw|\bsigning|api key",
        {"auth": 1.9, "missing": 0.8, "errors": 0.4},
    ),
    (
        r"instance|machine|node (type|pool)|\bvm\b|\btier\b|\bclass\b|flavou?r|\bsku\b|storage type",
        {"cpu": 1.4, "latency": 1.2, "saturation": 1.2, "memory": 1.2, "exhausted": 0.8, "throttled": 0.8, "disk": 0.6},
    ),
    (
        r"\bw\b|write concern|\backs?\b|consistency|isolation|durab|fsync|journal",
        {"latency": 1.2, "timeout": 0.9, "data": 1.0, "missing": 0.8, "lock": 0.8},
    ),
    (r"offset|replay|reset|from beginning", {"lag": 1.4, "data": 1.2, "missing": 0.8, "fanout": 0.8, "errors": 0.3}),
    (r"\bm?tls\b|\bssl|cipher|certificate", {"certificate": 1.6, "refused": 1.4, "auth": 0.6, "errors": 0.4}),
    (
        r"node selector|\bpool\b|affinity|zone|region|placement",
        {"health": 1.2, "saturation": 1.0, "idle": 1.0, "latency": 0.9, "refused": 0.8, "exhausted": 0.6},
    ),
    (r"selector|\bapp\b|labels?\b|backend|upstream|target", {"refused": 1.4, "health": 1.4, "idle": 1.3, "route": 1.0, "timeout": 0.8}),
    (r"\bimage\b|\btag\b", {"missing": 1.4, "crash": 1.2, "errors": 0.7, "type": 0.7, "parse": 0.7, "health": 0.8}),
    (r"evict|max ?memory", {"memory": 1.6, "cache": 1.3, "errors": 0.7, "exhausted": 0.8}),
    (
        r"topic|queue|stream|exchange|routing|subject|channel|bucket|table|index|database|schema|namespace",
        {"missing": 1.4, "idle": 1.2, "lag": 0.8, "errors": 0.4, "route": 0.6},
    ),
    (
        r"policy|strategy|balanc|algorithm|assign|mode\b|isolation|engine|collector|dispatch",
        {"latency": 0.9, "saturation": 0.9, "lag": 0.9, "lock": 0.8, "memory": 0.7, "exhausted": 0.7, "data": 0.6, "errors": 0.4},
    ),
)
_BOOLEANS = tuple((re.compile(words, re.I), fits) for words, fits in BOOLEANS)
_TEXTS = tuple((re.compile(words, re.I), fits) for words, fits in TEXTS)
#: Types of values: one in place of another holds less, more or something else; and of collections.
TYPES: Final = re.compile(
    r"u?int(8|16|32|64)?|[ui](8|16|32|64)|integer|long|short|byte|float(32|64)?|f(32|64)|double|(big)?(decimal|int|integer)|smallint|serial|number"
    r"|str(ing)?|text|varchar|char|bool(ean)?|uuid|date|time|datetime|timestamp(tz)?"
)
KEYED: Final = re.compile(r"(frozen|hash|tree|ordered)?(set|dict|map)")
LISTED: Final = re.compile(r"(array|linked)?(list|array|vec|vector|slice|tuple)")
METHODS: Final = ("get", "put", "post", "patch", "delete")
LEVELS: Final = ("trace", "debug", "info", "notice", "warn", "warning", "error")
CONTRACT: Final = {"parse": 1.8, "missing": 1.6, "null": 0.8, "errors": 0.3}


def of_edit(edit: Edit) -> Mechanism | None:
    """What a change of one number, truth value, text or name does; None where it does nothing."""
    if edit.kind == "number":
        return of_number(edit)
    called = spaced(edit.name)
    if edit.kind == "boolean":
        fits = next((fits for words, fits in _BOOLEANS if words.search(called)), ANY_BOOLEAN)
        return Mechanism(f"sets {edit.old} to {edit.new}", fits)
    old, new = edit.old.lower(), edit.new.lower()
    if old in LEVELS and new in LEVELS:
        more = LEVELS.index(new) < LEVELS.index(old)
        return Mechanism(f"logs from {new} on", {"disk": 1.6, "cpu": 1.0, "latency": 0.8, "saturation": 0.8}) if more else None
    if TELLS.search(edit.name):
        return None
    if edit.kind == "literal":
        return _of_text(edit, called)
    if TYPES.fullmatch(old) and TYPES.fullmatch(new):
        return Mechanism(f"{edit.old} becomes {edit.new}", {"data": 1.5, "type": 1.5, "parse": 1.3, "missing": 0.8, "errors": 0.4})
    if KEYED.fullmatch(old) and LISTED.fullmatch(new):
        return Mechanism(f"{edit.old} becomes {edit.new}", {"cpu": 1.6, "latency": 1.3, "timeout": 0.8, "saturation": 0.6})
    if old in METHODS and new in METHODS:
        return Mechanism(f"{edit.old} becomes {edit.new}", {"route": 1.4, "data": 1.0, "errors": 0.6, "auth": 0.5, "cache": 0.5})
    # the same words, written otherwise: who reads it by its name finds it no more
    if edit.declares or (spaced(edit.old) == spaced(edit.new) and old != new):
        return Mechanism(f"field {edit.old} becomes {edit.new}", CONTRACT)
    return Mechanism(f"{edit.old} becomes {edit.new}", {"missing": 0.8, "parse": 0.4, "errors": 0.2})


def _of_text(edit: Edit, called: str) -> Mechanism:
    what = f"{edit.old!r} becomes {edit.new!r}"
    named = next((fits for words, fits in _TEXTS if words.search(called)), None)
    if named is None and ADDRESS.search(edit.old) and ADDRESS.search(edit.new):
        return Mechanism(what, {"route": 2.0, "refused": 1.4, "missing": 1.1, "auth": 0.8, "parse": 0.8, "idle": 0.8, "errors": 0.4})
    fits = {"missing": 1.1, "auth": 0.8, "parse": 0.8, "route": 0.6, "refused": 0.6, "errors": 0.4}
    return Mechanism(what, fits | {kind: max(nats, fits.get(kind, 0.0)) for kind, nats in (named or {}).items()})
