"""`whence serve`: takes, keeps, tells; stops cleanly, and loses nothing acknowledged when it cannot."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.records import SECOND_NS, Batch
from engine.strings import Resources, Strings
from exporter import config
from exporter.__main__ import main
from exporter.decode.json import decode_json
from exporter.hints import Hints
from exporter.intake import Arrived, BoundedIntake, Question
from exporter.metrics import Metrics
from exporter.receiver.intake import Busy
from exporter.reload import StartError
from exporter.sections import Config
from exporter.service import Service
from exporter.store import Store
from exporter.times import parse_time
from tests.findings import change, incident, resolved
from tests.grafana_server import TOKEN, Grafana
from tests.otlp_values import deployment, spans
from tests.serving import ROOT, Serving, call, settings

NOW_NS = time.time_ns()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """One in this process."""
    made = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    made.start()
    yield made
    if made.state != "stopped":
        made.stop()


def loaded(folder: Path) -> Config:
    return config.load(str(settings(folder)), {})


# ------------------------------------------------------------ the process


def test_what_is_sent_is_seen_in_status_page_and_metrics_and_kept_over_a_restart(tmp_path: Path) -> None:
    file = settings(tmp_path)
    with Serving(file) as whence:
        assert call(f"{whence.http}/v1/traces", spans("cart", NOW_NS, 300))[0] == 200
        assert call(f"{whence.http}/v1/logs", deployment("cart", NOW_NS, "d-1"))[0] == 200
        assert [one["id"] for one in call(f"{whence.web}/api/v1/changes")[1]["changes"]] == ["d-1"]
        status = call(f"{whence.web}/api/v1/status")[1]
        assert (status["state"], status["received"]) == ("ready", {"traces": 300, "logs": 1, "metrics": 0})
        assert "whence" in call(f"{whence.web}/")[1]
        assert 'rca_receiver_items_total{signal="traces",transport="http"} 300.0' in call(f"{whence.web}/metrics")[1]
        assert whence.stop() == 0
    assert (tmp_path / "data" / "state.npz").exists()
    with Serving(file) as whence:
        whence.wait_for(re.compile('event="state restored"'))
        assert [one["id"] for one in call(f"{whence.web}/api/v1/changes")[1]["changes"]] == ["d-1"]
        assert whence.stop() == 0


def test_kill_9_loses_no_acknowledged_change(tmp_path: Path) -> None:
    file = settings(tmp_path)
    acknowledged: list[str] = []
    with Serving(file) as whence:

        def announce(lane: int) -> None:
            at = 0
            while True:
                try:
                    status, answer = call(f"{whence.web}/api/v1/changes", {"type": "deployment", "id": f"c{lane}-{at}"})
                except OSError:
                    return
                assert status == 201
                acknowledged.extend(answer["ids"])
                at += 1

        lanes = [threading.Thread(target=announce, args=(lane,)) for lane in range(4)]
        for lane in lanes:
            lane.start()
        while len(acknowledged) < 100 and whence.process.poll() is None:
            lanes[0].join(0.01)
        whence.send(signal.SIGKILL)
        for lane in lanes:
            lane.join()
        whence.process.wait()
    with Serving(file) as whence:
        kept = {one["id"] for one in call(f"{whence.web}/api/v1/changes?limit=1000")[1]["changes"]}
    assert len(acknowledged) >= 100
    assert set(acknowledged) <= kept


def test_a_taken_port_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = {"WHENCE_RECEIVER__GRPC__ENDPOINT": f"127.0.0.1:{port}"}
        with pytest.raises(AssertionError, match=rf"ended with 2: whence: receiver\.grpc\.endpoint: 127\.0\.0\.1:{port} is taken"):
            Serving(settings(tmp_path), environ).__enter__()


def test_a_certificate_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    file = settings(tmp_path)
    tls = f"tls: {{cert_file: {tmp_path}/cert.pem, key_file: {tmp_path}/key.pem}}"
    file.write_text(file.read_text().replace("http: {", f"http: {{{tls}, "))
    with pytest.raises(StartError, match=r"^receiver\.http\.tls: .*cert\.pem"):
        Service(config.load(str(file), {}), load=lambda: loaded(tmp_path), stdout=io.BytesIO())


def test_wrong_settings_stop_the_start_and_are_named(tmp_path: Path) -> None:
    file = settings(tmp_path)
    file.write_text("recievers: {}\nengine: {window_seconds: -1}\n")
    expected = r"(?s)ended with 2: whence: engine\.window_seconds: must be greater.*whence: recievers: unknown setting"
    with pytest.raises(AssertionError, match=expected):
        Serving(file).__enter__()


def test_sighup_reloads_tokens_and_a_broken_file_leaves_the_old_ones(tmp_path: Path) -> None:
    file = settings(tmp_path)
    with Serving(file) as whence:
        text = file.read_text()
        file.write_text(text.replace("web: {", "web: {auth: {bearer_token: one}, "))
        whence.send(signal.SIGHUP)
        whence.wait_for(re.compile('event="settings reloaded" restart_required=nothing'))
        assert call(f"{whence.web}/api/v1/status")[0] == 401
        assert call(f"{whence.web}/api/v1/status", token="one")[0] == 200
        file.write_text("web: {auth: 3}")
        assert call(f"{whence.web}/-/reload", token="one", method="POST") == (
            400,
            {
                "error": {"field": "web.auth", "message": "must be a mapping, however: 3"},
                "problems": ["web.auth: must be a mapping, however: 3"],
            },
        )
        assert "rca_config_last_reload_successful 0.0" in call(f"{whence.web}/metrics")[1]
        assert call(f"{whence.web}/api/v1/status", token="one")[0] == 200
        file.write_text(text + "engine: {window_seconds: 20}\n")
        assert call(f"{whence.web}/-/reload", token="one", method="POST")[0] == 200
        assert call(f"{whence.web}/readyz?verbose")[1] == {"ready": True, "degraded": ["settings: restart for engine.window_seconds"]}
        assert whence.stop() == 0


@pytest.mark.slow
def test_findings_of_a_recorded_failure_leave_by_log_annotation_store_and_metrics(tmp_path: Path) -> None:
    grafana = Grafana()
    file = settings(tmp_path)
    sinks = f"sinks: {{annotations: {{url: {grafana.url}, token: {TOKEN}}}}}\ntrainer: {{enabled: false}}\n"
    file.write_text(file.read_text() + sinks)
    with Serving(file) as whence:
        assert main(["replay", str(ROOT / "exporter" / "recordings" / "petshop"), "--to", whence.grpc]) == 0
        assert whence.stop() == 0
    lines = [json.loads(line) for line in whence.out.read_text().splitlines()]
    last = {line["id"]: line["state"] for line in lines}
    assert last
    store = Store(tmp_path / "data")
    assert {one.id: one.state.value for one in store.incidents()} == last
    changes = {one.id for one in store.changes(limit=1000) if not one.inferred}
    store.close()
    regions = [one["tags"][1] for one in grafana.annotations.values() if one["tags"][1].startswith("incident:")]
    points = [one["tags"][1] for one in grafana.annotations.values() if one["tags"][1].startswith("change:")]
    assert sorted(regions) == sorted(f"incident:{name}" for name in last)
    assert sorted(points) == sorted(f"change:{name}" for name in changes)
    for one in grafana.annotations.values():
        name = one["tags"][1].removeprefix("incident:")
        if last.get(name) == "resolved":
            resolved_line = next(line for line in lines if line["id"] == name and line["state"] == "resolved")
            assert one["timeEnd"] == parse_time(resolved_line["resolved"]) // 10**6
    grafana.stop()


# ------------------------------------------------------------ life of the service


def test_an_incident_that_was_open_is_open_after_a_restart_and_a_closed_one_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    open_one, closed = incident("open"), resolved(incident("closed"))
    store.close_windows(open_one.updated_ns, [open_one, closed]).result()
    store.close()
    service = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    assert [one.id for one in service.snapshot.incidents] == ["open"]
    service.start()
    service.stop()
    again = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    assert [repr(one) for one in again.snapshot.incidents] == [repr(open_one)]
    again.start()
    again.stop()


def test_the_store_is_believed_where_it_is_newer_than_the_state(tmp_path: Path) -> None:
    service = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    service.engine.resume([incident("one"), incident("two")])
    service.start()
    service.stop()  # saves both as open
    store = Store(tmp_path / "data")
    later = replace(incident("two"), updated_ns=incident("two").updated_ns + SECOND_NS, acknowledged=True)
    store.close_windows(1, [resolved(incident("one")), later]).result()
    store.close()
    again = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    assert [(one.id, one.acknowledged) for one in again.snapshot.incidents] == [("two", True)]
    again.start()
    again.stop()


def test_a_damaged_state_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.npz").write_bytes(b"PK\x03\x04 and then nothing")
    service = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    service.start()
    assert service.readiness() == (
        True,
        [f"state: {tmp_path}/data/state.npz is damaged: File is not a zip file; set aside as state.damaged, learning starts anew"],
    )
    assert 'rca_degraded{reason="state"} 1.0' in service.exposition("")[0].decode()
    service.stop()
    assert (tmp_path / "data" / "state.damaged").exists()


def test_while_draining_senders_are_told_to_come_again(service: Service) -> None:
    endpoint = service.listeners.addresses["http"]
    web = f"http://{service.listeners.addresses['web']}"
    assert call(f"http://{endpoint}/v1/traces", spans("cart", NOW_NS))[0] == 200
    assert call(f"{web}/readyz") == (200, "ready\n")
    service.desk.draining = True
    service.state = "draining"
    assert call(f"http://{endpoint}/v1/traces", spans("cart", NOW_NS))[0] == 503
    assert call(f"{web}/readyz") == (503, "not ready\n")
    assert call(f"{web}/healthz") == (200, "ok\n")


def test_what_was_accepted_before_the_stop_is_worked_off(tmp_path: Path) -> None:
    service = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    service.start()
    endpoint = service.listeners.addresses["http"]
    for at in range(50):
        assert call(f"http://{endpoint}/v1/traces", spans("cart", NOW_NS + at, 20))[0] == 200
    assert service.stop()
    assert service.metrics.value("rca_engine_batches_total") == 50
    assert service.intake.in_flight_bytes == 0


def test_only_steps_that_close_a_window_count_as_such(tmp_path: Path) -> None:
    service = Service(loaded(tmp_path), load=lambda: loaded(tmp_path), stdout=io.BytesIO())
    service.start()
    endpoint = service.listeners.addresses["http"]
    for seconds in (0, 1, 2, 40, 40):  # at 40 s windows are known to be over
        assert call(f"http://{endpoint}/v1/traces", spans("cart", NOW_NS - 60 * SECOND_NS + seconds * SECOND_NS))[0] == 200
    assert service.stop()
    assert service.metrics.registry.get_sample_value("rca_engine_window_close_seconds_count") == 1


def test_a_broken_batch_costs_only_itself(service: Service) -> None:
    good = decode_json(spans("cart", NOW_NS, 5), service.strings, service.resources)
    assert good.spans is not None
    bad = Batch(spans=replace(good.spans, parent=np.zeros(2, np.uint64)))
    with pytest.raises(RuntimeError, match="unequal length: SpanColumns"):
        service.intake.put(bad, 0)
    service.intake.again(bad, NOW_NS)  # even past that check the engine's thread lives on
    service.ask(NOW_NS - 60 * SECOND_NS, NOW_NS).exception(30)
    assert service.alive()
    assert service.metrics.value("rca_engine_errors_total") == 1


# ------------------------------------------------------------ intake


def an_intake(folder: Path, limit_bytes: int = 1000) -> BoundedIntake:
    return BoundedIntake(
        limit_bytes=limit_bytes,
        store=Store(folder),
        hints=Hints(Resources()),
        metrics=Metrics(),
        watermark_ns=lambda: 0,
        full=lambda: False,
        clock_ns=lambda: NOW_NS,
    )


def test_bytes_in_flight_are_bounded_but_one_request_always_fits(tmp_path: Path) -> None:
    intake = an_intake(tmp_path)
    assert [intake.reserve(5000), intake.reserve(1)] == [True, False]
    intake.release(5000)
    assert [intake.reserve(600), intake.reserve(600), intake.reserve(400)] == [True, False, True]
    intake.drain()
    intake.release(1000)
    assert not intake.reserve(1)
    intake.store.close()


def test_changes_are_stored_before_the_batch_is_taken(tmp_path: Path) -> None:
    intake = an_intake(tmp_path)
    intake.put(Batch(changes=(change("a"),)), 0)
    assert [one.id for one in intake.store.changes()] == ["a"]
    work = intake.take(0)
    assert isinstance(work, Arrived)
    assert [one.id for one in work.batch.changes] == ["a"]
    intake.store.close()
    with pytest.raises(Busy, match="closed"):
        intake.put(Batch(changes=(change("b"),)), 0)
    assert intake.take(0) is None


def test_questions_wait_their_turn(tmp_path: Path) -> None:
    intake = an_intake(tmp_path)
    intake.put(Batch(), 0)
    intake.ask(1, 2)
    assert [type(intake.take(0)) for _ in range(2)] == [Arrived, Question]
    intake.store.close()


# ------------------------------------------------------------ hints


class Telling:
    """Hints about requests in plain values."""

    def __init__(self) -> None:
        self.strings, self.resources = Strings(), Resources()
        self.hints = Hints(self.resources)

    def __call__(self, request: dict[str, object], watermark_ns: int = 0) -> list[str]:
        return self.hints.read(decode_json(json.dumps(request).encode(), self.strings, self.resources), NOW_NS, watermark_ns)


def test_a_service_without_a_version_is_told_after_enough_items() -> None:
    tell = Telling()
    assert tell(spans("cart", NOW_NS, 150)) == []
    assert tell(spans("cart", NOW_NS, 150)) == ["no service.version on cart: deploys are invisible"]
    assert tell(spans("pay", NOW_NS, 300, rooted=False, service_version="1")) == []


def test_a_service_whose_deploys_are_announced_needs_no_version() -> None:
    tell = Telling()
    tell(deployment("cart", NOW_NS, "d"))
    assert tell(spans("cart", NOW_NS, 300)) == []


def test_a_service_whose_spans_never_have_a_parent_is_told() -> None:
    tell = Telling()
    tell(spans("entry", NOW_NS, 10, service_version="1"))
    assert tell(spans("cart", NOW_NS, 300, service_version="1")) == [
        "spans without parents on cart: trace context is not passed on, calls are invisible"
    ]


def test_wrong_clocks_and_nameless_senders_are_told() -> None:
    tell = Telling()
    assert tell(spans("cart", NOW_NS + 86400 * SECOND_NS)) == ["clock ahead on cart: by 24 h; its time counts for nobody"]
    assert tell(spans("cart", NOW_NS - 86400 * SECOND_NS), NOW_NS) == ["data of cart is 24 h behind the others: dropped as too late"]
    assert tell(spans("unknown_service:java", NOW_NS))[0].startswith("unknown_service: some telemetry names no service")


def test_a_hint_stands_for_an_hour_after_its_cause_was_seen() -> None:
    tell = Telling()
    tell(spans("cart", NOW_NS, 300))
    assert [each.kind for each in tell.hints.standing(NOW_NS)] == ["no_version"]
    assert tell.hints.standing(NOW_NS + 3601 * SECOND_NS) == []
