"""Authored incidents: short YAML descriptions in tests/data/authored, written out as OTLP/JSON lines with the truth beside them.

    python -m tests.authored FOLDER        writes NAME.jsonl.zst and NAME.truth.json

They are inventions, for calibrating and testing the attribution of changes; nothing in them is recorded. Minute 0 is 09:00 UTC.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml
import zstandard

from engine.records import MINUTE_NS, SECOND_NS

FOLDER = Path(__file__).parent / "data" / "authored"
AMBIENT = Path(__file__).parent / "data" / "ambient.yaml"
ZERO_NS = int(datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()) * SECOND_NS
SEVERITY = {"INFO": 9, "WARN": 13, "ERROR": 17}
#: Commits that every repository sees: minute, title, file, diff.
FILLERS: tuple[tuple[int, str, str, str], ...] = (
    (3, "docs: how to run the local stack", "docs/local.md", ""),
    (7, "ci: newer runner image", ".github/workflows/ci.yml", "-    runs-on: ubuntu-22.04\n+    runs-on: ubuntu-24.04\n"),
    (11, "tests: fewer sleeps in worker tests", "tests/worker_test.py", ""),
    (15, "chore: sort imports", "tools/format.py", ""),
    (19, "build(deps): bump left-pad from 1.3.0 to 1.3.1", "tools/package.json", '-  "left-pad": "1.3.0"\n+  "left-pad": "1.3.1"\n'),
    (23, "feat: health endpoint for the admin tool", "admin/health.py", "+def health():\n+    return 200\n"),
    (27, "fix: typo in onboarding mail", "mails/welcome.txt", "-Welcom!\n+Welcome!\n"),
    (32, "refactor: move date helpers", "shared/dates.py", "-def iso(d):\n-    return d.isoformat()\n"),
    (37, "style: button radius", "admin/theme.css", "-  border-radius: 4px;\n+  border-radius: 6px;\n"),
    (46, "docs: runbook for paging", "docs/paging.md", ""),
    (52, "test: property tests for money", "shared/tests/test_money.py", ""),
    (63, "chore: owners file", "CODEOWNERS", ""),
)


def names() -> list[str]:
    """All authored incidents."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    """Description of an incident."""
    data: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return data


def minute_ns(minute: float) -> int:
    """Time of a minute since the beginning."""
    return ZERO_NS + round(minute * MINUTE_NS)


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OTLP attributes of plain values; those without value are left out."""

    def plain(value: Any) -> dict[str, Any]:
        if isinstance(value, list):
            return {"arrayValue": {"values": [plain(each) for each in value]}}
        return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}

    return [{"key": key, "value": plain(value)} for key, value in values.items() if value not in (None, "")]


def resource(service: str | None) -> dict[str, Any]:
    """OTLP resource of a service."""
    return {"attributes": attributes({"service.name": service, "deployment.environment.name": "authored"})}


