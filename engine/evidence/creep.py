"""Leaks: a utilisation that rises from day to day, so slowly that by the hour it is its own usual."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.normal.days import CREEP_LEAST, Days, Subject
from engine.records import F64, Evidence, Family

IDLE_SHARE: Final = 0.1  # added before the logarithm, as in `resource`
LEAST_SCALE: Final = 0.05  # of the logarithm: what a day is off without a reason
LEAST_RISE: Final = 0.1  # of the resource: less in all these days is not worth a word
LEAST_Z: Final = 1.0
STEADY: Final = 0.75  # share of the days that must have risen


def creep_z(days: F64) -> float:
    """Z of a rise from the first to the last of these daily medians that goes on evenly; 0 for fewer than four days.

        y = ln(u + .1);  Z = (y_last - y_first) / sqrt(.05^2 + 2 s^2), s the standard deviation of y about its straight line

    0, too, where less than three days in four rose, or all of it is less than a tenth of the resource. A step lies far from any straight
    line, so it is no leak.

    >>> round(creep_z(np.array([0.30, 0.36, 0.42, 0.48, 0.54])), 1), round(creep_z(np.array([0.3, 0.3, 0.6, 0.6, 0.61])), 1)
    (8.7, 0.0)
    """
    if len(days) < CREEP_LEAST or days[-1] - days[0] < LEAST_RISE or (np.diff(days) > 0).mean() < STEADY:
        return 0.0
    y, x = np.log(days + IDLE_SHARE), np.arange(len(days))
    rest = y - np.polyval(np.polyfit(x, y, 1), x)
    noise = float((rest**2).sum()) / (len(days) - 2)
    return float((y[-1] - y[0]) / np.sqrt(LEAST_SCALE**2 + 2 * noise))


def creep_evidence(days: Days, start_ns: int, end_ns: int) -> list[Evidence]:
    """Evidence in [start, end] of every subject that creeps, with when it will be full at this pace."""
    found = []
    for subject, medians in days.medians().items():
        z = creep_z(medians)
        if z >= LEAST_Z:
            found.append(_piece(subject, medians, z, start_ns, end_ns))
    return sorted(found, key=lambda item: (-item.z, item.service, item.subject))


def _piece(subject: Subject, medians: F64, z: float, start_ns: int, end_ns: int) -> Evidence:
    service, metric, _ = subject
    count, pace = len(medians), float((medians[-1] - medians[0]) / (len(medians) - 1))
    left = (1.0 - float(medians[-1])) / pace
    full = f"; full in {left:.0f} days at this pace" if left >= 1 else "; full within a day at this pace"
    return Evidence(
        family=Family.RESOURCE,
        service=service,
        subject=f"{metric} from day to day",
        start_ns=start_ns,
        end_ns=end_ns,
        z=z,
        observed=float(medians[-1]),
        expected=float(medians[0]),
        n=count,
        unit="1",
        sentence=f"{metric} creeps up by {pace:.1%} a day, from {medians[0]:.0%} to {medians[-1]:.0%} in {count} days{full}.",
    )
