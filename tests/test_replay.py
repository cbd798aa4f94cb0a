"""A replayed recording is what a Collector would have sent: same content, same order, times moved by one constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from engine.records import SECOND_NS, Batch
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.decode.protobuf import decode_logs, decode_metrics, decode_traces
from exporter.otlp import SIGNALS, last_time_ns, request_of
from exporter.recording import RecordingError, lines, span_of_time
from exporter.replay import Extent, Selection, measure, send, shift_to_now
from exporter.sender import Sender, SendError

RECORDINGS = Path(__file__).resolve().parent.parent / "exporter" / "recordings"
SHOP = RECORDINGS / "petshop" / "issue_2.jsonl.zst"
TICKETS = RECORDINGS / "nezha-trainticket" / "2023-01-30-1330.jsonl.zst"
DECODERS = {"traces": decode_traces, "logs": decode_logs, "metrics": decode_metrics}


class Remembering(grpc.GenericRpcHandler):
    """A real gRPC service that keeps what it is sent, and refuses the first requests as it is told to."""

    def __init__(self, refusals: list[tuple[grpc.StatusCode, float | None]]) -> None:
        self.refusals, self.received = refusals, list[tuple[str, bytes]]()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def export(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.refusals:
                code, pause = self.refusals.pop(0)
                if pause is not None:
                    info, detail = RetryInfo(), Any()
                    info.retry_delay.FromMilliseconds(int(1000 * pause))
                    detail.Pack(info)
                    status = Status(code=code.value[0], message="busy", details=[detail])
                    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                context.abort(code, "busy")
            self.received.append((details.method, request))
            return b""

        return grpc.unary_unary_rpc_method_handler(export)


@pytest.fixture
def receiver() -> Iterator[tuple[Remembering, str]]:
    handler = Remembering([])
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(0).wait()


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches of the same dictionaries hold the same columns."""
    for name in ("spans", "logs", "points", "links"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if (mine is None) != (theirs is None):
            return False
        for field in dataclasses.fields(mine) if mine is not None else ():
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                return False
    return one.changes == other.changes and len(one.bounds) == len(other.bounds)


@pytest.mark.parametrize("path", [SHOP, TICKETS], ids=["shop", "tickets"])
def test_a_line_as_protobuf_reads_the_same_as_the_line(path: Path) -> None:
    strings, resources = Strings(), Resources()
    compared = 0
    for at, line in enumerate(lines(path)):
        if at % 7 and b"resourceLogs" not in line[:20]:
            continue
        signal, request = request_of(line)
        assert same(decode_json(line, strings, resources), DECODERS[signal.name](request.SerializeToString(), strings, resources))
        compared += 1
    assert compared > 30


def test_a_shift_moves_every_time_and_nothing_else() -> None:
    strings, resources = Strings(), Resources()
    line = next(line for line in lines(TICKETS) if line.startswith(b'{"resourceSpans"'))
    before = decode_json(line, strings, resources).spans
    after = decode_traces(request_of(line, 7 * SECOND_NS)[1].SerializeToString(), strings, resources).spans
    assert before is not None
    assert after is not None
    assert np.array_equal(after.time_ns, before.time_ns + 7 * SECOND_NS)
    assert np.array_equal(after.start_ns, before.start_ns + 7 * SECOND_NS)
    assert np.array_equal(after.trace_lo, before.trace_lo)
    assert np.array_equal(after.parent, before.parent)


def test_what_is_no_export_is_refused() -> None:
    for line in (b'{"resourceProfiles":[]}', b"[1]", b'{"resourceSpans":[{"nonsense":1}]}'):
        with pytest.raises(ValueError, match=r"no export|nonsense"):
            request_of(line)


def test_everything_arrives_in_order(receiver: tuple[Remembering, str]) -> None:
    handler, endpoint = receiver
    with Sender(endpoint) as sender:
        extent = send(SHOP, sender, Selection(), speed=None, to_now=False)
    sent = [request_of(line) for line in lines(SHOP)]
    assert extent.lines == len(sent) == sum(sender.sent.values())
    assert [(signal.method, request.SerializeToString(deterministic=True)) for signal, request in sent] == handler.received


def test_the_end_of_a_recording_shifted_to_now_is_now() -> None:
    extent = Extent(lines=2, first_ns=0, last_ns=1000 * SECOND_NS, closed_ns=0)
    now_ns = 10**18
    assert extent.last_ns + shift_to_now(extent, None, now_ns) == now_ns
    assert extent.first_ns + shift_to_now(extent, 1.0, now_ns) == now_ns, "at recorded speed it starts now"
    assert extent.last_ns + shift_to_now(extent, 20.0, now_ns) == now_ns + 50 * SECOND_NS, "it ends when sending it ends"


def test_closed_gaps_shorten_the_recording_and_keep_the_order() -> None:
    open_, closed = measure(TICKETS, Selection()), measure(TICKETS, Selection(close_gaps_ns=10 * SECOND_NS))
    assert closed.lines == open_.lines
    assert closed.last_ns == open_.last_ns - closed.closed_ns
    times = [time_ns + shift_ns for time_ns, shift_ns, _ in Selection(close_gaps_ns=10 * SECOND_NS).lines(TICKETS)]
    assert times == sorted(times)
    assert max(np.diff(times)) <= 10 * SECOND_NS
    assert 20 * 60 * SECOND_NS < closed.last_ns - closed.first_ns < 26 * 60 * SECOND_NS


def test_start_and_end_select_lines() -> None:
    times = [last_time_ns(line) or 0 for line in lines(SHOP)]
    extent = measure(SHOP, Selection(start_ns=times[10], end_ns=times[20]))
    assert (extent.first_ns, extent.last_ns, extent.lines) == (times[10], times[20], sum(times[10] <= t <= times[20] for t in times))
    with pytest.raises(RecordingError, match="no line between"):
        measure(SHOP, Selection(start_ns=times[-1] + 1))


def test_it_waits_as_long_as_it_is_told_and_sends_again(receiver: tuple[Remembering, str]) -> None:
    handler, endpoint = receiver
    handler.refusals[:] = [
        (grpc.StatusCode.UNAVAILABLE, 0.01),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 0.01),
        (grpc.StatusCode.UNAVAILABLE, None),
    ]
    signal, request = request_of(next(lines(SHOP)))
    with Sender(endpoint) as sender:
        sender.send(signal, request)
    assert (sender.retried, len(handler.received)) == (3, 1)


def test_what_will_never_succeed_is_an_error_that_says_so(receiver: tuple[Remembering, str]) -> None:
    handler, endpoint = receiver
    signal, request = request_of(next(lines(SHOP)))
    with Sender(endpoint, patience_seconds=0.05) as sender:
        for code, reason in (
            (grpc.StatusCode.INVALID_ARGUMENT, "refused"),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "refused"),
            (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE for"),
        ):
            handler.refusals[:] = [(code, None)]
            with pytest.raises(SendError, match=reason):
                sender.send(signal, request)
    assert handler.received == []


def test_every_signal_of_a_recording_has_a_service() -> None:
    assert {signal.name for signal in SIGNALS.values()} == set(DECODERS)


def test_a_batch_without_items_has_no_time() -> None:
    assert span_of_time(Batch()) is None
