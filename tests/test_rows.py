from __future__ import annotations

import numpy as np
import pytest

from engine.evidence.rows import Rows
from engine.normal.learn import train
from engine.records import Family
from engine.settings import EngineSettings
from tests.rows_world import SERVICES, START_NS, STEP_NS, World

pytestmark = pytest.mark.slow
SETTINGS = EngineSettings(training_steps=40)
WARM = 420  # windows: 10 minutes of quarantine, the first models, half an hour of their scores


def play(
    world: World, rows: Rows, numbers: range, *, odd: str = "", what: str = "error", abnormal: tuple[tuple[int, int], ...] = ()
) -> None:
    for number in numbers:
        window = world.window(number, odd=odd, what=what)
        rows.take(window)
        rows.learn(window.end_ns - SETTINGS.quarantine_ns, abnormal)
        while (job := rows.due(window.end_ns)) is not None:
            rows.adopt(train(job))


@pytest.fixture(scope="module")
def warm() -> tuple[World, Rows]:
    world = World()
    rows = Rows(world.strings, world.resources, SETTINGS)
    play(world, rows, range(WARM))
    return world, rows


def span_ns(first: int, last: int) -> tuple[int, int]:
    return START_NS + first * STEP_NS, START_NS + last * STEP_NS


def test_before_there_is_a_model_nothing_is_said() -> None:
    world = World()
    rows = Rows(world.strings, world.resources, SETTINGS)
    for number in range(5):
        rows.take(world.window(number, odd=SERVICES[1]))
    assert rows.due(START_NS + 5 * STEP_NS) is None
    assert rows.evidence(*span_ns(0, 5)) == []


def test_the_service_whose_rows_are_odd_is_named_with_the_odd_field(warm: tuple[World, Rows]) -> None:
    world, rows = warm
    assert any(watch.model for watch in rows.watches.values()), rows.refusals
    play(world, rows, range(WARM, WARM + 3), odd=SERVICES[1])
    found = rows.evidence(*span_ns(WARM, WARM + 3))
    assert found[0].service == SERVICES[1]
    assert found[0].family is Family.ROW
    assert not found[0].for_opening
    assert found[0].score_nats > 3  # rarer than 1 in 20 among the service's own windows
    assert "SeatLost" in found[0].sentence or "error" in found[0].sentence or "no seat" in found[0].sentence


def test_asking_changes_nothing(warm: tuple[World, Rows]) -> None:
    _, rows = warm
    span = span_ns(WARM - 20, WARM)
    counts = rows.counts()
    assert rows.evidence(*span) == rows.evidence(*span)
    assert rows.counts() == counts


def test_quiet_windows_say_little(warm: tuple[World, Rows]) -> None:
    _, rows = warm
    loud = [piece.z for number in range(WARM - 60, WARM, 12) for piece in rows.evidence(*span_ns(number, number + 12))]
    assert sum(z > 3.5 for z in loud) <= 1


def test_state_gives_the_same_models_in_another_process(warm: tuple[World, Rows]) -> None:
    _, rows = warm
    other_world = World(seed=9)
    other_world.strings.intern("service", "was here first")
    other = Rows(other_world.strings, other_world.resources, SETTINGS)
    other.restore(rows.state())
    models = {source: watch.model.checksum for source, watch in rows.watches.items() if watch.model}
    assert {source: watch.model.checksum for source, watch in other.watches.items() if watch.model} == models
    play(other_world, other, range(WARM + 10, WARM + 13), odd=SERVICES[2])
    assert other.evidence(*span_ns(WARM + 10, WARM + 13))[0].service == SERVICES[2]


def test_rows_of_an_incident_are_not_learned() -> None:
    world = World()
    learned = {}
    for abnormal in ((), ((START_NS, START_NS + 100 * STEP_NS),)):
        rows = Rows(world.strings, world.resources, SETTINGS)
        for number in range(70):
            rows.take(world.window(number))
        rows.learn(START_NS + 71 * STEP_NS, abnormal)
        learned[bool(abnormal)] = sum(watch.reservoir.learned for watch in rows.watches.values())
    assert learned[True] == 0 < learned[False]


def test_trainings_are_bounded(warm: tuple[World, Rows]) -> None:
    _, rows = warm
    assert 1 <= max(rows.counts().get((source.value, "trainings"), 0) for source in rows.watches) <= 4


def test_equal_runs_say_the_same() -> None:
    said = []
    for _ in range(2):
        world = World(seed=4)
        rows = Rows(world.strings, world.resources, EngineSettings(training_steps=3))
        play(world, rows, range(130))
        said.append([watch.reservoir.rows() for watch in rows.watches.values()])
    for first, second in zip(*said, strict=True):
        if first is not None and second is not None:
            assert np.array_equal(first.key, second.key)
