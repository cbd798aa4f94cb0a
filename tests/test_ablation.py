"""Ablations are computed from a finding's own Z, so that one run says what each family is worth."""

from __future__ import annotations

from dataclasses import replace

from engine.records import Cause
from exporter.evaluate.ablation import rankings
from tests.findings import finding


def test_a_ranking_without_a_family_is_by_what_is_left() -> None:
    causes = (Cause("cart", 5.0, 0.8, (("flow", 5.0), ("gap", 1.0))), Cause("web", 2.0, 0.2, (("gap", 2.0),)))
    found = rankings(replace(finding(), causes=causes))
    assert found["without flow"] == {"cart": 1.001, "web": 2.002}
    assert found["flow alone"] == {"cart": 5.005}
    assert found["without error"] == {"cart": 5.006, "web": 2.002}


def test_a_service_that_only_the_order_of_signs_names_keeps_its_score() -> None:
    found = rankings(replace(finding(), causes=(Cause("cart", 0.9, 1.0, ()),)))
    assert round(found["without flow"]["cart"], 3) == 0.901
    assert found["flow alone"] == {}
