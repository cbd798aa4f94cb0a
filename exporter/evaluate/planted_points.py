"""Faults planted into metrics: gauges that rise, and time or failures that a component hands on to its callers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from engine.records import F64, Batch, PointType, series_attributes
from engine.strings import Resources, Strings

WHOLE = {"%": 100.0, "1": 1.0}  # by unit
FOLLOWS = 0.3  # of a callee's excess in the past that must have shown at its caller, as far as can be told, for it to wait
LATENCY, MEAN, SUCCESS = (re.compile(words, re.IGNORECASE) for words in ("latency|duration", "average|mean|avg", "availab|success"))

Key = tuple[int, int, int]  # resource, metric, series


class Component(NamedTuple):
    """The series of one component."""

    requests: Key
    mean: Key
    latencies: tuple[Key, ...]  # the mean among them
    success: Key | None


Change = Callable[[F64, F64], F64]  # (values, seconds since 1970) -> values


class Gauges:
    """The series of a stretch by what they speak of."""

    def __init__(self, batches: Sequence[Batch], strings: Strings, resources: Resources) -> None:
        self._strings, self._resources = strings, resources
        self.values: dict[Key, dict[float, float]] = defaultdict(dict)  # by time in s
        self._units: dict[Key, str] = {}
        self._sums: set[Key] = set()
        for points in (batch.points for batch in batches if batch.points is not None):
            columns = (points.resource, points.metric, points.series, points.unit, points.type, points.time_ns, points.value)
            for resource, metric, series, unit, kind, time_ns, value in zip(*(column.tolist() for column in columns), strict=True):
                key = resource, metric, series
                self.values[key][time_ns / 1e9] = value
                self._units[key] = strings.text("value", unit)
                if kind != PointType.GAUGE:
                    self._sums.add(key)

    def service(self, key: Key) -> str:
        """Who reports it."""
        return self._resources[key[0]].service

    def name(self, key: Key) -> str:
        """The metric."""
        return self._strings.text("value", key[1])

    def busy(self) -> dict[str, list[tuple[Key, float]]]:
        """Gauges of utilisation of one instance, and what a whole is, by service; what others report alike is the host's."""
        alike: dict[tuple[int, tuple[float, ...]], set[str]] = defaultdict(set)
        for key, values in self.values.items():
            alike[key[1], tuple(values.values())].add(self.service(key))
        found: dict[str, list[tuple[Key, float]]] = defaultdict(list)
        for key, values in self.values.items():
            whole = WHOLE.get(self._units[key], 0.0)
            own = len(alike[key[1], tuple(values.values())]) == 1
            if (
                key not in self._sums
                and self._resources[key[0]].instance
                and self.service(key)
                and own
                and 0 <= max(values.values()) <= whole
            ):
                found[self.service(key)].append((key, whole))
        return dict(found)

    def calls(self) -> dict[str, list[Key]]:
        """Gauges of the latency of calls, by the service that is called."""
        known = {self.service(key) for key in self.values} - {""}
        found: dict[str, list[Key]] = defaultdict(list)
        for key in self.values:
            peers = [value for _, value in series_attributes(self._strings.text("series", key[2])) if value in known - {self.service(key)}]
            if peers and key not in self._sums and LATENCY.search(self.name(key)):
                found[peers[0]].append(key)
        return dict(found)

    def components(self) -> dict[str, Component]:
        """Services that count requests and report a mean latency."""
        requests, mean, success = dict[str, Key](), dict[str, Key](), dict[str, Key]()
        latencies: dict[str, list[Key]] = defaultdict(list)
        for key in self.values:
            service, name = self.service(key), self.name(key)
            if key in self._sums:
                requests[service] = key
            elif LATENCY.search(name) and self._units[key] == "s":
                latencies[service].append(key)
                if MEAN.search(name):
                    mean[service] = key
            elif SUCCESS.search(name) and self._units[key] in WHOLE:
                success[service] = key
        return {
            service: Component(requests[service], mean[service], tuple(latencies[service]), success.get(service))
            for service in sorted(requests.keys() & mean.keys() - {""})
        }

    def whole(self, key: Key) -> float:
        """What a share in the series' unit is a share of."""
        return WHOLE[self._units[key]]


