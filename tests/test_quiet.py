"""Synthetic days: whole traces drawn anew, a routine that does no harm, faults where they were planted and nowhere else."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, Batch, PointColumns, Resource
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.columns import joined
from exporter.evaluate.day import Day, batches, codes_of
from exporter.evaluate.mishaps import Mishap, mishaps, planted_hour
from exporter.evaluate.planted import Kind
from exporter.evaluate.pool import VERSION, Pool, failing_ns, read, traces_of, whole_hours
from exporter.evaluate.quiet import report
from exporter.evaluate.routine import SCALED_NS, Fleet, Routine, routine
from exporter.evaluate.truth import load

T0 = 1_700_000_040 * SECOND_NS  # a whole minute
MINUTES = 60
START_NS = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * SECOND_NS
#: A fault at `db` is noted ten minutes before the end, but can be seen from a minute before on.
FAULT_NS, BEGUN_NS = T0 + 50 * MINUTE_NS, T0 + 49 * MINUTE_NS


def resource(service: str) -> dict[str, object]:
    names = {"service.name": service, "k8s.pod.name": f"{service}-1"}
    return {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in names.items()]}


def text(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """web calls cart, which calls db and writes a record, every two seconds; gauges by minute; the fault's beginning is left out."""
    folder = tmp_path_factory.mktemp("shop")
    out = []
    for number in range(MINUTES * 30):
        at, slow = T0 + number * 2 * SECOND_NS, 400 if T0 + number * 2 * SECOND_NS >= BEGUN_NS else 0
        trace = f"{number + 1:032x}"
        for span, parent, service, begin, end in ((1, 0, "web", 0, 50), (2, 1, "cart", 10, 40), (3, 2, "db", 20, 30)):
            times = {"startTimeUnixNano": str(at + begin * 10**6), "endTimeUnixNano": str(at + (end + slow) * 10**6)}
            ids = {"traceId": trace, "spanId": f"{span:016x}", "parentSpanId": f"{parent:016x}" if parent else ""}
            item = {**ids, **times, "name": f"{service}/do", "kind": 2}
            line = {"resourceSpans": [{"resource": resource(service), "scopeSpans": [{"spans": [item]}]}]}
            out.append((at + (end + slow) * 10**6, line))
        record = {"timeUnixNano": str(at + 25 * 10**6), "traceId": trace, "spanId": f"{2:016x}", "body": {"stringValue": "found it"}}
        line = {"resourceLogs": [{"resource": resource("cart"), "scopeLogs": [{"logRecords": [record]}]}]}
        out.append((at + 25 * 10**6, line))
    for minute in range(MINUTES):
        for service in ("web", "cart", "db"):
            points = [{"timeUnixNano": str(T0 + minute * MINUTE_NS), "asDouble": 30.0 + minute % 5 + len(service)}]
            metrics = [{"name": name, "unit": "%", "gauge": {"dataPoints": points}} for name in ("cpu share", "memory share")]
            line = {"resourceMetrics": [{"resource": resource(service), "scopeMetrics": [{"metrics": metrics}]}]}
            out.append((T0 + minute * MINUTE_NS, line))
    path = folder / "day.jsonl"
    path.write_text("\n".join(json.dumps(line) for _, line in sorted(out, key=lambda one: one[0])) + "\n")
    fault = {
        "case_id": "1", "inject_time": text(FAULT_NS), "burst_start": text(FAULT_NS - 5 * MINUTE_NS),
        "burst_end": text(FAULT_NS + MINUTE_NS),
        "fault": "cpu", "root_cause_service": "db", "root_cause_detail": "cpu share(%)",
    }  # fmt: skip
    truth = {
        "system": "shop", "services": ["web", "cart", "db"], "first_time": text(T0), "last_time": text(T0 + 60 * MINUTE_NS),
        "faults": [fault], "clean_windows": [{"start": text(T0), "end": text(T0 + 40 * MINUTE_NS)}],
    }  # fmt: skip
    (folder / "day.truth.json").write_text(json.dumps(truth))
    return read([load(path)])


def day(pool: Pool, seed: int = 1, plan: Routine | None = None) -> Day:
    rng = np.random.default_rng(seed)
    nothing = Routine(Fleet(pool.resources), (), START_NS, {})
    return Day(pool, plan or nothing, rng, 0.5)


def services(pool: Pool, codes: np.ndarray) -> np.ndarray:
    return np.array([pool.resources[code].service for code in codes.tolist()], object)


def test_what_shows_the_fault_to_come_is_left_out(pool: Pool) -> None:
    took = pool.spans.time_ns - pool.spans.start_ns
    assert len(pool.start_ns) > 1000
    assert took.max() <= 50 * 10**6
    assert pool.start_ns.max() < BEGUN_NS


