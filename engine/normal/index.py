"""Rows that were normal, searchable: one logical collection, a FAISS sub-index a source and stretch of time, filters by metadata.

A segment is Flat while it is small, IVF-Flat above; past 7 days IVF-SQ8 (a quarter of the memory), past 30 days IVF-SQ4 (an eighth).
TTL drops whole segments. PQ would take a sixteenth, but training it costs 25 s of CPU for 10,000 rows, SQ4 0.04 s.
Distinct rows with counts: a key is stored once a segment. No files here: `to_arrays` and `restore`.
HNSW is wrong for this: recall on outliers .30-.59 measured, and nothing can be removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import faiss
import numpy as np

from engine.normal.features import Dictionary, Source
from engine.normal.model import SIZE, Arrays, array_texts, text_array
from engine.records import F32, HOUR_NS, I32, I64, U64, Bool

faiss.cvar.distance_compute_blas_threshold = 1  # a batch of few queries goes through BLAS, too: 5 times faster at 16 k rows

DAY_NS = 24 * HOUR_NS
SEGMENT_NS = DAY_NS
HOT_NS, WARM_NS, COLD_NS = 7 * DAY_NS, 30 * DAY_NS, 90 * DAY_NS
FLAT_ROWS = 8192  # of a segment; above, IVF
PRESSED_ROWS = 1024  # a smaller segment is not worth it
PROBES = 8  # lists that an IVF search reads
NEIGHBOURS = 10
LIMIT_ROWS = 65536  # a source


class Meta(NamedTuple):
    """What a row is filtered by; codes of the index's dictionaries."""

    key: U64
    service: I32
    environment: I32
    time_ns: I64
    records: I64  # how many it stood for

    def select(self, rows: I64 | Bool) -> Meta:
        """The given rows."""
        return Meta(self.key[rows], self.service[rows], self.environment[rows], self.time_ns[rows], self.records[rows])


@dataclass(slots=True)
class Segment:
    """Rows of one source and stretch of time."""

    source: Source
    start_ns: int
    grade: str  # flat, ivf, sq8, sq4
    index: Any
    meta: Meta

    def search(self, vectors: F32, k: int, allowed: Bool | None) -> tuple[F32, I64]:
        """Squared distances and positions [n, k] of the nearest allowed rows; inf, -1 where there are fewer."""
        selector = None if allowed is None else faiss.IDSelectorBatch(np.flatnonzero(allowed).astype(np.int64))
        exhaustive = self.grade == "flat"
        parameters: Any = faiss.SearchParameters() if exhaustive else faiss.SearchParametersIVF()
        if not exhaustive:
            parameters.nprobe = PROBES
        if selector is not None:
            parameters.sel = selector
        squared, at = self.index.search(vectors, k, params=parameters)
        return np.where(at >= 0, squared, np.float32(np.inf)).astype(np.float32), at


