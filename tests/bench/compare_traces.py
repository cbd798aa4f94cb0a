"""Stream recordings through the trace branch alone and rank each fault's services by flow and latency, beside a reference's Z.

    python tests/bench/compare_traces.py RECORDINGS_DIR [--reference FILE.csv] [--pieces N]

Windows of 10 s as a pipeline would hand them out (no late items); at the end of each fault's burst the evidence of
[inject_time, burst_end]. A reference file has columns case, service, family, z.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import zstandard

from engine.evidence.traces import Traces
from engine.records import SECOND_NS, Batch, Evidence, Family, LinkColumns, LogColumns, PointColumns, SpanColumns, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import concat, empty, select
from exporter.decode.json import decode_json

FLOW, LATENCY = {Family.FLOW}, {Family.GAP, Family.SELF_TIME}
GROUPS = {
    "flow": FLOW,
    "latency": LATENCY,
    "error": {Family.ERROR},
    "rate": {Family.RATE},
    "flow+latency": FLOW | LATENCY,
    "+error": FLOW | LATENCY | {Family.ERROR},
    "all": set(Family),
}


def nanoseconds(text: str) -> int:
    """RFC 3339 -> ns since 1970."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6) * 1000


def batches(path: Path, strings: Strings, resources: Resources) -> Iterator[Batch]:
    """Decoded lines."""
    with path.open("rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20):
            if b'"resourceMetrics"' not in line[:40]:
                yield decode_json(line, strings, resources)


class Slicer:
    """Windows of 10 s from batches."""

    def __init__(self) -> None:
        self.spans, self.logs = empty(SpanColumns), empty(LogColumns)
        self.end_ns: int | None = None

    def put(self, batch: Batch) -> None:
        """Add a batch."""
        if batch.spans is not None:
            self.spans = concat([self.spans, batch.spans], SpanColumns)
        if batch.logs is not None:
            self.logs = concat([self.logs, batch.logs], LogColumns)

    def window(self, start_ns: int, end_ns: int, *, take: bool) -> Window:
        """Items before end, in order; taken out or only looked at."""
        parts = []
        for columns in (self.spans, self.logs):
            early = columns.time_ns < end_ns
            chosen = select(columns, early)
            parts.append(select(chosen, np.lexsort((chosen.span, chosen.trace_lo, chosen.time_ns))))
        if take:
            self.spans, self.logs = select(self.spans, self.spans.time_ns >= end_ns), select(self.logs, self.logs.time_ns >= end_ns)
        return Window(start_ns, end_ns, parts[0], parts[1], empty(PointColumns), empty(LinkColumns))

    def windows(self, watermark_ns: int, step_ns: int) -> Iterator[Window]:
        """Windows that end by the watermark and hold something, or follow one that does within a minute."""
        times = [int(columns.time_ns.min()) for columns in (self.spans, self.logs) if len(columns.time_ns)]
        if not times:
            return
        if self.end_ns is None or min(times) > self.end_ns + 60 * SECOND_NS:
            self.end_ns = min(times) // step_ns * step_ns
        while self.end_ns + step_ns <= watermark_ns:
            self.end_ns += step_ns
            yield self.window(self.end_ns - step_ns, self.end_ns, take=True)


def run(path: Path, truth: dict, pieces: int, settings: EngineSettings) -> dict[str, dict[str, dict[str, float]]]:
    """Z by case, group of families and service."""
    strings, resources = Strings(), Resources()
    traces, slicer = Traces(strings, resources, settings), Slicer()
    faults = sorted(truth["faults"], key=lambda fault: fault["burst_end"])
    results: dict[str, dict[str, dict[str, float]]] = {}
    spent: dict[str, list[float]] = defaultdict(list)
    last = 0

    def answer(fault: dict) -> None:
        began = time.perf_counter()
        start, end = nanoseconds(fault["inject_time"]), nanoseconds(fault["burst_end"])
        found = traces.evidence(start, end, slicer.window(0, end + 1, take=False))
        spent["explain"].append(time.perf_counter() - began)
        results[fault["case_id"]] = {name: charge(found, families) for name, families in GROUPS.items()}
        for piece in sorted(found, key=lambda piece: -piece.z)[:pieces]:
            print(f"    {piece.z:5.2f} {piece.family:9s} {piece.service}: {piece.sentence}")

    for batch in batches(path, strings, resources):
        columns = [columns for columns in (batch.spans, batch.logs) if columns is not None and len(columns.time_ns)]
        if not columns:
            continue
        newest = max(int(part.time_ns.max()) for part in columns)
        while faults and nanoseconds(faults[0]["burst_end"]) < min(int(part.time_ns.min()) for part in columns) - 20 * SECOND_NS:
            answer(faults.pop(0))
        slicer.put(batch)
        last = max(last, newest)
        for window in slicer.windows(last - 10 * SECOND_NS, settings.window_ns):
            began = time.perf_counter()
            traces.take(window)
            middle = time.perf_counter()
            traces.evidence(window.end_ns - settings.sliding_ns, window.end_ns)
            spent["take"].append(middle - began)
            spent["step"].append(time.perf_counter() - middle)
    while faults:
        answer(faults.pop(0))
    for name, seconds in spent.items():
        mean, most, last_percent = (1e3 * figure for figure in (np.mean(seconds), max(seconds), np.quantile(seconds, 0.99)))
        print(f"{name}: {len(seconds)} times, mean {mean:.1f} ms, 99 % {last_percent:.1f} ms, max {most:.1f} ms")
    codes, left_out = traces.codes, {reason: count for reason, count in traces.counters().items() if count}
    print(f"outcomes {len(codes.outcomes)}, contexts {len(codes.contexts)}, values {len(codes.values)}, templates {len(traces.templates)}")
    print(f"left out {left_out}")
    return results


def charge(found: list[Evidence], families: set[Family]) -> dict[str, float]:
    """Highest Z of each service, plus a thousandth of the sum over families."""
    best: dict[str, dict[str, float]] = defaultdict(dict)
    for piece in found:
        if piece.family in families:
            best[piece.service][piece.family] = max(best[piece.service].get(piece.family, 0), piece.z)
    return {service: max(values.values()) + 0.001 * sum(values.values()) for service, values in best.items()}


def main() -> None:
    """Read, rank, print."""
    parser = argparse.ArgumentParser(description="Compare the trace families with a reference.")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--reference", type=Path, help="case,service,family,z")
    parser.add_argument("--pieces", type=int, default=0, help="print the loudest pieces of each case")
    arguments = parser.parse_args()
    reference: dict[tuple[str, str, str], float] = {}
    if arguments.reference:
        with arguments.reference.open() as file:
            reference = {(row["case"], row["service"], row["family"]): float(row["z"]) for row in csv.DictReader(file)}
    ranks: dict[str, list[int]] = defaultdict(list)
    differences: dict[str, list[float]] = defaultdict(list)
    for path in sorted(arguments.recordings.glob("*.jsonl.zst")):
        truth = json.loads(path.with_name(path.name.replace(".jsonl.zst", ".truth.json")).read_text())
        results = run(path, truth, arguments.pieces, EngineSettings())
        for fault in truth["faults"]:
            case, root = fault["case_id"], fault["root_cause_service"]
            line = f"{case:14s} {fault['fault']:15s} {root:26s}"
            for name, charged in results[case].items():
                scores = {service: charged.get(service, 0.0) for service in truth["services"]}
                own = scores.pop(root)
                # Equal scores count against us.
                ranks[name].append(1 + sum(other >= own for other in scores.values()) if own else len(scores) + 1)
                rival = max(scores, key=lambda service: scores[service])
                line += f"  {name} {own:.2f}/{scores[rival]:.2f}"
                if (case, root, name) in reference:
                    line += f" (ref {reference[case, root, name]:.2f})"
                    differences[name] += [
                        abs(({**scores, root: own}).get(service, 0.0) - reference[case, service, name]) for service in truth["services"]
                    ]
                    differences[name + " of root"].append(abs(own - reference[case, root, name]))
            print(line)
    for name, values in ranks.items():
        hits = [np.mean([rank <= k for rank in values]) for k in range(1, 6)]
        print(f"{name:14s} AC@1 {hits[0]:.3f}  AC@3 {hits[2]:.3f}  AC@5 {hits[4]:.3f}  Avg@5 {np.mean(hits):.3f}  ranks {values}")
    for name, values in differences.items():
        near = np.mean(np.array(values) <= 0.3)
        print(f"{name:16s} |Z - reference|: median {np.median(values):.2f}, within .3: {near:.2f}, max {max(values):.2f}")


if __name__ == "__main__":
    main()
