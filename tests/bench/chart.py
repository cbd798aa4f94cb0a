"""Pictures as SVG text: time by stage, and what a soak saw over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.stages import Profile

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
WIDTH, LEFT, ROW, TOP = 760, 190, 22, 40


def stages(profiles: Sequence[Profile]) -> str:
    """A bar a stage and profile, microseconds of CPU a span."""
    names = ["decode", *(name for name in profiles[0].stages if any(each.stages.get(name, 0.0) >= 0.005 for each in profiles))]
    values = [[each.decode if name == "decode" else each.stages.get(name, 0.0) for name in names] for each in profiles]
    largest = max(max(row) for row in values)
    height = TOP + len(names) * ROW + 30
    out = _opened(WIDTH, height)
    for at, each in enumerate(profiles):
        x = LEFT + at * 220
        out.append(f'<rect x="{x}" y="12" width="10" height="10" fill="{COLOURS[at]}"/>')
        out.append(f'<text x="{x + 15}" y="21">{each.rate:,.0f} spans a second of event time</text>')
    thick = (ROW - 6) / len(profiles)
    for row, name in enumerate(names):
        y = TOP + row * ROW
        out.append(f'<text x="{LEFT - 8}" y="{y + ROW / 2 + 1}" text-anchor="end">{escape(name)}</text>')
        for at, of in enumerate(values):
            width = max(0.5, of[row] / largest * (WIDTH - LEFT - 70))
            top = y + at * thick
            out.append(f'<rect x="{LEFT}" y="{top:.1f}" width="{width:.1f}" height="{thick - 1:.1f}" fill="{COLOURS[at]}"/>')
            out.append(f'<text x="{LEFT + width + 4:.1f}" y="{top + thick - 1:.1f}" font-size="9">{of[row]:.2f}</text>')
    out.append(f'<text x="{LEFT}" y="{height - 8}">microseconds of CPU a span</text>')
    return "\n".join([*out, "</svg>", ""])


def over_time(panels: Mapping[str, Sequence[tuple[float, float]]], *, span_seconds: float) -> str:
    """One panel a series of (seconds, value), below each other, each from zero to its own largest value."""
    tall, gap = 110, 46
    height = TOP + len(panels) * (tall + gap)
    out = _opened(WIDTH, height)
    wide = WIDTH - 2 * 60
    for at, (name, points) in enumerate(panels.items()):
        top = TOP + at * (tall + gap)
        largest = max((value for _, value in points), default=0.0) or 1.0
        out.append(f'<text x="60" y="{top - 8}">{escape(name)}, largest {largest:,.4g}</text>')
        out.append(f'<path d="M60 {top}V{top + tall}H{60 + wide}" fill="none" stroke="#333"/>')
        line = " ".join(
            f"{'L' if number else 'M'}{60 + wide * seconds / span_seconds:.1f} {top + tall - tall * value / largest:.1f}"
            for number, (seconds, value) in enumerate(points)
        )
        out.append(f'<path d="{line}" fill="none" stroke="{COLOURS[at % len(COLOURS)]}"/>')
        for share in (0.0, 0.5, 1.0):
            x, minutes = 60 + wide * share, span_seconds * share / 60
            out.append(f'<text x="{x:.0f}" y="{top + tall + 14}" text-anchor="middle">{minutes:g} min</text>')
    return "\n".join([*out, "</svg>", ""])


def _opened(width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
