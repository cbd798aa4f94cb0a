"""The compiled walker gives what the plain decoder gives, for any message and for any bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Metric,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from engine.records import Batch
from engine.strings import Resources, Strings
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode import protobuf
from exporter.decode.decoder import Apart, Plain, decoder, in_use
from tests.fuzz import fuzz
from tests.fuzz_seeds import SEEDS
from tests.otlp import in_texts, lines_of, recordings, to_protobuf
from tests.test_decode_same import LOG_REQUESTS, METRIC_REQUESTS, TRACE_REQUESTS

walker = pytest.importorskip("exporter.decode.walker", reason="the compiled walker was not built")

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
PLAIN: dict[str, Callable[..., Batch]] = {
    "traces": protobuf.decode_traces,
    "logs": protobuf.decode_logs,
    "metrics": protobuf.decode_metrics,
}
REQUESTS = {"traces": TRACE_REQUESTS, "logs": LOG_REQUESTS, "metrics": METRIC_REQUESTS}


class Both:
    """The walker, which remembers, beside the plain decoder, which starts anew each time."""

    def __init__(self, **caps: int) -> None:
        self.strings, self.resources = Strings(), Resources()
        self.walker = walker.Walker(self.strings, self.resources, EVENT_TYPES, **caps)

    def check(self, signal: str, raw: bytes) -> bool:
        """Both refuse, or both give the same; whether they took it."""
        strings, resources = Strings(), Resources()
        expected: Any = None
        actual: Any = None
        with suppress(ValueError):
            expected = in_texts(PLAIN[signal](raw, strings, resources), strings, resources)
        with suppress(ValueError):
            actual = in_texts(getattr(self.walker, signal)(raw), self.strings, self.resources)
        assert actual == expected, (signal, raw)
        return expected is not None


WARM = Both()
TIGHT = Both(entries_cap=10, bytes_cap=1000)


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes with some of them changed, cut out, doubled or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        how = draw(st.sampled_from(("byte", "bit", "length", "cut", "out", "twice")))
        if how == "byte":
            raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
        elif how == "bit" and raw:
            raw = raw[:at] + bytes([raw[at] ^ 1 << draw(st.integers(0, 7))]) + raw[at + 1 :]
        elif how == "length" and raw:
            raw = raw[:at] + bytes([raw[at] + draw(st.integers(-3, 3)) & 255]) + raw[at + 1 :]
        elif how == "cut":
            raw = raw[:at]
        else:
            end = draw(st.integers(at, min(len(raw), at + 12)))
            raw = raw[:at] + raw[end:] if how == "out" else raw[:end] + raw[at:]
    return raw


@pytest.mark.parametrize("signal", list(REQUESTS))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_walker_gives_the_same_columns_for_any_message(signal, data):
    raw = data.draw(REQUESTS[signal]).SerializeToString()
    assert WARM.check(signal, raw)
    assert TIGHT.check(signal, raw)
    assert WARM.check(signal, raw)  # now it remembers everything


@pytest.mark.parametrize("signal", list(REQUESTS))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_walker_refuses_what_the_plain_decoder_refuses(signal, data):
    raw = data.draw(REQUESTS[signal]).SerializeToString()
    WARM.check(signal, data.draw(mutated(raw)))


@pytest.mark.parametrize("signal", list(REQUESTS))
@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_refused_or_taken_alike(signal, raw):
    WARM.check(signal, raw)


def test_changed_bytes_by_the_ten_thousand_make_no_difference(capsys):
    assert fuzz(walker, inputs=60_000, seconds=40, seed=3) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["nezha-trainticket/*", "nezha-onlineboutique/*", "rootcausebench/*"])
def test_the_walker_gives_the_same_columns_for_a_recording(name):
    paths = sorted(recordings().glob(f"{name}.jsonl.zst"))
    if not paths:
        pytest.skip(f"no recording {name}")
    signals = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}
    for line in itertools.islice(lines_of(paths[0]), 0, 300, 10):
        payload = orjson.loads(line)
        (signal,) = payload
        assert WARM.check(signals[signal], to_protobuf(payload).SerializeToString())


def test_several_threads_at_once_get_their_own_batches():
    strings, resources = Strings(), Resources()
    shared = walker.Walker(strings, resources, EVENT_TYPES)
    raws = SEEDS["traces"] * 20

    def run(raw: bytes) -> Any:
        return in_texts(shared.traces(raw), strings, resources)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, raws))
    assert together == [run(raw) for raw in raws]


def test_memory_is_bounded_and_starting_anew_is_counted():
    both = Both(entries_cap=10, bytes_cap=1000)
    for raw in SEEDS["traces"] * 2:
        assert both.check("traces", raw)
    assert both.walker.clears > 0


def test_a_setting_takes_the_plain_decoder_and_that_is_said_loudly(caplog):
    assert isinstance(decoder("auto", Strings(), Resources(), EVENT_TYPES), Apart)
    assert not caplog.records
    assert isinstance(decoder("plain", Strings(), Resources(), EVENT_TYPES), Plain)
    assert [(each.levelname, "receiver.decoder is plain" in each.message) for each in caplog.records] == [("WARNING", True)]
    assert (in_use(), in_use("plain")) == ("walker", "plain")


def test_own_metrics_without_points_count_for_nothing() -> None:
    own = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="whence"))])
    metrics = [Metric(name="g", gauge=Gauge()), Metric(name="s", sum=Sum())]
    request = ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(resource=own, scope_metrics=[ScopeMetrics(metrics=metrics)])])
    raw = request.SerializeToString()
    strings, resources = Strings(), Resources()
    plain = Plain(strings, resources, EVENT_TYPES).metrics(raw)
    assert plain.dropped == decoder("auto", Strings(), Resources(), EVENT_TYPES).metrics(raw).dropped == ()


def test_bounds_are_those_of_the_point_whatever_point_came_before() -> None:
    """The walker writes bounds anew only where the shape changes: every kind of shape behind every other."""
    buckets = ExponentialHistogramDataPoint.Buckets
    shapes = [
        ExponentialHistogramDataPoint(
            time_unix_nano=1,
            scale=scale,
            zero_count=7,
            zero_threshold=threshold,
            positive=buckets(offset=offset, bucket_counts=range(3, 3 + size)),
            negative=buckets(offset=1, bucket_counts=[5] * below),
        )
        for scale, offset, size, threshold, below in itertools.product((0, 2), (-3, 2), (0, 2, 3, 400), (0.0, 0.2, 1.5, 1e300), (0, 2))
    ]
    for first in shapes:
        points = [point for second in shapes for point in (first, second)]
        histogram = Metric(name="m", exponential_histogram=ExponentialHistogram(data_points=points))
        request = ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[histogram])])])
        assert Both().check("metrics", request.SerializeToString())
