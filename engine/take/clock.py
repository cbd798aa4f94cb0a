"""Event time: one clock a source, and the watermark that says up to when everything has come.

    lead(s)    = clock(s) + max(0, now - heard(s) - grace)     clock: latest event time; now, heard: received time
    reference  = median of lead(s) over sources heard in the last 30 s
    watermark  = min of lead(s) over those of them within 10 minutes of the reference, less the lateness, or
                 the reference, lateness or not, while more items wait than may

A source that falls silent holds the others for `grace` only, one whose clock is wrong by more than 10 minutes never does.
(Akidau et al., The Dataflow Model, VLDB 2015, for watermarks.)
"""

from __future__ import annotations

import statistics

from engine.settings import EngineSettings


class Clocks:
    """Latest event time of every source, by name, and when it was last heard (received time). At most `cap` sources."""

    def __init__(self, settings: EngineSettings, cap: int = 16384) -> None:
        self.settings = settings
        self.cap = cap
        self._clock: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self.watermark_ns: int | None = None

    def hear(self, source: str, latest_ns: int, received_ns: int) -> None:
        """A source sent items up to `latest_ns`. In live mode one that is ahead of received time moves no clock."""
        if self.settings.live and latest_ns > received_ns + self.settings.ahead_ns:
            return
        if source not in self._clock and len(self._clock) >= self.cap:
            oldest = min(self._heard, key=self._heard.__getitem__)
            del self._clock[oldest], self._heard[oldest]
        self._clock[source] = max(latest_ns, self._clock.get(source, latest_ns))
        self._heard[source] = received_ns

    def advance(self, received_ns: int) -> int | None:
        """The watermark at a received time; it never goes back. None before anything was heard."""
        settings = self.settings
        lead = [
            clock + max(0, received_ns - self._heard[source] - settings.lateness_ns)
            for source, clock in self._clock.items()
            if received_ns - self._heard[source] <= settings.source_silent_ns
        ]
        if lead:
            reference = statistics.median(lead)
            earliest = min(value for value in lead if value >= reference - settings.too_late_ns)
            self._raise_to(earliest - settings.lateness_ns)
        return self.watermark_ns

    def idle(self, received_ns: int) -> int | None:
        """The watermark when nothing at all came for a while: time goes on with received time from the latest clock that held."""
        return self._running(received_ns, self.settings.lateness_ns)

    def hurry(self, received_ns: int) -> int | None:
        """The watermark where there is no room to wait for late items and slow sources: as `idle`, and no lateness."""
        return self._running(received_ns, 0)

    def _running(self, received_ns: int, lateness_ns: int) -> int | None:
        if not self._clock:
            return None
        since = max(self._heard.values()) - self.settings.source_silent_ns
        lead = [clock + received_ns - self._heard[source] for source, clock in self._clock.items() if self._heard[source] >= since]
        self._raise_to(int(statistics.median(lead)) - lateness_ns)
        return self.watermark_ns

    def _raise_to(self, time_ns: int) -> None:
        if self.watermark_ns is None or time_ns > self.watermark_ns:
            self.watermark_ns = time_ns
