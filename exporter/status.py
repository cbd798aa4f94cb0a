"""Is it working? What arrives from whom, since when, how far learning is, what is dropped and why, what makes whence blind.

One view for `whence status`, the page at / and /api/v1/status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.records import SECOND_NS, ServiceStatus, Snapshot
from exporter.hints import Hint, sentences
from exporter.metrics import Metrics
from exporter.plain import incident_view, rfc3339

Status = dict[str, Any]
QUIET_SECONDS = 300


def status_view(
    snapshot: Snapshot,
    *,
    hints: Sequence[Hint],
    metrics: Metrics,
    state: str,
    version: str,
    listening: Mapping[str, str],
    degraded: Sequence[str],
    started_ns: int,
    now_ns: int,
) -> Status:
    """Everything as plain JSON values. state: starting, ready or draining."""
    watermark_ns = snapshot.watermark_ns
    hints = [*hints, *_without_traces(snapshot)]
    return {
        "version": version,
        "state": state,
        "decoder": next((labels["decoder"] for labels, _ in metrics.values("rca_build_info")), None),
        "kernels": next((labels["kernels"] for labels, _ in metrics.values("rca_build_info")), None),
        "degraded": list(degraded),
        "started": rfc3339(started_ns),
        "uptime_seconds": (now_ns - started_ns) // SECOND_NS,
        "listening": dict(listening),
        "watermark": rfc3339(watermark_ns) if watermark_ns else None,
        "watermark_age_seconds": (now_ns - watermark_ns) // SECOND_NS if watermark_ns else None,
        "received": _received(metrics),
        "refused": [{**labels, "count": int(count)} for labels, count in metrics.values("rca_receiver_refused_requests_total") if count],
        "queue": {
            "batches": int(metrics.value("rca_engine_queue_batches")),
            "bytes": int(metrics.value("rca_receiver_in_flight_bytes")),
            "limit_bytes": int(metrics.value("rca_receiver_in_flight_limit_bytes")),
        },
        "incidents": [incident_view(each, whole=False) for each in snapshot.incidents],
        "services": [_service(each, hints, watermark_ns) for each in snapshot.services],
        "hints": sentences(hints),
        "dropped": _dropped(snapshot, metrics),
        "sinks": [
            {
                "sink": labels["sink"],
                "up": value == 1.0,
                "waiting": int(metrics.value("rca_sink_queue_length", sink=labels["sink"])),
                "sent": int(metrics.value("rca_sink_sent_total", sink=labels["sink"])),
            }
            for labels, value in metrics.values("rca_sink_up")
        ],
    }


def _received(metrics: Metrics) -> dict[str, int]:
    totals = dict.fromkeys(("traces", "logs", "metrics"), 0)
    for labels, count in metrics.values("rca_receiver_items_total"):
        totals[labels["signal"]] = totals.get(labels["signal"], 0) + int(count)
    return totals


def _without_traces(snapshot: Snapshot) -> list[Hint]:
    found = []
    for each in snapshot.services:
        if not each.spans and (each.logs or each.points):
            found.append(Hint(each.service, "no_traces", f"no traces from {each.service}: what happens inside it stays unseen"))
    return found


def _service(status: ServiceStatus, hints: Sequence[Hint], watermark_ns: int) -> Status:
    own = [hint.text for hint in hints if hint.service == status.service]
    return {
        "service": status.service,
        "version": status.version or None,
        "traces": status.spans,
        "logs": status.logs,
        "metrics": status.points,
        "first_seen": rfc3339(status.first_seen_ns),
        "last_seen": rfc3339(status.last_seen_ns),
        "quiet_seconds": max(0, watermark_ns - status.last_seen_ns) // SECOND_NS,
        "learning": status.learning_ratio,
        "hints": list(dict.fromkeys([*own, *status.hints])),
    }


def _dropped(snapshot: Snapshot, metrics: Metrics) -> list[Status]:
    found = [{"what": what, "reason": reason, "count": int(count)} for what, reason, count in snapshot.dropped if count]
    found += [
        {"what": "received", "reason": labels["reason"], "count": int(count)}
        for labels, count in metrics.values("rca_receiver_dropped_items_total")
        if count
    ]
    found += [
        {"what": f"sink {labels['sink']}", "reason": labels["reason"], "count": int(count)}
        for labels, count in metrics.values("rca_sink_dropped_total")
        if count
    ]
    lost = metrics.value("rca_engine_errors_total")
    return found + ([{"what": "batches", "reason": "bug", "count": int(lost)}] if lost else [])


# ------------------------------------------------------------ as text


def lapse(seconds: float | None) -> str:
    """A duration in one or two units.

    >>> lapse(5), lapse(125), lapse(7300), lapse(200000), lapse(None)
    ('5 s', '2 min', '2 h', '2 d', '-')
    """
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of left-aligned columns.

    >>> table(("a", "b"), [(1, "x"), (100, "y")])
    ['a    b', '1    x', '100  y']
    """
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def learning(share: float) -> str:
    """The share of normal behaviour learnt, in words."""
    return "ready" if share >= 1 else f"{int(share * 100)} %"


def status_text(status: Status) -> str:
    """The view as text for a terminal."""
    lines = [f"whence {status['version']}: {status['state']}, up {lapse(status['uptime_seconds'])}"]
    lines += [f"listening: {', '.join(f'{name} {where}' for name, where in status['listening'].items())}"]
    if status["kernels"] == "plain":
        lines += ["kernels: plain, joining spans costs several times as much as with the compiled ones"]
    if status["decoder"] == "plain":
        lines += ["decoder: plain, some 40 times slower than the compiled one (see the log of the start)"]
    lines += [f"degraded: {each}" for each in status["degraded"]]
    if status["watermark"] is None:
        lines += ["", "Nothing has arrived yet. Point a Collector's otlp exporter at the gRPC or HTTP address above."]
    else:
        lines += [f"decided up to: {status['watermark']} ({lapse(status['watermark_age_seconds'])} ago)"]
    counts = status["received"]
    lines += [f"received: {counts['traces']} spans, {counts['logs']} logs, {counts['metrics']} metric points"]
    lines += ["", *incident_lines(status["incidents"])]
    if status["services"]:
        head = ("service", "spans", "logs", "points", "first seen", "last seen", "learnt", "version")
        rows = [
            (
                each["service"],
                each["traces"],
                each["logs"],
                each["metrics"],
                each["first_seen"],
                "now" if each["quiet_seconds"] < QUIET_SECONDS else f"{lapse(each['quiet_seconds'])} before",
                learning(each["learning"]),
                each["version"] or "-",
            )
            for each in status["services"]
        ]
        lines += ["", *table(head, rows)]
    if status["dropped"]:
        lines += ["", *table(("dropped", "reason", "count"), [(each["what"], each["reason"], each["count"]) for each in status["dropped"]])]
    if status["hints"]:
        lines += ["", "hints:", *(f"  {each}" for each in status["hints"])]
    return "\n".join(lines)


def incident_lines(incidents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Incidents as a table, or that there is none."""
    if not incidents:
        return ["no open incident"]
    rows = [
        (each["id"], each["state"], each["severity"], each["onset"], each["root_cause"] or "-", f"{each['confidence']:.0%}", each["title"])
        for each in incidents
    ]
    return table(("incident", "state", "severity", "since", "root cause", "sure", "title"), rows)
