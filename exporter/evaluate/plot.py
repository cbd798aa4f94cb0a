"""The calibration plot as SVG text: confidence said against share right, one curve a mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SIZE, MARGIN = 320, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c")


def calibration_plot(curves: Mapping[str, Sequence[tuple[float, float, int]]]) -> str:
    """SVG of {name: [(confidence, share right, cases), ...]}; the diagonal is a perfect calibration, areas are cases."""
    whole = SIZE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" font-family="sans-serif" font-size="12">',
        f'<rect width="{whole}" height="{whole}" fill="#fff"/>',
        f'<path d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}" fill="none" stroke="#333"/>',
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#999" stroke-dasharray="4 4"/>',
        f'<text x="{_x(0.5)}" y="{whole - 12}" text-anchor="middle">confidence said</text>',
        f'<text x="14" y="{_y(0.5)}" text-anchor="middle" transform="rotate(-90 14 {_y(0.5)})">share right</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        out.append(f'<text x="{_x(tick)}" y="{_y(0) + 16}" text-anchor="middle">{tick:g}</text>')
        out.append(f'<text x="{_x(0) - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
    for at, (name, points) in enumerate(curves.items()):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(f"{'M' if not i else 'L'}{_x(said)} {_y(right)}" for i, (said, right, _) in enumerate(points))
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out += [
            f'<circle cx="{_x(said)}" cy="{_y(right)}" r="{2 + n**0.5:.1f}" fill="{colour}" fill-opacity=".7"/>'
            for said, right, n in points
        ]
        out.append(f'<text x="{_x(0) + 10}" y="{_y(1) + 14 + 16 * at}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>", ""])


def _x(share: float) -> float:
    return round(MARGIN + SIZE * share, 1)


def _y(share: float) -> float:
    return round(MARGIN + SIZE * (1 - share), 1)
