"""Planted faults do what they say: time goes on after a delay, nobody works longer in a slow network, what is handed on is conserved."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine.records import SECOND_NS, Batch, PointType, Resource, Status, Temporality
from engine.strings import Resources, Strings
from exporter.evaluate.held_up import Forest, Hold, Where, hold_up
from exporter.evaluate.planted import Kind, plant
from exporter.evaluate.planted_points import Gauges, excess_changes, handed_on, raised, waits
from exporter.evaluate.stretch import Stretch
from tests.point_columns import Point, window
from tests.trace_columns import Records, shop

MS = 1_000_000


def traces(rows):
    """Spans from (id, parent, service, start ms, end ms), all of one trace."""
    records = Records()
    for span, parent, service, start, end in rows:
        records.span(service, f"op{span}", start / 1e3, end - start, span=span, parent=parent)
    return records.all_spans(), records


def moved(rows, *holds):
    """(start, end) in ms of each span after holds told as (span, where, ms)."""
    spans, _ = traces(rows)
    row_of = {int(span): row for row, span in enumerate(spans.span)}
    none = np.zeros(0, np.int64)
    starts, ends, _ = hold_up(Forest(spans), [Hold(row_of[span], where, ms * MS) for span, where, ms in holds], none, none)
    zero = min(spans.start_ns)
    return {
        span: (round((spans.start_ns[row] + starts[row] - zero) / MS), round((spans.time_ns[row] + ends[row] - zero) / MS))
        for span, row in row_of.items()
    }


#: web (1) calls cart (2), which reads (3) and then writes (4); beside cart runs 5, and 6 follows both.
ONE = [
    (1, 0, "web", 0, 100),
    (2, 1, "cart", 10, 50),
    (3, 2, "cart", 20, 30),
    (4, 2, "cart", 30, 40),
    (5, 1, "web", 10, 80),
    (6, 1, "web", 80, 90),
]


def test_who_is_slow_lasts_longer_and_so_does_who_waits():
    assert moved(ONE, (3, Where.INSIDE, 7)) == {1: (0, 107), 2: (10, 57), 3: (20, 37), 4: (37, 47), 5: (10, 80), 6: (87, 97)}


def test_a_way_in_moves_the_callee_as_a_whole():
    after = moved(ONE, (2, Where.BEFORE, 5))
    assert after[2] == (15, 55)
    assert after[3] == (25, 35)
    assert after[1] == (0, 105)


def test_a_way_back_leaves_the_callee_alone():
    after = moved(ONE, (2, Where.AFTER, 5))
    assert after[2] == (10, 50)
    assert after[4] == (30, 40)
    assert after[1] == (0, 105)


def test_who_does_not_wait_does_not_last_longer():
    rows = [(1, 0, "web", 0, 20), (2, 1, "mail", 10, 50)]
    assert moved(rows, (2, Where.INSIDE, 30)) == {1: (0, 20), 2: (10, 80)}


def test_delays_add_up():
    assert moved(ONE, (3, Where.INSIDE, 7), (4, Where.INSIDE, 2))[2] == (10, 59)


def test_a_log_record_after_the_delay_comes_later():
    spans, _ = traces(ONE)
    at = [int(min(spans.start_ns)) + ms * MS for ms in (5, 15, 45)]
    rows = [list(spans.span).index(span) for span in (1, 2, 2)]
    _, _, logs = hold_up(Forest(spans), [Hold(list(spans.span).index(3), Where.INSIDE, 7 * MS)], np.array(rows), np.array(at))
    assert (logs // MS).tolist() == [0, 0, 7]


def test_a_ring_of_parents_is_no_endless_walk():
    spans, _ = traces([(1, 2, "web", 0, 9), (2, 1, "web", 0, 9)])
    none = np.zeros(0, np.int64)
    _, ends, _ = hold_up(Forest(spans), [Hold(0, Where.INSIDE, MS)], none, none)
    assert ends[0] == MS


@pytest.fixture(scope="module")
def stretch() -> Stretch:
    records = shop(60)
    records.resources.intern(Resource(service="web"))
    return Stretch([Batch(spans=records.all_spans(), logs=records.all_logs())], records.strings, records.resources)


def durations(batches, stretch, service):
    """Sum of the durations of a service's spans in s."""
    total = 0.0
    for spans in (batch.spans for batch in batches if batch.spans is not None):
        own = [stretch.resources[code].service == service for code in spans.resource]
        total += float((spans.time_ns - spans.start_ns)[own].sum()) / SECOND_NS
    return total


