"""Slow obvious versions of what the engine does in columns, to compare with. The usual way as a whole, as a server: tests.naive_path."""

from __future__ import annotations

import math
from collections.abc import Sequence


def naive_share_z(share: float, trials: float, usual: float, spread: float, weight: float) -> float:
    """engine.normal.baseline.share_z for one outcome."""
    p = min(0.999, max(usual, 0.01 + 2.5 / (weight + 20)))
    if share <= p:
        return 0.0
    nats = share * math.log(share / p) + (0.0 if share >= 1 else (1 - share) * math.log((1 - share) / (1 - p)))
    return math.sqrt(2 * nats * p * (1 - p) / (p * (1 - p) / trials + spread**2 + 0.02**2))


def naive_spread(blocks: Sequence[tuple[float, float]]) -> float:
    """Spread between blocks of (hits, chances), with .1^2 / blocks."""
    weights = [min(chances, 30.0) for _, chances in blocks]
    shares = [hits / chances for hits, chances in blocks]
    total = sum(weights)
    mean = sum(w * p for w, p in zip(weights, shares, strict=True)) / total
    variance = sum(w * (p - mean) ** 2 for w, p in zip(weights, shares, strict=True)) / total
    return math.sqrt(max(0.0, variance - mean * (1 - mean) * len(blocks) / total) + 0.1**2 / len(blocks))


def naive_usual(blocks: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Share, spread and weight of one outcome from its blocks of (hits, chances), oldest first: engine.normal.baseline.Shares."""

    def weight(some: Sequence[tuple[float, float]]) -> float:
        return sum(min(chances, 30.0) for _, chances in some)

    def share(some: Sequence[tuple[float, float]]) -> float:
        return (sum(min(chances, 30.0) * hits / chances for hits, chances in some) + 0.25) / (weight(some) + 0.5)

    accepted: list[tuple[float, float]] = []
    waiting: list[tuple[float, float]] = []
    for hits, chances in blocks:
        known = weight(accepted)
        spread = naive_spread(accepted) if len(accepted) > 2 else 0.1
        if known >= 2 and naive_share_z(hits / chances, chances, share(accepted), spread, known) > 3:
            waiting.append((hits, chances))
            if weight(waiting) > 5 * known:
                accepted, waiting = waiting, []
        else:
            accepted.append((hits, chances))
    return share(accepted), naive_spread(accepted), weight(accepted)


def naive_weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value at which half of the weight is reached."""
    reached, half = 0.0, sum(weights) / 2
    for value, weight in sorted(zip(values, weights, strict=True)):
        reached += weight
        if reached >= half:
            return value
    raise ValueError("no weight")


def naive_shift(blocks: Sequence[Sequence[float]], window: Sequence[float]) -> tuple[float, float]:
    """Shift and variance of one key from the observations of its blocks: engine.normal.levels.Levels.shift."""

    def mean(some: Sequence[float]) -> float:
        return sum(some) / len(some)

    def squares(some: Sequence[float]) -> float:
        return sum((value - mean(some)) ** 2 for value in some)

    good = list(blocks)
    if len(blocks) >= 4:
        weights = [min(len(block), 10.0) for block in blocks]
        middle = naive_weighted_median([mean(block) for block in blocks], weights)
        mad = 1.4826 * naive_weighted_median([abs(mean(block) - middle) for block in blocks], weights)
        good = [block for block in blocks if mean(block) - middle <= 4 * math.sqrt(mad**2 + 0.35**2)]
    weights = [min(len(block), 10.0) for block in good]
    usual = sum(w * mean(block) for w, block in zip(weights, good, strict=True)) / sum(weights)
    total, count = sum(len(block) for block in good), len(good)
    within = (sum(squares(block) for block in good) + 4 * 0.3**2) / (total - count + 4)
    within = max(within, (2 * within + squares(window)) / (2 + len(window) - 1))
    between = sum(w * (mean(block) - usual) ** 2 for w, block in zip(weights, good, strict=True)) / sum(weights) - within * count / total
    between = (max(0.0, between) * count + 2 * 0.4**2) / (count + 2)
    floor = 0.15**2 + (0.35**2 - 0.15**2) * 5 / (5 + count)
    return mean(window) - usual, floor + between * (1 + 1 / count) + within / len(window) + within / total


def naive_self_time(spans: Sequence[tuple[int, int, int]]) -> list[int]:
    """Of each span (start, end, parent row or -1): how many nanoseconds no child covers."""
    result = []
    for row, (start, end, _) in enumerate(spans):
        covered: set[int] = set()
        for begin, stop, parent in spans:
            if parent == row:
                covered |= set(range(max(begin, start), min(stop, end)))
        result.append(end - start - len(covered))
    return result


def naive_bucket_quantile(counts: Sequence[float], bounds: Sequence[float], share: float) -> float:
    """Prometheus' histogram_quantile, by walking up the buckets; NaN for an empty histogram."""
    total = sum(counts)
    if total <= 0:
        return math.nan
    before = 0.0
    for number, (inside, high) in enumerate(zip(counts, bounds, strict=False)):
        if before + inside >= share * total:
            low = bounds[number - 1] if number else min(0.0, high)
            return low + (high - low) * (share * total - before) / inside if inside > 0 else high
        before += inside
    return bounds[-1]


class NaiveHistogram:
    """One series of histograms, point by point: what was observed, in how many seconds, and the counts (None: not comparable)."""

    def __init__(self) -> None:
        self.last: tuple[int, int, float, list[float], list[float]] | None = None

    def take(
        self, time_ns: int, start_ns: int, observations: float, counts: list[float], bounds: list[float], *, cumulative: bool
    ) -> tuple[float, float, list[float] | None] | None:
        """Take the next point; None: nothing can be said."""
        last = self.last
        if cumulative and last is not None and time_ns <= last[0]:
            return None
        if last is None or time_ns > last[0]:
            self.last = time_ns, start_ns, observations, counts, bounds
        since, usable = start_ns, counts
        if not cumulative and start_ns == 0:
            since = last[0] if last else 0
        elif cumulative and last is None:
            since = 0
        elif cumulative and last is not None:
            since = last[0]
            if observations < last[2] or (start_ns > last[1] and start_ns >= last[0]):
                since = max(start_ns, last[0])
            elif (len(counts), bounds[0], bounds[-1]) != (len(last[3]), last[4][0], last[4][-1]):
                observations, usable = observations - last[2], None
            else:
                observations = observations - last[2]
                usable = [max(now - before, 0.0) for now, before in zip(counts, last[3], strict=True)]
        seconds = (time_ns - since) / 1e9
        return (observations, seconds, usable) if since > 0 and seconds > 0 else None
