"""What happens on a day on which nothing is wrong: the load of the hours, deploys, restarts, more instances for a while, a nightly job."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from engine.records import HOUR_NS, I32, I64, MINUTE_NS, U64, ChangeType, ConfigChange, Param
from engine.strings import Resources

#: Load at the busiest hour and at the quietest, times the mean.
SWING = 0.5
BUSIEST_HOUR = 15
DEPLOYS, SETTINGS, RESTARTS, SCALED = 8, 4, 8, 2  # a day
INSTANCES = 3  # of what is scaled out
SCALED_NS = 3 * HOUR_NS
JOB_FROM_NS, JOB_NS, JOB_TIMES = 2 * HOUR_NS, 25 * MINUTE_NS, 3.0  # a nightly job: for a while so many times the usual traffic of one kind
CALM_NS = HOUR_NS  # at the start, nothing


@dataclass(slots=True)
class Fleet:
    """Which resources stand for a service's first one, since when."""

    resources: Resources
    since: dict[int, list[tuple[int, tuple[int, ...]]]] = field(default_factory=dict)  # first resource -> (ns, instances), in time order

    def now(self, code: int) -> tuple[int, ...]:
        """The instances that a service has after all that was told so far."""
        return self.since[code][-1][1] if code in self.since else (code,)

    def replaced(self, code: int, time_ns: int, names: Sequence[str], version: str = "") -> None:
        """From `time_ns` on the service runs as these instances, of another version where one is told."""
        first = self.resources[self.now(code)[0]]
        run = [first._replace(instance=name, pod=name if first.pod else "", version=version or first.version) for name in names]
        self.since.setdefault(code, []).append((time_ns, tuple(map(self.resources.intern, run))))

    def restored(self, code: int, time_ns: int) -> None:
        """From `time_ns` on only the first of the instances runs."""
        self.since.setdefault(code, []).append((time_ns, self.now(code)[:1]))

    def of(self, column: I32, time_ns: I64, lot: U64) -> I32:
        """The resource of each row; where several instances run, `lot` (of its trace) says which."""
        found = column.copy()
        for code, periods in self.since.items():
            rows = np.flatnonzero(column == code)
            at = np.searchsorted([since_ns for since_ns, _ in periods], time_ns[rows], side="right") - 1
            for number, (_, instances) in enumerate(periods):
                own = rows[at == number]
                found[own] = np.asarray(instances, np.int32)[(lot[own] % np.uint64(len(instances))).astype(np.int64)]
        return found

    def instances(self, code: int, time_ns: int) -> tuple[int, ...]:
        """Those that run at a time."""
        past = [run for since_ns, run in self.since.get(code, ()) if since_ns <= time_ns]
        return past[-1] if past else (code,)


@dataclass(frozen=True, slots=True)
class Routine:
    """A day's routine."""

    fleet: Fleet
    changes: tuple[ConfigChange, ...]
    start_ns: int
    what: dict[str, int]  # how often each kind of thing happens

    def load(self, time_ns: int) -> float:
        """Requests at a time, times the mean: a sine of the hour of the day."""
        return 1 + SWING * math.cos((time_ns / HOUR_NS - BUSIEST_HOUR) * math.tau / 24)

    def job(self, time_ns: int) -> float:
        """How many times the usual traffic of its kind the nightly job adds."""
        since = (time_ns - self.start_ns - JOB_FROM_NS) % (24 * HOUR_NS)
        return JOB_TIMES if since < JOB_NS else 0.0


def routine(codes: Sequence[int], resources: Resources, start_ns: int, hours: float, rng: Generator) -> Routine:
    """A random day of the services with these first resources. None of it does any harm. Half of the deploys are announced."""
    fleet, changes = Fleet(resources), []
    end_ns = start_ns + round(hours * HOUR_NS)
    days = hours / 24

    def times(count: int) -> list[int]:
        return sorted(rng.integers(start_ns + CALM_NS, end_ns, round(count * days)).tolist())

    events = [(time, "deploy") for time in times(DEPLOYS)] + [(time, "restart") for time in times(RESTARTS)]
    events += [(time, "scaled out") for time in times(SCALED)] + [(time, "setting") for time in times(SETTINGS)]
    busy_until = dict.fromkeys(codes, 0)
    happened: Counter[str] = Counter()
    while events:
        events.sort()
        time_ns, what = events.pop(0)
        idle = [code for code in codes if busy_until[code] <= time_ns]
        if not idle:
            continue
        code = idle[int(rng.integers(len(idle)))]
        happened[what] += 1
        number = sum(happened.values())
        service = resources[code].service
        if what == "setting":
            summary = "read timeout from 5 s to 6 s"
            params = (Param("timeout", "5", "6"),)
            changes.append(ConfigChange(f"setting-{number}", time_ns, ChangeType.CONFIG, service, params=params, summary=summary))
            continue
        names = [f"{service.rpartition('/')[2]}-{rng.bytes(4).hex()}" for _ in range(INSTANCES)]
        if what == "scaled out":
            now = resources[fleet.now(code)[0]].instance
            fleet.replaced(code, time_ns, [now, *names[1:]] if now else names)
            fleet.restored(code, time_ns + SCALED_NS)
            busy_until[code] = time_ns + SCALED_NS
            continue
        version = f"1.{number}.0" if what == "deploy" else ""
        fleet.replaced(code, time_ns, names[:1], version)
        if what == "deploy" and rng.random() < 0.5:
            summary = f"deployed {service} {version}"
            changes.append(ConfigChange(f"deploy-{number}", time_ns, ChangeType.DEPLOYMENT, service, version=version, summary=summary))
    jobs = sum(start_ns + JOB_FROM_NS + day * 24 * HOUR_NS < end_ns for day in range(math.ceil(days)))
    return Routine(fleet, tuple(changes), start_ns, {**happened, "nightly job": jobs})
