"""The report of an evaluation: the tables that are printed, and docs/accuracy.md with a calibration plot beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exporter.evaluate.ablation import STEPS, names
from exporter.evaluate.baselines import NAMES
from exporter.evaluate.figures import accuracy_at, average_at_5, calibration_bins, chance_at, chance_average_at_5, wilson
from exporter.evaluate.gather import Evaluation
from exporter.evaluate.plot import calibration_plot
from exporter.evaluate.report_changes import change_table, null_table
from exporter.evaluate.report_confidence import confidence_table, left_out_tables, pooled
from exporter.evaluate.score import Scored
from exporter.evaluate.sets import FOUND, GIVEN
from exporter.evaluate.tables import seconds, share, table

ABLATION = (
    "Given; scores are computed again without a family, from the same run (`row` are the learned embeddings). What one family explains "
    "away of another before it speaks stays explained."
)
STEP_TEXT = (
    "Given; each step on top of those before. *whence* adds the order of signs where a service has no evidence, and changes that are "
    "confirmed. PageRank is whence's own (from symptoms, effect to cause, by service); the articles' has no personalisation and counts "
    "changes 1.5 times. Excess flow (metrics and a call graph) is passed down by its own formula, so there the first steps are alike."
)
LEFT_OUT_TEXT = (
    "Nothing that ranks or detects is fitted by a program on these recordings; thresholds and formulas were chosen by people who saw all "
    "of them, which no leaving out takes back: the kinds and days one by one are the honest counterpart. What a program can fit, and "
    "fits on planted faults (docs/calibration.md), are the two constants of confidence. Beside them: what constants would say that are "
    "fitted on the recorded faults of all other kinds, or days. Rankings do not depend on them."
)


def ranking_table(evaluation: Evaluation) -> str:
    """AC@k of every set and mode, with the plain methods and chance below the given ones."""
    rows = []
    for one in evaluation.sets:
        low, high = wilson(sum(case.right for case in one.cases), len(one.cases))
        rows.append([one.name, one.mode, *_accuracies(one.ranks), f"{low:.2f}-{high:.2f}", str(len(one.cases))])
        if one.mode == GIVEN:
            plain = evaluation.plain[one.name]
            rows += [["", name, *_accuracies(plain.ranks[name]), "", ""] for name in NAMES if name in plain.ranks]
            sizes = [case.candidates for case in one.cases]
            rows.append(["", "chance", *(share(chance_at(sizes, k)) for k in (1, 3, 5)), share(chance_average_at_5(sizes)), "", ""])
    return table(["set", "mode or method", "AC@1", "AC@3", "AC@5", "Avg@5", "AC@1, 95 %", "cases"], rows)


def ablation_table(evaluation: Evaluation) -> str:
    """What each family of evidence is worth, by itself and by its absence; families that say nothing in a set are left out."""
    rows = []
    for one in evaluation.sets:
        ranks = evaluation.plain[one.name].ranks if one.mode == GIVEN else {}
        spoke = [row for row in names() if any(rank is not None for rank in ranks.get(row[1], []))]
        if spoke:
            rows.append([one.name, "all", *_accuracies(one.ranks), ""])
            rows += [
                ["", family.value, *_accuracies(ranks[without]), share(accuracy_at(ranks[alone], 1))] for family, alone, without in spoke
            ]
    return table(["set", "without", "AC@1", "AC@3", "AC@5", "Avg@5", "AC@1 of it alone"], rows)


def step_table(evaluation: Evaluation) -> str:
    """What each step of the ranking adds."""
    rows = []
    for one in evaluation.sets:
        ranks = evaluation.plain[one.name].ranks if one.mode == GIVEN else {}
        if any(step in ranks for step in STEPS):
            rows += [[one.name if step is STEPS[0] else "", step, *_accuracies(ranks[step])] for step in STEPS[:3]]
            rows.append(["", "whence", *_accuracies(one.ranks)])
            rows += [["", step, *_accuracies(ranks[step])] for step in STEPS[3:]]
    return table(["set", "ranking", "AC@1", "AC@3", "AC@5", "Avg@5"], rows)


def detection_table(evaluation: Evaluation) -> str:
    """What whence finds on its own."""
    rows = []
    for one in evaluation.sets:
        if one.mode != FOUND or one.detection is None:
            continue
        delays, lags, hours = one.delays(), one.after_alerts(), one.detection.hours()
        rows.append(
            [
                one.name,
                f"{len(delays)} of {len(one.cases)}",
                share(one.detected()),
                seconds(float(np.median(delays)) if delays else None),
                seconds(float(np.quantile(delays, 0.95)) if delays else None),
                seconds(float(np.median(lags)) if lags else None),
                share(one.detection.extra / len(one.cases)),
                str(len(one.detection.false)),
                f"{hours:.1f}",
                share(one.false_per_hour()),
            ]
        )
    head = [
        "set",
        "detected",
        "share",
        "delay median",
        "p95",
        "after the alert",
        "extra a fault",
        "false",
        "hours recorded",
        "false an hour",
    ]
    return table(head, rows)


def kind_table(evaluation: Evaluation) -> str:
    """The same by kind of fault."""
    rows = []
    for one in evaluation.sets:
        for kind in sorted({case.fault.kind for case in one.cases}):
            cases = [case for case in one.cases if case.fault.kind == kind]
            found = f"{sum(case.answer is not None for case in cases)} of {len(cases)}" if one.mode == FOUND else str(len(cases))
            rows.append([one.name, one.mode, kind, *_accuracies([case.rank for case in cases]), found])
    return table(["set", "mode", "kind", "AC@1", "AC@3", "AC@5", "Avg@5", "cases"], rows)


def wrong_cases(evaluation: Evaluation) -> str:
    """Every case whose root is not first, or whose change is not right, with what was louder."""
    rows = []
    for one in evaluation.sets:
        nested = any(other.name == one.name.rpartition("/")[0] for other in evaluation.sets)
        if nested and one.detection is not None:
            continue  # told with the sum
        rows += [[case.fault.case, one.mode, case.fault.kind, case.fault.root, _why(case)] for case in one.cases if not case.right]
        rows += [
            [case.fault.case, one.mode, case.fault.kind, f"change {case.fault.change.id[:24]}", _why_change(case)]
            for case in one.cases
            if case.fault.change is not None and case.change_outcome in {"decoy", "none_wrong"}
        ]
    return table(["case", "mode", "kind", "truth", "what was said"], rows) if rows else "None."


def summary(evaluation: Evaluation) -> str:
    """The tables that the command prints."""
    parts = [ranking_table(evaluation), detection_table(evaluation), change_table(evaluation), null_table(evaluation)]
    parts.append(confidence_table(evaluation))
    return "\n\n".join(parts)


def write(evaluation: Evaluation, path: Path, *, command: str, extra: Sequence[tuple[str, str]] = ()) -> None:
    """Write the report as Markdown, and the calibration plot beside it as NAME-calibration.svg."""
    plot = path.with_name(path.stem + "-calibration.svg")
    curves = {mode: calibration_bins(*pooled(evaluation.sets, mode)) for mode in (GIVEN, FOUND) if pooled(evaluation.sets, mode)[0]}
    plot.write_text(calibration_plot(curves))
    parts = [
        ("", _opening(evaluation, command)),
        ("Which service", ranking_table(evaluation)),
        ("On its own", _detection_text(evaluation)),
        ("By kind of fault", kind_table(evaluation)),
        ("What each family of evidence is worth", f"{ABLATION}\n\n{ablation_table(evaluation)}"),
        ("What each step of the ranking adds", f"{STEP_TEXT}\n\n{step_table(evaluation)}"),
        ("Which change", change_table(evaluation)),
        ("Null tests of changes", null_table(evaluation)),
        ("How sure", f"{confidence_table(evaluation)}\n\n![Confidence said against share right]({plot.name})"),
        ("One kind, or one day, left out", f"{LEFT_OUT_TEXT}\n\n{left_out_tables(evaluation)}"),
        *extra,
        ("What it gets wrong", wrong_cases(evaluation)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in parts) + "\n")


def cost(evaluation: Evaluation) -> str:
    """What the evaluation took."""
    slowest = max((s for outcome in evaluation.outcomes if outcome.answers for s in outcome.answers.explain_seconds.values()), default=0.0)
    return (
        f"{len(evaluation.outcomes)} recordings in {evaluation.wall_seconds:.0f} s, {evaluation.cpu_seconds:.0f} s of CPU; slowest "
        f"explanation {slowest:.2f} s"
    )


def _opening(evaluation: Evaluation, command: str) -> str:
    failed = "".join(f"\n\n**Not scored**: {failure}" for failure in evaluation.failures)
    return f"""# Accuracy

