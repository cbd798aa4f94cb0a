"""Lines about the whole path: a real `whence serve` with a past and a model in use, beside a Collector and the naive path."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.bench.load.process import cpu_seconds, pss_bytes
from tests.bench.load.send import Sender
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.measure import Cost, in_turn, settle
from tests.bench.past import Past, keep
from tests.bench.peers import Missing, Server, module, otelcol, whence
from tests.bench.scrape import Scrape, quantile_of
from tests.bench.table import Line, Met, at_least, at_most
from tests.serving import Serving

ITEMS = 1_200_000  # a round: four windows at the pace below
#: Event time goes as if so many spans came in a second: what the assembler's 500,000 places hold with a share of 0.9 and more.
PACE = 30_000.0
WARM_SECONDS = 100  # of event time, until windows close at that pace over traffic of that pace, in memory that was fetched once
NAIVE_REQUESTS = 2
CHAINED = 1200  # requests of a round through the Collector: 20 s of event time, so that windows close in each
GENERATED = 40_000  # spans of telemetrygen
CLOSE, LATENCY = "rca_engine_window_close_seconds", "rca_row_latency_seconds"
ROWS = "rca_rows_total"
HALF_WARM_SECONDS, HALF_SECONDS, HALF_SPANS = 15, 40, 1024  # at half of the pace, in real time, and spans a request


@contextlib.contextmanager
def with_past(folder: Path, past: Past, name: str) -> Iterator[tuple[Server, Serving]]:
    """A `whence serve` with a copy of the past."""
    mine = folder / name
    mine.mkdir()
    keep(past, mine / "data")
    with whence(mine) as running:
        yield running


def whole_lines(folder: Path, rounds: int, past: Past) -> list[Line]:
    """Everything on: joins, topology, windows, rows scored."""
    usual = Settings(spans_a_second=PACE, start_ns=past.end_ns, seed=2)
    return [*_usual(folder, rounds, past, usual), *_half_load(folder, past, usual), *_unseen(folder, rounds, past, usual)]


def _usual(folder: Path, rounds: int, past: Past, settings: Settings) -> list[Line]:
    traffic = SpanTraffic(settings)
    requests = max(1, ITEMS // traffic.items)
    with with_past(folder, past, "usual") as (ours, serving), otelcol(folder) as collector, module("tests.naive_path") as naive:
        scrapes: list[Scrape] = []
        mine, theirs = in_turn(
            [ours, collector],
            traffic,
            rounds=rounds,
            requests=requests,
            warm=int(WARM_SECONDS * PACE / traffic.items),
            warmed=lambda: scrapes.append(Scrape(serving)),
        )
        plain = in_turn([naive], traffic, rounds=1, requests=NAIVE_REQUESTS, warm=1)[0]
        before, after = scrapes[0], Scrape(serving)
    seconds = mine.items / PACE
    lost = {what: count - before.dropped().get(what, 0.0) for what, count in after.dropped().items()}
    sampled = lost.get("traces spans_sampled_out", 0.0) / mine.items
    facts = f"event time {PACE:,.0f} spans/s, {seconds:.0f} s of it; assembled share {1 - sampled:.2f}; {_said(lost)}"
    lines = [
        at_least(
            f"whole path, none, {traffic.items} a request",
            theirs.median / mine.median,
            3,
            ours=_cost(mine),
            peer=f"otelcol otlp to nop {_cost(theirs)}",
            note=facts,
        ),
        at_least("whole path against the naive path", plain.median / mine.median, 100, ours=_cost(mine), peer=f"naive {_cost(plain)}"),
    ]
    return [*lines, _closing("closing a window", before, after, f"{PACE * 10:,.0f} spans a window, sent as fast as they are taken")]


def _closing(name: str, before: Scrape, after: Scrape, note: str) -> Line:
    """How long the engine's thread was at it; CPU that others had meanwhile included."""
    middle, late, most = (1000 * quantile_of(before, after, CLOSE, share) for share in (0.5, 0.99, 1.0))
    mean = 1000 * (after.total(f"{CLOSE}_sum") - before.total(f"{CLOSE}_sum"))
    mean /= max(1.0, after.total(f"{CLOSE}_count") - before.total(f"{CLOSE}_count"))
    ours = f"mean {mean:.0f} ms, p50 <= {middle:.0f} ms, p99 <= {late:.0f} ms, longest <= {most:.0f} ms"
    return Line(name, "<= 150 ms", ours, "", None, "yes" if late <= 150 else "no", f"{note}; wall time of the engine's thread")


