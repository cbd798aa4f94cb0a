"""What a span costs, as ratios of CPU time in one run. Limits are some 60 % of what `make bench` measured, so that noise fails nothing."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from engine.strings import Resources, Strings
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode.decoder import Decoder, decoder, in_use
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.measure import in_turn
from tests.bench.peers import module, otelcol
from tests.servers import need

COLLECTOR = 1.6  # times whence's CPU for receiving, at least; 2.8 measured
PLAIN = 25.0  # times the walker's CPU for decoding, at least; 41 to 48 measured
ROUNDS = 3


@pytest.fixture(scope="module")
def traffic() -> SpanTraffic:
    return SpanTraffic(Settings(spans_a_request=8192))


BUILT = pytest.mark.skipif(in_use() == "plain", reason="the walker was not built here")


@BUILT
@pytest.mark.server
def test_receiving_a_span_costs_a_fraction_of_what_the_collector_spends(tmp_path: Path, traffic: SpanTraffic) -> None:
    need("otelcol")
    with module("tests.bench.receive_only") as ours, otelcol(tmp_path) as collector:
        mine, theirs = in_turn([ours, collector], traffic, rounds=ROUNDS, requests=20)
    assert theirs.median / mine.median >= COLLECTOR, f"{mine.micros} against {theirs.micros} us a span"


@BUILT
def test_decoding_a_span_costs_a_fraction_of_what_the_protobuf_classes_spend(traffic: SpanTraffic) -> None:
    requests = [traffic.request(number) for number in range(2 * ROUNDS)]
    walker, plain = (decoder(how, Strings(), Resources(), EVENT_TYPES) for how in ("auto", "plain"))
    for each in (walker, plain):
        each.traces(traffic.request(99))  # what it has to learn once
    ratios = []
    for number in range(ROUNDS):
        ratios.append(seconds(plain, requests[number : number + 1]) / (seconds(walker, requests) / len(requests)))
    assert float(np.median(ratios)) >= PLAIN, ratios


def seconds(of: Decoder, requests: list[bytes]) -> float:
    """CPU time of decoding."""
    began = time.process_time()
    for raw in requests:
        of.traces(raw)
    return time.process_time() - began
