"""The system that the traffic comes from: services in three layers that call each other, and one tree of spans an entry operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.records import SpanKind

F64 = npt.NDArray[np.float64]
#: Operations of a service at the front, in the middle, and at the back; so each operation is called from one place at least.
OPERATIONS = (6, 4, 3)
PODS = 3
JITTER = 0.2  # standard deviation of a span's own time, in logarithms


class Node(NamedTuple):
    """One span of a tree."""

    service: int
    kind: SpanKind
    name: str
    parent: int  # position in the tree, -1: root
    peer: int  # service that it calls, -1: none
    database: str  # that it calls, "": none
    own_ms: float  # median time that no child covers


@dataclass(frozen=True)
class Tree:
    """Spans of a trace, parents before children. With own times x [n]: durations are `length @ x`, starts `offset @ x`."""

    nodes: tuple[Node, ...]
    length: F64  # [n, n]: 1 where a span is in the subtree
    offset: F64  # [n, n]: the part of each span's own time that is over when another starts

    @classmethod
    def of(cls, nodes: list[Node]) -> Tree:
        """Children run one after the other, own time between them in equal parts."""
        size = len(nodes)
        length, offset = np.eye(size), np.zeros((size, size))
        for at in range(size - 1, 0, -1):
            length[nodes[at].parent] += length[at]
        children: list[list[int]] = [[] for _ in nodes]
        for at, node in enumerate(nodes[1:], start=1):
            children[node.parent].append(at)
        for at, below in enumerate(children):
            for number, child in enumerate(below):
                offset[child] = offset[at] + sum((length[each] for each in below[:number]), np.zeros(size))
                offset[child, at] += (number + 1) / (len(below) + 1)
        return cls(tuple(nodes), length, offset)


@dataclass(frozen=True)
class Shop:
    """Names of the services, and the trees."""

    services: tuple[str, ...]
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, services: int, seed: int) -> Shop:
        """Every tenth service is an entry, three of ten stand in the middle, the others behind."""
        rng = np.random.default_rng(seed)
        front = max(1, services // 10)
        middle = max(1, 3 * services // 10)
        back = services - front - middle
        names = [f"front-{at:03d}" for at in range(front)]
        names += [f"middle-{at:03d}" for at in range(middle)]
        names += [f"back-{at:03d}" for at in range(back)]
        inner = [(front + at, operation) for at in range(middle) for operation in range(OPERATIONS[1])]
        last = [(front + middle + at, operation) for at in range(back) for operation in range(OPERATIONS[2])]
        entries = [(at, operation) for at in range(front) for operation in range(OPERATIONS[0])]
        called_by_entry, called_by_inner = _dealt(inner, len(entries), 2, rng), _dealt(last, len(inner), 2, rng)
        below = dict(zip(inner, called_by_inner, strict=True))
        trees = [
            Tree.of(_nodes(entry, calls, below, names, np.random.default_rng([seed, *entry])))
            for entry, calls in zip(entries, called_by_entry, strict=True)
        ]
        return cls(tuple(names), tuple(trees))


def _dealt(cards: list[tuple[int, int]], hands: int, least: int, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Each card to a hand at least once, and `least` or fewer more so that no hand is empty."""
    order = [cards[at] for at in rng.permutation(len(cards)).tolist()]
    given: list[list[tuple[int, int]]] = [order[hand::hands] for hand in range(hands)]
    for hand in given:
        while len(hand) < least and len(hand) < len(cards):
            more = cards[int(rng.integers(len(cards)))]
            if more not in hand:
                hand.append(more)
    return given


def _nodes(
    entry: tuple[int, int],
    calls: list[tuple[int, int]],
    below: dict[tuple[int, int], list[tuple[int, int]]],
    names: list[str],
    rng: np.random.Generator,
) -> list[Node]:
    """The tree of one entry operation."""
    nodes: list[Node] = []

    def own(median_ms: float) -> float:
        return float(median_ms * np.exp(rng.normal(0, 0.7)))

    def serve(operation: tuple[int, int], parent: int, callees: list[tuple[int, int]], queued: bool) -> None:
        service, number = operation
        kind = SpanKind.CONSUMER if queued else SpanKind.SERVER
        nodes.append(Node(service, kind, f"{'process' if queued else 'GET'} /{names[service]}/v1/item{number}", parent, -1, "", own(3)))
        at = len(nodes) - 1
        if not callees:
            nodes.append(Node(service, SpanKind.INTERNAL, f"Repository{number}.load", at, -1, "", own(1)))
            nodes.append(Node(service, SpanKind.CLIENT, f"SELECT item{number}", len(nodes) - 1, -1, f"db_{names[service]}", own(2)))
        for place, callee in enumerate(callees):
            # one call in eight goes through a queue
            by_queue = (service + callee[0] + place) % 8 == 0
            call = SpanKind.PRODUCER if by_queue else SpanKind.CLIENT
            nodes.append(Node(service, call, f"{'send' if by_queue else 'GET'} {names[callee[0]]}", at, callee[0], "", own(0.5)))
            serve(callee, len(nodes) - 1, below.get(callee, []), by_queue)

    serve(entry, -1, calls, False)
    return nodes
