"""The benchmarks' traffic is what they say of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from engine.strings import Resources, Strings
from exporter.decode.protobuf import decode_logs, decode_metrics, decode_traces
from tests.bench.load.columns import Columns
from tests.bench.load.logs import LogTraffic
from tests.bench.load.points import KINDS, PointTraffic
from tests.bench.load.spans import Settings, SpanTraffic

START_NS = 1_760_000_000_000_000_000


@pytest.fixture(scope="module")
def traffic() -> SpanTraffic:
    return SpanTraffic(Settings(spans_a_request=2048, odd_share=0.1))


def test_spans_are_of_the_size_and_number_that_is_promised(traffic: SpanTraffic) -> None:
    batch = decode_traces(traffic.request(0), Strings(), Resources())
    assert batch.spans is not None
    assert len(batch.spans.time_ns) == traffic.items
    assert 350 <= traffic.size_bytes / traffic.items <= 450
    assert batch.dropped == ()


def test_no_request_comes_twice_and_each_can_be_made_again(traffic: SpanTraffic) -> None:
    strings, resources = Strings(), Resources()
    assert traffic.request(3) == traffic.request(3)
    batches = [decode_traces(traffic.request(number), strings, resources).spans for number in range(4)]
    ids = np.concatenate([spans.span for spans in batches if spans is not None])
    traces = [set(spans.trace_lo.tolist()) for spans in batches if spans is not None]
    assert len(np.unique(ids)) == 4 * traffic.items
    assert not set.intersection(*traces)


def test_traces_are_whole_and_children_run_inside_their_parents(traffic: SpanTraffic) -> None:
    spans = decode_traces(traffic.request(1), Strings(), Resources()).spans
    assert spans is not None
    row = {span: at for at, span in enumerate(spans.span.tolist())}
    parent = np.array([row.get(span, -1) for span in spans.parent.tolist()])
    assert (parent[spans.parent != 0] >= 0).all()
    child = np.flatnonzero(parent >= 0)
    assert (spans.start_ns[child] >= spans.start_ns[parent[child]]).all()
    assert (spans.time_ns[child] <= spans.time_ns[parent[child]] + 1000).all()  # nanoseconds are rounded
    assert (spans.trace_lo[child] == spans.trace_lo[parent[child]]).all()


def test_event_time_moves_on_by_the_pace(traffic: SpanTraffic) -> None:
    first, last = traffic.stamps(0), traffic.stamps(100)
    moved = (np.median(last.start_ns) - np.median(first.start_ns)) / 1e9
    assert moved == pytest.approx(100 * traffic.items / traffic.settings.spans_a_second, rel=0.02)


def test_columns_are_what_the_decoder_makes_of_the_request(traffic: SpanTraffic) -> None:
    strings, resources = Strings(), Resources()
    columns = Columns(traffic, strings, resources)
    for number in (0, 7):
        made, decoded = columns.batch(number), decode_traces(traffic.request(number), strings, resources)
        for part in ("spans", "links"):
            for field in fields(getattr(decoded, part)):
                values = getattr(getattr(decoded, part), field.name)
                np.testing.assert_array_equal(getattr(getattr(made, part), field.name), values, f"{part}.{field.name}")


def test_odd_spans_have_rows_that_did_not_come_before(traffic: SpanTraffic) -> None:
    seen: set[tuple[int, ...]] = set()
    fresh = []
    for number in range(4):
        stamps = traffic.stamps(number)
        rows = {(int(at), *pair) for at, *pair in zip(traffic.odd, stamps.error.tolist(), stamps.host.tolist(), strict=True)}
        fresh.append(len(rows - seen) / len(rows))
        seen |= rows
    assert min(fresh) > 0.99
    assert len(traffic.odd) == round(0.1 * traffic.items)


def test_log_records_are_in_two_halves_with_and_without_a_trace() -> None:
    traffic = LogTraffic(records_a_request=1000, start_ns=START_NS)
    strings = Strings()
    first, second = (decode_logs(traffic.request(number), strings, Resources()).logs for number in range(2))
    assert first is not None
    assert second is not None
    assert len(first.time_ns) == 1000
    assert (first.trace_lo != 0).sum() == 500
    assert not set(first.span[first.span != 0].tolist()) & set(second.span.tolist())
    assert second.time_ns.min() > first.time_ns.min()
    assert len(np.unique(first.template)) <= 5 * 3  # numbers are folded, the place of code stays


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_the_same_series_each_time_and_sums_only_grow(kind: str) -> None:
    traffic = PointTraffic(kind, points_a_request=1000, start_ns=START_NS)
    strings, resources = Strings(), Resources()
    first, second = (decode_metrics(traffic.request(number), strings, resources).points for number in range(2))
    assert first is not None
    assert second is not None
    assert len(np.unique(first.series)) == 1000
    np.testing.assert_array_equal(first.series, second.series)
    assert (second.time_ns > first.time_ns).all()
    if kind != "gauge":
        assert (second.count >= first.count).all()
    if kind in ("histogram", "exponential_histogram"):
        np.testing.assert_array_equal(np.add.reduceat(first.counts, first.counts_at[:-1]), first.count)
