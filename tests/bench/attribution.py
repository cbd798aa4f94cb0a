"""Which change did it, on authored incidents by split: python -m tests.bench.attribution [SPLIT ...] [--nulls].

old   the incidents 01-58, on which the first formulas were chosen
dev   odd numbers from 61 on: for improving
test  even numbers from 61 on: scored at first sight, later looked into
late  from 201 on: written down before anything was scored on them, scored at first sight, later looked into
last  from 301 on: the same
seen  odd numbers from 401 on: the same
kept  even numbers from 402 on: scored at first sight and after each widening of the rules, and never looked into
blind from 501 on: written down by someone who knew no rule, scored once, when all else was done, and never looked into
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.judge.attribute import attribute
from engine.records import Attribution, Verdict
from exporter.evaluate.truth import NONE
from tests import authored
from tests.bench.compare_changes import Case, cases, nulls, right, suspected, table

SPLITS = ("old", "dev", "test", "late", "last", "seen", "kept", "blind")
FIRST_NEW, FIRST_LATE, FIRST_LAST, FIRST_SEEN, FIRST_BLIND = 61, 201, 301, 401, 501


def split_of(name: str) -> str:
    """Split of an authored incident, by its number.

    >>> split_of("07-index-dropped"), split_of("61-shared-format"), split_of("62-request-context")
    ('old', 'dev', 'test')
    """
    number = int(name.partition("-")[0])
    if number >= FIRST_BLIND:
        return "blind"
    if number >= FIRST_SEEN:
        return "seen" if number % 2 else "kept"
    if number >= FIRST_LAST:
        return "last"
    if number >= FIRST_LATE:
        return "late"
    return "old" if number < FIRST_NEW else "dev" if number % 2 else "test"


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of one split."""

    cases: int
    culprits: int
    right: int
    suspected: int  # the culprit is confirmed or among the suspects
    none_right: int
    inconclusive: int
    decoys_named: int
    decoys_confirmed: int

    def line(self) -> str:
        """One row of the table."""
        innocent = self.cases - self.culprits
        return (
            f"{self.cases:5} {self.right:3} of {self.culprits:<3} {self.suspected:3} of {self.culprits:<3} "
            f"{self.none_right:3} of {innocent:<3} {self.inconclusive:9} {self.decoys_named:12} {self.decoys_confirmed:12}"
        )


def figures(read: Sequence[tuple[Case, Attribution]]) -> Figures:
    """Count outcomes. A decoy is named where the answer is an innocent change, confirmed where any innocent one is."""
    outcomes = Counter(right(case, attribution.answer) for case, attribution in read)
    guilty = [(case, attribution) for case, attribution in read if case.truth.id != NONE]
    return Figures(
        cases=len(read),
        culprits=len(guilty),
        right=outcomes["right"],
        suspected=sum(suspected(case, attribution) for case, attribution in guilty),
        none_right=outcomes["none_right"],
        inconclusive=outcomes["inconclusive"],
        decoys_named=outcomes["decoy"],
        decoys_confirmed=sum(
            any(each.verdict is Verdict.CONFIRMED and not case.truth.is_named_by(each.change.id) for each in attribution.verdicts)
            for case, attribution in read
        ),
    )


def split_cases(split: str) -> Iterator[Case]:
    """Incidents of a split, read."""
    return cases("authored", [name for name in authored.names() if split_of(name) == split])


def reliability(read: Sequence[tuple[Case, Attribution]]) -> Iterator[str]:
    """The answer's probability against how often it is right, in three bins: lines of text."""
    said = []
    for case, attribution in read:
        top = max((each.probability for each in attribution.verdicts), default=0.0)
        p = max(top, attribution.none_probability)
        name = NONE if attribution.none_probability >= top else attribution.verdicts[0].change.id
        said.append((p, right(case, name) in ("right", "none_right")))
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 1.01)):
        inside = [(p, hit) for p, hit in said if low <= p < high]
        if inside:
            mean, hits = sum(p for p, _ in inside) / len(inside), sum(hit for _, hit in inside)
            bin_ = f"  likeliest at p {low:.1f}-{min(high, 1.0):.1f}: {len(inside)} incidents"
            yield f"{bin_}, mean p {mean:.2f}, right {hits / len(inside):.2f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("splits", nargs="*", default=SPLITS)
    parser.add_argument("--cases", action="store_true", help="a line an incident")
    parser.add_argument("--nulls", action="store_true", help="what is said when the culprit is taken away, comes late, or is foreign")
    parser.add_argument("--reliability", action="store_true")
    parser.add_argument("--terms", default="", metavar="CASE")
    arguments = parser.parse_args()
    print("split cases     right  suspected none right inconclus. decoys named    confirmed")
    for split in arguments.splits:
        found = list(split_cases(split))
        read = [(case, attribute(case.changes, case.context)) for case in found]
        print(f"{split:6}{figures(read).line()}")
        if arguments.cases or arguments.terms:
            table(split, found, shown=arguments.terms)
        if arguments.nulls:
            nulls(found)
        if arguments.reliability:
            print(*reliability(read), sep="\n")


if __name__ == "__main__":
    main()