def test_traces_are_drawn_whole_with_their_times_and_records(pool: Pool) -> None:
    hour = day(pool).hour(START_NS)
    assert hour.spans is not None
    assert hour.logs is not None
    trace, starts = traces_of(hour.spans)
    assert set(Counter(trace.tolist()).values()) == {3}
    first = hour.spans.start_ns - starts[trace]
    assert set(zip(services(pool, hour.spans.resource).tolist(), first.tolist(), strict=True)) == {
        ("web", 0),
        ("cart", 10**7),
        ("db", 2 * 10**7),
    }
    ids = {(hi, lo, span) for hi, lo, span in zip(hour.spans.trace_hi, hour.spans.trace_lo, hour.spans.span, strict=True)}
    assert len(ids) == len(hour.spans.span), "copies of a trace have ids of their own"
    above = {(hi, lo, up) for hi, lo, up in zip(hour.spans.trace_hi, hour.spans.trace_lo, hour.spans.parent, strict=True) if up}
    assert above <= ids
    assert {(hi, lo, span) for hi, lo, span in zip(hour.logs.trace_hi, hour.logs.trace_lo, hour.logs.span, strict=True)} <= ids
    assert len(hour.logs.time_ns) == len(starts)


def test_equal_seeds_give_equal_days(pool: Pool) -> None:
    one, same, other = (day(pool, seed).hour(START_NS).spans for seed in (1, 1, 2))
    assert one is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(one.time_ns, same.time_ns)
    assert len(one.time_ns) != len(other.time_ns) or not np.array_equal(one.time_ns, other.time_ns)


def test_afternoons_are_busier_and_the_nightly_job_adds_to_its_hour(pool: Pool) -> None:
    spans = [len(day(pool).hour(START_NS + hour * HOUR_NS).spans.time_ns) for hour in (15, 3, 2)]  # type: ignore[union-attr]
    assert spans[0] > 2 * spans[1]
    assert spans[2] > 1.5 * spans[1]


def test_a_service_that_is_scaled_out_shares_its_work_and_is_one_again(pool: Pool) -> None:
    code = int(pool.spans.resource[0])
    fleet = Fleet(pool.resources)
    fleet.replaced(code, START_NS + HOUR_NS, ["a", "b", "c"])
    fleet.restored(code, START_NS + 2 * HOUR_NS)
    drawn = day(pool, plan=Routine(fleet, (), START_NS, {}))
    for hour, names in ((0, {f"{pool.resources[code].service}-1"}), (1, {"a", "b", "c"}), (2, {"a"})):
        batch = drawn.hour(START_NS + hour * HOUR_NS)
        assert batch.spans is not None
        assert batch.points is not None
        for columns in (batch.spans, batch.points):
            mine = {
                pool.resources[one].instance
                for one in columns.resource.tolist()
                if pool.resources[one].service == pool.resources[code].service
            }
            assert mine == names
    batch = drawn.hour(START_NS + HOUR_NS)
    assert batch.points is not None
    own = services(pool, batch.points.resource) == pool.resources[code].service
    mean = {
        name: batch.points.value[own & (batch.points.metric == code)].mean()
        for code in np.unique(batch.points.metric)
        for name in [pool.strings.text("value", int(code))]
    }
    assert mean["cpu share"] < 0.4 * mean["memory share"], "what goes with the load is shared, a level is not"


def test_a_routine_deploys_restarts_and_scales_and_tells_half_of_the_deploys() -> None:
    resources = Resources()
    codes = [resources.intern(Resource(service=f"s{number}", instance=f"s{number}-1", version=VERSION)) for number in range(9)]
    plan = routine(codes, resources, START_NS, 240, np.random.default_rng(1))
    assert plan.what == {"deploy": 80, "restart": 80, "setting": 40, "scaled out": 20, "nightly job": 10}
    told = [change for change in plan.changes if change.version]
    assert 20 < len(told) < 60
    versions = {resources[code].version for periods in plan.fleet.since.values() for _, run in periods for code in run}
    assert {change.version for change in told} < versions
    wide = [(at, end) for periods in plan.fleet.since.values() for (at, run), (end, _) in pairwise(periods) if len(run) > 1]
    assert all(end - at == SCALED_NS for at, end in wide), "nothing else happens to a service while it is scaled out"


def test_batches_lose_nothing_and_come_in_order(pool: Pool) -> None:
    drawn = day(pool)
    hours = [(START_NS + hour * HOUR_NS, drawn.hour(START_NS + hour * HOUR_NS)) for hour in range(2)]
    found = list(batches(iter(hours)))
    last_ns = START_NS + 2 * HOUR_NS
    expected = sum(int((hour.spans.time_ns < last_ns).sum()) for _, hour in hours if hour.spans is not None)
    ends = [batch.spans.time_ns for batch in found if batch.spans is not None]
    assert sum(map(len, ends)) == expected
    assert all(one.max() < following.min() for one, following in pairwise(ends) if len(one) and len(following))