def _half_load(folder: Path, past: Past, usual: Settings) -> list[Line]:
    """Half of the pace, event time as fast as wall time: how long a batch's rows wait for their scores."""
    traffic = SpanTraffic(replace(usual, spans_a_second=PACE / 2, spans_a_request=HALF_SPANS, seed=4))
    a_second = 1e9 / traffic.span_ns
    warm, last = (round(seconds * a_second) for seconds in (HALF_WARM_SECONDS, HALF_WARM_SECONDS + HALF_SECONDS))
    with with_past(folder, past, "half") as (ours, serving), Sender(ours.target, traffic.method) as sender:
        sender.send(range(warm), traffic.request, traffic.items, a_second=a_second)
        before, spent = Scrape(serving), cpu_seconds(ours.pid)
        sender.send(range(warm, last), traffic.request, traffic.items, a_second=a_second)
        spent = cpu_seconds(ours.pid) - spent
        settle(ours.pid)
        after = Scrape(serving)
    middle, late = (1000 * quantile_of(before, after, LATENCY, share) for share in (0.5, 0.99))
    count = after.total(f"{LATENCY}_count") - before.total(f"{LATENCY}_count")
    note = f"{PACE / 2:,.0f} spans/s in real time, {traffic.items} a request, {count:,.0f} batches; {spent / HALF_SECONDS:.0%} of a core"
    ours_said = f"p50 <= {middle:.0f} ms, p99 <= {late:.0f} ms"
    met: Met = "yes" if late <= 100 else "no"
    return [
        _closing("closing a window, half load", before, after, f"{PACE * 5:,.0f} spans a window"),
        Line("arrival of a span to the score of its row, half load", "p99 <= 100 ms", ours_said, "", None, met, note),
    ]


