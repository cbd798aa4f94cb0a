"""What a change cannot have done: docs, tests, looks, log lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from engine.judge.attribution.diff import Diff
from engine.judge.attribution.edits import LITERAL, edits
from engine.judge.attribution.files import CI, DOCS, ELSEWHERE, LOOKS, MODULES, TESTS
from engine.judge.attribution.marks import ENDLESS_LABEL, LABELS, RAISES
from engine.records import ChangeType, ConfigChange

TELLS: Final = re.compile(
    r"\b(log(ger|ging|s)?|slog|console|_?log)\b\s*([.(=]|->|::)|\blog_\w+\(|\bprint(ln|f)?\(|\becho\b|\b(counter"
    r"|gauge|histogram|summary|timer|meter|metrics?)\b"
    r"|(\.|->|::)(observe|inc|increment|record|labels|with_?fields?|info|debug|warn|error)\(|\bset_?attributes?\("
    r"|\bspan\.|prometheus|statsd|annotat",
    re.I,
)
#: Lines that stand around a message and do nothing themselves.
AROUND: Final = re.compile(
    r"^[\s\"'`\])}{(\[,;:%+\w-]*$|^(import|from|use|using|#include|require)\b|^[\"'`].*[\"'`],?\)?;?$|^(Name|Help|help|name)\s*:", re.I
)
CHURN_MOST: Final = 40
CHURN_USUAL: Final = 1.5
COSMETIC: Final = re.compile(r"banner|colou?r|title|theme|log.?level|caption|icon|label|logo|font|greeting|wording|footer", re.I)
SENTENCE: Final = re.compile(r"^[A-Za-z][A-Za-z'’]*([ ,;:!?.-]+[A-Za-z'’]+)+[.!?:;]*$")
RAISED: Final = re.compile(r"\b(?:raise|throw(?:\s+new)?|panic!?\(|Err\(|new)\s*([\w.:]+)")
#: Libraries of tests and builds only.
TEST_LIBRARY: Final = re.compile(r"test|mock|junit|jest|assert|lint|fixture|faker|coverage|dev-?dep|@types/", re.I)
#: Any version, from some on.
LOOSE: Final = re.compile(r">=?\s*v?\d|\^\d|~>|:\s*[\"']\*|latest")
VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def inert_term(change: ConfigChange, diff: Diff, *, others_have_diffs: bool) -> tuple[float, str]:
    """Nats against a change that can hardly do harm, and why; (0, "") if it can.

    docs, tests, CI -5; log lines, metrics and comments only -4, but labels without end -1; another environment, tooling -3;
    nothing but white space -3, but an order -.5; looks, wording and what an error says -2.5;
    patch release of a library -.8, minor -.3, of one for tests -3; a commit whose diff is not known where others' are -1.5;
    cosmetic by its words -1.
    """
    files = change.files
    for words, term, why in ((DOCS, -5.0, "documentation"), (TESTS, -5.0, "tests"), (CI, -5.0, "the build")):
        if files and all(words.search(file) for file in files):
            return term, f"touches only {why}"
    if files and all(DOCS.search(file) or TESTS.search(file) or CI.search(file) for file in files):
        return -5.0, "touches only documentation, tests and the build"
    if diff.only_comments:
        return -4.0, "changes comments only"
    lines = (*diff.added, *diff.removed)
    if change.diff and not lines:
        reordered = any(hunk.reordered for hunk in diff.hunks)
        return (-0.5, "changes an order only") if reordered else (-3.0, "changes white space only")
    if lines and any(TELLS.search(line) for line in lines) and all(TELLS.search(line) or AROUND.search(line) for line in lines):
        if endless_labels(diff.added) > endless_labels(diff.removed):
            return -1.0, "measures by labels that may have no end of values"
        return -4.0, "changes only what is logged or measured"
    said = reworded(diff)
    if said and all(line in said or AROUND.search(line) for line in lines) and _raised(diff.removed) == _raised(diff.added):
        return -2.5, "changes only what an error says"
    changed = edits(diff)
    if lines and len(changed) * 2 >= len(lines) and all(is_prose(edit.old) and is_prose(edit.new) for edit in changed):
        return -2.5, "changes only wording"
    if files and all(ELSEWHERE.search(file) for file in files):
        return -3.0, "touches only another environment or tooling"
    if files and all(LOOKS.search(file) or TESTS.search(file) for file in files):
        return -2.5, "touches only what pages look like"
    if files and all(MODULES.search(file) for file in files) and lines:
        return _release(diff)
    if change.type is ChangeType.CODE and not change.diff and others_have_diffs:
        return -1.5, "its diff is not known"
    named = " ".join((change.flag_key, *(param.name for param in change.params))) or ("" if change.diff else change.summary)
    if named and COSMETIC.search(named):
        return -1.0, "is cosmetic, by its name"
    return 0.0, ""


def churn_term(diff: Diff) -> float:
    """Nats of the size of a change: ln(1 + lines) - 1.5, 1 to 40 changed lines that do something; 0 without a diff.

    More changed lines, more faults (Nagappan and Ball 2005, relative code churn). How much it weighs is fitted.
    """
    lines = sum(not TELLS.search(line) for line in (*diff.added, *diff.removed))
    return math.log(1 + min(lines, CHURN_MOST)) - CHURN_USUAL if lines else 0.0


def endless_labels(lines: Iterable[str]) -> int:
    """Lines that tell series of a metric apart by values of which there is no end."""
    return sum(bool(LABELS.search(line) and ENDLESS_LABEL.search(LITERAL.sub("", line))) for line in lines)


def reworded(diff: Diff) -> frozenset[str]:
    """Lines that raise an error in places where one was raised before: what it says is new, not that it is raised."""
    found: set[str] = set()
    for hunk in diff.hunks:
        before, after = (tuple(line for line in lines if RAISES.search(line)) for lines in (hunk.removed, hunk.added))
        if before and len(before) == len(after):
            found.update(before, after)
    return frozenset(found)


def _raised(lines: Iterable[str]) -> set[str]:
    """What is raised: names of errors."""
    return {match.group(1) for line in lines for match in RAISED.finditer(line)}


def is_prose(text: str) -> bool:
    """Words with spaces between, for people.

    >>> is_prose("You may not read this"), is_prose("/api/v2"), is_prose("gold")
    (True, False, False)
    """
    return " " in text.strip() and bool(SENTENCE.match(text))


def bump(diff: Diff) -> str:
    """Largest step of a library's version: major, minor, patch, or "" if no version changed."""
    steps = set()
    for old, new in zip(diff.removed, diff.added, strict=False):
        before, after = VERSION.search(old), VERSION.search(new)
        if before and after and before.groups() != after.groups():
            place = next(at for at in range(3) if before.groups()[at] != after.groups()[at])
            # below 1.0 the second number is the one that breaks things
            steps.add(min(2, place) if before.group(1) != "0" or place != 1 else 0)
    loose = any(LOOSE.search(new) and not LOOSE.search(old) for old, new in zip(diff.removed, diff.added, strict=False))
    return "major" if loose else ("major", "minor", "patch")[min(steps)] if steps else ""


def _release(diff: Diff) -> tuple[float, str]:
    if all(map(TEST_LIBRARY.search, (*diff.added, *diff.removed))):
        return -3.0, "takes another release of a library for tests"
    step = bump(diff)
    if step == "patch":
        return -0.8, "is a patch release of a library"
    return (-0.3, "is a minor release of a library") if step == "minor" else (0.0, "")