def raised(batches: Iterable[Batch], changes: Mapping[Key, Change]) -> tuple[Batch, ...]:
    """The batches with the values of some series changed."""
    out = []
    for batch in batches:
        points = batch.points
        if points is None:
            out.append(batch)
            continue
        value = points.value.copy()
        for (resource, metric, series), change in changes.items():
            rows = np.flatnonzero((points.resource == resource) & (points.metric == metric) & (points.series == series))
            if len(rows):
                value[rows] = change(value[rows], points.time_ns[rows] / 1e9)
        out.append(replace(batch, points=replace(points, value=value)))
    return tuple(out)


def busier(rise: float, whole: float, rng: Generator) -> Change:
    """A gauge of utilisation raised by a share of what is left above it, with noise."""
    return lambda value, _: np.minimum(value + (whole - value) * np.clip(rise * rng.lognormal(0.0, 0.2, len(value)), 0.0, 1.0), whole)


def times_as_long(factor: float, rng: Generator) -> Change:
    """A latency several times as long, with noise."""
    return lambda value, _: value * (1 + (factor - 1) * rng.lognormal(0.0, 0.3, len(value)))


def waits(history: Gauges, caller: str, callee: str) -> bool:
    """Whether a caller's time followed its callee's in the past: slope of N (L - median) on the callee's, + 2 standard errors, >= .3.

    A caller that hands work over and goes on shows nothing of it.
    """
    components = history.components()
    if not {caller, callee} <= components.keys():
        return True
    excess = []
    for one in (components[callee], components[caller]):
        counts, latency = history.values[one.requests], history.values[one.mean]
        usual = float(np.median(list(latency.values())))
        excess.append({at: counts.get(at, 0.0) * (value - usual) for at, value in latency.items()})
    both = sorted(excess[0].keys() & excess[1].keys())
    if len(both) < 10:
        return True
    x, y = (np.array([row[at] for at in both]) for row in excess)
    x, y = (np.clip(values, *np.quantile(values, [0.02, 0.98])) for values in (x, y))
    x, y = x - x.mean(), y - y.mean()
    power = float((x * x).sum())
    if power <= 0:
        return True
    slope = float((x * y).sum()) / power
    return slope + 2 * float(np.sqrt(((y - slope * x) ** 2).sum() / (len(both) - 2) / power)) >= FOLLOWS


def handed_on(
    gauges: Gauges, edges: Iterable[tuple[str, str]], service: str, excess: Mapping[float, float]
) -> dict[str, dict[float, float]]:
    """Excess of a component (seconds of waiting, or failed requests) and of all that wait for it, by service and time.

    Conserved: E(caller) += E(callee) * N(caller) / sum of N over those who call it. Args: edges: (caller, callee) where callers wait.
    """
    components = gauges.components()

    def requests(name: str) -> float:
        return sum(gauges.values[components[name].requests].values())

    above: dict[str, set[str]] = defaultdict(set)
    for caller, callee in edges:
        if caller != callee and {caller, callee} <= components.keys():
            above[callee].add(caller)
    found: dict[str, dict[float, float]] = {service: dict(excess)}
    waiting = [(service, dict(excess), frozenset({service}))]
    while waiting:
        callee, own, path = waiting.pop()
        callers = sorted(above[callee] - path)
        volume = sum(requests(caller) for caller in callers)
        for caller in callers:
            share = requests(caller) / volume if volume else 0.0
            passed = {at: value * share for at, value in own.items()}
            row = found.setdefault(caller, {})
            for at, value in passed.items():
                row[at] = row.get(at, 0.0) + value
            if share > 0:
                waiting.append((caller, passed, path | {caller}))
    return found


def excess_changes(gauges: Gauges, excess: Mapping[str, Mapping[float, float]], *, failures: bool) -> dict[Key, Change]:
    """What an excess does to each component's series: latency + E / N (every statistic), or success - E / N."""
    changes: dict[Key, Change] = {}
    for service, one in gauges.components().items():
        if service not in excess:
            continue
        counts = gauges.values[one.requests]
        each = {at: value / counts[at] for at, value in excess[service].items() if counts.get(at, 0.0) > 0}
        if failures and one.success is not None:
            changes[one.success] = _less(each, gauges.whole(one.success))
        elif not failures:
            changes |= dict.fromkeys(one.latencies, _more(each))
    return changes


def _more(each: Mapping[float, float]) -> Change:
    return lambda value, seconds: value + np.array([each.get(at, 0.0) for at in seconds.tolist()])


def _less(each: Mapping[float, float], whole: float) -> Change:
    return lambda value, seconds: np.maximum(value - whole * np.array([each.get(at, 0.0) for at in seconds.tolist()]), 0.0)
