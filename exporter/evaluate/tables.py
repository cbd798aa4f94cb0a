"""Text of the report: aligned Markdown tables, readable on a terminal too."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left, others to the right.

    >>> print(table(["set", "AC@1"], [["a", "0.5"]]))
    | set | AC@1 |
    |:----|-----:|
    | a   |  0.5 |
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    out = [_row(head, widths), "|" + "|".join(f":{'-' * (w + 1)}" if not at else f"{'-' * (w + 1)}:" for at, w in enumerate(widths)) + "|"]
    return "\n".join([*out, *(_row(row, widths) for row in rows)])


def share(value: float | None) -> str:
    """Two digits, "-" for nothing."""
    return "-" if value is None else f"{value:.2f}"


def seconds(value: float | None) -> str:
    """Whole seconds, "-" for nothing."""
    return "-" if value is None else f"{value:.0f} s"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(w) if not at else cell.rjust(w) for at, (cell, w) in enumerate(zip(cells, widths, strict=True))]
    return "| " + " | ".join(padded) + " |"
