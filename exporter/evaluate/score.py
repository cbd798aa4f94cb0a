"""From answers and truth to scored cases: ranks, matched openings, named changes.

Rankings are filtered to the truth's candidates; equal scores rank alike and count against us: rank = candidates at least as probable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.records import SECOND_NS, Verdict
from exporter.evaluate.answers import Answer, NamedCause, Publication
from exporter.evaluate.truth import NONE, ChangeTruth, Fault, Truth

#: A fault's window goes on this long after its end.
AFTER_NS = 300 * SECOND_NS
CHANGE_OUTCOMES = ("right", "decoy", "none_right", "none_wrong", "inconclusive")


@dataclass(frozen=True, slots=True)
class Scored:
    """One case. `answer` is None where nothing was said (a miss)."""

    fault: Fault
    candidates: int
    answer: Answer | None
    ranking: tuple[str, ...]
    rank: int | None  # None: the root is not in the ranking
    change_ranking: tuple[str, ...]
    change_rank: int | None
    change_outcome: str | None  # of CHANGE_OUTCOMES; None: the recording holds no changes
    incident: str | None = None
    delay_seconds: float | None = None

    @property
    def right(self) -> bool:
        """The root is named first, and nothing ties with it."""
        return self.rank == 1

    @property
    def confirmed_decoy(self) -> bool:
        """An innocent change is held confirmed."""
        truth, changes = self.fault.change, self.answer.changes if self.answer is not None else ()
        confirmed = (change.id for change in changes if change.verdict == Verdict.CONFIRMED)
        return truth is not None and any(not truth.is_named_by(id) for id in confirmed)

    @property
    def suspected(self) -> bool:
        """The true change is among those that the finding suspects or holds confirmed."""
        return self.answer is not None and self.fault.change is not None and any(map(self.fault.change.is_named_by, self.answer.suspects()))


@dataclass(frozen=True, slots=True)
class Found:
    """What whence found on its own in one recording."""

    cases: tuple[Scored, ...]
    extra: int  # openings inside faults' windows beyond the first
    false: tuple[tuple[int, str], ...]  # time (ns) and first cause of the openings outside
    pages_false: int  # of those, the ones that leave for people


def candidate_of(service: str, candidates: Mapping[str, str]) -> str:
    """The candidate that a service is: by its full identity, else by its name without the namespace; "" if it is none."""
    return candidates.get(service, "") or candidates.get(service.rpartition("/")[2], "")


def ranked(causes: Sequence[NamedCause], candidates: Sequence[str]) -> list[tuple[str, tuple[float, ...]]]:
    """The candidates among the causes with (probability, score), best first, each once."""
    known = {name: name for name in candidates}
    best: dict[str, tuple[float, ...]] = {}
    for cause in causes:
        name = candidate_of(cause.service, known)
        if name:
            best[name] = max(best.get(name, (-1.0, 0.0)), (cause.probability, cause.score))
    return sorted(best.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))


def rank_of(name: str, scores: Sequence[tuple[str, tuple[float, ...]]]) -> int | None:
    """How many candidates score at least as much as `name`, itself included; None if it is not among them.

    >>> rank_of("b", [("a", (0.5,)), ("b", (0.5,)), ("c", (0.1,))])
    2
    """
    own = dict(scores).get(name)
    return None if own is None else sum(score >= own for _, score in scores)


def change_outcome(answer: Answer | None, truth: ChangeTruth) -> str:
    """What naming (or not naming) a change was worth; a miss counts as inconclusive."""
    named = answer.change if answer else ""
    if named == NONE:
        return "none_right" if truth.id == NONE else "none_wrong"
    if not named or named == "inconclusive":
        return "inconclusive"
    return "right" if truth.is_named_by(named) else "decoy"


def score(
    fault: Fault, candidates: Sequence[str], answer: Answer | None, *, incident: str | None = None, delay_seconds: float | None = None
) -> Scored:
    """Score one answer against one fault."""
    ranking = ranked(answer.causes, candidates) if answer else []
    changes = [(change.id, (change.probability,)) for change in answer.changes] if answer else []
    truth = fault.change
    # a commit and the deploy that carried it are one answer: they do not compete
    false = [(id, p) for id, p in changes if truth is None or not truth.is_named_by(id)]
    ranks = [rank_of(id, [(id, p), *false]) for id, p in changes if truth is not None and truth.is_named_by(id)]
    return Scored(
        fault=fault,
        candidates=len(candidates),
        answer=answer,
        ranking=tuple(name for name, _ in ranking),
        rank=rank_of(fault.root, ranking),
        change_ranking=tuple(id for id, _ in changes),
        change_rank=min((rank for rank in ranks if rank), default=None),
        change_outcome=None if truth is None else change_outcome(answer, truth),
        incident=incident,
        delay_seconds=delay_seconds,
    )


def given(truth: Truth, explained: Mapping[str, Answer]) -> list[Scored]:
    """Score the answers to "what happened between here and there"."""
    return [score(fault, truth.candidates, explained.get(fault.case)) for fault in truth.faults]


def windows(faults: Sequence[Fault]) -> list[tuple[int, int]]:
    """Each fault's window, [min(onset - 60 s, burst start), end + 300 s), cut where the next begins."""
    starts = [fault.found_from_ns for fault in faults]
    ends = [fault.given_ns[1] + AFTER_NS for fault in faults]
    return [(start, min(end, following)) for start, end, following in zip(starts, ends, [*starts[1:], *ends[-1:]], strict=True)]


def found(truth: Truth, published: Sequence[Publication]) -> Found:
    """Match openings and faults one to one, in time order; the ranking that counts is the last one published inside the window."""
    cases: list[Scored] = []
    extra, inside = 0, set[int]()
    for fault, (start_ns, end_ns) in zip(truth.faults, windows(truth.faults), strict=True):
        within = [(at, one) for at, one in enumerate(published) if start_ns <= one.published_ns < end_ns]
        openings = [(at, one) for at, one in within if one.opening]
        inside.update(at for at, _ in openings)
        if not openings:
            cases.append(score(fault, truth.candidates, None))
            continue
        extra += len(openings) - 1
        opening = openings[0][1]
        last = [one for _, one in within if one.incident == opening.incident][-1]
        delay_seconds = (opening.published_ns - fault.onset_ns) / SECOND_NS
        cases.append(score(fault, truth.candidates, last.answer, incident=opening.incident, delay_seconds=delay_seconds))
    outside = [one for at, one in enumerate(published) if one.opening and at not in inside]
    false = tuple((one.published_ns, one.answer.causes[0].service if one.answer.causes else "") for one in outside)
    return Found(cases=tuple(cases), extra=extra, false=false, pages_false=sum(one.page for one in outside))
