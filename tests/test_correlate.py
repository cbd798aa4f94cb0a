"""Groups of signs: near in time, and linked."""

from __future__ import annotations

import pytest

from engine.judge.correlate import Links, Sign, components, correlate
from engine.records import MINUTE_NS, SECOND_NS
from tests.judging import calls

LINKS = Links(calls("web>cart", "cart>stock", "mail>smtp"))


def sign(minute, service, **rest):
    return Sign(int(minute * MINUTE_NS), service, **rest)


def names(groups):
    return [[one.service for one in group] for group in groups]


def test_the_gap_slides():
    signs = [sign(0, "web"), sign(4, "cart"), sign(8, "stock"), sign(14, "web")]
    assert names(correlate(signs, LINKS)) == [["web", "cart", "stock"], ["web"]]


def test_strangers_at_the_same_time_stay_apart_unless_a_trace_joins_them():
    signs = [sign(0, "web"), sign(0.1, "mail"), sign(0.2, "cart")]
    assert names(correlate(signs, LINKS)) == [["web", "cart"], ["mail"]]
    joined = [sign(0, "web", trace_id="7"), sign(0.1, "mail", trace_id="7")]
    assert names(correlate(joined, LINKS)) == [["web", "mail"]]


def test_a_group_has_a_longest_life():
    signs = [sign(minute, "web") for minute in range(0, 100, 4)]
    groups = correlate(signs, LINKS)
    assert [len(group) for group in groups] == [16, 9]


def test_a_group_of_one_is_a_group_and_order_does_not_matter():
    signs = [sign(20, "mail"), sign(0, "web")]
    assert names(correlate(signs, LINKS)) == names(correlate(signs[::-1], LINKS)) == [["web"], ["mail"]]


def test_links_reach_three_calls_along_one_direction():
    links = Links(calls("a>b", "b>c", "c>d", "d>e", "x>c"))
    assert links.linked("d", "a")
    assert not links.linked("a", "e")
    assert not links.linked("a", "x")


def test_siblings_are_joined_by_the_caller_that_shows_signs_too():
    links = Links(calls("web>cart", "web>mail"))
    assert [sorted(part) for part in components(["cart", "mail"], links, {})] == [["cart"], ["mail"]]
    assert [sorted(part) for part in components(["cart", "mail", "web"], links, {})] == [["cart", "mail", "web"]]


def test_durations_must_be_positive():
    with pytest.raises(ValueError, match="gap_ns=0"):
        correlate([], LINKS, gap_ns=0)
    with pytest.raises(ValueError, match="life_ns=-1"):
        correlate([], LINKS, gap_ns=SECOND_NS, life_ns=-1)
