"""The same items give the same windows, however they were batched, and one wrong clock holds nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.records import MINUTE_NS, SECOND_NS, Batch, LinkColumns, Resource, SpanColumns, Window
from engine.settings import EngineSettings
from engine.strings import Resources
from engine.take.clock import Clocks
from engine.take.columns import concat, empty, gather, select
from engine.take.inbox import Inbox

DAY_NS = 24 * 3600 * SECOND_NS
START_NS = 1_700_000_000 * SECOND_NS


def spans_at(times_ns: list[int], resource: int = 1) -> SpanColumns:
    base = empty(SpanColumns)
    count = len(times_ns)
    columns = {name: np.zeros(count, getattr(base, name).dtype) for name in base.__slots__}
    columns |= {"time_ns": np.array(times_ns, np.int64), "resource": np.full(count, resource, np.int32)}
    columns["span"] = np.arange(1, count + 1, dtype=np.uint64)
    return SpanColumns(**columns)


def inbox_of(services: int = 2) -> tuple[Inbox, Resources]:
    resources = Resources()
    for number in range(services):
        resources.intern(Resource(service=f"service-{number}"))
    return Inbox(resources, EngineSettings()), resources


def ids(windows: list[Window]) -> list[tuple[int, list[int]]]:
    return [(window.end_ns, window.spans.span.tolist()) for window in windows]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=4), st.data())
def test_rows_gathered_are_those_of_all_laid_together(times: list[list[int]], data: st.DataObject) -> None:
    parts = [spans_at(each) for each in times]
    whole, count = concat(parts, SpanColumns), sum(map(len, times))
    rows = [np.array(data.draw(st.lists(st.integers(0, count - 1)) if count else st.just([])), np.int64) for _ in range(2)]
    for found, wanted in zip(gather(parts, SpanColumns, *rows), rows, strict=True):
        expected = select(whole, wanted)
        for name in SpanColumns.__slots__:
            column = getattr(found, name)
            assert column.dtype == getattr(expected, name).dtype
            assert column.tolist() == getattr(expected, name).tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_windows_do_not_depend_on_batches(seconds: list[int], size: int, random: object) -> None:
    spans = spans_at([START_NS + second * SECOND_NS for second in sorted(seconds)])
    whole, _ = inbox_of()
    whole.put(Batch(spans=spans))
    expected = ids(list(whole.windows(START_NS + 400 * SECOND_NS)))
    parts, _ = inbox_of()
    for at in range(0, len(seconds), size):
        parts.put(Batch(spans=select(spans, np.arange(at, min(at + size, len(seconds))))))
    assert expected == ids(list(parts.windows(START_NS + 400 * SECOND_NS)))
    assert sum(len(found) for _, found in expected) == len(seconds)


def test_a_late_item_joins_the_next_window_and_a_very_late_one_is_counted() -> None:
    inbox, _ = inbox_of()
    inbox.put(Batch(spans=spans_at([START_NS, START_NS + 20 * MINUTE_NS])))
    early = ids(list(inbox.windows(START_NS + 21 * MINUTE_NS)))
    assert [found for _, found in early if found] == [[1], [2]]
    inbox.put(Batch(spans=spans_at([START_NS + 19 * MINUTE_NS, START_NS])))
    late = list(inbox.windows(START_NS + 22 * MINUTE_NS))
    assert [found for _, found in ids(late) if found] == [[1]]
    assert inbox.dropped["spans", "too_late"] == 1


def test_links_follow_their_spans_into_windows() -> None:
    inbox, _ = inbox_of()
    spans = spans_at([START_NS + 30 * SECOND_NS, START_NS])
    links = LinkColumns(*(np.array([value], kind) for value, kind in ((0, np.int64), (7, np.uint64), (8, np.uint64), (9, np.uint64))))
    inbox.put(Batch(spans=spans, links=links))
    windows = list(inbox.windows(START_NS + MINUTE_NS))
    assert [(window.spans.span.tolist(), window.links.row.tolist()) for window in windows if len(window.spans.span)] == [
        ([2], []),
        ([1], [0]),
    ]


def clocks_of(*services: str, live: bool = False) -> Clocks:
    resources = Resources()
    for service in services:
        resources.intern(Resource(service=service))
    return Clocks(resources, EngineSettings(live=live))


def hear(clocks: Clocks, code: int, latest_ns: int, received_ns: int) -> None:
    clocks.hear(np.array([code]), np.array([latest_ns]), received_ns)


def test_clocks_that_are_a_day_off_move_no_watermark() -> None:
    names = [f"s{number}" for number in range(48)]
    right, wrong = clocks_of(*names, live=True), clocks_of(*names, "ahead", "behind", live=True)
    for second in range(0, 120, 2):
        now = START_NS + second * SECOND_NS
        for number in range(48):
            hear(right, 1 + number, now, now)
            hear(wrong, 1 + number, now, now)
        hear(wrong, 49, now + DAY_NS, now)
        hear(wrong, 50, now - DAY_NS, now)
        assert right.advance(now) == wrong.advance(now) == now - 10 * SECOND_NS


def test_a_silent_source_holds_the_others_for_the_grace_only() -> None:
    clocks = clocks_of("quiet", "busy")
    hear(clocks, 1, START_NS, START_NS)
    now = START_NS + 25 * SECOND_NS
    hear(clocks, 2, now, now)
    assert clocks.advance(now) == now - 20 * SECOND_NS


def test_instances_of_a_service_share_a_clock() -> None:
    resources = Resources()
    codes = [resources.intern(Resource(service="cart", instance=instance)) for instance in "ab"]
    clocks = Clocks(resources, EngineSettings())
    now = START_NS + 25 * SECOND_NS
    clocks.hear(np.array(codes), np.array([START_NS, now]), now)
    assert clocks.advance(now) == now - 10 * SECOND_NS


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_equal_times_are_ordered_by_sender_and_ids(seed: int, size: int) -> None:
    rng, (inbox, _) = np.random.default_rng(seed), inbox_of(5)
    spans = spans_at([START_NS] * size)
    few = {name: rng.integers(0, 3, size).astype(np.uint64) << np.uint64(62) for name in ("trace_hi", "trace_lo", "span")}
    spans = replace(spans, **few, time_ns=START_NS + rng.integers(0, 3, size), resource=rng.integers(1, 6, size).astype(np.int32))
    inbox.put(Batch(spans=spans))
    (window,) = (window for window in inbox.windows(START_NS + MINUTE_NS) if len(window.spans.span))
    rows = zip(*(getattr(spans, name).tolist() for name in ("time_ns", "resource", "trace_hi", "trace_lo", "span")), strict=True)
    found = zip(*(getattr(window.spans, name).tolist() for name in ("time_ns", "resource", "trace_hi", "trace_lo", "span")), strict=True)
    assert sorted(rows) == list(found)  # names of resources ascend with their codes here