def test_every_kind_is_planted_and_changes_what_it_should(stretch):
    rng, kinds = np.random.default_rng(1), Counter()
    before = {name: durations(stretch.batches, stretch, name) for name in ("web", "cart", "stock")}
    for _ in range(80):
        planted = plant(stretch, {}, rng)
        kinds[planted.kind] += 1
        after = {name: durations(planted.batches, stretch, name) for name in before}
        if planted.kind is Kind.NOTHING:
            assert after == before
        if planted.kind is Kind.SLOW:
            assert after[planted.service] > before[planted.service]
        if planted.kind is Kind.NETWORK and planted.service == "stock":
            assert after["stock"] == pytest.approx(before["stock"])
            assert after["cart"] > before["cart"]
        if planted.kind is Kind.CUT:
            assert after[planted.service] < before[planted.service]
    assert kinds.keys() == {Kind.NOTHING, Kind.SLOW, Kind.NETWORK, Kind.CUT}


def test_planting_is_a_function_of_its_arguments(stretch):
    one, other = (plant(stretch, {}, np.random.default_rng(5)) for _ in range(2))
    assert (one.kind, one.service, one.size) == (other.kind, other.service, other.size)
    assert all(
        np.array_equal(a.spans.time_ns, b.spans.time_ns) for a, b in zip(one.batches, other.batches, strict=True) if a.spans is not None
    )
    assert len(stretch.batches[0].spans.time_ns) == len(shop(60).all_spans().time_ns), "the stretch itself stays"


def test_a_cut_span_loses_its_later_steps_and_some_end_with_an_error(stretch):
    rng = np.random.default_rng(2)
    cuts = [planted for planted in (plant(stretch, {}, rng) for _ in range(60)) if planted.kind is Kind.CUT]
    spans = sum(len(stretch.batches[0].spans.span) for _ in cuts)
    logs = sum(len(stretch.batches[0].logs.span) for _ in cuts)
    last = [planted.batches[-1] for planted in cuts]
    assert sum(len(batch.spans.span) for batch in last) + sum(len(batch.logs.span) for batch in last) < spans + logs
    assert 0 < sum(bool((batch.spans.status == Status.ERROR).any()) for batch in last) < len(cuts)


ROWS = range(300, 300 * 41, 300)


def golden(latencies, requests, seed=0):
    """Gauges of components that report mean latency (s) by row, requests and a share of successes, and their batch."""
    strings, resources, points = Strings(), Resources(), []
    for name, values in latencies.items():
        for at, seconds in zip(ROWS, values, strict=False):
            count = {"type": PointType.SUM, "temporality": Temporality.DELTA, "monotonic": True, "unit": "{request}"}
            points.append(Point(at, "latency_average", seconds, name, "s"))
            points.append(Point(at, "latency_p99", 2 * seconds, name, "s"))
            points.append(Point(at, "availability", 100.0, name, "%"))
            points.append(Point(at, "requests", requests[name], name, **count))
    batch = Batch(points=window(points, strings, resources).points)
    return Gauges([batch], strings, resources), batch, (strings, resources)


def values(gauges, service, metric):
    """A series by time."""
    return next(row for key, row in gauges.values.items() if (gauges.service(key), gauges.name(key)) == (service, metric))


