"""Services gone silent."""

from __future__ import annotations

import numpy as np

from engine.evidence.absence import absence_evidence
from engine.records import MINUTE_NS, SECOND_NS
from engine.strings import Resources, Strings
from engine.take.presence import Presence
from tests.point_columns import Point, window

ENDS = (1 + np.arange(62)) * MINUTE_NS
WINDOW = {"block_end_ns": ENDS, "start_ns": 60 * MINUTE_NS, "end_ns": 62 * MINUTE_NS}


def counts(*rows: float) -> np.ndarray:
    return np.tile(np.array(rows, float)[:, None], (1, 62))


def test_a_service_that_stopped_while_others_go_on_is_absent():
    sent = counts(20, 30, 40)
    sent[0, 60:] = 0
    found = absence_evidence("logs", ["cart", "mail", "pay"], sent, **WINDOW)
    assert [item.service for item in found] == ["cart"]
    assert found[0].z > 3
    assert "cart sent no logs while the others sent 140" in found[0].sentence


def test_a_source_that_stops_whole_is_no_outage():
    sent = counts(20, 30, 40)
    sent[:, 60:] = 0
    assert absence_evidence("logs", ["cart", "mail", "pay"], sent, **WINDOW) == []


def test_silence_counts_less_when_the_others_send_less():
    sent = counts(4, 3, 4)
    sent[0, 60:] = 0
    loud = absence_evidence("logs", ["cart", "mail", "pay"], sent, **WINDOW)[0].z
    sent[1:, 60:] = 1
    quiet = absence_evidence("logs", ["cart", "mail", "pay"], sent, **WINDOW)[0].z
    assert quiet < loud


def test_a_service_that_was_silent_before_is_hardly_missed():
    steady, bursts = counts(20, 30), counts(20, 30)
    bursts[0, :60:3] = 0
    steady[0, 60:] = bursts[0, 60:] = 0
    seen = [absence_evidence("spans", ["cart", "mail"], sent, **WINDOW) for sent in (steady, bursts)]
    assert seen[0][0].z > 3
    assert seen[1][0].z < 2.2


def test_items_are_counted_by_service_and_whole_minute():
    strings, resources = Strings(), Resources()
    presence = Presence(resources)
    points = [Point(60.0 * minute + 1, "load", 1, service=name) for minute in range(1, 4) for name in ("cart", "mail")]
    presence.take(window(points[:-1], strings, resources))
    services, found, ends = presence.counts("points", 240 * SECOND_NS)
    assert services == ["cart", "mail"]
    assert found.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert (ends // SECOND_NS).tolist() == [120, 180, 240]
