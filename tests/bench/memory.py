"""Memory of all processes after 100 million spans of 200 services, trainer included. `make bench-memory`.

    python -m tests.bench.memory [--millions 100] [--services 200] [--report docs/performance-memory.md]

PSS, summed over `whence serve` and its children, every two seconds. Exit status 1 where it is over 600 MB between trainings, over
1.5 GB during one, or grows by more than a tenth from the tenth million to the last.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engine.records import HOUR_NS
from tests.bench import past
from tests.bench.load.process import children, machine, pss_bytes
from tests.bench.load.send import Sender
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.measure import settle
from tests.bench.scrape import Scrape
from tests.bench.whole import PACE, with_past

MB = 1_000_000
BETWEEN, DURING, GROWTH = 600 * MB, 1500 * MB, 1.1


class Sizes:
    """Largest size with and without a training in each stretch."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.between: list[int] = [0]
        self.during: list[int] = [0]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def turn(self) -> tuple[int, int]:
        """A stretch is over: its sizes."""
        found = self.between[-1], self.during[-1]
        self.between.append(0)
        self.during.append(0)
        return found

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(2.0):
            trainers = children(self.pid)
            size = sum(map(pss_bytes, [self.pid, *trainers]))
            into = self.during if trainers else self.between
            into[-1] = max(into[-1], size)


def main() -> int:
    """Send, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=100)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--report", type=Path, help="Markdown to write")
    args = parser.parse_args()
    lived = past.lived(args.services, time.time_ns() - 6 * HOUR_NS, PACE)
    tables: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as name, with_past(Path(name), lived, "memory") as (server, serving):
        traffic = SpanTraffic(Settings(services=args.services, spans_a_second=PACE, start_ns=lived.end_ns, seed=2))
        requests, sizes = 1_000_000 // traffic.items + 1, Sizes(server.pid)
        with Sender(server.target, traffic.method) as sender:
            for million in range(args.millions):
                sender.send(range(million * requests, (million + 1) * requests), traffic.request, traffic.items)
                if million == args.millions - 1:
                    settle(server.pid)
                    time.sleep(2.5)
                tables.append(sizes.turn())
                between, during = (size / MB for size in tables[-1])
                print(f"{(million + 1) * requests * traffic.items:>12,} spans  {between:5.0f} MB  in training {during:5.0f} MB", flush=True)
        sizes.end()
        lost = Scrape(serving).dropped()
    flat = [between for between, _ in tables[9:] if between]
    largest, trained = max(between for between, _ in tables), max(during for _, during in tables)
    grown = max(flat) / flat[0] if flat else 0.0
    said = [
        f"Between trainings {largest / MB:.0f} MB (limit 600), during {trained / MB:.0f} MB (limit 1500).",
        f"Largest between trainings from the tenth million on, against the tenth: x {grown:.2f} (limit {GROWTH}).",
        f"Trainings seen: {'yes' if trained else 'none'}; dropped {lost or 'nothing'}.",
    ]
    print("\n".join(said))
    if args.report:
        args.report.write_text(page(said, tables, requests * traffic.items))
    return int(largest > BETWEEN or trained > DURING or grown > GROWTH)


def page(said: Sequence[str], tables: Sequence[tuple[int, int]], step: int) -> str:
    """The report: the largest size of each five million spans."""
    rows = ["  spans, millions  between trainings, MB  in training, MB"]
    for first in range(0, len(tables), 5):
        between, during = (max(sizes) / MB for sizes in zip(*tables[first : first + 5], strict=True))
        rows.append(f"{min(first + 5, len(tables)) * step / 1e6:17.0f}  {between:21.0f}  {during:15.0f}")
    head = f"Written by `make bench-memory` on {machine()}. PSS of all processes, trainer included, every two seconds; 0: not seen."
    return "# Memory\n\n" + head + "\n\n" + "\n".join(said) + "\n\n```\n" + "\n".join(rows) + "\n```\n"


if __name__ == "__main__":
    sys.exit(main())
