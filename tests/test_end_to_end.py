"""Recorded failures through real servers: a Collector in front, whence in the middle, Prometheus behind; and the same inline."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.pipeline import Engine
from engine.records import SECOND_NS, Batch, Incident, IncidentState
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.columns import link_rows, select
from exporter.decode.json import decode_json
from exporter.evaluate import truth
from exporter.otlp import last_time_ns
from exporter.plain import incident_view
from exporter.recording import lines, span_of_time
from exporter.replay import Selection, measure
from exporter.times import parse_time
from tests.collector import UNBUFFERED, Collector, collector
from tests.servers import free_port, need, started, wait_until
from tests.serving import ROOT, Serving, call, settings

pytestmark = pytest.mark.slow

RECORDINGS = ROOT / "exporter" / "recordings"
TICKETS = RECORDINGS / "nezha-trainticket" / "2023-01-30-1330.jsonl.zst"
SHOP = RECORDINGS / "petshop" / "issue_2.jsonl.zst"
SPEED, GAP_SECONDS = 20, 30
#: The Collector holds a signal for up to a second, which at this speed is 20 s of event time; three such are waited for.
LATENESS_SECONDS = 60
INLINE = EngineSettings(lateness_ns=LATENESS_SECONDS * SECOND_NS, rows=False)
SCRAPES = 3
#: Seconds that whence gets to work off what it was sent, on a busy machine.
SETTLE_SECONDS = 180.0


class Prometheus:
    """A running Prometheus that scrapes whence every second."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an instant query."""
        status, answer = call(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        assert status == 200, answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def replayed(path: Path, to: Collector, *more: str) -> None:
    """`whence replay` of a recording into a Collector, as a process."""
    command = [sys.executable, "-m", "exporter", "replay", str(path), "--to", f"127.0.0.1:{to.port}", *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def prometheus_command(folder: Path, target: str) -> tuple[list[str], str]:
    """Command line of a Prometheus that scrapes host:port every second, and its address."""
    port, file = free_port(), folder / "prometheus.yaml"
    jobs = [{"job_name": "whence", "static_configs": [{"targets": [target]}]}]
    file.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}))
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    return [need("prometheus"), *options], f"http://127.0.0.1:{port}"


def incidents(whence: Serving, *, since_ns: int = 0) -> list[dict[str, Any]]:
    """Incidents that whence's API tells of, opened since a time."""
    found = call(f"{whence.web}/api/v1/incidents")[1]["incidents"]
    return [one for one in found if parse_time(one["opened"]) >= since_ns]


def settled(whence: Serving, until_ns: int) -> Callable[[], bool]:
    """Whether whence has worked everything off and decided up to a time."""

    def check() -> bool:
        status = call(f"{whence.web}/api/v1/status")[1]
        return not status["queue"]["batches"] and bool(status["watermark"]) and parse_time(status["watermark"]) >= until_ns

    return check


# ------------------------------------------------------------ inline


def exports(recording: Path, strings: Strings, resources: Resources) -> Iterator[tuple[int, Batch]]:
    """(last time, batch) of every export of a recording, in order."""
    for line in lines(recording):
        batch = decode_json(line, strings, resources)
        times = span_of_time(batch)
        if times is not None:
            yield times[1], batch


