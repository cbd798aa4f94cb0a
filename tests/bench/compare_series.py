"""Scores of the families made from metrics on recorded failures, beside those of a reference.

    python -m tests.bench.compare_series RECORDINGS_DIR [--oracle DIR]

RECORDINGS_DIR holds nezha-*/ and petshop/ as `whence eval` takes them. DIR holds the reference's scores: traces-<set>.csv (case, service,
family, z) and callgraph.csv (case, subject, measure, value). The truth beside the recordings is read for windows, roots and the score.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import zstandard

from engine.evidence.edge_gauge import edge_gauge_evidence, stopped_evidence
from engine.evidence.metric import excess_evidence, excess_flow
from engine.evidence.resource import utilisation_evidence
from engine.records import HOUR_NS, MINUTE_NS, Evidence, PeerKind, TopologyEdge, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.inbox import Inbox
from engine.take.points import SeriesStore
from exporter.decode.json import decode_json

OPENS_AT = 4.0  # Z of the symptom at an entry
HISTORY_NS = 2 * HOUR_NS  # for absence
Scores = dict[str, dict[str, float]]  # family -> service -> Z


def unix_ns(text: str) -> int:
    """RFC 3339 text -> ns since 1970."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6) * 1000


def metric_windows(path: Path, strings: Strings, resources: Resources) -> Iterator[Window]:
    """The metric points of a recording in closed windows of 10 s; other signals are left out."""
    inbox, settings, latest = Inbox(resources, EngineSettings()), EngineSettings(), 0
    for line in lines(path):
        if line.startswith(b'{"resourceMetrics"'):
            batch = decode_json(line, strings, resources)
            if batch.points is not None and len(batch.points.time_ns):
                inbox.put(replace(batch, spans=None, logs=None, links=None, changes=()))
                latest = max(latest, int(batch.points.time_ns.max()))
                yield from inbox.windows(latest - settings.lateness_ns)
    yield from inbox.windows(latest + 2 * settings.window_ns)


def lines(path: Path) -> Iterator[bytes]:
    """Lines of a compressed recording."""
    with open(path, "rb") as file:
        yield from io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20)


def edges_of(path: Path) -> list[TopologyEdge]:
    """Calls between services: spans whose parent is another service's."""
    service: dict[str, str] = {}
    parent: dict[str, str] = {}
    for line in lines(path):
        if line.startswith(b'{"resourceSpans"'):
            for sender in orjson.loads(line)["resourceSpans"]:
                attributes = {item["key"]: item["value"].get("stringValue", "") for item in sender["resource"]["attributes"]}
                for scope in sender["scopeSpans"]:
                    for span in scope["spans"]:
                        service[span["spanId"]] = attributes["service.name"]
                        parent[span["spanId"]] = span.get("parentSpanId", "")
    calls = {(service[above], service[span]) for span, above in parent.items() if above in service and service[above] != service[span]}
    return [TopologyEdge(caller, callee, PeerKind.SERVICE, 1.0, 0.0, 0.0) for caller, callee in sorted(calls)]


def by_service(evidence: Sequence[Evidence], services: Sequence[str]) -> dict[str, float]:
    """Largest Z of every candidate."""
    z = dict.fromkeys(services, 0.0)
    for item in evidence:
        if item.service in z:
            z[item.service] = max(z[item.service], item.z)
    return z


def rank(z: Mapping[str, float], root: str) -> int:
    """Rank of the root; equal scores rank alike and count against it."""
    return sum(value >= z.get(root, 0.0) for value in z.values())


def accuracy(ranks: Sequence[int]) -> str:
    """AC@1, AC@3, AC@5."""
    return "  ".join(f"AC@{k} {sum(rank <= k for rank in ranks) / max(len(ranks), 1):.3f}" for k in (1, 3, 5))


def at_fault(store: SeriesStore, start_ns: int, end_ns: int, services: Sequence[str]) -> Scores:
    """Scores of the families that need no call graph."""
    return {
        "utilisation": by_service(utilisation_evidence(store, start_ns, end_ns), services),
        "latency": by_service(edge_gauge_evidence(store, start_ns, end_ns), services),
        "stopped": by_service(stopped_evidence(store, start_ns, end_ns), services),
    }


