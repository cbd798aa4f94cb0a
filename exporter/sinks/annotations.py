"""Grafana annotations: a region an incident, patched while it lives and closed with its end; a point a change.

HTTP API: POST and PATCH /api/annotations, found again by tag with GET, so that a restart or a lost answer makes no second one.
https://grafana.com/docs/grafana/latest/developers/http_api/annotations/
"""

from __future__ import annotations

import hashlib
import html
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

from engine.records import ConfigChange, Incident
from exporter.sections import AnnotationSink
from exporter.sinks.queue import Permanent

#: Grafana keeps a tag as key and value of at most 100 characters each, split at the first two colons.
TAG_LONGEST = 100
#: [annotations] tags_length: of all tags as a JSON array, in bytes.
TAGS_LONGEST = 500
SERVICES_MOST = 4
TEXT_LONGEST = 4000
REMEMBERED_MOST = 1000
ANSWER_LONGEST = 1 << 20
MS_NS = 1_000_000
#: Answers after which the same request may succeed later; without 401 and 403 a wrong token would lose what a reload can save.
AGAIN = {401, 403, 408, 425, 429}


def tag(key: str, value: str) -> str:
    """key:value in the limits of Grafana; what does not fit, or has a colon, is cut and told apart by a hash.

    >>> tag("service", "shop/cart"), tag("service", "a:b")
    ('service:shop/cart', 'service:a_b~6783a31e')
    """
    clean = value.strip().replace(":", "_")
    if clean == value and len(value) <= TAG_LONGEST:
        return f"{key}:{value}"
    return f"{key}:{clean[: TAG_LONGEST - 9]}~{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def bounded(tags: Iterable[str]) -> list[str]:
    """The first tags that fit together."""
    kept: list[str] = []
    size = 2
    for each in dict.fromkeys(tags):
        size += len(each.encode()) + 3
        if size > TAGS_LONGEST:
            break
        kept.append(each)
    return kept


def incident_tags(incident: Incident) -> list[str]:
    """Tags of an incident; the first two find it again."""
    services = dict.fromkeys(each for each in (incident.finding.root, *incident.finding.affected) if each)
    named = [tag("service", each) for each in list(services)[:SERVICES_MOST]]
    return bounded(["rca", tag("incident", incident.id), f"severity:{incident.severity.value}", *named])


def change_tags(change: ConfigChange) -> list[str]:
    """Tags of a change; the first two find it again."""
    service = [tag("service", change.service)] if change.service else []
    return bounded(["rca", tag("change", change.id), tag("change_type", change.type.value), *service])


def incident_text(incident: Incident, link: str) -> str:
    """HTML that Grafana shows: title, how sure, the strongest evidence, what to do. All of it escaped: names come from outside."""
    finding = incident.finding
    sure = f"{finding.verdict}, {round(100 * finding.confidence)} %; state: {incident.state.value}"
    lines = [finding.title or f"incident {incident.id}", sure, *(item.sentence for item in finding.evidence[:3])]
    lines += [finding.action] if finding.action else []
    lines += [f"merged into {incident.merged_into}"] if incident.merged_into else []
    text = "<br>".join(html.escape(each[:600]) for each in lines)[:TEXT_LONGEST]
    return text + (f'<br><a href="{html.escape(link)}/api/v1/incidents/{incident.id}">evidence</a>' if link else "")


def change_text(change: ConfigChange) -> str:
    """What changed, where, by whom."""
    where = f" of {change.service}" if change.service else ""
    what = change.summary or change.version or change.flag_key or change.kind
    who = f" by {change.actor}" if change.actor else ""
    return html.escape(f"{change.type.value}{where}: {what}{who} ({change.id})")[:TEXT_LONGEST]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and the token would go to another host."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


class Annotations:
    """`exporter.sinks.queue.Sink`. Only ever called by one thread."""

    name = "annotations"

    def __init__(self, settings: AnnotationSink, token: Callable[[], str], *, external_url: str = "") -> None:
        self.settings, self.token = settings, token
        self.external_url = external_url.rstrip("/")
        self._base = settings.url.rstrip("/")
        self._known: dict[str, int] = {}  # id of the incident or change: id of its annotation
        self._open = urllib.request.build_opener(_NoRedirect())

    def send(self, item: Incident | ConfigChange) -> None:
        """Create or patch the annotation of an incident, or create that of a change.

        Raises: Permanent where Grafana says that it will never take it; OSError to be asked again.
        """
        if isinstance(item, ConfigChange):
            self._send_change(item)
        else:
            self._send_incident(item)

    def _send_incident(self, incident: Incident) -> None:
        end_ns = incident.resolved_ns or incident.updated_ns
        tags = incident_tags(incident)
        body = {
            "time": incident.onset_ns // MS_NS,
            # a region needs an end after its start
            "timeEnd": max(end_ns // MS_NS, incident.onset_ns // MS_NS + 1),
            "tags": tags,
            "text": incident_text(incident, self.external_url),
        }
        known = self._find(incident.id, tags)
        if known is not None:
            try:
                self._call("PATCH", f"/api/annotations/{known}", body)
            except Permanent as error:
                if not str(error).startswith("404"):
                    raise
                known = None  # somebody deleted it, or Grafana cleaned up
        if known is None:
            known = self._create(body)
        self._remember(incident.id, known)

    def _send_change(self, change: ConfigChange) -> None:
        tags = change_tags(change)
        if self._find(change.id, tags) is None:
            body = {"time": change.time_ns // MS_NS, "tags": tags, "text": change_text(change)}
            self._remember(change.id, self._create(body))

    def _create(self, body: dict[str, Any]) -> int:
        place: dict[str, Any] = {"dashboardUID": self.settings.dashboard_uid} if self.settings.dashboard_uid else {}
        if self.settings.panel_id:
            place["panelId"] = self.settings.panel_id
        made = self._call("POST", "/api/annotations", {**place, **body})
        if not isinstance(made, dict) or not isinstance(made.get("id"), int):
            raise Permanent(f"POST /api/annotations: no id in the answer: {str(made)[:200]}")
        return int(made["id"])

    def _find(self, name: str, tags: list[str]) -> int | None:
        if name in self._known:
            return self._known[name]
        query = urllib.parse.urlencode({"type": "annotation", "limit": "10", "tags": tags[:2]}, doseq=True)
        found = self._call("GET", f"/api/annotations?{query}", None)
        ids = [one["id"] for one in found if isinstance(one, dict) and isinstance(one.get("id"), int)] if isinstance(found, list) else []
        return min(ids, default=None)

    def _remember(self, name: str, known: int) -> None:
        self._known.pop(name, None)
        self._known[name] = known
        if len(self._known) > REMEMBERED_MOST:
            del self._known[next(iter(self._known))]  # the one not used for longest: found again by tag

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "whence"}
        token = self.token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        where = f"{method} {path.partition('?')[0]}"
        try:
            with self._open.open(request, timeout=self.settings.timeout_seconds) as answer:
                raw = answer.read(ANSWER_LONGEST)
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {where}: {error.read(500).decode(errors='replace').strip()}"
            error.close()
            if error.code in AGAIN or error.code >= 500 or 300 <= error.code < 400:
                raise OSError(reason) from None
            raise Permanent(reason) from None
        except http.client.HTTPException as error:
            raise OSError(f"{where}: broken answer: {error!r}") from None
        try:
            return json.loads(raw)
        except ValueError:
            raise OSError(f"{where}: the answer is not JSON: is {self._base} a Grafana?") from None
