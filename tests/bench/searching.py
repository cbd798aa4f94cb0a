"""Lines about the index: IVF against exact search, on rows like those that models make."""

from __future__ import annotations

import time

import numpy as np

from engine.normal.features import Dictionary, Source
from engine.normal.index import NEIGHBOURS, Index, Meta, mean_finite, nearest
from engine.normal.model import SIZE
from engine.records import F32
from tests.bench.table import Line

ROWS, CLUSTERS, QUERIES = 60_000, 600, 2000
RECALL, RECALL_ODD, SCORE_ERROR = 0.95, 0.80, 0.01


def rows(rng: np.random.Generator, centres: F32, count: int, spread: float) -> F32:
    """Normalised rows around centres."""
    found = centres[rng.integers(0, len(centres), count)] + spread * rng.normal(size=(count, SIZE)) / np.sqrt(SIZE)
    unit: F32 = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def search_lines(seed: int = 1) -> list[Line]:
    """Recall at 10 of usual and of odd rows, the error of the mean distance, and the time of a search."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLUSTERS, SIZE)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    held = rows(rng, centres, ROWS, 0.6)
    index = Index(Dictionary(), Dictionary())
    zeros = np.zeros(ROWS, np.int32)
    keys = np.arange(1, ROWS + 1).astype(np.uint64)
    index.add(Source.TRACES, held, Meta(keys, zeros, zeros, np.full(ROWS, 10**18, np.int64), np.ones(ROWS, np.int64)))
    grade = index.grades()[0][2]
    lines = []
    for name, spread, limit in (("usual rows", 0.6, RECALL), ("outliers", 3.0, RECALL_ODD)):
        queries = rows(rng, centres, QUERIES, spread)
        exact, at = nearest(held, queries)
        began = time.process_time()
        found, found_keys = index.search(Source.TRACES, queries)
        micros = 1e6 * (time.process_time() - began) / QUERIES
        recall = float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(keys[at].tolist(), found_keys.tolist(), strict=True)]))
        error = float(np.mean(np.abs(mean_finite(found) - mean_finite(exact)) / mean_finite(exact)))
        good = recall >= limit and error <= SCORE_ERROR
        lines.append(
            Line(
                f"{grade} against flat, {name}",
                f"recall@10 >= {limit}, score error <= 1 %",
                f"recall {recall:.3f}, score error {error:.2%}, {micros:.0f} us a search",
                f"flat over {ROWS:,} rows",
                recall,
                "yes" if good else "no",
                f"{CLUSTERS} clusters in {SIZE} dimensions, spread {spread:g}",
            )
        )
    return lines
