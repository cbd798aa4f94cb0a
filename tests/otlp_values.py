"""Small OTLP/JSON requests in plain values."""

from __future__ import annotations

from typing import Any

from engine.records import SECOND_NS


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def resource(service: str, **attributes: str) -> dict[str, Any]:
    named = {"service.name": service} if service else {}
    named |= {key.replace("_", "."): value for key, value in attributes.items()}
    return {"attributes": [attribute(key, value) for key, value in named.items()]}


def spans(service: str, time_ns: int, count: int = 1, *, rooted: bool = True, kind: int = 2, **attributes: str) -> dict[str, Any]:
    """`count` spans of 10 ms that end at `time_ns` and every millisecond after it."""
    made = [
        {
            "traceId": f"{time_ns + at:032x}",
            "spanId": f"{time_ns + at + 1:016x}",
            "parentSpanId": "" if rooted else f"{time_ns + at + 2:016x}",
            "name": "GET /",
            "kind": kind,
            "startTimeUnixNano": str(time_ns + at * 10**6 - 10**7),
            "endTimeUnixNano": str(time_ns + at * 10**6),
        }
        for at in range(count)
    ]
    return {"resourceSpans": [{"resource": resource(service, **attributes), "scopeSpans": [{"spans": made}]}]}


def deployment(service: str, time_ns: int, change_id: str) -> dict[str, Any]:
    """A log record that is a deployment."""
    record = {
        "timeUnixNano": str(time_ns),
        "eventName": "deployment",
        "body": {"stringValue": "deployed"},
        "attributes": [attribute("deployment.id", change_id), attribute("service.version", "2")],
    }
    return {"resourceLogs": [{"resource": resource(service), "scopeLogs": [{"logRecords": [record]}]}]}


def minutes(service: str, start_ns: int, count: int) -> list[dict[str, Any]]:
    """One request a minute, 20 spans each."""
    return [spans(service, start_ns + at * 60 * SECOND_NS, 20) for at in range(count)]
