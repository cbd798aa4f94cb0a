"""Do the learned rows tell the root from the others? k-NN ROC-AUC with trained and with untrained weights, side by side.

    python -m tests.bench.embeddings RECORDINGS_DIR

For each fault and source: the largest mean distance to the 10 nearest normal rows by service in the fault's interval. AUC: the root's
against the other services', over all faults of a recording in which both have rows; .5 is chance. The gate is open for both sides, so
that they are compared alike; nothing is left out of learning. Recordings with one fault are passed over.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.evidence.rows import Rows
from engine.normal.features import Source
from engine.normal.learn import train
from engine.normal.score import auc
from engine.records import Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.inbox import Inbox
from exporter.decode.json import decode_json
from exporter.evaluate.truth import Truth, load
from exporter.recording import find, lines, span_of_time

Distances = dict[Source, tuple[list[float], list[float]]]  # by source: other services', root's


class Run:
    """One recording through the rows alone."""

    def __init__(self, truth: Truth, settings: EngineSettings) -> None:
        self.truth, self.settings = truth, settings
        self.strings, self.resources = Strings(), Resources()
        self.inbox = Inbox(self.resources, settings)
        self.rows = Rows(self.strings, self.resources, settings)
        self.found: Distances = {source: ([], []) for source in Source}

    def distances(self) -> Distances:
        """Stream the recording; ask when each fault's interval is over."""
        waiting = sorted(self.truth.faults, key=lambda fault: fault.given_ns[1])
        for line in lines(self.truth.recording):
            batch = decode_json(line, self.strings, self.resources)
            times = span_of_time(batch)
            if times is None:
                continue
            self.inbox.put(batch)
            for window in self.inbox.windows(times[1] - self.settings.lateness_ns):
                self._take(window)
                while waiting and window.end_ns > waiting[0].given_ns[1]:
                    self._ask(*waiting[0].given_ns, waiting.pop(0).root)
        for fault in waiting:
            self._ask(*fault.given_ns, fault.root)
        return self.found

    def _take(self, window: Window) -> None:
        self.rows.take(window)
        self.rows.learn(window.end_ns - self.settings.quarantine_ns, ())
        while (job := self.rows.due(window.end_ns)) is not None:
            model = train(job)
            self.rows.adopt(replace(model, report=replace(model.report, refused="")))

    def _ask(self, start_ns: int, end_ns: int, root: str) -> None:
        for source, (others, roots) in self.found.items():
            for service, distance in self.rows.distances(source, start_ns, end_ns).items():
                (roots if service == root else others).append(distance)


def main() -> None:
    parser = argparse.ArgumentParser(description="k-NN ROC-AUC of learned rows, trained against untrained.")
    parser.add_argument("recordings", type=Path)
    for path in find([parser.parse_args().recordings]):
        truth = load(path)
        if len(truth.faults) < 2:
            continue
        trained, untrained = (Run(truth, EngineSettings(training_steps=steps)).distances() for steps in (100, 0))
        for source in Source:
            if trained[source][1] and untrained[source][1]:
                after, before = (auc(*map(np.array, side[source])) for side in (trained, untrained))
                count = len(trained[source][1])
                print(f"{path.name:32s} {source.value:8s} faults {count:3d}  trained {after:.3f}  untrained {before:.3f}", flush=True)


if __name__ == "__main__":
    main()