def change_record(change: Mapping[str, Any]) -> tuple[int, str | None, dict[str, Any]]:
    """Time, service and log record of a change."""
    at_ns = minute_ns(change["at"])
    values: dict[str, Any] = {"user.name": change.get("by", "")}
    service = None
    if "commit" in change:
        event, kind, diff, files = "code.change", "commit", change.get("diff", ""), change["files"]
        added = sum(line.startswith("+") for line in diff.splitlines())
        removed = sum(line.startswith("-") for line in diff.splitlines())
        values |= {"rca.change.id": change["commit"], "vcs.ref.head.revision": change["commit"], "rca.change.diff": diff}
        values |= {"rca.change.files": files, "rca.change.files_changed": len(files), "rca.change.summary": change["title"]}
        values |= {"rca.change.lines_added": added, "rca.change.lines_removed": removed} if diff else {}
    elif "deploy" in change:
        event, kind, service = "deployment", "deploy", change["deploy"]
        identity = f"deploy:{service}:{change['version']}"
        values |= {"rca.change.id": identity, "deployment.id": identity, "service.version": change["version"]}
        values |= {"vcs.ref.head.revision": change.get("revision", ""), "rca.change.summary": f"deployed {service} {change['version']}"}
    elif "flag" in change:
        event, kind, service = "feature_flag.change", "flag", change["flag"]
        values |= {
            "rca.change.id": f"flag:{change['key']}",
            "feature_flag.key": change["key"],
            "feature_flag.result.variant": change["new"],
        }
        values |= {"rca.change.old_value": change["old"], "rca.change.new_value": change["new"]}
        values |= {"rca.change.summary": f"flag {change['key']} {change['old']}->{change['new']}"}
    else:
        event, kind, service = "config.change", "parameter", change["config"]
        values |= {"rca.change.id": change["id"], "rca.change.params": [change["name"]], "rca.change.old_value": change["old"]}
        values |= {"rca.change.new_value": change["new"], "rca.change.summary": f"parameter {change['name']} set to {change['new']}"}
    values["rca.change.type"] = kind
    body = {"stringValue": values["rca.change.summary"]}
    return at_ns, service, {"timeUnixNano": str(at_ns), "eventName": event, "body": body, "attributes": attributes(values)}


def level(series: Mapping[str, Any], minute: int, rng: np.random.Generator) -> float:
    """Value of a series: its old level, from `at` on the new one (reached within `ramp` minutes), with 6 % noise."""
    old, new, at = series["old"], series.get("new", series["old"]), series.get("at", 1e9)
    share = min(1.0, (minute - at + 1) / max(series.get("ramp", 1), 1)) if minute >= at else 0.0
    value = old + (new - old) * share
    noise = 1 + series.get("noise", 0.06) * (2 * rng.random() - 1)
    return float(f"{value * noise:.5g}")


def ambient(count: int, end: int, seed: int) -> list[dict[str, Any]]:
    """Some of the commits that every busy repository sees, at times of their own."""
    commits: list[dict[str, Any]] = yaml.safe_load(AMBIENT.read_text())
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(len(commits))[:count].tolist())
    times = np.sort(rng.integers(1, end - 5, len(chosen))).tolist()
    return [
        {**commits[index], "commit": f"a{seed:04x}{index:04x}", "at": at, "by": "team"}
        for index, at in zip(rng.permutation(chosen).tolist(), times, strict=True)
    ]


def items(data: Mapping[str, Any], seed: int) -> Iterator[tuple[int, str, str | None, dict[str, Any]]]:
    """Everything in the incident: time, kind, service, OTLP item."""
    rng = np.random.default_rng(seed)
    fillers = [
        {"commit": f"{seed:04x}{at:04x}", "at": at, "by": "bot", "title": title, "files": [file], "diff": f"@@ {file}\n{diff}" * bool(diff)}
        for at, title, file, diff in FILLERS
        if at < data["end"]
    ]
    for change in [*data["changes"], *fillers, *ambient(data.get("ambient", 0), data["end"], seed)]:
        at_ns, service, record = change_record(change)
        yield at_ns, "log", service, record
    for series in data["series"]:
        for minute in range(data["end"]):
            point = {"timeUnixNano": str(minute_ns(minute)), "asDouble": level(series, minute, rng)}
            yield minute_ns(minute), "point", series["of"], {"name": series["metric"], "gauge": {"dataPoints": [point]}}
    for log in data["logs"]:
        minute = log["from"] + rng.random() * 0.3
        while minute < log["to"]:
            text = log["text"].replace("<n>", str(rng.integers(100, 99999)))
            values = {"exception.stacktrace": log.get("stack"), "db.query.text": log.get("statement"), "server.address": log.get("peer")}
            record = {"timeUnixNano": str(minute_ns(minute)), "severityNumber": SEVERITY[log["level"]], "body": {"stringValue": text}}
            yield minute_ns(minute), "log", log["of"], record | {"attributes": attributes(values)}
            minute += log["every"] * (0.7 + 0.6 * rng.random())
    yield from spans(data, rng)


