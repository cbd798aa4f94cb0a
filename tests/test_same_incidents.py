"""What must not matter to the incidents of a stream: how it is batched, clocks that are wrong, a restart in the middle."""

from __future__ import annotations

from functools import cache
from heapq import merge

import pytest

from engine.pipeline import Engine
from engine.records import HOUR_NS, SECOND_NS
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from tests.otlp_shop import Call, Sender, feed, run, traffic

START_NS = 1_700_000_040 * SECOND_NS
MINUTES = 20
ILL_NS = (START_NS + 16 * 60 * SECOND_NS, START_NS + 19 * 60 * SECOND_NS)
READ = Call("stock-db", "SELECT stock", 3.0, database="stock", statement="SELECT n FROM stock WHERE id = 7")
ORDER = Call("web", "GET /cart", 4.0, (Call("cart", "open", 8.0, (Call("stock", "look", 10.0, (READ,), log="looked"),), log="opened"),))
CPU = "process.cpu.utilization"


def ill(call, now):
    """The stock service takes ten times as long for three minutes."""
    return call.with_call("stock", "look", milliseconds=100.0) if ILL_NS[0] <= now < ILL_NS[1] else call


@cache
def shop():
    sender = Sender()
    gauges = {(service, CPU): 0.2 for service in ("web", "cart", "stock")}
    traffic(sender, START_NS, START_NS + MINUTES * 60 * SECOND_NS, 2.0, lambda now: [ill(ORDER, now)], lambda _: gauges)
    return sender


def story(published):
    """Of every publication: id, state, time, onset, causes with scores."""
    return [(one.id, one.state, one.published_ns, one.onset_ns, one.finding.causes) for one in published]


def test_batches_of_1_s_and_of_10_s_give_equal_incidents():
    _, small = run(shop(), seconds=1.0)
    _, large = run(shop(), seconds=10.0)
    assert {incident.finding.root for incident in small} == {"stock"}
    assert story(small) == story(large)


def test_one_wrong_clock_ahead_and_one_behind_change_nothing_for_the_other_48():
    names = [f"service-{number:02}" for number in range(46)]
    others = [Call("web", f"GET /{name}", 4.0, (Call(name, "serve", 10.0, log="served"),)) for name in names]
    end_ns = START_NS + MINUTES * 60 * SECOND_NS
    right, wrong = Sender(), Sender(seed=2, wrong_ns={"ahead": 24 * HOUR_NS, "behind": -24 * HOUR_NS})

    def requests(now):
        return [ill(Call("web", "GET /stock", 4.0, (Call("stock", "look", 10.0, log="looked"),)), now), *others]

    traffic(right, START_NS, end_ns, 10.0, requests, lambda _: {(name, CPU): 0.2 for name in ("web", "stock", *names)})
    strangers = [Call(name, "serve", 10.0, log="served") for name in ("ahead", "behind")]
    traffic(wrong, START_NS, end_ns, 1.0, lambda _: strangers, lambda _: {(name, CPU): 0.2 for name in ("ahead", "behind")})
    settings = EngineSettings(rows=False, live=True)
    _, alone = run(right, seconds=5.0, settings=settings)
    engine = Engine(Strings(), Resources(), settings)
    both = merge(right.exports(5.0), wrong.exports(5.0), key=lambda export: export[0])
    published = [*feed(engine, both), *engine.finish()]
    assert {incident.finding.root for incident in alone} == {"stock"}
    assert story(published) == story(alone)
    assert engine.inbox.dropped["spans", "too_late"] > 0


@pytest.mark.parametrize("second", [1110, 1160])
def test_after_a_kill_the_incident_that_lives_goes_on_under_its_id(second):
    cut_ns = START_NS + second * SECOND_NS
    exports = list(shop().exports(5.0))
    _, whole = run(shop())
    before = Engine(Strings(), Resources(), EngineSettings(rows=False))
    first = list(feed(before, (one for one in exports if one[0] <= cut_ns)))
    (live,) = before.snapshot.incidents
    after = Engine(Strings(), Resources(), EngineSettings(rows=False))
    after.restore(before.state())
    assert [one.id for one in after.snapshot.incidents] == [live.id]
    rest = [*feed(after, (one for one in exports if one[0] > cut_ns)), *after.finish()]
    assert {one.id for one in (*first, *rest)} == {one.id for one in whole} == {live.id}
    assert {one.finding.root for one in (*first, *rest)} == {"stock"}
