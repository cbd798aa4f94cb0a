"""Calibration on planted faults, whose cause is known because we put it there."""

from __future__ import annotations

import numpy as np
import pytest

from engine.judge.confidence import DEFAULT, Case, fit, log_loss
from engine.judge.rank import Calibration, rank
from engine.records import Family


def planted(rng, count, services=20):
    """Faults of log-uniform strength 1.5 to 15 among services with normal maxima; callers show up to half of it; a tenth is nothing."""
    cases = []
    for _ in range(count):
        background = np.abs(rng.normal(0.0, 1.2, (services, 3))).max(axis=1)
        truth, nothing = int(rng.integers(services)), rng.random() < 0.1
        if not nothing:
            strength = float(np.exp(rng.uniform(np.log(1.5), np.log(15.0))))
            caller = int(rng.integers(services))
            background[caller] = max(background[caller], rng.uniform(0.0, 0.5) * strength)
            background[truth] = max(background[truth], strength)
        table = {f"s{number}": {Family.FLOW: float(z)} for number, z in enumerate(background)}
        cases.append(Case(table, "" if nothing else f"s{truth}"))
    return cases


def test_the_fit_beats_other_temperatures_on_faults_that_it_has_not_seen():
    rng = np.random.default_rng(1)
    learned, unseen = planted(rng, 150), planted(rng, 300)
    fitted = fit(learned, gammas=(0.0,))
    for other in (Calibration(0.5, fitted.unseen), Calibration(64.0, fitted.unseen), Calibration(fitted.temperature, 6.0)):
        assert log_loss(unseen, fitted) < log_loss(unseen, other)


def test_what_is_said_at_80_percent_is_right_about_as_often():
    rng = np.random.default_rng(2)
    fitted = fit(planted(rng, 200), gammas=(0.0,))
    said, right = [], []
    for case in planted(rng, 1000):
        causes, _ = rank(case.table, fitted)
        said.append(causes[0].probability)
        right.append(causes[0].service == case.truth)
    sure = np.array(said) >= 0.8
    assert sure.mean() > 0.4
    assert np.array(right)[sure].mean() == pytest.approx(np.array(said)[sure].mean(), abs=0.05)


def test_the_default_is_close_to_what_planted_faults_ask_for():
    cases = planted(np.random.default_rng(3), 200)
    assert log_loss(cases, DEFAULT) < log_loss(cases, fit(cases, gammas=(0.0,))) + 0.2


def test_a_handful_of_cases_is_refused():
    with pytest.raises(ValueError, match="at least 20"):
        fit(planted(np.random.default_rng(4), 19))
