"""One line of the table of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Met = Literal["yes", "no", "not measured"]


@dataclass(frozen=True, slots=True)
class Line:
    """A measure, what came out, the peer's figure beside it, and the target."""

    measure: str
    target: str
    ours: str = ""
    peer: str = ""
    ratio: float | None = None
    met: Met = "not measured"
    note: str = ""


def at_least(measure: str, ratio: float, target: float, *, ours: str, peer: str, note: str = "") -> Line:
    """A line that is met when the ratio is at least the target."""
    return Line(measure, f">= {target:g} x", ours, peer, ratio, "yes" if ratio >= target else "no", note)


def at_most(measure: str, ratio: float, target: float, *, ours: str, peer: str = "", note: str = "", unit: str = "x") -> Line:
    """A line that is met when the ratio is at most the target."""
    return Line(measure, f"<= {target:g} {unit}".rstrip(), ours, peer, ratio, "yes" if ratio <= target else "no", note)


def skipped(measure: str, target: str, why: str) -> Line:
    """A line without a figure, and why."""
    return Line(measure, target, note=why)


def markdown(lines: Sequence[Line]) -> str:
    """A table in Markdown."""
    out = ["| Measure | whence | peer in the same run | ratio | target | met |", "|---|---|---|---|---|---|"]
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        note = f" ({line.note})" if line.note else ""
        out.append(f"| {line.measure}{note} | {line.ours} | {line.peer} | {ratio} | {line.target} | {line.met} |")
    return "\n".join(out)
