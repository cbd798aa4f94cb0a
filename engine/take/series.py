"""Which rows of the store belong to which series, and what they measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.records import I32, I64, PointType, Resource, series_attributes, series_text
from engine.strings import Resources, Strings
from engine.take.identity import Identity

UNKNOWN, REFUSED = -1, -2  # instead of the first row of a series: never seen; no room


class SeriesKey(NamedTuple):
    """What a row of the store measures. `statistic`: "" (a gauge), rate (per second), mean, p50, ..., p99."""

    service: str  # "": a resource that joined no service
    metric: str
    unit: str  # base unit of what is measured; for a rate, of what is counted, per second
    instance: str  # pod, instance, container or host; "" where the sender named none
    attributes: tuple[tuple[str, str], ...]
    type: PointType
    monotonic: bool
    statistic: str = ""


NOBODY = SeriesKey("", "", "", "", (), PointType.GAUGE, False)  # a row that was given back


def quantile_name(share: float) -> str:
    """Statistic of a quantile.

    >>> quantile_name(0.95), quantile_name(0.999), quantile_name(1.0)
    ('p95', 'p99.9', 'p100')
    """
    return f"p{share * 100:.6g}"


class SeriesRows:
    """Rows of series: neighbours where a series has several statistics. At most `cap`; rows of idle series are given to others."""

    def __init__(self, strings: Strings, resources: Resources, cap: int) -> None:
        self.strings, self.resources, self.cap = strings, resources, cap
        self.identity = Identity(resources)
        self.keys: list[SeriesKey] = []  # by row
        self.revision = 0  # rises when keys change
        self.first: I32 = np.zeros(0, np.int32)  # by series code: first row
        self._series: list[int] = []  # by row: series code; 0: given back
        self._resource: list[int] = []  # by row: resource code
        self._free: dict[int, list[int]] = {}  # number of rows -> first rows that may be taken
        self._of_instance: dict[tuple[object, ...], int] = {}  # what an instance reports, whichever version it runs -> first row
        self._joined = 0  # identity.revision that the keys follow

    def find(self, series: I32) -> I64:
        """First rows of series codes; UNKNOWN or REFUSED where there are none."""
        self._know(int(series.max(initial=0)) + 1)
        return self.first[series].astype(np.int64)

    def span(self, row: int) -> range:
        """All rows of the series whose first row this is."""
        last = row + 1
        while last < len(self.keys) and self._series[last] == self._series[row]:
            last += 1
        return range(row, last)

    def spans(self) -> list[range]:
        """The rows of each series that has any."""
        changes = [row for row, series in enumerate(self._series) if series and (row == 0 or self._series[row - 1] != series)]
        return [self.span(row) for row in changes]

    def begin(self, series: int, resource: int, key: SeriesKey, statistics: Sequence[str]) -> int:
        """Rows for a new series, one a statistic. `key` lacks service, instance and attributes: they come from resource and series.

        An instance that starts again with another version or image goes on in its rows: what a deploy does shows against what was before.
        Returns: the first row; REFUSED if there is no room, or the series has no code.
        """
        self._know(series + 1)
        sender = self.resources[resource]
        attributes = series_attributes(self.strings.text("series", series)) if series else ()
        same = _same_place(sender, key, attributes, statistics)
        if series and same is not None and same in self._of_instance:
            self.first[series] = self._of_instance[same]
            return self._of_instance[same]
        first = self._place(len(statistics)) if series else REFUSED
        self.first[series] = first
        if first == REFUSED:
            return REFUSED
        if same is not None:
            self._of_instance[same] = first
        instance = sender.pod or sender.instance or sender.container or sender.host
        key = key._replace(service=self.identity.service(sender), instance=instance, attributes=attributes)
        for row, statistic in enumerate(statistics, first):
            unit = key.unit
            if statistic == "rate":
                unit = f"{key.unit or '1'}/s" if key.type is PointType.SUM else "1/s"
            self.keys[row] = key._replace(statistic=statistic, unit=unit)
            self._series[row], self._resource[row] = series, resource
        self.revision += 1
        return first

    def give_back(self, idle: I64) -> list[range]:
        """Free the series all of whose rows are among the idle ones; refused series may try again. Returns the rows."""
        asleep = set(idle.tolist())
        freed: list[range] = []
        for first in np.unique(self.first[self.first >= 0]).tolist():
            rows = self.span(first)
            if asleep.issuperset(rows):
                freed.append(rows)
                self.first[self.first == first] = UNKNOWN
                self._free.setdefault(len(rows), []).append(rows.start)
        gone = {rows.start for rows in freed}
        self._of_instance = {same: first for same, first in self._of_instance.items() if first not in gone}
        for rows in freed:
            for row in rows:
                self.keys[row], self._series[row] = NOBODY, 0
        self.first[self.first == REFUSED] = UNKNOWN
        self.revision += 1
        return freed

    def full(self, count: int) -> bool:
        """No room for a series of so many rows."""
        return not self._free.get(count) and len(self.keys) + count > self.cap

    def join(self) -> None:
        """Learn who is who, and name the rows that had no service."""
        self.identity.learn()
        if self._joined == self.identity.revision:
            return
        self._joined = self.identity.revision
        for row, key in enumerate(self.keys):
            if self._series[row] and not self.resources[self._resource[row]].service:
                service = self.identity.service(self.resources[self._resource[row]])
                if service != key.service:
                    self.keys[row] = key._replace(service=service)
                    self.revision += 1

    def state(self) -> dict[str, Any]:
        """Rows with texts instead of codes; the number tells which rows are of one series."""
        rows = [
            [list(self.resources[self._resource[row]]), self._series[row], *key[1:3], [list(pair) for pair in key.attributes], *key[5:]]
            for row, key in enumerate(self.keys)
        ]
        return {"rows": rows, "free": [[count, list(at)] for count, at in self._free.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state, with new dictionaries."""
        self.identity.learn()
        for row, (sender, series, metric, unit, pairs, kind, monotonic, statistic) in enumerate(state["rows"]):
            resource = self.resources.intern(Resource(*sender))
            attributes = tuple((str(name), str(value)) for name, value in pairs)
            code = self.strings.intern("series", series_text(resource, metric, attributes)) if series else 0
            known = self.resources[resource]
            instance = known.pod or known.instance or known.container or known.host
            service = self.identity.service(known)
            self.keys.append(SeriesKey(service, metric, unit, instance, attributes, PointType(kind), bool(monotonic), statistic))
            self._resource.append(resource)
            self._series.append(code)
            self._know(code + 1)
            if code and self.first[code] < 0:
                self.first[code] = row
        self._free = {int(count): list(at) for count, at in state["free"]}
        for rows in self.spans():
            row, key = rows.start, self.keys[rows.start]
            same = _same_place(self.resources[self._resource[row]], key, key.attributes, [self.keys[at].statistic for at in rows])
            if same is not None:
                self._of_instance[same] = row
        self.join()
        self.revision += 1

    def _place(self, count: int) -> int:
        if self._free.get(count):
            return self._free[count].pop()
        first = len(self.keys)
        if first + count > self.cap:
            return REFUSED
        self.keys += [NOBODY] * count
        self._series += [0] * count
        self._resource += [0] * count
        return first

    def _know(self, codes: int) -> None:
        if codes > len(self.first):
            grown = np.full(max(codes, 2 * len(self.first)), UNKNOWN, np.int32)
            grown[: len(self.first)] = self.first
            self.first = grown


def _same_place(
    sender: Resource, key: SeriesKey, attributes: tuple[tuple[str, str], ...], statistics: Sequence[str]
) -> tuple[object, ...] | None:
    """What stays of a series when its instance runs another version; None where the sender names no service or no instance."""
    if not sender.service or not (sender.pod or sender.instance or sender.container):
        return None
    return sender._replace(version="", image=""), key.metric, attributes, key.type, key.monotonic, tuple(statistics)
