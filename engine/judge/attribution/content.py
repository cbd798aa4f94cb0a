"""Words that a change and the incident share, rare ones counting more; and the places of a stack trace."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from engine.judge.attribution.diff import Diff, tokens, words
from engine.judge.context import ChangeContext
from engine.records import ConfigChange
from engine.take.texts import TextKind

TEXT_WEIGHTS: Final = {
    TextKind.LOG: 1.0,
    TextKind.EXCEPTION: 1.0,
    TextKind.MESSAGE: 1.0,
    TextKind.STATEMENT: 0.8,
    TextKind.OPERATION: 0.5,
    TextKind.ERROR_TYPE: 0.6,
}
METRIC_WEIGHT: Final = 0.6
CHANGED, KEPT, PATH, TITLE, NAMED = 1.0, 0.3, 0.4, 0.35, 1.0
WHOLE: Final = 1.5  # a whole identifier beside its parts
USUAL: Final = 0.35  # a word that is said in normal times, too
IDF_MOST: Final = 2.5
SCALE: Final = 2.5
FACTOR: Final = 2.2
FRAME_FILE: Final = 1.5
FRAME_FUNCTION: Final = 1.5
FRAME: Final = re.compile(
    r"([\w.-]+\.(?:py|java|kt|scala|go|rs|rb|php|jsx?|mjs|cjs|tsx?|vue|cs|cpp|cc|c|hpp|h|swift|ex|exs|erl|lua"
    r"|pl|dart|groovy|clj))(?:[:(#]|\b)(\d+)?"
)
FUNCTION: Final = re.compile(r"(?:\bin |\bat |\s|\.|::|^)([A-Za-z_]\w{3,})(?=\s*\(|\s+at\b|\s*$|\s*\n)", re.M)
#: Words of every program and every message: they tie nothing to anything.
COMMON_TEXT: Final = (
    "add after all and api app are async await before bool but call called calls can class client code com const context "
    "count ctx data def did does duration during err error errors exc exception fail failed failure false file float for "
    "from func function get has have http https import info int into item items its java key lang latency less let line "
    "list log logger main map message minute more msg name names net new nil none not null object one org out over p50 p90 "
    "p95 p99 package per private public rate request requests response result return runtime second seconds self server "
    "service services set src static status string test tests text than that the this time timed total true two type types "
    "use user users util val value values var warn warning was when while will with"
)
COMMON: Final = frozenset(COMMON_TEXT.split())


class Content(NamedTuple):
    """Shared words of one change. `nats` includes the stack's."""

    nats: float
    shared: tuple[str, ...]  # strongest first
    frame: str  # the file or function of a stack trace that the change edits


def query_of(context: ChangeContext) -> dict[str, float]:
    """Weights of the incident's words and identifiers, the largest of each; parts of service names left out: reach counts those."""
    names = {word for service in context.known_services for word in words(service)} | {
        service.lower() for service in context.known_services
    }
    if context.outside_host:  # that a client names its own provider says nothing
        names |= terms(context.outside_host)
    usual = {term for text in context.usual_texts for term in terms(text)}
    weights: dict[str, float] = {}

    def add(text: str, weight: float) -> None:
        for term in terms(text):
            if term not in names and term not in COMMON:
                weights[term] = max(weights.get(term, 0.0), weight * (USUAL if term in usual else 1.0))

    for said in context.texts:
        add(said.text, said.weight * TEXT_WEIGHTS[said.kind])
    most = max((view.root for view in context.services), default=1.0) or 1.0
    of_metric: dict[str, float] = {}  # many series have one name
    for step in context.steps:
        weight = METRIC_WEIGHT * min(1.0, context.view(step.service).root / most if not context.measured else 1.0)
        of_metric[step.metric] = max(of_metric.get(step.metric, 0.0), weight)
    for metric, weight in of_metric.items():
        add(metric, weight)
    return weights


def terms(text: str) -> set[str]:
    """Sub-words and whole identifiers (with `=` before them) of a text."""
    whole = {f"={token.lower()}" for token in tokens(text) if len(token) >= 6 and (len(words(token)) > 1 or "_" in token)}
    return set(words(text)) | whole


