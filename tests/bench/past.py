"""A past for what is measured: some minutes of traffic of the same pace learned, and a model trained on it and in use.

Under thinner traffic every window would have a hundred times the usual spans, and all its rows the dear look that is for odd ones.
The gate's word is kept and shown, and the model used whatever it says: what scoring costs is asked for, not whether it helps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from engine.pipeline import Engine, train
from engine.records import SECOND_NS
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter import state_file
from tests.bench.load.columns import Columns
from tests.bench.load.spans import Settings, SpanTraffic

SECONDS = 300
QUARANTINE_NS = 60 * SECOND_NS  # of the past alone, so that minutes suffice


@dataclass(frozen=True)
class Past:
    """An engine that has one."""

    engine: Engine
    strings: Strings
    resources: Resources
    end_ns: int
    gate: tuple[str, ...]  # what the gate said of each model


def lived(services: int, start_ns: int, spans_a_second: float) -> Past:
    """Let an engine live through it, from `start_ns` on."""
    strings, resources = Strings(), Resources()
    usual = replace(EngineSettings(), live=True)
    engine = Engine(strings, resources, replace(usual, quarantine_ns=QUARANTINE_NS))
    traffic = SpanTraffic(
        Settings(services=services, spans_a_second=spans_a_second, odd_share=0.0, start_ns=start_ns, seed=11)  # all operations in a request
    )
    columns, now_ns = Columns(traffic, strings, resources), start_ns
    for number in range(int(SECONDS * SECOND_NS / traffic.span_ns)):
        now_ns = start_ns + (number + 1) * traffic.span_ns
        engine.observe(columns.batch(number), now_ns)
    said = []
    while (job := engine.due(now_ns)) is not None:
        model = train(job)
        said.append(f"{model.source.value}, {model.report.rows} rows: {model.report.refused or 'passed'}")
        engine.adopt(replace(model, report=replace(model.report, refused="")))
    heir = Engine(strings, resources, usual)
    heir.restore(engine.state())
    return Past(heir, strings, resources, now_ns, tuple(said))


def keep(past: Past, folder: Path) -> None:
    """Write the state where a `whence serve` with this store finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    watermark_ns = past.engine.snapshot.watermark_ns
    state_file.save(folder / "state.npz", {"watermark_ns": watermark_ns, "engine": past.engine.state()})
