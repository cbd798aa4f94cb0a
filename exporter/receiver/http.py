"""OTLP over HTTP: POST /v1/traces, /v1/logs, /v1/metrics, /v1development/profiles; protobuf and JSON; gzip."""

from __future__ import annotations

import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import orjson

from exporter.receiver.answers import CODES, Answer, Signal, Verdict, response_json, response_of, status_json, status_of
from exporter.receiver.desk import Desk
from exporter.receiver.ports import bound_port_error
from exporter.receiver.settings import HttpSettings
from exporter.receiver.tls import FollowedContext

TRANSPORT = "http"
SETTING = "receiver.http.endpoint"
PATHS = {
    "/v1/traces": Signal.TRACES,
    "/v1/logs": Signal.LOGS,
    "/v1/metrics": Signal.METRICS,
    "/v1development/profiles": Signal.PROFILES,
}
PROTOBUF, JSON = "application/x-protobuf", "application/json"
ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
PIECE_BYTES = 1 << 16
LINE_BYTES = 1024  # of a chunk's size line and of trailers
TRAILERS = 64


class HttpReceiver:
    """The server. `port` is the one it listens on (the endpoint may say 0)."""

    def __init__(self, desk: Desk, *, settings: HttpSettings) -> None:
        """Bind the port. Raises: OSError that names the setting where it cannot be had; ssl.SSLError for unusable certificates."""
        try:
            self._server = _Server(desk, settings)
        except (OSError, OverflowError, ValueError) as error:
            if isinstance(error, ssl.SSLError):
                raise
            raise bound_port_error(SETTING, settings.endpoint, str(error)) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="whence-http", daemon=True)

    def start(self) -> None:
        """Take requests."""
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no new connections, let those in flight end, for at most that long."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._server.drain(grace_seconds)


class _Server(ThreadingHTTPServer):
    """A thread a connection, and a limit of them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, desk: Desk, settings: HttpSettings) -> None:
        self.desk, self.settings = desk, settings
        self._tls = FollowedContext(settings.tls) if settings.tls.cert_file else None
        self._open: dict[int, socket.socket] = {}  # by id of the accepted socket; TLS wraps it
        self._changed = threading.Condition()
        host, _, port = settings.endpoint.rpartition(":")
        if host.startswith("["):
            self.address_family = socket.AF_INET6
        super().__init__((host.strip("[]"), int(port)), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            crowded = len(self._open) >= self.settings.connections
            if not crowded:
                self._open[id(request)] = request
        if crowded:
            self.desk.refuse(TRANSPORT, Verdict.CROWDED, "")
            if self._tls is None:  # a handshake here would hold up everyone
                request.settimeout(1.0)
                request.sendall(crowded_response(self.desk.settings.retry_after_seconds))
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(self.settings.read_timeout_seconds)
        with self._tls.context().wrap_socket(request, server_side=True) as wrapped:
            with self._changed:
                self._open[id(request)] = wrapped
            super().finish_request(wrapped, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._open.pop(id(request), None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def drain(self, grace_seconds: float) -> None:
        """Wait for connections to end, then cut them. Idle ones end at once: their thread waits for a request that will not be taken."""
        with self._changed:
            for each in self._open.values():
                _shut(each, socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._open, grace_seconds)
            for each in self._open.values():
                _shut(each, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke, or failed its handshake: counted, not logged."""
        self.desk.refuse(TRANSPORT, Verdict.UNRECEIVED, "")


