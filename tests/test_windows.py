"""The branch of traces: pure answers, history that incidents do not enter, bounded rings, state that survives."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine import kernels
from engine.evidence.traces import Traces
from engine.records import SECOND_NS
from engine.settings import EngineSettings
from engine.windows import Interner, Ring, Tally, view
from tests.trace_columns import T0, Fault, Records, shop, z_of


def at(second: int) -> int:
    return (T0 + second) * SECOND_NS


def stream(records: Records, until: int) -> Traces:
    traces = Traces(records.strings, records.resources, EngineSettings())
    for window in records.windows(until):
        traces.take(window)
    return traces


def slow(second: int) -> Fault:
    return Fault(work=200 if 600 <= second < 720 else 0)


def test_asking_changes_nothing_and_equal_questions_get_equal_answers() -> None:
    records = shop(900, slow)
    asked, silent = stream(records, 600), stream(records, 600)
    for window in list(records.windows(900))[60:]:
        asked.evidence(at(240), at(420))
        asked.evidence(window.start_ns - 200 * SECOND_NS, window.end_ns, window)
        asked.take(window)
        silent.take(window)
    first = asked.evidence(at(600), at(720))
    assert first
    assert first == silent.evidence(at(600), at(720)) == asked.evidence(at(600), at(720))


def test_items_that_no_window_had_are_joined_for_the_answer() -> None:
    records = shop(720, slow)
    late = stream(records, 600).evidence(at(600), at(719), records.window(600, 730))
    settled = stream(records, 760).evidence(at(600), at(719))
    assert {"stock"} == {piece.service for piece in late if piece.z > 3}
    # The last seconds before the fault were not in the history yet: a difference of thousandths.
    assert z_of(late, "self_time")["stock"] == pytest.approx(z_of(settled, "self_time")["stock"], abs=0.01)


def test_few_spans_give_nothing() -> None:
    records = shop(30, lambda second: Fault(work=500 if second > 20 else 0))
    assert stream(records, 60).evidence(at(20), at(30)) == []


def test_a_quiet_system_gives_nothing_loud() -> None:
    found = stream(shop(1200), 1200).evidence(at(1000), at(1120))
    assert max((piece.z for piece in found), default=0) < 2


def test_blocks_of_an_incident_are_not_learnt_even_in_hindsight() -> None:
    """An error that began five minutes ago is half of the short history, unless an incident covers it."""
    records = shop(420, lambda second: Fault(fails=second >= 120))
    traces = stream(records, 420)

    def failing() -> float:
        return max(piece.expected for piece in traces.evidence(at(360), at(420)) if piece.family == "error")

    traces.learn(at(0), [])
    before = failing() if any(piece.family == "error" for piece in traces.evidence(at(360), at(420))) else 1.0
    traces.learn(at(0), [(at(120), at(420))])
    assert failing() < 0.05
    assert before >= failing()


def test_what_is_learnt_survives_a_restart() -> None:
    records = shop(720, slow)
    before = stream(records, 600)
    after = Traces(fresh := Records().strings, records.resources, EngineSettings())
    for code in range(1, records.strings.size("operation")):  # the decoder's codes are those of the new dictionary
        fresh.intern("operation", records.strings.text("operation", code))
    for code in range(1, records.strings.size("template")):
        fresh.intern("template", records.strings.text("template", code))
    after.restore(before.state())
    for window in list(records.windows(760))[60:]:
        before.take(window)
        after.take(window)
    expected = {(piece.service, piece.family, piece.subject): piece.z for piece in before.evidence(at(610), at(720))}
    found = {(piece.service, piece.family, piece.subject): piece.z for piece in after.evidence(at(610), at(720))}
    loud = {key for key, z in expected.items() if z > 2}
    assert loud
    assert loud <= found.keys()
    assert all(abs(found[key] - expected[key]) < 0.5 for key in loud)


def test_the_ring_is_bounded_in_spans_and_age() -> None:
    traces = stream(shop(300), 300)
    parts = list(traces.ring._chunks)
    small = Ring(keep_ns=10**18, spans=200)
    for part in parts:
        small.add(part, part.bounds_ns[1])
    assert small.held <= 200
    assert small.dropped == sum(len(part) for part in parts) - small.held
    old = Ring(keep_ns=60 * SECOND_NS)
    for part in parts:
        old.add(part, at(300))
    assert old.between(0, at(200)) == []


def test_a_full_ring_keeps_the_newest_chunk_and_whole_traces_of_the_others_by_their_hash() -> None:
    parts = list(stream(shop(300), 300).ring._chunks)
    half = Ring(keep_ns=10**18, spans=sum(map(len, parts)) // 2)
    for part in parts:
        half.add(part, part.bounds_ns[1])
    kept = half.between(0, at(10**6))
    assert kept[-1] is parts[-1]
    assert len(kept) > len(parts) / 2  # not only the last few
    assert {chunk.share for chunk in kept} > {1.0}
    for chunk in kept:
        mixed = kernels.mixed(chunk.trace_hi, chunk.trace_lo).astype(np.float64) / 2.0**64
        assert mixed.max() < chunk.share
        (part,) = (one for one in parts if one.bounds_ns[0] <= chunk.bounds_ns[0] and chunk.bounds_ns[1] <= one.bounds_ns[1])
        assert chunk.population == pytest.approx(1 / chunk.share)
        wanted = np.isin(part.trace_lo[part.trace], chunk.trace_lo)
        assert len(chunk) == wanted.sum()
        assert np.array_equal(chunk.operation[chunk.step_span], part.operation[part.step_span[wanted[part.step_span]]])
        inside = chunk.parent >= 0
        assert np.array_equal(chunk.trace[inside], chunk.trace[chunk.parent[inside]])
        assert np.array_equal(chunk.value, part.value[wanted[part.value_span]])


def test_sums_of_a_stretch_are_those_of_its_spans() -> None:
    """Whatever of each chunk lies in the stretch: counted anew from rows, one by one."""
    traces = stream(shop(90, lambda second: Fault(fails=second % 7 == 0)), 120)
    chunks = list(traces.ring._chunks)
    assert len(chunks) > 3
    seen = view(chunks, at(13), at(61))
    hits, chances = seen.by_outcome(traces.codes), seen.by_context(traces.codes)[0]
    steps, contexts, requests, values = Counter(), Counter(), 0, {}
    for chunk in chunks:
        here = [at(13) <= time <= at(61) for time in chunk.time_ns.tolist()]
        requests += sum(inside and root for inside, root in zip(here, chunk.root.tolist(), strict=True))
        for row, context, outcome in zip(chunk.step_span.tolist(), chunk.step_context.tolist(), chunk.step_outcome.tolist(), strict=True):
            steps[outcome] += here[row]
            contexts[context] += here[row]
        for row, key, value in zip(chunk.value_span.tolist(), chunk.value_key.tolist(), chunk.value.tolist(), strict=True):
            if here[row]:
                values.setdefault(key, []).append(value)
    assert {code: count for code, count in steps.items() if count} == {code: count for code, count in enumerate(hits.tolist()) if count}
    assert {code: count for code, count in contexts.items() if count} == {
        code: count for code, count in enumerate(chances.tolist()) if count
    }
    assert seen.requests == requests
    assert dict(zip(seen.values.key.tolist(), seen.values.mean.tolist(), strict=True)) == pytest.approx(
        {key: sum(found) / len(found) for key, found in values.items()}
    )


def test_tables_are_capped_and_counted() -> None:
    table = Interner(2)
    assert table.codes(np.array([30, 10, 30, 20], np.int64)).tolist() == [-1, 0, -1, 1]
    assert table.overflowed == 1
    assert Tally.of(np.array([3, 1, 3])).plus(Tally.of(np.array([1, 2]))).count.tolist() == [2, 1, 2]


def test_counts_are_packed_where_they_stay_what_they_are() -> None:
    whole = Tally.of(np.array([3, 1, 3]), np.array([2.0**24, 1.0, 0.0]))
    packed, split = whole.packed(), Tally.of(np.array([3, 1]), np.array([0.1, 1.0]))
    assert packed.code.nbytes + packed.count.nbytes == (whole.code.nbytes + whole.count.nbytes) / 2
    assert packed.plus(whole).count.tolist() == whole.plus(whole).count.tolist() == [2, 2.0**25]
    assert split.packed() is split
    large = Tally.of(np.array([7]), np.array([2.0**24 + 1]))
    assert large.packed() is large


def test_the_shares_of_traces_that_are_joined_and_kept_are_told() -> None:
    traces = stream(shop(300), 300)
    assert traces.shares(at(300)) == {"assembled": 1.0, "sliding": 1.0, "waiting": 1.0}
    traces.ring.spans = traces.ring.held // 2
    traces.take(shop(310).window(300, 310))
    assert traces.shares(at(310))["sliding"] < 1.0