def test_what_is_handed_on_is_conserved():
    gauges, batch, codes = golden({"web": [0.2] * 6, "admin": [0.1] * 6, "db": [0.05] * 6}, {"web": 30.0, "admin": 10.0, "db": 80.0})
    edges = [("web", "db"), ("admin", "db")]
    excess = handed_on(gauges, edges, "db", {600.0: 8.0})
    assert excess == {"db": {600.0: 8.0}, "web": {600.0: 6.0}, "admin": {600.0: 2.0}}
    after = Gauges(raised([batch], excess_changes(gauges, excess, failures=False)), *codes)
    assert values(after, "db", "latency_average")[600.0] == pytest.approx(0.05 + 8.0 / 80)
    assert values(after, "web", "latency_p99")[600.0] == pytest.approx(0.4 + 6.0 / 30)
    assert values(after, "web", "latency_average")[900.0] == pytest.approx(0.2), "other rows stay"
    failed = Gauges(raised([batch], excess_changes(gauges, excess, failures=True)), *codes)
    assert values(failed, "db", "availability")[600.0] == pytest.approx(90.0)


def test_a_ring_of_calls_ends():
    gauges, _, _ = golden({"a": [0.1] * 3, "b": [0.1] * 3}, {"a": 1.0, "b": 1.0})
    assert handed_on(gauges, [("a", "b"), ("b", "a")], "b", {300.0: 1.0}).keys() == {"a", "b"}


def test_who_never_followed_its_callee_does_not_wait_for_it():
    rng = np.random.default_rng(1)
    db = 0.05 + 0.02 * rng.random(40)
    history, _, _ = golden({"db": db, "web": 0.1 + db, "queue": 0.01 + 0.0005 * rng.random(40)}, {"db": 9.0, "web": 9.0, "queue": 9.0})
    assert waits(history, "web", "db")
    assert not waits(history, "queue", "db")
    assert waits(history, "web", "unknown"), "what was never measured may wait"


def test_a_gauge_rises_only_where_it_is_the_instances_own():
    strings, resources = Strings(), Resources()
    one, other = (Resource(service=name, instance=f"{name}-1") for name in ("web", "db"))
    points = [Point(at, "cpu", at / 1e5, unit="%", resource=one) for at in ROWS]
    points += [Point(at, "node", 7.0, unit="%", resource=who) for at in ROWS for who in (one, other)]
    points += [Point(at, "cpu", 12.0, unit="%", resource=Resource(service="front")) for at in ROWS]
    gauges = Gauges([Batch(points=window(points, strings, resources).points)], strings, resources)
    assert {service: [gauges.name(key) for key, _ in series] for service, series in gauges.busy().items()} == {"web": ["cpu"]}


def test_what_no_row_reports_is_planted_by_gauges_alone():
    strings, resources = Strings(), Resources()
    points = [Point(at, "cpu", at / 1e5, unit="%", resource=Resource(service="web", instance="web-1")) for at in ROWS]
    points += [
        Point(300, "took", 1.0, service="web"),
        Point(300, "latency", 1.0, "web", "s", (("peer.service", "db"),)),
        Point(300, "up", 1.0, "db"),
    ]
    stretch = Stretch([Batch(points=window(points, strings, resources).points)], strings, resources)
    rng = np.random.default_rng(3)
    planted = {(one.kind, one.service) for one in (plant(stretch, {}, rng) for _ in range(40))}
    assert planted == {(Kind.NOTHING, ""), (Kind.BUSY, "web"), (Kind.NETWORK, "db")}


def test_time_handed_on_is_planted_where_requests_are_counted():
    rng = np.random.default_rng(4)
    _, batch, codes = golden({"web": [0.2] * 6, "db": [0.05] * 6}, {"web": 30.0, "db": 60.0})
    stretch = Stretch([batch], *codes)
    faults = [plant(stretch, {("web", "db"): True}, rng) for _ in range(40)]
    assert {fault.kind for fault in faults} == {Kind.NOTHING, Kind.WAITING, Kind.FAILING}
    for fault in (fault for fault in faults if (fault.kind, fault.service) == (Kind.WAITING, "db")):
        after = Gauges(fault.batches, *codes)
        web, db = (values(after, name, "latency_average") for name in ("web", "db"))
        assert sum(30.0 * (x - 0.2) for x in web.values()) == pytest.approx(sum(60.0 * (x - 0.05) for x in db.values()))
