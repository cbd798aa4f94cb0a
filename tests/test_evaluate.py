"""The scorer: ties count against us, openings match faults one to one, nothing else sees the truth, and the JSON is what it says."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS
from engine.strings import Resources, Strings
from exporter.decode.json import decode_json
from exporter.evaluate import command
from exporter.evaluate.answers import Answer, NamedCause, NamedChange, Publication
from exporter.evaluate.baselines import MetricLog
from exporter.evaluate.figures import auroc, average_at_5, brier, brier_of_constant, calibration_bins, calibration_error, wilson
from exporter.evaluate.gather import Evaluation
from exporter.evaluate.report_confidence import confidence_table, left_out_tables, pooled
from exporter.evaluate.runner import Outcome
from exporter.evaluate.score import change_outcome, found, rank_of, ranked, score, windows
from exporter.evaluate.sets import Detection, ScoredSet, as_recorded, document, set_name
from exporter.evaluate.stream import Answers, recorded
from exporter.evaluate.truth import NONE, ChangeTruth, Fault, Truth, load, load_all
from exporter.recording import RecordingError, lines

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "exporter" / "recordings"
T0 = 1_700_000_000 * SECOND_NS


def fault(case: str = "a", onset_ns: int = T0, *, root: str = "cart", change: ChangeTruth | None = None) -> Fault:
    given = (onset_ns, onset_ns + 2 * MINUTE_NS)
    return Fault(case, "delay", root, onset_ns, given, onset_ns - MINUTE_NS, given[1], "", change)


def truth(faults: Sequence[Fault], **other: object) -> Truth:
    values = {
        "recording": ROOT / "a.jsonl.zst", "system": "shop", "scenario": "", "candidates": ("cart", "web", "db"), "faults": tuple(faults),
        "detection": True, "normal_ns": None, "normal_shift_ns": 0, "first_ns": T0 - HOUR_NS, "last_ns": T0 + HOUR_NS,
    }  # fmt: skip
    return Truth(**{**values, **other})  # type: ignore[arg-type]


def answer(*names: str, confidence: float = 0.9, change: str = "", changes: tuple[NamedChange, ...] = ()) -> Answer:
    causes = tuple(NamedCause(name, float(len(names) - at), 1 / (at + 1)) for at, name in enumerate(names))
    return Answer(causes=causes, confidence=confidence, change=change, changes=changes)


def publication(seconds: float, *, incident: str = "i1", opening: bool = False, names: tuple[str, ...] = ("cart",)) -> Publication:
    return Publication(incident, T0 + int(seconds * SECOND_NS), opening, False, answer(*names))


def test_equal_scores_rank_alike_and_count_against_us() -> None:
    equal = ranked([NamedCause(name, 2.0, 0.3) for name in ("db", "cart", "web")], ["cart", "web", "db"])
    assert [rank_of(name, equal) for name, _ in equal] == [3, 3, 3]


def test_probabilities_that_underflow_are_told_apart_by_their_scores() -> None:
    scores = ranked([NamedCause("db", 9.0, 1.0), NamedCause("cart", 2.0, 0.0), NamedCause("web", 1.0, 0.0)], ["cart", "web", "db"])
    assert [rank_of(name, scores) for name in ("db", "cart", "web")] == [1, 2, 3]


def test_rankings_are_filtered_to_the_candidates_and_namespaces_do_not_matter() -> None:
    scored = score(fault(), ("cart", "web"), answer("loadgenerator", "shop/cart", "web"))
    assert (scored.ranking, scored.rank, scored.right) == (("cart", "web"), 1, True)


def test_a_root_that_is_not_named_has_no_rank_and_misses_at_every_depth() -> None:
    scored = score(fault(root="db"), ("cart", "web", "db"), answer("cart"))
    assert scored.rank is None
    assert average_at_5([scored.rank]) == 0.0


def test_windows_are_cut_where_the_next_begins() -> None:
    near, far = fault("a", T0), fault("b", T0 + 5 * MINUTE_NS)
    assert windows([near, far]) == [(T0 - MINUTE_NS, T0 + 4 * MINUTE_NS), (T0 + 4 * MINUTE_NS, T0 + 12 * MINUTE_NS)]


def test_where_there_is_no_fault_every_opening_is_false() -> None:
    assert windows([]) == []
    nothing = found(truth([]), [publication(30, opening=True), publication(60)])
    assert (nothing.cases, nothing.extra, nothing.false) == ((), 0, ((T0 + 30 * SECOND_NS, "cart"),))


def test_openings_and_faults_match_one_to_one_in_time_order() -> None:
    faults = [fault("a", T0), fault("b", T0 + 20 * MINUTE_NS), fault("c", T0 + 40 * MINUTE_NS)]
    published = [
        publication(-1000, incident="early", opening=True),
        publication(30, opening=True, names=("web", "cart")),
        publication(60, names=("cart", "web")),  # the ranking that counts is the last one published inside the window
        publication(70, incident="i2", opening=True),
        publication(900, names=("db", "web")),  # outside every window
        publication(20 * 60 + 40, opening=True, names=("db", "web", "cart")),  # the same incident moves to the second fault
    ]
    result = found(truth(faults), published)
    assert [(case.rank, case.incident, case.delay_seconds) for case in result.cases] == [
        (1, "i1", 30.0),
        (3, "i1", 40.0),
        (None, None, None),
    ]
    assert result.extra == 1
    assert result.false == ((T0 - 1000 * SECOND_NS, "cart"),)


def test_a_change_is_right_when_it_or_a_deploy_that_carried_it_is_named() -> None:
    culprit, nobody = ChangeTruth("c1", ("d1",)), ChangeTruth(NONE)
    said = {name: answer("cart", change=name) for name in ("c1", "d1", "c2", "none", "inconclusive")}
    assert [change_outcome(said[name], culprit) for name in said] == ["right", "right", "decoy", "none_wrong", "inconclusive"]
    assert [change_outcome(said[name], nobody) for name in said] == ["decoy", "decoy", "decoy", "none_right", "inconclusive"]
    assert change_outcome(None, culprit) == "inconclusive", "a miss is not right"


def test_confidence_figures() -> None:
    said, right = [0.9, 0.8, 0.3, 0.6], [True, True, False, False]
    assert brier(said, right) == pytest.approx((0.01 + 0.04 + 0.09 + 0.36) / 4)
    assert brier_of_constant(right) == 0.25
    assert auroc(said, right) == 1.0
    assert auroc([0.5], [True]) is None
    assert [cases for _, _, cases in calibration_bins(said, right, 2)] == [2, 2]
    assert calibration_error(said, right, 2) == pytest.approx((abs(0.45 - 0.0) + abs(0.85 - 1.0)) / 2)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[0] == pytest.approx(0.566, abs=1e-3)


def test_hours_leave_holes_out() -> None:
    every_minute = list(range(0, 60 * 6, 6))
    with_hole = [slot for slot in every_minute if not 120 <= slot < 162]  # seven minutes cut out
    intervals = recorded(with_hole)
    assert len(intervals) == 2
    assert sum(end - start for start, end in intervals) < 60 * MINUTE_NS - 6 * MINUTE_NS


def test_a_normal_period_that_recordings_repeat_counts_once() -> None:
    detection = Detection()
    for shift_ns in (0, 5 * HOUR_NS):
        start, end = T0 + shift_ns, T0 + shift_ns + 10 * HOUR_NS
        one = truth([], recording=ROOT / f"{shift_ns}.jsonl.zst", normal_ns=(start, end), normal_shift_ns=shift_ns)
        detection.recorded_ns += as_recorded(one, [(start, end + HOUR_NS)])
    assert detection.hours() == pytest.approx(12, abs=0.05)


def test_the_document_has_the_fields_of_version_1_and_no_others() -> None:
    change = ChangeTruth("c1")
    changes = (NamedChange("c1", 0.7, "suspect"), NamedChange("c2", 0.1, "possible"))
    cases = [score(fault(change=change), ("cart", "web"), answer("cart", change="c1", changes=changes), incident="i1", delay_seconds=30.0)]
    written = document([ScoredSet("shop", "found", cases, Detection(recorded_ns=[("shop", 0, HOUR_NS)]))])
    assert written == {
        "version": 1,
        "sets": [
            {
                "set": "shop",
                "mode": "found",
                "cases": 1,
                "ac_at_1": 1.0,
                "ac_at_3": 1.0,
                "ac_at_5": 1.0,
                "avg_at_5": 1.0,
                "chance_avg_at_5": pytest.approx((0.5 + 1 + 1 + 1 + 1) / 5),
                "detected": 1.0,
                "extra_per_fault": 0.0,
                "false_incidents_per_hour": 0.0,
                "delay_seconds_median": 30.0,
                "delay_seconds_p95": 30.0,
                "changes": {"right": 1, "decoy": 0, "none_right": 0, "none_wrong": 0, "inconclusive": 0},
                "brier": pytest.approx(0.01),
                "per_case": [
                    {
                        "case": "a",
                        "kind": "delay",
                        "truth": "cart",
                        "ranking": ["cart"],
                        "rank": 1,
                        "confidence": 0.9,
                        "incident_id": "i1",
                        "change": "c1",
                        "change_ranking": ["c1", "c2"],
                        "change_truth": "c1",
                    }
                ],
            }
        ],
    }


def test_how_long_after_the_alert_is_told_where_there_was_one() -> None:
    told = replace(fault(), alert_ns=T0 + 90 * SECOND_NS, alert_metric="latency")
    cases = [score(one, ("cart",), answer("cart"), incident="i1", delay_seconds=30.0) for one in (fault(), told)]
    assert ScoredSet("shop", "found", cases, Detection()).after_alerts() == [-60.0]


def test_detection_is_not_scored_where_the_normal_period_is_borrowed() -> None:
    one = document([ScoredSet("shop", "found", [score(fault(), ("cart",), None)])])["sets"][0]
    assert [one[key] for key in ("detected", "extra_per_fault", "false_incidents_per_hour", "delay_seconds_median")] == [None] * 4


def test_a_set_is_named_by_its_folder_below_the_path(tmp_path: Path) -> None:
    for folder in ("tickets", "shop/low"):
        (tmp_path / folder).mkdir(parents=True)
    tickets = truth([], recording=tmp_path / "tickets" / "day.jsonl.zst")
    low = truth([], recording=tmp_path / "shop" / "low" / "issue.jsonl.zst", scenario="low")
    assert set_name(tickets, tmp_path) == set_name(tickets, tmp_path / "tickets") == set_name(tickets, tickets.recording) == "tickets"
    assert [set_name(low, tmp_path / part) for part in (".", "shop", "shop/low")] == ["shop/low"] * 3


def test_the_shipped_truths_are_read() -> None:
    truths = load_all(SHIPPED)
    assert [len(one.faults) for one in truths] == [7, 1]
    assert [fault.change is None for one in truths for fault in one.faults] == [True] * 7 + [False]


def test_a_truth_of_unknown_shape_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.truth.json").write_text(json.dumps({"first_time": "2023-01-01T00:00:00Z"}))
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(RecordingError, match="last_time"):
        load(tmp_path / "a.jsonl")
    (tmp_path / "a.truth.json").unlink()
    with pytest.raises(RecordingError, match="no recording with"):
        load_all(tmp_path)


SHAPES = {
    "burst": {"faults": [{"inject_time": "2023-01-01T00:10:00Z", "root_cause_service": "cart"}]},
    "issue": {"issue_start": "2023-01-01T00:10:00Z", "root_cause_service": "cart"},
    "alert": {"alert": {"fired_at": "2023-01-01T00:10:00Z"}, "root_cause_service": "cart"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_truth_needs_no_more_than_candidates_times_and_roots(tmp_path: Path, shape: str) -> None:
    times = {"first_time": "2023-01-01T00:00:00Z", "last_time": "2023-01-01T01:00:00Z"}
    (tmp_path / "a.truth.json").write_text(json.dumps({"services": ["cart", "web"], **times, **SHAPES[shape]}))
    (tmp_path / "a.jsonl").write_text("")
    known = load(tmp_path / "a.jsonl")
    (fault,) = known.faults
    assert (known.system, fault.root, fault.kind, fault.change) == (tmp_path.name, "cart", "unknown", None)
    assert fault.onset_ns == fault.given_ns[0] < fault.given_ns[1]
    assert fault.found_from_ns < fault.onset_ns
    assert fault.case


def test_plain_methods_need_history_and_see_the_step() -> None:
    strings, resources = Strings(), Resources()
    log = MetricLog(strings, resources)
    for minute in range(20):
        for service, value in (("cart", 1.0 + minute % 2 + (50 if minute >= 15 else 0)), ("web", 2.0 + minute % 3)):
            point = {"timeUnixNano": str(T0 + minute * MINUTE_NS), "asDouble": value}
            metrics = [{"name": "latency", "gauge": {"dataPoints": [point]}}]
            resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
            log.take(decode_json({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]}, strings, resources))
    scores = log.scores(T0 + 15 * MINUTE_NS, T0 + 19 * MINUTE_NS)
    assert all(max(by_service, key=by_service.__getitem__) == "cart" for by_service in scores.values())
    assert log.scores(T0 + 2 * MINUTE_NS, T0 + 4 * MINUTE_NS) == {name: {} for name in scores}


AUDIT = """
import os, sys, traceback
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".truth.json"):
        frames = [f.filename for f in traceback.extract_stack() if os.sep + "exporter" + os.sep in f.filename]
        line = os.path.basename(frames[-1]) if frames else "nobody"
        file = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (line + "\\n").encode())
        os.close(file)
