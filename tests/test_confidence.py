"""Calibration on faults whose cause is known because we put it there."""

from __future__ import annotations

import numpy as np
import pytest

from engine.judge.confidence import DEFAULT, Case, answer, case_of, case_scores, fit, log_loss
from engine.judge.finding import compose
from engine.judge.rank import Calibration, rank
from engine.records import Family
from tests.judging import NO_CHANGE, calls, seen


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


def test_the_fit_beats_other_constants_on_faults_that_it_has_not_seen():
    rng = np.random.default_rng(1)
    learned, unseen = planted(rng, 150), planted(rng, 300)
    fitted = fit(learned, gammas=(0.0,))
    for other in (Calibration(1.0, fitted.unseen), Calibration(16.0, fitted.unseen), Calibration(fitted.exponent, 8.0)):
        assert log_loss(unseen, fitted) < log_loss(unseen, other)


def test_what_is_said_at_80_percent_is_right_about_as_often():
    rng = np.random.default_rng(2)
    fitted = fit(planted(rng, 200), gammas=(0.0,))
    said, right = [], []
    for case in planted(rng, 1000):
        first, probability, _ = answer(case, fitted)
        said.append(probability)
        right.append(first == case.truth)
    sure = np.array(said) >= 0.8
    assert sure.mean() > 0.3
    assert np.array(right)[sure].mean() == pytest.approx(np.array(said)[sure].mean(), abs=0.06)


def confidence(*scores: float) -> float:
    """Of the first of some services."""
    causes, _ = rank({f"s{number}": {Family.FLOW: z} for number, z in enumerate(scores)}, DEFAULT)
    return causes[0].probability


def test_confidence_rises_with_the_first_score_and_falls_with_every_other():
    assert confidence(4.0, 2.0) < confidence(5.0, 2.0) < confidence(6.0, 2.0)
    assert confidence(5.0, 1.0) > confidence(5.0, 3.0) > confidence(5.0, 4.9)
    assert confidence(5.0, 3.0) > confidence(5.0, 3.0, 3.0)


def test_the_margin_counts_not_the_height():
    assert confidence(20.0, 18.0) < 0.6
    assert confidence(6.0, 1.0, 1.0, 0.5) > 0.9
    assert confidence(1.0) < 0.5, "next to nothing is no cause"


def test_a_case_of_a_finding_ranks_as_the_finding_did():
    evidence = [seen("stock", z=6.0), seen("cart", Family.GAP, 3.0), seen("web", Family.ERROR, 2.0, user_visible=True)]
    finding = compose(evidence, calls("web>cart", "cart>stock"), NO_CHANGE, 0, 1)
    case = case_of(finding, "stock")
    assert answer(case, DEFAULT)[:2] == (finding.root, pytest.approx(finding.confidence))
    assert case_scores(case) == pytest.approx({cause.service: cause.score for cause in finding.causes})
    assert max(case.walk, key=case.walk.get) == "stock"


def test_weights_count_as_cases_do():
    one, other = planted(np.random.default_rng(5), 2)
    assert log_loss([one._replace(weight=2.0), other], DEFAULT) == pytest.approx(log_loss([one, one, other], DEFAULT))


def test_a_handful_of_cases_is_refused():
    with pytest.raises(ValueError, match="at least 20"):
        fit(planted(np.random.default_rng(4), 19))
