"""CPU time a span by stage of the engine: thread time around each stage, taken from outside, in one process with one thread.

    python -m tests.bench.stages [--rate 10000] [--seconds 120] [--services 40]

First a past (tests.bench.past), so that there is a trained model; then `--seconds` of event time at `--rate` spans a
second, of which the first third is not counted. Times of a stage exclude those of the stages inside it.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.pipeline import Engine
from engine.records import SECOND_NS
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode.decoder import decoder, in_use
from exporter.heap import keep_heap, large_apart
from tests.bench.load.columns import Columns
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.past import lived

START_NS = 1_760_000_000_000_000_000
#: Stage of each call: object within the engine, method.
STAGES = {
    "inbox": (("inbox", "put"), ("inbox", "windows"), ("clocks", "hear"), ("clocks", "advance")),
    "presence": (("presence", "take"),),
    "changes": (("changes", "take"),),
    "topology": (("topology", "take"), ("topology", "edges")),
    "texts": (("texts", "take"),),
    "series": (("series", "take"),),
    "traces: join and count": (("traces", "take"),),
    "traces: evidence": (("traces", "evidence"),),
    "traces: learn": (("traces", "learn"),),
    "rows: as they arrive": (("rows", "arrive"),),
    "rows: of a window": (("rows", "_make"),),
    "rows: score": (("rows", "work"), ("rows", "_finish")),
    "rows: learn": (("rows", "learn"),),
    "series: evidence": (("_latest", "evidence"),),
    "incidents": (("incidents", "step"),),
    "publish": (("", "_publish"),),
}


class Clock:
    """Thread time by stage, the innermost stage counts."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside: list[str] = []
        self._since = 0.0

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self._turn()
        self._inside.append(stage)

    def leave(self) -> None:
        """The innermost stage ends."""
        self._turn()
        self._inside.pop()

    def _turn(self) -> None:
        now = time.thread_time()
        if self._inside:
            self.seconds[self._inside[-1]] += now - self._since
        self._since = now


def timed(clock: Clock, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, its time counted; a generator's time as it is drawn."""

    def drawn(values: Iterator[Any]) -> Iterator[Any]:
        while True:
            clock.enter(stage)
            try:
                value = next(values)
            except StopIteration:
                return
            finally:
                clock.leave()
            yield value

    def wrapped(*args: Any, **named: Any) -> Any:
        clock.enter(stage)
        try:
            result = call(*args, **named)
        finally:
            clock.leave()
        return drawn(result) if isinstance(result, Iterator) else result

    return wrapped


def watched(engine: Engine, clock: Clock) -> list[str]:
    """Put the clock around the stages; names of those that the engine does not have."""
    missing = []
    for stage, calls in STAGES.items():
        for of, method in calls:
            owner = getattr(engine, of, None) if of else engine
            if not hasattr(owner, method):
                missing.append(f"{of}.{method}")
                continue
            setattr(owner, method, timed(clock, stage, getattr(owner, method)))
    return missing


@dataclass
class Profile:
    """Microseconds a span by stage, and what the run was."""

    rate: float
    spans: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    decode: float = 0.0
    window_ms: list[float] = field(default_factory=list)
    share: float = 1.0
    models: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    scored_share: float = 0.0


def profile(rate: float, seconds: float, services: int, odd_share: float = 0.005) -> Profile:
    """Run it, with memory kept as `whence serve` keeps it."""
    keep_heap()
    large_apart()
    past = lived(services, START_NS, rate)
    engine, strings, resources, last_ns = past.engine, past.strings, past.resources, past.end_ns
    traffic = SpanTraffic(Settings(services=services, spans_a_second=rate, odd_share=odd_share, start_ns=last_ns, seed=2))
    columns = Columns(traffic, strings, resources)
    clock, result = Clock(), Profile(rate)
    missing = watched(engine, clock)
    assert not missing, missing
    requests = int(seconds * SECOND_NS / traffic.span_ns)
    watches = engine.rows.watches
    for number in range(requests):
        if number == requests // 3:
            clock.seconds.clear()
            result.window_ms.clear()
            result.spans = 0
            before = {source: (watch.counts["scored"], watch.counts["records"]) for source, watch in watches.items()}
        batch, received_ns = columns.batch(number), last_ns + (number + 1) * traffic.span_ns
        watermark_ns, began = engine.inbox.window_end_ns, time.thread_time()
        clock.enter("between")
        engine.observe(batch, received_ns)
        clock.leave()
        windows = (engine.inbox.window_end_ns - watermark_ns) / engine.settings.window_ns  # type: ignore[operator]
        if windows:
            result.window_ms += [1000 * (time.thread_time() - began) / windows] * round(windows)
        result.spans += traffic.items
    result.stages = {stage: 1e6 * clock.seconds[stage] / result.spans for stage in (*STAGES, "between")}
    decoded = [traffic.request(number) for number in range(requests, requests + 12)]
    decode = decoder("auto", strings, resources, EVENT_TYPES).traces
    decode(traffic.request(requests + 99))  # what it has to learn once
    began = time.thread_time()
    for raw in decoded:
        decode(raw)
    result.decode = 1e6 * (time.thread_time() - began) / len(decoded) / traffic.items
    result.share = engine.traces.assembler.share
    result.models = tuple(str(source) for source, watch in watches.items() if watch.model is not None)
    result.gate = past.gate
    result.dropped = {f"{what} {reason}": int(count) for what, reason, count in engine.snapshot.dropped}
    scored = sum(watch.counts["scored"] - before[source][0] for source, watch in watches.items())
    result.scored_share = scored / result.spans
    return result


def text(result: Profile) -> str:
    """The table."""
    total = sum(result.stages.values())
    lines = [f"{result.rate:,.0f} spans a second of event time, {result.spans:,} spans counted, microseconds of CPU a span"]
    lines += [f"  {'decode':26s} {result.decode:7.2f} by the {in_use()} decoder"]
    lines += [f"  {stage:26s} {micros:7.2f} {micros / total:5.0%}" for stage, micros in result.stages.items()]
    lines += [f"  {'engine in all':26s} {total:7.2f}"]
    at = np.array(result.window_ms)
    lines += [f"  closing a window: p50 {np.median(at):.0f} ms, p99 {np.quantile(at, 0.99):.0f} ms, longest {at.max():.0f} ms ({len(at)})"]
    lines += [f"  assembled share {result.share:.2f}, rows scored a span {result.scored_share:.4f}, dropped {result.dropped}"]
    lines += [f"  models in use: {', '.join(result.models) or 'none'}"]
    lines += [f"  the gate says of it, and it is used all the same: {each}" for each in result.gate]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--services", type=int, default=40)
    args = parser.parse_args()
    print(text(profile(args.rate, args.seconds, args.services)))


if __name__ == "__main__":
    main()
