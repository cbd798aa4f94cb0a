"""Who sent a row, as codes that all four sources share."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.normal.features import Dictionary, Translation
from engine.records import I32
from engine.strings import Resources
from engine.take.identity import Identity

HOST_BUCKETS = 32


class Senders:
    """Services and environments of resources. A nameless resource joins the service seen with its pod, container or host."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.services, self.environments = Dictionary(4096), Dictionary(256)
        self.zones, self.hosts = Dictionary(1024), Dictionary(HOST_BUCKETS + 2)
        self._identity = Identity(resources)
        self._revision = 0
        self._service = self._new_service()
        self.environment = Translation(self.environments, lambda code: resources[code].environment)
        self.zone = Translation(self.zones, lambda code: resources[code].zone)
        self.host = Translation(self.hosts, lambda code: bucket(resources[code].host or resources[code].instance))

    def service(self, resource: npt.NDArray[Any]) -> I32:
        """Service codes [n] of resource codes, 0 for one that joins nothing."""
        self._identity.learn()
        if self._identity.revision != self._revision:
            self._revision = self._identity.revision
            self._service = self._new_service()
        return self._service(resource)

    def _new_service(self) -> Translation:
        return Translation(self.services, lambda code: self._identity.service(self.resources[code]))


def bucket(text: str) -> str:
    """One of 32 names for hosts: hosts come and go, and an unbounded category would make every new one novel.

    >>> bucket("node-17")
    'bucket 27'
    """
    return f"bucket {zlib.crc32(text.encode()) % HOST_BUCKETS}" if text else ""


def hours(time_ns: npt.NDArray[np.int64], first_ns: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Hour of day (UTC, 0 ... 23) once 3 days were seen, day of week (Monday 0) once 3 weeks were; NaN before.

    Earlier, every afternoon and every Tuesday would be novel.
    """
    hour = time_ns // 3_600_000_000_000
    day = hour // 24
    seen_days = (time_ns - first_ns) / 86_400e9
    of_day = np.where(seen_days >= 3, hour % 24, np.nan)
    of_week = np.where(seen_days >= 21, (day + 3) % 7, np.nan)
    return of_day, of_week
