"""What whence answered, as plain values that pass from the process that streams a recording to the one that scores it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.records import Finding, Incident, Verdict


@dataclass(frozen=True, slots=True)
class NamedCause:
    """One candidate of a ranking, most probable first."""

    service: str
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class NamedChange:
    """One change of a ranking, most probable first."""

    id: str
    probability: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One finding: which service, which change, how sure."""

    causes: tuple[NamedCause, ...] = ()
    confidence: float = 0.0
    changes: tuple[NamedChange, ...] = ()
    change: str = ""  # id, "none" or "inconclusive"
    title: str = ""
    strongest: tuple[tuple[str, str, float], ...] = ()  # (family, service, Z) of the loudest pieces of evidence

    def suspects(self) -> tuple[str, ...]:
        """Ids of the changes that the finding suspects or holds confirmed."""
        return tuple(change.id for change in self.changes if change.verdict in {Verdict.CONFIRMED, Verdict.SUSPECT})


@dataclass(frozen=True, slots=True)
class Publication:
    """One published state of an incident. It is an opening where the incident opened, opened again, or moved to another place."""

    incident: str
    published_ns: int
    opening: bool
    page: bool
    answer: Answer


def answer_of(finding: Finding) -> Answer:
    """A finding without what is not scored."""
    return Answer(
        causes=tuple(NamedCause(cause.service, cause.score, cause.probability) for cause in finding.causes),
        confidence=finding.confidence,
        changes=tuple(
            NamedChange(verdict.change.id, verdict.probability, verdict.verdict.value) for verdict in finding.attribution.verdicts
        ),
        change=finding.attribution.answer,
        title=finding.title,
        strongest=tuple((piece.family.value, piece.service, round(piece.z, 2)) for piece in finding.evidence[:3]),
    )


def publication_of(incident: Incident) -> Publication:
    """One transition, as published."""
    return Publication(
        incident=incident.id,
        published_ns=incident.published_ns,
        opening=incident.state in {"open", "reopened"} or incident.moved,
        page=incident.page,
        answer=answer_of(incident.finding),
    )


def answer_from(data: dict[str, Any]) -> Answer:
    """The answer of its JSON form (`dataclasses.asdict`)."""
    return Answer(
        causes=tuple(NamedCause(**cause) for cause in data["causes"]),
        confidence=data["confidence"],
        changes=tuple(NamedChange(**change) for change in data["changes"]),
        change=data["change"],
        title=data["title"],
        strongest=tuple((family, service, z) for family, service, z in data["strongest"]),
    )


def publication_from(data: dict[str, Any]) -> Publication:
    """The publication of its JSON form."""
    return Publication(**{**data, "answer": answer_from(data["answer"])})


def as_json(value: Answer | Publication) -> dict[str, Any]:
    """JSON form of an answer or a publication."""
    return asdict(value)