class _RefusedError(Exception):
    """The request is answered without being taken."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict, self.message = verdict, message


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self.connection.settimeout(self.server.settings.idle_timeout_seconds)
        super().handle_one_request()

    def parse_request(self) -> bool:
        self._deadline = monotonic() + self.server.settings.read_timeout_seconds
        self.connection.settimeout(self.server.settings.read_timeout_seconds)
        return super().parse_request()

    def do_POST(self) -> None:
        """An export."""
        signal = PATHS.get(self.path.partition("?")[0])
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_json = media_type == JSON
        try:
            if signal is None:
                raise _RefusedError(Verdict.PATH, f"no such path; there are {', '.join(PATHS)}")
            if not self.server.desk.authorized(self.headers.get("Authorization", ""), TRANSPORT):
                return self._answer(Answer(Verdict.TOKEN, "bearer token missing or wrong"), Signal.PROFILES, is_json, close=True)
            if media_type not in (JSON, PROTOBUF):
                raise _RefusedError(Verdict.MEDIA_TYPE, f"Content-Type must be {PROTOBUF} or {JSON}, however: {media_type!r}")
            encoding = self.headers.get("Content-Encoding", "").strip().lower()
            if encoding not in ENCODINGS:
                raise _RefusedError(Verdict.ENCODING, f"Content-Encoding must be gzip or identity, however: {encoding!r}")
            body = self._body()
        except _RefusedError as refused:
            return self._answer(self.server.desk.refuse(TRANSPORT, refused.verdict, refused.message), Signal.PROFILES, is_json, close=True)
        answer = self.server.desk.take(TRANSPORT, signal, body, gzipped=ENCODINGS[encoding], is_json=is_json)
        return self._answer(answer, signal, is_json, close=self.server.desk.draining)

    def _other(self) -> None:
        """Any other method."""
        known = self.path.partition("?")[0] in PATHS
        verdict = Verdict.METHOD if known else Verdict.PATH
        self._answer(self.server.desk.refuse(TRANSPORT, verdict, "only POST"), Signal.PROFILES, False, close=True)

    do_GET = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _other  # noqa: N815  # the names that http.server looks for

    def _body(self) -> bytes:
        """The whole body, within size and time. Raises: _RefusedError."""
        limit = self.server.desk.settings.max_message_bytes
        try:
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                return self._chunks(limit)
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                raise _RefusedError(Verdict.MALFORMED, f"Content-Length must be a number, however: {length!r}")
            if int(length[:20]) > limit:
                raise _RefusedError(Verdict.TOO_LARGE, f"{length[:20]} bytes, more than {limit}")
            return self._exactly(int(length))
        except OSError as error:
            raise _RefusedError(Verdict.UNRECEIVED, f"the body did not arrive: {error}") from None

    def _exactly(self, size: int) -> bytes:
        """So many bytes."""
        whole = bytearray()
        while len(whole) < size:
            left = self._deadline - monotonic()
            if left <= 0:
                raise TimeoutError("too slow")
            self.connection.settimeout(left)
            piece = self.rfile.read1(min(PIECE_BYTES, size - len(whole)))
            if not piece:
                raise ConnectionError("cut short")
            whole += piece
        return bytes(whole)

    def _chunks(self, limit: int) -> bytes:
        """A body in chunks (RFC 9112, 7.1)."""
        whole = bytearray()
        while True:
            line = self._line()
            digits = line.partition(b";")[0].strip()
            try:
                size = int(digits, 16) if digits.isalnum() and len(digits) <= 16 else -1
            except ValueError:
                size = -1
            if size < 0:
                raise _RefusedError(Verdict.MALFORMED, "chunk without a size")
            if size == 0:
                break
            if len(whole) + size > limit:
                raise _RefusedError(Verdict.TOO_LARGE, f"more than {limit} bytes")
            whole += self._exactly(size)
            if self._line():
                raise _RefusedError(Verdict.MALFORMED, "chunk longer than its size")
        for _ in range(TRAILERS):
            if not self._line():
                return bytes(whole)
        raise _RefusedError(Verdict.MALFORMED, "too many trailers")

    def _line(self) -> bytes:
        """A line without its end."""
        self.connection.settimeout(max(0.001, self._deadline - monotonic()))
        line = self.rfile.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            raise _RefusedError(Verdict.MALFORMED, "chunk line cut short")
        return line.rstrip(b"\r\n")

    def _answer(self, answer: Answer, signal: Signal, is_json: bool, *, close: bool) -> None:
        """Write the response, in the media type of the request."""
        code = CODES[answer.verdict]
        if answer.verdict is Verdict.TAKEN:
            body = orjson.dumps(response_json(answer, signal)) if is_json else response_of(answer, signal)
        else:
            seconds = self.server.desk.settings.retry_after_seconds
            body = orjson.dumps(status_json(answer)) if is_json else status_of(answer, seconds)
        self.send_response(code.http)
        self.send_header("Content-Type", JSON if is_json else PROTOBUF)
        self.send_header("Content-Length", str(len(body)))
        if code.retry:
            self.send_header("Retry-After", str(self.server.desk.settings.retry_after_seconds))
        if answer.verdict is Verdict.METHOD:
            self.send_header("Allow", "POST")
        if answer.verdict is Verdict.TOKEN:
            self.send_header("WWW-Authenticate", "Bearer")
        if close:  # what is left of the body is not read
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if close:
            self._discard()

    def _discard(self) -> None:
        """Read on for a moment: closing with unread bytes resets the connection, and the sender may lose the answer."""
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            until, left = monotonic() + 1.0, self.server.desk.settings.max_message_bytes
            while left > 0 and monotonic() < until:
                self.connection.settimeout(max(0.001, until - monotonic()))
                piece = self.rfile.read1(PIECE_BYTES)
                if not piece:
                    return
                left -= len(piece)
        except OSError:
            return

    def version_string(self) -> str:
        """Value of the Server header."""
        return "whence"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""


def crowded_response(retry_after_seconds: int) -> bytes:
    """Response to a connection beyond the limit."""
    head = f"HTTP/1.1 {CODES[Verdict.CROWDED].http} Too Many Requests\r\nRetry-After: {retry_after_seconds}\r\n"
    return (head + "Content-Length: 0\r\nConnection: close\r\n\r\n").encode()


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return
