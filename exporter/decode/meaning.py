"""What attributes say, by semantic conventions: the peer, the error, the exception, the place, the sampling weight.

Attributes come as a mapping of key to text that holds only keys of the sets below.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from engine.records import PeerKind, SpanKind
from exporter.decode.resource import first

PEER_SERVICE = ("service.peer.name", "peer.service")
PEER_ADDRESS = ("server.address", "network.peer.address", "net.peer.name", "net.peer.ip")
PEER_URL = ("url.full", "http.url")
PEER_UPSTREAM = ("upstream.host", "upstream_host")  # access logs of proxies
DATABASE_SYSTEM = ("db.system.name", "db.system")
DATABASE_NAME = ("db.namespace", "db.name")
QUEUE_SYSTEM = ("messaging.system",)
QUEUE_NAME = ("messaging.destination.template", "messaging.destination.name", "messaging.destination")
STATEMENT = ("db.query.text", "db.statement")
ERROR_TYPE = ("error.type", "exception.type")
ERROR_MESSAGE = ("error.message", "exception.message")
HTTP_STATUS = ("http.response.status_code", "http.status_code")
RPC_STATUS = ("rpc.response.status_code", "rpc.grpc.status_code")
EXCEPTION_TYPE = ("exception.type", "error.type")
EXCEPTION_MESSAGE = ("exception.message", "error.message")
EXCEPTION_STACK = ("exception.stacktrace", "error.stack", "stacktrace", "stack")
FILE = ("code.file.path", "code.filepath")
LINE = ("code.line.number", "code.lineno")
FUNCTION = ("code.function.name", "code.function")
EVENT_NAME = ("event.name",)

SPAN_KEYS = frozenset(
    PEER_SERVICE
    + PEER_ADDRESS
    + PEER_URL
    + DATABASE_SYSTEM
    + DATABASE_NAME
    + QUEUE_SYSTEM
    + QUEUE_NAME
    + STATEMENT
    + ERROR_TYPE
    + ERROR_MESSAGE
    + HTTP_STATUS
    + RPC_STATUS
)
LOG_KEYS = frozenset(
    PEER_SERVICE
    + PEER_ADDRESS
    + PEER_URL
    + PEER_UPSTREAM
    + STATEMENT
    + EXCEPTION_TYPE
    + EXCEPTION_MESSAGE
    + EXCEPTION_STACK
    + FILE
    + LINE
    + FUNCTION
    + EVENT_NAME
)
EXCEPTION_EVENT = "exception"

CALLS = (SpanKind.CLIENT, SpanKind.PRODUCER)
GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

THRESHOLD_DIGITS = 14  # tracestate ot=th: 56 bits, trailing zeros left out
WEIGHT_MAX = float(1 << 24)


def peer_of(found: Mapping[str, str], kind: int) -> tuple[str, PeerKind]:
    """The other side of a span: a database or queue by its namespace or destination, else a service, else an address.

    `server.address` names the other side of a client only: a server says its own there.

    >>> peer_of({"db.system.name": "mysql", "server.address": "db-1"}, SpanKind.CLIENT)
    ('db-1', <PeerKind.DATABASE: 2>)
    >>> peer_of({"server.address": "cart"}, SpanKind.SERVER)
    ('', <PeerKind.NONE: 0>)
    """
    service = first(found, PEER_SERVICE)
    if kind != SpanKind.SERVER:
        system = first(found, DATABASE_SYSTEM)
        if system:
            return service or first(found, DATABASE_NAME) or first(found, PEER_ADDRESS) or system, PeerKind.DATABASE
        queue = first(found, QUEUE_NAME) or first(found, QUEUE_SYSTEM)
        if queue:
            return queue, PeerKind.QUEUE
    if service:
        return service, PeerKind.SERVICE
    if kind in CALLS:
        address = first(found, PEER_ADDRESS) or host_of(first(found, PEER_URL))
        if address:
            return address, PeerKind.EXTERNAL
    return "", PeerKind.NONE


def log_peer_of(found: Mapping[str, str]) -> str:
    """Whom a log record names as the other side, "" for nobody."""
    return first(found, PEER_SERVICE) or first(found, PEER_UPSTREAM) or first(found, PEER_ADDRESS) or host_of(first(found, PEER_URL))


def host_of(url: str) -> str:
    """Host of a URL, "" if it has none.

    >>> host_of("https://api.example.com:8443/v1"), host_of("/v1"), host_of("http://[::1")
    ('api.example.com', '', '')
    """
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def error_type_of(found: Mapping[str, str], kind: int) -> str:
    """error.type or exception.type, else a failing RPC or HTTP status: 5xx, on clients 4xx too (semantic conventions for HTTP spans).

    >>> error_type_of({"rpc.grpc.status_code": "14"}, SpanKind.SERVER), error_type_of({"http.status_code": "404"}, SpanKind.SERVER)
    ('UNAVAILABLE', '')
    """
    named = first(found, ERROR_TYPE)
    if named:
        return named
    rpc = first(found, RPC_STATUS)
    if rpc.isdecimal() and len(rpc) <= 2 and int(rpc) < len(GRPC_CODES):
        rpc = GRPC_CODES[int(rpc)]
    if rpc and rpc != "OK":
        return rpc
    http = first(found, HTTP_STATUS)
    if len(http) == 3 and http.isdecimal() and (http[0] == "5" or (http[0] == "4" and kind == SpanKind.CLIENT)):
        return http
    return ""


def exception_text(found: Mapping[str, str]) -> str:
    """Type, message and stack of a log record's exception, "" if it has none of them.

    >>> exception_text({"exception.type": "KeyError", "exception.message": "id", "stack": "cart.py:12"})
    'KeyError: id\\ncart.py:12'
    """
    head = ": ".join(part for part in (first(found, EXCEPTION_TYPE), first(found, EXCEPTION_MESSAGE)) if part)
    return "\n".join(part for part in (head, first(found, EXCEPTION_STACK)) if part)


def place_of(found: Mapping[str, str]) -> str:
    """Code location that a log record's attributes name, "" for none.

    >>> place_of({"code.file.path": "/app/cart.py", "code.line.number": "12"})
    'cart.py:12'
    """
    file, line = first(found, FILE), first(found, LINE)
    if file and line:
        return f"{file.replace(chr(92), '/').rpartition('/')[2]}:{line}"
    return first(found, FUNCTION)


def weight_of(trace_state: str) -> float:
    """How many spans of the population one sampled span stands for: 2^56 / (2^56 - th), 1 without ot=th.

    Source: OpenTelemetry specification, TraceState: probability sampling.

    >>> weight_of("vendor=1,ot=rv:1;th:8"), weight_of("ot=th:0"), weight_of("")
    (2.0, 1.0, 1.0)
    """
    if "ot=" not in trace_state:
        return 1.0
    for member in trace_state.split(","):
        key, _, fields = member.strip().partition("=")
        if key != "ot":
            continue
        for item in fields.split(";"):
            if not item.startswith("th:"):
                continue
            digits = item[3:]
            if not 1 <= len(digits) <= THRESHOLD_DIGITS or any(digit not in "0123456789abcdef" for digit in digits):
                return 1.0
            threshold = int(digits.ljust(THRESHOLD_DIGITS, "0"), 16)
            return min(WEIGHT_MAX, (1 << 56) / ((1 << 56) - threshold))
    return 1.0