def _unseen(folder: Path, rounds: int, past: Past, usual: Settings) -> list[Line]:
    lines = []
    for share, target in ((0.2, 40_000), (1.0, 400_000)):
        calm = SpanTraffic(usual)
        warm = int(WARM_SECONDS * PACE / calm.items)
        traffic = SpanTraffic(replace(usual, odd_share=share, seed=3, start_ns=usual.start_ns + warm * calm.span_ns))
        requests = max(1, ITEMS // traffic.items)
        with with_past(folder, past, f"unseen-{share:g}") as (ours, serving), Sender(ours.target, calm.method) as sender:
            sender.send(range(warm), calm.request, calm.items)  # what is not seen comes to a system that runs
            settle(ours.pid)
            began = pss_bytes(ours.pid)
            sizes: list[int] = []
            scrapes: list[Scrape] = []

            def note(pid: int = ours.pid, into: list[int] = sizes) -> None:
                into.append(pss_bytes(pid))

            def look(of: Serving = serving, into: list[Scrape] = scrapes) -> None:
                into.append(Scrape(of))

            cost = in_turn([ours], traffic, rounds=max(2, rounds), requests=requests, warmed=look, done=note)[0]
            look()
        before, after = scrapes
        busy = cost.median * cost.items / 1e6
        rows = {what: after.total(ROWS, what=what) - before.total(ROWS, what=what) for what in ("scored", "remembered", "early", "dropped")}
        # a row that is the same to the model as one before has its score: early, scored: those that had to be computed
        scored, computed = rows["scored"] + rows["remembered"], rows["scored"] + rows["early"]
        lost = {what: count - before.dropped().get(what, 0.0) for what, count in after.dropped().items()}
        left = after.total(ROWS, what="skipped") - before.total(ROWS, what="skipped") + lost.get("rows traces_combinations_full", 0.0)
        said = (
            f"{scored / busy:,.0f} rows given a score a CPU-second ({computed / busy:,.0f} computed), {left:,.0f} rows and spans left "
            f"without, {rows['dropped']:,.0f} rows left out of learning"
        )
        memory = f"memory {began / 2**20:.0f} to {' to '.join(f'{size / 2**20:.0f}' for size in sizes)} MiB"
        what = "100 % unseen flood" if share == 1 else f"{share:.0%} unseen"
        good = cost.a_second >= target and (left == 0 if share < 1 else scored / busy >= 2000)
        lines.append(
            Line(
                what,
                f">= {target:,} spans a CPU-second, {'>= 2,000 rows scored a second, memory flat' if share == 1 else 'every row scored'}",
                f"{cost.a_second:,.0f} spans a CPU-second, {said}",
                "",
                cost.a_second / target,
                "yes" if good else "no",
                f"{memory}; {_said(lost)}",
            )
        )
    return lines


def chain_line(folder: Path, rounds: int, past: Past) -> Line:
    """whence behind a Collector with its default batches: whence's CPU as a share of the Collector's."""
    traffic = SpanTraffic(Settings(spans_a_request=512, spans_a_second=PACE, start_ns=past.end_ns, seed=5))
    with with_past(folder, past, "chain") as (ours, serving), otelcol(folder, ours.target) as collector:
        spent = np.zeros(2)
        for number in range(rounds + 1):
            both = _both(collector, ours, traffic, range(number * CHAINED, (number + 1) * CHAINED))
            spent += both if number else (0.0, 0.0)  # windows close from the second round on at the pace of the first
        taken = Scrape(serving).total("rca_receiver_items_total", signal="traces")
    sent, share = (rounds + 1) * CHAINED * traffic.items, float(spent[1] / spent[0])
    note = f"batch processor and sending_queue with their defaults, gzip; {traffic.items} spans a request in; {taken / sent:.1%} arrived"
    measure = "whence's CPU as a share of the Collector's in front"
    return at_most(measure, share, 0.25, ours=f"{share:.0%}", unit="", note=note)


def telemetrygen_line(folder: Path) -> Line:
    """The Collector's own load generator through a Collector into a fresh whence: nothing lost, and the CPU of both."""
    program, name = shutil.which("telemetrygen"), "telemetrygen through the Collector"
    if program is None:
        raise Missing("telemetrygen is not on PATH")
    mine = folder / "telemetrygen"
    mine.mkdir()
    with whence(mine) as (ours, serving), otelcol(folder, ours.target) as collector:
        before = cpu_seconds(collector.pid), cpu_seconds(ours.pid)
        command = [
            program,
            "traces",
            "--otlp-insecure",
            "--otlp-endpoint",
            collector.target,
            "--rate",
            "1000",
        ]  # a worker; faster, and its own queue overflows
        command += ["--workers", "4", "--traces", str(GENERATED // 8), "--child-spans", "1"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        settle(collector.pid)
        settle(ours.pid)
        spent = cpu_seconds(collector.pid) - before[0], cpu_seconds(ours.pid) - before[1]
        taken = Scrape(serving).total("rca_receiver_items_total", signal="traces")
    ours_said, peer = f"{1e6 * spent[1] / taken:.2f} us a span", f"otelcol {1e6 * spent[0] / taken:.2f} us a span"
    met: Met = "yes" if taken == GENERATED else "no"
    return Line(name, "every span arrives", ours_said, peer, None, met, f"{taken:,.0f} of {GENERATED:,} arrived, 4 connections in")


def _both(collector: Server, ours: Server, traffic: SpanTraffic, numbers: range) -> tuple[float, float]:
    """CPU seconds of the Collector and of whence for requests sent to the Collector."""
    before = cpu_seconds(collector.pid), cpu_seconds(ours.pid)
    with Sender(collector.target, traffic.method) as sender:
        # half of what the Collector could take: its queue must not overflow, or whence would get less
        sender.send(numbers, traffic.request, traffic.items, a_second=100)
    settle(collector.pid)
    settle(ours.pid)
    return cpu_seconds(collector.pid) - before[0], cpu_seconds(ours.pid) - before[1]


def _cost(cost: Cost) -> str:
    again = f", {cost.refused} requests refused and sent again" if cost.refused else ""
    return f"{cost.median:.2f} us a span{again}"


def _said(dropped: dict[str, float]) -> str:
    return "dropped: " + (", ".join(f"{what} {count:,.0f}" for what, count in sorted(dropped.items()) if count) or "nothing")
