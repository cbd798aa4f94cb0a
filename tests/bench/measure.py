"""CPU time an item of servers that get the same requests in turn (A, B, A, B, ...); medians of rounds, for machines do other things too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tests.bench.load.process import cpu_seconds, reaped_seconds
from tests.bench.load.send import Sender
from tests.bench.peers import Server

QUIET_SECONDS = 0.3  # a server is done when it used less than two ticks in so long
MOST_SECONDS = 120.0


class Traffic(Protocol):
    """Requests by number."""

    method: str
    items: int

    def request(self, number: int) -> bytes:
        """One encoded request."""
        ...


@dataclass
class Cost:
    """Microseconds of CPU an item, by round, and what else was seen."""

    micros: list[float] = field(default_factory=list)
    items: int = 0
    refused: int = 0
    children_seconds: float = 0.0

    @property
    def median(self) -> float:
        """Over the rounds."""
        return float(np.median(self.micros))

    @property
    def a_second(self) -> float:
        """Items per CPU-second."""
        return 1e6 / self.median


def settle(pid: int) -> None:
    """Wait until a process has done what it was given."""
    end, before = time.monotonic() + MOST_SECONDS, cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(QUIET_SECONDS)
        now = cpu_seconds(pid)
        if now - before <= 0.02:
            return
        before = now


def spend(server: Server, sender: Sender, traffic: Traffic, numbers: Sequence[int], cost: Cost) -> None:
    """One round of one server."""
    settle(server.pid)
    before, children = cpu_seconds(server.pid), reaped_seconds(server.pid)
    sent = sender.send(numbers, traffic.request, traffic.items)
    settle(server.pid)
    cost.micros.append(1e6 * (cpu_seconds(server.pid) - before) / sent.items)
    cost.items += sent.items
    cost.refused += sent.refused
    cost.children_seconds += reaped_seconds(server.pid) - children


def in_turn(
    servers: Sequence[Server],
    traffic: Traffic,
    *,
    rounds: int,
    requests: int,
    first: int = 0,
    gzip: bool = False,
    warm: int = 3,
    warmed: Callable[[], None] = lambda: None,
    done: Callable[[], None] = lambda: None,
) -> list[Cost]:
    """Costs of servers that each get the same `requests` in each of the rounds; no server gets a request twice.

    `warm` requests go before; `warmed` is called when they are worked off, `done` after each round.
    """
    costs = [Cost() for _ in servers]
    senders = [Sender(server.target, traffic.method, gzip=gzip) for server in servers]
    try:
        for sender in senders:
            sender.send(range(first, first + warm), traffic.request, traffic.items)
        for server in servers:
            settle(server.pid)
        warmed()
        for number in range(rounds):
            numbers = range(first + warm + number * requests, first + warm + (number + 1) * requests)
            for server, sender, cost in zip(servers, senders, costs, strict=True):
                spend(server, sender, traffic, numbers, cost)
            done()
    finally:
        for sender in senders:
            sender.__exit__()
    return costs
