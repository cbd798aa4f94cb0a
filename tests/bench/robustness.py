"""How much accuracy moves when telemetry is poorer: no service.name on metrics, or a consistent sample of the traces.

    python -m tests.bench.robustness RECORDINGS_DIR [--share .25]

Prints AC@1 (given) as recorded, with service.name taken off every metric resource (pods then have to join through the spans), and with
the traces whose id falls into the share, their records included. Learned rows are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from engine.pipeline import Engine
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate.answers import answer_of
from exporter.evaluate.score import given
from exporter.evaluate.truth import load
from exporter.recording import find, lines, span_of_time

SLOT_NS = 10 * 10**9
Payload = dict[str, Any]


def as_recorded(payload: Payload) -> Payload:
    """Nothing changed."""
    return payload


def nameless_metrics(payload: Payload) -> Payload:
    """Metric resources that have a pod lose their service.name."""
    for resource in payload.get("resourceMetrics", ()):
        attributes = resource["resource"]["attributes"]
        if any(one["key"] == "k8s.pod.name" for one in attributes):
            resource["resource"]["attributes"] = [one for one in attributes if one["key"] != "service.name"]
    return payload


def sampled(share: float) -> Callable[[Payload], Payload]:
    """Keeps the traces whose id is below the share of its range (W3C trace context level 2: the last 56 bits are random)."""

    def kept(item: Payload) -> bool:
        return not item.get("traceId") or int(item["traceId"][-14:], 16) < share * 2**56

    def sample(payload: Payload) -> Payload:
        for signal, scopes, items in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
            for resource in payload.get(signal, ()):
                for scope in resource[scopes]:
                    scope[items] = [item for item in scope[items] if kept(item)]
        return payload

    return sample


def right(recording: Path, change: Callable[[Payload], Payload]) -> tuple[int, int]:
    """Faults whose root is named first, and all faults."""
    truth = load(recording)
    strings, resources = Strings(), Resources()
    engine = Engine(strings, resources, EngineSettings(rows=False))
    waiting = sorted(truth.faults, key=lambda fault: fault.given_ns[1])
    answers = {}
    for line in lines(recording):
        batch = decode_json(change(orjson.loads(line)), strings, resources)
        times = span_of_time(batch)
        if times is None:
            continue
        while waiting and times[1] // SLOT_NS > waiting[0].given_ns[1] // SLOT_NS:
            fault = waiting.pop(0)
            answers[fault.case] = answer_of(engine.explain(*fault.given_ns))
        engine.observe(batch, times[1])
    for fault in waiting:
        answers[fault.case] = answer_of(engine.explain(*fault.given_ns))
    scored = given(truth, answers)
    return sum(case.right for case in scored), len(scored)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy with poorer telemetry.")
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--share", type=float, default=0.25)
    arguments = parser.parse_args()
    for name, change in (
        ("as recorded", as_recorded),
        ("no service.name on pods' metrics", nameless_metrics),
        (f"{arguments.share:.0%} of the traces", sampled(arguments.share)),
    ):
        counts = [right(path, change) for path in find([arguments.recordings])]
        print(f"{name:40s} root named first in {sum(one for one, _ in counts)} of {sum(all for _, all in counts)}", flush=True)


if __name__ == "__main__":
    main()
