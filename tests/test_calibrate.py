"""The calibration command: which recordings, which stretches, and figures of what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS
from exporter.evaluate.calibrate import chosen, report
from exporter.evaluate.forms import FORMS, left_out, logs
from exporter.evaluate.planting import stretches
from exporter.evaluate.truth import Quiet, Truth, load_all

SHIPPED = Path(__file__).resolve().parent.parent / "exporter" / "recordings"


def truth(*quiet: Quiet, recording: str = "shop/day.jsonl", system: str = "shop") -> Truth:
    return Truth(Path(recording), system, "", ("a",), (), True, None, 0, 0, 100 * HOUR_NS, quiet)


def seconds(start: int, end: int, before: str = "") -> Quiet:
    return Quiet(start * SECOND_NS, end * SECOND_NS, before)


def test_bursts_are_whole_and_long_stretches_are_pieces():
    found = stretches(truth(seconds(0, 60), seconds(400, 460, "cart"), seconds(500, 510), seconds(1000, 3000)))
    spans = [((one.end_ns - one.start_ns) // SECOND_NS, one.before) for one, _ in found]
    assert spans[0] == (60, "cart"), "the one at the start has nothing before it, the short one says too little"
    assert set(spans[1:]) == {(180, "")}
    assert [one.start_ns for one, _ in found] == sorted(one.start_ns for one, _ in found)


def test_slow_metrics_are_asked_about_for_longer_and_after_a_day():
    found = stretches(truth(Quiet(0, 48 * HOUR_NS)))
    assert {one.end_ns - one.start_ns for one, _ in found} == {30 * MINUTE_NS}
    assert found[0][0].start_ns == 24 * HOUR_NS


def test_few_recordings_of_each_system_from_different_folders():
    quiet = seconds(400, 460)
    truths = [truth(quiet, recording=f"{folder}/{name}.jsonl") for folder in ("low", "high") for name in ("1", "0")]
    truths += [truth(quiet, recording="other/0.jsonl", system="other"), truth(recording="none/0.jsonl", system="none")]
    assert sorted(str(one.recording) for one in chosen(truths, 2)) == ["high/0.jsonl", "low/0.jsonl", "other/0.jsonl"]


def test_no_quiet_stretch_of_the_shipped_recordings_holds_a_fault():
    for one in load_all(SHIPPED):
        for quiet in one.quiet:
            assert not any(fault.onset_ns < quiet.end_ns and quiet.start_ns < fault.given_ns[1] for fault in one.faults)


def test_a_form_is_judged_on_groups_that_it_was_not_fitted_on():
    rng = np.random.default_rng(1)
    scores = -np.sort(-np.exp(rng.normal(0.5, 1.0, (300, 6))), axis=1)
    right = rng.random(300) < logs(scores, (3.0, 1.5))
    groups = rng.integers(3, size=300).tolist()
    said = {form.name: left_out(form, scores, right, np.ones(300), groups) for form in FORMS}
    loss = {name: -np.log(np.where(right, p, 1 - p).clip(1e-3)).mean() for name, p in said.items()}
    assert min(loss, key=loss.get) in {"logs", "margin to the runner-up"}
    every = {name: ((p >= 0) & (p <= 1)).all() for name, p in said.items()}
    assert all(every.values())


def test_the_report_ends_with_the_line_to_put_into_the_engine():
    rng = np.random.default_rng(2)
    found = []
    for number in range(60):
        z = rng.exponential(1.0, 5) + 0.1
        z[0] += rng.exponential(4.0)
        table = {f"s{at}": {"flow": float(value)} for at, value in enumerate(z)}
        found.append({"recording": f"r/{number % 3}.jsonl", "kind": "slow", "service": "s0", "table": table, "walk": {}, "roots": {}})
    text = report(found)
    assert text.splitlines()[0] == "60 planted faults: slow 60"
    assert text.splitlines()[-1].startswith("DEFAULT = Calibration(exponent=")
    assert "r/2 (k " in text
