"""More new rows than anyone can score: memory stays, the budget holds, and what is left out is counted."""

from __future__ import annotations

import numpy as np

from engine.normal.combinations import Combinations
from engine.normal.features import ABSENT, Dictionary, RowColumns, Source
from engine.normal.index import Index
from engine.normal.reservoir import WAITING_A_WINDOW, WAITING_ROWS, Reservoir
from engine.normal.scales import Pairs
from engine.normal.sender import Senders
from engine.normal.span_rows import SpanRows
from engine.normal.watch import LEAST_UNSEEN_A_SECOND, Watch
from engine.records import I32, I64
from engine.strings import Resources
from tests.rows_world import World


def rows(count: int, seed: int) -> RowColumns:
    rng = np.random.default_rng(seed)
    zeros = np.zeros(count, np.int64)
    key = rng.integers(0, 2**63, count).astype(np.uint64)
    return RowColumns(
        np.full((count, 5), ABSENT, np.int32), np.zeros((count, 9), np.float32), key, zeros, zeros.astype(np.int32), zeros + 1, zeros > 0
    )


def test_the_quarantine_of_a_flood_is_bounded_and_counted() -> None:
    reservoir = Reservoir(1)
    sent = 0
    for end in range(40):
        reservoir.wait(end, rows(20_000, end))
        sent += 20_000
    kept = reservoir.learn(40, ())
    assert kept is not None
    assert reservoir.learned + reservoir.dropped == sent
    assert reservoir.learned <= WAITING_ROWS
    assert reservoir.learned > WAITING_ROWS - WAITING_A_WINDOW


def test_the_budget_falls_with_the_load_and_never_below_its_least() -> None:
    world = World()
    senders = Senders(Resources())
    index = Index(senders.services, Dictionary())
    watch = Watch(Source.TRACES, SpanRows(world.strings, senders), index, seed=1, window_seconds=10.0)
    cold, flood = watch.budget(400_000), watch.budget(4_000_000)
    assert cold >= 80_000  # 40,000 spans a second, a fifth of them unseen
    assert flood == 10 * LEAST_UNSEEN_A_SECOND
    assert watch.budget(0) >= cold >= watch.budget(1_000_000) >= flood


def test_combinations_over_the_cap_have_no_code_and_a_full_table_begins_anew() -> None:
    def unpacked(packed: I64) -> tuple[I32, I32]:
        return (packed >> 8).astype(np.int32), (packed & 255).astype(np.int32)

    combinations = Combinations(Pairs(), unpacked, cap=10)
    first = combinations(np.arange(20, dtype=np.int64) | 1 << 8)
    assert first.tolist() == [*range(10), *[-1] * 10]
    later = combinations(np.arange(5, dtype=np.int64) | 2 << 8)
    assert (later >= 0).all()
    assert combinations.codes(later)[:, 0].tolist() == [2] * 5
    assert len(combinations) <= 10
    begun = combinations.begun
    mixed = combinations(np.arange(9, dtype=np.int64) | 2 << 8)  # five have a code, four find no room beside what came before
    assert (mixed >= 0).all()
    assert len(set(mixed.tolist())) == 9
    again = combinations(np.arange(8, dtype=np.int64) | 3 << 8)
    assert (again >= 0).all()
    assert combinations.begun == begun + 1
    assert combinations.codes(again)[:, 0].tolist() == [3] * 8
