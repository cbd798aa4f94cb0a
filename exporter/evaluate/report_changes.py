"""Which change did it: the tables of an evaluation about changes, and of the null tests."""

from __future__ import annotations

from collections import Counter

from exporter.evaluate.baselines import CHANGE_NAMES
from exporter.evaluate.gather import Evaluation
from exporter.evaluate.nulls import VARIANTS
from exporter.evaluate.score import CHANGE_OUTCOMES
from exporter.evaluate.sets import GIVEN
from exporter.evaluate.tables import table
from exporter.evaluate.truth import NONE

NULL_OUTCOMES = ("nobody", "right", "named", "confirmed")
NULLS = """Given, with other changes than those that came: the guilty one and the deploys that carried it *removed*; *moved* to ten minutes
after the onset; *foreign*: the changes of another incident of the set instead, at this one's times; *added*: another incident's guilty
change beside the true one. Whoever is named then is innocent, the true one of *added* excepted. Where all incidents of a set have one
root service, a foreign guilty change touches that service, too, shortly before the onset: only what it does can tell."""


def change_table(evaluation: Evaluation) -> str:
    """Which change did it; the plain methods below."""
    rows = []
    for one in evaluation.sets:
        outcomes = one.changes()
        if outcomes is None:
            continue
        culprits = [case for case in one.cases if case.fault.change is not None and case.fault.change.id != NONE]
        suspected = f"{sum(case.suspected for case in culprits)} of {len(culprits)}"
        first = f"{sum(case.change_rank == 1 for case in culprits)} of {len(culprits)}"
        confirmed = str(sum(case.confirmed_decoy for case in one.cases))
        rows.append([one.name, one.mode, *(str(outcomes[name]) for name in CHANGE_OUTCOMES), confirmed, first, suspected])
        if one.mode == GIVEN:
            for name in CHANGE_NAMES:
                plain = Counter(evaluation.plain[one.name].changes.get(name, []))
                rows.append(["", name, *(str(plain[outcome]) for outcome in CHANGE_OUTCOMES), "", "", ""])
    head = ["set", "mode or method", "right", "decoy", "none, right", "none, wrong", "inconclusive", "decoy confirmed", "true one first"]
    return table([*head, "among suspects"], rows) if rows else "No recording holds changes."


def null_table(evaluation: Evaluation) -> str:
    """What the null tests answered, by set."""
    rows = []
    for name, counts in sorted(evaluation.nulls.items()):
        for variant in VARIANTS:
            total = sum(count for (its, _), count in counts.items() if its == variant)
            if total:
                rows.append([name, variant, str(total), *(str(counts[variant, outcome]) for outcome in NULL_OUTCOMES)])
    head = ["set", "changes", "cases", "nobody named", "the true one named", "an innocent one named", "an innocent one confirmed"]
    return f"{NULLS}\n\n{table(head, rows)}" if rows else "No recording holds changes."