sys.addaudithook(hook)
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A folder with the end of a shipped recording, and its truth."""
    folder = tmp_path / "recordings" / "shop"
    folder.mkdir(parents=True)
    (folder / "issue_2.jsonl").write_bytes(b"\n".join(list(lines(SHIPPED / "petshop" / "issue_2.jsonl.zst"))[-40:]))
    shutil.copy(SHIPPED / "petshop" / "issue_2.truth.json", folder)
    return folder.parent


def test_only_the_scorer_opens_the_truth(tmp_path: Path, short: Path) -> None:
    """An audit hook in every process of an evaluation, and of a replay, notes who opens NAME.truth.json."""
    (tmp_path / "sitecustomize.py").write_text(AUDIT)
    log = tmp_path / "opened"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "AUDIT_LOG": str(log), "OMP_NUM_THREADS": "1"}
    program = "from {0} import *; import argparse, sys; p = argparse.ArgumentParser(); add_arguments(p); sys.exit(run(p.parse_args()))"
    for module, expected in (("exporter.replay", []), ("exporter.evaluate.command", ["truth.py"])):
        ran = subprocess.run(
            [sys.executable, "-c", program.format(module), str(SHIPPED / "petshop")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert (log.read_text().split() if log.exists() else []) == expected


def test_the_truth_files_are_named_in_the_scorer_only() -> None:
    naming = [path.name for folder in ("engine", "exporter") for path in (ROOT / folder).rglob("*.py") if ".truth.json" in path.read_text()]
    assert sorted(naming) == ["command.py", "truth.py"], "in the help of one, as a name in the other"


def test_what_is_left_out_has_no_say_in_its_own_constants() -> None:
    """Two kinds: one is right when it is sure, the other is wrong when it is sure."""
    answers = {}
    faults = []
    for number in range(20):
        kind, root = ("delay", "cart") if number % 2 else ("error", "web")
        faults.append(replace(fault(str(number), T0 + number * HOUR_NS, root=root), kind=kind))
        causes = (NamedCause("cart", 8.0, 0.9), NamedCause("web", 1.0 + number / 10, 0.1))
        answers[str(number)] = Answer(causes=causes, confidence=0.9)
    known = truth(faults, detection=False)
    evaluation = Evaluation(outcomes=[Outcome(known, Answers(explained=answers))])
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in left_out_tables(evaluation).splitlines() if row.startswith("| shop:")
    ]
    of = {row[0]: row for row in rows}
    assert of["shop: delay"][4] == "0.01"
    assert of["shop: error"][4] == "0.81"
    assert float(of["shop: delay"][5]) > 0.1, "fitted on the kind that is always wrong, the right one is not believed"
    assert float(of["shop: error"][5]) > 0.7, "fitted on the kind that is always right, the wrong one is believed"


def test_pooled_confidence_counts_every_case_once() -> None:
    one = ScoredSet("shop/a", "given", [score(fault(), ("cart", "web"), answer("cart", confidence=0.9))])
    two = ScoredSet("shop/b", "given", [score(fault(), ("cart", "web"), answer("web", confidence=0.4))])
    total = ScoredSet("shop", "given", one.cases + two.cases)
    assert pooled([one, two, total], "given") == ([0.9, 0.4], [True, False])
    row = next(row for row in confidence_table(Evaluation(sets=[one, two, total])).splitlines() if row.startswith("| all sets"))
    assert [cell.strip() for cell in row.split("|")[2:8]] == ["given", "2", "0.085", "0.250", "66%", "1.00"]


def test_a_recording_that_fails_stops_no_other_and_the_exit_status_says_so(
    tmp_path: Path, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(SHIPPED / "petshop" / "issue_2.truth.json", short / "shop" / "broken.truth.json")
    (short / "shop" / "broken.jsonl.zst").write_bytes(b"no zstd")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    status = command.run(parser.parse_args([str(short), "--json", str(tmp_path / "scores.json"), "--report", str(tmp_path / "report.md")]))
    captured = capsys.readouterr()
    assert status == 1
    assert "broken.jsonl.zst" in captured.err
    assert "not readable as zstd" in captured.err
    sets = json.loads((tmp_path / "scores.json").read_text())["sets"]
    assert [(one["set"], one["mode"], one["cases"]) for one in sets] == [("shop", "given", 1), ("shop", "found", 1)]
    assert "not readable as zstd" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "report-calibration.svg").read_text().startswith("<svg")


def test_wrong_usage_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(tmp_path / "nowhere")])) == 2
    assert command.run(parser.parse_args([str(SHIPPED), "--set", "nothing"])) == 2
    assert "nothing" in capsys.readouterr().err
