"""How well changes are attributed: PYTHONPATH=. python tests/bench/compare_changes.py FOLDER|authored... [--nulls] [--terms CASE].

A folder holds recordings with truth and changes (RootCauseBench, PetShop); `authored` stands for the invented incidents. The context
is built as the engine builds it, but from series, texts and topology alone, without evidence of traces.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.evidence.metric import excess_flow
from engine.judge.attribute import attribute
from engine.judge.context import ChangeContext, build_context
from engine.records import MINUTE_NS, SECOND_NS, Attribution, ConfigChange, Verdict
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.changes import Changes
from engine.take.inbox import Inbox
from engine.take.points import SeriesStore
from engine.take.texts import Texts
from engine.topology import Topology
from exporter.decode.json import decode_json
from exporter.evaluate.truth import NONE, ChangeTruth, load_all
from exporter.recording import lines
from tests import authored


@dataclass(frozen=True, slots=True)
class Case:
    """One incident, read."""

    name: str
    truth: ChangeTruth
    changes: tuple[ConfigChange, ...]
    context: ChangeContext


def read(name: str, payloads: Iterator[bytes], start_ns: int, end_ns: int, truth: ChangeTruth) -> Case:
    """Feed an incident's lines to what attribution reads."""
    strings, resources, settings = Strings(), Resources(), EngineSettings(window_ns=MINUTE_NS)  # fewer windows, same content
    inbox, changes = Inbox(resources, settings), Changes(resources, settings)
    store, topology, texts = (
        SeriesStore(strings, resources, settings),
        Topology(strings, resources, settings),
        Texts(strings, resources, settings),
    )
    found: dict[str, ConfigChange] = {}
    clock = 0
    for payload in payloads:
        batch = decode_json(payload, strings, resources)
        inbox.put(batch)
        times = [
            int(columns.time_ns.max())
            for columns in (batch.spans, batch.logs, batch.points)
            if columns is not None and len(columns.time_ns)
        ]
        clock = max(clock, *times) if times else clock
        for window in inbox.windows(min(clock - settings.lateness_ns, end_ns)) if clock else ():
            for stage in (topology, store, texts):
                stage.take(window)
            found.update({change.id: change for change in changes.take(window)})
        if clock - settings.lateness_ns > end_ns:
            break
    else:
        for window in inbox.windows(end_ns + 1):
            for stage in (topology, store, texts):
                stage.take(window)
            found.update({change.id: change for change in changes.take(window)})
    edges = topology.edges(end_ns)
    context = build_context([], excess_flow(store, edges, start_ns, end_ns), store, texts, edges, start_ns, end_ns)
    recent = tuple(change for change in found.values() if end_ns - settings.changes_ns <= change.time_ns <= end_ns)
    return Case(name, truth, recent, context)


def cases(source: str, names: Sequence[str] = ()) -> Iterator[Case]:
    """All incidents of a folder, or the authored ones: those of the names, if any are given."""
    if source == "authored":
        for name in names or authored.names():
            data = authored.load(name)
            known = authored.truth(name)
            truth = ChangeTruth(known["root_cause_change_id"] or NONE, tuple(known["root_cause_deployment_ids"]))
            start, end = authored.minute_ns(data["alert"]), authored.minute_ns(data["end"])
            yield read(name, iter(authored.payloads(name)), start, end, truth)
        return
    for truth in load_all(Path(source)):
        for fault in truth.faults:
            if fault.change is not None:
                yield read(fault.case, lines(truth.recording), *fault.given_ns, fault.change)


def right(case: Case, answer: str) -> str:
    """right, decoy, none_right, none_wrong or inconclusive."""
    if answer == "inconclusive":
        return "inconclusive"
    if answer == NONE:
        return "none_right" if case.truth.id == NONE else "none_wrong"
    return "right" if case.truth.is_named_by(answer) else "decoy"


def rank(case: Case, attribution: Attribution) -> int:
    """Place of the true change among the candidates; 0 where no change did it or it is not among them."""
    names = [verdict.change.id for verdict in attribution.verdicts if verdict.change.id not in case.truth.carried_by]
    return names.index(case.truth.id) + 1 if case.truth.id in names else 0


def suspected(case: Case, attribution: Attribution) -> bool:
    """Whether the true change is confirmed or a suspect."""
    chosen = [verdict.change.id for verdict in attribution.verdicts if verdict.verdict in (Verdict.CONFIRMED, Verdict.SUSPECT)]
    return any(case.truth.is_named_by(name) for name in chosen)


