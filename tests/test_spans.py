"""The assembler gives out whole traces, joined, and stays within its budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels import hang, self_time
from engine.records import SpanKind
from engine.take.spans import Assembler
from engine.take.templates import Templates
from tests.naive import naive_self_time
from tests.trace_columns import Records, shop


def assembler(records: Records, budget: int = 1000) -> Assembler:
    return Assembler(records.strings, records.resources, Templates(records.strings), budget=budget)


def test_a_trace_leaves_five_seconds_after_its_last_item_and_whole() -> None:
    records = Records()
    records.span("a", "op", 8, 500, span=1, trace_lo=1)
    records.span("b", "op", 11, 500, span=2, parent=1, trace_lo=1)
    records.span("c", "op", 12, 6000, span=3, trace_lo=2)
    waits = assembler(records)
    assert [len(waits.take(window)) for window in records.windows(40)] == [0, 2, 1, 0]


def test_a_trace_that_does_not_end_leaves_after_thirty_seconds() -> None:
    records = Records()
    for second in range(0, 60, 2):
        records.span("a", "op", second, 1, span=second + 1, trace_lo=1)
    sizes = [len(assembler_take) for assembler_take in map(assembler(records).take, records.windows(70))]
    assert sizes[:3] == [0, 0, 0]
    assert sum(sizes) == 30


def test_join_finds_parents_calls_logs_and_sequences() -> None:
    records = shop(1)
    joined = assembler(records).preview(records.window(0, 10))
    names = [records.strings.text("operation", code) for code in joined.spans.operation]
    services = [records.strings.text("service", code) for code in joined.service]
    calls = [(services[client], services[server]) for client, server in zip(joined.client, joined.server, strict=True)]
    assert sorted(calls) == [("cart", "stock"), ("web", "cart")]
    assert int(joined.depth[names.index("SELECT stock")]) == 5
    stock = names.index("GET /stock")
    assert len(joined.step_span[joined.step_span == stock]) == 4  # start, log, child, log, end
    assert (joined.log_span >= 0).all()
    assert joined.root.sum() == 1


def test_the_same_export_twice_counts_once() -> None:
    records = shop(1)
    records.spans += list(records.spans)
    assert len(assembler(records).preview(records.window(0, 10))) == 6


def test_of_many_that_wait_a_sample_of_whole_traces_is_read_and_stands_for_all() -> None:
    records = shop(400)
    waits, window = assembler(records, budget=10_000), records.window(0, 10)
    waits.take(window)
    whole, half = waits.preview(), waits.preview(most=len(waits.preview()) // 2)
    ids = {(int(hi), int(lo)) for hi, lo in zip(whole.trace_hi, whole.trace_lo, strict=True)}
    kept = {(int(hi), int(lo)) for hi, lo in zip(half.trace_hi, half.trace_lo, strict=True)}
    assert half.share == 0.5
    assert kept < ids
    assert 0.35 * len(ids) < len(kept) < 0.65 * len(ids)
    of_kept = [(int(hi), int(lo)) in kept for hi, lo in zip(whole.spans.trace_hi, whole.spans.trace_lo, strict=True)]
    assert len(half) == sum(of_kept)
    assert sorted(half.self_ns.tolist()) == sorted(whole.self_ns[of_kept].tolist())
    assert len(half.log_span) == sum(key in kept for key in zip(whole.logs.trace_hi.tolist(), whole.logs.trace_lo.tolist(), strict=True))
    assert len(waits.preview(most=len(whole))) == len(whole)
    assert len(waits.preview()) == len(whole)  # nothing was taken away


def test_a_record_of_another_service_is_not_the_spans() -> None:
    records = Records()
    records.span("a", "op", 1, 5, span=1, trace_lo=1)
    records.log("b", "elsewhere", 1, span=1, trace_lo=1)
    assert assembler(records).preview(records.window(0, 10)).log_span.tolist() == [-1]


def test_an_error_that_names_another_service_is_passed_on() -> None:
    for text, passed in (("no instances of stock2", True), ("cart is full", False), ("restock2ed", False)):
        records = Records()
        records.service("shop/stock2")
        records.span("cart", "op", 1, 5, span=1, trace_lo=1)
        records.log("cart", text.replace("2", "<*>"), 1, severity=17, span=1, trace_lo=1)
        waits = assembler(records)
        waits.services.array()
        assert waits.preview(records.window(0, 10)).passes_on_error.tolist() == [passed], text


def test_over_budget_whole_traces_are_left_out_by_hash_and_the_share_is_published() -> None:
    records = shop(20, seed=2)
    waits = assembler(records, budget=10)
    joined = [waits.take(window) for window in records.windows(60)]
    kept = sum(len(part) for part in joined)
    assert waits.counts["spans_sampled_out"] == len(records.spans) - kept > 0
    assert min(part.share for part in joined) < 1
    assert all(np.bincount(part.trace).tolist() == [6] * len(part.trace_lo) for part in joined)


def test_spans_that_hang_in_a_circle_lose_their_parent() -> None:
    parent, depth, visit = hang(np.array([1, 0, 0, -1]), np.zeros(4, np.int32))
    assert parent.tolist() == [-1, -1, -1, -1] or depth.max() <= 1
    assert (visit >= 0).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(-1, 3)), min_size=1, max_size=8))
def test_self_time_equals_the_slow_one(rows: list[tuple[int, int, int]]) -> None:
    spans = [(start, start + length, parent if parent < number else -1) for number, (start, length, parent) in enumerate(rows)]
    records = Records()
    for number, (start, end, _) in enumerate(spans):
        records.span("a", "op", start / 1e9, (end - start) / 1e6, span=number + 1, trace_lo=1, kind=int(SpanKind.INTERNAL))
    columns = records.all_spans()
    order = np.argsort(columns.span)
    in_order = type(columns)(*(getattr(columns, name)[order] for name in columns.__slots__))
    assert naive_self_time(spans) == self_time(in_order.start_ns, in_order.time_ns, np.array([parent for *_, parent in spans])).tolist()
