"""The words of a finding: kind of cause, scope, title, causal chain, action. Every number comes from the evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from engine.judge.correlate import Links
from engine.judge.graph import callers_of, nearest_callers
from engine.records import (
    Attribution,
    Cause,
    ChangeType,
    ChangeVerdict,
    ConfigChange,
    Evidence,
    Family,
    PeerKind,
    TopologyEdge,
    Verdict,
)

AFFECTED_Z = 3.0  # a service shows it from here on
AFFECTED_MOST = 20
MANY_OF_ZONE = 3
#: Families that can tell instances apart.
BY_INSTANCE = frozenset({Family.GAP, Family.SELF_TIME, Family.ERROR, Family.RESOURCE})
MANY_UNRELATED = 4  # loud services without a call between them: something below them all
LOAD_RATIO = 1.5  # requests at the entry, observed / expected, from which load is the cause when no change is
SPOKEN_OF = 0.1  # a suspect less likely than this is listed, and no sentence made of it
CHANGE_AT = 0.5  # a change is the kind of cause from here on: likelier than all else together
TITLE_MOST = 120

WHAT: Mapping[Family, str] = {
    Family.FLOW: "behaves differently inside its requests",
    Family.GAP: "calls to it take longer on the way",
    Family.SELF_TIME: "takes longer itself",
    Family.ERROR: "fails",
    Family.RESOURCE: "is short of a resource",
    Family.RATE: "gets a different number of requests",
    Family.ABSENCE: "has gone silent",
    Family.METRIC: "is where the extra time or failures arise",
    Family.LEVEL: "answers more slowly or fails more often",
    Family.ROW: "sends records never seen before",
}


class Around(NamedTuple):
    """What is known of an incident besides evidence and changes."""

    onset_ns: int = 0  # 0: the start of the span
    load_ratio: float = 1.0  # requests at an entry to usual ones
    load_service: str = ""
    outside_host: str = ""  # that most of the root's errors name
    roots: Mapping[str, float] = MappingProxyType({})  # by the order of the signs


NOTHING = Around()


def clock(time_ns: int) -> str:
    """Time of day in UTC.

    >>> clock(1705329135 * 10**9)
    '14:32:15'
    """
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%H:%M:%S")


def blamed(attribution: Attribution) -> ChangeVerdict | None:
    """The change that is confirmed, else the most probable suspect from .1 on; None if there is neither."""
    for verdict, least in ((Verdict.CONFIRMED, 0.0), (Verdict.SUSPECT, SPOKEN_OF)):
        found = next((one for one in attribution.verdicts if one.verdict is verdict and one.probability >= least), None)
        if found:
            return found
    return None


def change_name(change: ConfigChange) -> str:
    """How a person calls a change.

    >>> change_name(ConfigChange("deploy-048", 0, ChangeType.DEPLOYMENT, "search-service", version="v1.8.3"))
    'deploy-048 (search-service v1.8.3)'
    """
    inside = " ".join(part for part in (change.service, change.version) if part)
    return f"{change.id} ({inside})" if inside else change.id


def affected(evidence: Sequence[Evidence], root: str) -> tuple[str, ...]:
    """Services that show it (z >= 3, or user-visible), the root first, then the loudest; at most 20."""
    loudest: dict[str, float] = {}
    for item in evidence:
        if item.service and (item.z >= AFFECTED_Z or (item.user_visible and item.z > 0)):
            loudest[item.service] = max(item.z, loudest.get(item.service, 0.0))
    others = sorted((service for service in loudest if service != root), key=lambda service: (-loudest[service], service))
    return tuple(([root] if root else []) + others)[:AFFECTED_MOST]


def scope_of(evidence: Sequence[Evidence], edges: Sequence[TopologyEdge], root: str) -> str:
    """instance, service, namespace, zone or infrastructure: the narrowest that holds everything loud.

    zone: three loud services and more, all of which show it in one and the same zone of several, two of them without a call between them;
    four loud services and more of which no two are linked: the namespace if all are of one and others are not touched, else
    infrastructure. instance: all loud evidence of the root that tells instances apart names the same one.
    """
    loud = [item for item in evidence if item.z >= AFFECTED_Z]
    services = sorted({item.service for item in loud})
    links = Links(edges)
    unrelated: list[str] = []
    for service in services:
        if not any(links.linked(service, other) for other in unrelated):
            unrelated.append(service)
    zones = {item.zone for item in loud}
    if len(services) >= MANY_OF_ZONE and len(unrelated) > 1 and len(zones) == 1 and "" not in zones:
        return "zone"
    if len(unrelated) >= MANY_UNRELATED:
        namespaces = {service.partition("/")[0] if "/" in service else "" for service in services}
        known = {name.partition("/")[0] for edge in edges for name in (edge.caller, edge.callee)}
        return "namespace" if len(namespaces) == 1 and "" not in namespaces and known - namespaces else "infrastructure"
    return "instance" if instance_of(evidence, root) else "service"


def instance_of(evidence: Sequence[Evidence], root: str) -> str:
    """The only instance of the root that shows it; "" where several do, or it cannot be told."""
    loud = [item for item in evidence if item.z >= AFFECTED_Z and item.service == root]
    instances = {item.instance for item in loud if item.instance or (item.family in BY_INSTANCE and item.signal != "logs")}
    return instances.pop() if len(instances) == 1 else ""


def cause_type(
    causes: Sequence[Cause],
    evidence: Sequence[Evidence],
    edges: Sequence[TopologyEdge],
    attribution: Attribution,
    scope: str,
    around: Around,
) -> str:
    """change, load, infrastructure, dependency, code, resource or unknown."""
    change = blamed(attribution)
    named = change is not None and change.change.id == attribution.answer and change.probability >= CHANGE_AT
    if change and (change.verdict is Verdict.CONFIRMED or named):
        return "change"
    if scope in {"zone", "namespace", "infrastructure"}:
        return "infrastructure"
    if around.outside_host:
        return "dependency"
    if around.load_ratio >= LOAD_RATIO or any(_is_surge(item) for item in evidence):
        return "load"
    if not causes or not causes[0].families:
        return "unknown"
    root, families = causes[0].service, dict(causes[0].families)
    virtual = {edge.callee for edge in edges if edge.kind not in {PeerKind.SERVICE, PeerKind.NONE}}
    if root in virtual:
        return "dependency"
    loudest = Family(causes[0].families[0][0])
    if scope == "instance" and loudest is not Family.RESOURCE:  # the others run the same code
        return "infrastructure"
    if loudest is Family.RESOURCE or (loudest in {Family.SELF_TIME, Family.GAP} and families.get(Family.RESOURCE, 0.0) >= AFFECTED_Z):
        return "resource"
    if loudest in {Family.GAP, Family.ABSENCE}:
        return "infrastructure"
    return "code" if loudest in {Family.FLOW, Family.ERROR, Family.SELF_TIME} else "unknown"


def _is_surge(item: Evidence) -> bool:
    if item.family is not Family.RATE or not item.user_visible or item.z < AFFECTED_Z:
        return False
    return math.isfinite(item.observed) and item.expected > 0 and item.observed >= LOAD_RATIO * item.expected


def chain(evidence: Sequence[Evidence], edges: Sequence[TopologyEdge], attribution: Attribution, root: str) -> tuple[str, ...]:
    """Sentences from the change, if one is blamed, over the root and its callers to what users see."""
    best: dict[str, Evidence] = {}
    for item in evidence:  # strongest first
        best.setdefault(item.service, item)
    sentences = []
    change = blamed(attribution)
    if change:
        word = "did it" if change.verdict is Verdict.CONFIRMED else "is suspected"
        detail = f": {change.change.summary}" if change.change.summary else ""
        sentences.append(
            f"{change_name(change.change)} of {clock(change.change.time_ns)} {word} ({change.probability:.0%}){detail.rstrip('.')}."
        )
    if root in best:
        sentences.append(_said(best[root]))
    if instance := instance_of(evidence, root):
        sentences.append(f"Of the instances of {root} only {instance} shows it.")
    shown = frozenset(item.service for item in evidence if item.z >= AFFECTED_Z or item.user_visible)
    upward = nearest_callers(shown | {root}, callers_of(edges))
    seen, here = {root}, root
    while True:
        ahead = sorted((caller for caller in upward.get(here, ()) if caller not in seen), key=lambda caller: (-best[caller].z, caller))
        if not ahead:
            return tuple(sentences)
        visible = [caller for caller in ahead if best[caller].user_visible]
        caller = (visible or ahead)[0]
        sentences.append(f"{caller} calls {here}. {_said(best[caller])}")
        seen.add(caller)
        here = caller


def _said(item: Evidence) -> str:
    text = item.sentence or f"{item.subject}: {item.observed:.4g} {item.unit} instead of {item.expected:.4g}"
    text = text.rstrip(".") + "."
    return text if item.service in text else f"{item.service}: {text}"


def title(causes: Sequence[Cause], attribution: Attribution, verdict: str) -> str:
    """One line, at most 120 characters."""
    if not causes:
        return "Something changed, and nothing stands out"
    root = causes[0].service
    what = WHAT[Family(causes[0].families[0][0])] if causes[0].families else "is where a change went live"
    change = blamed(attribution)
    if change:
        word = "because of" if change.verdict is Verdict.CONFIRMED else "perhaps because of"
        text = f"{root} {what}, {word} {change_name(change.change)}"
    elif verdict == "inconclusive":
        text = f"{root} {what}; inconclusive"
    else:
        text = f"{root} {what}"
    return text if len(text) <= TITLE_MOST else text[: TITLE_MOST - 1] + "…"


def action(
    kind: str,
    causes: Sequence[Cause],
    evidence: Sequence[Evidence],
    edges: Sequence[TopologyEdge],
    attribution: Attribution,
    verdict: str,
    around: Around,
) -> str:
    """What to do first. Taking a change back is advised only where one is confirmed or suspected."""
    change = blamed(attribution)
    if change:
        undo = _undo(change.change, attribution)
        if change.verdict is Verdict.CONFIRMED:
            return f"{undo}."
        return f"Look at {change_name(change.change)} first; if it fits what you see, {undo[0].lower()}{undo[1:]}."
    if not causes:
        return "Nothing stands out: look at what users report first."
    root = causes[0].service
    if kind == "load":
        surge = next((_said(item) for item in evidence if _is_surge(item)), "")
        at = around.load_service or root
        return f"Scale {root} or limit the load: {surge or f'{at} gets {around.load_ratio:.1f} times its usual requests.'}"
    if kind == "infrastructure" and (instance := instance_of(evidence, root)):
        return f"Look at {instance} of {root} first, and at the host that it runs on; replace it if the others carry its load."
    if kind == "infrastructure":
        users = ", ".join(sorted({edge.caller for edge in edges if edge.callee == root})[:3])
        return f"Look at the network, host or node below {root} first" + (f", on the way from {users}." if users else ".")
    if kind == "resource":
        found = next((item for item in evidence if item.service == root and item.family is Family.RESOURCE), None)
        return f"Give {root} more of what it lacks, or find what uses it up" + (f": {_said(found)}" if found else ".")
    if kind == "dependency":
        host = around.outside_host or root
        return f"Look at {host} itself, or with its provider, first; its callers only pass on what it does."
    first = next((item for item in evidence if item.service == root), None)
    subject = f", at {first.subject}" if first and first.subject and first.subject != root else ""
    second = causes[1].service if verdict == "inconclusive" and len(causes) > 1 else ""
    return f"Look at {root} first{subject}" + (f", then at {second}." if second else ".")


def _undo(change: ConfigChange, attribution: Attribution) -> str:
    where = f" of {change.service}" if change.service else ""
    if change.type is ChangeType.FEATURE_FLAG:
        return f"Set flag {change.flag_key or change.id}{where} back"
    if change.type is ChangeType.CONFIG:
        param = change.params[0] if change.params else None
        if param and param.old:
            return f"Restore {param.name}{where} to {param.old}"
        return f"Restore {param.name if param else change.id}{where} to its value before {clock(change.time_ns)}"
    if change.type is ChangeType.CODE:
        return f"Revert {change.revision[:12] or change.id}{where}"
    before = [
        one.change
        for one in attribution.verdicts
        if one.change.service == change.service and one.change.version not in {"", change.version} and one.change.time_ns < change.time_ns
    ]
    to = max(before, key=lambda one: one.time_ns).version if before else "the version before"
    return (
        f"Roll back {change.service or change.id} from {change.version} to {to}" if change.version else f"Roll back {change_name(change)}"
    )
