"""Leave one out: would the answer stand without its strongest pieces?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.judge.rank import Calibration, family_z, rank
from engine.records import Evidence, TopologyEdge

PIECES = 3  # pieces of the first cause that are left out in turn


def leave_one_out(
    evidence: Sequence[Evidence],
    edges: Sequence[TopologyEdge],
    calibration: Calibration,
    confirmed: Mapping[str, float],
    changes: Mapping[str, str],
) -> tuple[tuple[str, ...], float]:
    """Sentences for every piece without which another service would be first, and the share of pieces without which it stays.

    Pieces are the strongest evidence of the first cause, one subject each, and the change that speaks for it.
    Args: confirmed: probability by service, from confirmed changes; changes: what such a change is called, by service.
    """
    causes, _ = rank(family_z(evidence, edges), calibration, confirmed=confirmed)
    if not causes:
        return (), 1.0
    first = causes[0].service
    own = sorted((item for item in evidence if item.service == first), key=lambda item: (-item.z, item.family, item.subject))
    subjects: list[str] = []
    for item in own:
        if item.subject not in subjects:
            subjects.append(item.subject)
    trials = [
        (subject, [item for item in evidence if (item.service, item.subject) != (first, subject)], confirmed)
        for subject in subjects[:PIECES]
    ]
    if first in changes:
        trials.append((changes[first], list(evidence), {service: p for service, p in confirmed.items() if service != first}))
    sentences = []
    for name, left, left_confirmed in trials:
        other, unseen = rank(family_z(left, edges), calibration, confirmed=left_confirmed)
        if not other or other[0].probability < unseen:
            sentences.append(f"Without {name} nothing would stand out.")
        elif other[0].service != first:
            sentences.append(f"Without {name} {other[0].service} would be first ({min(other[0].probability, 0.99):.0%}).")
    return tuple(sentences), 1.0 - len(sentences) / max(1, len(trials))
