"""Call gaps: caller's time less callee's time, the network and the queues between them, charged to one end (`latency`)."""

from __future__ import annotations

import numpy as np

from engine.evidence.latency import HOST, IO, NET, Keys, Latency
from engine.evidence.names import LOWEST_Z, MOST_PIECES, NOTABLE_Z, Names, loudest, milliseconds
from engine.records import Evidence, Family
from engine.windows import View

SUBJECT = {NET: "calls into it", IO: "calls into and out of it", HOST: "everything it does"}


def gap(view: View, found: Latency, names: Names) -> list[Evidence]:
    """A service gets the loudest of the hypotheses net, io and host, and its most shifted edges at no more than that."""
    pieces, edges = [], found.edges
    best = found.z[: HOST + 1].argmax(axis=0)
    highest = found.z[: HOST + 1].max(axis=0)
    for service in np.flatnonzero(highest >= LOWEST_Z).tolist():
        hypothesis, z = int(best[service]), float(highest[service])
        mine = edges.callee == service if hypothesis == NET else (edges.callee == service) | (edges.caller == service)
        rows = np.flatnonzero(mine & (edges.shift > 0))
        edge_z = edges.shift[rows] / np.sqrt(edges.variance[rows] + 1 / np.maximum(edges.count[rows], 1))
        rows, edge_z = rows[np.argsort(-edge_z, kind="stable")], -np.sort(-edge_z, kind="stable")
        if len(rows):
            pieces.append(_piece(view, edges, int(rows[0]), z, service, SUBJECT[hypothesis], names))
        elif hypothesis == HOST:
            pieces.append(_own(view, found.selfs, z, service, names))
        for row, its_z in zip(rows[1:MOST_PIECES].tolist(), edge_z[1:MOST_PIECES].tolist(), strict=True):
            if its_z >= NOTABLE_Z:
                pieces.append(_piece(view, edges, row, min(z, its_z), service, "", names))
    return loudest(pieces)


def _piece(view: View, edges: Keys, row: int, z: float, service: int, subject: str, names: Names) -> Evidence:
    caller, callee = names.service(int(edges.caller[row])), names.service(int(edges.callee[row]))
    usual, now = float(edges.usual[row]), float(edges.usual[row] + edges.shift[row])
    count = int(edges.count[row])
    return Evidence(
        Family.GAP,
        names.service(service),
        subject or f"{caller} -> {callee}",
        view.start_ns,
        view.end_ns,
        z,
        float(np.expm1(now)),
        float(np.expm1(usual)),
        count,
        "ms",
        f"{count} calls {caller} -> {callee} spent {milliseconds(now)} between the two, usually {milliseconds(usual)}",
        view.longest(int(edges.key[row])),
        peer=caller if int(edges.callee[row]) == service else callee,
    )


def _own(view: View, selfs: Keys, z: float, service: int, names: Names) -> Evidence:
    """Host, with no slow edge: self times alone."""
    rows = np.flatnonzero(selfs.caller == service)
    usual, shift = float(selfs.usual[rows].mean()), float(selfs.shift[rows].mean())
    return Evidence(
        Family.GAP,
        names.service(service),
        SUBJECT[HOST],
        view.start_ns,
        view.end_ns,
        z,
        float(np.expm1(usual + shift)),
        float(np.expm1(usual)),
        int(selfs.count[rows].sum()),
        "ms",
        f"its operations took {milliseconds(usual + shift)} themselves, usually {milliseconds(usual)}",
        view.longest(int(selfs.key[rows[0]])),
    )
