"""Exponential histograms written out as explicit ones, so that everything behind the decoder knows one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BUCKETS_CAP = 160  # a sign, the default of the SDKs; more are merged in pairs, as the data model does when a scale goes down
SCALE_RANGE = (-11, 32)  # base 2^(2^11) covers float64 in one bucket; SDKs go up to 20


def explicit(
    scale: int, zero_count: int, zero_threshold: float, positive: tuple[int, Sequence[int]], negative: tuple[int, Sequence[int]]
) -> tuple[list[float], list[float]]:
    """Bounds and counts (one more than bounds) of an exponential histogram; `positive` and `negative` are offset and counts.

        bucket i of the positive range is (base^i, base^(i + 1)], base = 2^(2^-scale)

    Raises: ValueError where scale is outside -11 ... 32 or a bound leaves float64.
    Source: OpenTelemetry metrics data model, ExponentialHistogram.

    >>> explicit(0, 2, 0.0, (0, [3, 4]), (0, []))
    ([0.0, 1.0, 2.0, 4.0], [2.0, 0.0, 3.0, 4.0, 0.0])
    >>> explicit(0, 0, 0.0, (0, []), (1, [5]))
    ([-4.0, -2.0, 0.0], [0.0, 5.0, 0.0, 0.0])
    """
    if not SCALE_RANGE[0] <= scale <= SCALE_RANGE[1]:
        raise ValueError(f"scale must be in -11 ... 32, however: {scale=}")
    widest = max(span_at_cap(*positive), span_at_cap(*negative))
    up_start, up = merged(*positive, widest)
    down_start, down = merged(*negative, widest)
    scale -= widest
    bounds = [-bound for bound in reversed(edges(down_start, len(down), scale))] if down else []
    counts = [0.0, *(float(count) for count in reversed(down))] if down else []
    zero = max(0.0, zero_threshold)
    above = edges(up_start, len(up), scale) if up else []
    # the zero bucket reaches from the last negative to the first positive bound; 0 or the threshold bounds it where a sign has no bucket
    if not bounds:
        bounds, counts = ([-zero] if zero else [0.0]), [float(zero_count) if not zero else 0.0]
        if zero:
            bounds.append(zero)
            counts.append(float(zero_count))
        top = bounds[-1]
    else:
        top = zero
        bounds.append(zero)
        counts.append(float(zero_count))
    if above:
        above = [bound for bound in above if bound > top] if above[0] <= top else above
        skipped = len(up) + 1 - len(above)
        if not above:
            raise ValueError(f"the zero threshold is above every bucket, however: {zero_threshold=}")
        if skipped == 0:
            bounds += above
            counts += [0.0, *(float(count) for count in up)]
        else:  # buckets below the zero threshold stay with the first one above it
            bounds += above
            counts += [float(sum(up[:skipped])), *(float(count) for count in up[skipped:])]
    counts.append(0.0)
    if any(left >= right for left, right in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
        raise ValueError(f"bounds leave float64, however: {scale=}")
    return bounds, counts


def span_at_cap(offset: int, counts: Sequence[int]) -> int:
    """How many times pairs must be merged until the buckets are within the cap."""
    steps = 0
    while ((offset + len(counts) - 1) >> steps) - (offset >> steps) + 1 > BUCKETS_CAP:
        steps += 1
    return steps


def merged(offset: int, counts: Sequence[int], steps: int) -> tuple[int, list[int]]:
    """Offset and counts after `steps` mergings of pairs.

    >>> merged(1, [1, 2, 3], 1)
    (0, [1, 5])
    """
    if not counts or not steps:
        return offset, list(counts)
    start = offset >> steps
    out = [0] * (((offset + len(counts) - 1) >> steps) - start + 1)
    for at, count in enumerate(counts):
        out[((offset + at) >> steps) - start] += count
    return start, out


def edges(start: int, buckets: int, scale: int) -> list[float]:
    """The `buckets` + 1 bounds from bucket `start` on. Raises ValueError past float64."""
    step = 2.0**-scale
    if start * step < -1074 or (start + buckets) * step >= 1024:
        raise ValueError(f"bounds leave float64, however: {start=} {buckets=} {scale=}")
    return [2.0 ** (at * step) for at in range(start, start + buckets + 1)]
