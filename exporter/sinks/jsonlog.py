"""An incident as one JSON line, each time it is published: what any log pipeline can read."""

from __future__ import annotations

from typing import BinaryIO

import orjson

from engine.records import ConfigChange, Incident
from exporter.plain import incident_view


class JsonLog:
    """Writes to a binary stream, usually standard output. Changes are not written: whoever sent them knows."""

    name = "log"

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def send(self, item: Incident | ConfigChange) -> None:
        """Write one line and flush it. Raises: OSError, BrokenPipeError when nobody reads."""
        if isinstance(item, Incident):
            self.stream.write(orjson.dumps(line(item), option=orjson.OPT_APPEND_NEWLINE))
            self.stream.flush()


def line(incident: Incident) -> dict[str, object]:
    """The fields of a line: the incident, its three strongest sentences, and the changes that are not ruled out."""
    finding = incident.finding
    return {
        "event": "incident",
        **incident_view(incident, whole=False),
        "evidence": [item.sentence for item in finding.evidence[:3]],
        "chain": list(finding.chain),
        "suspects": [
            {"id": one.change.id, "service": one.change.service, "verdict": one.verdict.value, "probability": one.probability}
            for one in finding.attribution.verdicts
            if one.verdict.value != "ruled_out"
        ],
    }