Generated by `{command}`. Every figure is of failures recorded beforehand (a few sets are authored), streamed once, in order, inline,
through the path of live traffic: {cost(evaluation)}.{failed}

* *given*: the time of the fault is told, whence explains that interval.
* *found*: whence is on its own; a fault that opens no incident is a miss in every AC@k. A fault's window begins a minute before its
  onset (or with its burst of telemetry), and where only an alert is known 15 minutes before that; it ends five minutes after its end.
* AC@k: share of faults whose root service is among the first k named; equal scores rank alike and count against us. Avg@5: mean of
  AC@1 ... AC@5. Intervals are Wilson's, 95 %.
* Plain methods run on the same cases and are told the time: n-sigma, BARO-like (median and IQR) and loudest metric against six hours
  before; on the alert's metric alone where the truth has an alert and a series has its name.
* A set with a slash is part of the set before the slash. Where the normal period is borrowed from another recording, detection is not
  scored, and the sum's found row leaves the case out."""


def _detection_text(evaluation: Evaluation) -> str:
    return f"""{detection_table(evaluation)}

*After the alert*: median time from the alert that the truth tells of; negative where whence was first. An onset may lie before anything
shows: of a metric that comes every five minutes, neither the alert's system nor whence has more than the next row.
An incident that opens outside every fault's window is false; further openings inside one are extra. Hours are those really recorded:
gaps of over three usual reporting intervals are left out, and a normal period that several recordings repeat counts once, as do false
incidents in it. False pages, all recordings: {evaluation.pages_false}."""


def _accuracies(ranks: Sequence[int | None]) -> list[str]:
    return [*(share(accuracy_at(ranks, k)) for k in (1, 3, 5)), share(average_at_5(ranks))]


def _why(case: Scored) -> str:
    if case.answer is None:
        return "no incident opened"
    loudest = ", ".join(f"{family} at {service} Z {z:.1f}" for family, service, z in case.answer.strongest[:2]) or "no evidence"
    place = f"root ranks {case.rank}" if case.rank else "root not ranked"
    return f"{place}; first {case.ranking[0] if case.ranking else 'nobody'} ({loudest}); confidence {case.answer.confidence:.2f}"


def _why_change(case: Scored) -> str:
    assert case.answer is not None
    return f"said {case.answer.change[:32]}; the true one ranks {case.change_rank or 'nowhere'} of {len(case.change_ranking)}"
