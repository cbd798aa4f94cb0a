"""The contract, seen through a real Collector with the shipped configuration."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporter.receiver.grpc import METHODS
from exporter.receiver.settings import DeskSettings, GrpcSettings, TlsFiles
from tests.collector import CONFIGS, UNBUFFERED, collector, validate
from tests.receiving import LOGS, Remembers, logs_request, make_certificate, running
from tests.servers import free_port, wait_until

pytestmark = pytest.mark.server

AT = 1_700_000_000_000_000_000
FAST = "yaml:exporters::otlp_grpc/whence::retry_on_failure::initial_interval: 50ms"


def span_request(end_ns: int = AT) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"t" * 16, b"s" * 8, "op"
    span.start_time_unix_nano, span.end_time_unix_nano = AT, end_ns
    return request


def metric_request() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = "m"
    point = metric.gauge.data_points.add()
    point.time_unix_nano, point.as_double = AT, 1.5
    return request


@pytest.mark.parametrize(
    "files",
    [(name,) if name == "collector.yaml" else ("collector.yaml", name) for name in sorted(path.name for path in CONFIGS.glob("*.yaml"))],
)
def test_every_shipped_configuration_is_valid(files, tmp_path):
    found = validate(
        files, {"TO_WHENCE_TOKEN_FILE": str(tmp_path / "token"), "TO_WHENCE_CA_FILE": str(make_certificate(tmp_path, "whence")[1])}
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("files", [("collector.yaml",), ("collector.yaml", "same-host.yaml")])
def test_all_signals_pass_through_the_shipped_configuration(files, tmp_path):
    with running() as receiver, collector(tmp_path, receiver.grpc.port, files=files) as sender:
        with sender.channel() as channel:
            for method, request in zip(METHODS, (span_request(), logs_request(200), metric_request()), strict=False):
                channel.unary_unary(method)(request.SerializeToString(), timeout=20)
        assert receiver.intake.wait_for("spans", 1)
        assert receiver.intake.wait_for("points", 1)
        assert receiver.intake.wait_for("logs", 200)
        assert receiver.count("rca_receiver_items_total", transport="grpc", signal="logs") == 200
        assert "error" not in sender.log()


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_http_is_taken_and_retried_from_the_collector_too(tmp_path, encoding):
    exporter = f"{{endpoint: 'http://127.0.0.1:%d', encoding: {encoding}, sending_queue: {{enabled: false}}}}"
    with running(desk=DeskSettings(retry_after_seconds=1)) as receiver:
        extra = (
            f"yaml:exporters::otlp_http/whence: {exporter % receiver.http.port}",
            "yaml:service::pipelines::logs::exporters: [otlp_http/whence]",
        )
        with collector(tmp_path, receiver.grpc.port, *extra) as sender:
            receiver.intake.refuse_next = 1
            sender.send(logs_request(100))
            assert receiver.intake.wait_for("logs", 100)
            assert (receiver.refused("http", "busy"), receiver.count("rca_receiver_items_total", transport="http", signal="logs")) == (
                1,
                100,
            )


def test_unavailable_with_retry_info_is_sent_again_and_nothing_is_lost(tmp_path):
    with running(desk=DeskSettings(retry_after_seconds=1)) as receiver, collector(tmp_path, receiver.grpc.port, UNBUFFERED, FAST) as sender:
        receiver.intake.refuse_next, receiver.intake.busy_next = 5, 3
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: sender.send(logs_request(10)), range(20)))
        assert receiver.intake.items()["logs"] == 200
        assert (receiver.intake.refused, receiver.refused("grpc", "busy")) == (8, 8)
        assert sender.log().count("Will retry the request after interval") == 8
        assert "Dropping" not in sender.log()


def test_an_error_of_our_own_loses_nothing_either(tmp_path):
    with running(desk=DeskSettings(retry_after_seconds=1)) as receiver, collector(tmp_path, receiver.grpc.port, FAST) as sender:
        receiver.intake.error = KeyError("ours")
        sender.send(logs_request(10))
        assert wait_until(lambda: receiver.refused("grpc", "bug") >= 1)
        receiver.intake.error = None
        assert receiver.intake.wait_for("logs", 10)
        assert "Dropping" not in sender.log()


def test_what_is_queued_while_whence_is_away_arrives_when_it_is_back(tmp_path):
    port = free_port()
    with collector(tmp_path, port, FAST) as sender:
        sender.send(logs_request(10))
        assert wait_until(lambda: "Will retry the request after interval" in sender.log())
        with running(grpc_settings=GrpcSettings(f"127.0.0.1:{port}")) as receiver:
            assert receiver.intake.wait_for("logs", 10, 60.0)


def test_what_is_malformed_is_dropped_once_and_the_connection_lives_on(tmp_path):
    with running() as receiver, collector(tmp_path, receiver.grpc.port, UNBUFFERED) as sender, sender.channel() as channel:
        traces = channel.unary_unary(next(iter(METHODS)))
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                traces(span_request(end_ns=(1 << 63) + 5).SerializeToString(), timeout=20)
            traces(span_request().SerializeToString(), timeout=20)
        assert (receiver.refused("grpc", "malformed"), receiver.all_refused()) == (3, 3)
        assert receiver.intake.items()["spans"] == 3
        assert "Will retry" not in sender.log()


@pytest.mark.parametrize("compression", ["zstd", "snappy"])
def test_compression_other_than_gzip_is_refused_and_counted(tmp_path, compression):
    chosen = f"yaml:exporters::otlp_grpc/whence::compression: {compression}"
    with running() as receiver, collector(tmp_path, receiver.grpc.port, UNBUFFERED, chosen) as sender:
        with pytest.raises(grpc.RpcError):
            sender.send(logs_request(500))
        assert wait_until(lambda: receiver.all_refused() == 1)
        assert receiver.intake.items()["logs"] == 0


def test_a_wrong_token_is_unauthenticated_and_the_right_one_passes(tmp_path):
    token, (key, certificate) = tmp_path / "token", make_certificate(tmp_path, "whence")
    files = "collector.yaml", "token.yaml"
    environment = {"TO_WHENCE_TOKEN_FILE": str(token), "TO_WHENCE_CA_FILE": str(certificate)}
    settings = GrpcSettings("127.0.0.1:0", tls=TlsFiles(str(certificate), str(key)))
    with running(desk=DeskSettings(bearer_token="right"), grpc_settings=settings) as receiver:
        for said, taken in (("wrong", 0), ("right", 10)):
            token.write_text(said)
            with collector(tmp_path, receiver.grpc.port, files=files, environment=environment) as sender:
                sender.send(logs_request(10))
                if taken:
                    assert receiver.intake.wait_for("logs", taken)
                else:
                    assert wait_until(lambda log=sender.log: "Unauthenticated" in log() and "Dropping data" in log())
                    assert receiver.refused("grpc", "token") == 1


def test_ten_thousand_exports_with_hints_pending_give_at_most_six_warnings(tmp_path):
    exports, hints = 10_000, [f"no service.version on s{at}: deploys are invisible" for at in range(40)]
    intake = Remembers()
    intake.hints = hints
    raw = logs_request(1).SerializeToString()
    with running(intake) as receiver, collector(tmp_path, receiver.grpc.port, UNBUFFERED) as sender, sender.channel() as channel:
        call = channel.unary_unary(LOGS)
        flying = []
        for _ in range(exports):
            flying.append(call.future(raw, timeout=60))
            if len(flying) == 64:
                flying.pop(0).result()
        for each in flying:
            each.result()
        assert receiver.intake.items()["logs"] == exports
        warnings = re.findall(r"Partial success", sender.log())
        assert 1 <= len(warnings) <= 6
        assert sum(sender.log().count(hint) for hint in hints) == 6


def test_pings_without_data_get_their_acks_and_no_goaway():
    def frame(kind, flags, payload, stream=0):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    with running() as receiver, socket.create_connection(("127.0.0.1", receiver.grpc.port), 10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, b""))
        pings, acks, got = 20, 0, b""
        connection.sendall(b"".join(frame(6, 0, at.to_bytes(8, "big")) for at in range(pings)))
        while acks < pings:
            got += connection.recv(1 << 16)
            while len(got) >= 9 and len(got) >= 9 + int.from_bytes(got[:3], "big"):
                size, kind, flags = int.from_bytes(got[:3], "big"), got[3], got[4]
                assert kind != 7, f"GOAWAY: {got[9 : 9 + size]!r}"
                acks += kind == 6 and flags == 1
                got = got[9 + size :]
        assert acks == pings


def test_the_shipped_stanza_is_the_one_that_a_pipeline_of_each_signal_uses():
    config = yaml.safe_load((CONFIGS / "collector.yaml").read_text())
    assert list(config["exporters"]) == ["otlp_grpc/whence"]
    assert {name: pipeline["exporters"] for name, pipeline in config["service"]["pipelines"].items()} == {
        signal: ["otlp_grpc/whence"] for signal in ("traces", "metrics", "logs")
    }
