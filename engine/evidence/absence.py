"""A service gone silent while the others of the same source go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.records import F64, I64, MINUTE_NS, Evidence, Family
from engine.take.presence import SIGNALS, Presence

LEAST_BLOCKS: Final = 10  # of history in which the source sent anything
LEAST_NATS: Final = 0.5
LEAST_SILENT_NS: Final = 3 * MINUTE_NS


def absence_evidence(source: str, services: Sequence[str], counts: F64, *, block_end_ns: I64, start_ns: int, end_ns: int) -> list[Evidence]:
    """Services of one source (spans, logs, points) that sent nothing in the window.

        nats = min(l * min(1, N / L), k ln((1 + m) / (1 + m0)))

    l: what the service usually sends in k blocks, k = blocks of the window in which the source sent anything; N what the other services
    sent in the window, L what they usually send in k blocks; m blocks of history with the source, m0 of them without the service. When
    the whole source stops, N and with it the evidence is 0. The second bound is what history itself says of silence: senders come in
    bursts, and a Poisson tail would not know.

    Args: counts float64 [services, blocks] of blocks of equal length, in order of time; block_end_ns int64 [blocks]. Blocks that end by
    start_ns are history, those that end after it, by end_ns, the window.
    Returns: evidence for silent services only, Z = sqrt(2 nats).
    """
    total = counts.sum(axis=0)
    past = (block_end_ns <= start_ns) & (total > 0)
    now = (block_end_ns > start_ns) & (block_end_ns <= end_ns) & (total > 0)
    blocks, active = int(past.sum()), int(now.sum())
    if blocks < LEAST_BLOCKS or not active:
        return []
    usual = np.median(counts[:, past], axis=1) * active
    sent = counts[:, now].sum(axis=1)
    found = []
    for at in np.flatnonzero((sent == 0) & (usual > 0)).tolist():
        others, others_usual = float(sent.sum()), float(usual.sum() - usual[at])
        if others_usual <= 0:
            continue
        silent = int((counts[at, past] == 0).sum())
        nats = min(float(usual[at]) * min(1.0, others / others_usual), active * float(np.log((1 + blocks) / (1 + silent))))
        if nats < LEAST_NATS:
            continue
        found.append(
            Evidence(
                family=Family.ABSENCE,
                service=services[at],
                subject=f"{source} of {services[at]}",
                start_ns=start_ns,
                end_ns=end_ns,
                z=float(np.sqrt(2 * nats)),
                observed=0.0,
                expected=float(usual[at]),
                n=active,
                unit="{item}",
                sentence=f"{services[at]} sent no {source} while the others sent {others:.0f}; usually it sends {usual[at]:.0f}.",
            )
        )
    return found


def silent_services(presence: Presence, start_ns: int, end_ns: int) -> list[Evidence]:
    """Absence in every signal, by whole minutes: at least the last three up to `end_ns`, as one or two may be a pause."""
    end = end_ns // MINUTE_NS * MINUTE_NS
    start = min(-(-start_ns // MINUTE_NS) * MINUTE_NS, end - LEAST_SILENT_NS)
    found = []
    for signal in SIGNALS:
        services, counts, block_end_ns = presence.counts(signal, end)
        found += absence_evidence(signal, services, counts, block_end_ns=block_end_ns, start_ns=start, end_ns=end)
    return found
