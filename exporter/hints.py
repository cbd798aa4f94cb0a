"""What senders should know: why whence is blind to something of theirs. The same words in warnings, `whence status` and the page.

A hint holds while its cause is seen and for an hour after. How often it is told to a sender is rationed by exporter.receiver.hints.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.records import HOUR_NS, I32, I64, MINUTE_NS, SECOND_NS, Batch, Resource, SpanKind
from engine.strings import Resources

#: Items of a service before something missing is held against it, so that a starting process is not blamed.
ENOUGH = 200
#: Ahead of received time by more than this, a clock is wrong (engine.settings.EngineSettings.ahead_ns).
AHEAD_NS = 60 * SECOND_NS
#: Behind the watermark by more than this, items are dropped (too_late_ns).
BEHIND_NS = 10 * MINUTE_NS
#: Hints held at a time.
HELD_MOST = 1000
#: By SpanKind: whether spans of the kind have a caller elsewhere, or are one.
CALLS = np.isin(np.arange(len(SpanKind)), (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.CLIENT, SpanKind.PRODUCER))


#: How a hint of one kind is said of many services at once.
OF_MANY = {
    "no_version": "no service.version on {}: deploys are invisible",
    "no_parents": "spans without parents on {}: trace context is not passed on, calls are invisible",
    "no_traces": "no traces from {}: what happens inside and between them stays unseen",
    "clock_ahead": "clock ahead on {}: their time counts for nobody",
    "clock_behind": "data of {} is behind the others: dropped as too late",
}
#: Services named in one sentence.
NAMED_MOST = 3


class Hint(NamedTuple):
    """One thing that makes whence blind. service "": several, or a nameless one."""

    service: str
    kind: str  # fixed set: those of OF_MANY, and unknown_service
    text: str  # a sentence with its consequence


class _Seen:
    """What a service sent so far."""

    __slots__ = ("items", "roots", "spans", "versioned")

    def __init__(self) -> None:
        self.items = self.spans = self.roots = 0
        self.versioned = False


class Hints:
    """Reads batches as they come; one object a service process. Thread-safe."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._seen: dict[str, _Seen] = {}
        self._held: dict[tuple[str, str], tuple[int, Hint]] = {}  # (service, kind): last seen
        self._lock = threading.Lock()

    def read(self, batch: Batch, received_ns: int, watermark_ns: int = 0) -> list[str]:
        """Take note of a batch; the sentences that hold of it."""
        with self._lock:
            found = self._find(batch, received_ns, watermark_ns)
            for hint in found:
                key = (hint.service, hint.kind)
                if key in self._held or len(self._held) < HELD_MOST:
                    self._held[key] = (received_ns, hint)
            return [hint.text for hint in found]

    def standing(self, now_ns: int) -> list[Hint]:
        """Hints whose cause was seen within the hour, by service."""
        with self._lock:
            for key in [key for key, (seen_ns, _) in self._held.items() if now_ns - seen_ns > HOUR_NS]:
                del self._held[key]
            return sorted(hint for _, hint in self._held.values())

    def _find(self, batch: Batch, received_ns: int, watermark_ns: int) -> list[Hint]:
        found: list[Hint] = []
        items: Counter[str] = Counter()
        newest: dict[str, int] = {}
        for columns in (batch.spans, batch.logs, batch.points):
            if columns is None or not len(columns.time_ns):
                continue
            for code, count, time_ns in _by_resource(columns.resource, columns.time_ns):
                resource = self.resources[code]
                items[resource.service] += count
                newest[resource.service] = max(newest.get(resource.service, 0), time_ns)
                if resource.version or resource.image:
                    self._of(resource.service).versioned = True
                if _nameless(resource):
                    found.append(Hint("", "unknown_service", UNKNOWN))
        for change in batch.changes:
            self._of(change.service).versioned = True  # its deploys are announced
        self._count_roots(batch)
        for service, count in items.items():
            self._of(service).items += count
            found += self._about(service, newest[service], received_ns, watermark_ns)
        return list(dict.fromkeys(found))

    def _of(self, service: str) -> _Seen:
        return self._seen.setdefault(service, _Seen())

    def _count_roots(self, batch: Batch) -> None:
        spans = batch.spans
        if spans is None or not len(spans.time_ns):
            return
        calls = CALLS[np.minimum(spans.kind, len(CALLS) - 1)]
        of_calls = np.bincount(spans.resource, calls)
        of_roots = np.bincount(spans.resource, calls & (spans.parent == 0))
        for code in np.flatnonzero(of_calls).tolist():
            seen = self._of(self.resources[code].service)
            seen.spans += int(of_calls[code])
            seen.roots += int(of_roots[code])

    def _about(self, service: str, newest_ns: int, received_ns: int, watermark_ns: int) -> list[Hint]:
        seen, found = self._of(service), []
        name = service or "a resource without a service"
        if service and seen.items >= ENOUGH and not seen.versioned:
            found.append(Hint(service, "no_version", f"no service.version on {service}: deploys are invisible"))
        if service and seen.spans >= ENOUGH and seen.roots == seen.spans and len(self._seen) > 1:
            found.append(
                Hint(service, "no_parents", f"spans without parents on {service}: trace context is not passed on, calls are invisible")
            )
        if newest_ns > received_ns + AHEAD_NS:
            found.append(
                Hint(service, "clock_ahead", f"clock ahead on {name}: by {_lapse(newest_ns - received_ns)}; its time counts for nobody")
            )
        elif newest_ns < watermark_ns - BEHIND_NS:
            found.append(
                Hint(
                    service, "clock_behind", f"data of {name} is {_lapse(watermark_ns - newest_ns)} behind the others: dropped as too late"
                )
            )
        return found


