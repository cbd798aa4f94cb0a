"""Values that tie a change to an incident: a series that makes exactly its step, a name that the error misses, a literal in the error."""

from __future__ import annotations

import math
import re
from typing import Final

from engine.judge.attribution.diff import Diff, tokens
from engine.judge.attribution.edits import LITERAL, edits, number
from engine.judge.attribution.inert import TELLS
from engine.judge.context import ChangeContext, is_step
from engine.records import ConfigChange
from engine.take.texts import TextKind

STEP: Final = 3.0
RENAMED: Final = 2.5
MISSING: Final = 2.0
VERBATIM: Final = 1.5
QUOTES: Final = 2.0
QUOTED: Final = re.compile(r"[\"'`]([A-Za-z_]\w{3,})[\"'`]")
#: Around a name: it is absent, unknown or unreadable.
BEFORE: Final = re.compile(
    r"(?:missing|unknown|undefined|no such|no|not find|unresolved|invalid|required|unexpected|relation|column"
    r"|table|field|property|attribute|key|method|function|module|variable|symbol|flag|topic)\s*(?:\w+\s){0,3}[:=]?\s*[\"'`\[(]?([A-Za-z_][\w.$-]{3,})",
    re.I,
)
AFTER: Final = re.compile(
    r"[\"'`(]?([A-Za-z_][\w.$-]{3,})[\"'`)]?\s+(?:does not exist|is not (?:a function|defined|set|found)|not (?:set"
    r"|found|defined|loaded)|is (?:required|missing|undefined|unknown|empty|null)|was (?:missing|not found))",
    re.I,
)
ABSENT: Final = re.compile(
    r"miss|unknown|undefined|no such|not exist|not found|not set|not defined|not a function|required|unexpected|invalid|empty|unresolved",
    re.I,
)
#: More than a plain word.
PARTED: Final = re.compile(r"[a-zA-Z][_/.:\- ]\S|[a-z][A-Z]|\d|\S{12}")
COMMON_NAMES: Final = frozenset(
    [
        "error",
        "errors",
        "field",
        "fields",
        "value",
        "values",
        "name",
        "type",
        "string",
        "user",
        "users",
        "request",
        "response",
        "service",
        "function",
        "module",
        "method",
        "table",
        "column",
        "object",
        "json",
        "null",
        "none",
        "true",
        "false",
        "data",
        "message",
        "status",
        "required",
        "missing",
        "unknown",
    ]
)


def value_term(change: ConfigChange, diff: Diff, context: ChangeContext) -> tuple[float, float, str]:
    """Nats of a step (3), nats of what the errors say (up to 2.5 for a missing name, 1.5 for a literal), and a sentence."""
    nats, why = 0.0, ""
    pairs = [(edit.before, edit.after, f"{edit.old} -> {edit.new}") for edit in edits(diff) if edit.kind == "number"]
    pairs += [(number(param.old), number(param.new), f"{param.old} -> {param.new}") for param in change.params if param.old and param.new]
    for old, new, text in pairs:
        if not (math.isfinite(old) and math.isfinite(new)) or old == new:
            continue
        step = next((step for step in context.steps if is_step(old, new, step)), None)
        if step is not None:
            nats, why = STEP, f"{step.metric} of {step.service} makes the same step, {text}"
            break
    missed, name = _missed(change, diff, context)
    if missed > 0:
        return nats, missed, f"{why}; {name}" if why else name
    said = _verbatim(diff, context)
    return nats, said[0], why or said[1]


def _missed(change: ConfigChange, diff: Diff, context: ChangeContext) -> tuple[float, str]:
    """The name that the errors miss, if the change renames it (2.5), takes it away or newly uses it (2), or touches its line (.5)."""
    removed = {token.lower() for line in diff.removed for token in tokens(line)}
    added = {token.lower() for line in diff.added for token in tokens(line)}
    renamed = {text.lower() for edit in edits(diff) if edit.kind in ("name", "literal") for text in (edit.old, edit.new)}
    named = {each.lower() for each in (change.flag_key, *(param.name for param in change.params)) if each}
    best, why = 0.0, ""
    for said in context.texts:
        if said.usual or said.kind not in (TextKind.LOG, TextKind.MESSAGE, TextKind.EXCEPTION) or not ABSENT.search(said.text):
            continue
        found = [match.group(1) for match in (*BEFORE.finditer(said.text), *AFTER.finditer(said.text))]
        quoted = [name for name in found if any(f"{mark}{name}{mark}" in said.text for mark in "\"'`")]
        for whole in quoted or found:
            for name in {whole, *whole.split(".")}:
                low = name.lower()
                if len(low) < 4 or low in COMMON_NAMES:
                    continue
                renames = low in renamed
                touched = low in named or (low in removed) != (low in added)
                gain = RENAMED if renames else MISSING if touched else 0.5 if low in added else 0.0
                if gain * said.weight > best:
                    best, why = gain * said.weight, f"the errors miss {name}, which it {'renames' if renames else 'changes'}"
    return best, why


def _verbatim(diff: Diff, context: ChangeContext) -> tuple[float, str]:
    """A changed literal that the errors say, or a newly used name that they quote; no plain word, no message that is logged."""
    lines = [line for line in (*diff.added, *diff.removed) if not TELLS.search(line)]
    literals = sorted({found.strip("\"'`") for line in lines for found in LITERAL.findall(line)})
    usual = "\n".join(context.usual_texts).lower()
    literals = [literal for literal in literals if literal.lower() not in usual]
    before = {token.lower() for line in (*diff.removed, *diff.kept) for token in tokens(line)}
    fresh = {token.lower() for line in diff.added for token in tokens(line)} - before - COMMON_NAMES
    for said in context.texts:
        if said.usual or said.kind is TextKind.STATEMENT:
            continue
        quoted = {name.lower() for name in QUOTED.findall(said.text)} & fresh
        if quoted and not any(name in usual for name in quoted):
            return QUOTES * said.weight, f"the errors quote {min(quoted)}, which it newly uses"
        for literal in literals:
            if len(literal) >= 6 and PARTED.search(literal) and literal.lower() in said.text.lower():
                return VERBATIM * said.weight, f"the errors say {literal!r}, which it changes"
    return 0.0, ""
