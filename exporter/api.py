"""What the web port answers, as a function of the request: the page, metrics, the API, health. `exporter.web` moves the bytes.

Errors are JSON that names the field: {"error": {"field": "start", "message": "..."}}.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import orjson

from engine.records import ConfigChange, Finding, Incident, Snapshot
from exporter.changes.native import change_from_json
from exporter.page import page
from exporter.plain import change_view, incident_view, plain
from exporter.receiver.intake import Busy
from exporter.status import Status
from exporter.store import Store, StoreError
from exporter.times import parse_time

LIMIT_DEFAULT, LIMIT_MOST = 100, 1000
#: An explanation looks at a span of event time of at most this length.
EXPLAIN_MOST_NS = 6 * 3600 * 10**9
CHANGES_MOST = 1000
TEXT, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"


class Request(NamedTuple):
    """A request, read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Response(NamedTuple):
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Problem(Exception):  # noqa: N818
    """A request that cannot be answered: status, the field at fault ("" for none) and what is wrong with it."""

    def __init__(self, status: HTTPStatus, field: str, message: str) -> None:
        super().__init__(message)
        self.status, self.field, self.message = status, field, message


class Backend(Protocol):
    """What the API asks of the running service."""

    store: Store

    @property
    def snapshot(self) -> Snapshot:
        """The engine's last snapshot."""
        ...

    def token(self) -> str:
        """Token that /api/v1 and /-/reload want, "" for none."""
        ...

    def status(self) -> Status:
        """The view of `exporter.status`."""
        ...

    def readiness(self) -> tuple[bool, list[str]]:
        """Whether senders may come, and what does not work fully."""
        ...

    def alive(self) -> bool:
        """Whether the engine still runs."""
        ...

    def add_changes(self, changes: Sequence[ConfigChange]) -> None:
        """Store changes and give them to the engine. Raises: Busy."""
        ...

    def ask(self, start_ns: int, end_ns: int) -> Future[Finding]:
        """An explanation of a span."""
        ...

    def tell(self, incident_id: str, *, dismiss: bool) -> Future[Incident | None]:
        """Dismiss or acknowledge an incident."""
        ...

    def reload(self) -> list[str]:
        """Load the settings again; problems, none if it worked."""
        ...

    def now_ns(self) -> int:
        """Received time."""
        ...

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Body and content type of /metrics."""
        ...


class Api:
    """Routes requests. Thread-safe: it holds nothing that changes."""

    def __init__(self, backend: Backend, *, timeout_seconds: float) -> None:
        self.backend, self.timeout_seconds = backend, timeout_seconds
        self._routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/": {"GET": self._page},
            "/metrics": {"GET": self._metrics},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/-/reload": {"POST": self._reload},
            "/api/v1/status": {"GET": self._status},
            "/api/v1/incidents": {"GET": self._incidents},
            "/api/v1/changes": {"GET": self._changes, "POST": self._add_changes},
            "/api/v1/explain": {"GET": self._explain},
            "/api/v1/incidents/{id}": {"GET": self._incident},
            "/api/v1/incidents/{id}/feedback": {"POST": self._feedback},
        }

    def route(self, path: str) -> str:
        """The pattern that a path falls under, "" for none: the label of a metric must not grow with requests."""
        if path in self._routes:
            return path
        parts = path.split("/")
        if path.startswith("/api/v1/incidents/") and len(parts) in {5, 6} and parts[4]:
            pattern = "/".join([*parts[:4], "{id}", *parts[5:]])
            return pattern if pattern in self._routes else ""
        return ""

    def answer(self, request: Request) -> Response:
        """The answer to any request; never raises."""
        try:
            methods = self._routes.get(self.route(request.path))
            if methods is None:
                raise Problem(HTTPStatus.NOT_FOUND, "path", f"there is no {request.path}")
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method", f"{request.path} takes {', '.join(methods)}")
            if request.path.startswith(("/api/", "/-/")):
                self._authorise(request)
            return handler(request)
        except Problem as problem:
            return problem_response(problem)
        except (Busy, StoreError) as error:
            return problem_response(Problem(HTTPStatus.SERVICE_UNAVAILABLE, "", str(error)))

    def _authorise(self, request: Request) -> None:
        token = self.backend.token()
        given = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise Problem(HTTPStatus.UNAUTHORIZED, "authorization", "wants a bearer token (web.auth.bearer_token)")

    # ------------------------------------------------------------ for people and machines that watch

    def _page(self, request: Request) -> Response:
        incidents = [incident_view(each) for each in self.backend.snapshot.incidents]
        changes = [change_view(each) for each in self.backend.store.changes(limit=10)]
        return Response(HTTPStatus.OK, HTML, page(self.backend.status(), incidents, changes).encode())

    def _metrics(self, request: Request) -> Response:
        body, content_type = self.backend.exposition(request.headers.get("accept", ""))
        return Response(HTTPStatus.OK, content_type, body)

    def _healthz(self, request: Request) -> Response:
        alive = self.backend.alive()
        return Response(HTTPStatus.OK if alive else HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"ok\n" if alive else b"the engine stopped\n")

    def _readyz(self, request: Request) -> Response:
        ready, degraded = self.backend.readiness()
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        if "verbose" not in request.query:
            return Response(status, TEXT, b"ready\n" if ready else b"not ready\n")
        return json_response({"ready": ready, "degraded": degraded}, status)

    def _reload(self, request: Request) -> Response:
        problems = self.backend.reload()
        if problems:
            field, _, message = problems[0].partition(": ")
            body = {"error": {"field": field if message else "", "message": message or field}, "problems": problems}
            return json_response(body, HTTPStatus.BAD_REQUEST)
        return json_response({"reloaded": True})

    def _status(self, request: Request) -> Response:
        return json_response(self.backend.status())

    # ------------------------------------------------------------ incidents

    def _incidents(self, request: Request) -> Response:
        query = known(request, {"state", "since", "limit"})
        state = query.get("state", "all")
        if state not in {"all", "active", "closed"}:
            raise Problem(HTTPStatus.BAD_REQUEST, "state", f"must be active, closed or all, however: {state!r}")
        active = {"active": True, "closed": False}.get(state)
        since_ns = time_in(query, "since", 0)
        found = self.backend.store.incidents(active=active, since_ns=since_ns, limit=limit_in(query))
        return json_response({"incidents": [incident_view(each, whole=False) for each in found]})

    def _incident(self, request: Request) -> Response:
        found = self._named(request)
        return json_response({**incident_view(found), "feedback": self.backend.store.feedback(found.id)})

    def _named(self, request: Request) -> Incident:
        name = request.path.split("/")[4]
        found = next((each for each in self.backend.snapshot.incidents if each.id == name), None) or self.backend.store.incident(name)
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, "id", f"there is no incident {name}")
        return found

    def _feedback(self, request: Request) -> Response:
        incident = self._named(request)
        body = json_body(request)
        if not isinstance(body, dict):
            raise Problem(HTTPStatus.BAD_REQUEST, "body", "must be an object")
        for name, value in body.items():
            if name not in {"verdict", "service", "note"}:
                raise Problem(HTTPStatus.BAD_REQUEST, str(name), "unknown; known are verdict, service, note")
            if not isinstance(value, str) or len(value) > 2000:
                raise Problem(HTTPStatus.BAD_REQUEST, name, "must be a text of at most 2000 characters")
        verdict = body.get("verdict")
        if verdict not in {"confirm", "dismiss"}:
            raise Problem(HTTPStatus.BAD_REQUEST, "verdict", f"must be confirm or dismiss, however: {verdict!r}")
        self.backend.store.add_feedback(incident.id, self.backend.now_ns(), verdict, body.get("service", ""), body.get("note", ""))
        after = self._wait(self.backend.tell(incident.id, dismiss=verdict == "dismiss"))
        return json_response(incident_view(after or incident, whole=False))

    # ------------------------------------------------------------ changes

    def _changes(self, request: Request) -> Response:
        query = known(request, {"start", "end", "service", "limit"})
        start_ns, end_ns = time_in(query, "start", 0), time_in(query, "end", 2**63 - 1)
        found = self.backend.store.changes(start_ns=start_ns, end_ns=end_ns, service=query.get("service"), limit=limit_in(query))
        return json_response({"changes": [change_view(each) for each in found]})

    def _add_changes(self, request: Request) -> Response:
        body = json_body(request)
        many = body if isinstance(body, list) else [body]
        if len(many) > CHANGES_MOST:
            raise Problem(HTTPStatus.BAD_REQUEST, "body", f"at most {CHANGES_MOST} changes a request, however: {len(many)}")
        now_ns, changes = self.backend.now_ns(), []
        for at, each in enumerate(many):
            try:
                changes.append(change_from_json(each, now_ns))
            except ValueError as error:
                field, _, message = str(error).partition(":")
                place = f"[{at}]." if isinstance(body, list) else ""
                raise Problem(HTTPStatus.BAD_REQUEST, place + field if message else place, message.strip() or field) from None
        self.backend.add_changes(changes)
        return json_response({"ids": [each.id for each in changes]}, HTTPStatus.CREATED)

    # ------------------------------------------------------------ explanations

    def _explain(self, request: Request) -> Response:
        query = known(request, {"start", "end"})
        for name in ("start", "end"):
            if name not in query:
                raise Problem(HTTPStatus.BAD_REQUEST, name, "is missing")
        start_ns, end_ns = time_in(query, "start", 0), time_in(query, "end", 0)
        if not 0 < end_ns - start_ns <= EXPLAIN_MOST_NS:
            raise Problem(HTTPStatus.BAD_REQUEST, "end", "must be after start, by at most 6 h")
        return json_response(plain(self._wait(self.backend.ask(start_ns, end_ns))))

    def _wait(self, answer: Future[Any]) -> Any:
        try:
            return answer.result(self.timeout_seconds)
        except TimeoutError:
            answer.cancel()
            raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "", f"the engine did not answer within {self.timeout_seconds:g} s") from None


# ------------------------------------------------------------ reading requests, writing answers


def known(request: Request, names: set[str]) -> Mapping[str, str]:
    """The query, if all of its names are known. Raises: Problem."""
    for name in request.query:
        if name not in names:
            raise Problem(HTTPStatus.BAD_REQUEST, name, f"unknown; known are {', '.join(sorted(names))}")
    return request.query


def time_in(query: Mapping[str, str], name: str, default_ns: int) -> int:
    """A time of the query in ns. Raises: Problem."""
    if name not in query:
        return default_ns
    try:
        return parse_time(query[name])
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, name, str(error)) from None


def limit_in(query: Mapping[str, str]) -> int:
    """The limit of the query. Raises: Problem."""
    text = query.get("limit", str(LIMIT_DEFAULT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LIMIT_MOST:
        raise Problem(HTTPStatus.BAD_REQUEST, "limit", f"must be 1 to {LIMIT_MOST}, however: {text!r}")
    return int(text)


def json_body(request: Request) -> Any:
    """The body as JSON. Raises: Problem.

    Asking for the content type keeps pages of other sites from posting here: a browser sends JSON across sites only with leave.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type", f"must be {JSON}")
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "body", f"not JSON: {error}") from None


def json_response(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer in JSON."""
    return Response(status, JSON, orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))


def problem_response(problem: Problem) -> Response:
    """An error in JSON that names the field."""
    return json_response({"error": {"field": problem.field, "message": problem.message}}, problem.status)