def table(source: str, read_cases: Sequence[Case], *, shown: str = "") -> float:
    """Print a source's cases and sums; the mean log loss of the truth."""
    sums, ranks, hits, confirmed, culprits, loss = Counter[str](), Counter[int](), 0, 0, 0, 0.0
    for case in read_cases:
        attribution = attribute(case.changes, case.context)
        outcome, place = right(case, attribution.answer), rank(case, attribution)
        sums[outcome] += 1
        top = attribution.verdicts[0] if attribution.verdicts else None
        if case.truth.id != NONE:
            culprits += 1
            ranks[place] += 1
            hits += suspected(case, attribution)
        confirmed += any(
            verdict.verdict is Verdict.CONFIRMED and not case.truth.is_named_by(verdict.change.id) for verdict in attribution.verdicts
        )
        probability = {verdict.change.id: verdict.probability for verdict in attribution.verdicts} | {NONE: attribution.none_probability}
        loss -= math.log(max(probability.get(case.truth.id, 0.0), 1e-4))
        onset = (case.context.onset_ns - case.context.start_ns) / SECOND_NS / 60
        print(
            f"{case.name:38.38} {outcome:13} rank {place or '-':>2}  p(top) {top.probability if top else 0:.2f}  "
            f"p(true) {probability.get(case.truth.id, 0):.2f}  p(none) {attribution.none_probability:.2f}  "
            f"root {case.context.root:22.22} T0 {onset:+.0f} min  {top.change.id[:30] if top else ''}"
        )
        if shown and shown in case.name:
            show(case, attribution)
    total = len(read_cases)
    print(
        f"{source}: {total} cases, {dict(sums)}; culprit first {ranks[1]} of {culprits}, in three {ranks[1] + ranks[2] + ranks[3]}, "
        f"suspected {hits}; decoys confirmed {confirmed}; log loss {loss / max(total, 1):.3f}"
    )
    return loss / max(total, 1)


def show(case: Case, attribution: Attribution) -> None:
    """Print the terms of a case."""
    context = case.context
    print("   symptoms", " ".join(f"{kind}:{weight:.2f}" for kind, weight in context.symptoms))
    print(
        "   services",
        " ".join(f"{view.service}:{view.root:.2f}/{view.own:.2f}" for view in context.services),
        "measured" if context.measured else "",
    )
    print("   load", f"{context.load_ratio:.2f}", context.load_service, "outside", f"{context.outside_share:.2f}", context.outside_host)
    for said in context.texts[:6]:
        print(f"   text {said.weight:.2f} {said.service}: {said.text[:110]}")
    for verdict in attribution.verdicts[:8]:
        terms = " ".join(f"{name} {nats:+.2f}" for name, nats in verdict.terms)
        mark = "*" if case.truth.is_named_by(verdict.change.id) else " "
        print(f"  {mark}{verdict.probability:.2f} {verdict.verdict.value:10} {verdict.change.id[:34]:34} {terms}")
        print(f"          {'; '.join(verdict.reasons)}")
    print("   none:", "; ".join(attribution.none_reasons))


def nulls(read_cases: Sequence[Case]) -> None:
    """What is answered when the culprit is taken away, moved behind the onset, or the changes are another incident's."""
    kinds: dict[str, Counter[str]] = {"removed": Counter(), "moved": Counter(), "foreign": Counter()}
    for at, case in enumerate(read_cases):
        culprit = {case.truth.id, *case.truth.carried_by}
        other = read_cases[(at + 1) % len(read_cases)]
        shift = case.context.start_ns - other.context.start_ns
        late = case.context.symptom_ns + 10 * MINUTE_NS
        variants = {
            "removed": [change for change in case.changes if change.id not in culprit],
            "moved": [replace(change, time_ns=late) if change.id in culprit else change for change in case.changes],
            "foreign": [replace(change, time_ns=change.time_ns + shift) for change in other.changes],
        }
        for kind, changes in variants.items():
            if kind != "foreign" and case.truth.id == NONE:
                continue
            attribution = attribute(changes, case.context)
            named = attribution.answer not in (NONE, "inconclusive")
            sure = any(verdict.verdict is Verdict.CONFIRMED for verdict in attribution.verdicts)
            kinds[kind]["confirmed" if sure else "named" if named else attribution.answer] += 1
    for kind, counts in kinds.items():
        print(f"  null test, {kind}: {dict(counts)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--nulls", action="store_true")
    parser.add_argument("--without-diffs", action="store_true")
    parser.add_argument("--terms", default="", metavar="CASE")
    arguments = parser.parse_args()
    for source in arguments.sources:
        found = list(cases(source))
        if arguments.without_diffs:
            found = [replace(case, changes=tuple(replace(change, diff="") for change in case.changes)) for case in found]
        table(source, found, shown=arguments.terms)
        if arguments.nulls:
            nulls(found)


if __name__ == "__main__":
    main()
