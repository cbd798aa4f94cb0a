"""Self times: what an operation took itself, without its children; of spans that call no other service (`latency`).

    Z = max(Z of all operations of the service pooled, sqrt(max(0, z^2 - 2 ln k))),  z the largest of its k operations

A host slows all of them, a mistake in the code one: pooled, that one would be lost among those that are as usual.
"""

from __future__ import annotations

import numpy as np

from engine.evidence.latency import SELF_ONLY, Latency
from engine.evidence.names import LOWEST_Z, MOST_PIECES, NOTABLE_Z, Names, loudest, milliseconds
from engine.records import Evidence, Family
from engine.take.joined import KIND_SHIFT
from engine.windows import Codes, View


def self_time(view: View, found: Latency, codes: Codes, names: Names) -> list[Evidence]:
    """A service gets its Z at the most shifted operation, and the next ones at no more than that."""
    pieces: list[Evidence] = []
    selfs = found.selfs
    every_z = selfs.shift / np.sqrt(selfs.variance + 1 / np.maximum(selfs.count, 1))
    operations = np.bincount(selfs.caller, minlength=found.z.shape[1])
    highest = np.zeros(found.z.shape[1])
    np.maximum.at(highest, selfs.caller, every_z)
    alone = np.sqrt(np.maximum(0.0, highest**2 - 2 * np.log(np.maximum(operations, 1))))
    best = np.maximum(found.z[SELF_ONLY], alone)
    for service in np.flatnonzero(best >= LOWEST_Z).tolist():
        z = float(best[service])
        rows = np.flatnonzero((selfs.caller == service) & (selfs.shift > 0))
        own_z = every_z[rows]
        for place in np.argsort(-own_z, kind="stable")[:MOST_PIECES].tolist():
            row = int(rows[place])
            first = not pieces or pieces[-1].service != names.service(service)
            if not first and own_z[place] < NOTABLE_Z:
                break
            usual, now = float(selfs.usual[row]), float(selfs.usual[row] + selfs.shift[row])
            operation = names.operation(int(codes.values.keys[selfs.key[row]]) & ((1 << KIND_SHIFT) - 1))[1]
            count = int(selfs.count[row])
            pieces.append(
                Evidence(
                    Family.SELF_TIME,
                    names.service(service),
                    operation,
                    view.start_ns,
                    view.end_ns,
                    z if first else min(z, float(own_z[place])),
                    float(np.expm1(now)),
                    float(np.expm1(usual)),
                    count,
                    "ms",
                    f"{operation} took {milliseconds(now)} itself in {count} spans, usually {milliseconds(usual)}",
                    view.longest(int(selfs.key[row])),
                )
            )
    return loudest(pieces)
