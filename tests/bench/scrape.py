"""Reads a running whence's /metrics."""

from __future__ import annotations

import math
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Serving


class Scrape:
    """Samples of one moment."""

    def __init__(self, serving: Serving) -> None:
        with urllib.request.urlopen(f"{serving.web}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples with these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(sample.value for sample in self.samples if sample.name == name and wanted <= sample.labels.items())

    def has(self, name: str) -> bool:
        """Whether there is such a metric."""
        return any(sample.name.startswith(name) for sample in self.samples)

    def dropped(self) -> dict[str, float]:
        """What the engine did not use, by what and reason."""
        found = [sample for sample in self.samples if sample.name == "rca_engine_dropped_total"]
        return {f"{sample.labels['what']} {sample.labels['reason']}": sample.value for sample in found}


def quantile_of(before: Scrape, after: Scrape, name: str, share: float) -> float:
    """Upper bound of the bucket that holds a quantile of what a histogram took in between; NaN if it took nothing."""

    def buckets(scrape: Scrape) -> dict[float, float]:
        found: dict[float, float] = {}
        for sample in scrape.samples:
            if sample.name == f"{name}_bucket":
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0.0) + sample.value
        return found

    old, new = buckets(before), buckets(after)
    count = new.get(math.inf, 0.0) - old.get(math.inf, 0.0)
    if not count:
        return math.nan
    return min(bound for bound in sorted(new) if new[bound] - old.get(bound, 0.0) >= share * count)
