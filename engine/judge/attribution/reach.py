"""Whether what a change touches is where the incident began."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from engine.judge.attribution.diff import TOKEN
from engine.judge.attribution.files import is_shared, name_words, service_of_file
from engine.judge.attribution.live import Live
from engine.judge.attribution.onset import STARVED_RATIO
from engine.judge.attribution.series import arrivals
from engine.judge.context import ChangeContext, ServiceView
from engine.records import ChangeType, ConfigChange

MEASURED_LEAST: Final = 0.02
UNRELATED: Final = 0.2
RELATED: Final = 0.3
SHARED: Final = 0.5
UPSTREAM: Final = 0.6  # who sends its work to a root that idles, or that refuses what it is sent
REFUSALS: Final = ("parse", "data", "type", "auth", "route")
REFUSES_FROM: Final = 0.6
IDLE_FROM: Final = 0.9
CONTRACT: Final = re.compile(
    r"\.(proto|avsc|avdl|thrift|graphqls?|xsd|wsdl|asn1?)$|(^|/)(contracts?|schemas?|protos?|idl|openapi|swagger|asyncapi|events?)/", re.I
)
PARTED: Final = ("refused", "health", "timeout", "route", "missing", "auth")  # how a caller says that it does not reach who it calls
PARTED_SHARE: Final = 0.8
LAG_FROM: Final = 0.6
UNEXPLAINED: Final = 0.5  # nats for each service that fell ill at once and that it does not reach
SIBLING: Final = 0.6  # changes a table of a database that the root uses, too, or fills up what both use
STATEMENT: Final = re.compile(r"^\+.*\b(create|alter|drop|lock|truncate)\s+(unique\s+)?(table|index|column|type|view)\b", re.I | re.M)
NAMES: Final = 0.8  # shared code or configuration that names the root
#: What tells views of one thing apart: its resource type, its client, its remote end.
ENTITY: Final = re.compile(r"_AWS::|_remote$|_client$|_Database::|[-_](client|remote|db|cache|replica|proxy|canary|primary)$", re.I)


def entity(service: str) -> str:
    """The name without what kind of node it is: a table, its remote end and its client are one thing.

    >>> entity("orders_client"), entity("orders")
    ('orders', 'orders')
    """
    return ENTITY.split(service)[0].lower()


def reach_term(change: ConfigChange, live: Live, context: ChangeContext) -> tuple[float, str]:
    """ln reach, and a sentence.

    Measured (excess flow), q the largest of the service's own share and .9 x that of all views of it:
        reach = max(.02, min(1, q + .1 max(0, flow - q)))
    Estimated, R the root weight of the services it went live in, relative to the likeliest root:
        reach = max(R, .8 for shared code that names the root, .5 for shared code, .6 where it changes tables of a database that both use,
                    .6 where it sends a root that idles or refuses its work, or calls what deviates, calls nobody and is called by others,
                    .3 where a service calls or is called by the root, .2)
    """
    touched = dict.fromkeys(live.services)
    owners = {service for file in change.files if (service := service_of_file(file, context.known_services))}
    if change.type is ChangeType.CODE and not touched:
        touched = dict.fromkeys(sorted(owners))
    shared = change.type is ChangeType.CODE and not owners and any(is_shared(file) for file in change.files)
    if context.measured and touched:
        q, passed, service = max(((*_measured(name, context.services), name) for name in touched), default=(0.0, 0.0, ""))
        reach = max(MEASURED_LEAST if not shared else RELATED, min(1.0, q + 0.1 * max(0.0, passed - q)))
        if q >= 0.05:
            return math.log(reach), f"{service} makes {q:.0%} of the excess itself"
        return math.log(reach), f"touches {service}, which makes none of the excess itself"
    most = context.services[0].root if context.services else 0.0
    root = context.root
    best, why = UNRELATED, "touches none of the services that deviate"
    for service in touched:
        share = context.view(service).root / most if most > 0 else 0.0
        if share > best:
            best, why = share, f"touches {service}, where it began" if service == root else f"touches {service}, which deviates too"
    if not touched and not shared:
        why = "belongs to no service that is known"
    linked = {edge.caller for edge in context.edges if edge.callee == root} | {edge.callee for edge in context.edges if edge.caller == root}
    if best < RELATED and linked.intersection(touched):
        best, why = RELATED, f"touches {sorted(linked.intersection(touched))[0]}, next to {root}"
    below = {edge.callee for edge in context.edges if edge.caller == root}
    beside = {edge.caller for edge in context.edges if edge.callee in below and edge.caller != root}
    if best < SIBLING and change.type is ChangeType.CODE and beside.intersection(touched) and STATEMENT.search(change.diff):
        best, why = SIBLING, f"touches {sorted(beside.intersection(touched))[0]}, and a schema or query of what {root} calls, too"
    if best < SIBLING and (common := _filled(touched, context)):
        best, why = SIBLING, f"touches {next(iter(touched))}, which shares {common} with what deviates"
    # shared code that only went where nothing is wrong is no more than related
    symptoms = dict(context.symptoms)
    idle = symptoms.get("idle", 0.0) >= IDLE_FROM
    refuses = max(symptoms.get(kind, 0.0) for kind in REFUSALS) >= REFUSES_FROM
    if (idle or refuses) and best < UPSTREAM and (above := upstream(root, context).intersection(touched)):
        what = "should send" if idle else "sends"
        best, why = UPSTREAM, f"touches {sorted(above)[0]}, which {what} {root} its work"
    if best < UPSTREAM and symptoms.get("lag", 0.0) >= LAG_FROM and (above := linked.intersection(touched) - below):
        best, why = UPSTREAM, f"touches {sorted(above)[0]}, whose work {root} falls behind with"
    if best < UPSTREAM and linked.intersection(touched) and any(map(CONTRACT.search, change.files)):
        best, why = UPSTREAM, f"touches a contract between {root} and {sorted(linked.intersection(touched))[0]}"
    if best < PARTED_SHARE and (parted := _parted(below.intersection(touched), symptoms, context)):
        best, why = PARTED_SHARE, f"touches {parted}, which {root} no longer reaches"
    # what sends nothing is infrastructure; it cannot be said to show nothing
    unseen = any(name not in context.known_services for name in touched)
    near = not touched or unseen or bool(linked.intersection(touched)) or any(context.view(name).root for name in touched)
    if shared and best < NAMES and names(change, root):
        best, why = NAMES, f"touches code or configuration that services share, and names {root}"
    elif shared and not near and best < RELATED:
        best, why = RELATED, f"touches shared code, carried by {next(iter(touched))} only, which shows nothing"
    elif shared and near and best < SHARED:
        best, why = SHARED, "touches code or configuration that services share"
    left = _left_over(touched, context) if touched else []
    if left:
        why += f", and explains nothing of {', '.join(left[:3])}"
    return math.log(min(1.0, best)) - UNEXPLAINED * min(len(left), 4), why


def _filled(touched: Iterable[str], context: ChangeContext) -> str:
    """A service that calls nobody, deviates, and is called by what is touched and, unless it is the root, by others that deviate."""
    calling = {edge.caller for edge in context.edges if edge.caller != edge.callee}
    of = {edge.callee for edge in context.edges if edge.caller in touched} - calling
    ill = [service for service in sorted(of) if context.view(service).root]
    others = {edge.callee for edge in context.edges if edge.caller not in touched and context.view(edge.caller).root}
    return next((service for service in ill if service == context.root or service in others), "")


def _parted(below: Iterable[str], symptoms: Mapping[str, float], context: ChangeContext) -> str:
    """A callee of the root that gets less than two thirds of its work, while the root says that it does not reach somebody."""
    if max(symptoms.get(kind, 0.0) for kind in PARTED) < REFUSES_FROM:
        return ""
    less = {step.service for step in context.steps if step.old > 0 and step.new < STARVED_RATIO * step.old and arrivals(step.metric)}
    return next((service for service in sorted(below) if service in less), "")


def _left_over(touched: Iterable[str], context: ChangeContext) -> list[str]:
    """Services that fell ill at once with the others and are neither touched nor within three calls of what is."""
    near = set(touched)
    for _ in range(3):
        near |= {edge.caller for edge in context.edges if edge.callee in near} | {
            edge.callee for edge in context.edges if edge.caller in near
        }
    return [service for service in context.apart if service not in near] if len(context.apart) > 1 else []


def upstream(root: str, context: ChangeContext) -> set[str]:
    """Services that call the root, or call its callers, at most three calls up."""
    found, ring = {root}, {root}
    for _ in range(3):
        ring = {edge.caller for edge in context.edges if edge.callee in ring} - found
        found |= ring
    return found - {root}


def names(change: ConfigChange, service: str) -> bool:
    """Whether changed lines or paths name a service.

    >>> names(ConfigChange("c", 0, ChangeType.CODE, diff="-  allow = [var.pricing_sg]"), "pricing")
    True
    """
    own = name_words(service.rpartition("/")[2])
    lines = [line[1:] for line in change.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return bool(own) and any(set(own) <= set(name_words(token)) for text in (*lines, *change.files) for token in TOKEN.findall(text))


def _measured(service: str, views: Iterable[ServiceView]) -> tuple[float, float]:
    own = passed = same = 0.0
    for view in views:
        if view.service == service:
            own, passed = view.own, view.flow
        if entity(view.service) == entity(service):
            same += view.own
    return max(own, 0.9 * same), passed
