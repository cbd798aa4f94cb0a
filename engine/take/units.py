"""Units of metrics to base units: seconds, bytes, ratios, per second."""

from __future__ import annotations

import re
from functools import lru_cache

#: Unit as written -> base unit, factor. UCUM (OTel semantic conventions), and the words that Prometheus exporters write instead.
BASE: dict[str, tuple[str, float]] = {
    "d": ("s", 86400.0),
    "h": ("s", 3600.0),
    "min": ("s", 60.0),
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "μs": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ns": ("s", 1e-9),
    "seconds": ("s", 1.0),
    "milliseconds": ("s", 1e-3),
    "microseconds": ("s", 1e-6),
    "nanoseconds": ("s", 1e-9),
    "By": ("By", 1.0),
    "kBy": ("By", 1e3),
    "MBy": ("By", 1e6),
    "GBy": ("By", 1e9),
    "KiBy": ("By", 2.0**10),
    "MiBy": ("By", 2.0**20),
    "GiBy": ("By", 2.0**30),
    "TiBy": ("By", 2.0**40),
    "bytes": ("By", 1.0),
    "bit": ("By", 0.125),
    "%": ("1", 0.01),
    "percent": ("1", 0.01),
    "1": ("1", 1.0),
    "ratio": ("1", 1.0),
    "Hz": ("1/s", 1.0),
}
#: Last words of metric names that are units: Prometheus' naming has them there, and its text format has no place for a unit of its own.
SUFFIXES = frozenset({"seconds", "milliseconds", "ms", "microseconds", "us", "nanoseconds", "ns", "bytes", "ratio", "percent"})
OF_COUNTERS = frozenset({"total", "sum"})  # stand behind the unit


@lru_cache(maxsize=65536)
def unit_of(metric: str, unit: str) -> tuple[str, float]:
    """Base unit and factor of a metric: by its unit, or by the end of its name where it has none.

    >>> unit_of("http_request_duration_p99", "ms"), unit_of("process_cpu_seconds_total", ""), unit_of("cpu_usage_percent", "")
    (('s', 0.001), ('s', 1.0), ('1', 0.01))
    """
    if not unit:
        last, before = (["", "", *re.split(r"[._]", metric.lower())])[:-3:-1]
        word = before if last in OF_COUNTERS else last
        if word in SUFFIXES:
            return base_unit(word)
    return base_unit(unit)


@lru_cache(maxsize=4096)
def base_unit(unit: str) -> tuple[str, float]:
    """Base unit and the factor that values are multiplied by. Unknown units, and annotations like {request}, stay as they are.

    >>> base_unit("ms"), base_unit("%"), base_unit("MiBy/s"), base_unit("1/min")[0], base_unit("m{cpu}"), base_unit("{request}")
    (('s', 0.001), ('1', 0.01), ('By/s', 1048576.0), '1/s', ('{cpu}', 0.001), ('{request}', 1.0))
    """
    above, slash, below = unit.partition("/")
    if slash and below:
        top, factor = base_unit(above)
        bottom, divisor = base_unit(below)
        return f"{top}/{bottom}", factor / divisor
    if unit in BASE:
        return BASE[unit]
    if len(unit) > 3 and unit[0] in "mkM" and unit[1] == "{":  # m{cpu}: thousandths of what is counted
        return unit[1:], {"m": 1e-3, "k": 1e3, "M": 1e6}[unit[0]]
    return unit, 1.0
