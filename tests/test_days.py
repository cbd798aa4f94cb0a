"""The slow memory: what is usual at an hour of the day or of the week, and leaks that creep for days."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.evidence.creep import creep_evidence
from engine.evidence.resource import utilisation_evidence
from engine.normal.days import SUBJECTS_MOST, Days
from engine.records import HOUR_NS, SECOND_NS, Evidence, Resource
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from exporter.times import utc_offsets
from tests.point_columns import Point, window

MONDAY = 1_709_510_400  # 2024-03-04 00:00 UTC; clocks in Berlin change on 2024-03-31
HOUR = 3600
SUBJECT = ("cart", "memory.usage", ())
Use = Callable[[int], float]


class World:
    """A gauge that is reported every ten minutes; `use` says how much of the resource is in use at an hour."""

    def __init__(self, use: Use, zone: str = "UTC", start: int = MONDAY, pods: Callable[[int], str] = lambda _: "cart-0") -> None:
        self.strings, self.resources, self.use, self.pods = Strings(), Resources(), use, pods
        settings = EngineSettings(utc_offsets=utc_offsets(zone))
        self.store, self.days = SeriesStore(self.strings, self.resources, settings), Days(settings)
        self.start, self.hour, self.random = start, 0, np.random.default_rng(1)

    def run(self, hours: int) -> World:
        for _ in range(hours):
            begin = self.start + self.hour * HOUR
            resource = Resource(service="cart", pod=self.pods(self.hour))
            points = [
                Point(begin + at, "memory.usage", self.use(self.hour) + 0.005 * self.random.normal(), unit="1", resource=resource)
                for at in range(60, HOUR, 600)
            ]
            self.store.take(window(points, self.strings, self.resources))
            self.hour += 1
            self.days.take(self.store, self.now_ns)
        return self

    @property
    def now_ns(self) -> int:
        return (self.start + self.hour * HOUR) * SECOND_NS

    def peak(self) -> list[Evidence]:
        """Evidence of the hour that was run last."""
        return utilisation_evidence(self.store, self.now_ns - HOUR_NS, self.now_ns - 1, self.days)

    def creeps(self) -> list[Evidence]:
        return creep_evidence(self.days, self.now_ns - 120 * SECOND_NS, self.now_ns)


def nightly(hour: int) -> float:
    return 0.9 if hour % 24 == 2 else 0.05


def test_a_nightly_job_is_news_for_three_nights_and_then_no_more() -> None:
    z = []
    for night in range(5):
        world = World(nightly).run(24 * night + 3)
        z.append(max((item.z for item in world.peak()), default=0.0))
    assert all(value > 6 for value in z[:3])
    assert all(value < 1 for value in z[3:])


def test_the_same_load_at_another_hour_is_news() -> None:
    world = World(lambda hour: 0.9 if hour == 24 * 6 + 14 else nightly(hour)).run(24 * 6 + 15)
    assert max(item.z for item in world.peak()) > 6


def test_the_weekday_counts_from_three_weeks_on() -> None:
    def sunday_job(hour: int) -> float:
        return 0.9 if hour // 24 % 7 == 6 and hour % 24 == 2 else 0.05

    def z(weeks: int) -> float:
        return max((item.z for item in World(sunday_job).run(7 * 24 * weeks + 6 * 24 + 3).peak()), default=0.0)

    assert z(2) > 6
    assert z(3) < 1


@pytest.mark.parametrize(("zone", "usual_at_10", "usual_at_13"), [("Europe/Berlin", 0.9, 0.05), ("UTC", 0.05, 0.9)])
def test_hours_are_those_of_the_time_zone_through_a_change_of_its_clocks(zone: str, usual_at_10: float, usual_at_13: float) -> None:
    # a job at one o'clock in Berlin is at 12 UTC until Saturday, 30 March, and at 11 UTC from then on; an hour beside it counts, too
    world = World(lambda hour: 0.9 if hour % 24 == 12 else 0.05, zone, start=MONDAY + 20 * 24 * HOUR).run(7 * 24)
    sunday_ns = world.now_ns
    assert world.days.usual_peak(SUBJECT, sunday_ns + 10 * HOUR_NS) == pytest.approx(usual_at_10, abs=0.05)
    assert world.days.usual_peak(SUBJECT, sunday_ns + 13 * HOUR_NS) == pytest.approx(usual_at_13, abs=0.05)


def leaking(hour: int) -> float:
    return 0.3 + 0.05 * hour / 24


def test_a_leak_is_said_after_days_with_pace_and_end_though_pods_change() -> None:
    young = World(leaking).run(24 * 3)
    assert young.creeps() == []
    (said,) = World(leaking, pods=lambda hour: f"cart-{hour // 30}").run(24 * 5 + 1).creeps()
    assert said.z > 6
    assert said.service == "cart"
    assert "creeps up by 5.0% a day" in said.sentence
    assert "full in 10 days" in said.sentence
    assert said.observed - said.expected == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    "use",
    [
        lambda hour: 0.3 if hour < 60 else 0.6,  # a step
        lambda hour: 0.3 + 0.2 * np.sin(hour / 24 * 2 * np.pi),  # a day's rhythm
        lambda hour: 0.3 + 0.005 * hour / 24,  # too little to matter
        lambda hour: 0.9 - 0.05 * hour / 24,  # less and less
    ],
)
def test_steps_rhythms_and_trifles_are_no_leaks(use: Use) -> None:
    for hours in (96, 120, 144):
        assert max((item.z for item in World(use).run(hours).creeps()), default=0.0) < 6


def test_hours_without_a_value_stay_unknown() -> None:
    world = World(leaking).run(24 * 4)
    known = world.days.medians()[SUBJECT]
    world.days.take(world.store, world.now_ns + 5 * HOUR_NS)
    assert len(world.days.medians()[SUBJECT]) == len(known)
    world.days.take(world.store, world.now_ns + 10 * HOUR_NS)
    assert len(world.days.medians()[SUBJECT]) == 0  # of the last day more than six hours are missing


def test_state_survives_and_subjects_are_bounded() -> None:
    world = World(leaking).run(24 * 5)
    days = Days(EngineSettings())
    days.restore(world.days.state())
    assert creep_evidence(days, 0, world.now_ns) == creep_evidence(world.days, 0, world.now_ns)
    assert days.usual_peak(SUBJECT, world.now_ns) == world.days.usual_peak(SUBJECT, world.now_ns)
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    many = [Point(MONDAY + 60, f"m{at}.usage", 0.5, service="cart", unit="1") for at in range(SUBJECTS_MOST + 5)]
    days = Days(EngineSettings())
    days.take(store, MONDAY * SECOND_NS)
    store.take(window(many, strings, resources))
    days.take(store, MONDAY * SECOND_NS + HOUR_NS)
    assert (len(days.medians()), days.refused) == (SUBJECTS_MOST, 5)
