"""Which service did it: score, and probability.

    score(s) = max over families of Z(s, family) + .001 * sum of them
    p(s)     = PageRank(s)^gamma * score(s)^k / sum over services and "something unseen", which stands at a fixed score

Odds are ratios of scores: with k = 3, twice as loud is eight times as likely. The loudest local evidence decides. Flow, gap and self
time come with what callees explain already taken off; rows and rates do not, so what a service shows in these families counts less where
a service that it calls shows more (`discount`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from engine.judge.correlate import Links
from engine.records import CausalNode, Cause, Evidence, Family, TopologyEdge

SUM_SHARE = 0.001  # breaks ties between services that are equally loud; more of it lets many weak signs outvote one strong
#: Families whose deviation at a caller may be its callee's: discounted by what the callee shows.
NOT_EXPLAINED_AWAY = frozenset({Family.ROW, Family.RATE, Family.LEVEL})
DISCOUNT_MOST = 0.7  # the share of a caller's deviation that a callee may explain, as in the gap family
ALPHA = 0.85  # damping of PageRank (Brin and Page 1998); the published method's
LEAST_SCORE = 1e-3  # a service without a sign of anything
CHANGE_BOOST = 1.5  # of the published method, for `article_ranking` only


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns scores into probabilities; fitted by `engine.judge.confidence.fit`."""

    exponent: float  # k: odds of two services = (ratio of their scores)^k
    unseen: float  # score at which "something unseen" stands
    gamma: float = 0.0  # exponent of PageRank

    def __post_init__(self) -> None:
        if self.exponent <= 0 or self.unseen <= 0 or self.gamma < 0:
            raise ValueError(f"exponent and unseen must be positive, gamma not negative, however: {self}")


def family_z(evidence: Sequence[Evidence], edges: Sequence[TopologyEdge] = ()) -> dict[str, dict[Family, float]]:
    """Largest Z by service and family, after the discount of rows and rates by deeper evidence."""
    table: dict[str, dict[Family, float]] = defaultdict(dict)
    for item in evidence:
        if item.service and item.z > 0:
            table[item.service][item.family] = max(item.z, table[item.service].get(item.family, 0.0))
    links = Links(edges)
    own = {
        service: max((z for family, z in row.items() if family not in NOT_EXPLAINED_AWAY), default=0.0) for service, row in table.items()
    }
    for service, row in table.items():
        deeper = max((own[callee] for callee in links.below(service) if callee in own), default=0.0)
        for family in NOT_EXPLAINED_AWAY & row.keys():
            row[family] *= 1 - discount(deeper)
    return dict(table)


def discount(deeper_z: float) -> float:
    """Share of a caller's row or rate deviation that a callee with this Z explains: 0 up to Z = 1, .7 from Z = 5.

    >>> discount(0.5), discount(3.0), discount(9.0)
    (0.0, 0.35, 0.7)
    """
    return DISCOUNT_MOST * min(1.0, max(0.0, (deeper_z - 1) / 4))


def scores(table: Mapping[str, Mapping[Family, float]]) -> dict[str, float]:
    """Score of each service: loudest family, and a thousandth of the sum."""
    return {service: max(row.values()) + SUM_SHARE * sum(row.values()) for service, row in table.items() if row}


