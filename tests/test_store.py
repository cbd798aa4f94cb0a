"""The store: what was acknowledged outlives kill -9; the engine's state is read back whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.records import SECOND_NS, ConfigChange, Incident
from exporter import state_file
from exporter.plain import change_of, incident_of, stored
from exporter.store import DAY_NS, Store, StoreError
from tests.findings import ONSET_NS, change, finding, incident, resolved


def test_an_incident_and_a_change_read_back_equal() -> None:
    one = incident()
    assert repr(incident_of(stored(one))) == repr(one)
    assert change_of(stored(change())) == change()


def test_what_is_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_changes([change("a"), change("b", time_ns=ONSET_NS)], ONSET_NS)
    store.close_windows(123, [incident("x"), resolved(incident("y"))]).result()
    store.add_feedback("x", ONSET_NS, "confirm", "cart", "yes")
    store.close()
    again = Store(tmp_path)
    assert [one.id for one in again.changes()] == ["b", "a"]
    assert [one.id for one in again.changes(service="cart", end_ns=ONSET_NS - 1)] == ["a"]
    assert again.changes(service="other") == []
    assert [one.id for one in again.incidents()] == ["x", "y"]
    assert [one.id for one in again.incidents(active=True)] == ["x"]
    assert [one.id for one in again.incidents(active=False)] == ["y"]
    assert again.watermark_ns() == 123
    assert again.feedback("x") == [{"received_ns": ONSET_NS, "verdict": "confirm", "service": "cart", "note": "yes"}]
    assert again.incident("none") is None
    again.close()


def test_a_change_sent_twice_is_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_changes([change("a", summary="first")], 1)
    store.add_changes([change("a", summary="second")], 2)
    assert [one.summary for one in store.changes()] == ["first"]
    store.close()


def test_a_burst_shares_commits(tmp_path: Path) -> None:
    commits: list[bool] = []
    store = Store(tmp_path, committed=lambda seconds, good: commits.append(good))
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda at: store.add_changes([change(f"c{at}")], at), range(400)))
    assert len(store.changes(limit=1000)) == 400
    assert len(commits) < 200
    store.close()


WRITER = """
import sys
from pathlib import Path
from exporter.store import Store
from tests.findings import change, incident
store = Store(Path(sys.argv[1]))
at = 0
while True:
    store.add_changes([change(f"c{at}")], at)
    store.close_windows(at, [incident(f"i{at}")]).result()
    print(at, flush=True)
    at += 1
"""


def test_kill_9_loses_no_acknowledged_change_or_incident(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.wait()
    writer.stdout.close()
    store = Store(tmp_path)
    assert {f"c{at}" for at in acknowledged} <= {one.id for one in store.changes(limit=10**6)}
    assert {f"i{at}" for at in acknowledged} <= {one.id for one in store.incidents(limit=10**6)}
    assert store.watermark_ns() >= acknowledged[-1]
    store.close()


def test_old_and_surplus_records_go_but_open_incidents_stay(tmp_path: Path) -> None:
    def at(one: Incident, day: int) -> Incident:
        moved = replace(one, id=f"{one.id}{day}", opened_ns=day * DAY_NS)
        return replace(moved, updated_ns=day * DAY_NS)

    def changed(day: int) -> ConfigChange:
        return change(f"c{day}", time_ns=day * DAY_NS)

    store = Store(tmp_path)
    store.add_changes([changed(day) for day in range(1, 11)], 1)
    store.close_windows(1, [at(resolved(incident("r")), day) for day in range(1, 11)] + [at(incident("o"), 1)]).result()
    store.prune(10 * DAY_NS, retention_days=5, max_incidents=3, max_changes=4).result()
    assert [one.id for one in store.incidents()] == ["r10", "r9", "r8", "o1"]
    assert [one.id for one in store.changes()] == ["c10", "c9", "c8", "c7"]
    store.close()


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^store\.path: cannot use "):
        Store(tmp_path / "file")


def test_a_database_that_is_gone_is_an_error_to_who_writes_and_heals(tmp_path: Path) -> None:
    store = Store(tmp_path)
    blocker = store._connect()
    blocker.execute("DROP TABLE changes")
    with pytest.raises(StoreError, match="no such table"):
        store.add_changes([change()], 1)
    assert store.failing
    store.close_windows(1, []).result()
    assert not store.failing
    blocker.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.add_changes([change()], 1)


def test_state_reads_back_with_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    state = {"watermark_ns": 2**62, "texts": ["ü", ""], "deep": {"x": np.arange(5, dtype=np.int64), "y": [np.zeros((2, 0), np.float32)]}}
    assert state_file.load(path) is None
    size = state_file.save(path, state | {"number": np.float64(1.5), "pair": (1, None)})
    assert path.stat().st_size == size
    read = state_file.load(path)
    assert read is not None
    assert (read["watermark_ns"], read["texts"], read["number"], read["pair"]) == (2**62, ["ü", ""], 1.5, [1, None])
    assert read["deep"]["x"].dtype == np.int64
    assert read["deep"]["x"].tolist() == [0, 1, 2, 3, 4]
    assert read["deep"]["y"][0].shape == (2, 0)
    assert [each.name for each in tmp_path.iterdir()] == ["state.npz"]


def test_state_that_needs_pickle_is_refused_by_place(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    for state, place in (
        ({"a": {"b": object()}}, r"state\.a\.b: a object"),
        ({"a": [np.array([None])]}, r"state\.a\[0\]: an array of objects"),
        ({"a": {1: 2}}, r"state\.a: keys must be texts"),
    ):
        with pytest.raises(TypeError, match=place):
            state_file.save(path, state)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    state_file.save(path, {"x": np.arange(10_000)})
    whole = path.read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole[:5000] + b"\xff" * 100 + whole[5100:]):
        path.write_bytes(damaged)
        with pytest.raises(state_file.StateError, match="damaged"):
            state_file.load(path)


def test_nan_in_evidence_survives_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.close_windows(1, [incident(finding=finding(confidence=0.1 + 0.2), updated_ns=ONSET_NS + SECOND_NS)]).result()
    read = store.incident("5ca1ab1e00000001")
    assert read is not None
    assert repr(read.finding) == repr(finding(confidence=0.1 + 0.2))  # NaN differs from itself
    store.close()
