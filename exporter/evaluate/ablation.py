"""What each family of evidence is worth: the ranking of a finding by one family alone, and without it.

The scores are computed again from the finding's own Z by family (max + .001 * sum, engine.judge.rank), so one run gives all of it. What
families explain away of each other before they speak stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.records import Family, Finding

LITTLE = 1e-3


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
