"""Streams one synthetic day through an engine: what `exporter.evaluate.quiet` reports.

python -m exporter.evaluate.quiet_run < JOB.json > DAY.json
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.pipeline import Engine
from engine.records import HOUR_NS, SECOND_NS, Batch, Incident
from engine.settings import EngineSettings
from exporter.evaluate.answers import Publication, publication_of
from exporter.evaluate.day import Day, batches, codes_of
from exporter.evaluate.mishaps import SLOW_AFTER_NS, mishaps, planted_hour
from exporter.evaluate.planted_points import Gauges, waits
from exporter.evaluate.pool import Pool, read
from exporter.evaluate.routine import routine
from exporter.evaluate.score import found, windows
from exporter.evaluate.truth import Fault, Truth, load
from exporter.recording import span_of_time

#: Few enough for a day to take minutes, enough for every service to be seen.
TRACES_A_SECOND = 0.7
START_NS = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * SECOND_NS  # a Monday, midnight


def day_of(recordings: Sequence[Path], *, planted: bool, hours: int, seed: int) -> dict[str, Any]:
    """Draw a day, with faults or without, stream it, and say what was published."""
    began = time.process_time()
    pool = read([load(recording) for recording in recordings])
    if pool.slow:
        hours += SLOW_AFTER_NS // HOUR_NS  # a day to learn from comes before
    rng = np.random.default_rng(seed)
    day = Day(pool, routine(codes_of(pool), pool.resources, START_NS, hours, rng), rng, TRACES_A_SECOND)
    plan = mishaps(START_NS, hours, slow=pool.slow) if planted else []
    engine = Engine(pool.strings, pool.resources, EngineSettings(rows=False))
    faults: list[Fault] = []
    edges: dict[tuple[str, str], bool] = {}

    def drawn() -> Iterator[tuple[int, Batch]]:
        for start_ns in range(START_NS, START_NS + hours * HOUR_NS, HOUR_NS):
            hour = day.hour(start_ns)
            now = [one for one in plan if start_ns <= one.start_ns < start_ns + HOUR_NS]
            if now and pool.slow and not edges:
                history = Gauges([Batch(points=pool.points)], pool.strings, pool.resources)
                calls = sorted({(edge.caller, edge.callee) for edge in engine.snapshot.edges})
                edges.update({(caller, callee): waits(history, caller, callee) for caller, callee in calls})
            if now:
                hour, more = planted_hour(hour, now, edges, pool.strings, pool.resources, rng)
                faults.extend(fault for fault, _ in more)
            yield start_ns, hour
            say(f"{pool.system}{', planted' * planted}: {(start_ns - START_NS) // HOUR_NS + 1} of {hours} h", began)

    published: list[Incident] = []
    spans = 0
    for batch in batches(drawn()):
        times = span_of_time(batch)
        if times is not None:
            spans += 0 if batch.spans is None else len(batch.spans.time_ns)
            published += engine.observe(batch, times[1])
    published += engine.finish()
    return {
        "system": pool.system,
        "planted": planted,
        "hours": hours,
        "spans": spans,
        "origin": pool.origin,
        "routine": day.routine.what,
        "cpu_seconds": time.process_time() - began,
        **scored(pool, faults, published, START_NS + hours * HOUR_NS),
    }


def scored(pool: Pool, faults: Sequence[Fault], published: Sequence[Incident], end_ns: int) -> dict[str, Any]:
    """Matched as recorded faults are (`exporter.evaluate.score`)."""
    services = sorted({pool.resources[code].service for code in range(len(pool.resources))} - {""})
    truth = Truth(Path(pool.system), pool.system, "", tuple(services), tuple(faults), True, None, 0, START_NS, end_ns)
    publications = [publication_of(incident) for incident in published]
    result = found(truth, publications)
    outside = {time_ns for time_ns, _ in result.false}
    openings = [one for one in publications if one.opening and one.published_ns in outside]
    inside = windows(faults) if faults else []
    cases = []
    for case, (start_ns, end) in zip(result.cases, inside, strict=True):
        within = [one for one in publications if one.incident == case.incident and start_ns <= one.published_ns < end]
        cases.append(
            {
                "at": clock(case.fault.onset_ns),
                "kind": case.fault.kind,
                "case": case.fault.case,
                "found": case.answer is not None,
                "rank": case.rank,
                "paged": any(one.page for one in within),
                "delay_seconds": case.delay_seconds,
                "said": said(within[-1]) if within else "",
            }
        )
    paged = {one.incident for one in publications if one.page and not any(a <= one.published_ns < b for a, b in inside)}
    return {
        "pages": len(paged),
        "false": len(result.false),
        "extra": result.extra,
        "faults": cases,
        "openings": [{"at": clock(one.published_ns), "page": one.incident in paged, "said": said(one)} for one in openings],
    }


def said(publication: Publication) -> str:
    """The first cause, and the loudest evidence."""
    answer = publication.answer
    loudest = ", ".join(f"{family} at {service} Z {z:.1f}" for family, service, z in answer.strongest[:2]) or "no evidence"
    return f"{answer.causes[0].service if answer.causes else 'nobody'} ({loudest}); confidence {answer.confidence:.2f}"


def clock(time_ns: int) -> str:
    """Day and time since the beginning."""
    since = (time_ns - START_NS) // SECOND_NS
    return f"{since // 86400}d {since // 3600 % 24:02}:{since // 60 % 60:02}:{since % 60:02}"


def say(what: str, began: float) -> None:
    """A line on standard error: how far, in so much CPU time, with so much memory at its highest."""
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what}, {time.process_time() - began:.0f} s of CPU, {mib} MiB at most", file=sys.stderr, flush=True)


def main() -> int:
    """Read a job on standard input, write the day on standard output."""
    job = orjson.loads(sys.stdin.buffer.read())
    day = day_of([Path(one) for one in job["recordings"]], planted=job["planted"], hours=job["hours"], seed=job["seed"])
    sys.stdout.buffer.write(orjson.dumps(day))
    return 0


if __name__ == "__main__":
    sys.exit(main())