def spans(data: Mapping[str, Any], rng: np.random.Generator) -> Iterator[tuple[int, str, str | None, dict[str, Any]]]:
    """Every ten minutes, and every two from the alert's tenth minute before on, a trace an edge; calls to the outside on their own."""
    alert = data["alert"]
    failing = {log["of"]: (log["from"], log["text"]) for log in data["logs"] if log["level"] == "ERROR"}

    def span(minute: float, service: str, name: str, ids: tuple[str, str, str], kind: int, failed: str, extra: Mapping[str, Any]) -> Any:
        trace, own, parent = ids
        end = minute_ns(minute)
        item = {"traceId": trace, "spanId": own, "parentSpanId": parent, "name": name, "kind": kind, "endTimeUnixNano": str(end)}
        item |= {"startTimeUnixNano": str(end - 40_000_000), "attributes": attributes(extra)}
        return end, "span", service, item | ({"status": {"code": 2, "message": failed}} if failed else {})

    def fresh() -> str:
        return rng.bytes(8).hex()

    for minute in [*range(5, alert - 10, 10), *range(alert - 10, data["end"], 2)]:
        for call in data["calls"]:
            caller, callee = call.split(">")
            trace, outer, inner = fresh() * 2, fresh(), fresh()
            wrong = {name: text if minute >= since else "" for name, (since, text) in failing.items()}
            yield span(minute + 0.3, callee, f"{callee}/handle", (trace, inner, outer), 2, wrong.get(callee, ""), {})
            yield span(minute + 0.3, caller, f"call {callee}", (trace, outer, ""), 3, wrong.get(callee, "") and "failed", {})
        for call in data.get("outside", ()):
            trace = fresh() * 2
            failed = "503" if minute >= call["fails"] else ""
            extra = {"server.address": call["host"], "http.response.status_code": 503 if failed else 200}
            if "system" in call:
                extra = {"server.address": call["host"], "db.system.name": call["system"]}
            yield span(minute + 0.4, call["of"], call["operation"], (trace, fresh(), ""), 3, failed, extra)


def payloads(name: str) -> list[bytes]:
    """The incident as OTLP/JSON lines, in time order."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:4], 16)
    lines = []
    for _, kind, service, item in sorted(items(load(name), seed), key=lambda each: each[0]):
        scope = {"log": "logRecords", "span": "spans", "point": "metrics"}[kind]
        outer, inner = {"log": ("resourceLogs", "scopeLogs"), "span": ("resourceSpans", "scopeSpans")}.get(
            kind, ("resourceMetrics", "scopeMetrics")
        )
        lines.append(orjson.dumps({outer: [{"resource": resource(service), inner: [{scope: [item]}]}]}))
    return lines


def truth(name: str) -> dict[str, Any]:
    """What is known of it, in the shape of the recordings' truth."""
    data = load(name)
    change, services = data["truth"]["change"], sorted({part for call in data["calls"] for part in call.split(">")})
    carried = [
        f"deploy:{each['deploy']}:{each['version']}" for each in data["changes"] if each.get("revision") == change and "deploy" in each
    ]

    def text(minute: float) -> str:
        return datetime.fromtimestamp(minute_ns(minute) / SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "system": "authored",
        "case_id": name,
        "root_cause_change_id": None if change == "none" else change,
        "root_cause_deployment_ids": carried,
        "root_cause_service": data["truth"]["service"],
        "first_failing_service": data["truth"]["service"],
        "alert": {"service": data["truth"]["service"], "metric": data["series"][0]["metric"], "fired_at": text(data["alert"])},
        "services": services,
        "first_time": text(0),
        "last_time": text(data["end"]),
    }


def main() -> int:
    """Write all incidents to a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in names():
        (folder / f"{name}.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(payloads(name)) + b"\n"))
        (folder / f"{name}.truth.json").write_bytes(orjson.dumps(truth(name), option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
