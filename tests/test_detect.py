"""Openings: thresholds, holding, direction, and the alert budget."""

from __future__ import annotations

import numpy as np
import pytest

from engine.judge.detect import LASTING_STEPS, REFERENCE_Z, TAIL_RAISES, Detector, Tail
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, Family
from tests.judging import seen

STEP_NS = 10 * SECOND_NS
DAY_NS = 24 * HOUR_NS


def old(detector=None, steps=60 * 40):
    """A detector whose families are no longer young: 400 quiet minutes."""
    detector = detector or Detector()
    for step in range(0, steps, 6):
        detector.step([seen("idle", family, 0.5) for family in Family], step * STEP_NS)
    detector.learn(DAY_NS, [])
    return detector


@pytest.mark.parametrize("family", [Family.FLOW, Family.GAP, Family.SELF_TIME, Family.METRIC])
def test_a_family_departs_at_its_reference_and_is_held_when_it_recurs(family):
    detector = old()
    loud = seen("cart", family, 1.02 * detector.threshold(family))
    assert detector.threshold(family) == pytest.approx(REFERENCE_Z[family], rel=0.01)
    assert [one.held for one in detector.step([loud], DAY_NS)] == [""]
    assert [one.held for one in detector.step([loud], DAY_NS + STEP_NS)] == ["recurred"]


def test_errors_and_absence_are_held_at_once_and_a_second_family_holds_the_first():
    detector = old()
    assert [one.held for one in detector.step([seen("cart", Family.ERROR, 6.0)], DAY_NS)] == ["counted against chance"]
    both = detector.step([seen("mail", Family.FLOW, 5.0), seen("mail", Family.GAP, 5.0)], DAY_NS)
    assert {one.held for one in both} == {"another family agrees"}


def test_a_gauge_alone_opens_only_when_it_lasts_and_with_a_symptom_when_it_recurs():
    detector, busy = old(), seen("cart", Family.RESOURCE, 9.0)
    alone = [detector.step([busy], DAY_NS + step * STEP_NS)[0].held for step in range(LASTING_STEPS)]
    assert alone == [""] * (LASTING_STEPS - 1) + ["lasts"]
    detector, slow = old(), seen("web", Family.GAP, 2.5, peer="cart")
    with_symptom = [detector.step([busy, slow], DAY_NS + step * STEP_NS)[0].held for step in range(2)]
    assert with_symptom == ["", "recurred"]


def test_rows_never_open_alone():
    detector = old()
    for step in range(5):
        assert [one.held for one in detector.step([seen("cart", Family.ROW, 20.0)], DAY_NS + step * STEP_NS)] == [""]


def test_what_improves_and_what_hardly_moves_does_not_depart():
    detector = old()
    faster = seen("cart", Family.GAP, 9.0, observed=5.0, expected=10.0)
    same = seen("cart", Family.GAP, 9.0, observed=10.4, expected=10.0)
    slower = seen("cart", Family.GAP, 9.0, observed=15.0, expected=10.0)
    only_ranks = seen("cart", Family.FLOW, 9.0, for_opening=False)
    assert [one.evidence for one in detector.step([faster, same, slower, only_ranks], DAY_NS)] == [slower]


def test_a_young_family_needs_more():
    detector = Detector()
    detector.step([seen("cart", z=1.0)], 0)
    assert detector.threshold(Family.FLOW) == pytest.approx(3 * REFERENCE_Z[Family.FLOW])
    assert detector.threshold(Family.ERROR) == REFERENCE_Z[Family.ERROR]


def test_many_subjects_raise_the_threshold_until_the_budget_holds():
    """The maximum of 200 normal subjects exceeds 3.5 every ten minutes or so; the threshold learns it."""
    rng = np.random.default_rng(1)
    maxima = np.abs(rng.standard_normal((4000, 200), dtype=np.float32)).max(axis=1)
    detector = Detector(budget_ns=5 * HOUR_NS)
    departed = []
    for minute, z in enumerate(maxima.tolist()):
        departed.append(bool(detector.step([seen("fleet", z=z)], minute * MINUTE_NS)))
        detector.learn(minute * MINUTE_NS, [])
    assert (maxima[1000:] > REFERENCE_Z[Family.FLOW]).mean() > 0.08
    assert detector.threshold(Family.FLOW) <= 1.01 * TAIL_RAISES * REFERENCE_Z[Family.FLOW]
    assert sum(departed[1000:]) <= 2 * 3000 / 300


def test_the_tail_of_an_exponential_is_found_from_its_first_thousands():
    rng = np.random.default_rng(2)
    tail = Tail()
    for nats in rng.exponential(1.0, 2000).tolist():
        tail.take(nats)
    assert tail.level(DAY_NS) == pytest.approx(np.log(1440), rel=0.15)


def maxima_of(detector):
    return detector.state()["families"]["flow"]["maxima"]


def test_what_led_to_an_incident_and_what_is_left_of_it_raises_no_threshold():
    detector = old()
    before = maxima_of(detector)
    for minute, z in enumerate((1.0, 3.2, 3.4, 30.0, 3.3, 1.0)):
        detector.step([seen("cart", z=z)], DAY_NS + minute * MINUTE_NS)
    detector.learn(DAY_NS, [])
    assert maxima_of(detector) == before  # none is over
    detector.learn(DAY_NS + HOUR_NS, [(DAY_NS + 80 * SECOND_NS, DAY_NS + 290 * SECOND_NS)])
    assert maxima_of(detector) == [*before, 0.5, 0.5]


def test_state_survives():
    detector, other = old(), Detector()
    detector.step([seen("cart", z=3.0)], DAY_NS)
    other.restore(detector.state())
    assert other.state() == detector.state()
    assert [other.threshold(family) for family in Family] == [detector.threshold(family) for family in Family]


def test_families_of_quiet_telemetry_grow_old_with_what_speaks():
    detector = Detector()
    for minute in range(100):
        detector.step([seen("web", Family.RATE, 0.1)], minute * MINUTE_NS)
    assert detector.threshold(Family.FLOW) == pytest.approx(REFERENCE_Z[Family.FLOW], rel=0.03)
    assert detector.threshold(Family.RESOURCE) == pytest.approx(3 * REFERENCE_Z[Family.RESOURCE])
