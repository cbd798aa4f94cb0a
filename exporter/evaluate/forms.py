"""Forms that a confidence may take, compared on planted faults: how sure to be of the first of some scores.

Plain functions of scores [cases, services], highest first, 0 where there are fewer. The engine uses "logs" (engine.judge.rank).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from engine.records import F64, Bool

TINY = 1e-3


class Form(NamedTuple):
    """A form and the values of its constants that are tried."""

    name: str
    said: Callable[[F64, tuple[float, ...]], F64]
    grid: tuple[tuple[float, ...], ...]


def softmax(nats: F64, unseen: float) -> F64:
    """Probability of the first column, "something unseen" at some nats included; -inf: no service."""
    highest = np.maximum(nats[:, 0], unseen)
    odds = np.exp(nats - highest[:, None])
    first: F64 = odds[:, 0] / (odds.sum(axis=1) + np.exp(unseen - highest))
    return first


def squares(scores: F64, constants: tuple[float, ...]) -> F64:
    """p ~ exp(score^2 / 2T), at most 1 - lapse."""
    temperature, unseen, lapse = constants
    nats = np.where(scores > 0, scores**2 / (2 * temperature), -np.inf)
    return (1 - lapse) * softmax(nats, unseen**2 / (2 * temperature))


def exponentials(scores: F64, constants: tuple[float, ...]) -> F64:
    """p ~ exp(score / T)."""
    temperature, unseen = constants
    return softmax(np.where(scores > 0, scores / temperature, -np.inf), unseen / temperature)


def logs(scores: F64, constants: tuple[float, ...]) -> F64:
    """p ~ score^k."""
    exponent, unseen = constants
    with np.errstate(divide="ignore"):
        return softmax(exponent * np.log(np.maximum(scores, 0.0)), exponent * float(np.log(unseen)))


def runner_up(scores: F64, constants: tuple[float, ...]) -> F64:
    """Odds = (first / second)^k / c, the second being `least` at least: a logistic curve of the margin's logarithm."""
    exponent, rivals, least = constants
    second = np.maximum(scores[:, 1], least)
    odds: F64 = (np.maximum(scores[:, 0], TINY) / second) ** exponent / rivals
    return odds / (1 + odds)


def loudest(scores: F64, constants: tuple[float, ...]) -> F64:
    """Odds = (first / level)^k, whatever the others show."""
    exponent, level = constants
    odds: F64 = (np.maximum(scores[:, 0], TINY) / level) ** exponent
    return odds / (1 + odds)


EXPONENTS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
LEVELS = (0.7, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
FORMS = (
    Form("squares", squares, tuple(product((0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0), LEVELS, (0.0,)))),
    Form("squares, with a lapse", squares, tuple(product((0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0), LEVELS, (0.02, 0.04, 0.08)))),
    Form("exponentials", exponentials, tuple(product((0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0), LEVELS))),
    Form("the loudest alone", loudest, tuple(product(EXPONENTS, LEVELS))),
    Form("margin to the runner-up", runner_up, tuple(product(EXPONENTS, (1.0, 2.0, 4.0, 8.0), (1.0, 1.5, 2.0)))),
    Form("logs", logs, tuple(product(EXPONENTS, LEVELS))),
)


def binary_log_loss(said: F64, right: Bool, weight: F64) -> float:
    """Weighted mean of -ln of what was said of what came true, at most 6.9 nats a case."""
    p = np.clip(np.where(right, said, 1 - said), TINY, 1.0)
    return float(-(weight * np.log(p)).sum() / weight.sum())


def left_out(form: Form, scores: F64, right: Bool, weight: F64, groups: Sequence[int]) -> F64:
    """What a form says of each group's cases, its constants chosen on the other groups by log loss."""
    group, said = np.asarray(groups), np.zeros(len(right))
    every = [(constants, form.said(scores, constants)) for constants in form.grid]
    for one in np.unique(group):
        train = group != one
        _, best = min(every, key=lambda each: binary_log_loss(each[1][train], right[train], weight[train]))
        said[group == one] = best[group == one]
    return said
