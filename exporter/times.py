"""Points in time as people and programs write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from engine.records import SECOND_NS

#: Digits of now as seconds, milliseconds, microseconds and nanoseconds since 1970, and what one is in ns.
UNITS = ((11, SECOND_NS), (14, 1_000_000), (17, 1_000), (20, 1))
LATEST_NS = 2**63 - 1


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
