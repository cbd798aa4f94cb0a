"""Flow: the service in which something else follows than usual."""

from __future__ import annotations

import numpy as np

from engine.evidence.flow import Steps, callees
from engine.evidence.names import Names
from engine.normal.baseline import Usual
from engine.strings import Strings
from engine.take.joined import KIND_SHIFT, SERVICE_SHIFT, EventKind
from engine.take.templates import Templates
from engine.windows import Codes, view
from tests.trace_columns import Fault, evidence, shop, z_of


def test_the_service_that_returns_early_is_blamed() -> None:
    found = evidence(shop(720, lambda second: Fault(skips=second >= 600)), 600, 720)
    z = z_of(found, "flow")
    assert z["stock"] > 5
    assert z["stock"] == max(z.values())
    loudest = max((piece for piece in found if piece.family == "flow"), key=lambda piece: piece.z)
    assert loudest.sentence == 'in GET /stock, after log "Stock#20" comes end in 100 % of 120 traces, usually 0.083 %'
    assert len(loudest.trace_id) == 32


def test_the_service_that_fails_is_blamed_and_its_callers_are_not() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(fails=second >= 600)), 600, 720), "flow")
    assert z["stock"] > 5
    assert all(other < 1 for service, other in z.items() if service != "stock")


def test_the_service_that_no_longer_calls_is_blamed_not_the_one_that_is_not_called() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(without=second >= 600)), 600, 720), "flow")
    assert z["cart"] > 5
    assert z.get("stock", 0) < 1


def test_other_traffic_is_no_deviation() -> None:
    z = z_of(evidence(shop(720, lambda second: Fault(requests=4 if second >= 600 else 1)), 600, 720), "flow")
    assert all(value < 1 for value in z.values())


def test_when_two_services_stop_right_after_calling_a_third_it_is_the_third() -> None:
    strings = Strings()
    services = [strings.intern("service", name) for name in ("shop", "desk", "stock")]
    operation = strings.intern("operation", "GET")
    codes = Codes()
    operations = codes.operations.codes(np.array([service << SERVICE_SHIFT | operation for service in services], np.int64))
    call = EventKind.CALL << KIND_SHIFT | services[2] << SERVICE_SHIFT | operation
    context, outcome = codes.chances(operations, (np.arange(2, dtype=np.int32), np.full(2, call), np.full(2, EventKind.END << KIND_SHIFT)))
    seen, figures = view([], 0, 1), np.full(2, 0.5)
    usual = Usual(*(figures for _ in range(6)))
    for z, expected in (([4.0, 3.0], 5.0), ([4.0, 2.0], None)):
        steps = Steps(outcome, np.array(services[:2]), figures, 9 * figures, usual, np.array(z), ())
        found = callees(seen, steps, codes, Names(strings, Templates(strings), codes))
        assert [(piece.service, piece.z) for piece in found] == ([] if expected is None else [("stock", expected)])
    assert codes.service_of_context[context].tolist() == services[:2]
