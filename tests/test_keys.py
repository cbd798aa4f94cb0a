from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.take.keys import KeyTable


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 40), max_size=60), max_size=8), st.integers(1, 50))
def test_codes_are_those_of_a_dict(columns: list[list[int]], cap: int) -> None:
    table, known = KeyTable(cap), dict[int, int]()
    for column in columns:
        found = table.intern(np.array(column, np.int64)).tolist()
        for key in column:
            if key not in known and len(known) < cap:
                known[key] = len(known)
        assert found == [known.get(key, -1) for key in column]
    assert table.keys.tolist() == list(known)


def test_many_keys_of_one_slot_keep_apart() -> None:
    table = KeyTable(20_000)
    keys = np.arange(20_000, dtype=np.int64) << 40
    assert table.intern(keys).tolist() == list(range(20_000))
    assert table.find(keys[::-1]).tolist() == list(range(20_000))[::-1]
    assert (table.find(keys + 1) == -1).all()
