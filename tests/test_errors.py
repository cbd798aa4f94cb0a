"""Errors: spans that fail by themselves, and error records that are new."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evidence.errors import binomial_nats
from engine.records import SECOND_NS, Family
from tests.otlp_shop import Call, Sender, run, traffic
from tests.trace_columns import T0, Fault, evidence, shop, z_of


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.9))
def test_the_tail_is_the_sum_of_the_binomial(k: int, more: int, p: float) -> None:
    n = k + more
    tail = math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert binomial_nats(k, n, p) == pytest.approx(-math.log(min(1.0, tail)), rel=1e-6, abs=1e-9)


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="k=3"):
        binomial_nats(3, 2, 0.5)


def test_the_service_whose_spans_fail_by_themselves_is_blamed() -> None:
    found = evidence(shop(720, lambda second: Fault(fails=second >= 600 and second % 2 == 0)), 600, 720)
    z = z_of(found, "error")
    assert set(z) == {"stock"}
    assert z["stock"] > 4
    piece = next(piece for piece in found if piece.family == "error")
    assert (piece.subject, piece.observed) == ("GET /stock", 0.5)


def test_an_error_record_never_seen_before_is_evidence_without_any_trace() -> None:
    records = shop(720)
    for second in range(605, 720, 10):
        records.log("stock", "disk is full", second, severity=17, trace_hi=0)
    found = [piece for piece in evidence(records, 600, 720) if piece.family == "error"]
    assert [(piece.service, piece.subject) for piece in found] == [("stock", "log disk is full")]
    assert found[0].z > 4
    assert found[0].sentence.endswith("never before")


def test_a_burst_in_one_slot_is_one_observation_and_an_old_error_is_none() -> None:
    records = shop(720)
    for number in range(200):
        records.log("stock", "disk is full", 650 + number / 100, severity=17, trace_hi=0)
    for second in range(5, 720, 10):
        records.log("cart", "nothing to see", second, severity=17, trace_hi=0)
    z = z_of(evidence(records, 600, 720), "error")
    assert z.get("stock", 0) < 2.5
    assert z.get("cart", 0) < 0.5


def test_a_call_that_gets_no_answer_is_charged_to_whom_it_went() -> None:
    sender = Sender()
    slow = Call("pay", "charge", 50.0, timeout_ms=20.0)
    fast = Call("pay", "charge", 5.0, timeout_ms=20.0)
    start_ns = T0 * SECOND_NS

    def requests(now: int) -> list[Call]:
        return [Call("shop", "POST /order", 4.0, (slow if now >= start_ns + 600 * SECOND_NS else fast,))]

    traffic(sender, start_ns, start_ns + 720 * SECOND_NS, 2.0, requests, lambda _: {})
    engine, _ = run(sender)
    found = engine.explain(start_ns + 600 * SECOND_NS, start_ns + 720 * SECOND_NS).evidence
    errors = {piece.service: piece for piece in reversed(found) if piece.family == Family.ERROR and piece.signal != "logs"}
    assert errors["pay"].subject == "calls to it"
    assert errors["pay"].peer == "shop"
    assert errors["pay"].z > 2 * errors["shop"].z
    assert errors["pay"].user_visible
