"""What each family of evidence, and each step of the ranking, is worth: rankings by one family alone, without it, and step by step.

The scores are computed again from the finding's own Z by family (max + .001 * sum, engine.judge.rank), so one run gives all of it. What
families explain away of each other before they speak stays as it was; for the steps the engine is asked again, without explaining away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from engine.pipeline import Engine, confidence
from engine.records import Family, Finding

LITTLE = 1e-3
SPANS = frozenset({Family.FLOW, Family.GAP, Family.SELF_TIME})
GAMMAS = (0.25, 1.0)
STEPS = (
    "loudest evidence, nothing explained away",
    "+ explained away along calls",
    "+ who is named by an error has it",
    *(f"+ PageRank from the symptoms, gamma {gamma:g}" for gamma in GAMMAS),
    "that PageRank alone",
    "the articles' reverse PageRank",
)


def names() -> list[tuple[Family, str, str]]:
    """(family, name of its ranking alone, name of the ranking without it)."""
    return [(family, f"{family.value} alone", f"without {family.value}") for family in Family]


def rankings(finding: Finding) -> dict[str, dict[str, float]]:
    """{name: {service: score}} of every ablation; a service that nothing is left of has no score."""
    found: dict[str, dict[str, float]] = {}
    for family, alone, without in names():
        found[alone], found[without] = {}, {}
        for cause in finding.causes:
            kept = [z for name, z in cause.families if name != family.value]
            kept = kept if cause.families else [cause.score]  # ranked by the order of signs alone
            own = [z for name, z in cause.families if name == family.value]
            for name, values in ((alone, own), (without, kept)):
                if values and max(values) > 0:
                    found[name][cause.service] = fused(values)
    return found


def fused(z: Iterable[float]) -> float:
    """max + .001 * sum.

    >>> fused([3.0, 1.0])
    3.004
    """
    values = list(z)
    return max(values) + LITTLE * sum(values)


def steps(engine: Engine, finding: Finding) -> dict[str, dict[str, float]]:
    """{step: {service: score}} of the ranking's steps, each on top of those before, and of the rankings that it does without.

    Where no spans spoke there is nothing to take back: excess flow is passed down calls by its own formula.
    """
    spoke = any(item.family in SPANS for item in finding.evidence)
    settings, interval = engine.settings, (finding.start_ns, finding.end_ns)
    bare, away = finding, finding
    if spoke:
        bare = engine.under(replace(settings, explain_away=False, pass_on=False)).explain_span(*interval)
        away = engine.under(replace(settings, pass_on=False)).explain_span(*interval)
    case = confidence.case_of(finding, "")
    scores = [confidence.case_scores(confidence.case_of(one, "")) for one in (bare, away)]
    said = [confidence.probabilities(case, replace(confidence.DEFAULT, gamma=gamma)) for gamma in (0.0, *GAMMAS)]
    return dict(zip(STEPS, [*scores, *said, dict(case.walk), confidence.published(finding)], strict=True))
