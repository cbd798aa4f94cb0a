"""Streams a recording, plants faults into its quiet stretches, and asks about each: what `exporter.evaluate.calibrate` fits on.

    python -m exporter.evaluate.planting RECORDING SEED > CASES.json

What is planted is seen by a copy of the engine only: the stream itself goes on as recorded.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.random import Generator

from engine.pipeline import Engine, confidence
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, Batch, Finding
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.planted import Planted, plant
from exporter.evaluate.planted_points import Gauges, waits
from exporter.evaluate.stream import SLOT_NS
from exporter.evaluate.stretch import Stretch
from exporter.evaluate.truth import Quiet, Truth, load
from exporter.recording import lines, span_of_time

#: A shorter stretch says too little, a longer one is cut: bursts of telemetry are asked about as a whole, steady metrics in pieces.
SHORTEST_NS, BURST_NS = 25 * SECOND_NS, 5 * MINUTE_NS
PIECE_NS, SLOW_PIECE_NS = 3 * MINUTE_NS, 30 * MINUTE_NS  # where metrics come every minute, and more rarely
HISTORY_NS = 24 * HOUR_NS  # of slow metrics, before the first piece
WARM_NS = 3 * MINUTE_NS  # of a recording, before the first stretch
#: Faults planted into a stretch, and most pieces of steady metrics that are used.
IN_BURST, IN_PIECE, IN_SLOW_PIECE, PIECES_MOST = 9, 2, 2, 4
#: A stretch in which the fault to come shows so much already is none.
BEGUN_Z = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One planted fault and what was said of it."""

    recording: str
    kind: str
    service: str  # "": nothing was planted
    size: float
    spans: int
    table: dict[str, dict[str, float]]  # Z by service and family
    walk: dict[str, float]  # share of PageRank by service
    roots: dict[str, float]  # scores of services without evidence
    pieces: int  # without which the answer would be another


def slow(truth: Truth) -> bool:
    """Whether the normal period is a matter of days: metrics come every few minutes."""
    return any(one.end_ns - one.start_ns > HISTORY_NS for one in truth.quiet)


def stretches(truth: Truth) -> list[tuple[Quiet, int]]:
    """Stretches to plant into, and how many faults each, in time order, none inside another."""
    bursts = [(one, IN_BURST) for one in truth.quiet if SHORTEST_NS <= one.end_ns - one.start_ns <= BURST_NS]
    rare = slow(truth)
    size_ns, step_ns, each = (SLOW_PIECE_NS, 3 * SLOW_PIECE_NS, IN_SLOW_PIECE) if rare else (PIECE_NS, 2 * PIECE_NS, IN_PIECE)
    pieces: list[tuple[Quiet, int]] = []
    for one in truth.quiet:
        if one.end_ns - one.start_ns > BURST_NS:
            first_ns = one.start_ns + (HISTORY_NS if rare else 0)
            pieces += [(Quiet(at, at + size_ns), each) for at in range(first_ns, one.end_ns - size_ns, step_ns)]
    if not rare:
        pieces = pieces[:: max(1, len(pieces) // PIECES_MOST)]
    return sorted(one for one in bursts + pieces if one[0].start_ns >= truth.first_ns + WARM_NS)


def ask(engine: Engine, batches: Sequence[Batch], quiet: Quiet) -> Finding:
    """What the engine says of a stretch whose telemetry is `batches`; the engine stays as it is."""
    other = copy.copy(engine)
    other.inbox = copy.deepcopy(engine.inbox, {id(engine.resources): engine.resources, id(engine.settings): engine.settings})
    for batch in batches:
        other.inbox.put(batch)
    return other.explain_span(quiet.start_ns, quiet.end_ns)


def planted_in(truth: Truth, rng: Generator) -> list[Asked]:
    """Every planted fault of a recording, in time order. A stretch is passed over if nothing was recorded of it, or of
    spans before its own: there is nothing to compare it with."""
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, EngineSettings(rows=False))
    before: list[Batch] = []  # of the first stretch: who waits for whom is told by it
    history: Gauges | None = None
    traced = False
    waiting, held, found = stretches(truth), list[tuple[Batch, int]](), list[Asked]()
    for line in lines(truth.recording):
        batch = decode_json(line, strings, resources)
        times = span_of_time(batch)
        if times is None:
            continue
        while waiting and times[1] // SLOT_NS > waiting[0][0].end_ns // SLOT_NS:
            quiet, count = waiting.pop(0)
            if held and (traced or not any(map(has_spans, (batch for batch, _ in held)))):
                history = history or Gauges(before if slow(truth) else [], strings, resources)
                found += _planted_into(engine, quiet, [batch for batch, _ in held], count, truth, rng, history)
            for batch_held, time_ns in held:
                engine.observe(batch_held, time_ns)
                traced = traced or has_spans(batch_held)
            held.clear()
        if not waiting:
            break
        if times[1] >= waiting[0][0].start_ns:
            held.append((batch, times[1]))
        else:
            engine.observe(batch, times[1])
            traced = traced or has_spans(batch)
            if history is None and slow(truth):
                before.append(batch)
    return found


def _planted_into(
    engine: Engine, quiet: Quiet, batches: list[Batch], count: int, truth: Truth, rng: Generator, history: Gauges
) -> list[Asked]:
    if quiet.before:
        begun = {cause.service: max((z for _, z in cause.families), default=0.0) for cause in ask(engine, batches, quiet).causes}
        if begun.get(quiet.before, 0.0) > BEGUN_Z:
            return []
    stretch = Stretch(batches, engine.strings, engine.resources)
    calls = sorted({(edge.caller, edge.callee) for edge in engine.snapshot.edges})
    edges = {(caller, callee): waits(history, caller, callee) for caller, callee in calls}
    found = []
    for _ in range(count):
        planted = plant(stretch, edges, rng)
        found.append(asked(truth.recording, planted, len(stretch.spans.span), ask(engine, planted.batches, quiet)))
    return found


def has_spans(batch: Batch) -> bool:
    """Whether a batch holds spans."""
    return batch.spans is not None and len(batch.spans.time_ns) > 0


def asked(recording: Path, planted: Planted, spans: int, finding: Finding) -> Asked:
    """One planted fault and a finding."""
    case = confidence.case_of(finding, planted.service)
    table = {service: {family.value: z for family, z in row.items()} for service, row in case.table.items()}
    return Asked(
        recording=os.fspath(recording),
        kind=planted.kind.value,
        service=planted.service,
        size=planted.size,
        spans=spans,
        table=table,
        walk=dict(case.walk),
        roots=dict(case.roots),
        pieces=len(finding.stability),
    )


def main() -> int:
    """Plant, ask, write. Exit status 0."""
    found = planted_in(load(Path(sys.argv[1])), np.random.default_rng(int(sys.argv[2])))
    sys.stdout.buffer.write(orjson.dumps([asdict(one) for one in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
