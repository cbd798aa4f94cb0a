"""Points in time as people and programs write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.records import SECOND_NS

#: Digits of now as seconds, milliseconds, microseconds and nanoseconds since 1970, and what one is in ns.
UNITS = ((11, SECOND_NS), (14, 1_000_000), (17, 1_000), (20, 1))
LATEST_NS = 2**63 - 1
#: Years between which the clocks of a time zone are known to the engine; later ones keep the last offset.
ZONE_YEARS = (2000, 2060)


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time, or of a number of s, ms, us or ns since 1970. Without a zone it is UTC.

    >>> parse_time("2026-01-02T03:04:05Z") == parse_time("1767323045") == parse_time("1767323045000") == parse_time("2026-01-02 03:04:05")
    True

    Raises: ValueError that shows the text.
    """
    clean = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", clean):
        whole = clean.partition(".")[0]
        for digits, unit_ns in UNITS:
            if len(whole) < digits:
                time_ns = int(whole) * unit_ns + (round(float("0." + clean.partition(".")[2]) * unit_ns) if "." in clean else 0)
                if time_ns <= LATEST_NS:
                    return time_ns
        raise ValueError(f"not a time: {text!r}")
    fraction = re.search(r"\.(\d+)", clean)
    try:
        moment = datetime.fromisoformat(clean.replace(fraction.group(0), "", 1) if fraction else clean)
    except ValueError:
        raise ValueError(f"not a time (as in 2026-01-02T03:04:05Z): {text!r}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    nanos = int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0
    if not 1970 <= moment.year <= 2261:
        raise ValueError(f"not between 1970 and 2262: {text!r}")
    return int(moment.timestamp()) * SECOND_NS + nanos


@lru_cache(maxsize=8)
def utc_offsets(zone: str) -> tuple[tuple[int, int], ...]:
    """When the clocks of a time zone change, and to what: (from, ns since 1970; offset from UTC, ns), rising; () for UTC.

    >>> moments = [(datetime.fromtimestamp(at // SECOND_NS, UTC), by) for at, by in utc_offsets("Europe/Berlin")]
    >>> [(f"{moment:%d %b %H:%M}", by // 3600 // SECOND_NS) for moment, by in moments[:3]]
    [('01 Jan 00:00', 1), ('26 Mar 01:00', 2), ('29 Oct 01:00', 1)]

    Raises: ValueError if no such zone is known here.
    """
    if zone == "UTC":
        return ()
    try:
        rules = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"must be a time zone that this machine knows, as Europe/Berlin, however: {zone!r}") from None

    def offset(hour: int) -> timedelta:
        return (epoch + timedelta(hours=hour)).astimezone(rules).utcoffset() or timedelta()

    epoch = datetime(ZONE_YEARS[0], 1, 1, tzinfo=UTC)
    hours = (datetime(ZONE_YEARS[1], 1, 1, tzinfo=UTC) - epoch) // timedelta(hours=1)
    found = [(0, offset(0))]
    for day in range(24, hours, 24):
        if offset(day) != found[-1][1]:
            change = next(hour for hour in range(day - 23, day + 1) if offset(hour) != found[-1][1])
            found.append((change, offset(change)))
    first = int(epoch.timestamp())
    return tuple(((first + hour * 3600) * SECOND_NS, int(by.total_seconds()) * SECOND_NS) for hour, by in found)