class Index:
    """The collection. `services` and `environments` give the codes of the metadata."""

    def __init__(self, services: Dictionary, environments: Dictionary, *, limit_rows: int = LIMIT_ROWS) -> None:
        self.services, self.environments = services, environments
        self.limit_rows = limit_rows
        self.dropped: Counter[str] = Counter()
        self._segments: list[Segment] = []

    def rows(self, source: Source) -> int:
        """Rows kept of a source."""
        return sum(segment.index.ntotal for segment in self._segments if segment.source == source)

    def grades(self) -> list[tuple[Source, int, str, int]]:
        """Source, start, grade and rows of each segment."""
        return [(segment.source, segment.start_ns, segment.grade, segment.index.ntotal) for segment in self._segments]

    def add(self, source: Source, vectors: F32, meta: Meta) -> None:
        """Keep rows [n, 64] (normalised) under their times; known keys only gain in count. Oldest segments go when over the limit."""
        stretch = meta.time_ns // SEGMENT_NS
        for start in np.unique(stretch).tolist():
            chosen = np.flatnonzero(stretch == start)
            self._put(source, start * SEGMENT_NS, np.ascontiguousarray(vectors[chosen]), meta.select(chosen))
        while self.rows(source) > self.limit_rows and sum(segment.source == source for segment in self._segments) > 1:
            oldest = min((segment for segment in self._segments if segment.source == source), key=lambda segment: segment.start_ns)
            self.dropped["index_full"] += oldest.index.ntotal
            self._segments.remove(oldest)

    def search(
        self,
        source: Source,
        vectors: F32,
        k: int = NEIGHBOURS,
        *,
        services: Sequence[str] | None = None,
        environment: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> tuple[F32, U64]:
        """Distances [n, k] to the nearest rows that pass the filters, and their keys; inf and 0 where there are fewer than k."""
        squared = np.full((len(vectors), k), np.inf, np.float32)
        keys = np.zeros((len(vectors), k), np.uint64)
        for segment in self._segments:
            if segment.source != source or (end_ns is not None and segment.start_ns >= end_ns):
                continue
            allowed = self._allowed(segment.meta, services, environment, start_ns, end_ns)
            found, at = segment.search(np.ascontiguousarray(vectors), k, allowed)
            found_keys = np.where(at >= 0, segment.meta.key[at], np.uint64(0))
            squared, keys = np.concatenate([squared, found], axis=1), np.concatenate([keys, found_keys], axis=1)
            best = np.argsort(squared, axis=1, kind="stable")[:, :k]
            squared, keys = np.take_along_axis(squared, best, axis=1), np.take_along_axis(keys, best, axis=1)
        return np.sqrt(np.maximum(squared, 0)), keys

    def distance(self, source: Source) -> Callable[[F32], F32]:
        """Mean distance to the k nearest rows of a source, as a function of vectors (what a Scorer asks for)."""

        def mean(vectors: F32) -> F32:
            distances, _ = self.search(source, vectors)
            return mean_finite(distances)

        return mean

    def clear(self, source: Source) -> None:
        """Forget a source: its vectors are of another model now."""
        self._segments = [segment for segment in self._segments if segment.source != source]

    def age(self, now_ns: int) -> None:
        """Press old segments (SQ8 past 7 days, SQ4 past 30) and drop those past 90."""
        kept = []
        for segment in self._segments:
            old_ns = now_ns - segment.start_ns - SEGMENT_NS
            if old_ns > COLD_NS:
                self.dropped["index_age"] += segment.index.ntotal
                continue
            if old_ns > WARM_NS and segment.grade != "sq4" and segment.index.ntotal >= PRESSED_ROWS:
                _press(segment, "sq4", f"IVF{_lists(segment.index.ntotal)},SQ4")
            elif old_ns > HOT_NS and segment.grade in ("flat", "ivf") and segment.index.ntotal >= PRESSED_ROWS:
                _press(segment, "sq8", f"IVF{_lists(segment.index.ntotal)},SQ8")
            kept.append(segment)
        self._segments = kept

    def to_arrays(self) -> Arrays:
        """Everything as named arrays (for .npz, no pickle); codes go with their texts."""
        arrays: Arrays = {"services": text_array(self.services.texts[2:]), "environments": text_array(self.environments.texts[2:])}
        for number, segment in enumerate(self._segments):
            name = f"{number}/{segment.source}/{segment.start_ns}/{segment.grade}/"
            arrays[name + "index"] = faiss.serialize_index(segment.index)
            arrays |= {name + field: getattr(segment.meta, field) for field in Meta._fields}
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Replace everything by what `to_arrays` gave. Raises: KeyError naming the array that is missing."""
        service = np.array([0, 1, *map(self.services.code, array_texts(arrays["services"]))], np.int32)
        environment = np.array([0, 1, *map(self.environments.code, array_texts(arrays["environments"]))], np.int32)
        self._segments = []
        for name in [name.removesuffix("index") for name in arrays if name.endswith("/index")]:
            _, source, start_ns, grade, _ = name.split("/")
            meta = Meta(*(arrays[name + field] for field in Meta._fields))
            meta = meta._replace(service=service[meta.service], environment=environment[meta.environment])
            self._segments.append(Segment(Source(source), int(start_ns), grade, faiss.deserialize_index(arrays[name + "index"]), meta))

    def _put(self, source: Source, start_ns: int, vectors: F32, meta: Meta) -> None:
        for segment in self._segments:
            if segment.source == source and segment.start_ns == start_ns:
                break
        else:
            segment = Segment(source, start_ns, "flat", faiss.IndexFlatL2(SIZE), meta.select(np.zeros(0, np.int64)))
            self._segments.append(segment)
            self._segments.sort(key=lambda segment: (segment.source, segment.start_ns))
        known = np.isin(meta.key, segment.meta.key)
        full = segment.index.ntotal + int((~known).sum()) - self.limit_rows
        if full > 0:  # one stretch alone fills the index: what comes last stays out
            self.dropped["index_full"] += full
            keep = np.ones(len(known), bool)
            keep[np.flatnonzero(~known)[-full:]] = False
            vectors, meta, known = vectors[keep], meta.select(keep), known[keep]
        if known.any():
            order = np.argsort(segment.meta.key)
            at = order[np.searchsorted(segment.meta.key, meta.key[known], sorter=order)]
            np.add.at(segment.meta.records, at, meta.records[known])
        segment.index.add(np.ascontiguousarray(vectors[~known]))
        pairs: Any = zip(segment.meta, meta.select(~known), strict=True)
        segment.meta = Meta(*map(np.concatenate, pairs))
        if segment.grade == "flat" and segment.index.ntotal > FLAT_ROWS:
            _press(segment, "ivf", f"IVF{_lists(segment.index.ntotal)},Flat")

    def _allowed(
        self, meta: Meta, services: Sequence[str] | None, environment: str | None, start_ns: int | None, end_ns: int | None
    ) -> Bool | None:
        if services is None and environment is None and start_ns is None and end_ns is None:
            return None
        allowed = np.ones(len(meta.key), bool)
        if services is not None:
            allowed &= np.isin(meta.service, [code for code in map(self.services.find, services) if code is not None])
        if environment is not None:
            allowed &= meta.environment == (-1 if (code := self.environments.find(environment)) is None else code)
        if start_ns is not None:
            allowed &= meta.time_ns >= start_ns
        if end_ns is not None:
            allowed &= meta.time_ns < end_ns
        return allowed


def nearest(reference: F32, queries: F32, k: int = NEIGHBOURS) -> tuple[F32, I64]:
    """Distances and positions [n, k], exact."""
    index = faiss.IndexFlatL2(SIZE)
    index.add(np.ascontiguousarray(reference))
    squared, at = index.search(np.ascontiguousarray(queries), k)
    return np.sqrt(np.where(at >= 0, np.maximum(squared, 0), np.inf)).astype(np.float32), at


def mean_finite(distances: F32) -> F32:
    """Mean [n] of the neighbours there are; 2 (the largest distance of normalised rows) where there is none.

    >>> mean_finite(np.array([[1, 3], [5, np.inf], [np.inf, np.inf]], np.float32)).tolist()
    [2.0, 5.0, 2.0]
    """
    there = np.isfinite(distances)
    total = np.where(there, distances, 0).sum(axis=1)
    mean: F32 = np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), 2.0).astype(np.float32)
    return mean


def _press(segment: Segment, grade: str, factory: str) -> None:
    """Build the segment anew as another kind of index, from its own vectors. FAISS's k-means has a fixed seed."""
    if isinstance(segment.index, faiss.IndexIVF):
        segment.index.make_direct_map()
    vectors = segment.index.reconstruct_n(0, segment.index.ntotal)
    segment.index = faiss.index_factory(SIZE, factory)
    segment.index.train(vectors)
    segment.index.add(vectors)
    segment.grade = grade


def _lists(rows: int) -> int:
    return max(min(int(2 * np.sqrt(rows)), rows // 39), 1)  # 39: rows a list that FAISS's k-means asks for
