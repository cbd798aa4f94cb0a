"""A finding as text for a terminal: what, why, how sure, which changes, what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 110
LABEL = 10
#: Pieces of evidence and changes that are shown.
EVIDENCE_SHOWN, CHANGES_SHOWN = 3, 6


def finding_text(finding: Mapping[str, Any]) -> str:
    """A finding (`dataclasses.asdict` of it, or the API's JSON) in labelled paragraphs."""
    causes, attribution = finding["causes"], finding["attribution"]
    root = causes[0]["service"] if causes else "unknown"
    others = ", ".join(f"{cause['service']} {_percent(cause['probability'])}" for cause in causes[1:3])
    lines = _labelled("what", finding["title"] or f"{root}: {finding['cause_type']}")
    lines += _labelled("cause", f"{root}; kind: {finding['cause_type']}" + (f"; next: {others}" if others else ""))
    for at, piece in enumerate(strongest(finding["evidence"], root)):
        lines += _labelled("why" if not at else "", f"{at + 1}. {piece['sentence']} [{piece['family']}, {piece['z']:.1f} sigma]")
    lines += _labelled("how sure", f"{_percent(finding['confidence'])} ({finding['verdict']})")
    for sentence in finding["stability"][:1]:
        lines += _labelled("", sentence)
    lines += changes_text(attribution)
    if finding["action"]:
        lines += _labelled("do", finding["action"])
    return "\n".join(lines)


def strongest(evidence: Sequence[Mapping[str, Any]], root: str, count: int = EVIDENCE_SHOWN) -> list[Mapping[str, Any]]:
    """The strongest pieces of evidence, those that charge the root first, no sentence twice."""
    shown: dict[str, Mapping[str, Any]] = {}
    for piece in sorted(evidence, key=lambda piece: piece["service"] != root):
        shown.setdefault(piece["sentence"], piece)
    return list(shown.values())[:count]


def changes_text(attribution: Mapping[str, Any]) -> list[str]:
    """What is said of every change that was looked at, and why."""
    verdicts = attribution["verdicts"]
    if not verdicts:
        return _labelled("changes", "none announced and none seen in the four hours before")
    answer = {"none": "no change did this", "inconclusive": "cannot tell which, if any"}.get(attribution["answer"], attribution["answer"])
    lines = _labelled("change", answer)
    for reason in attribution["none_reasons"] if attribution["answer"] == "none" else ():
        lines += _labelled("", reason)
    for verdict in verdicts[:CHANGES_SHOWN]:
        change = verdict["change"]
        place = f" on {change['service']}" if change["service"] else ""
        why = "; ".join(verdict["reasons"])
        said = f"{change['id']}{place}: {verdict['verdict'].replace('_', ' ')} ({_percent(verdict['probability'])})"
        lines += _labelled("", said + (f": {why}" if why else ""))
    if len(verdicts) > CHANGES_SHOWN:
        lines += _labelled("", f"and {len(verdicts) - CHANGES_SHOWN} more")
    return lines


def _labelled(label: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, WIDTH - LABEL, break_on_hyphens=False) or [""]
    return [f"{label if not at else '':<{LABEL}}{line}" for at, line in enumerate(wrapped)]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