UNKNOWN = "unknown_service: some telemetry names no service, host, pod or container: nobody can be charged with it"


def _nameless(resource: Resource) -> bool:
    return not (resource.service or resource.host or resource.pod or resource.container or resource.instance)


def _by_resource(resource: I32, time_ns: I64) -> list[tuple[int, int, int]]:
    """Code, items and latest time of each resource. An export lists its items by resource: a run of equal codes is one step."""
    starts = np.flatnonzero(np.diff(resource, prepend=-1))
    latest = np.maximum.reduceat(time_ns, starts)
    counts, newest = np.bincount(resource), np.zeros(int(resource.max()) + 1, np.int64)
    np.maximum.at(newest, resource[starts], latest)
    codes = np.flatnonzero(counts)
    return list(zip(codes.tolist(), counts[codes].tolist(), newest[codes].tolist(), strict=True))


def _lapse(lapse_ns: int) -> str:
    """A duration of a minute or more, in one coarse unit: a sentence that changes with every batch would be told with every batch."""
    for unit, size_ns in (("d", 24 * HOUR_NS), ("h", HOUR_NS)):
        if lapse_ns >= 2 * size_ns:
            return f"{lapse_ns // size_ns} {unit}"
    return f"{max(1, lapse_ns // MINUTE_NS)} min"


def sentences(hints: Sequence[Hint]) -> list[str]:
    """One sentence a kind where many services share it, else one a hint.

    >>> sentences([Hint(name, "no_traces", f"no traces from {name}") for name in ("a", "b", "c", "d", "e")])
    ['no traces from 5 services (a, b, c, ...): what happens inside and between them stays unseen']
    """
    kinds: dict[str, list[Hint]] = {}
    for hint in hints:
        kinds.setdefault(hint.kind, []).append(hint)
    found = []
    for kind, those in sorted(kinds.items()):
        if len(those) <= NAMED_MOST or kind not in OF_MANY:
            found += [hint.text for hint in those]
        else:
            names = ", ".join(hint.service for hint in those[:NAMED_MOST])
            found.append(OF_MANY[kind].format(f"{len(those)} services ({names}, ...)"))
    return found