def rebatched(batches: Iterable[tuple[int, Batch]], width_ns: int) -> list[tuple[int, Batch]]:
    """The same items, sent when the slot of `width_ns` that holds their time is over, one export a slot and signal and line."""
    parts: list[tuple[int, Batch]] = []
    for _, batch in batches:
        for slot in sorted({int(slot) for columns in _columns(batch) for slot in np.unique(columns.time_ns // width_ns)}):
            parts.append(((slot + 1) * width_ns, _part(batch, slot, width_ns)))
    return sorted(parts, key=lambda part: part[0])


def _columns(batch: Batch) -> list[Any]:
    return [columns for columns in (batch.spans, batch.logs, batch.points) if columns is not None and len(columns.time_ns)]


def _part(batch: Batch, slot: int, width_ns: int) -> Batch:
    def rows(columns: Any) -> Any:
        return np.flatnonzero(columns.time_ns // width_ns == slot)

    links = None
    if batch.links is not None and batch.spans is not None:
        links = link_rows(batch.links, rows(batch.spans), len(batch.spans.time_ns))
    return replace(
        batch,
        spans=batch.spans and select(batch.spans, rows(batch.spans)),
        logs=batch.logs and select(batch.logs, rows(batch.logs)),
        points=batch.points and select(batch.points, rows(batch.points)),
        links=links,
        changes=tuple(change for change in batch.changes if change.time_ns // width_ns == slot),
    )


def inline(recording: Path, width_seconds: int | None = None) -> list[Incident]:
    """Everything that an engine in this process publishes of a recording; received time is the exports' own."""
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, INLINE)
    batches = exports(recording, strings, resources)
    published: list[Incident] = []
    for received_ns, batch in batches if width_seconds is None else rebatched(batches, width_seconds * SECOND_NS):
        published += engine.observe(batch, received_ns)
    return published + engine.finish()


def told(published: Sequence[dict[str, Any]], until_ns: int) -> dict[str, tuple[str, str, str]]:
    """id -> (opened, onset, root) of each incident, as it was published last up to a time before it was resolved."""
    return {
        one["id"]: (one["opened"], one["onset"], one["root_cause"])
        for one in published
        if parse_time(one["updated"]) <= until_ns and one["state"] != IncidentState.RESOLVED.value
    }


def views(published: Sequence[Incident]) -> list[dict[str, Any]]:
    return [incident_view(one, whole=False) for one in published]


# ------------------------------------------------------------ tests


@pytest.mark.server
def test_a_recorded_failure_through_collector_and_prometheus_names_the_root_and_is_the_same_inline(tmp_path: Path) -> None:
    """20 active minutes, gaps between bursts closed up to 30 s, moved to now and sent 20 times as fast.

    What the Collector took is what an engine in this process gets afterwards. whence trains while it runs; the engine in this process
    does not: which models are there when depends on the machine's speed, so what is published may not depend on them.
    """
    fault = truth.load(TICKETS).faults[-1]
    selection = Selection(close_gaps_ns=GAP_SECONDS * SECOND_NS)
    closed_ns = measure(TICKETS, selection).closed_ns
    taken, file = tmp_path / "taken.jsonl", settings(tmp_path)
    file.write_text(file.read_text() + f"engine: {{lateness_seconds: {LATENESS_SECONDS}}}\n")
    kept = [f"yaml:exporters::file::path: {taken}"]
    kept += [f"yaml:service::pipelines::{signal}::exporters: [otlp_grpc/whence, file]" for signal in ("traces", "metrics", "logs")]
    need("otelcol")
    need("prometheus")
    with Serving(file) as whence:
        command, address = prometheus_command(tmp_path, whence.web.removeprefix("http://"))
        with started(command, tmp_path / "prometheus.log", ready="Server is ready to receive web requests"):
            prometheus = Prometheus(address)
            with collector(tmp_path, int(whence.grpc.rpartition(":")[2]), *kept) as front:
                replayed(TICKETS, front, f"--speed={SPEED}", "--shift-to-now", f"--close-gaps={GAP_SECONDS}")
            shift_ns = _first_ns(taken) - _first_ns(TICKETS)
            from_ns = fault.found_from_ns - closed_ns + shift_ns
            assert wait_until(lambda: bool(_scraped(prometheus, whence, from_ns)), SETTLE_SECONDS), incidents(whence)
            (name,) = _scraped(prometheus, whence, from_ns)
            assert {one["id"] for one in incidents(whence) if one["state"] != "resolved"} >= {name}
            info = prometheus.ask(f'rca_incident_info{{incident_id="{name}"}}')
            assert [labels["root_cause_service_name"] for labels, _ in info] == [fault.root]
        assert whence.stop() == 0
        decided_ns = parse_time(json.loads(whence.out.read_text().splitlines()[-1])["updated"])
    live = told([json.loads(line) for line in whence.out.read_text().splitlines()], decided_ns)
    assert name in live
    assert live == told(views(inline(taken)), decided_ns)


def _first_ns(recording: Path) -> int:
    first = last_time_ns(next(lines(recording)))
    assert first is not None
    return first


def _scraped(prometheus: Prometheus, whence: Serving, from_ns: int) -> list[str]:
    """Incidents opened since a time that are open and were scraped often enough."""
    scrapes = {labels["incident_id"]: count for labels, count in prometheus.ask("count_over_time(rca_incident_active[10m])")}
    fresh = [one["id"] for one in incidents(whence, since_ns=from_ns) if one["state"] != "resolved"]
    return [name for name in fresh if scrapes.get(name, 0) >= SCRAPES]


def test_batches_of_one_and_of_ten_seconds_give_the_same_incidents_and_causes() -> None:
    found = [told(views(inline(TICKETS, seconds)), 2**62) for seconds in (1, 10)]
    assert found[0]
    assert found[0] == found[1]


@pytest.mark.server
def test_a_recorded_issue_through_the_collector_names_component_and_change(tmp_path: Path) -> None:
    known = truth.load(SHOP)
    (fault,) = known.faults
    assert fault.change is not None
    need("otelcol")
    with Serving(settings(tmp_path)) as whence:
        with collector(tmp_path, int(whence.grpc.rpartition(":")[2]), UNBUFFERED) as front:
            replayed(SHOP, front)
        assert wait_until(settled(whence, measure(SHOP, Selection()).last_ns - 30 * SECOND_NS), SETTLE_SECONDS)
        found = incidents(whence, since_ns=fault.found_from_ns)
        assert whence.stop() == 0
    assert found
    last = max(found, key=lambda one: str(one["opened"]))
    assert last["root_cause"] == fault.root
    assert fault.change.is_named_by(last["change"])
