"""Event time: one clock a source, and the watermark that says up to when everything has come.

    lead(s)    = clock(s) + max(0, now - heard(s) - grace)     clock: latest event time; now, heard: received time
    reference  = median of lead(s) over sources heard in the last 30 s
    watermark  = min of lead(s) over those of them within 10 minutes of the reference, less the lateness, or
                 the reference, lateness or not, while more items wait than may

A source is a service, a host without one, or an instance without either. One that falls silent holds the others for `grace` only, one
whose clock is wrong by more than 10 minutes never does. (Akidau et al., The Dataflow Model, VLDB 2015, for watermarks.)
"""

from __future__ import annotations

import numpy as np

from engine.records import I64
from engine.settings import EngineSettings
from engine.strings import Resources

NEVER = np.iinfo(np.int64).min


class Clocks:
    """Latest event time of every source and when it was last heard (received time). As many as there are resources at most."""

    def __init__(self, resources: Resources, settings: EngineSettings) -> None:
        self.resources = resources
        self.settings = settings
        self._sources: dict[str, int] = {}  # place of a source by name
        self._place = np.zeros(0, np.int64)  # of a resource's source, by code
        self._clock = np.zeros(0, np.int64)
        self._heard = np.zeros(0, np.int64)
        self.watermark_ns: int | None = None

    def hear(self, codes: I64, latest_ns: I64, received_ns: int) -> None:
        """Resources (codes int64 [n]) sent items up to `latest_ns` int64 [n]. Live, what is ahead of received time moves no clock."""
        if self.settings.live:
            right = latest_ns <= received_ns + self.settings.ahead_ns
            codes, latest_ns = codes[right], latest_ns[right]
        if not len(codes):
            return
        if len(self._place) < len(self.resources):
            self._grow()
        places = self._place[codes]
        np.maximum.at(self._clock, places, latest_ns)
        self._heard[places] = received_ns

    def advance(self, received_ns: int) -> int | None:
        """The watermark at a received time; it never goes back. None before anything was heard."""
        settings = self.settings
        since = received_ns - self._heard
        lately = (since <= settings.source_silent_ns) & (self._clock != NEVER)
        lead = self._clock[lately] + np.maximum(0, since[lately] - settings.lateness_ns)
        if len(lead):
            held = lead[lead >= _median(lead) - settings.too_late_ns]
            self._raise_to(int(held.min()) - settings.lateness_ns)
        return self.watermark_ns

    def idle(self, received_ns: int) -> int | None:
        """The watermark when nothing at all came for a while: time goes on with received time from the latest clock that held."""
        return self._running(received_ns, self.settings.lateness_ns)

    def hurry(self, received_ns: int) -> int | None:
        """The watermark where there is no room to wait for late items and slow sources: as `idle`, without the lateness."""
        return self._running(received_ns, 0)

    def _running(self, received_ns: int, lateness_ns: int) -> int | None:
        known = self._clock != NEVER
        if not known.any():
            return None
        heard = self._heard[known]
        last = heard >= heard.max() - self.settings.source_silent_ns
        self._raise_to(_median(self._clock[known][last] + received_ns - heard[last]) - lateness_ns)
        return self.watermark_ns

    def _raise_to(self, time_ns: int) -> None:
        if self.watermark_ns is None or time_ns > self.watermark_ns:
            self.watermark_ns = time_ns

    def _grow(self) -> None:
        """Places for resources that are new."""
        names = (self.resources[code] for code in range(len(self._place), len(self.resources)))
        places = [self._sources.setdefault(one.service or one.host or one.instance, len(self._sources)) for one in names]
        self._place = np.concatenate((self._place, np.array(places, np.int64)))
        more = len(self._sources) - len(self._clock)
        self._clock = np.concatenate((self._clock, np.full(more, NEVER)))
        self._heard = np.concatenate((self._heard, np.zeros(more, np.int64)))


def _median(times_ns: I64) -> int:
    """Median of times; as floats they would be rounded by 256 ns."""
    first = int(times_ns[0])
    return first + int(np.median(times_ns - first))
