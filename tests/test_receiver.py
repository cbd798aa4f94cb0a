"""The contract with senders, over both transports: each request has its documented answer, is counted, and harms no other."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import random
import socket
import ssl
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import orjson
import pytest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from engine.records import HOUR_NS
from exporter.receiver.answers import CODES, Verdict
from exporter.receiver.grpc import METHODS, GrpcReceiver
from exporter.receiver.hints import Hints
from exporter.receiver.http import PATHS, HttpReceiver
from exporter.receiver.inflate import TooLargeError, inflate
from exporter.receiver.settings import DeskSettings, GrpcSettings, HttpSettings, TlsFiles
from tests.otlp import to_json
from tests.receiving import LOGS, Remembers, channel_to, logs_request, make_certificate, running, send_grpc, send_http
from tests.servers import wait_until

GOOD = logs_request().SerializeToString()
SMALL_LIMIT = DeskSettings(max_message_bytes=1 << 20)
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def receiver():
    with running(desk=SMALL_LIMIT) as started:
        yield started


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_every_signal_is_taken_over_grpc_with_an_empty_answer(receiver, compression):
    with channel_to(receiver) as channel:
        for method in METHODS:
            sent = send_grpc(channel, method, b"" if "Profiles" not in method else b"\x0a\x00" * 600, compression=compression)
            assert (sent.code, sent.reply) == (Code.OK, b"")
        before = receiver.intake.items()["logs"]
        assert send_grpc(channel, LOGS, logs_request(500).SerializeToString(), compression=compression).code == Code.OK
        assert receiver.intake.items()["logs"] == before + 500


@pytest.mark.parametrize("encode", [lambda body: (body, {}), lambda body: (gzip.compress(body), {"Content-Encoding": "gzip"})])
def test_every_signal_is_taken_over_http_in_protobuf_and_json(receiver, encode):
    for path in PATHS:
        for kind, empty in (("application/x-protobuf", b""), ("application/json", b"{}")):
            body, headers = encode(empty)
            assert send_http(receiver.http.port, path, body, headers | {"Content-Type": kind})[0] == 200
    body, headers = encode(to_json(logs_request(5)))
    before = receiver.intake.items()["logs"]
    status, said, reply = send_http(receiver.http.port, "/v1/logs", body, headers | {"Content-Type": "application/json; charset=utf-8"})
    assert (status, said["content-type"], reply) == (200, "application/json", b"{}")
    assert receiver.intake.items()["logs"] == before + 5


def test_a_body_in_chunks_is_taken_and_a_connection_is_used_again(receiver):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.http.port, timeout=10)
    before = receiver.intake.items()["logs"]
    for _ in range(3):
        connection.request("POST", "/v1/logs", iter([GOOD[:7], GOOD[7:]]), {"Content-Type": "application/x-protobuf"}, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    connection.close()
    assert receiver.intake.items()["logs"] == before + 9


def test_without_room_senders_are_told_when_to_come_again_before_anything_is_inflated():
    big = gzip.compress(logs_request(2000).SerializeToString())
    with running(Remembers(limit_bytes=1000), DeskSettings(retry_after_seconds=7)) as receiver, channel_to(receiver) as channel:
        assert len(big) > 1000 or receiver.intake.limit_bytes < 10_000
        sent = send_grpc(channel, LOGS, big)
        assert (sent.code, sent.retry_seconds()) == (Code.UNAVAILABLE, 7)
        status, headers, body = send_http(receiver.http.port, "/v1/logs", big, {"Content-Encoding": "gzip"})
        assert (status, headers["retry-after"], Status.FromString(body).code) == (503, "7", Code.UNAVAILABLE.value[0])
        assert (receiver.refused("grpc", "busy"), receiver.refused("http", "busy")) == (1, 1)
        assert send_grpc(channel, LOGS, GOOD).code == Code.OK
        receiver.intake.busy_next = 1
        assert send_grpc(channel, LOGS, GOOD).retry_seconds() == 7
        assert receiver.intake.held_bytes == 0


def test_an_error_of_our_own_asks_to_come_again_and_gives_the_room_back(caplog):
    with running() as receiver, channel_to(receiver) as channel:
        receiver.intake.error = KeyError("ours")
        for _ in range(3):
            assert send_grpc(channel, LOGS, GOOD).retry_seconds() == 5
        assert send_http(receiver.http.port, "/v1/logs", GOOD)[0] == 503
        assert (receiver.refused("grpc", "bug"), receiver.intake.held_bytes) == (3, 0)
        receiver.intake.error = None
        assert send_grpc(channel, LOGS, GOOD).code == Code.OK
    assert sum("a bug" in record.message for record in caplog.records) == 1


def test_unusable_items_are_told_of_and_the_rest_is_taken():
    request = logs_request(3)
    request.resource_logs[0].scope_logs[0].log_records[1].time_unix_nano = 0
    with running() as receiver, channel_to(receiver) as channel:
        partial = ExportLogsServiceResponse.FromString(send_grpc(channel, LOGS, request.SerializeToString()).reply).partial_success
        assert (partial.rejected_log_records, partial.error_message) == (1, "unusable: 1 no_time")
        reply = send_http(receiver.http.port, "/v1/logs", to_json(request), {"Content-Type": "application/json"})[2]
        assert orjson.loads(reply) == {"partialSuccess": {"errorMessage": "unusable: 1 no_time", "rejectedLogRecords": "1"}}
        assert receiver.intake.items()["logs"] == 4
        assert receiver.count("rca_receiver_dropped_items_total", reason="no_time") == 2
        assert receiver.count("rca_receiver_items_total", transport="grpc", signal="logs") == 2


def test_hints_are_told_once_an_hour_each_and_six_an_hour_in_all():
    with running() as receiver, channel_to(receiver) as channel:
        receiver.intake.hints = [f"no service.version on s{at}" for at in range(10)]

        def told():
            partial = ExportLogsServiceResponse.FromString(send_grpc(channel, LOGS, GOOD).reply).partial_success
            assert partial.rejected_log_records == 0
            return partial.error_message.count("no service.version")

        assert [told() for _ in range(4)] == [6, 0, 0, 0]
        receiver.now_ns += HOUR_NS
        assert [told() for _ in range(3)] == [6, 0, 0]


def test_hints_stay_within_their_budget_for_any_arrivals():
    hints, chance = Hints(6), random.Random(1)
    told, now_ns = [], 0
    for _ in range(3000):
        now_ns += chance.randrange(HOUR_NS // 100)
        said = hints.due([f"s{chance.randrange(40)}: x"], now_ns)
        told += [(now_ns, said)] if said else []
    for at, (time_ns, said) in enumerate(told):
        within = [other for other_ns, other in told[at:] if other_ns - time_ns < HOUR_NS]
        assert len(within) <= 6
        assert within.count(said) == 1


def test_only_the_right_token_opens_and_a_wrong_one_is_logged_loudly(caplog):
    with running(desk=DeskSettings(bearer_token="right")) as receiver, channel_to(receiver) as channel:
        for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "right"),), (("authorization", "Basic right"),)):
            assert send_grpc(channel, LOGS, GOOD, metadata).code == Code.UNAUTHENTICATED
        assert send_grpc(channel, LOGS, GOOD, (("authorization", "Bearer right"),)).code == Code.OK
        status, headers, _ = send_http(receiver.http.port, "/v1/logs", GOOD, {"Authorization": "Bearer wrong"})
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert send_http(receiver.http.port, "/v1/logs", GOOD, {"Authorization": "bearer right"})[0] == 200
        assert (receiver.refused("grpc", "token"), receiver.refused("http", "token")) == (4, 1)
        receiver.desk.replace_token("new")
        assert send_grpc(channel, LOGS, GOOD, (("authorization", "Bearer right"),)).code == Code.UNAUTHENTICATED
        assert send_grpc(channel, LOGS, GOOD, (("authorization", "Bearer new"),)).code == Code.OK
    assert "drops this data for good" in caplog.text
    assert "right" not in caplog.text


def test_health_is_serving_until_it_stops(receiver):
    with channel_to(receiver) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert check.status == health_pb2.HealthCheckResponse.SERVING


def test_while_draining_senders_are_asked_to_come_again():
    with running() as receiver, channel_to(receiver) as channel:
        receiver.desk.draining = True
        assert send_grpc(channel, LOGS, GOOD).retry_seconds() == 5
        assert send_http(receiver.http.port, "/v1/logs", GOOD)[0] == 503


@pytest.mark.parametrize(
    ("build", "setting"),
    [
        (lambda desk, endpoint: GrpcReceiver(desk, settings=GrpcSettings(endpoint)), "receiver.grpc.endpoint"),
        (lambda desk, endpoint: HttpReceiver(desk, settings=HttpSettings(endpoint)), "receiver.http.endpoint"),
    ],
)
def test_a_port_that_cannot_be_had_stops_the_start_and_names_the_setting(receiver, build, setting):
    with pytest.raises(OSError, match=f"{setting}: 127.0.0.1:{receiver.grpc.port} is taken"):
        build(receiver.desk, f"127.0.0.1:{receiver.grpc.port}")
    with pytest.raises(OSError, match=f"{setting}: cannot listen on 203.0.113.7:4317"):
        build(receiver.desk, "203.0.113.7:4317")


def test_a_taken_4317_says_that_a_collector_probably_owns_it(receiver):
    with socket.socket() as owner:
        try:
            owner.bind(("127.0.0.1", 4317))
            owner.listen()
        except OSError:
            pass  # somebody else owns it: as good
        with pytest.raises(
            OSError, match=r"a Collector on this host probably owns port 4317: set receiver.grpc.endpoint to 127.0.0.1:14317"
        ):
            GrpcReceiver(receiver.desk, settings=GrpcSettings())


def test_slow_senders_do_not_hold_the_workers():
    settings = GrpcSettings("127.0.0.1:0", workers=2, read_timeout_seconds=0.5)
    with running(grpc_settings=settings) as receiver, channel_to(receiver) as channel:
        release = threading.Event()

        def never_sends():
            release.wait(30)
            yield b""

        slow = [channel.stream_unary(LOGS).future(never_sends(), timeout=25) for _ in range(2)]
        assert send_grpc(channel, LOGS, GOOD).code == Code.OK
        assert [call.code() for call in slow] == [Code.CANCELLED, Code.CANCELLED]
        release.set()
        # a caller hears of it before the handler, in its own thread, has counted it
        assert wait_until(lambda: receiver.refused("grpc", "unreceived") == 2)


def test_a_slow_body_over_http_is_given_up_and_too_many_connections_are_sent_away():
    settings = HttpSettings("127.0.0.1:0", connections=2, read_timeout_seconds=0.5)
    with running(http_settings=settings) as receiver:
        head = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nabc"
        with (
            socket.create_connection(("127.0.0.1", receiver.http.port), 10) as one,
            socket.create_connection(("127.0.0.1", receiver.http.port), 10) as two,
        ):
            one.sendall(head)
            two.sendall(head)
            with socket.create_connection(("127.0.0.1", receiver.http.port), 10) as three:
                assert three.recv(1000).startswith(b"HTTP/1.1 429 ")
            assert one.recv(1000).startswith(b"HTTP/1.1 408 ")
            assert two.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert send_http(receiver.http.port, "/v1/logs", GOOD)[0] == 200
        assert receiver.refused("http", "crowded") == 1


def test_gzip_of_several_members_inflates_and_a_bomb_does_not():
    assert inflate(gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"
    bomb = gzip.compress(bytes(1 << 20))
    for lie in (bomb, bomb[:-4] + struct.pack("<I", 5), bomb[:-4] + struct.pack("<I", 99)):
        with pytest.raises(TooLargeError):
            inflate(lie, 100)
    with pytest.raises(ValueError):
        inflate(bomb[:-4] + struct.pack("<I", 5), 1 << 21)


def test_two_verdicts_never_share_an_answer_that_means_another():
    assert {verdict for verdict, code in CODES.items() if code.retry} == {Verdict.BUSY, Verdict.CROWDED, Verdict.BUG}
    assert all(code.grpc == Code.UNAVAILABLE and code.http in (429, 503) for code in CODES.values() if code.retry)
    assert all(code.grpc not in (Code.UNKNOWN, Code.UNAVAILABLE) for code in CODES.values() if not code.retry)


def bad_bodies(chance, count):
    """Bodies that are no export, each with the verdict that it must get; gzip or not."""
    good = logs_request(20, "x" * 50).SerializeToString()
    for at in range(count):
        kind = at % 5
        if kind == 0:  # malformed: a wire type that there is not, somewhere
            yield good + bytes([chance.choice((0x0E, 0x0F, 0x1E))]), False, Verdict.MALFORMED
        elif kind == 1:  # truncated
            yield good[: chance.randrange(3, len(good) - 1)], False, Verdict.MALFORMED
        elif kind == 2:  # oversized, as sent or when inflated
            yield gzip.compress(bytes(SMALL_LIMIT.max_message_bytes + 1 + at)), True, Verdict.TOO_LARGE
        elif kind == 3:  # wrongly compressed: cut short, or damaged
            whole = bytearray(gzip.compress(good))
            if at % 2:
                whole[chance.randrange(10, len(whole) - 8)] ^= 0xFF
            else:
                del whole[chance.randrange(19, len(whole) - 4) :]
            yield bytes(whole), True, None  # a broken trailer may claim too much
        else:  # wrongly typed: a message of another kind
            yield b"\x0a\x05hello" + chance.randbytes(5), False, Verdict.MALFORMED


def test_a_hundred_bad_requests_over_grpc_each_get_their_answer_and_the_next_good_one_succeeds(receiver):
    allowed = {CODES[verdict].grpc for verdict in (Verdict.MALFORMED, Verdict.TOO_LARGE)}
    with channel_to(receiver) as channel:
        before, refused = receiver.intake.items()["logs"], receiver.all_refused()
        for at, (body, _, verdict) in enumerate(bad_bodies(random.Random(2), 80)):
            sent = send_grpc(channel, LOGS, body)
            assert sent.code in allowed if verdict is None else sent.code == CODES[verdict].grpc, (at, sent.message)
            assert sent.message
            assert send_grpc(channel, LOGS, GOOD).code == Code.OK
        others = [
            (LOGS, bytes(SMALL_LIMIT.max_message_bytes + 1), grpc.Compression.NoCompression, Code.RESOURCE_EXHAUSTED),
            (LOGS, bytes(1000), grpc.Compression.Deflate, Code.UNIMPLEMENTED),
            (LOGS.replace("Export", "Import"), GOOD, None, Code.UNIMPLEMENTED),
            ("/opentelemetry.proto.collector.logs.v2.LogsService/Export", GOOD, None, Code.UNIMPLEMENTED),
        ] * 5
        for method, body, compression, code in others:
            assert send_grpc(channel, method, body, compression=compression).code == code
            assert send_grpc(channel, LOGS, GOOD).code == Code.OK
        assert receiver.all_refused() == refused + 100
        assert receiver.intake.items()["logs"] == before + 300
        assert receiver.intake.held_bytes == 0


def test_a_hundred_bad_requests_over_http_each_get_their_answer_and_the_next_good_one_succeeds(receiver):
    allowed = {CODES[verdict].http for verdict in (Verdict.MALFORMED, Verdict.TOO_LARGE)}
    json_type, deflated = {"Content-Type": "application/json"}, {"Content-Encoding": "deflate"}
    before, refused = receiver.intake.items()["logs"], receiver.all_refused()

    def send(body, headers=None, path="/v1/logs", method="POST"):
        status, said, reply = send_http(receiver.http.port, path, body, headers, method)
        if reply:
            message = orjson.loads(reply)["message"] if said["content-type"] == "application/json" else Status.FromString(reply).message
            assert message
        assert send_http(receiver.http.port, "/v1/logs", GOOD)[0] == 200
        return status

    for body, gzipped, verdict in bad_bodies(random.Random(3), 60):
        status = send(body, {"Content-Encoding": "gzip"} if gzipped else {})
        assert status in allowed if verdict is None else status == CODES[verdict].http
    cases = [
        (415, lambda: send(zlib.compress(GOOD), deflated)),
        (415, lambda: send(GOOD, {"Content-Type": "text/plain"})),
        (400, lambda: send(GOOD, {"Content-Encoding": "gzip"})),
        (400, lambda: send(b'{"resourceLogs": [', json_type)),
        (400, lambda: send(b'{"resourceLogs": 7}', json_type)),
        (400, lambda: send(b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "x"}]}]}]}', json_type)),
        (413, lambda: send(bytes(SMALL_LIMIT.max_message_bytes + 1))),
        (404, lambda: send(GOOD, path="/v1/trace")),
        (405, lambda: send(b"", method="GET")),
        (400, lambda: send(GOOD, {"Content-Length": "-3"})),
    ] * 4
    for status, request in cases:
        assert request() == status
    assert receiver.all_refused() == refused + 100
    assert receiver.intake.items()["logs"] == before + 300
    assert receiver.intake.held_bytes == 0


def test_http_that_is_none_is_refused_and_harms_nobody(receiver):
    for raw in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"POST /v1/logs HTTP/9.9\r\n\r\n",
        b"A" * 70000 + b"\r\n\r\n",
        b"POST /v1/logs HTTP/1.1\r\nX" + b"y" * 70000,
    ):
        with socket.create_connection(("127.0.0.1", receiver.http.port), 10) as connection:
            connection.sendall(raw + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    assert send_http(receiver.http.port, "/v1/logs", GOOD)[0] == 200


def test_many_senders_at_once_lose_nothing():
    with running() as receiver, channel_to(receiver) as channel:
        raw = logs_request(10).SerializeToString()
        with ThreadPoolExecutor(8) as pool:
            over_grpc = list(pool.map(lambda _: send_grpc(channel, LOGS, raw).code, range(100)))
            over_http = list(pool.map(lambda _: send_http(receiver.http.port, "/v1/logs", raw)[0], range(100)))
        assert (set(over_grpc), set(over_http)) == ({Code.OK}, {200})
        assert receiver.intake.items()["logs"] == 2000


def test_tls_follows_its_files_and_mtls_wants_a_signed_client(tmp_path):
    make_certificate(tmp_path, "one")
    make_certificate(tmp_path, "two")
    live_key, live = tmp_path / "live.key", tmp_path / "live.crt"

    def use(name):
        live_key.write_bytes((tmp_path / f"{name}.key").read_bytes())
        live.write_bytes((tmp_path / f"{name}.crt").read_bytes())

    def call(receiver, root, client=None):
        files = [(tmp_path / f"{client}.{end}").read_bytes() for end in ("key", "crt")] if client else [None, None]
        credentials = grpc.ssl_channel_credentials((tmp_path / f"{root}.crt").read_bytes(), *files)
        with grpc.secure_channel(f"127.0.0.1:{receiver.grpc.port}", credentials) as channel:
            return send_grpc(channel, LOGS, GOOD).code

    def call_http(receiver, root):
        context = ssl.create_default_context(cafile=tmp_path / f"{root}.crt")
        connection = http.client.HTTPSConnection("127.0.0.1", receiver.http.port, timeout=10, context=context)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/logs", GOOD, {"Content-Type": "application/x-protobuf"})
            return connection.getresponse().status

    use("one")
    tls = TlsFiles(str(live), str(live_key))
    settings = GrpcSettings("127.0.0.1:0", tls=tls), HttpSettings("127.0.0.1:0", tls=tls)
    with running(grpc_settings=settings[0], http_settings=settings[1]) as receiver:
        assert (call(receiver, "one"), call(receiver, "two")) == (Code.OK, Code.UNAVAILABLE)
        assert call_http(receiver, "one") == 200
        use("two")
        assert (call(receiver, "one"), call(receiver, "two")) == (Code.UNAVAILABLE, Code.OK)
        assert call_http(receiver, "two") == 200
        with pytest.raises(ssl.SSLError):
            call_http(receiver, "one")
        live.write_text("half written")
        assert (call(receiver, "two"), call_http(receiver, "two")) == (Code.OK, 200)
        with pytest.raises((http.client.HTTPException, OSError)):
            send_http(receiver.http.port, "/v1/logs", GOOD)
    use("one")
    tls = TlsFiles(str(live), str(live_key), client_ca_file=str(tmp_path / "two.crt"))
    with running(grpc_settings=GrpcSettings("127.0.0.1:0", tls=tls)) as receiver:
        assert call(receiver, "one") == Code.UNAVAILABLE
        assert call(receiver, "one", client="two") == Code.OK
        assert call(receiver, "one", client="one") == Code.UNAVAILABLE


def test_what_one_transport_decodes_the_other_decodes_the_same(receiver):
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"t" * 16, b"s" * 8, "op"
    span.start_time_unix_nano = span.end_time_unix_nano = 5
    traces = next(method for method, signal in METHODS.items() if signal == "traces")
    with channel_to(receiver) as channel:
        send_grpc(channel, traces, request.SerializeToString())
    send_http(receiver.http.port, "/v1/traces", to_json(request), {"Content-Type": "application/json"})
    one, other = receiver.intake.batches[-2:]
    assert one.spans.trace_hi.tolist() == other.spans.trace_hi.tolist() == [int.from_bytes(b"t" * 8, "big")]
    assert one.spans.operation.tolist() == other.spans.operation.tolist()
