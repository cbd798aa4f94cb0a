"""Excess flow on metrics with a call graph: faults planted in a small shop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.evidence.excess import callers_first, flow_down
from engine.evidence.metric import ExcessFlow, excess_evidence, excess_flow
from engine.records import SECOND_NS, PeerKind, PointType, Temporality, TopologyEdge
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.points import SeriesStore
from engine.take.roles import Measure, Role, measure
from engine.take.series import SeriesKey
from tests.point_columns import Point, window

DAY = 86400 * 20000
STEP = 300
ROWS = 150
CALLS = (("web", "search"), ("web", "cart"), ("search", "index"), ("cart", "store"), ("web", "mailer"))
EDGES = [TopologyEdge(caller, callee, PeerKind.SERVICE, 1, 0, 0) for caller, callee in CALLS]
REQUESTS = {"web": 600, "search": 400, "cart": 200, "index": 400, "store": 300, "mailer": 200}
OWN_SECONDS = {"web": 0.01, "search": 0.02, "cart": 0.03, "index": 0.02, "store": 0.04, "mailer": 0.5}


def shop(slow: dict[str, float] | None = None, failing: dict[str, float] | None = None, load: float = 1.0, rows: int = 2) -> list[Point]:
    """Golden signals of the shop. In the last `rows` rows, services take longer by `slow` s, or fail a share of their requests."""
    random = np.random.default_rng(3)
    points = []
    for row in range(ROWS):
        late = row >= ROWS - rows
        time = DAY + STEP * row
        n = {name: random.poisson(count * (load if late else 1.0)) for name, count in REQUESTS.items()}
        seconds, failed = {}, {}
        for name in ("index", "store", "mailer", "search", "cart", "web"):
            below = [callee for caller, callee in CALLS if caller == name and callee != "mailer"]
            total = n[name] * OWN_SECONDS[name] * np.exp(0.03 * random.normal())
            total += n[name] * (slow or {}).get(name, 0.0) * late
            seconds[name] = total / n[name] + sum(seconds[callee] * n[callee] for callee in below) / n[name]
            share = 0.001 + (failing or {}).get(name, 0.0) * late
            failed[name] = min(n[name], random.binomial(n[name], share) + sum(failed[callee] for callee in below))
        for name, count in n.items():
            delta = {"type": PointType.SUM, "temporality": Temporality.DELTA, "monotonic": True, "start": time - STEP}
            points.append(Point(time, "calls", count, service=name, unit="{call}", **delta))
            points.append(Point(time, "response.latency.avg", 1000 * seconds[name], service=name, unit="ms"))
            points.append(Point(time, "success.ratio", 100 * (1 - failed[name] / count), service=name, unit="%"))
    return points


def histograms(points: list[Point]) -> list[Point]:
    """The same shop as semantic conventions have it: one cumulative histogram, failures by attribute."""
    by_row = {(point.service, point.time, point.metric): point.value for point in points}
    totals: dict[tuple[str, str], list[float]] = {}
    result = []
    for service, time in sorted({(point.service, point.time) for point in points}, key=lambda key: key[1]):
        count, seconds = by_row[service, time, "calls"], by_row[service, time, "response.latency.avg"] / 1000
        failed = round(count * (1 - by_row[service, time, "success.ratio"] / 100))
        for status, here in (("200", count - failed), ("500", failed)):
            total = totals.setdefault((service, status), [0.0, 0.0])
            total[0] += here
            total[1] += here * seconds
            result.append(
                Point(
                    time,
                    "http.server.request.duration",
                    service=service,
                    unit="s",
                    type=PointType.HISTOGRAM,
                    start=DAY - 60,
                    temporality=Temporality.CUMULATIVE,
                    count=int(total[0]),
                    sum=total[1],
                    attributes=(("http.response.status_code", status),),
                )
            )
    return result


def flow_of(points: list[Point], rows: int = 2, edges: list[TopologyEdge] = EDGES) -> ExcessFlow | None:
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    store.take(window(points, strings, resources))
    last = max(point.time for point in points)
    return excess_flow(store, edges, round(last - STEP * (rows + 2)) * SECOND_NS, round(last + 1) * SECOND_NS)


@pytest.mark.parametrize("shape", [lambda points: points, histograms], ids=["gauges", "histogram"])
@pytest.mark.parametrize("root", ["web", "search", "cart", "index", "store"])
def test_the_component_that_makes_the_requests_wait_is_the_cause(root: str, shape: Callable[[list[Point]], list[Point]]):
    flow = flow_of(shape(shop(slow={root: 0.06})))
    evidence = excess_evidence(flow, 0, 1)
    assert (flow.entry, flow.symptom) == ("web", "latency")
    assert max(evidence, key=lambda item: item.z).service == root
    assert all(item.user_visible for item in evidence)  # parts of what the users of web wait for
    assert [item.service for item in evidence if not item.peer] == ["web"]


@pytest.mark.parametrize("shape", [lambda points: points, histograms], ids=["gauges", "histogram"])
@pytest.mark.parametrize("root", ["search", "index", "store"])
def test_the_component_that_fails_is_the_cause_not_its_callers(root: str, shape: Callable[[list[Point]], list[Point]]):
    flow = flow_of(shape(shop(failing={root: 0.08})))
    assert flow.symptom == "failures"
    assert max(excess_evidence(flow, 0, 1), key=lambda item: item.z).service == root


def test_a_callee_that_nobody_waits_for_explains_little():
    flow = flow_of(shop(slow={"mailer": 0.02, "store": 0.06}))
    assert flow.services[int(np.argmax(flow.score))] == "store"


def test_the_onset_is_the_row_not_its_stamp():
    flow = flow_of(shop(slow={"store": 0.06}))
    first = (DAY + STEP * (ROWS - 2)) * SECOND_NS
    assert (flow.onset_start_ns, flow.onset_end_ns, flow.rows) == (first - STEP * SECOND_NS, first, 2)


def test_one_row_is_enough_and_stays_until_the_next():
    strings, resources = Strings(), Resources()
    store = SeriesStore(strings, resources, EngineSettings())
    points = shop(slow={"store": 0.06}, rows=1)
    store.take(window(points, strings, resources))
    last = round(points[-1].time) * SECOND_NS
    found = [excess_flow(store, EDGES, last + after - 120 * SECOND_NS, last + after) for after in (10 * SECOND_NS, 250 * SECOND_NS)]
    assert [flow.services[int(np.argmax(flow.score))] for flow in found] == ["store", "store"]
    assert found[0].z == found[1].z > 4


def test_normal_rows_do_not_depart():
    flow = flow_of(shop())
    assert flow is None or flow.z < 4


def test_a_surge_of_requests_is_seen_as_load():
    surge, fault = flow_of(shop(slow={"store": 0.06}, load=2.0)), flow_of(shop(slow={"store": 0.06}))
    assert surge.load(["web"]) == pytest.approx(2.0, rel=0.1)
    assert fault.load(["web", "store"]) == 1.0


def test_an_entry_whose_callees_report_nothing_is_not_blamed():
    only_web = [point for point in shop(slow={"store": 0.06}) if point.service == "web"]
    assert flow_of(only_web) is None


def test_metrics_of_another_system_give_the_same_answer():
    renamed = [replaced(point) for point in shop(slow={"index": 0.06})]
    edges = [replace_edge(edge) for edge in EDGES]
    flow = flow_of(renamed, edges=edges)
    assert flow.services[int(np.argmax(flow.score))] == "x-index"


def replaced(point: Point) -> Point:
    names = {"calls": "rpc_requests", "response.latency.avg": "rpcLatencyMean", "success.ratio": "availability_percent"}
    return point._replace(metric=names[point.metric], service=f"x-{point.service}")


def replace_edge(edge: TopologyEdge) -> TopologyEdge:
    return edge._replace(caller=f"x-{edge.caller}", callee=f"x-{edge.callee}")


def test_a_long_chain_and_a_cycle_end():
    chain = {at: [at + 1] for at in range(5000)} | {5000: [0]}
    assert callers_first(0, chain) == list(range(5001))
    flow, own = flow_down(np.array([4.0, 3.0, 0.0]), np.ones(3), {(0, 1): 0.0, (1, 0): 0.0}, 0)
    assert flow.tolist() == [4.0, 3.0, 0.0]
    assert own.tolist() == [1.0, 3.0, 0.0]


def key(metric: str, unit: str, kind: PointType = PointType.GAUGE, **rest: object) -> SeriesKey:
    base = SeriesKey("s", metric, unit, "", (), kind, False)
    return base._replace(**rest)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (key("http.server.request.duration", "s", PointType.HISTOGRAM, statistic="mean"), Measure(Role.LATENCY, "mean")),
        (key("http.server.request.duration", "1/s", PointType.HISTOGRAM, statistic="rate"), Measure(Role.REQUESTS)),
        (key("http.client.request.duration", "s", PointType.HISTOGRAM, statistic="mean"), Measure(Role.OTHER)),
        (key("traces.span.metrics.calls", "1/s", PointType.SUM, statistic="rate"), Measure(Role.REQUESTS)),
        (
            key("traces.span.metrics.duration", "s", PointType.HISTOGRAM, statistic="p95", attributes=(("span.kind", "SPAN_KIND_CLIENT"),)),
            Measure(Role.OTHER),
        ),
        (key("latency_p99", "s"), Measure(Role.LATENCY, "p99")),
        (key("jvm.gc.duration", "s", PointType.HISTOGRAM, statistic="mean"), Measure(Role.OTHER)),
        (key("error_ratio", "1"), Measure(Role.FAILURE_SHARE)),
        (key("availability", "1"), Measure(Role.SUCCESS_SHARE)),
        (key("system.cpu.utilization", "1"), Measure(Role.UTILISATION)),
        (key("system.cpu.utilization", "1", attributes=(("state", "idle"),)), Measure(Role.OTHER)),
        (key("process.memory.usage", "By"), Measure(Role.OTHER)),
        (key("http_server_requests_seconds", "s", PointType.HISTOGRAM, statistic="p99"), Measure(Role.LATENCY, "p99")),
        (key("grpc_server_handling_seconds", "s", PointType.HISTOGRAM, statistic="mean"), Measure(Role.LATENCY, "mean")),
        (key("http_request_duration_seconds_sum", "s/s", PointType.SUM, statistic="rate"), Measure(Role.OTHER)),
        (key("http_requests_total", "1/s", PointType.SUM, statistic="rate"), Measure(Role.REQUESTS)),
        (key("http_server_start_time_seconds", "s"), Measure(Role.OTHER)),
        (key("server_uptime_seconds", "s"), Measure(Role.OTHER)),
    ],
    ids=lambda value: value.metric if isinstance(value, SeriesKey) else "",
)
def test_what_a_metric_measures_is_told_by_its_words_and_unit(series: SeriesKey, expected: Measure):
    assert measure(series) == expected
