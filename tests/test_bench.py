"""The benchmarks' own arithmetic: tables, quantiles of histograms, pictures, CPU by stage, processes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.pipeline import Engine
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.protobuf import decode_traces, parsed
from tests.bench import chart
from tests.bench.load.columns import Columns
from tests.bench.load.process import children, cpu_seconds, pss_bytes
from tests.bench.load.spans import Settings, SpanTraffic
from tests.bench.scrape import Scrape, quantile_of
from tests.bench.stages import Clock, Profile, timed
from tests.bench.table import at_least, at_most, markdown, skipped
from tests.naive_path import spans_of


def scrape_of(registry: CollectorRegistry) -> Scrape:
    scrape = Scrape.__new__(Scrape)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    scrape.samples = [sample for family in families for sample in family.samples]
    return scrape


def test_a_table_says_what_was_met_what_was_not_and_what_was_not_measured() -> None:
    lines = [
        at_least("receive", 4.2, 4, ours="1 us", peer="4.2 us"),
        at_most("gzip", 1.25, 1, ours="1.25 us", note="8192"),
        skipped("soak", "plotted", "make soak"),
    ]
    assert markdown(lines) == (
        "| Measure | whence | peer in the same run | ratio | target | met |\n"
        "|---|---|---|---|---|---|\n"
        "| receive | 1 us | 4.2 us | 4.20 | >= 4 x | yes |\n"
        "| gzip (8192) | 1.25 us |  | 1.25 | <= 1 x | no |\n"
        "| soak (make soak) |  |  |  | plotted | not measured |"
    )


def test_quantiles_are_of_what_came_between_two_scrapes() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("close_seconds", "x", registry=registry, buckets=(0.1, 0.15, 1.0))
    for _ in range(100):
        seconds.observe(0.9)  # before
    before = scrape_of(registry)
    for value in [0.05] * 98 + [0.12, 0.5]:
        seconds.observe(value)
    after = scrape_of(registry)
    assert [quantile_of(before, after, "close_seconds", share) for share in (0.5, 0.99, 1.0)] == [0.1, 0.15, 1.0]
    assert math.isnan(quantile_of(after, after, "close_seconds", 0.5))


def test_pictures_are_xml_and_hold_every_stage() -> None:
    profiles = [Profile(rate, decode=1.0, stages={"inbox": 2.0, "rows < score": 0.5, "idle": 0.0}) for rate in (1e4, 1e5)]
    texts = [each.text for each in ET.fromstring(chart.stages(profiles)).iter() if each.text and each.text.strip()]
    assert {"decode", "inbox", "rows < score", "10,000 spans a second of event time"} <= set(texts)
    assert "idle" not in texts
    panels = {"memory, MiB": [(0.0, 100.0), (600.0, 200.0)], "queue": []}
    plot = ET.fromstring(chart.over_time(panels, span_seconds=1200))
    assert sum(each.tag.endswith("path") for each in plot.iter()) == 4


def test_the_innermost_stage_is_charged() -> None:
    clock = Clock()

    def burn(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    inner = timed(clock, "inner", lambda: burn(0.06))

    def outer_work() -> None:
        burn(0.02)
        inner()

    timed(clock, "outer", outer_work)()
    values = timed(clock, "drawn", lambda: iter(burn(0.02) or each for each in range(2)))()
    assert list(values) == [0, 1]
    assert 0.06 <= clock.seconds["inner"] < 0.08
    assert 0.02 <= clock.seconds["outer"] < 0.04
    assert 0.04 <= clock.seconds["drawn"] < 0.06


def test_processor_time_and_memory_are_of_the_process_that_is_asked_for() -> None:
    burn = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in children(os.getpid())
        assert 0.28 <= cpu_seconds(child.pid) <= 0.6
        assert 10**6 < pss_bytes(child.pid) < 10**8
        child.stdin.close()
        child.wait()
        assert pss_bytes(child.pid) == 0


def test_the_naive_path_reads_the_same_from_a_request_as_the_columns_hold() -> None:
    traffic = SpanTraffic(Settings(spans_a_request=512))
    raw, strings, resources = traffic.request(0), Strings(), Resources()
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    dicts: list[dict[str, Any]] = spans_of(parsed(ExportTraceServiceRequest, raw))
    columns = decode_traces(raw, strings, resources).spans
    assert columns is not None
    assert [each["span_id"] for each in dicts] == [f"{int(span):016x}" for span in columns.span]
    assert [each["name"] for each in dicts] == [strings.text("operation", int(code)) for code in columns.operation]
    np.testing.assert_allclose([each["milliseconds"] for each in dicts], (columns.time_ns - columns.start_ns) / 1e6)
    assert {each["service"] for each in dicts} == {resources[int(code)].service.removeprefix("shop/") for code in columns.resource}


def test_rows_are_counted_by_source_and_by_what_became_of_them() -> None:
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, EngineSettings(live=True))
    traffic = SpanTraffic(Settings(spans_a_request=512, spans_a_second=100.0))
    columns = Columns(traffic, strings, resources)
    for number in range(8):
        engine.observe(columns.batch(number), traffic.settings.start_ns + (number + 1) * traffic.span_ns)
    counted = {labels: value for name, labels, value in engine.snapshot.counters if name == "rca_rows_total"}
    rows = engine.rows.counts()["traces", "rows"]
    assert 0 < counted[("source", "traces"), ("what", "rows")] <= rows  # those of the last window are made after it closed
