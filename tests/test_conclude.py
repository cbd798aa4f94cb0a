"""The front of the judge: a pure function of evidence, edges, changes and context."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.judge.conclude import conclude
from engine.judge.context import ChangeContext, ServiceView
from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, ChangeType, ConfigChange, Family, Verdict
from engine.settings import EngineSettings
from tests.judging import calls, seen

EDGES = calls("web>cart", "cart>stock")
START, END = 100 * MINUTE_NS, 102 * MINUTE_NS
EVIDENCE = (
    seen("cart", Family.SELF_TIME, 9.0, end_s=END // SECOND_NS),
    seen("web", Family.GAP, 4.5, end_s=END // SECOND_NS, user_visible=True),
)
CONTEXT = ChangeContext(
    start_ns=START,
    end_ns=END,
    onset_earliest_ns=START - 10 * SECOND_NS,
    onset_ns=START + 10 * SECOND_NS,
    symptom_ns=START + 10 * SECOND_NS,
    symptoms=(("latency", 1.0),),
    services=(ServiceView("cart", 1.0, 0.9, 1.0, 9.0), ServiceView("web", 0.4, 0.0, 1.0, 4.5)),
    measured=False,
    edges=EDGES,
    known_services=("cart", "stock", "web"),
)
DEPLOY = ConfigChange("d1", START - MINUTE_NS, ChangeType.DEPLOYMENT, "cart", version="v2")


def find(changes=(), context=CONTEXT, evidence=EVIDENCE):
    return conclude(evidence, EDGES, changes, context, START, END, EngineSettings())


def test_the_service_with_the_loudest_evidence_of_its_own_is_the_cause_not_its_caller():
    finding = find()
    assert (finding.root, finding.affected, finding.onset_ns) == ("cart", ("cart", "web"), CONTEXT.onset_ns)
    assert finding.attribution.verdicts == ()
    assert "oll back" not in finding.action


def test_every_recent_change_gets_a_verdict_and_one_after_the_onset_is_never_blamed():
    late = replace(DEPLOY, id="d2", time_ns=START + MINUTE_NS)
    finding = find((DEPLOY, late))
    verdicts = {one.change.id: one.verdict for one in finding.attribution.verdicts}
    assert set(verdicts) == {"d1", "d2"}
    assert verdicts["d2"] not in {Verdict.CONFIRMED, Verdict.SUSPECT}
    assert "d2" not in finding.title + finding.action


def test_changes_beyond_the_look_back_are_not_asked():
    old = replace(DEPLOY, time_ns=END - 5 * HOUR_NS)
    assert find((old,)).attribution.verdicts == ()


def test_equal_inputs_in_any_order_give_equal_findings():
    other = replace(DEPLOY, id="d0", service="stock", time_ns=START - 30 * MINUTE_NS)
    assert find((DEPLOY, other)) == find((other, DEPLOY), evidence=EVIDENCE[::-1])


def test_load_at_the_entry_is_named_when_no_change_is():
    finding = find(context=replace(CONTEXT, load_ratio=3.0, load_service="web"))
    assert finding.cause_type == "load"
    assert finding.action == "Scale cart or limit the load: web gets 3.0 times its usual requests."


def test_an_empty_span_is_refused():
    with pytest.raises(ValueError, match="the span must not be empty"):
        conclude((), (), (), CONTEXT, END, END, EngineSettings())