def nezha(folder: Path, oracle: Path | None) -> None:
    """Print AC@k of every family, and the largest difference to the reference over all cases and services."""
    reference: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    if oracle and (oracle / f"traces-{folder.name}.csv").exists():
        with open(oracle / f"traces-{folder.name}.csv") as file:
            for row in csv.DictReader(file):
                reference[row["case"], row["family"]][row["service"]] = float(row["z"])
    ranks, theirs, apart = defaultdict(list), defaultdict(list), defaultdict(float)
    began, keys = time.process_time(), 0
    for path in sorted(folder.glob("*.jsonl.zst")):
        truth = json.loads(path.with_name(path.name.replace(".jsonl.zst", ".truth.json")).read_text())
        faults = sorted(truth["faults"], key=lambda fault: fault["burst_end"])
        strings, resources = Strings(), Resources()
        store = SeriesStore(strings, resources, EngineSettings())

        def score(fault: dict[str, Any], store: SeriesStore = store, services: Sequence[str] = truth["services"]) -> None:
            found = at_fault(store, unix_ns(fault["inject_time"]), unix_ns(fault["burst_end"]) + 1, services)
            for family, z in found.items():
                if family == "latency" and fault["spans"]:
                    continue  # the reference takes spans there
                ranks[family].append(rank(z, fault["root_cause_service"]))
                if other := reference.get((fault["case_id"], family)):
                    theirs[family].append(rank(other, fault["root_cause_service"]))
                    apart[family] = max([apart[family], *(abs(z[service] - other.get(service, 0.0)) for service in z)])

        for window in metric_windows(path, strings, resources):
            while faults and window.start_ns >= unix_ns(faults[0]["burst_end"]):
                score(faults.pop(0))
            store.take(window)
        for fault in faults:
            score(fault)
        keys += len(store.keys)
    print(f"{folder.name}: {keys} series, {time.process_time() - began:.1f} s")
    for family, of_family in ranks.items():
        beside = f"   reference {accuracy(theirs[family])}, Z apart at most {apart[family]:.2f}" if theirs[family] else ""
        print(f"  {family:12s} {len(of_family):3d} cases  {accuracy(of_family)}{beside}")


def petshop(folder: Path, oracle: Path | None) -> None:
    """Print AC@k by symptom (given), and what opens by itself (found)."""
    own: dict[str, dict[str, float]] = defaultdict(dict)
    if oracle and (oracle / "callgraph.csv").exists():
        with open(oracle / "callgraph.csv") as file:
            for row in csv.DictReader(file):
                if row["measure"] == "own":
                    own[row["case"]][row["subject"]] = float(row["value"])
    ranks, apart, detected, false, hours, seen = defaultdict(list), 0.0, [], 0, 0.0, set()
    for path in sorted(folder.rglob("*.jsonl.zst")):
        truth = json.loads(path.with_name(path.name.replace(".jsonl.zst", ".truth.json")).read_text())
        issue, edges = unix_ns(truth["issue_start"]), edges_of(path)
        strings, resources = Strings(), Resources()
        store = SeriesStore(strings, resources, EngineSettings())
        watched = truth["own_normal_period"] and path.parent not in seen  # a repeated normal period is counted once
        seen.add(path.parent)
        was_open, opened, shown = False, None, None
        for window in metric_windows(path, strings, resources):
            before = store.last_ns
            store.take(window)
            now = store.last_ns
            if now == before or (now < issue and not watched):
                continue
            flow = excess_flow(store, edges, now, now + 1)
            is_open = flow is not None and flow.z >= OPENS_AT
            if now < issue:
                false += is_open and not was_open
            elif is_open and opened is None:
                opened = now
            was_open = is_open
        flow = excess_flow(store, edges, issue, issue + 30 * MINUTE_NS + 1)
        if flow is not None:
            shown = flow.onset_end_ns
            beside = own.get(truth["case_id"], {})
            shares = dict(zip(flow.services, flow.own.tolist(), strict=True))
            apart = max([apart, *(abs(shares[name] - beside[name]) for name in shares.keys() & beside.keys())])
        z = by_service(excess_evidence(flow, issue, issue), truth["services"])
        ranks[truth["alert"]["metric"]].append(rank(z, truth["root_cause_service"]))
        hours += (issue - unix_ns(truth["clean_windows"][0]["start"])) / HOUR_NS if watched else 0.0
        if truth["own_normal_period"]:
            detected.append(opened is not None and shown is not None and opened <= shown + (flow.step_ns if flow else 0))
    for symptom, of_symptom in [*sorted(ranks.items()), ("all", [each for of in ranks.values() for each in of])]:
        print(f"petshop {symptom:12s} {len(of_symptom):3d} cases  {accuracy(of_symptom)}")
    if own:
        print(f"  own shares apart from the reference's by at most {apart:.3f}")
    print(f"  found: {sum(detected)} of {len(detected)} opened within one row of the symptom's; {false} false in {hours:.0f} h = "
          f"{false / max(hours, 1e-9):.2f} an hour")  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Families made from metrics, on recorded failures.")
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS_DIR")
    parser.add_argument("--oracle", type=Path, metavar="DIR", help="scores of a reference")
    arguments = parser.parse_args()
    for folder in sorted(arguments.recordings.glob("nezha-*")):
        nezha(folder, arguments.oracle)
    if (arguments.recordings / "petshop").exists():
        petshop(arguments.recordings / "petshop", arguments.oracle)


if __name__ == "__main__":
    main()
