"""The life of incidents, step by step, on evidence that we make up."""

from __future__ import annotations

import itertools
import json

import pytest

from engine.judge.finding import compose
from engine.judge.incident import LIVE_MOST, Incidents
from engine.records import SECOND_NS, Family, IncidentState, Severity
from engine.settings import EngineSettings
from tests.judging import NO_CHANGE, calls, seen

EDGES = calls("web>cart", "cart>stock", "web>mail")
STEP = 10


class Story:
    """Runs steps of 10 s; evidence of a step is what `tell` says of that second."""

    def __init__(self, edges=EDGES, learning=None):
        self.incidents = Incidents(EngineSettings())
        self.edges, self.learning = edges, learning
        self.published, self.explained = [], []
        self.told = {}
        for family in Family:  # forty minutes of nothing: families are no longer young
            self.incidents.detector._minutes[family] = 1000

    def explain(self, start_ns, end_ns):
        self.explained.append((start_ns // SECOND_NS, end_ns // SECOND_NS))
        inside = [items for second, items in self.told.items() if start_ns < second * SECOND_NS <= end_ns]
        strongest = {}
        for item in (item for items in inside for item in items):
            key = item.family, item.service, item.subject
            strongest[key] = max(item, strongest.get(key, item), key=lambda one: one.z)
        return compose(list(strongest.values()), self.edges, NO_CHANGE, start_ns, end_ns)

    def run(self, first, last, tell):
        for second in range(first, last, STEP):
            self.told[second] = tell(second)
            self.published += self.incidents.step(
                self.told[second], second * SECOND_NS, self.explain, edges=self.edges, learning=self.learning
            )
        return self

    def states(self):
        return [(incident.published_ns // SECOND_NS, incident.state.value, incident.finding.root) for incident in self.published]

    def openings(self):
        return [one for one in self.states() if one[1] in {"open", "reopened"}]


def fault(service, first, last, z=9.0, **rest):
    """A fault as the sliding span sees it: it takes 40 s to show, and fades for two minutes after its end."""

    def tell(second):
        share = min(1.0, (second - first) / 40.0) if second <= last + 60 else (last + 120 - second) / 60.0
        return [seen(service, z=z * share, end_s=second, **rest)] if first < second < last + 120 else []

    return tell


def both(*tellers):
    return lambda second: [item for tell in tellers for item in tell(second)]


def test_one_fault_is_one_incident_from_opening_to_resolution():
    story = Story().run(0, 1000, both(fault("cart", 300, 420), fault("web", 310, 420, z=5.0)))
    assert len(story.openings()) == 1
    opened, last = story.published[0], story.published[-1]
    assert opened.state is IncidentState.OPEN
    assert 310 <= opened.published_ns // SECOND_NS <= 350
    assert last.state is IncidentState.RESOLVED
    assert {incident.id for incident in story.published} == {opened.id}
    assert (last.finding.root, last.opened_ns) == ("cart", opened.opened_ns)
    assert story.incidents.active() == ()


def test_the_onset_is_when_it_began_to_show_and_the_end_when_it_no_longer_did():
    story = Story().run(0, 1000, fault("cart", 300, 420))
    assert 300 <= story.published[0].onset_ns // SECOND_NS <= 320
    assert story.explained[-1][1] <= 420 + 60 + 20


def test_an_incident_answers_for_hours_that_hold_it_until_it_is_dismissed():
    story = Story().run(0, 1000, fault("cart", 300, 420))
    incidents, opened = story.incidents, story.published[0].onset_ns
    assert incidents.surest(opened + 30 * SECOND_NS, 9000 * SECOND_NS).root == "cart"
    assert incidents.surest(900 * SECOND_NS, 9000 * SECOND_NS) is None  # it was over
    assert incidents.surest(0, 200 * SECOND_NS) is None  # it had not begun
    again = Story()
    again.incidents.restore(json.loads(json.dumps(incidents.state())))
    assert again.incidents.surest(opened, 9000 * SECOND_NS).causes == incidents.surest(opened, 9000 * SECOND_NS).causes
    other = Story().run(0, 400, fault("cart", 300, 420))
    other.incidents.dismiss(other.published[0].id, 400 * SECOND_NS)
    assert other.incidents.surest(opened, 9000 * SECOND_NS) is None


def test_successive_faults_of_different_services_are_two_incidents_even_without_a_pause():
    story = Story().run(0, 1200, both(fault("cart", 300, 420), fault("mail", 480, 600)))
    assert [root for _, _, root in story.openings()] == ["cart", "mail"]
    assert len({incident.id for incident in story.published}) == 2


def test_a_linked_service_that_leads_after_the_first_faded_is_split_off():
    story = Story().run(0, 1200, both(fault("cart", 300, 420), fault("stock", 540, 660)))
    openings = [incident for incident in story.published if incident.state is IncidentState.OPEN]
    assert [incident.finding.root for incident in openings] == ["cart", "stock"]


def test_symptoms_of_linked_services_do_not_open_incidents_of_their_own():
    story = Story().run(0, 1000, both(fault("stock", 300, 500), fault("cart", 330, 500, z=6.0), fault("web", 350, 500, z=5.0)))
    assert [root for _, _, root in story.openings()] == ["stock"]
    assert set(story.published[-1].finding.affected) == {"stock", "cart", "web"}


def test_a_symptom_that_outlasts_its_incident_is_no_incident_of_its_own():
    long = both(fault("cart", 300, 420, z=9.0), fault("stock", 330, 700, z=8.0))
    assert [root for _, _, root in Story().run(0, 1000, long).openings()] == ["cart"]


def test_a_young_incident_moves_to_a_linked_service_that_is_louder_than_it_ever_was():
    story = Story().run(0, 1000, both(fault("web", 300, 500, z=4.5), fault("stock", 400, 500, z=12.0)))
    assert len({incident.id for incident in story.published}) == 1
    moved = [incident for incident in story.published if incident.moved]
    assert [incident.finding.root for incident in moved] == ["stock"]
    assert story.published[0].finding.root == "web"
    assert moved[0].onset_ns > story.published[0].onset_ns


def test_the_same_place_again_is_the_same_incident_reopened_with_a_new_onset():
    story = Story().run(0, 1500, both(fault("cart", 300, 400), fault("cart", 800, 900)))
    assert [state for _, state, _ in story.openings()] == ["open", "reopened"]
    assert len({incident.id for incident in story.published}) == 1
    reopened = next(incident for incident in story.published if incident.state is IncidentState.REOPENED)
    assert reopened.onset_ns // SECOND_NS >= 790


def test_a_fault_that_returns_after_a_calm_step_is_reopened_however_soon():
    story = Story().run(0, 1500, both(fault("cart", 300, 420), fault("cart", 555, 700)))
    assert [state for _, state, _ in story.openings()] == ["open", "reopened"]


@pytest.mark.parametrize(("family", "states"), [(Family.ERROR, ["open"]), (Family.FLOW, ["open", "reopened"])])
def test_while_counted_failures_go_on_an_incident_is_not_over_however_few_there_are(family, states):
    """Fewer requests of which all fail are less evidence, and no recovery; two sigma of a time are nothing."""

    def hovers(second):
        share = {300: 1.2, 400: 0.6, 520: 1.2}.get(max((at for at in (300, 400, 520) if at <= second), default=0), 0.0)
        threshold = story.incidents.detector.threshold(family)
        return [seen("cart", family, z=share * threshold, end_s=second)] if second < 620 and share else []

    story = Story()
    story.run(0, 1000, hovers)
    assert [state for _, state, _ in story.openings()] == states
    assert story.incidents.active() == ()


def test_long_after_it_is_another_incident():
    story = Story().run(0, 4000, both(fault("cart", 300, 400), fault("cart", 3500, 3600)))
    assert [state for _, state, _ in story.openings()] == ["open", "open"]
    assert len({incident.id for incident in story.published}) == 2


def test_strangers_that_fail_together_are_two_incidents():
    story = Story(edges=calls("web>cart", "blog>images")).run(0, 1000, both(fault("cart", 300, 420), fault("images", 300, 420, z=8.0)))
    assert [root for _, _, root in story.openings()] == ["cart", "images"] or len(story.openings()) == 1


def test_one_loud_step_opens_nothing_unless_it_is_counted_against_chance():
    flow = Story().run(0, 600, lambda second: [seen("cart", z=9.0, end_s=second)] if second == 300 else [])
    assert flow.published == []
    errors = Story().run(0, 600, lambda second: [seen("cart", Family.ERROR, 9.0, end_s=second)] if second == 300 else [])
    assert [state for _, state, _ in errors.openings()] == ["open"]


def test_quiet_evidence_and_evidence_that_only_ranks_open_nothing():
    quiet = Story().run(0, 2000, lambda second: [seen("cart", z=2.0, end_s=second)])
    ranking = Story().run(0, 2000, lambda second: [seen("cart", z=20.0, end_s=second, for_opening=False)])
    assert quiet.published == ranking.published == []


def test_publications_are_throttled():
    story = Story().run(0, 1500, fault("cart", 300, 1200))
    times = [second for second, state, _ in story.states() if state == "updated"]
    assert all(after - before >= 60 for before, after in itertools.pairwise(times))
    assert len(story.published) <= 2 + (1500 - 300) / 60


def test_severity_is_what_users_feel_and_only_rises():
    def tell(second):
        visible = second in range(340, 400)
        slow = seen("web", Family.GAP, 9.0, observed=400.0, expected=100.0, end_s=second, user_visible=True)
        return fault("cart", 300, 600, z=50.0)(second) + ([slow] if visible else [])

    story = Story().run(0, 1000, tell)
    severities = [incident.severity for incident in story.published]
    assert severities[0] is Severity.INFO
    assert severities[-1] is Severity.CRITICAL
    assert severities == sorted(severities, key=[Severity.INFO, Severity.WARNING, Severity.CRITICAL].index)


def visible_fault(second):
    return fault("cart", 300, 600, user_visible=True)(second)


def test_people_are_paged_when_users_feel_it_and_the_service_is_learnt():
    assert any(incident.page for incident in Story(learning={"cart": 1.0}).run(0, 800, visible_fault).published)
    assert not any(incident.page for incident in Story(learning={"cart": 0.5}).run(0, 800, visible_fault).published)
    assert not any(incident.page for incident in Story(learning={"cart": 1.0}).run(0, 800, fault("cart", 300, 600)).published)


def lasting(second):
    return [seen("cart", Family.SELF_TIME, 8.0, end_s=second)] if second >= 300 else []


def test_what_lasts_four_hours_without_errors_is_the_new_level_and_is_learnt():
    story = Story().run(0, 5 * 3600, lasting)
    assert [state for _, state, _ in story.openings()] == ["open"]
    last = story.published[-1]
    assert last.state is IncidentState.RESOLVED
    assert last.history[-1].endswith("adopted as the new level")
    assert last.published_ns - last.onset_ns >= 4 * 3600 * SECOND_NS
    (_, until_ns), *_ = story.incidents.abnormal()
    assert until_ns == last.published_ns


def test_what_users_see_failing_is_never_the_new_level():
    def tell(second):
        return lasting(second) + ([seen("web", Family.ERROR, 6.0, end_s=second, user_visible=True)] if second >= 300 else [])

    story = Story().run(0, 5 * 3600, tell)
    assert "cart" in {service for incident in story.incidents.active() for service in (incident.finding.root, *incident.finding.affected)}


def test_what_was_dismissed_is_learnt_from_then_on():
    story = Story().run(0, 600, lasting)
    (active,) = story.incidents.active()
    story.incidents.dismiss(active.id, 600 * SECOND_NS)
    story.run(600, 1200, lasting)
    assert story.incidents.active() == ()
    assert [until_ns for _, until_ns in story.incidents.abnormal()] == [600 * SECOND_NS]


def row(z, first=300, last=600):
    """Evidence of one row of a slow series, told by every step until the next row comes."""

    def tell(second):
        slow = seen("cart", Family.METRIC, z, subject="latency seen at web", user_visible=True, observed=9.0, expected=1.0, end_s=first)
        return [slow] if first <= second < last else []

    return tell


@pytest.mark.parametrize(
    ("rows", "pages"),
    [
        ([7.0], False),
        ([7.0, 7.0], True),
        ([7.0, 0.0], False),
        ([30.0], False),
        ([5.0, 5.0], False),
        ([5.0, 7.0], False),
        ([5.0, 7.0, 7.0], True),
    ],
)
def test_one_row_of_a_slow_series_pages_nobody_however_far_beyond_nor_do_two_barely_beyond(rows, pages):
    tell = both(*(row(z, 300 + 300 * number, 600 + 300 * number) for number, z in enumerate(rows) if z))
    story = Story(learning={"cart": 1.0}).run(0, 1500, tell)
    assert len(story.openings()) == 1
    assert any(incident.page for incident in story.published) is pages


def test_what_has_no_telemetry_of_its_own_is_learnt_when_its_callers_are():
    tell = fault("orders-db", 300, 600, family=Family.GAP, peer="cart", user_visible=True)
    edges = (*EDGES, *calls("cart>orders-db"))
    assert any(incident.page for incident in Story(edges, {"cart": 1.0}).run(0, 800, tell).published)
    assert not any(incident.page for incident in Story(edges, {"cart": 0.5}).run(0, 800, tell).published)
    assert not any(incident.page for incident in Story(edges, {}).run(0, 800, tell).published)


def test_errors_page_without_learning():
    story = Story(learning={}).run(0, 800, fault("cart", 300, 600, family=Family.ERROR, user_visible=True))
    assert any(incident.page for incident in story.published)


def test_a_dismissed_incident_closes_and_is_not_opened_by_its_own_tail():
    story = Story().run(0, 400, fault("cart", 300, 600))
    incident_id = story.published[0].id
    assert story.incidents.dismiss(incident_id, 400 * SECOND_NS).state is IncidentState.RESOLVED
    assert story.incidents.active() == ()
    assert story.incidents.dismiss("unknown", 0) is None
    assert len(story.run(400, 900, fault("cart", 300, 600)).openings()) == 1


def test_an_acknowledged_incident_stays_acknowledged():
    story = Story().run(0, 400, fault("cart", 300, 600))
    assert story.incidents.acknowledge(story.published[0].id).acknowledged
    assert story.run(400, 900, fault("cart", 300, 600)).published[-1].acknowledged


def test_the_id_does_not_depend_on_the_ranking():
    first = Story().run(0, 600, both(fault("cart", 300, 420), fault("web", 360, 420, z=50.0)))
    second = Story().run(0, 600, fault("cart", 300, 420))
    assert first.published[0].id == second.published[0].id
    assert first.published[-1].finding.root != second.published[-1].finding.root


def test_what_an_incident_covers_is_abnormal():
    story = Story().run(0, 600, fault("cart", 300, 420))
    ((start_ns, end_ns),) = story.incidents.abnormal()
    assert start_ns // SECOND_NS <= 260
    assert 480 <= end_ns // SECOND_NS <= 540


def test_equal_input_gives_equal_output_in_any_order():
    forward = Story().run(0, 1000, both(fault("cart", 300, 420), fault("web", 310, 420, z=5.0)))
    backward = Story().run(0, 1000, both(fault("web", 310, 420, z=5.0), fault("cart", 300, 420)))
    assert forward.published == backward.published


@pytest.mark.parametrize("cut", [250, 330, 400, 500, 620])
def test_state_survives_at_any_moment(cut):
    tell = both(fault("cart", 300, 420), fault("web", 310, 420, z=5.0), fault("cart", 900, 990))
    whole = Story().run(0, 1400, tell)
    first = Story().run(0, cut, tell)
    second = Story()
    second.incidents.restore(json.loads(json.dumps(first.incidents.state())))
    second.told = first.told
    after = [incident.state for incident in first.published + second.run(cut, 1400, tell).published]
    assert after == [incident.state for incident in whole.published]


def test_live_incidents_are_bounded():
    names = [f"service-{number}" for number in range(2 * LIVE_MOST)]
    story = Story(edges=()).run(0, 100, lambda second: [seen(name, Family.ERROR, 9.0, end_s=second) for name in names] if second else [])
    assert len(story.incidents.active()) <= LIVE_MOST
    assert story.incidents.dropped >= LIVE_MOST