def pagerank(
    graph: nx.DiGraph, personalisation: Mapping[str, float] | None = None, alpha: float = ALPHA, *, stays: bool = False
) -> dict[str, float]:
    """Stationary share of time of a walk along the edges by weight, that with 1 - alpha jumps to a node by `personalisation`.

    From a node without a way out it jumps, too, or with `stays` it stays there until it jumps.
    By power iteration to 1e-10 or 200 rounds (networkx's own needs scipy).

    >>> ranks = pagerank(nx.DiGraph([("symptom", "cause")]))
    >>> ranks["cause"] > ranks["symptom"]
    True
    """
    names = list(graph)
    if not names:
        return {}
    row = {name: number for number, name in enumerate(names)}
    jump = np.array([(personalisation or {}).get(name, 0.0) for name in names])
    jump = jump / jump.sum() if jump.sum() > 0 else np.full(len(names), 1 / len(names))
    step = np.zeros((len(names), len(names)))
    for source, target, data in graph.edges(data=True):
        step[row[source], row[target]] = data.get("weight", 1.0)
    out = step.sum(axis=1, keepdims=True)
    step = np.where(out > 0, step / np.where(out > 0, out, 1.0), np.eye(len(names)) if stays else jump)
    rank = jump
    for _ in range(200):
        after = alpha * rank @ step + (1 - alpha) * jump
        if np.abs(after - rank).sum() < 1e-10:
            break
        rank = after
    return dict(zip(names, rank.tolist(), strict=True))


def service_pagerank(graph: nx.DiGraph, symptoms: Mapping[str, float]) -> dict[str, float]:
    """Reverse PageRank by service: the walk starts at symptoms, goes from effect to cause, and stays where nothing is deeper.

    A change counts for its service.

    Args: symptoms: weight by node id, the user-visible ones where there are any.
    """
    ranks: dict[str, float] = defaultdict(float)
    for name, share in pagerank(graph.reverse(copy=False), symptoms, stays=True).items():
        node: CausalNode = graph.nodes[name]["node"]
        ranks[node.service] += share
    return dict(ranks)


def article_ranking(graph: nx.DiGraph, boost: float = CHANGE_BOOST) -> list[tuple[str, float]]:
    """The published ranking, for comparison: reverse PageRank of nodes without personalisation, changes times 1.5."""
    ranks = pagerank(graph.reverse(copy=False))
    boosted = {name: share * (boost if graph.nodes[name]["node"].kind == "change" else 1.0) for name, share in ranks.items()}
    return sorted(boosted.items(), key=lambda one: (-one[1], one[0]))


def rank(
    table: Mapping[str, Mapping[Family, float]],
    calibration: Calibration,
    walk: Mapping[str, float] | None = None,
    confirmed: Mapping[str, float] | None = None,
    roots: Mapping[str, float] | None = None,
) -> tuple[tuple[Cause, ...], float]:
    """Causes, most probable first, and the probability of "something unseen".

    Args: walk: `service_pagerank`, used when gamma > 0; confirmed: probability by service that a change in it did it, from changes
    that are confirmed: p = confirmed + (1 - sum of confirmed) * p without; roots: how likely (0 ... 1) the order of the signs makes a
    service the root: the score, at most 1, of services without evidence of their own.
    """
    score = scores(table)
    confirmed = confirmed or {}
    for service in (*(roots or ()), *confirmed):
        score.setdefault(service, (roots or {}).get(service, 0.0))
    names = sorted(score)
    if not names:
        return (), 1.0
    nats = [calibration.exponent * math.log(max(score[name], LEAST_SCORE)) for name in names]
    if calibration.gamma > 0 and walk:
        least = min((share for share in walk.values() if share > 0), default=1.0)
        nats = [value + calibration.gamma * math.log(walk.get(name, 0.0) or least) for name, value in zip(names, nats, strict=True)]
    nats.append(calibration.exponent * math.log(calibration.unseen))
    highest = max(nats)
    weights = [math.exp(value - highest) for value in nats]
    left = max(0.0, 1 - sum(confirmed.values())) / sum(weights)
    causes = [
        Cause(name, score[name], confirmed.get(name, 0.0) + left * weight, _loudest_first(table.get(name, {})))
        for name, weight in zip(names, weights, strict=False)
    ]
    causes.sort(key=lambda cause: (-cause.probability, -cause.score, cause.service))
    return tuple(causes), left * weights[-1]


def _loudest_first(row: Mapping[Family, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(((family.value, z) for family, z in row.items()), key=lambda one: (-one[1], one[0])))
