"""Which change did it, if any: a softmax over every change and *none*, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from engine.judge.attribution.content import Content, contents, flag_nats
from engine.judge.attribution.diff import Diff, parse
from engine.judge.attribution.files import is_shared
from engine.judge.attribution.gates import SHARE, brought_by
from engine.judge.attribution.inert import churn_term, inert_term
from engine.judge.attribution.live import UNCARRIED, Live, live_of, time_term
from engine.judge.attribution.mechanism import mechanism_term
from engine.judge.attribution.none import base, none_term
from engine.judge.attribution.reach import reach_term
from engine.judge.attribution.value import value_term
from engine.judge.context import ChangeContext
from engine.records import Attribution, ChangeType, ChangeVerdict, ConfigChange, Verdict

CONFIRMED_AT: Final = 0.85
NAMED_AT: Final = 0.25
NAMED_BARE: Final = 0.65  # where no change says what it did
AHEAD: Final = 1.5  # times as likely as the next one
SUSPECT_AT: Final = 0.05
RULED_OUT_BELOW: Final = 0.05
NONE_AT: Final = 0.5
SUSPECTS_MOST: Final = 3
#: Factors of the terms: between one and what python -m tests.bench.attribution_fit says
WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {"time": 1.4, "reach": 1.0, "carried": 1.0, "inert": 1.0, "churn": 0.8, "content": 0.75, "mechanism": 1.2, "value": 1.0}
)
INERT: Final = -2.0  # what can hardly do harm
TOO_LATE: Final = -6.0
CONTENT_MOST: Final = 4.5
#: What confirms, in nats before they are weighed: two of three kinds that do not follow from one another.
TIED: Final = 0.4  # any of the kinds, enough to be named
DOES: Final = 1.0  # a way in which it does what is seen
SAID: Final = 0.75  # words, values or names that it shares with what is seen
OWN_SURE: Final = 0.5  # measured share of the excess
NEAR: Final = -0.6  # ln reach: it touches where it began, or next to it
WHAT_IT_DOES: Final = ("content", "mechanism", "value")
NONE, INCONCLUSIVE = "none", "inconclusive"


@dataclass(frozen=True, slots=True)
class Weighed:
    """One change with its terms in nats and its reasons."""

    change: ConfigChange
    live: Live
    terms: tuple[tuple[str, float], ...]
    reasons: tuple[str, ...]
    tied: bool  # something besides time and place ties it to what is seen
    sure: bool  # two kinds of evidence do

    @property
    def score(self) -> float:
        """Sum of the terms."""
        return sum(nats for _, nats in self.terms)


def attribute(changes: Sequence[ConfigChange], context: ChangeContext) -> Attribution:
    """Weigh every change and *none*, and say which did it.

        score(c) = sum of WEIGHTS x (time, ln reach, carried, inert, churn, content, mechanism, value);  p = softmax(score)

    over the changes, *none*, and a change that was never told (its share is nobody's, and ends inconclusive).
    A deploy that says which commits it carried is no candidate of its own: it has the probability of the likeliest of them.
    The answer is a change at p >= .25 (.65 where no diffs are known and nothing is measured) that is 1.5 times as likely as the next one
    and that something besides time and place ties to what is seen; "none" at p(none) >= .5 with a reason; else "inconclusive". It is
    *confirmed* at .85 with two kinds of evidence that do not follow from one another: a way in which it does what is seen, words or values
    that both share, half of the measured excess. Suspects are the likeliest three from .05 on; below, a change is ruled out.
    """
    ordered = sorted({change.id: change for change in changes}.values(), key=lambda each: (each.time_ns, each.id))
    weighed = weigh(ordered, context)
    bare = not any(change.diff for change in ordered)
    none_nats, none_reasons = none_term(context, bare=bare)
    carriers = {deploy for each in weighed for deploy in each.live.deploys}
    own = [each for each in weighed if each.change.id not in carriers]
    scores = [*(each.score for each in own), none_nats, base(context, bare=bare)]
    top = max(scores)
    odds = [math.exp(score - top) for score in scores]
    probability = {each.change.id: odd / sum(odds) for each, odd in zip(own, odds, strict=False)}
    none_probability = odds[-2] / sum(odds)
    for each in weighed:
        if each.change.id in carriers:
            probability[each.change.id] = max(probability[one.change.id] for one in own if each.change.id in one.live.deploys)
    ranked = sorted(weighed, key=lambda each: (-probability[each.change.id], each.change.id in carriers, each.change.id))
    answer = INCONCLUSIVE
    first = next((each for each in ranked if each.change.id not in carriers), None)
    if none_probability >= NONE_AT and none_reasons:
        answer = NONE
    elif first is not None and probability[first.change.id] >= (NAMED_BARE if bare and not context.measured else NAMED_AT) and first.tied:
        second = max((probability[each.change.id] for each in own if each is not first), default=0.0)
        if probability[first.change.id] >= max(AHEAD * second, none_probability):
            answer = first.change.id
    verdicts, suspects = [], 0
    for each in ranked:
        p, carrier = probability[each.change.id], each.change.id in carriers
        verdict = Verdict.POSSIBLE
        if p < RULED_OUT_BELOW:
            verdict = Verdict.RULED_OUT
        elif not carrier and p >= CONFIRMED_AT and each.sure and answer == each.change.id:
            verdict = Verdict.CONFIRMED
        elif not carrier and suspects < SUSPECTS_MOST and p >= SUSPECT_AT:
            verdict, suspects = Verdict.SUSPECT, suspects + 1
        verdicts.append(ChangeVerdict(each.change, p, verdict, each.reasons, each.terms))
    return Attribution(answer, tuple(verdicts), none_probability, none_reasons)


def weigh(ordered: Sequence[ConfigChange], context: ChangeContext) -> list[Weighed]:
    """Terms and reasons of every change. Args: changes, each once, oldest first."""
    deploys = [change for change in ordered if change.type is ChangeType.DEPLOYMENT]
    diffs = [parse(change.diff) for change in ordered]
    others_have_diffs = any(change.diff for change in ordered)
    shared = contents(ordered, diffs, context)
    committed = {change.revision: change.time_ns for change in ordered if change.type is ChangeType.CODE and change.revision}
    company = max(1, sum(map(_may_harm, ordered, diffs)))
    lives = [live_of(change, deploys, context.known_services, context.onset_ns, committed, context.root, company) for change in ordered]
    found = []
    for change, diff, live, content in zip(ordered, diffs, lives, shared, strict=True):
        found.append(_weigh(change, diff, live, content, context, others_have_diffs=others_have_diffs))
    behind = brought_by(ordered, {change.id: live for change, live in zip(ordered, lives, strict=True)})
    by_id = {each.change.id: each for each in found}
    return [_switched(each, [by_id[name] for name in behind.get(each.change.id, ())]) for each in found]


def _may_harm(change: ConfigChange, diff: Diff) -> bool:
    """Whether a change is shared code or configuration, with a diff, and not inert."""
    shared = change.type is ChangeType.CODE and bool(change.diff) and any(map(is_shared, change.files))
    return shared and inert_term(change, diff, others_have_diffs=True)[0] > INERT


def _switched(flag: Weighed, commits: Sequence[Weighed]) -> Weighed:
    """A flag with .8 of the evidence of the likeliest commit behind it, where that is more than its own."""
    own = dict(flag.terms)
    if not commits or own["time"] <= TOO_LATE:
        return flag
    best = max(commits, key=lambda each: (sum(dict(each.terms)[name] for name in WHAT_IT_DOES), each.change.id))
    behind = {name: SHARE * dict(best.terms)[name] for name in WHAT_IT_DOES}
    if sum(behind.values()) <= sum(own[name] for name in WHAT_IT_DOES):
        return flag
    terms = tuple((name, behind.get(name, nats)) for name, nats in flag.terms)
    return replace(
        flag,
        terms=terms,
        reasons=(*flag.reasons[:2], f"switches what {best.change.id} brought", *best.reasons[2:]),
        tied=flag.tied or best.tied,
        sure=flag.sure or best.sure,
    )


def saturated(nats: float) -> float:
    """Words shared are no independent witnesses: the more there are, the less the next one adds. At most 4.5 nats.

    >>> [round(saturated(nats), 1) for nats in (-1.0, 0.5, 2.0, 8.0)]
    [-1.0, 0.5, 1.6, 3.7]
    """
    return CONTENT_MOST * (1 - math.exp(-nats / CONTENT_MOST)) if nats > 0 else nats


def _weigh(change: ConfigChange, diff: Diff, live: Live, content: Content, context: ChangeContext, *, others_have_diffs: bool) -> Weighed:
    symptoms = dict(context.symptoms)
    time_nats, time_why = time_term(live, context)
    reach_nats, reach_why = reach_term(change, live, context)
    inert_nats, inert_why = inert_term(change, diff, others_have_diffs=others_have_diffs)
    # what goes live once users suffer is a remedy as often as not: that its words fit says nothing
    late = time_nats <= TOO_LATE
    can = inert_nats > INERT and not late
    mechanism_nats, mechanism_why = mechanism_term(change, diff, symptoms) if can else (0.0, "")
    step_nats, said_nats, value_why = value_term(change, diff, context) if can else (0.0, 0.0, "")
    content_nats = 0.0 if late else saturated(content.nats)
    # what the errors miss or say is heard in the shared words already
    value_nats = step_nats + (saturated(content.nats + said_nats) - content_nats if said_nats else 0.0)
    flagged = flag_nats(change, context) if can else 0.0
    if flagged > max(0.0, mechanism_nats):
        mechanism_nats, mechanism_why = flagged, f"switches {change.flag_key}, which the errors name"
    nats = {
        "time": time_nats,
        "reach": reach_nats,
        "carried": live.carried,
        "inert": inert_nats,
        "churn": churn_term(diff) if can else 0.0,
        "content": content_nats,
        "mechanism": mechanism_nats,
        "value": value_nats,
    }
    # too late is too late, whatever the time weighs
    terms = tuple((name, each if name == "time" and late else WEIGHTS[name] * each) for name, each in nats.items())
    reasons = [f"{time_why}{', ' + live.how if live.how else ''}", reach_why]
    reasons += [why for why in (inert_why, mechanism_why, value_why) if why]
    if content.frame and not late:
        reasons.append(f"edits {content.frame}, which is in the stack trace")
    if content.nats > 0.5 and content.shared and not late:
        reasons.append(f"shares {', '.join(content.shared[:4])} with what is seen")
    own = context.measured and bool(change.service) and context.view(change.service).own >= OWN_SURE
    does = max(mechanism_nats, step_nats) >= DOES
    said = max(content_nats, said_nats, step_nats) >= SAID
    tied = own or max(mechanism_nats, step_nats, said_nats, content_nats) >= TIED
    sure = does and (own or (said and (context.measured or reach_nats >= NEAR or said_nats >= SAID)))
    told = live.carried > UNCARRIED
    return Weighed(change, live, terms, tuple(reasons), tied and told, sure and told)
