"""When a change went live, by what carried it, and how that fits the onset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.judge.attribution.files import APPLIED, is_shared, service_of_file
from engine.judge.context import ChangeContext, seconds
from engine.records import HOUR_NS, ChangeType, ConfigChange

ROW_SECONDS: Final = 300.0
WITHIN: Final = 0.67
#: What a change breaks shows within minutes of its rollout, or once something has filled up, run out or come round.
SOON: Final = 0.8
SOON_LESS: Final = 0.4  # of it, where something fills up or runs out
FILLS: Final = ("memory", "disk", "exhausted")
SOON_SECONDS: Final = 480.0
LATER_SECONDS: Final = 3600.0
SHARED_CARRIED: Final = -0.8
CROWD: Final = 0.35  # of the logarithm of how many shared changes there are
CROWD_MOST: Final = 10
UNCARRIED: Final = -2.5  # suspected at most
UNSEEN: Final = -1.2  # nor was any deploy of its services told
APPLIED_CARRIED: Final = -0.3
CARRY_NS: Final = 4 * HOUR_NS


@dataclass(frozen=True, slots=True)
class Live:
    """When and where a change went live. `carried`: nats, 0 where its own deploy says so; `how` in words."""

    time_ns: int
    services: tuple[str, ...]
    carried: float
    how: str
    deploys: tuple[str, ...] = ()  # ids of deploys that carried it by their own word


def live_of(
    change: ConfigChange,
    deploys: Sequence[ConfigChange],
    services: Sequence[str],
    onset_ns: int,
    committed_ns: Mapping[str, int] | None = None,
    root: str = "",
    company: int = 1,
) -> Live:
    """A deploy, flag or parameter is live at its time, where it says. A commit reaches services through deploys:

        own revision 0; a later deploy of the service that its files belong to -.3;
        of any service for shared files -.8 - .35 ln n, of n <= 10 such commits that may do harm;
        applied without a release (infrastructure, manifests) -.3, when it is merged;
        none -2.5 (-1.2 where its services are never seen to be deployed, 0 where no deploys are known at all)

    A deploy whose revision was committed before (`committed_ns` by revision) cannot hold it. Of several deploys with its revision the
    first before the onset counts; shared code is live at the root when the root is deployed. Deploys in order of time.
    """
    if change.type is not ChangeType.CODE:
        return Live(change.time_ns, (change.service,) if change.service else (), 0.0, "")
    own = [each for each in deploys if each.revision and change.revision and _same_revision(each.revision, change.revision)]
    if own:
        before = [each for each in own if each.time_ns <= onset_ns] or own[:1]
        named = tuple(dict.fromkeys(each.service for each in before))
        first = before[0]
        how = f"carried by {first.service} {first.version}".rstrip()
        return Live(max(first.time_ns, change.time_ns), named, 0.0, how, tuple(each.id for each in own))
    owners = {service for file in change.files if (service := service_of_file(file, services))}
    if change.files and all(APPLIED.search(file) for file in change.files):
        return Live(change.time_ns, tuple(sorted(owners)), APPLIED_CARRIED, "applied without a release")
    at_ns = committed_ns or {}
    later = [
        each
        for each in deploys
        if change.time_ns <= each.time_ns <= change.time_ns + CARRY_NS and at_ns.get(each.revision, each.time_ns) >= change.time_ns
    ]
    of_owner = [each for each in later if each.service in owners]
    if of_owner:
        first = of_owner[0]
        return Live(first.time_ns, (first.service,), -0.3, f"may have gone live with {first.service} {first.version}".rstrip())
    if later and not owners and any(is_shared(file) for file in change.files):
        first = next((each for each in later if each.service == root and each.time_ns <= onset_ns), later[0])
        # a service that was built between the commit and the onset may hold it
        named = tuple(dict.fromkeys(each.service for each in later if each.time_ns <= onset_ns)) or (first.service,)
        return Live(
            first.time_ns,
            named,
            SHARED_CARRIED - CROWD * math.log(min(company, CROWD_MOST)),
            f"shared code, may have gone live with {first.service} {first.version}".rstrip(),
        )
    silent = bool(owners) and not any(each.service in owners for each in deploys)
    carried = (UNSEEN if silent else UNCARRIED) if deploys else 0.0
    return Live(change.time_ns, tuple(sorted(owners)), carried, "no deploy carried it" if deploys else "")


def _same_revision(one: str, other: str) -> bool:
    short = min(len(one), len(other))
    return one == other or (short >= 7 and one[:short] == other[:short])


def time_term(live: Live, context: ChangeContext) -> tuple[float, str]:
    """Nats of the time from going live to the onset, and a sentence.

    before the onset: ln(s exp(-age / 8 min) + (1 - s) exp(-age / 60 min)), s = .8, down to .4 where something fills up or runs out;
    within the interval that holds the onset: -.67 per 300 s of its width, at most -.67;
    after the onset but before the symptom itself: -2;  later: -6
    """
    age = seconds(context.onset_earliest_ns, live.time_ns)
    if age >= 0:
        symptoms = dict(context.symptoms)
        soon = SOON - SOON_LESS * max(symptoms.get(kind, 0.0) for kind in FILLS)
        still = soon * math.exp(-age / SOON_SECONDS) + (1 - soon) * math.exp(-age / LATER_SECONDS)
        return math.log(still), f"went live {_span(age)} before the onset"
    late = seconds(live.time_ns, context.onset_ns)
    if late <= 0:
        width = seconds(context.onset_ns, context.onset_earliest_ns)
        return -WITHIN * min(1.0, width / ROW_SECONDS), "went live within the interval in which it began"
    if live.time_ns <= context.symptom_ns:
        return -2.0, f"went live {_span(late)} after the first signs"
    return -6.0, f"went live {_span(late)} after the onset"


def _span(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"
