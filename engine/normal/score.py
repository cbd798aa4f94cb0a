"""How odd rows are, in nats: four members, each through its own tail, summed and put through the tail of normal sums.

    S = knn + masked + max(0, pca - ln 8) + max(0, robust - ln 8)                    (after Fisher 1932)

PCA residual and robust z count only beyond 1 in 8: they see numbers alone, and their noise halves what a plain sum recalls of odd
categories. The masked field, a pass a field, looks only at rows that another member finds rarer than 1 in `LOOK`, and of their numbers at
those beyond `CLAIM`. A text that no training row had needs no pass: it costs what an unseen value costs by the rule of succession,
ln(m + 1) after m rows. The reference sums were made by the same rules, so the result is calibrated whatever the members share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.normal.features import UNKNOWN
from engine.normal.model import KINDS, LEAST, LEAST_SUM, MEMBERS, TrainedModel, embed, field_nats
from engine.normal.residual import Plane, residual, robust_z
from engine.normal.tail import ENOUGH, Tail
from engine.normal.tail import fit as fit_tail
from engine.records import F32, F64, I32, I64, Bool

LOOK = 8.0  # rows whose largest member is rarer than 1 in LOOK get the masked-field pass
CLAIM = 3.0  # a number nearer to its usual value than that (two standard deviations) is not masked: it can hardly be what is odd
SPEAK = 8.0  # a plain member rarer than 1 in SPEAK counts


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of rows."""

    nats: F64  # [n] calibrated
    members: F64  # [n, 4] nats of each of MEMBERS
    distance: F32  # [n] mean distance to the nearest rows
    field: I32  # [n] the field that is odd, -1 none


def score(model: TrainedModel, codes: I32, numbers: F32, window: Bool, mean_distance: Callable[[F32], F32]) -> Scores:
    """Scores of encoded rows. `mean_distance` gives each embedding's mean distance to the rows that were normal."""
    if not len(codes):
        empty = np.zeros(0)
        return Scores(empty, np.zeros((0, len(MEMBERS))), empty.astype(np.float32), empty.astype(np.int32))
    distance = mean_distance(embed(model.weights, codes, numbers))
    members, field = member_nats(model.weights, model.plane, model.tails, codes, numbers, window, distance, len(model.key))
    nats, total = np.empty(len(codes)), together(members)
    for kind, rows in by_kind(window):
        nats[rows] = model.tails[f"{kind}/all"].score(total[rows])
    return Scores(nats, members, distance, field)


def member_nats(
    weights: dict[str, F32], plane: Plane, tails: dict[str, Tail], codes: I32, numbers: F32, window: Bool, distance: F32, trained: int
) -> tuple[F64, I32]:
    """Nats of each member [n, 4] through its tail, and the odd field [n]; `trained`: rows that the model was fitted on."""
    largest, column = robust_z(numbers)
    raw = (distance, np.zeros(len(codes), np.float32), residual(plane, numbers), largest)
    members = np.zeros((len(codes), len(MEMBERS)))
    for kind, rows in by_kind(window):
        for member in (0, 2, 3):
            members[rows, member] = tails[f"{kind}/{MEMBERS[member]}"].score(raw[member][rows])
    field = np.where(column >= 0, column + codes.shape[1], -1).astype(np.int32)
    looked = np.flatnonzero(members.max(axis=1) > np.log(LOOK))
    if len(looked):
        surplus, field[looked] = masked(weights, codes[looked], numbers[looked], window[looked], trained)
        for kind, rows in by_kind(window[looked]):
            members[looked[rows], 1] = tails[f"{kind}/{MEMBERS[1]}"].score(surplus[rows])
    return members, field


def together(members: F64) -> F64:
    """S [n] of the nats of MEMBERS [n, 4]."""
    plain = np.maximum(members[:, 2:] - np.log(SPEAK), 0)
    total: F64 = members[:, 0] + members[:, 1] + plain.sum(axis=1)
    return total


def masked(weights: dict[str, F32], codes: I32, numbers: F32, window: Bool, trained: int) -> tuple[F32, I32]:
    """max_f of -ln p(x_f | rest) above what the field usually costs [n], at least 0, and that field [n].

    What a window row lacks (the status of single spans) it always lacks, and it is not asked for.
    """
    categories = codes.shape[1]
    surplus = np.full((len(codes), categories + numbers.shape[1]), -np.inf, np.float32)
    surplus[:, :categories][codes == UNKNOWN] = np.log1p(trained)
    known = np.flatnonzero((codes != UNKNOWN).all(axis=1))
    silent = window[:, None] & (codes == weights["absent"])
    surplus[known] = np.nan_to_num(field_nats(weights, codes[known], numbers[known], CLAIM, silent[known]), nan=-np.inf)
    surplus -= weights["typical"]
    field = surplus.argmax(axis=1).astype(np.int32)
    return np.maximum(surplus.max(axis=1), 0).astype(np.float32), field


def fit_tails(
    weights: dict[str, F32], plane: Plane, codes: I32, numbers: F32, window: Bool, distance: F32, trained: int
) -> dict[str, Tail]:
    """Tails of each member and of their sum, by kind of row, from held-out normal rows; a kind with under 30 uses all rows."""
    surplus, _ = masked(weights, codes, numbers, window, trained)
    raw = (distance, surplus, residual(plane, numbers), robust_z(numbers)[0])
    tails: dict[str, Tail] = {}
    own = {kind: rows if len(rows) >= ENOUGH else np.arange(len(codes)) for kind, rows in zip(KINDS, _kinds(window), strict=True)}
    for kind, rows in own.items():
        for name, values, least in zip(MEMBERS, raw, LEAST, strict=True):
            tails[f"{kind}/{name}"] = fit_tail(values[rows], least)
    for kind, rows in own.items():
        as_kind = np.full(len(rows), kind == "window")
        members, _ = member_nats(weights, plane, tails, codes[rows], numbers[rows], as_kind, distance[rows], trained)
        tails[f"{kind}/all"] = fit_tail(together(members), LEAST_SUM)
    return tails


def by_kind(window: Bool) -> list[tuple[str, I64]]:
    """Positions of arrival and window rows, where there are any."""
    return [(kind, rows) for kind, rows in zip(KINDS, _kinds(window), strict=True) if len(rows)]


def _kinds(window: Bool) -> tuple[I64, I64]:
    return np.flatnonzero(~window), np.flatnonzero(window)


def auc(normal: F64 | F32, odd: F64 | F32) -> float:
    """Probability that an odd value exceeds a normal one, ties half (Mann-Whitney): 0.5 is chance; NaN if either is empty.

    >>> auc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.875
    """
    if not len(normal) or not len(odd):
        return float("nan")
    ordered = np.sort(np.asarray(normal, np.float64))
    below = np.searchsorted(ordered, odd, side="left")
    not_above = np.searchsorted(ordered, odd, side="right")
    return float((below + not_above).mean() / 2 / len(ordered))
