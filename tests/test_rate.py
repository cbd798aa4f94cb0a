"""Rates: requests that came more or less often; they rank and never open."""

from __future__ import annotations

from engine.evidence.traces import Traces
from engine.records import SECOND_NS
from engine.settings import EngineSettings
from tests.trace_columns import T0, Fault, evidence, shop


def surge(second: int) -> Fault:
    return Fault(requests=5 if second >= 600 else 1)


def test_a_surge_is_seen_with_its_figures_and_opens_nothing() -> None:
    found = [piece for piece in evidence(shop(720, surge), 600, 720) if piece.family == "rate"]
    assert {piece.service for piece in found} == {"web", "cart", "stock"}
    assert not any(piece.for_opening for piece in found)
    web = next(piece for piece in found if piece.service == "web")
    assert (round(web.observed), round(web.expected)) == (300, 60)


def test_the_load_from_outside_is_that_of_the_entry() -> None:
    records = shop(720, surge)
    traces = Traces(records.strings, records.resources, EngineSettings())
    for window in records.windows(760):
        traces.take(window)
    loads = traces.load((T0 + 600) * SECOND_NS, (T0 + 720) * SECOND_NS)
    assert [(load.service, load.operation, round(load.now / load.usual)) for load in loads] == [("web", "GET /", 5)]
