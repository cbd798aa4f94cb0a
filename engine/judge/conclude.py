"""From evidence to a finding: one pure function, for incidents, for `explain` and for `eval` alike."""

from __future__ import annotations

from collections.abc import Sequence

from engine.judge.attribute import attribute
from engine.judge.context import ChangeContext
from engine.judge.finding import compose
from engine.judge.words import Around
from engine.records import ConfigChange, Evidence, Finding, TopologyEdge
from engine.settings import EngineSettings

OUTSIDE_SHARE = 0.5  # of the root's errors that name one outside host, from which that host is the cause


def conclude(
    evidence: Sequence[Evidence],
    edges: Sequence[TopologyEdge],
    changes: Sequence[ConfigChange],
    context: ChangeContext,
    start_ns: int,
    end_ns: int,
    settings: EngineSettings,
) -> Finding:
    """What broke between `start_ns` and `end_ns`, why, how sure, and which changes were innocent.

    Equal inputs give equal findings, whatever order they come in.
    Raises: ValueError if the span is empty.
    """
    if end_ns <= start_ns:
        raise ValueError(f"the span must not be empty, however: {start_ns=}, {end_ns=}")
    recent = [change for change in changes if end_ns - settings.changes_ns <= change.time_ns <= end_ns]
    around = Around(
        onset_ns=context.onset_ns,
        load_ratio=context.load_ratio,
        load_service=context.load_service,
        outside_host=context.outside_host if context.outside_share >= OUTSIDE_SHARE else "",
        roots={view.service: view.root for view in context.services},
    )
    return compose(evidence, edges, attribute(recent, context), start_ns, end_ns, around=around)
