"""The table of figures, each with its peer's from the same run. `make bench`.

    python -m tests.bench.performance [--rounds 5] [--only receive,whole,index] [--json FILE] [--report docs/performance.md]

CPU time of the serving process (user and system, all threads), never wall time: the machine may do other things. Peers get the same
requests in turn. Figures of Rotel need `pip install --pre rotel`, those of the Collector otelcol on PATH.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from engine.records import HOUR_NS
from exporter.sections import Config
from tests.bench import chart, past
from tests.bench.load.process import machine
from tests.bench.past import Past
from tests.bench.peers import Missing
from tests.bench.receiving import receive_lines
from tests.bench.searching import search_lines
from tests.bench.stages import Profile, profile
from tests.bench.stages import text as profile_text
from tests.bench.table import Line, markdown, skipped
from tests.bench.telling import told_line
from tests.bench.whole import PACE, WARM_SECONDS, chain_line, telemetrygen_line, whole_lines

PARTS = ("receive", "index", "told", "whole", "chain", "stages")
SERVICES = 40
ELSEWHERE = (
    skipped(
        "memory after 100 million spans of 200 services",
        "<= 600 MB between trainings, <= 1.5 GB during, flat",
        "`make bench-memory`: [performance-memory.md](performance-memory.md)",
    ),
    skipped("20 minutes at half load: memory, queue, latency", "plotted", "`make soak`: [performance-soak.md](performance-soak.md)"),
)


class Out:
    """Lines as they come, printed at once."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, part: str, made: Callable[[], list[Line]]) -> None:
        """Measure a part; what cannot be had is a line, too."""
        began = time.monotonic()
        try:
            found = made()
        except Missing as missing:
            found = [skipped(part, "", str(missing))]
        self.lines += found
        print(f"\n{part}: {time.monotonic() - began:.0f} s\n{markdown(found)}", flush=True)


def settings_text() -> str:
    """Settings of `serve` in use: the defaults, ports and store apart."""
    shown = Config().model_dump(mode="json")
    engine = ", ".join(f"{name} {value}" for name, value in shown["engine"].items() if value not in ((), []))
    receiver = shown["receiver"]
    return (
        f"defaults: receiver.grpc.workers {receiver['grpc']['workers']}, receiver.in_flight_mib {receiver['in_flight_mib']}, "
        f"trainer.enabled {shown['trainer']['enabled']}; engine: {engine}"
    )


def report(out: Out, lived: Past | None, profiles: list[Profile], settings: str, picture: str) -> str:
    """docs/performance.md."""
    gate = "; ".join(lived.gate) if lived is not None else "not trained in this run"
    parts = [
        "# Performance",
        "",
        "Written by `make bench`. CPU time of the serving process (user and system, all its threads), medians over rounds in which each",
        "server gets the same requests in turn. No request is sent twice; event time moves on. Wall time is never compared.",
        "",
        f"Machine: {machine()}. Python {sys.version.split()[0]}.",
        "",
        f"Traffic: whole traces of {SERVICES} services, 0.5 % of spans with an error type or address that did not come before, two",
        f"connections. Whole path, and what was not seen before: event time as if {PACE:,.0f} spans came in a second, counted from",
        f"{WARM_SECONDS} s of it on, for while a young process fetches its memory a span costs a quarter more.",
        "",
        f"Model in use: {gate}, on traffic of the same pace. It is used whatever the gate says: the cost of scoring is asked for here.",
        "",
        f"Settings of `serve`: {settings}",
        "",
        markdown(out.lines),
        "",
    ]
    if profiles:
        parts += ["## Time by stage", "", f"![CPU time a span by stage]({picture})", "", "```", *map(profile_text, profiles), "```", ""]
    return "\n".join(parts)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, help="write the lines for programs")
    parser.add_argument("--report", type=Path, help="write docs/performance.md and its picture")
    args = parser.parse_args()
    for file in filter(None, (args.json, args.report)):  # not after minutes of work
        file.parent.mkdir(parents=True, exist_ok=True)
    wanted = set(args.only.split(","))
    if unknown := wanted - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    out, settings = Out(), settings_text()
    print(f"machine: {machine()}\nsettings of serve: {settings}", flush=True)
    start_ns = time.time_ns() - 6 * HOUR_NS  # live, event time may not run ahead of the clock
    lived = past.lived(SERVICES, start_ns, PACE) if wanted & {"whole", "chain"} else None
    if lived is not None:
        print(f"model in use whatever the gate says: {'; '.join(lived.gate)}", flush=True)
    profiles: list[Profile] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "receive" in wanted:
            out.add("receive", lambda: receive_lines(folder, args.rounds, start_ns))
        if "index" in wanted:
            out.add("index", search_lines)
        if "told" in wanted:
            out.add("told", lambda: [told_line(folder)])
        if lived is not None and "whole" in wanted:
            out.add("whole", lambda: whole_lines(folder, args.rounds, lived))
        if lived is not None and "chain" in wanted:
            out.add("chain", lambda: [chain_line(folder, args.rounds, lived), telemetrygen_line(folder)])
        if "stages" in wanted:
            profiles = [profile(10_000, 90, SERVICES), profile(PACE, 60, SERVICES)]
            print("", *map(profile_text, profiles), sep="\n", flush=True)
    out.lines += ELSEWHERE
    if args.json:
        values = {"version": 1, "machine": machine(), "lines": list(map(asdict, out.lines)), "stages": list(map(asdict, profiles))}
        args.json.write_text(json.dumps(values, indent=1))
    if args.report:
        picture = args.report.with_name(f"{args.report.stem}-stages.svg")
        if profiles:
            picture.write_text(chart.stages(profiles))
        args.report.write_text(report(out, lived, profiles, settings, picture.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
