"""What a series measures, by its name alone."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: What a series measures, by the words of its name. The first that fits counts; a queue that waits is saturation, not latency.
KINDS: Final = (
    (
        "errors",
        re.compile(
            r"err|fail|5xx|4xx|(?<!\d)[45]\d\d(?!\d)|exception|timeouts?_|panic|abort|reject|drop|denied|throttl|exhaust"
            r"|unavailab|success|availab|oom|crash|restart|refus|violat|invalid|unresolved|duplicat|dead_?letter|fallback|corrupt"
            r"|mismatch|unmatched|discard|(?<![a-z])lost|on_hold|unhealthy|abandon|declin|missing|skipped|orphan|stale|undeliver|bounce|unsent|stuck"
        ),
    ),
    (
        "saturation",
        re.compile(
            r"pool|queue|backlog|lag_|_lag|in_use|in_flight|pending|utili[sz]ation|cpu|memory|heap|disk|busy|saturat"
            r"|connections|threads|gc_|lock|depth|oldest"
        ),
    ),
    (
        "latency",
        re.compile(
            r"latenc|duration|response_?time|seconds|_ms\b|milli|_us\b|p50|p9\d|elapsed|took|wait|lag\b|delay|(?<![a-z])age(?![a-z])"
        ),
    ),
    ("requests", re.compile(r"requests?|rps|qps|per_sec|per_min|throughput|calls|rate\b|published|jobs|hits|messages|records|count|total")),
)


@lru_cache(maxsize=4096)  # many series have one name
def series_kind(metric: str) -> str:
    """errors, saturation, latency, requests or other.

    >>> [series_kind(name) for name in ("api_5xx_ratio", "pool_in_use", "http.server.duration", "calls_per_sec", "build_info")]
    ['errors', 'saturation', 'latency', 'requests', 'other']
    """
    name = re.sub(r"[.\-/]", "_", re.sub(r"([a-z])([A-Z])", r"\1_\2", metric)).lower()
    return next((kind for kind, words in KINDS if words.search(name)), "other")


#: Series that count what comes in, and not what is sent or what fails.
ARRIVALS: Final = re.compile(
    r"request|rps|qps|hits|visit|session|traffic|page_?view|^calls|invocation|upload|ingest|inbound|incoming|ingress", re.I
)
NO_ARRIVALS: Final = re.compile(
    r"out|sent|client|upstream|db|quer|retr|fail|err|miss|queue|duration|latency|per_request|seconds_(p|sum|bucket)|[45]\d\d|size", re.I
)

#: What databases, caches and brokers count of what they are asked.
SERVED: Final = re.compile(r"(quer(y|ies)|statements?|commands?|operations|ops|selects?|reads|gets)(_total|_count|_per_\w+|_rate)?$", re.I)
#: Series of how much comes in, not how often.
VOLUME: Final = re.compile(
    r"(upload|ingest|inbound|incoming|ingress|receiv|import)\w*(bytes|rows|records|size|volume)"
    r"|(bytes|rows|records|items|volume)_?(upload|ingest|inbound|incoming|receiv|import)",
    re.I,
)


def arrivals(metric: str) -> bool:
    """Whether a series counts requests that come in.

    >>> arrivals("http.server.requests"), arrivals("db_requests_out")
    (True, False)
    """
    return bool(ARRIVALS.search(metric)) and not NO_ARRIVALS.search(metric)


#: What a service starts by itself.
STARTS: Final = re.compile(r"jobs|outgoing|outbound|_sent|sent_|started|enqueued|published|attempts|retries|spawned|calls", re.I)
#: What waits for others to take it.
BACKLOG: Final = re.compile(
    r"(?<![a-z])(depth|backlog|lag|oldest|pending|unacked|ready_messages|messages_(ready|behind)|queue_(size|length))(?![a-z])", re.I
)
#: What fills up until it is full.
FILLS: Final = re.compile(
    r"memory|heap|(?<![a-z])rss|disk|queue|depth|backlog|lag(?![a-z])|oldest|connections|threads|goroutines|descriptors", re.I
)
