"""The page at /: is it working, what is broken, what changed. Rendered on the server; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from exporter.status import QUIET_SECONDS, Status, lapse, learning

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c0392b; --warn: #b9770e; --good: #1e8449 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem } .wide { overflow-x: auto }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n { font-variant-numeric: tabular-nums } small, th { opacity: .75; font-weight: normal }
.bad { color: var(--bad) } .warn { color: var(--warn) } .good { color: var(--good) } code { font-size: .85em }
article { border-left: 4px solid var(--bad); padding: .1rem 0 .1rem .8rem; margin: .6rem 0 }
"""
REFRESH_SECONDS = 10
CLASS_OF = {"critical": "bad", "warning": "warn", "info": ""}


def page(status: Status, incidents: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]) -> str:
    """The whole page. incidents: whole views of open ones; changes: views of the last ones. All texts are escaped."""
    state = status["state"]
    title = f"{len(incidents)} open" if incidents else "all quiet" if status["watermark"] else "waiting for data"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<meta http-equiv=refresh content={REFRESH_SECONDS}><title>whence: {escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>whence <small>{escape(status['version'])}</small> "
        f"<span class={'good' if state == 'ready' else 'warn'}>{escape(state)}</span></h1>",
        f"<small>{escape(_summary(status))}</small>",
        *(f"<p class=warn>degraded: {escape(each)}</p>" for each in status["degraded"]),
        "<h2>Incidents</h2>",
        *([_incident(each) for each in incidents] or ["<p>No open incident.</p>"]),
        "<h2>Services</h2>",
        _services(status) if status["services"] else f"<p>{escape(_waiting(status))}</p>",
    ]
    if status["hints"]:
        parts += ["<h2>Hints</h2><ul>", *(f"<li>{escape(each)}</li>" for each in status["hints"]), "</ul>"]
    if changes:
        told = [
            (each["time"], each["type"], each.get("service", ""), each.get("summary") or each.get("version", ""), each["id"])
            for each in changes
        ]
        parts += ["<h2>Last changes</h2>", _table(("time", "type", "service", "what", "id"), told)]
    if status["dropped"]:
        dropped = [(each["what"], each["reason"], each["count"]) for each in status["dropped"]]
        parts += ["<h2>Dropped</h2>", _table(("what", "reason", "count"), dropped)]
    links = "".join(f"<a href={path}>{path}</a> " for path in ("/metrics", "/api/v1/incidents", "/api/v1/changes", "/api/v1/status"))
    return "\n".join([*parts, f"<p><small>{links}</small></p></body></html>"])


def _summary(status: Status) -> str:
    counts = status["received"]
    decided = f"decided up to {status['watermark']} ({lapse(status['watermark_age_seconds'])} ago); " if status["watermark"] else ""
    return (
        f"up {lapse(status['uptime_seconds'])}; {decided}received {counts['traces']} spans, {counts['logs']} logs, "
        f"{counts['metrics']} metric points; {status['queue']['batches']} batches wait"
    )


def _waiting(status: Status) -> str:
    where = ", ".join(f"{name} {address}" for name, address in status["listening"].items() if name != "web")
    return f"Nothing has arrived yet. Point a Collector's otlp exporter here: {where}."


def _incident(view: Mapping[str, Any]) -> str:
    finding = view["finding"]
    suspects = [
        f"{one['change']['id']} {one['verdict'].replace('_', ' ')} ({one['probability']:.0%})"
        for one in finding["attribution"]["verdicts"]
        if one["verdict"] in {"confirmed", "suspect"}
    ]
    lines = [f"since {view['onset']}; {view['verdict']}, {view['confidence']:.0%} sure; affected: {', '.join(view['affected']) or '-'}"]
    lines += [item["sentence"] for item in finding["evidence"][:3]]
    lines += [f"changes: {', '.join(suspects)}"] if suspects else []
    lines += [f"do: {view['action']}"] if view["action"] else []
    rank = CLASS_OF.get(str(view["severity"]), "")
    head = f"<b>{escape(view['title'] or view['id'])}</b> <span class='{rank}'>{escape(str(view['severity']))}</span>"
    link = f" <a href='/api/v1/incidents/{escape(view['id'])}'><code>{escape(view['id'])}</code></a>"
    return f"<article>{head}{link}<br>{'<br>'.join(escape(line) for line in lines)}</article>"


def _services(status: Status) -> str:
    rows = [
        (
            each["service"],
            each["traces"],
            each["logs"],
            each["metrics"],
            each["first_seen"],
            "now" if each["quiet_seconds"] < QUIET_SECONDS else f"{lapse(each['quiet_seconds'])} before",
            learning(each["learning"]),
            each["version"] or "",
        )
        for each in status["services"]
    ]
    return _table(("service", "spans", "logs", "points", "first seen", "last seen", "learnt", "version"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = "".join(f"<th>{escape(each)}" for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if isinstance(cell, int) else ''}>{escape(str(cell))}" for cell in row) for row in rows
    )
    return f"<div class=wide><table><tr>{cells}{body}</table></div>"
