"""Weights of the terms of change attribution, fitted: python -m tests.bench.attribution_fit.

Over the incidents of all splits but the last three, each with a culprit also without it (weight .25: of five changes that do harm, one is
told to nobody), by Newton's method on

    mean of -ln p(truth) + ridge x sum of ((weight - prior) / scale)^2

The truth of an incident without its culprit is *none* or a change that was never told. The ridge is the largest whose loss on incidents
left out, five at a time, is within half a standard error of the least. What diffs do was written down with the incidents of old and dev in
view, and fits them better than any others: they count .3 each. It was widened with late in view, too, so the weight in use stays below the
fitted one: engine/README.md. What no incident can teach stays: inert and carried. All numbers are
nats; nothing here is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.judge.attribute import TOO_LATE, WEIGHTS, weigh
from engine.judge.attribution.none import BASE, SPEAKS, none_term
from engine.records import ConfigChange
from exporter.evaluate.truth import NONE
from tests.bench.attribution import split_cases
from tests.bench.compare_changes import Case

Array = NDArray[np.float64]
FIXED: Final = ("carried", "inert")
TERMS: Final = tuple(name for name in WEIGHTS if name not in FIXED)
COLUMNS: Final = (*TERMS, "none's evidence", "base")
PRIOR: Final = np.array([1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.0])  # as chosen by hand
SCALE: Final = np.array([0.5] * 7 + [2.0])
COUNTS: Final = {"old": 0.3, "dev": 0.3, "test": 1.0, "late": 1.0, "last": 1.0}
RIDGES: Final = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
UNTOLD: Final = 0.25
LEFT_OUT: Final = 5


@dataclass(frozen=True, slots=True)
class Table:
    """Candidates of one incident: a row each for the changes, *none* and the untold one. score = fixed + rows x weights."""

    name: str
    rows: Array  # [candidates, columns]
    fixed: Array  # [candidates]
    true: NDArray[np.bool_]  # [candidates]; one of them did it
    weight: float


def table(case: Case, changes: Sequence[ConfigChange], weight: float) -> Table:
    """Terms of every candidate, before they are weighted."""
    weighed = weigh(sorted(changes, key=lambda each: (each.time_ns, each.id)), case.context)
    carriers = {deploy for each in weighed for deploy in each.live.deploys}
    own = [each for each in weighed if each.change.id not in carriers]
    rows, fixed = np.zeros((len(own) + 2, len(COLUMNS))), np.zeros(len(own) + 2)
    for at, each in enumerate(own):
        for name, nats in each.terms:
            if name in FIXED or (name == "time" and nats <= TOO_LATE):
                fixed[at] += nats
            else:
                rows[at, TERMS.index(name)] = nats / WEIGHTS[name]
    rows[-2, -2] = (none_term(case.context, bare=False)[0] - BASE) / SPEAKS
    rows[-2:, -1] = 1.0
    true = np.array([case.truth.is_named_by(each.change.id) for each in own] + [False, False])
    if not true.any():
        true[-2:] = True, case.truth.id != NONE
    return Table(case.name, rows, fixed, true, weight)


def tables() -> Iterator[tuple[Table, ...]]:
    """Tables of each incident: with its culprit, and without."""
    for split, counts in COUNTS.items():
        for case in split_cases(split):
            culprit = {case.truth.id, *case.truth.carried_by}
            rest = [change for change in case.changes if change.id not in culprit]
            whole = table(case, case.changes, counts)
            yield (whole,) if case.truth.id == NONE else (whole, table(case, rest, counts * UNTOLD))


def losses(one: Table, weights: Array) -> tuple[float, Array, Array]:
    """-ln p(truth) of a table, its gradient, and the convex part of its Hessian."""
    scores = one.fixed + one.rows @ weights
    odds = np.exp(scores - scores.max())
    p = odds / odds.sum()
    among = np.where(one.true, odds, 0.0) / odds[one.true].sum()
    mean = p @ one.rows
    hessian = (one.rows * p[:, None]).T @ one.rows - np.outer(mean, mean)
    return -float(np.log(p[one.true].sum())), mean - among @ one.rows, hessian


def fit(found: Sequence[Table], ridge: float) -> Array:
    """Weights of least loss. Twenty steps of Newton's method, each halved until it helps."""

    def value(weights: Array) -> float:
        loss = sum(one.weight * losses(one, weights)[0] for one in found) / total
        return loss + ridge * float((((weights - PRIOR) / SCALE) ** 2).sum())

    weights, total = PRIOR.copy(), sum(one.weight for one in found)
    for _ in range(20):
        gradient, hessian = 2 * ridge * (weights - PRIOR) / SCALE**2, np.diag(2 * ridge / SCALE**2)
        for one in found:
            _, slope, curve = losses(one, weights)
            gradient, hessian = gradient + one.weight / total * slope, hessian + one.weight / total * curve
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-4 and value(weights - size * step) > value(weights):
            size /= 2
        weights = weights - size * step
    return weights


def held_out(incidents: Sequence[tuple[Table, ...]], ridge: float) -> tuple[float, float]:
    """Mean loss on incidents left out, five at a time, by fits on the others; and its standard error."""
    loss, total = np.zeros(len(incidents)), sum(one.weight for each in incidents for one in each)
    folds = -(-len(incidents) // LEFT_OUT)
    for fold in range(folds):
        weights = fit([one for at, each in enumerate(incidents) if at % folds != fold for one in each], ridge)
        for at in range(fold, len(incidents), folds):
            loss[at] = sum(one.weight * losses(one, weights)[0] for one in incidents[at])
    return float(loss.sum()) / total, float(loss.std()) * len(incidents) ** 0.5 / total


def main() -> None:
    """Print the loss on incidents left out by ridge, and the weights."""
    incidents = list(tables())
    every = [one for each in incidents for one in each]
    total = sum(one.weight for one in every)
    print(f"{len(incidents)} incidents, {len(every)} tables")
    here = np.array([*(WEIGHTS[name] for name in TERMS), SPEAKS, BASE])
    for name, weights in (("by hand", PRIOR), ("as in the code", here)):
        print(f"loss, weights {name}: {sum(one.weight * losses(one, weights)[0] for one in every) / total:.3f}")
    outside = {ridge: held_out(incidents, ridge) for ridge in RIDGES}
    for ridge, (loss, error) in outside.items():
        print(f"loss on incidents left out, ridge {ridge}: {loss:.3f} +- {error:.3f}")
    lowest, error = min(outside.values())
    best = max(ridge for ridge in RIDGES if outside[ridge][0] <= lowest + error / 2)
    print(f"ridge {best}")
    for name, prior, weight in zip(COLUMNS, PRIOR, fit(every, best), strict=True):
        print(f"  {name:16} {prior:5.2f} -> {weight:5.2f}")


if __name__ == "__main__":
    main()
