"""A past for what is measured: some minutes of thin traffic learned, and a model trained on it and in use.

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

SPANS_A_SECOND = 300.0
SECONDS = 1500  # 900 of them are out of quarantine at the end


@dataclass(frozen=True)
class Past:
    """An engine that has one."""

    engine: Engine
    strings: Strings
    resources: Resources
    end_ns: int
    gate: tuple[str, ...]  # what the gate said of each model


def lived(services: int, start_ns: int) -> Past:
    """Let an engine live through it, from `start_ns` on."""
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, replace(EngineSettings(), live=True))
    traffic = SpanTraffic(
        Settings(services=services, spans_a_second=SPANS_A_SECOND, odd_share=0.0, start_ns=start_ns, seed=11)  # all operations in a request
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
    return Past(engine, strings, resources, now_ns, tuple(said))


def keep(past: Past, folder: Path) -> None:
    """Write the state where a `whence serve` with this store finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    watermark_ns = past.engine.snapshot.watermark_ns
    state_file.save(folder / "state.npz", {"watermark_ns": watermark_ns, "engine": past.engine.state()})
