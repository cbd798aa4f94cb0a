"""Scores, probabilities and PageRank."""

from __future__ import annotations

import networkx as nx
import pytest

from engine.judge.finding import compose
from engine.judge.graph import build, nodes_of
from engine.judge.rank import Calibration, article_ranking, family_z, pagerank, rank, scores, service_pagerank
from engine.records import ChangeType, ChangeVerdict, ConfigChange, Family, Verdict
from tests.judging import NO_CHANGE, calls, seen

EVEN = Calibration(exponent=2.0, unseen=3.0)
EDGES = calls("web>cart", "cart>stock")


def test_the_loudest_family_decides_and_the_sum_breaks_ties():
    table = family_z([seen("cart", z=6.0), seen("cart", Family.GAP, 2.0), seen("web", z=6.0)])
    assert scores(table) == pytest.approx({"cart": 6.008, "web": 6.006})


def test_rows_and_rates_of_a_caller_are_discounted_by_what_its_callee_shows():
    table = family_z([seen("web", Family.ROW, 8.0), seen("stock", Family.SELF_TIME, 7.0)], EDGES)
    assert table["web"][Family.ROW] == pytest.approx(8.0 * 0.3)
    assert table["stock"][Family.SELF_TIME] == 7.0


def test_flow_and_latency_are_not_discounted_again():
    table = family_z([seen("web", z=8.0), seen("stock", z=7.0)], EDGES)
    assert table["web"][Family.FLOW] == 8.0


def test_probabilities_and_something_unseen_make_one():
    causes, unseen = rank(family_z([seen("cart", z=6.0), seen("web", z=4.0)]), EVEN)
    assert sum(cause.probability for cause in causes) + unseen == pytest.approx(1.0)
    assert [cause.service for cause in causes] == ["cart", "web"]


def test_weak_evidence_is_less_likely_than_something_unseen():
    causes, unseen = rank(family_z([seen("cart", z=1.0)]), EVEN)
    assert causes[0].probability < unseen


def test_without_evidence_nothing_is_named():
    assert rank({}, EVEN) == ((), 1.0)


def test_huge_scores_do_not_overflow():
    causes, _ = rank(family_z([seen("cart", z=1e4), seen("web", z=1.0)]), Calibration(exponent=100.0, unseen=1.0))
    assert causes[0].probability == pytest.approx(1.0)


def test_odds_are_ratios_of_scores():
    causes, _ = rank({"cart": {Family.FLOW: 8.0}, "web": {Family.FLOW: 4.0}}, Calibration(exponent=3.0, unseen=1.0))
    assert causes[0].probability / causes[1].probability == pytest.approx(8.0)


def test_a_confirmed_change_makes_its_service_the_cause_even_where_another_is_louder():
    verdict = ChangeVerdict(ConfigChange("d1", 0, ChangeType.DEPLOYMENT, "cart"), 0.85, Verdict.CONFIRMED, ())
    attribution = type(NO_CHANGE)("d1", (verdict,), 0.1)
    finding = compose([seen("cart", z=4.0), seen("stock", z=9.0)], EDGES, attribution, 0, 1)
    assert finding.root == "cart"
    assert finding.causes[0].probability == pytest.approx(0.85, abs=0.02)


def test_pagerank_agrees_with_the_definition():
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([("a", "b", 3.0), ("a", "c", 1.0), ("b", "c", 1.0)])
    ranks = pagerank(graph)
    jump = 0.15 / 3 + 0.85 * ranks["c"] / 3  # c leads nowhere: it jumps
    assert ranks["a"] == pytest.approx(jump)
    assert ranks["b"] == pytest.approx(jump + 0.85 * 0.75 * ranks["a"])
    assert sum(ranks.values()) == pytest.approx(1.0)


def test_the_walk_from_the_symptom_ends_at_the_deepest_service():
    nodes = nodes_of([seen("web"), seen("cart"), seen("stock")], ())
    walk = service_pagerank(build(nodes, EDGES), {"trace:web:flow": 1.0})
    assert sorted(walk, key=walk.get)[-1] == "stock"


def test_the_published_ranking_prefers_causes_and_boosts_changes():
    verdict = ChangeVerdict(ConfigChange("d1", 0, ChangeType.DEPLOYMENT, "cart"), 0.5, Verdict.SUSPECT, ())
    graph = build(nodes_of([seen("web"), seen("cart")], [verdict]), EDGES)
    assert [name for name, _ in article_ranking(graph)] == ["change:d1", "trace:cart:flow", "trace:web:flow"]


def test_impossible_calibrations_are_refused():
    with pytest.raises(ValueError, match="exponent"):
        Calibration(exponent=0.0, unseen=1.0)
