"""Twenty minutes at half load: memory, queue and latency over time. `make soak`.

    python -m tests.bench.soak [--minutes 20] [--rate 15000] [--unseen 0.005] [--report docs/performance-soak.md]

Half load: half of the 30,000 spans a second that `make bench` paces event time by; here event time goes at the pace of wall time, so
that windows close as they do in production. Latency: from a request's first byte sent to its answer, 99 % of each ten seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.records import HOUR_NS
from tests.bench import chart, past
from tests.bench.load.process import children, cpu_seconds, machine, pss_bytes
from tests.bench.load.send import Sender
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.scrape import Scrape
from tests.bench.whole import PACE, with_past

REQUEST_SPANS = 2048
EVERY_SECONDS = 10.0
SERVICES = 40


class Watch:
    """Looks at a server every ten seconds."""

    def __init__(self, pid: int, scrape: type[Scrape], serving: object) -> None:
        self.pid, self.panels = pid, {name: [] for name in NAMES}  # type: dict[str, list[tuple[float, float]]]
        self.took: list[float] = []
        self._scrape, self._serving, self._began = scrape, serving, time.monotonic()
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def timed(self, seconds: float) -> None:
        """A request was answered after so long."""
        with self._lock:
            self.took.append(seconds)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            at = time.monotonic() - self._began
            memory = sum(map(pss_bytes, [self.pid, *children(self.pid)]))
            queue = self._scrape(self._serving).total("rca_receiver_in_flight_bytes")  # type: ignore[arg-type]
            with self._lock:
                took, self.took = self.took, []
            late = 1000 * float(np.quantile(took, 0.99)) if took else 0.0
            for name, value in zip(NAMES, (memory / 2**20, queue / 2**20, late), strict=True):
                self.panels[name].append((at, value))
            print(f"{at:6.0f} s  {memory / 2**20:7.0f} MiB  queue {queue / 2**20:6.1f} MiB  p99 {late:7.0f} ms", flush=True)


NAMES = ("memory of all processes (PSS), MiB", "queue, MiB of requests", "answer to a request, p99 of 10 s, ms")


def numbers(seconds: float) -> Iterator[int]:
    """Request numbers until the time is over."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1


def main() -> int:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=PACE / 2, help="spans a second (default: %(default)g)")
    parser.add_argument("--unseen", type=float, default=0.005, help="share of spans that nothing came before (default: %(default)g)")
    parser.add_argument("--report", type=Path, help="Markdown to write, with the picture beside it")
    args = parser.parse_args()
    lived = past.lived(SERVICES, time.time_ns() - 6 * HOUR_NS, args.rate)
    with tempfile.TemporaryDirectory() as name, with_past(Path(name), lived, "soak") as (server, serving):
        half = SpanTraffic(
            Settings(spans_a_second=args.rate, odd_share=args.unseen, spans_a_request=REQUEST_SPANS, start_ns=lived.end_ns, seed=3)
        )
        watch, before, refused = Watch(server.pid, Scrape, serving), cpu_seconds(server.pid), 0
        with Sender(server.target, half.method, took=watch.timed) as sender:
            sent = sender.send(numbers(60 * args.minutes), half.request, half.items, a_second=args.rate / half.items)
            refused = sent.refused
        watch.end()
        used = cpu_seconds(server.pid) - before
        lost = Scrape(serving).dropped()
    facts = [
        f"{args.rate:,.0f} spans a second for {args.minutes:g} minutes, {half.items} a request, {args.unseen:.1%} of them unseen.",
        f"{sent.items:,} spans, {1e6 * used / sent.items:.2f} us of CPU a span, {refused} requests refused; dropped {lost or 'nothing'}.",
    ]
    print("\n".join(facts))
    if args.report:
        args.report.with_suffix(".svg").write_text(chart.over_time(watch.panels, span_seconds=60 * args.minutes))
        args.report.write_text(page(facts, watch.panels, args.report.stem))
    return 0


def page(facts: Sequence[str], panels: Mapping[str, Sequence[tuple[float, float]]], picture: str) -> str:
    """The report: what was sent, the picture, and its figures by five minutes."""
    rows = [f"{'minutes':>9s}  {'  '.join(NAMES)}"]
    for first in range(0, round(max(at for at, _ in panels[NAMES[0]])), 300):
        values = [np.array([value for at, value in panels[name] if first <= at < first + 300]) for name in NAMES]
        cells = (f"{f'{np.median(some):.0f}, largest {some.max():.0f}':>{len(name)}s}" for name, some in zip(NAMES, values, strict=True))
        rows.append(f"{f'{first // 60}-{first // 60 + 5}':>9s}  {'  '.join(cells)}")
    table = "\n".join(rows)
    said = "\n".join(facts)
    return (
        f"# Soak\n\nWritten by `make soak` on {machine()}.\n\n{said}\n\n![Memory, queue and latency]({picture}.svg)\n\n```\n{table}\n```\n"
    )


if __name__ == "__main__":
    sys.exit(main())
