"""Who sends what, since when, and for how long: what status shows, and what says how far learning is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from engine.records import F64, I64, MINUTE_NS, ServiceStatus, Window
from engine.strings import Resources
from engine.take.senders import sent

#: Minutes with items after which a service counts as learnt: with half as many, two causes of three are named right (engine/README.md).
READY_MINUTES = 10
SERVICES_MOST = 4096
KEPT_MINUTES = 150
SIGNALS = ("spans", "logs", "points")


@dataclass(slots=True)
class _Seen:
    spans: int = 0
    logs: int = 0
    points: int = 0
    first_ns: int = 0
    last_ns: int = 0
    minutes: int = 0
    minute: int = 0
    version: str = ""


class Presence:
    """Items by service. At most 4096 services; those over it are not listed."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._seen: dict[str, _Seen] = {}
        self._blocks: dict[str, dict[int, Counter[str]]] = {signal: {} for signal in SIGNALS}  # signal -> minute -> service -> items

    def take(self, window: Window) -> None:
        """Count a window's items."""
        for blocks in self._blocks.values():
            for minute in [minute for minute in blocks if minute < window.end_ns // MINUTE_NS - KEPT_MINUTES]:
                del blocks[minute]
        for signal, columns in (("spans", window.spans), ("logs", window.logs), ("points", window.points)):
            if not len(columns.time_ns):
                continue
            first, last = (int(columns.time_ns[end]) // MINUTE_NS for end in (0, -1))  # times are sorted
            starts = np.searchsorted(columns.time_ns, np.arange(first + 1, last + 1) * MINUTE_NS)
            for start, end in pairwise([0, *starts.tolist(), len(columns.time_ns)]):
                times = columns.time_ns[start:end]
                found = sent(columns.resource[start:end])
                for code, count, last in zip(found.resource.tolist(), found.items.tolist(), times[found.last].tolist(), strict=True):
                    self._add(code, signal, last, count)

    def _add(self, code: int, signal: str, time_ns: int, count: int) -> None:
        resource = self._resources[code]
        if not resource.service or (resource.service not in self._seen and len(self._seen) >= SERVICES_MOST):
            return
        seen = self._seen.setdefault(resource.service, _Seen(first_ns=time_ns))
        setattr(seen, signal, getattr(seen, signal) + count)
        seen.last_ns = max(seen.last_ns, time_ns)
        self._blocks[signal].setdefault(time_ns // MINUTE_NS, Counter())[resource.service] += count
        seen.version = resource.version or seen.version
        if time_ns // MINUTE_NS > seen.minute:
            seen.minute = time_ns // MINUTE_NS
            seen.minutes += 1

    def learning(self) -> Mapping[str, float]:
        """Share of a service's normal behaviour that is learnt: 1 after ten minutes with items."""
        return {service: min(1.0, seen.minutes / READY_MINUTES) for service, seen in self._seen.items()}

    def counts(self, signal: str, end_ns: int) -> tuple[list[str], F64, I64]:
        """Items of a signal by service and whole minute up to `end_ns`: services, float64 [services, minutes], ends int64 [minutes]."""
        blocks = {minute: counts for minute, counts in self._blocks[signal].items() if (minute + 1) * MINUTE_NS <= end_ns}
        services = sorted({service for counts in blocks.values() for service in counts})
        minutes = sorted(blocks)
        table = np.array([[blocks[minute][service] for minute in minutes] for service in services], np.float64)
        return services, table.reshape(len(services), len(minutes)), (np.array(minutes, np.int64) + 1) * MINUTE_NS

    def statuses(self) -> tuple[ServiceStatus, ...]:
        """All services, by name."""
        learning = self.learning()
        return tuple(
            ServiceStatus(
                service=service,
                spans=seen.spans,
                logs=seen.logs,
                points=seen.points,
                first_seen_ns=seen.first_ns,
                last_seen_ns=seen.last_ns,
                learning_ratio=learning[service],
                version=seen.version,
            )
            for service, seen in sorted(self._seen.items())
        )

    def state(self) -> dict[str, Any]:
        """All counts."""
        return {service: asdict(seen) for service, seen in self._seen.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from an earlier `state`."""
        self._seen = {service: _Seen(**seen) for service, seen in state.items()}
