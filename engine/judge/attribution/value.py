"""Values that tie a change to an incident: a series that makes exactly its step, a name that the error misses, a literal in the error."""

from __future__ import annotations

import math
import re
from typing import Final

from engine.judge.attribution.diff import Diff, tokens
from engine.judge.attribution.edits import LITERAL, edits, number
from engine.judge.context import ChangeContext, is_step
from engine.records import ConfigChange
from engine.take.texts import TextKind

STEP: Final = 3.0
MISSING: Final = 2.0
VERBATIM: Final = 1.5
MOST: Final = 4.0
#: Around a name: it is absent, unknown or unreadable.
BEFORE: Final = re.compile(
    r"(?:missing|unknown|undefined|no such|no|not find|unresolved|invalid|required|unexpected|relation|column|table|field|property|attribute|key|method|function|module|variable|symbol|flag|topic)\s*(?:\w+\s){0,3}[:=]?\s*[\"'`\[(]?([A-Za-z_][\w.$-]{3,})",
    re.I,
)
AFTER: Final = re.compile(
    r"[\"'`(]?([A-Za-z_][\w.$-]{3,})[\"'`)]?\s+(?:does not exist|is not (?:a function|defined|set|found)|not (?:set|found|defined|loaded)|is (?:required|missing|undefined|unknown|empty|null)|was (?:missing|not found))",
    re.I,
)
ABSENT: Final = re.compile(
    r"miss|unknown|undefined|no such|not exist|not found|not set|not defined|not a function|required|unexpected|invalid|empty|unresolved",
    re.I,
)


def value_term(change: ConfigChange, diff: Diff, context: ChangeContext) -> tuple[float, str]:
    """Nats (at most 4) and a sentence: +3 for a step, +2 for a missing name, +1.5 for a literal."""
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
    changed = (*diff.added, *diff.removed)
    names = {token for line in changed for token in tokens(line)} | {change.flag_key, *(param.name for param in change.params)} - {""}
    lowered = {name.lower(): name for name in names if name}
    for said in context.texts:
        if said.usual or said.kind not in (TextKind.LOG, TextKind.MESSAGE, TextKind.EXCEPTION) or not ABSENT.search(said.text):
            continue
        for match in (*BEFORE.finditer(said.text), *AFTER.finditer(said.text)):
            for part in {match.group(1).lower(), *match.group(1).lower().split(".")}:
                if part in lowered and len(part) >= 4 and part not in COMMON_NAMES:
                    gain = MISSING * said.weight
                    if gain > nats * 0.999 or not why:
                        why = f"the errors miss {lowered[part]}, which it changes"
                    nats = min(MOST, max(nats, gain) if nats < STEP else nats + gain / 2)
                    return nats, why
    literals = {found.strip("\"'`") for line in changed for found in LITERAL.findall(line)}
    for said in context.texts:
        if said.usual:
            continue
        text = said.text.lower()
        for literal in sorted(literals):
            bare = literal.lower()
            if len(bare) >= 6 and bare in text and not all(word in COMMON_NAMES for word in bare.split()):
                nats = min(MOST, nats + VERBATIM * said.weight)
                return nats, why or f"the errors say {literal!r}, which it changes"
    return nats, why


COMMON_NAMES: Final = frozenset(
    "error errors field fields value values name type string user users request response service function module method table column object json null none true false data message status required missing unknown".split()
)
