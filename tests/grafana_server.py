"""A server that speaks the annotations part of Grafana's HTTP API as documented, with Grafana's limits on tags."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "glsa_test"
TAGS_LENGTH = 500
TAG_COLUMN = 100


class Grafana(ThreadingHTTPServer):
    """Annotations in memory. `fail` answers the next requests with these statuses; `lose` drops the next answers after working."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.annotations: dict[int, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.fail: list[int] = []
        self.lose = 0
        self.changed = threading.Condition()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for(self, met: Any, seconds: float = 10.0) -> bool:
        with self.changed:
            return bool(self.changed.wait_for(met, seconds))

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


def stored_tags(tags: list[str]) -> list[str]:
    """As pkg/services/tag does: split at colons, what stands behind a second one is lost."""
    kept = []
    for each in tags:
        key, *rest = each.split(":")
        value = rest[0] if rest else ""
        if len(key) > TAG_COLUMN or len(value) > TAG_COLUMN:
            raise OverflowError("value too long for type character varying(100)")
        kept.append(f"{key.strip()}:{value.strip()}" if value else key.strip())
    return kept


class Handler(BaseHTTPRequestHandler):
    server: Grafana
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def handle_request(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        grafana = self.server
        with grafana.changed:
            grafana.requests.append(f"{self.command} {urlsplit(self.path).path}")
            if grafana.fail:
                status, answer = grafana.fail.pop(0), {"message": "told to"}
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, answer = 401, {"message": "Invalid API key"}
            else:
                status, answer = self.work(body)
            grafana.changed.notify_all()
            if grafana.lose and self.command != "GET":
                grafana.lose -= 1
                self.close_connection = True
                return
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def work(self, body: Any) -> tuple[int, Any]:
        url = urlsplit(self.path)
        held = self.server.annotations
        if url.path == "/api/annotations" and self.command == "GET":
            query = parse_qs(url.query)
            wanted = set(query.get("tags", []))
            return 200, [one for one in held.values() if wanted <= set(one["tags"])][: int(query.get("limit", ["100"])[0])]
        if url.path == "/api/annotations" and self.command == "POST":
            if not body.get("text"):
                return 400, {"message": "text field should not be empty"}
            problem = self.problem(body)
            if problem:
                return problem
            made = {"id": len(held) + 1, "timeEnd": body["time"], "dashboardUID": None, "panelId": 0, **body}
            held[made["id"]] = made | {"tags": stored_tags(body.get("tags", []))}
            return 200, {"message": "Annotation added", "id": made["id"]}
        number = int(url.path.rpartition("/")[2]) if url.path.startswith("/api/annotations/") else 0
        if number not in held:
            return 404, {"message": "Could not find annotation to update"}
        if self.command == "PATCH":
            problem = self.problem(body)
            if problem:
                return problem
            held[number] |= body | ({"tags": stored_tags(body["tags"])} if "tags" in body else {})
            return 200, {"message": "Annotation patched"}
        del held[number]
        return 200, {"message": "Annotation deleted"}

    def problem(self, body: dict[str, Any]) -> tuple[int, Any] | None:
        tags = body.get("tags", [])
        if 2 + sum(len(each.encode()) + (3 if at else 2) for at, each in enumerate(tags)) > TAGS_LENGTH:
            return 400, {"message": "Tags length exceeds the maximum allowed."}
        try:
            stored_tags(tags)
        except OverflowError as error:
            return 500, {"message": str(error)}
        return None


for verb in ("GET", "POST", "PATCH", "DELETE"):
    setattr(Handler, f"do_{verb}", Handler.handle_request)
