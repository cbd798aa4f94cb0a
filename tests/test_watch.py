"""What is the same to a model is scored once, and the score is what scoring it alone gives."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from engine.evidence.rows import Rows
from engine.normal.features import Source
from engine.normal.learn import train
from engine.records import Batch, SpanColumns, Window
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
    rows.work(1000)
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
    watch.finish()
    watch.take(with_errors(world, WARM + 1, "Lost"))
    oddest = watch.finish()
    kinds = len(SERVICES) * len(OPERATIONS)
    assert oddest is not None
    assert oddest.tried.sum() == 48 + kinds  # a row each span, and each window row, has a score
    assert watch.counts["scored"] - before["scored"] <= kinds + kinds
    assert watch.counts["skipped"] == before["skipped"]


def test_a_score_does_not_depend_on_the_rows_beside_it(warm: tuple[World, Rows]) -> None:
    world, rows = warm
    watch = rows.watches[Source.TRACES]
    found = watch.extractor.rows(with_errors(world, WARM + 3, "Beside"))
    assert found is not None
    assert watch.model is not None
    codes, numbers = watch._encoded(found.codes, found.numbers)
    together = watch._score(codes, numbers, found.window)
    alone = [watch._score(codes[[row]], numbers[[row]], found.window[[row]]) for row in range(len(found))]
    # BLAS adds up in another order by the place of a row in its matrix
    assert np.concatenate(alone, axis=1) == pytest.approx(together, rel=1e-3, abs=1e-3)


def fresh(warm: tuple[World, Rows]) -> tuple[World, Rows]:
    """The same rows in another life, with the same model and no score remembered."""
    world, rows = World(), Rows(warm[0].strings, warm[0].resources, EngineSettings())
    world.strings, world.resources = warm[0].strings, warm[0].resources
    rows.restore(warm[1].state())
    return world, rows


def test_what_was_scored_as_it_arrived_is_not_scored_again_and_says_the_same(warm: tuple[World, Rows]) -> None:
    window = with_errors(warm[0], WARM + 5, "Early")
    found = {}
    for early in (False, True):
        _, rows = fresh(warm)
        watch = rows.watches[Source.TRACES]
        if early:
            for part in (slice(0, 30), slice(30, 48)):
                spans = SpanColumns(*(getattr(window.spans, each.name)[part] for each in fields(SpanColumns)))
                assert rows.arrive(Batch(spans=spans))  # too few to be scored at once
            assert rows.rest() == 0
        watch.take(window)
        found[early] = watch.counts["scored"], watch.finish()
    (late_scored, late), (early_scored, early_found) = found[False], found[True]
    assert early_scored == len(SERVICES) * len(OPERATIONS)  # window rows
    assert late_scored > early_scored
    assert late is not None
    assert early_found is not None
    assert np.array_equal(late.rows.key, early_found.rows.key)
    assert late.nats == pytest.approx(early_found.nats, rel=1e-3, abs=1e-3)


def test_rows_that_come_faster_than_they_are_scored_are_left_to_their_window(warm: tuple[World, Rows], monkeypatch) -> None:
    monkeypatch.setattr("engine.normal.watch.EARLY_MOST", 5)
    _, rows = fresh(warm)
    window = with_errors(warm[0], WARM + 6, "Many")
    assert rows.arrive(Batch(spans=window.spans)) == 12
    assert rows.rest() == 7  # no window took them yet
    rows.take(window)
    rows.work(0)
    assert rows.rest() == 0
