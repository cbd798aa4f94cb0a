"""What a metric measures, told by the vocabulary and units of the field, never by one system's names."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from engine.records import PointType
from engine.take.series import SeriesKey, quantile_name


class Role(StrEnum):
    """The golden signals of a component, and how full its resources are."""

    REQUESTS = "requests"  # served, per second; failed ones too, see `failed`
    LATENCY = "latency"  # of the requests that it served, seconds
    FAILURE_SHARE = "failure share"
    SUCCESS_SHARE = "success share"
    FAILURES = "failures"  # failed requests, per second, in a metric of their own
    UTILISATION = "utilisation"  # share of a resource that is in use
    OTHER = ""


class Measure(NamedTuple):
    """A series' role. `statistic` of a latency: mean, p50, ..."""

    role: Role
    statistic: str = ""


WORD = re.compile(r"\d+[a-z]+|p\d+(?:\.\d+)?|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
QUANTILE = re.compile(r"p\d{2,3}(?:\.\d+)?")
DURATION = frozenset({"duration", "durations", "elapsed", "time", "seconds", "milliseconds"})
REQUEST = frozenset({"request", "requests", "req", "reqs", "call", "calls", "rpc", "rpcs", "invocation", "invocations", "response",
                     "responses", "transaction", "transactions", "operation", "operations", "http"})  # fmt: skip
#: Words of what something else took, of work that no request waits for, and of times that nothing took.
NOT_SERVED = frozenset({"client", "upstream", "outbound", "db", "database", "disk", "gc", "queue", "pool", "lock", "connection",
                        "connections", "dns", "tls", "replication", "scrape", "export", "exporter", "size", "bytes", "body",
                        "active", "depth", "uptime", "start", "since", "age", "timestamp", "timeout", "interval", "cpu"})  # fmt: skip
FAILURE = frozenset({"error", "errors", "failure", "failures", "failed", "fault", "faults", "exceptions", "5xx"})
SUCCESS = frozenset({"availability", "success", "successes", "successful"})
UTILISATION = frozenset({"utilization", "utilisation"})
MEAN = frozenset({"mean", "average", "avg"})
#: Attribute values under which a share is what is *not* in use.
UNUSED = frozenset({"idle", "free", "available", "cached", "buffered"})
RESULT = frozenset({"error.type", "status.code", "status_code", "status", "code", "outcome", "result", "http.response.status_code",
                    "http.status_code", "rpc.grpc.status_code", "rpc.response.status_code", "otel.status_code", "grpc_code",
                    "response_code"})  # fmt: skip
FAILED = frozenset({"error", "status_code_error", "failed", "failure", "fault", "exception", "timeout", "server_error", "5xx",
                    "deadline_exceeded", "internal", "unavailable", "data_loss"})  # fmt: skip
#: Codes that are a server's own failure: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS (OTel, RPC).
GRPC_FAILED = frozenset({"2", "4", "12", "13", "14", "15"})
BUCKETED = (PointType.HISTOGRAM, PointType.EXPONENTIAL_HISTOGRAM, PointType.SUMMARY)


@lru_cache(maxsize=65536)
def words(name: str) -> frozenset[str]:
    """Words of a metric's name, lower case.

    >>> sorted(words("http.server.requestDuration_p99")), sorted(words("api_5xx_per_sec"))
    (['duration', 'http', 'p99', 'request', 'server'], ['5xx', 'api', 'per', 'sec'])
    """
    return frozenset(part.lower() for part in WORD.findall(name))


@lru_cache(maxsize=65536)
def measure(key: SeriesKey) -> Measure:
    """What a series measures.

    Latency: a name with latency in it, or a duration of requests, in seconds, of served requests only: without client, database or
    queue. A share: a gauge of unit 1. Metrics made from spans count where the span's kind is SERVER or CONSUMER.
    """
    found, attributes = words(key.metric), dict(key.attributes)
    kind = attributes.get("span.kind", "") or attributes.get("span_kind", "")
    served = not found & NOT_SERVED and (not kind or kind.upper().endswith(("SERVER", "CONSUMER")))
    if key.type is PointType.GAUGE and (key.unit == "1" or (not key.unit and found & UTILISATION)):
        if found & (SUCCESS | FAILURE):
            role = Role.SUCCESS_SHARE if found & SUCCESS else Role.FAILURE_SHARE
            return Measure(role if served else Role.OTHER)
        return Measure(Role.OTHER if UNUSED & {value.lower() for value in attributes.values()} else Role.UTILISATION)
    if not served:
        return Measure(Role.OTHER)
    rate = key.statistic == "rate" or key.unit.endswith("/s")
    duration = bool("latency" in found or ((found & DURATION and found & (REQUEST | {"server"})) or "span" in " ".join(found)))
    if rate and key.type in BUCKETED:
        return Measure(Role.REQUESTS if duration else Role.OTHER)
    if (
        rate
        and key.unit.partition("/")[0] not in ("s", "By")
        and (found & (REQUEST | FAILURE) or key.unit in ("{request}/s", "{call}/s", "{operation}/s"))
    ):
        return Measure(Role.FAILURES if found & FAILURE else Role.REQUESTS)
    if duration and key.unit == "s" and not rate:
        return Measure(Role.LATENCY, _statistic(key, found))
    return Measure(Role.OTHER)


def failed(attributes: tuple[tuple[str, str], ...]) -> bool:
    """Whether attributes say that a request failed by the server's fault.

    >>> failed((("http.response.status_code", "503"),)), failed((("http.response.status_code", "404"),)), failed((("error.type", "x"),))
    (True, False, True)
    """
    for name, value in attributes:
        if name not in RESULT:
            continue
        plain = value.lower()
        if name == "error.type" and plain and not (plain.isdigit() and int(plain) < 500):
            return True
        if plain in FAILED or (len(plain) == 3 and plain.isdigit() and plain[0] == "5"):
            return True
        if "grpc" in name and plain in GRPC_FAILED:
            return True
    return False


def _statistic(key: SeriesKey, found: frozenset[str]) -> str:
    if key.statistic:
        return key.statistic
    share = dict(key.attributes).get("quantile", "")
    if share.replace(".", "", 1).isdigit():
        return quantile_name(float(share))
    named = sorted(word for word in found if QUANTILE.fullmatch(word))
    return named[0] if named else "mean" if found & MEAN else "value"