@pytest.mark.parametrize("kind", [Kind.SLOW, Kind.NETWORK, Kind.BUSY, Kind.SILENT])
def test_a_fault_is_where_it_was_planted_and_nowhere_else(pool: Pool, kind: Kind) -> None:
    hour = day(pool).hour(START_NS)
    mishap = Mishap(START_NS + 10 * MINUTE_NS, START_NS + 16 * MINUTE_NS, kind)
    after, done = planted_hour(hour, [mishap], {}, pool.strings, pool.resources, np.random.default_rng(3))
    ((fault, planted),) = done
    assert (fault.root, fault.kind, fault.onset_ns) == (planted.service, kind.value, mishap.start_ns)

    def totals(batch: Batch, during: bool) -> tuple[int, int, float]:
        spans, points = batch.spans, batch.points
        assert spans is not None
        assert points is not None
        trace, starts = traces_of(spans)
        chosen = (((starts >= mishap.start_ns) & (starts < mishap.end_ns)) == during)[trace]
        now = ((points.time_ns >= mishap.start_ns) & (points.time_ns < mishap.end_ns)) == during
        own = chosen & (services(pool, spans.resource) == fault.root)
        return int(own.sum()), int((spans.time_ns - spans.start_ns)[chosen].sum()), float(points.value[now].sum())

    assert totals(after, during=False) == totals(hour, during=False)
    count, seconds, values = totals(after, during=True)
    before = totals(hour, during=True)
    if kind is Kind.SILENT:
        assert count == 0
    else:
        assert count == before[0]
        assert seconds - before[1] > before[0] * 0.4 * 0.1 * SECOND_NS, "half of the visits and more, by a tenth of a second and more"
    assert (values > before[2]) == (kind is Kind.BUSY)


def test_faults_come_after_an_hour_and_leave_time_between_them() -> None:
    plan = mishaps(START_NS, 24, slow=False)
    assert len(plan) == 46
    assert plan[0].start_ns >= START_NS + HOUR_NS
    assert min(later.start_ns - one.end_ns for one, later in pairwise(plan)) >= 20 * MINUTE_NS
    assert set(Counter(one.kind for one in plan).values()) <= {9, 10}


def test_short_stretches_are_drawn_from_again_and_again(pool: Pool) -> None:
    short = replace(pool, stretches=((T0, T0 + 7 * MINUTE_NS + 30 * SECOND_NS),))
    points = day(short).hour(START_NS).points
    assert points is not None
    minutes = Counter(((points.time_ns - START_NS) // MINUTE_NS).tolist())
    assert minutes == dict.fromkeys(range(60), 6), "three services, two gauges each, every minute"


def test_an_hour_in_which_requests_failed_is_not_quiet() -> None:
    strings, resources = Strings(), Resources()
    failed_ns = T0 + 90 * MINUTE_NS
    parts = []
    for row in range(48):
        time_ns = T0 + row * 5 * MINUTE_NS
        for service, requests, share in (("web", 1000, 0.9 if time_ns == failed_ns else 1.0), ("rare", 20, 0.5 if row == 3 else 1.0)):
            at = {"timeUnixNano": str(time_ns)}
            counted = {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [{**at, "asDouble": requests}]}
            metrics = [
                {"name": "requests", "unit": "{request}", "sum": counted},
                {"name": "mean latency", "unit": "s", "gauge": {"dataPoints": [{**at, "asDouble": 0.1}]}},
                {"name": "success", "unit": "1", "gauge": {"dataPoints": [{**at, "asDouble": share}]}},
            ]
            line = {"resourceMetrics": [{"resource": resource(service), "scopeMetrics": [{"metrics": metrics}]}]}
            parts.append(decode_json(line, strings, resources).points)
    points = joined([part for part in parts if part is not None], PointColumns)
    assert failing_ns(points, strings, resources) == {failed_ns}, "of those that are asked often"
    hours = whole_hours([(T0, T0 + 4 * HOUR_NS)], {failed_ns})
    assert failed_ns // HOUR_NS not in hours
    assert len(hours) == 2


def test_services_of_the_pool_have_one_instance_and_a_version(pool: Pool) -> None:
    assert {(pool.resources[code].service, pool.resources[code].version) for code in codes_of(pool)} == {
        (name, VERSION) for name in ("web", "cart", "db")
    }


def test_the_report_counts_pages_and_what_was_found() -> None:
    quiet = {
        "system": "shop", "planted": False, "hours": 24, "spans": 864000, "origin": "10 traces", "routine": {"deploy": 8},
        "cpu_seconds": 9.0, "pages": 0, "false": 2, "faults": [], "openings": [{"at": "0d 01:00:00", "page": False, "said": "cart (gap)"}],
    }  # fmt: skip
    fault = {
        "at": "0d 02:00:00",
        "kind": "slow",
        "case": "cart 3",
        "found": True,
        "rank": 1,
        "paged": True,
        "delay_seconds": 40.0,
        "said": "cart",
    }
    missed = {**fault, "found": False, "rank": None, "paged": False, "delay_seconds": None}
    text = report([quiet, {**quiet, "planted": True, "faults": [fault, missed]}])
    assert "| shop   |    24 |             10 |      8 deploy |     0 |         2 |    0.08 |" in text
    assert "0.50" in text
    assert "no incident opened" in text
