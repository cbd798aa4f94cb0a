"""Codes in words that an engineer knows, and how many pieces of evidence a service may give."""

from __future__ import annotations

from engine.records import Evidence
from engine.strings import Strings
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.take.templates import Templates
from engine.windows import EVENT_BITS, Codes

LOWEST_Z = 0.05  # nothing below is worth a sentence
NOTABLE_Z = 2.0  # pieces besides the loudest are at least so loud
MOST_PIECES = 5  # of a service and family
PAYLOAD = (1 << KIND_SHIFT) - 1
OPERATION = (1 << SERVICE_SHIFT) - 1


class Names:
    """Texts of services, operations and events."""

    def __init__(self, strings: Strings, templates: Templates, codes: Codes) -> None:
        self._strings, self._templates, self._codes = strings, templates, codes

    @property
    def services(self) -> int:
        """Number of service codes."""
        return self._strings.size("service")

    def service(self, code: int) -> str:
        """Name of a service."""
        return self._strings.text("service", code)

    def template(self, code: int) -> str:
        """Short name of a template."""
        return self._templates.label(code)

    def operation(self, code: int) -> tuple[str, str]:
        """Service and name of an operation."""
        key = int(self._codes.operations.keys[code])
        return self.service(key >> SERVICE_SHIFT), self._strings.text("operation", key & OPERATION)

    def step(self, outcome: int) -> tuple[str, str, str, str]:
        """Service, operation, event before and event after of an outcome."""
        key = int(self._codes.outcomes.keys[outcome])
        context = int(self._codes.contexts.keys[key >> EVENT_BITS])
        mask = (1 << EVENT_BITS) - 1
        service, operation = self.operation(context >> EVENT_BITS)
        return service, operation, self.event(context & mask), self.event(key & mask)

    def event(self, event: int) -> str:
        """An event inside a span."""
        kind, payload = event >> KIND_SHIFT, event & PAYLOAD
        if kind == EventKind.LOG:
            return f'log "{self._templates.label(payload)}"'
        if kind == EventKind.CHILD:
            return self._strings.text("operation", payload)
        if kind == EventKind.CALL:
            return f"call of {self.service(payload >> SERVICE_SHIFT)} {self._strings.text('operation', payload & OPERATION)}"
        return {EventKind.START: "start", EventKind.END: "end", EventKind.END_ERROR: "end with an error"}.get(EventKind(kind), "")


def loudest(evidence: list[Evidence]) -> list[Evidence]:
    """Of each service and family the loudest piece and at most four more that are notable; in a fixed order."""
    evidence = sorted(evidence, key=lambda piece: (-piece.z, piece.service, piece.family, piece.subject, piece.peer))
    given: dict[tuple[str, str], int] = {}
    kept = []
    for piece in evidence:
        key = (piece.service, piece.family)
        before = given.get(key, 0)
        if not piece.service or piece.z < (NOTABLE_Z if before else LOWEST_Z) or before >= MOST_PIECES:
            continue
        given[key] = before + 1
        kept.append(piece)
    return kept


def percent(share: float) -> str:
    """A share for people.

    >>> percent(0.5), percent(0.0123), percent(0.0001), percent(0.0)
    ('50 %', '1.2 %', '0.01 %', '0 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def milliseconds(log_ms: float) -> str:
    """A duration from ln(1 + ms).

    >>> milliseconds(0.0), milliseconds(2.0), milliseconds(8.0)
    ('0 ms', '6.4 ms', '2980 ms')
    """
    value = max(0.0, 2.718281828459045**log_ms - 1)
    return f"{value:.0f} ms" if value >= 10 or value < 0.05 else f"{value:.1f} ms"
