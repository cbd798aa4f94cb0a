"""The web port: reads requests within bounds of size, time and number, and has `exporter.api` answer them."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from exporter import __version__
from exporter.api import Api, Problem, Request, Response, problem_response
from exporter.log import event

CONNECTIONS_MOST = 64
QUERY_MOST = 20


class WebServer(ThreadingHTTPServer):
    """A thread a connection, at most 64. A connection that has not sent its request in time is closed, however slowly it trickles."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        api: Api,
        *,
        max_body_bytes: int,
        timeout_seconds: float,
        counted: Callable[[str, int], None] = lambda path, code: None,
    ) -> None:
        """Listen. Raises: OSError if the port is taken."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.api, self.max_body_bytes, self.timeout_seconds, self.counted = api, max_body_bytes, timeout_seconds, counted
        self._deadlines: dict[socket.socket, float] = {}
        self._places = threading.BoundedSemaphore(CONNECTIONS_MOST)
        super().__init__(address, Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self.shutdown()
        self.server_close()

    def within(self, connection: socket.socket, seconds: float | None) -> None:
        """Give a connection so long for what it does next; None: as long as it likes."""
        if seconds is None:
            self._deadlines.pop(connection, None)
        else:
            self._deadlines[connection] = time.monotonic() + seconds

    def service_actions(self) -> None:
        """Called by serve_forever every 0.2 s: end what is overdue."""
        now = time.monotonic()
        for connection, deadline in list(self._deadlines.items()):
            if now > deadline:
                self._deadlines.pop(connection, None)
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it went by itself

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A thread for the connection, if there is a place."""
        if not isinstance(request, socket.socket):
            return
        if not self._places.acquire(blocking=False):
            self.counted("", HTTPStatus.SERVICE_UNAVAILABLE)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """The life of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            if isinstance(request, socket.socket):
                self.within(request, None)
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection broke: nobody is left to be told."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: WebServer
    protocol_version = "HTTP/1.1"
    server_version = f"whence/{__version__}"
    sys_version = ""

    def handle_one_request(self) -> None:
        """Bound every read, and the request as a whole."""
        self.connection.settimeout(self.server.timeout_seconds)
        self.server.within(self.connection, self.server.timeout_seconds)
        super().handle_one_request()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are counted, not logged."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses: malformed or overlong request lines and headers."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else what it could not read is taken for HTTP/0.9: an answer without a head
        self._send(problem_response(Problem(HTTPStatus(code), "", message or HTTPStatus(code).phrase)), "")

    def work(self) -> None:
        """Read a request, answer it."""
        url = urlsplit(self.path)
        path = self.server.api.route(url.path)
        try:
            body = self._body()
            query = dict(parse_qsl(url.query, keep_blank_values=True, max_num_fields=QUERY_MOST))
        except Problem as problem:
            self.close_connection = True  # what follows is not a request
            self._send(problem_response(problem), path)
            return
        except ValueError as error:
            self._send(problem_response(Problem(HTTPStatus.BAD_REQUEST, "query", str(error))), path)
            return
        self.server.within(self.connection, 2 * self.server.timeout_seconds)  # the answer: the engine's time, then the reader's
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            response = self.server.api.answer(Request(self.command, url.path, query, headers, body))
        except Exception as error:
            event("web error", level=logging.ERROR, trace=True, path=path, reason=str(error))
            response = problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "", "a bug of whence; it is in the log"))
        self._send(response, path)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding"):
            raise Problem(HTTPStatus.LENGTH_REQUIRED, "transfer-encoding", "send a Content-Length")
        text = self.headers.get("Content-Length", "0")
        if not text.isascii() or not text.isdigit():
            raise Problem(HTTPStatus.BAD_REQUEST, "content-length", f"must be a count of bytes, however: {text!r}")
        if len(text) > 12 or int(text) > self.server.max_body_bytes:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body", f"at most {self.server.max_body_bytes} bytes (web.max_body_kib)")
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise Problem(HTTPStatus.BAD_REQUEST, "body", "shorter than its Content-Length")
        return body

    def _send(self, response: Response, path: str) -> None:
        self.server.counted(path, response.status)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if response.status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if response.status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        if response.content_type.startswith("text/html"):
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)


for _verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Handler, f"do_{_verb}", Handler.work)
