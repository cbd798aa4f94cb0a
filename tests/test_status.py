"""Is it working? The same view for the terminal, the page and programs."""

from __future__ import annotations

import json

from engine.records import SECOND_NS, Snapshot
from exporter.hints import Hint
from exporter.metrics import Metrics
from exporter.receiver.counters import Counters
from exporter.status import Status, status_text, status_view
from tests.findings import ONSET_NS, incident, snapshot

LISTENING = {"web": "127.0.0.1:4319", "grpc": "127.0.0.1:4317", "http": "127.0.0.1:4318"}


def view(shown: Snapshot, *hints: Hint) -> Status:
    metrics = Metrics()
    counters = Counters(metrics.registry)
    counters.items.labels("grpc", "traces").inc(1400)
    counters.items.labels("http", "traces").inc(3)
    counters.dropped.labels("no_time").inc(2)
    metrics.count("rca_sink_dropped_total", 4, sink="annotations", reason="queue_full")
    metrics.set("rca_sink_up", 0, sink="annotations")
    return status_view(
        shown,
        hints=hints,
        metrics=metrics,
        state="ready",
        version="0.1.0",
        listening=LISTENING,
        degraded=["sink annotations: down"],
        started_ns=ONSET_NS - 7200 * SECOND_NS,
        now_ns=ONSET_NS + 90 * SECOND_NS,
    )


NO_VERSION = Hint("checkout", "no_version", "no service.version on checkout: deploys are invisible")


def test_it_says_what_arrives_from_whom_learning_drops_and_hints() -> None:
    expected = """\
whence 0.1.0: ready, up 2 h
listening: web 127.0.0.1:4319, grpc 127.0.0.1:4317, http 127.0.0.1:4318
degraded: sink annotations: down
decided up to: 2023-11-14T22:14:20.000Z (30 s ago)
received: 1403 spans, 0 logs, 0 metric points

incident          state  severity  since                     root cause  sure  title
5ca1ab1e00000001  open   critical  2023-11-14T22:13:20.000Z  cart        90%   cart: slower by itself since deploy-7

service   spans  logs  points  first seen                last seen  learnt  version
cart      900    30    0       2023-11-14T21:13:20.000Z  now        ready   2.3.0
checkout  500    0     12      2023-11-14T22:12:20.000Z  now        25 %    -

dropped           reason      count
spans             too_late    2
received          no_time     2
sink annotations  queue_full  4

hints:
  no service.version on checkout: deploys are invisible"""
    assert status_text(view(snapshot(incident()), NO_VERSION)) == expected


def test_before_anything_arrives_it_says_what_to_do() -> None:
    text = status_text(view(Snapshot()))
    assert "Nothing has arrived yet. Point a Collector's otlp exporter at the gRPC or HTTP address above." in text
    assert "no open incident" in text


def test_a_hint_stands_at_its_service_and_many_of_one_kind_are_one_sentence() -> None:
    status = view(snapshot(), NO_VERSION, *(Hint(f"s{at}", "no_version", f"no service.version on s{at}: ...") for at in range(9)))
    assert [service["hints"] for service in status["services"]] == [[], [NO_VERSION.text, "no service.version"]]
    assert status["hints"] == ["no service.version on 10 services (checkout, s0, s1, ...): deploys are invisible"]


def test_a_service_without_traces_is_told_what_stays_unseen() -> None:
    shown = snapshot()
    blind = Snapshot(watermark_ns=shown.watermark_ns, services=(shown.services[0].__class__("db", 0, 0, 5, 0, ONSET_NS, 1.0, ""),))
    assert view(blind)["hints"] == ["no traces from db: what happens inside it stays unseen"]


def test_the_view_is_json() -> None:
    assert json.loads(json.dumps(view(snapshot(incident())))) == view(snapshot(incident()))


def test_it_says_loudly_that_plain_parts_run_instead_of_compiled_ones() -> None:
    def lines(decoder: str, kernels: str) -> list[str]:
        metrics = Metrics()
        metrics.set("rca_build_info", 1, version="0.1.0", decoder=decoder, kernels=kernels)
        shown = status_view(
            Snapshot(), hints=[], metrics=metrics, state="ready", version="0.1.0", listening={}, degraded=[], started_ns=0, now_ns=1
        )
        return [line.partition(",")[0] for line in status_text(shown).splitlines() if line.startswith(("decoder", "kernels"))]

    assert lines("plain", "plain") == ["kernels: plain", "decoder: plain"]
    assert lines("walker", "compiled") == []
