"""Confidence: the constants that turn scores into probabilities, and how they are fitted.

    log loss(k, u, gamma) = - mean over cases of ln p(true service), or of ln p("something unseen") where nothing was planted

on incidents that are not scored: faults planted into quiet stretches, and the incidents that operators confirmed or dismissed.
A softmax as in temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"), of logarithms of scores instead of
their squares: 1 / k is its temperature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import networkx as nx

from engine.judge.rank import Calibration, article_ranking, rank, scores, service_pagerank
from engine.records import Family, Finding

__all__ = [
    "DEFAULT",
    "GAMMAS",
    "Calibration",
    "Case",
    "answer",
    "case_of",
    "case_scores",
    "fit",
    "log_loss",
    "probabilities",
    "published",
    "verdict_of",
]

#: `make calibrate`, 218 faults planted into five recordings, each scored by constants fitted on the other four: log loss .383, Brier .113
#: (a constant's .169), calibration error .05, AUROC .88; at .8 and more right in 138 of 145.
DEFAULT = Calibration(exponent=3.5, unseen=1.25)

CONFIRMED, LIKELY = 0.8, 0.5  # classes of confidence; below LIKELY a finding is inconclusive
EXPONENTS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
LEVELS = (0.5, 0.7, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
GAMMAS = (0.0, 0.25, 0.5, 1.0)
LEAST_PROBABILITY = 1e-3  # a single case may cost at most 6.9 nats: planted faults are not all visible


class Case(NamedTuple):
    """One incident whose cause is known: "" when nothing had happened."""

    table: Mapping[str, Mapping[Family, float]]
    truth: str
    walk: Mapping[str, float] = {}
    weight: float = 1.0
    roots: Mapping[str, float] = {}  # scores of services without evidence


def case_of(finding: Finding, truth: str, weight: float = 1.0) -> Case:
    """A case from a finding and what was the cause."""
    graph = _graph(finding)
    symptoms = {node.id: node.score for node in finding.nodes if node.kind != "change"}
    table = {cause.service: {Family(name): z for name, z in cause.families} for cause in finding.causes if cause.families}
    roots = {cause.service: cause.score for cause in finding.causes if not cause.families}
    return Case(table, truth, service_pagerank(graph, symptoms) if symptoms else {}, weight, roots)


def published(finding: Finding) -> dict[str, float]:
    """Share of each service in the ranking of the articles (`article_ranking`) on a finding's causal graph, for comparison."""
    shares: dict[str, float] = {}
    graph = _graph(finding)
    for name, share in article_ranking(graph):
        service = graph.nodes[name]["node"].service
        shares[service] = shares.get(service, 0.0) + share
    return shares


def probabilities(case: Case, calibration: Calibration) -> dict[str, float]:
    """Probability of each service by its evidence alone, without changes; PageRank has a say if the calibration's gamma is not 0."""
    causes, _ = rank(case.table, calibration, case.walk, roots=case.roots)
    return {cause.service: cause.probability for cause in causes}


def case_scores(case: Case) -> dict[str, float]:
    """Score of each service of a case."""
    return {**case.roots, **scores(case.table)}


def answer(case: Case, calibration: Calibration) -> tuple[str, float, float]:
    """First service, its probability, and the probability of what is true."""
    causes, unseen = rank(case.table, calibration, case.walk, roots=case.roots)
    right = next((cause.probability for cause in causes if cause.service == case.truth), 0.0) if case.truth else unseen
    return (causes[0].service, causes[0].probability, right) if causes else ("", 0.0, right)


def _graph(finding: Finding) -> nx.DiGraph:
    graph = nx.DiGraph()
    for node in finding.nodes:
        graph.add_node(node.id, node=node)
    graph.add_weighted_edges_from((edge.source, edge.target, edge.weight) for edge in finding.edges)
    return graph


def log_loss(cases: Sequence[Case], calibration: Calibration) -> float:
    """Weighted mean of -ln p(truth), in nats a case."""
    total = sum(case.weight * math.log(max(answer(case, calibration)[2], LEAST_PROBABILITY)) for case in cases)
    return -total / sum(case.weight for case in cases)


def fit(cases: Sequence[Case], *, gammas: Sequence[float] = GAMMAS) -> Calibration:
    """The calibration of least log loss on a grid; equal ones: the smaller gamma, then the smaller exponent (less sure).

    Raises: ValueError if there are fewer than 20 cases: constants from a handful are worse than the default.
    """
    if len(cases) < 20:
        raise ValueError(f"at least 20 cases are needed, however: {len(cases)=}")
    grid = [Calibration(k, level, gamma) for gamma in gammas for k in EXPONENTS for level in LEVELS]
    return min(grid, key=lambda calibration: round(log_loss(cases, calibration), 6))


def verdict_of(confidence: float, *, stable: bool) -> str:
    """confirmed (>= .8 and stable), likely (>= .5) or inconclusive.

    >>> verdict_of(0.9, stable=True), verdict_of(0.9, stable=False), verdict_of(0.3, stable=True)
    ('confirmed', 'likely', 'inconclusive')
    """
    if confidence < LIKELY:
        return "inconclusive"
    return "confirmed" if confidence >= CONFIRMED and stable else "likely"
