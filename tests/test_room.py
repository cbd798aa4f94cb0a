"""More items than may wait: windows close sooner, then senders wait; nothing that was acknowledged is dropped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.pipeline import Engine
from engine.records import MINUTE_NS, SECOND_NS
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from tests.collector import UNBUFFERED, collector
from tests.otlp import to_protobuf
from tests.otlp_values import spans
from tests.servers import wait_until
from tests.serving import Serving, call, settings

START_NS = 1_700_000_040 * SECOND_NS
ROOM = 1000
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Fed:
    """An engine with little room, and what it was given."""

    def __init__(self) -> None:
        self.strings, self.resources = Strings(), Resources()
        self.engine = Engine(self.strings, self.resources, EngineSettings(live=True, rows=False, waiting_items=ROOM))
        self.sent = 0

    def __call__(self, request: dict[str, Any], received_ns: int) -> None:
        batch = decode_json(request, self.strings, self.resources)
        assert batch.spans is not None
        self.sent += len(batch.spans.time_ns)
        self.engine.observe(batch, received_ns)

    def taken(self) -> int:
        """Spans that windows had."""
        return sum(status.spans for status in self.engine.snapshot.services)

    def counters(self) -> dict[str, float]:
        return {name: value for name, _, value in self.engine.snapshot.counters}


def test_windows_close_sooner_and_everything_is_in_one() -> None:
    fed = Fed()
    for second in range(120):  # 200 spans a second: twenty seconds of them are four times the room, a window is two
        now_ns = START_NS + second * SECOND_NS
        for service in ("cart", "stock"):
            fed(spans(service, now_ns, 40), now_ns)
        assert fed.engine.inbox.items <= ROOM + 40
        assert not fed.engine.full
    assert fed.counters()["rca_engine_hurried_total"] > 0
    fed.engine.finish()
    assert (fed.taken(), fed.sent, fed.engine.snapshot.dropped) == (fed.sent, 9600, ())


@pytest.mark.parametrize("off_ns", [-8 * MINUTE_NS, 30 * MINUTE_NS])
def test_a_slow_sender_or_a_wrong_clock_does_not_hold_the_room(off_ns: int) -> None:
    fed = Fed()
    for second in range(300):
        now_ns = START_NS + second * SECOND_NS
        for service in ("cart", "stock", "web"):
            fed(spans(service, now_ns, 10), now_ns)
        fed(spans("off", now_ns + off_ns, 10), now_ns)
        assert fed.engine.inbox.items <= ROOM + 40
    fed.engine.finish()
    ahead = sum(count for _, reason, count in fed.engine.snapshot.dropped if reason == "spans_ahead")
    assert fed.taken() + ahead == fed.sent
    assert (ahead > 0) == (off_ns > 0)
    assert {status.service: status.spans for status in fed.engine.snapshot.services}["cart"] == 3000


def test_a_window_that_alone_is_too_large_waits_for_its_end() -> None:
    fed = Fed()
    for at in range(5):
        fed(spans("cart", START_NS + at * 10**6, 500), START_NS)
    assert fed.engine.full
    fed.engine.advance(START_NS + SECOND_NS)
    assert fed.engine.full  # its end is not there yet
    fed.engine.advance(START_NS + 11 * SECOND_NS)
    assert not fed.engine.full
    assert (fed.taken(), fed.engine.snapshot.dropped) == (2500, ())


@pytest.mark.server
def test_a_real_collector_sends_again_what_found_no_room(tmp_path: Path) -> None:
    file = settings(tmp_path, ", retry_after_seconds: 1")
    file.write_text(file.read_text() + f"engine: {{waiting_items: {ROOM}, window_seconds: 2}}\n")
    with Serving(file) as server:

        def counted(name: str) -> float:
            lines = (line.split() for line in call(f"{server.web}/metrics")[1].splitlines())
            return sum(float(words[-1]) for words in lines if words[0].startswith(name))

        with collector(tmp_path, int(server.grpc.rpartition(":")[2]), UNBUFFERED) as sender, sender.channel() as channel:
            export = channel.unary_unary(TRACES)
            for _ in range(8):  # each waits until it was taken
                request = spans("cart", time.time_ns() - SECOND_NS, 400)
                export(to_protobuf(request).SerializeToString(), timeout=60)
            assert wait_until(lambda: counted('rca_service_items_total{service_name="cart",signal="traces"}') == 3200, 60.0)
            assert counted("rca_receiver_refused_requests_total") > 0
            assert counted("rca_engine_dropped_total") == 0
            assert "Dropping" not in sender.log()
