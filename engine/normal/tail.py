"""How rare a distance is among normal ones, in nats, without a cap and without ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.records import F32, F64

#: Fewer reference values than this say nothing of their own: use the parent's.
ENOUGH = 30
_TAIL = 0.1  # share of the reference beyond u
_LEAST_XI = 0.25  # exponent 4: no thinner tail is believed
_DIGITS = 4  # equal rows have equal distances, whatever the order in which a library added up


@dataclass(frozen=True, slots=True)
class Tail:
    """A fitted reference: sorted values, the 90 % point u and the Hill exponent xi beyond it."""

    reference: F64  # [m], sorted
    u: float
    xi: float

    def score(self, distance: F64 | F32) -> F64:
        """Nats [n], >= 0 and rising: -ln((1 + #{r >= d}) / (1 + m)) up to u, beyond it ln 10 + ln(d / u) / xi.

        Hill, Ann. Statist. 3 (1975).
        """
        distance = np.asarray(distance, np.float64).round(_DIGITS)
        m = len(self.reference)
        at_least = m - np.searchsorted(self.reference, distance, side="left")
        body = -np.log((1 + at_least) / (1 + m))
        beyond = -np.log(_TAIL) + np.log(np.maximum(distance, self.u) / self.u) / self.xi
        score: F64 = np.where(distance > self.u, beyond, np.minimum(body, -np.log(_TAIL))) + 0.0
        return score


def fit(reference: F64 | F32, least: float = 1e-6) -> Tail:
    """Fit the tail of normal values.

    Args: reference [m] >= 0, any order, each point left out of its own; least: the smallest difference that means anything (u is no
    smaller). Raises: ValueError if reference is empty.
    """
    if not len(reference):
        raise ValueError(f"a tail needs normal values, however: {len(reference)=}")
    values = np.sort(np.asarray(reference, np.float64).round(_DIGITS))
    u = max(float(np.quantile(values, 1 - _TAIL)), least)
    beyond = values[values >= u]
    xi = max(float(np.log(beyond / u).mean()), _LEAST_XI) if len(beyond) else _LEAST_XI
    return Tail(values, u, xi)


def tail_score(distance: F64 | F32, reference: F64 | F32) -> F64:
    """Nats [n] of distances among normal ones; see `Tail.score`.

    >>> tail_score(np.array([0.0, 2.5, 40.0]), np.arange(1.0, 5.0)).round(2)
    array([ 0.  ,  0.51, 11.82])
    """
    return fit(reference).score(distance)


def largest_of(nats: F64, n: F64) -> F64:
    """Nats of the largest of n independent scores: -ln(1 - (1 - e^-s)^n). What searching through many rows costs.

    >>> largest_of(np.array([10.0, 2.0]), np.array([100.0, 100.0])).round(2)
    array([5.4, 0. ])
    """
    survive = n * np.log1p(-np.exp(-np.maximum(nats, 1e-12)))  # ln of (1 - e^-s)^n
    exact = -np.log(-np.expm1(np.minimum(survive, -1e-300)))
    largest: F64 = np.where(nats > 30, np.maximum(nats - np.log(n), 0), np.maximum(exact, 0))
    return largest


def z_of(nats: float) -> float:
    """sqrt(2 nats): the scale of the other families.

    >>> z_of(8.0)
    4.0
    """
    return float(np.sqrt(2 * max(nats, 0.0)))
