"""Incidents of an earlier life laid over a restored state, which may be some minutes older than they are."""

from __future__ import annotations

from collections.abc import Sequence

from engine.judge.incident import Incidents
from engine.judge.live import Live
from engine.records import Incident, IncidentState

CLOSED = frozenset({IncidentState.RESOLVED, IncidentState.MERGED})


def resume(incidents: Incidents, published: Sequence[Incident]) -> None:
    """Make what was published last true again: open ones go on, closed ones can be reopened but not be live.

    Of an incident that the state does not know, only what was published is known: it is about its first cause, and departed last
    when it was updated last.
    """
    lives = {live.incident.id: live for live in (*incidents._live, *incidents._past)}
    for one in sorted(published, key=lambda each: (each.opened_ns, each.id)):
        live = lives.get(one.id)
        if live is None:
            root = one.finding.root
            places = {root} if root else set()
            live = Live(one, places, places | set(one.finding.affected), 1.0, one.updated_ns, one.updated_ns, one.opened_ns, one.updated_ns)
        elif one.updated_ns <= live.incident.updated_ns:
            continue
        else:
            live.incident = one
            live.departed_ns = max(live.departed_ns, one.updated_ns)
            for held in (incidents._live, incidents._past):
                if live in held:
                    held.remove(live)
        if one.state is not IncidentState.MERGED:
            (incidents._past if one.state in CLOSED else incidents._live).append(live)
