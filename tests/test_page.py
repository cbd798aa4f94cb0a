"""The page: complete without a script or anything from elsewhere, and safe whatever names and titles say."""

from __future__ import annotations

from html.parser import HTMLParser

from engine.records import Snapshot
from exporter.page import page
from exporter.plain import change_view, incident_view
from tests.findings import change, finding, incident, snapshot
from tests.test_status import NO_VERSION, view

VOID = {"meta", "link", "br"}
LEFT_OPEN = {"th", "td", "tr"}  # HTML lets their ends be left out


class Read(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID | LEFT_OPEN:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_shows_incidents_services_hints_and_changes() -> None:
    shown = snapshot(incident())
    read = Read(page(view(shown, NO_VERSION), [incident_view(one) for one in shown.incidents], [change_view(change())]))
    for part in (
        "cart: slower by itself since deploy-7",
        "confirmed, 90% sure; affected: checkout, cart",
        "GET /cart of cart takes 0.9 s by itself, usually 0.1 s (420 spans).",
        "changes: deploy-7 confirmed (80%)",
        "do: Roll back cart",
        "Larger pool",
        "no service.version on checkout: deploys are invisible",
        "too_late",
        "degraded: sink annotations: down",
        "25 %",
    ):
        assert part in read.text, part


def test_before_anything_arrives_it_says_where_to_send() -> None:
    assert "Point a Collector's otlp exporter here: grpc 127.0.0.1:4317, http 127.0.0.1:4318." in Read(page(view(Snapshot()), [], [])).text


def test_it_loads_nothing_and_runs_nothing() -> None:
    shown = snapshot(incident())
    read = Read(page(view(shown), [incident_view(one) for one in shown.incidents], []))
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(read.tags)
    assert all(link.startswith("/") and not link.startswith("//") for link in read.links)


def test_what_comes_from_outside_is_text() -> None:
    evil = "<script>alert(1)</script>'\" onload=x"
    shown = snapshot(incident(evil, finding=finding(evil, title=evil, action=evil, affected=(evil,))))
    told = change_view(change(evil, summary=evil, service=evil))
    read = Read(page(view(shown, NO_VERSION._replace(text=evil)), [incident_view(one) for one in shown.incidents], [told]))
    assert "script" not in read.tags
    assert read.text.count(evil) >= 6
