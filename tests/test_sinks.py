"""Findings leave: as JSON lines, as Grafana annotations; a destination that is down loses nothing that fits its queue."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import SECOND_NS, ConfigChange, Incident, IncidentState
from exporter.metrics import Metrics
from exporter.sections import AnnotationSink
from exporter.sinks.annotations import TAG_LONGEST, TAGS_LONGEST, Annotations, bounded, tag
from exporter.sinks.jsonlog import JsonLog
from exporter.sinks.queue import Permanent, SinkQueue
from tests.findings import ONSET_NS, change, finding, incident, resolved
from tests.grafana_server import TOKEN, Grafana, stored_tags


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    server = Grafana()
    yield server
    server.stop()


def sink(grafana: Grafana, token: str = TOKEN, **settings: object) -> Annotations:
    return Annotations(AnnotationSink(url=grafana.url, timeout_seconds=5, **settings), lambda: token, external_url="http://whence:4319/")


# ------------------------------------------------------------ annotations


def test_an_incident_is_one_region_from_open_to_resolved(grafana: Grafana) -> None:
    one = sink(grafana)
    one.send(incident())
    assert [(a["time"], a["timeEnd"]) for a in grafana.annotations.values()] == [(ONSET_NS // 10**6, ONSET_NS // 10**6 + 40_000)]
    one.send(replace(incident(), state=IncidentState.UPDATED, updated_ns=ONSET_NS + 100 * SECOND_NS, finding=finding("checkout")))
    assert [a["timeEnd"] for a in grafana.annotations.values()] == [ONSET_NS // 10**6 + 100_000]
    one.send(resolved(incident(), 600))
    assert [(a["time"], a["timeEnd"]) for a in grafana.annotations.values()] == [(ONSET_NS // 10**6, ONSET_NS // 10**6 + 600_000)]
    assert grafana.requests == [
        "GET /api/annotations",
        "POST /api/annotations",
        "PATCH /api/annotations/1",
        "PATCH /api/annotations/1",
    ]


def test_it_says_what_broke_how_sure_and_what_to_do(grafana: Grafana) -> None:
    sink(grafana).send(incident())
    made = grafana.annotations[1]
    assert made["tags"] == ["rca", "incident:5ca1ab1e00000001", "severity:critical", "service:cart", "service:checkout"]
    for part in (
        "cart: slower by itself since deploy-7",
        "90 %",
        "0.9 s by itself",
        "Roll back cart",
        "http://whence:4319/api/v1/incidents/",
    ):
        assert part in made["text"]


def test_after_a_restart_the_annotation_is_found_again_by_its_tag(grafana: Grafana) -> None:
    sink(grafana).send(incident("other"))
    sink(grafana).send(incident())
    sink(grafana).send(resolved(incident()))
    assert len(grafana.annotations) == 2
    assert grafana.annotations[2]["timeEnd"] == ONSET_NS // 10**6 + 600_000


def test_an_answer_that_was_lost_makes_no_second_annotation(grafana: Grafana) -> None:
    grafana.lose = 1
    one = sink(grafana)
    with pytest.raises(OSError):
        one.send(incident())
    one.send(incident())
    assert len(grafana.annotations) == 1


def test_one_that_a_person_deleted_is_made_anew(grafana: Grafana) -> None:
    one = sink(grafana)
    one.send(incident())
    grafana.annotations.clear()
    one.send(resolved(incident()))
    assert [a["timeEnd"] for a in grafana.annotations.values()] == [ONSET_NS // 10**6 + 600_000]


def test_a_change_is_one_point_however_often_it_is_sent(grafana: Grafana) -> None:
    for _ in range(2):
        one = sink(grafana, dashboard_uid="abc", panel_id=3)
        one.send(change())
        one.send(change())
    made = grafana.annotations[1]
    assert len(grafana.annotations) == 1
    assert (made["time"], made["dashboardUID"], made["panelId"]) == (ONSET_NS // 10**6 - 60_000, "abc", 3)
    assert made["tags"] == ["rca", "change:deploy-7", "change_type:deployment", "service:cart"]
    assert "Larger pool" in made["text"]


def test_names_from_outside_are_escaped(grafana: Grafana) -> None:
    sink(grafana).send(incident(finding=finding(title="<script>alert(1)</script>")))
    assert "<script>" not in grafana.annotations[1]["text"]


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs",)), max_size=300), max_size=12))
def test_tags_stay_within_the_limits_of_grafana_and_apart(values: list[str]) -> None:
    made = [tag("service", value) for value in values]
    assert len(set(made)) == len(set(values))
    for each in made:
        assert len(each) <= len("service:") + TAG_LONGEST
        assert stored_tags([each]) == [each] or each in {"service:"}
    kept = bounded(made)
    assert 2 + sum(len(each.encode()) + 3 for each in kept) <= TAGS_LONGEST + 1


def test_long_service_names_are_told_apart(grafana: Grafana) -> None:
    names = tuple(f"{'n' * 150}{at}" for at in range(6))
    sink(grafana).send(incident(finding=finding(names[0], affected=names)))
    assert len(grafana.annotations[1]["tags"]) >= 5


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Permanent), (413, Permanent), (401, OSError), (429, OSError), (500, OSError), (302, OSError)]
)
def test_what_may_pass_later_is_told_from_what_never_will(grafana: Grafana, status: int, kind: type[Exception]) -> None:
    grafana.fail = [status]
    with pytest.raises(kind, match=str(status)):
        sink(grafana).send(incident())


def test_something_that_is_no_grafana_is_named() -> None:
    one = Annotations(AnnotationSink(url="http://127.0.0.1:1"), lambda: "")
    with pytest.raises(OSError):
        one.send(incident())


# ------------------------------------------------------------ queue


class Remembering:
    """A sink that remembers, and fails as told."""

    name = "memory"

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.items: list[str] = []
        self.failures = failures or []

    def send(self, item: Incident | ConfigChange) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.items.append(item.id)


def test_deliveries_keep_their_order_through_an_outage() -> None:
    metrics, memory = Metrics(), Remembering([OSError("down"), OSError("down")])
    queue = SinkQueue(memory, capacity=10, metrics=metrics, pause_seconds=0.001)
    for at in range(5):
        queue.offer(incident(f"i{at}"))
    queue.close(10)
    assert memory.items == ["i0", "i1", "i2", "i3", "i4"]
    assert metrics.value("rca_sink_retries_total", sink="memory") == 2
    assert metrics.value("rca_sink_sent_total", sink="memory") == 5
    assert metrics.value("rca_sink_up", sink="memory") == 1


def test_what_is_refused_for_good_holds_up_nothing() -> None:
    metrics, memory = Metrics(), Remembering([Permanent("400")])
    queue = SinkQueue(memory, capacity=10, metrics=metrics)
    queue.offer(incident("bad"))
    queue.offer(incident("good"))
    queue.close(10)
    assert memory.items == ["good"]
    assert metrics.value("rca_sink_dropped_total", sink="memory", reason="refused") == 1


def test_a_full_queue_drops_the_oldest_and_counts_it(grafana: Grafana) -> None:
    metrics = Metrics()
    grafana.fail = [503] * 1000
    queue = SinkQueue(sink(grafana), capacity=2, metrics=metrics, pause_seconds=0.01)
    queue.offer(incident("i0"))
    assert grafana.wait_for(lambda: len(grafana.requests) >= 2)
    for at in range(1, 6):
        queue.offer(incident(f"i{at}"))
    assert metrics.value("rca_sink_dropped_total", sink="annotations", reason="queue_full") == 3
    assert queue.down
    with grafana.changed:
        grafana.fail = []
    queue.close(10)
    assert sorted(a["tags"][1] for a in grafana.annotations.values()) == ["incident:i0", "incident:i4", "incident:i5"]
    assert not queue.down


def test_closing_does_not_wait_for_what_is_down(grafana: Grafana) -> None:
    metrics = Metrics()
    grafana.fail = [503] * 1000
    queue = SinkQueue(sink(grafana), capacity=10, metrics=metrics)
    queue.offer(incident("i0"))
    queue.offer(incident("i1"))
    queue.close(0.05)
    assert metrics.value("rca_sink_dropped_total", sink="annotations", reason="stopped") == 2


# ------------------------------------------------------------ log


def test_an_incident_is_one_json_line() -> None:
    stream = io.BytesIO()
    log = JsonLog(stream)
    log.send(incident(finding=finding(title="two\nlines")))
    log.send(change())
    log.send(resolved(incident()))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["id"], line["state"], line["root_cause"]) for line in lines] == [
        ("incident", "5ca1ab1e00000001", "open", "cart"),
        ("incident", "5ca1ab1e00000001", "resolved", "cart"),
    ]
    assert lines[0]["evidence"][0] == "GET /cart of cart takes 0.9 s by itself, usually 0.1 s (420 spans)."
    assert lines[0]["suspects"] == [{"id": "deploy-7", "service": "cart", "verdict": "confirmed", "probability": 0.8}]
    assert (lines[0]["seconds_to_detect"], lines[1]["seconds_to_resolve"]) == (40.0, 600.0)
