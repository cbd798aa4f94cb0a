"""The web port over real sockets: every answer as documented, errors name the field, nobody can hold it up."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.records import SECOND_NS
from exporter import config
from exporter.service import Service
from exporter.store import Store
from exporter.times import parse_time
from exporter.web import CONNECTIONS_MOST
from tests.findings import ONSET_NS, change, incident, resolved
from tests.otlp_values import spans
from tests.serving import call, settings


def made(folder: Path, more: str = "") -> Service:
    file = settings(folder)
    file.write_text(file.read_text().replace("web: {", f"web: {{timeout_seconds: 2, max_body_kib: 4{more}, "))
    return Service(config.load(str(file), {}), load=lambda: config.load(str(file), {}), stdout=io.BytesIO())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("api")
    store = Store(folder / "data")
    store.add_changes([change("a"), change("b", service="checkout", time_ns=ONSET_NS)], ONSET_NS)
    store.close_windows(ONSET_NS, [incident("open"), resolved(incident("closed"))]).result()
    store.close()
    running = made(folder)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def url(service: Service) -> str:
    return f"http://{service.listeners.addresses['web']}"


def test_incidents_are_listed_by_state(url: str) -> None:
    def ids(query: str) -> list[str]:
        return [one["id"] for one in call(f"{url}/api/v1/incidents{query}")[1]["incidents"]]

    assert ids("") == ["closed", "open"]
    assert (ids("?state=active"), ids("?state=closed"), ids("?limit=1")) == (["open"], ["closed"], ["closed"])
    assert ids("?since=2030-01-01T00:00:00Z") == []


def test_an_incident_is_shown_with_its_evidence(url: str) -> None:
    status, view = call(f"{url}/api/v1/incidents/open")
    assert status == 200
    assert (view["root_cause"], view["change"], view["confidence"], view["onset"]) == ("cart", "deploy-7", 0.9, "2023-11-14T22:13:20.000Z")
    assert view["finding"]["causes"][0] == {"service": "cart", "score": 8.0, "probability": 0.9, "families": [["self_time", 8.0]]}
    assert view["finding"]["evidence"][1]["observed"] is None  # it was NaN, which JSON has not
    assert (view["resolved"], call(f"{url}/api/v1/incidents/closed")[1]["seconds_to_resolve"]) == (None, 600.0)


def test_changes_are_listed_by_time_and_service(url: str) -> None:
    def ids(query: str) -> list[str]:
        return [one["id"] for one in call(f"{url}/api/v1/changes{query}")[1]["changes"] if one["id"] in {"a", "b"}]

    assert ids("") == ["b", "a"]
    assert (ids("?service=cart"), ids("?end=2023-11-14T22:12:20Z"), ids(f"?start={ONSET_NS}")) == (["a"], ["a"], ["b"])


def test_a_change_is_taken_and_at_once_listed(url: str) -> None:
    body = {"type": "deployment", "service": "pay", "version": "7", "time": "2026-01-02T03:04:05Z"}
    status, answer = call(f"{url}/api/v1/changes", body)
    assert status == 201
    assert call(f"{url}/api/v1/changes", body)[1] == answer  # sent twice it is one
    listed = call(f"{url}/api/v1/changes?service=pay")[1]["changes"]
    assert [(one["id"], one["version"], one["time"]) for one in listed] == [(answer["ids"][0], "7", "2026-01-02T03:04:05.000Z")]
    status, answer = call(f"{url}/api/v1/changes", [{"type": "config.change", "id": "x"}, {"type": "deployment", "id": "y"}])
    assert (status, answer) == (201, {"ids": ["x", "y"]})


def test_an_explanation_is_of_the_span_that_was_asked_for(url: str, service: Service) -> None:
    now_ns = time.time_ns()
    assert call(f"http://{service.listeners.addresses['http']}/v1/traces", spans("cart", now_ns, 30))[0] == 200
    status, finding = call(f"{url}/api/v1/explain?start={now_ns - 60 * SECOND_NS}&end={now_ns}")
    assert status == 200
    assert (finding["start_ns"], finding["end_ns"]) == (now_ns - 60 * SECOND_NS, now_ns)


def test_feedback_is_kept_and_a_dismissed_incident_closes(url: str, service: Service, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    running = made(tmp_path)
    running.engine.resume([incident("one")])
    running.store.close_windows(1, [incident("one")]).result()
    running.start()
    web = f"http://{running.listeners.addresses['web']}"
    assert call(f"{web}/api/v1/incidents/one/feedback", {"verdict": "confirm", "service": "cart"})[1]["acknowledged"] is True
    assert call(f"{web}/api/v1/incidents/one/feedback", {"verdict": "dismiss", "note": "a load test"})[1]["state"] == "resolved"
    running.store.close_windows(1, []).result()
    view = call(f"{web}/api/v1/incidents/one")[1]
    assert [(told["verdict"], told["service"], told["note"]) for told in view["feedback"]] == [
        ("confirm", "cart", ""),
        ("dismiss", "", "a load test"),
    ]
    running.stop()


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/nothing", None, 404, "path"),
        ("/api/v1/incidents/none", None, 404, "id"),
        ("/api/v1/incidents/", None, 404, "path"),
        ("/api/v1/incidents?state=odd", None, 400, "state"),
        ("/api/v1/incidents?stat=active", None, 400, "stat"),
        ("/api/v1/incidents?limit=0", None, 400, "limit"),
        ("/api/v1/incidents?limit=-1", None, 400, "limit"),
        ("/api/v1/incidents?since=tomorrow", None, 400, "since"),
        ("/api/v1/explain", None, 400, "start"),
        ("/api/v1/explain?start=1", None, 400, "end"),
        ("/api/v1/explain?start=5&end=5", None, 400, "end"),
        ("/api/v1/explain?start=0&end=1700000000", None, 400, "end"),
        ("/api/v1/status", {}, 405, "method"),
        ("/api/v1/changes", [], 201, ""),
        ("/api/v1/changes", {}, 400, "change"),
        ("/api/v1/changes", {"type": "deployment", "sevice": "cart"}, 400, "change"),
        ("/api/v1/changes", [{"type": "deployment", "id": "z"}, {"type": "deploy"}], 400, "[1].type"),
        ("/api/v1/changes", 3, 400, "change"),
        ("/api/v1/changes", [{"type": "deployment"}] * 1001, 413, "body"),
        ("/api/v1/incidents/open/feedback", {"verdict": "maybe"}, 400, "verdict"),
        ("/api/v1/incidents/open/feedback", {"verdict": "confirm", "x": 1}, 400, "x"),
        ("/api/v1/incidents/open/feedback", [], 400, "body"),
    ],
)
def test_an_error_names_the_field(url: str, path: str, body: Any, status: int, field: str) -> None:
    answered, told = call(url + path, body)
    assert (answered, told.get("error", {}).get("field", "")) == (status, field)


def test_a_body_that_is_no_json_or_of_another_type_is_refused(url: str) -> None:
    assert call(f"{url}/api/v1/changes", raw=b"{")[1]["error"]["field"] == "body"
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("POST", "/api/v1/changes", b'{"type": "deployment"}', {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 415
    connection.close()


def raw(service: Service, sent: bytes, seconds: float = 10.0) -> bytes:
    """What comes back for bytes sent as they are, until the other side closes."""
    host, _, port = service.listeners.addresses["web"].rpartition(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"POST /api/v1/changes HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /api/v1/changes HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /api/v1/changes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"GET /api/v1/status?" + b"&".join(b"a%d=1" % at for at in range(30)) + b" HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
    ],
)
def test_malformed_requests_get_their_answer_and_the_next_good_one_succeeds(service: Service, url: str, sent: bytes, status: bytes) -> None:
    answer = raw(service, sent)
    assert answer.split(b" ")[1] == status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert call(f"{url}/healthz") == (200, "ok\n")


def test_a_request_that_trickles_is_cut_off(service: Service, url: str) -> None:
    host, _, port = service.listeners.addresses["web"].rpartition(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), 20) as slow:
        slow.settimeout(0.3)
        cut = False
        while not cut and time.monotonic() - began < 15:
            try:
                slow.sendall(b"G")
                cut = slow.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                cut = True
    assert cut
    assert 1.5 < time.monotonic() - began < 10


def test_too_many_connections_are_closed_and_those_that_go_make_room(service: Service, url: str) -> None:
    host, _, port = service.listeners.addresses["web"].rpartition(":")
    held = [socket.create_connection((host, int(port)), 20) for _ in range(CONNECTIONS_MOST + 5)]
    refused = 0
    for each in held:
        each.settimeout(0.05)
        try:
            refused += each.recv(1) == b""
        except TimeoutError:
            continue
        except OSError:
            refused += 1
    for each in held:
        each.close()
    assert refused >= 5
    for _ in range(200):
        try:
            assert call(f"{url}/healthz")[0] == 200
            break
        except OSError:
            time.sleep(0.01)  # the threads of the closed connections end


def test_with_a_token_the_api_is_closed_but_health_metrics_and_page_are_not(tmp_path: Path) -> None:
    running = made(tmp_path, ", auth: {bearer_token: hush}")
    running.start()
    web = f"http://{running.listeners.addresses['web']}"
    assert [call(web + path)[0] for path in ("/", "/metrics", "/healthz", "/readyz")] == [200, 200, 200, 200]
    for path, body in (("/api/v1/status", None), ("/api/v1/changes", {"type": "deployment"}), ("/-/reload", {})):
        assert [call(web + path, body, token=token)[0] for token in ("", "hus", "hushh")] == [401, 401, 401]
    assert call(f"{web}/api/v1/status", token="hush")[0] == 200
    running.stop()


def test_paths_do_not_grow_the_metrics(service: Service, url: str) -> None:
    for at in range(20):
        call(f"{url}/api/v1/incidents/made-up-{at}")
        call(f"{url}/made-up-{at}")
    paths = {labels["path"] for labels, _ in service.metrics.values("rca_web_requests_total")}
    assert {"/api/v1/incidents/{id}", ""} <= paths
    assert not any("made-up" in path for path in paths)


def test_head_is_answered_without_a_body(service: Service) -> None:
    answer = raw(service, b"HEAD /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2023-11-14T22:13:20Z", ONSET_NS),
        ("2023-11-14T23:13:20+01:00", ONSET_NS),
        ("2023-11-14T22:13:20.123456789Z", ONSET_NS + 123456789),
        ("1700000000", ONSET_NS),
        ("1700000000.5", ONSET_NS + SECOND_NS // 2),
        ("1700000000000", ONSET_NS),
        ("1700000000000000000", ONSET_NS),
    ],
)
def test_times(text: str, expected_ns: int) -> None:
    assert parse_time(text) == expected_ns


@pytest.mark.parametrize("text", ["", "now", "-5", "99999999999999999999999", "2023-13-01T00:00:00Z", "9999-01-01", "1e9"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_time(text)
