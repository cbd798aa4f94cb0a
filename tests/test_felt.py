"""What users feel is marked, and ranks below what explains it."""

from __future__ import annotations

import pytest

from tests.trace_columns import Fault, evidence, shop


def test_a_deviation_on_the_way_of_slow_requests_is_user_visible_and_explains_them() -> None:
    found = evidence(shop(720, lambda second: Fault(work=300 if second >= 600 else 0)), 600, 720)
    loud = [piece for piece in found if piece.z >= 4]
    assert {(piece.service, piece.user_visible) for piece in loud} == {("stock", True)}
    entry = next(piece for piece in found if piece.subject == "requests for GET /")
    assert entry.service == "web"
    assert entry.user_visible
    assert not entry.for_opening
    assert entry.z < 1
    assert entry.observed > 5 * entry.expected


def test_what_does_not_slow_requests_down_is_not_user_visible() -> None:
    found = evidence(shop(720, lambda second: Fault(skips=second >= 600)), 600, 720)
    assert any(piece.z >= 4 for piece in found)
    assert not any(piece.user_visible for piece in found if piece.family == "flow")


@pytest.mark.parametrize(("work", "visible"), [(300, True), (5, False)])
def test_requests_that_pass_a_slow_service_feel_it_where_all_ways_in_are_one_and_most_are_quick(work: float, visible: bool) -> None:
    found = evidence(shop(720, lambda second: Fault(work=work if second >= 600 else 0, others=9)), 600, 720)
    assert not [piece for piece in found if piece.subject == "requests for GET /"]
    slow = [piece for piece in found if piece.service == "stock" and piece.family == "self_time"]
    assert slow
    assert {piece.user_visible for piece in slow} == {visible}


@pytest.mark.parametrize(
    ("fault", "visible"),
    [
        (Fault(silent=True, breaks=True, spreads=True), True),
        (Fault(silent=True, breaks=True), False),  # cart copes
        (Fault(silent=True, breaks=True, spreads=True, again=True), False),  # web asks once more, and is answered
    ],
)
def test_calls_that_a_silent_service_leaves_failing_up_to_the_entry_are_user_visible(fault: Fault, visible: bool) -> None:
    found = evidence(shop(720, lambda second: fault if second >= 600 else Fault()), 600, 720)
    charged = [piece for piece in found if piece.service == "stock" and piece.family == "error" and piece.z >= 4]
    assert [piece.user_visible for piece in charged] == [visible]


def test_a_failure_that_comes_to_hardly_any_request_is_not_user_visible() -> None:
    found = evidence(shop(720, lambda second: Fault(fails=second >= 600, breaks=second >= 600, spreads=second == 650)), 600, 720)
    charged = [piece for piece in found if piece.service == "stock" and piece.family == "error" and piece.z >= 4]
    assert [piece.user_visible for piece in charged] == [False]
