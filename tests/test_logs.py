"""Log counts: by service, template and severity in slots of ten seconds."""

from __future__ import annotations

from engine.records import SECOND_NS
from engine.settings import EngineSettings
from engine.take.logs import LogCounts
from engine.take.spans import ServiceCodes
from engine.take.templates import Templates
from tests.trace_columns import T0, Records


def counts(records: Records, cap: int = 100) -> LogCounts:
    services = ServiceCodes(records.strings, records.resources)
    return LogCounts(records.strings, services, Templates(records.strings), EngineSettings(), cap=cap)


def written() -> Records:
    records = Records()
    for second in (1, 2, 3, 12, 25):
        records.log("cart", "Cart#1 open", second)
    records.log("cart", "Cart#9 broken", 13, severity=17, exception=records.strings.intern("text", "IOError: disk"))
    records.log("web", "hello", 13, trace_hi=0)
    return records


def test_counts_of_a_stretch_with_first_and_last_time() -> None:
    logs = counts(records := written())
    for window in records.windows(30):
        logs.take(window)
    found = logs.counts(T0 * SECOND_NS, (T0 + 20) * SECOND_NS)
    assert [(row.service, row.template, row.severity, row.records, row.exception) for row in found] == [
        ("cart", "Cart#1 open", 9, 4, ""),
        ("cart", "Cart#9 broken", 17, 1, "IOError: disk"),
        ("web", "hello", 9, 1, ""),
    ]
    assert found[0].last_ns - found[0].first_ns == 11 * SECOND_NS
    assert logs.first_seen("cart", "Cart#9 broken") == (T0 + 13) * SECOND_NS
    assert logs.first_seen("cart", "hello") is None


def test_a_slot_counts_once_for_hits_and_a_pending_window_changes_nothing() -> None:
    logs = counts(records := written())
    windows = list(records.windows(30))
    for window in windows[:2]:
        logs.take(window)
    pending = logs.count(windows[2])
    keys, slots, trials = logs.hits(T0 * SECOND_NS, (T0 + 30) * SECOND_NS, pending)
    assert dict(zip([logs.key(key)[1] for key in keys], slots.tolist(), strict=True)) == {1: 3, 2: 1, 3: 1}
    assert trials.tolist() == [3]
    assert len(logs.counts((T0 + 20) * SECOND_NS, (T0 + 30) * SECOND_NS)) == 0


def test_no_more_keys_than_the_cap_and_old_slots_leave() -> None:
    records = Records()
    for number in range(5):
        records.log("cart", f"Cart#{number} x", 1)
    records.log("cart", "Cart#1 x", 4000)
    logs = counts(records, cap=3)
    for window in records.windows(4010):
        logs.take(window)
    assert (len(logs), logs.overflowed) == (3, 2)
    assert logs.counts(T0 * SECOND_NS, (T0 + 100) * SECOND_NS) == []


def test_keys_and_slots_survive_a_restart() -> None:
    before = counts(records := written())
    for window in records.windows(30):
        before.take(window)
    templates = Templates(other := Records().strings)
    templates.restore(before._templates.state())
    after = LogCounts(other, ServiceCodes(other, Records().resources), templates, EngineSettings())
    after.restore(before.state())
    whole = T0 * SECOND_NS, (T0 + 30) * SECOND_NS
    assert [row._replace(exception="") for row in before.counts(*whole)] == after.counts(*whole)
