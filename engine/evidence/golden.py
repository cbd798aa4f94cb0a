"""Requests, latency and failures of components, in rows of one reporting interval."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.records import F64, I64, PointType
from engine.take.points import SeriesStore
from engine.take.roles import RESULT, Role, failed, measure

LEVELS: Final = (Role.LATENCY, Role.FAILURE_SHARE, Role.SUCCESS_SHARE, Role.FAILURES)
ROLES: Final = (Role.REQUESTS, *LEVELS)


@dataclass(frozen=True)
class Golden:
    """Golden signals by service (first axis) and row (second), a row being `step_ns` long and stamped at its end."""

    services: tuple[str, ...]
    stamp_ns: I64  # [rows], rising
    step_ns: int
    requests: F64  # a row; 0 where none was reported
    counted: frozenset[str]  # services whose requests are reported at all
    latency: dict[str, F64]  # mean, p50, ... -> seconds; NaN where not reported
    failure_share: F64  # NaN where unknown


def conserving_services(store: SeriesStore) -> set[str]:
    """Services that count their requests, and report a mean latency or failures: what is conserved along calls."""
    counted, level = set(), set()
    for key in store.keys:
        found = measure(key)
        if found.role is Role.REQUESTS:
            counted.add(key.service)
            if failed(key.attributes):
                level.add(key.service)
        elif found.role in LEVELS and (found.role is not Role.LATENCY or found.statistic == "mean"):
            level.add(key.service)
    return (counted & level) - {""}


def golden(store: SeriesStore, start_ns: int, end_ns: int, services: Collection[str] | None = None) -> Golden | None:
    """Golden signals with start_ns <= stamp < end_ns of the given services, or of all; None if there are none.

    The step is the usual distance of two values of these series; rows end where the latest of them does. Of several metrics for one
    signal of a service the one with most observations counts: the same requests seen twice are still the same requests.
    """
    rows = np.array(
        [
            row
            for row, key in enumerate(store.keys)
            if key.service and (services is None or key.service in services) and measure(key).role in ROLES
        ],
        np.int64,
    )
    row, time, value, weight = store.weighted(rows, start_ns, end_ns)
    if not len(row):
        return None
    distance = np.diff(time)[row[1:] == row[:-1]]
    step = int(np.median(distance)) if len(distance) else store.settings.series_slot_ns
    back = (int(time.max()) - time + step // 2) // step
    count = int(back.max()) + 1
    column = count - 1 - back
    names = tuple(sorted({store.keys[each].service for each in rows}))
    number = {name: at for at, name in enumerate(names)}
    table = _Cells(store, rows, np.searchsorted(rows, row), column, value, weight, number, count, step)
    stamp = np.zeros(count, np.int64)
    np.maximum.at(stamp, column, time)
    empty = stamp == 0
    stamp[empty] = int(time.max()) - (count - 1 - np.flatnonzero(empty)) * step
    requests, failures, counted = table.requests()
    return Golden(names, stamp, step, requests, counted, table.latency(), table.failure_share(requests, failures))


class _Cells:
    """Values of the chosen series, added up by service and row."""

    def __init__(
        self, store: SeriesStore, rows: I64, at: I64, column: I64, value: F64, weight: F64, number: dict[str, int], count: int, step: int
    ) -> None:
        self.keys = [store.keys[row] for row in rows]
        self.at, self.column, self.value, self.weight = at, column, value, weight
        self.number, self.count, self.step = number, count, step
        self.measures = [measure(key) for key in self.keys]
        self.total = np.bincount(at, weights=weight, minlength=len(self.keys))
        self.service = np.array([number[key.service] for key in self.keys], np.int64)

    def chosen(self, role: Role, statistic: str = "") -> list[int]:
        """Series of a role: of each service those of the metric with most observations, then the first by name."""
        most: dict[tuple[str, str], float] = {}
        for at, found in enumerate(self.measures):
            if found.role is role and found.statistic == statistic:
                name = (self.keys[at].service, self.keys[at].metric)
                most[name] = most.get(name, 0.0) + float(self.total[at])
        best: dict[str, str] = {}
        for (service, metric), _ in sorted(most.items(), key=lambda item: (-item[1], item[0])):
            best.setdefault(service, metric)
        return [
            at
            for at, found in enumerate(self.measures)
            if found.role is role and found.statistic == statistic and best[self.keys[at].service] == self.keys[at].metric
        ]

    def summed(self, series: list[int]) -> tuple[F64, F64]:
        """Sum of value times weight and of weights, [services, rows]."""
        use = np.isin(self.at, series)
        cell = self.service[self.at[use]] * self.count + self.column[use]
        size = len(self.number) * self.count
        weighted = np.bincount(cell, weights=self.value[use] * self.weight[use], minlength=size)
        weights = np.bincount(cell, weights=self.weight[use], minlength=size)
        return weighted.reshape(-1, self.count).astype(np.float64), weights.reshape(-1, self.count).astype(np.float64)

    def events(self, series: list[int]) -> F64:
        """Events a row: rate times seconds; a gauge of a rate is taken to hold for the whole row, by its mean."""
        gauges = [at for at in series if self.keys[at].type is PointType.GAUGE]
        counters = [at for at in series if self.keys[at].type is not PointType.GAUGE]
        events = self.summed(counters)[0]
        for at in gauges:
            weighted, weights = self.summed([at])
            events = events + weighted / np.maximum(weights, 1e-9) * (self.step / 1e9)
        return events

    def requests(self) -> tuple[F64, F64, frozenset[str]]:
        """Requests and failed requests a row (NaN where failures cannot be told), and the services that count them."""
        series = self.chosen(Role.REQUESTS)
        telling = {self.keys[at].metric for at in series if {name for name, _ in self.keys[at].attributes} & RESULT}
        failures = self.events([at for at in series if failed(self.keys[at].attributes)])
        tells = {self.keys[at].service for at in series if self.keys[at].metric in telling}
        own = self.chosen(Role.FAILURES)
        failures = failures + self.events(own)
        tells |= {self.keys[at].service for at in own}
        for name, at in self.number.items():
            if name not in tells:
                failures[at] = np.nan
        return self.events(series), failures, frozenset(self.keys[at].service for at in series)

    def latency(self) -> dict[str, F64]:
        """Weighted means of every statistic, NaN where nothing was reported."""
        result = {}
        for statistic in sorted({found.statistic for found in self.measures if found.role is Role.LATENCY}):
            weighted, weights = self.summed(self.chosen(Role.LATENCY, statistic))
            result[statistic] = np.where(weights > 0, weighted / np.where(weights > 0, weights, 1.0), np.nan)
        return result

    def failure_share(self, requests: F64, failures: F64) -> F64:
        """From a gauge of the share where there is one, else failures by requests."""
        share = np.where(requests > 0, failures / np.maximum(requests, 1e-9), np.nan)
        for role in (Role.FAILURE_SHARE, Role.SUCCESS_SHARE):
            weighted, weights = self.summed(self.chosen(role))
            gauge = np.where(weights > 0, weighted / np.where(weights > 0, weights, 1.0), np.nan)
            gauge = 1.0 - gauge if role is Role.SUCCESS_SHARE else gauge
            share = np.where(np.isfinite(gauge), gauge, share)
        return np.clip(share, 0.0, 1.0)
