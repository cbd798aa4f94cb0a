"""Lines about receive -> columns: whence's receiver with nothing behind it, beside a real Collector and Rotel."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tests.bench.load.logs import LogTraffic
from tests.bench.load.points import KINDS, PointTraffic
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.measure import Cost, Traffic, in_turn
from tests.bench.peers import Missing, Server, module, otelcol, rotel
from tests.bench.table import Line, at_least, at_most, skipped

ITEMS = 250_000  # a round, about
SMALL = 512


def per_item(cost: Cost, what: str = "span") -> str:
    """For the table."""
    return f"{cost.median:.2f} us a {what}"


def receive_lines(folder: Path, rounds: int, start_ns: int) -> list[Line]:
    """Spans, log records and points."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(module("tests.bench.receive_only"))
        collector = stack.enter_context(otelcol(folder))
        peers, missing = [], ""
        try:
            peers.append(stack.enter_context(rotel(folder)))
        except (Missing, RuntimeError) as error:
            missing = str(error)
        lines = _spans([ours, collector, *peers], missing, rounds, start_ns)
        signals: list[tuple[str, str, Traffic]] = [("log records", "record", LogTraffic(start_ns=start_ns))]
        signals += [(f"metrics, {kind.replace('_', ' ')}", "point", PointTraffic(kind, start_ns=start_ns)) for kind in KINDS]
        for name, item, traffic in signals:
            mine, theirs = _costs([ours, collector], traffic, rounds)
            lines.append(
                at_least(
                    f"{name}: receive to columns, none, {traffic.items} a request",
                    theirs.median / mine.median,
                    3,
                    ours=per_item(mine, item),
                    peer=f"otelcol {per_item(theirs, item)}",
                )
            )
    return lines


def _spans(servers: Sequence[Server], missing: str, rounds: int, start_ns: int) -> list[Line]:
    large, small = (SpanTraffic(Settings(spans_a_request=size, start_ns=start_ns)) for size in (8192, SMALL))
    lines, cost = [], {}
    for gzip in (False, True):
        name = "gzip" if gzip else "none"
        first = 100_000 * gzip
        found = _costs(servers, large, rounds, first=first, gzip=gzip)
        cost[8192, gzip] = found[0]
        cost[SMALL, gzip] = _costs(servers[:1], small, rounds, first=first, gzip=gzip)[0]
        lines.append(
            at_least(
                f"receive to columns, {name}, {large.items} a request",
                found[1].median / found[0].median,
                4,
                ours=per_item(found[0]),
                peer=f"otelcol otlp to nop {per_item(found[1])}",
            )
        )
        measure = f"receive to columns, {name}, against Rotel"
        if len(found) > 2:
            ratio = found[2].median / found[0].median
            lines.append(at_least(measure, ratio, 3, ours=per_item(found[0]), peer=f"rotel otlp to blackhole {per_item(found[2])}"))
        else:
            lines.append(skipped(measure, ">= 3 x", missing))
    for size, limit in ((8192, 1.0), (SMALL, 1.3)):
        plain, packed = cost[size, False], cost[size, True]
        peer = f"itself, none {per_item(plain)}"
        lines.append(at_most(f"gzip against none, {size} a request", packed.median / plain.median, limit, ours=per_item(packed), peer=peer))
    few, many = cost[SMALL, False], cost[8192, False]
    peer = f"itself, 8192 a request {per_item(many)}"
    lines.append(at_most(f"{SMALL} against 8192 a request", few.median / many.median, 2, ours=per_item(few), peer=peer))
    return lines


def _costs(servers: Sequence[Server], traffic: Traffic, rounds: int, *, first: int = 0, gzip: bool = False) -> list[Cost]:
    return in_turn(servers, traffic, rounds=rounds, requests=max(1, ITEMS // traffic.items), first=first, gzip=gzip)
