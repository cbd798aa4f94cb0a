"""What is the same to a model is scored once, and the score is what scoring it alone gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.evidence.rows import Rows
from engine.normal.features import Source
from engine.normal.learn import train
from engine.records import Window
from engine.settings import EngineSettings
from tests.rows_world import OPERATIONS, SERVICES, World, jobs

WARM = 80


@pytest.fixture(scope="module")
def warm() -> tuple[World, Rows]:
    """Rows with a model of spans in use, whatever the gate says."""
    world = World()
    rows = Rows(world.strings, world.resources, EngineSettings())
    for number in range(WARM):
        rows.take(world.window(number))
    model = train(jobs(3)[Source.TRACES.value])
    rows.adopt(replace(model, report=replace(model.report, refused="")))
    rows.take(world.window(WARM))
    return world, rows


def with_errors(world: World, number: int, name: str) -> Window:
    """Every span takes 5 ms and fails in its own way."""
    window = world.window(number)
    errors = [world.strings.intern("value", f"{name}{each}") for each in range(len(window.spans.time_ns))]
    return replace(window, spans=replace(window.spans, error_type=np.array(errors, np.int32), start_ns=window.spans.time_ns - 5_000_000))


def test_rows_that_differ_in_texts_unknown_to_the_model_are_scored_once(warm: tuple[World, Rows]) -> None:
    world, rows = warm
    watch = rows.watches[Source.TRACES]
    before = dict(watch.counts)
    oddest = watch.take(with_errors(world, WARM + 1, "Lost"))
    kinds = len(SERVICES) * len(OPERATIONS)
    assert oddest is not None
    assert oddest.tried.sum() == 48 + kinds  # a row each span, and each window row, has a score
    assert watch.counts["scored"] - before["scored"] <= kinds + kinds
    assert watch.counts["skipped"] == before["skipped"]


def test_a_score_does_not_depend_on_the_rows_beside_it(warm: tuple[World, Rows]) -> None:
    world, rows = warm
    watch = rows.watches[Source.TRACES]
    found = watch.extractor.rows(with_errors(world, WARM + 3, "Beside"))
    assert found is not None and watch.model is not None
    codes, numbers = watch.model.encoder.codes(found, watch._tables), watch.model.encoder.numbers(found)
    together = watch._score(codes, numbers, found.window)
    alone = [watch._score(codes[[row]], numbers[[row]], found.window[[row]]) for row in range(len(found))]
    # BLAS adds up in another order by the place of a row in its matrix
    assert np.concatenate(alone, axis=1) == pytest.approx(together, rel=1e-3, abs=1e-3)