def document_of(change: ConfigChange, diff: Diff) -> dict[str, float]:
    """Weights of a change's words and identifiers, the largest of each."""
    weights: dict[str, float] = {}
    parts = (
        (CHANGED, (*diff.added, *diff.removed)),
        (KEPT, diff.kept),
        (PATH, change.files),
        (TITLE, (change.summary,)),
        (NAMED, (change.flag_key, *(param.name for param in change.params))),
    )
    for weight, texts in parts:
        for text in texts:
            for term in terms(text):
                weights[term] = max(weights.get(term, 0.0), weight)
    return weights


def contents(changes: Sequence[ConfigChange], diffs: Sequence[Diff], context: ChangeContext) -> list[Content]:
    """Content of each change.

    C = sum over shared terms of idf * query * document,  idf = min(2.5, ln((N + 1) / (n + .5))), n of N changes hold the term
    content = 2.2 ln(1 + C / 2.5) - the median over all changes + stack
    """
    query = query_of(context)
    documents = [document_of(change, diff) for change, diff in zip(changes, diffs, strict=True)]
    held = Counter(term for document in documents for term in document)
    size = max(len(documents), 12)  # few changes say little about how rare a word is
    raw, shared = [], []
    for document in documents:
        parts = {}
        for term in query.keys() & document.keys():
            idf = min(IDF_MOST, math.log((size + 1) / (held[term] + 0.5)))
            parts[term] = max(0.0, idf) * query[term] * document[term] * (WHOLE if term.startswith("=") else 1.0)
        raw.append(FACTOR * math.log1p(sum(parts.values()) / SCALE))
        shared.append(tuple(sorted((term for term in parts if parts[term] > 0.2), key=lambda term: (-parts[term], term))))
    middle = sorted(raw)[len(raw) // 2] if len(raw) >= 3 else 0.0
    frames = frames_of(context)
    found = []
    for change, diff, nats, common in zip(changes, diffs, raw, shared, strict=True):
        stack, frame = _stack(change, diff, frames)
        found.append(Content(nats - middle + stack, tuple(term.lstrip("=") for term in common), frame))
    return found


def flag_nats(change: ConfigChange, context: ChangeContext) -> float:
    """1 times the text's weight if new errors hold all words (at least two) of a flag's or parameter's name, else 0."""
    best = 0.0
    for name in (change.flag_key, *(param.name for param in change.params)):
        parts = set(words(name)) - COMMON
        for said in context.texts if len(parts) >= 2 else ():
            if not said.usual and parts <= set(words(said.text)):
                best = max(best, said.weight)
    return best


def frames_of(context: ChangeContext) -> Mapping[str, float]:
    """Files and functions (with `()` behind) of the incident's stack traces and messages, with weights."""
    found: dict[str, float] = {}
    for said in context.texts:
        if said.kind not in (TextKind.EXCEPTION, TextKind.LOG, TextKind.MESSAGE) or said.usual:
            continue
        files = [match.group(1) for match in FRAME.finditer(said.text)]
        for file in files:
            found[file.lower()] = max(found.get(file.lower(), 0.0), said.weight)
        if files or said.kind is TextKind.EXCEPTION:
            for match in FUNCTION.finditer(said.text):
                name = f"{match.group(1).lower()}()"
                found[name] = max(found.get(name, 0.0), said.weight)
    return found


def _stack(change: ConfigChange, diff: Diff, frames: Mapping[str, float]) -> tuple[float, str]:
    nats, frame = 0.0, ""
    for file in change.files:
        base = file.rpartition("/")[2].lower()
        if base in frames:
            nats, frame = FRAME_FILE * frames[base], base
            break
    edited = {f"{token.lower()}()" for hunk in diff.hunks for text in (hunk.place, *hunk.added, *hunk.removed) for token in tokens(text)}
    edited -= {f"{word}()" for word in COMMON}
    functions = sorted(edited & frames.keys(), key=lambda name: (-frames[name], name))
    if functions:
        return nats + FRAME_FUNCTION * frames[functions[0]], functions[0]
    return nats, frame
