"""A service that went silent is blamed for what its callers show, and for nothing else."""

from __future__ import annotations

import pytest

from engine.evidence.traces import Traces
from engine.records import SECOND_NS
from engine.settings import EngineSettings
from tests.trace_columns import T0, Fault, evidence, shop, z_of


@pytest.mark.parametrize("breaks", [False, True])
def test_calls_that_nobody_answers_are_the_doing_of_who_is_silent(breaks: bool) -> None:
    found = evidence(shop(720, lambda second: Fault(silent=second >= 600, breaks=breaks and second >= 600)), 600, 720)
    z = z_of(found, "flow", "error")
    assert z["stock"] > 5
    assert all(other < 1 for service, other in z.items() if service != "stock")
    assert sum(piece.service == "stock" for piece in found if piece.family == "flow") == 1
    said = next(piece for piece in found if piece.service == "stock" and piece.family == "flow")
    assert said.peer == "cart"
    assert "stock does not answer cart" in said.sentence
    assert len(said.trace_id) == 32
    assert ("stock" in z_of(found, "error")) == breaks


@pytest.mark.parametrize(("since", "until"), [(660, 720), (600, 660), (630, 690)])
def test_a_window_that_holds_some_calm_too_says_the_same(since: int, until: int) -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(silent=since <= second < until)), 600, 720), "flow")
    assert z["stock"] > 5
    assert all(other < 1 for service, other in z.items() if service != "stock")


def test_a_call_that_is_not_tried_any_more_is_the_callers_doing() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(without=second >= 600)), 600, 720), "flow")
    assert z["cart"] > 5
    assert "stock" not in z


def test_a_service_that_answers_half_of_its_calls_is_not_silent() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(silent=second >= 600 and second % 2 == 0)), 600, 720), "flow")
    assert z["cart"] > 3
    assert "stock" not in z


def test_spans_that_are_lost_now_and_then_are_no_silence() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(silent=second % 20 == 0)), 600, 720), "flow")
    assert all(value < 2 for value in z.values())


def test_the_callers_show_it_themselves_where_nothing_is_explained_away() -> None:
    records = shop(720, lambda second: Fault(silent=second >= 600))
    traces = Traces(records.strings, records.resources, EngineSettings())
    for window in records.windows(760):
        traces.take(window)
    other = traces.under(EngineSettings(explain_away=False))
    z = z_of(other.evidence((T0 + 600) * SECOND_NS, (T0 + 720) * SECOND_NS), "flow")
    assert z["cart"] > 5
    assert "stock" not in z
