# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=False
"""OTLP/protobuf to columns in one pass over the wire, with the GIL released; the same Batch as exporter.decode.protobuf.

The pass is C (walk/*.h). What it finds in bytes that it saw before, it knows; the rest it asks exporter.decode.resolve about, after
the pass. What it knows is kept beyond the request, up to a number of entries and bytes; then it starts anew, and is counted.
"""

import os
import threading
from collections import deque

import numpy as np

from engine.records import Batch, LinkColumns, LogColumns, PointColumns, SpanColumns
from exporter.decode.columns import SEVERITY_TEXTS as TEXTS_OF_SEVERITY
from exporter.decode.drops import Drop
from exporter.decode.fold import SOURCE_SUFFIXES
from exporter.decode.resolve import Resolver
from exporter.decode import keys as attribute_keys
from exporter.decode.values import BODY_KEYS

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset, strlen

cdef extern from "walk/spans.h" nogil:
    pass

cdef extern from "walk/logs.h" nogil:
    pass

cdef extern from "walk/points.h" nogil:
    enum: KEYS, GROUPS, FIELDS, MESSAGES, TABLES, KEY_LONGEST, SEVERITY_TEXTS
    enum: M_TRACES, M_LOGS, M_METRICS, M_NAMED
    enum: FINE, MALFORMED, BAD_ID, OUT_OF_RANGE, NO_MEMORY
    enum: T_RESOURCES, T_OPERATIONS, T_CALLEES, T_ERROR_TYPES, T_STATES, T_PLACES, T_TEMPLATES, T_PEERS, T_EXCEPTIONS, T_SEVERITIES, T_EVENTS
    enum: T_METRICS, T_UNITS, T_SERIES
    enum: DIGIT, HEX, LETTER
    ctypedef struct Piece:
        const uint8_t *at
        size_t size
    ctypedef struct Field:
        uint8_t how, message
    ctypedef struct Keys:
        uint8_t bytes[64][64]
        uint8_t sizes[64]
        uint8_t slots[256]
        uint64_t groups[8]
        uint64_t urls, lengths
        uint32_t multiplier
        int count
    ctypedef struct Entry:
        uint64_t word
        size_t at
        uint32_t size
        int32_t values[4]
    ctypedef struct Table:
        Entry *entries
        uint8_t *bytes
        size_t used
        int32_t count, resolved
    ctypedef struct Rows:
        uint8_t *rows
        size_t count
    ctypedef struct Walk:
        Table tables[14]
        Rows blocks, spans, links, logs, events, points, counts, bound_values
        Table bounds
        int64_t dropped[4]
        int error
    ctypedef struct SpanOut:
        int64_t *time_ns
        int64_t *start_ns
        uint64_t *trace_hi
        uint64_t *trace_lo
        uint64_t *span
        uint64_t *parent
        int32_t *resource
        int32_t *operation
        int32_t *peer
        int32_t *error_type
        int32_t *message
        int32_t *statement
        float *weight
        uint8_t *kind
        uint8_t *status
        uint8_t *peer_kind
    ctypedef struct LogRow:
        int32_t resource, event
    ctypedef struct EventRow:
        Piece record
        size_t row
    ctypedef struct LogOut:
        int64_t *time_ns
        uint64_t *trace_hi
        uint64_t *trace_lo
        uint64_t *span
        int32_t *resource
        int32_t *template
        int32_t *exception
        int32_t *event_name
        int32_t *peer
        int32_t *statement
        uint8_t *severity
    ctypedef struct PointOut:
        int64_t *time_ns
        int64_t *start_ns
        uint64_t *count
        double *value
        double *sum
        int32_t *resource
        int32_t *series
        int32_t *metric
        int32_t *unit
        int32_t *bounds
        uint8_t *type
        uint8_t *temporality
        uint8_t *flags
    ctypedef struct SeverityText:
        uint8_t text[16]
        uint8_t size
        uint8_t number
    SeverityText severity_texts[64]
    SeverityText body_keys[8]
    int severity_text_count
    int body_key_count
    Field schema[64][32]
    Keys span_keys, log_keys
    uint64_t hash_seed[2]
    uint8_t char_class[256]
    char source_suffixes[64][8]
    int source_suffix_count
    uint32_t key_hash(const Keys *keys, const uint8_t *p, size_t size)
    int find_blocks(Walk *w, Piece request, int message)
    int walk_traces(Walk *w)
    int walk_logs(Walk *w)
    int walk_metrics(Walk *w)
    void write_spans(const Walk *w, SpanOut out)
    void write_logs(const Walk *w, LogOut out)
    void write_points(const Walk *w, PointOut out, int64_t *counts_at, double *counts)
    void write_links(const Walk *w, int64_t *rows, uint64_t *trace_hi, uint64_t *trace_lo, uint64_t *span)
    void finish(Walk *w)
    void clear_tables(Walk *w)


# ------------------------------------------------------------ what the C side knows of the world, filled once


cdef int fill_schema() except -1:
    """Fields of every message, from the descriptors of the installed opentelemetry-proto."""
    kinds = {5: 1, 3: 1, 13: 1, 4: 1, 17: 1, 18: 1, 8: 1, 14: 1, 7: 2, 15: 2, 2: 2, 6: 3, 16: 3, 1: 3, 12: 4, 9: 5, 11: 6}
    repeated = {1: 7, 2: 8, 3: 9}
    named = attribute_keys.messages()
    if len(named) != M_NAMED:
        raise ImportError(f"{len(named)} messages are named, however: {M_NAMED} are known")
    numbers = {descriptor.full_name: number for number, descriptor in enumerate(named)}
    waiting = deque(named)
    while waiting:
        descriptor = waiting.popleft()
        for field in descriptor.fields:
            if field.number >= FIELDS or field.type not in kinds:
                raise ImportError(f"{field.full_name} is of a kind that this build does not know")
            how = kinds[field.type]
            if (field.is_repeated if hasattr(field, "is_repeated") else field.label == 3) and how in repeated:
                how = repeated[how]
            number = 0
            if field.message_type is not None:
                name = field.message_type.full_name
                if name not in numbers:
                    if len(numbers) >= MESSAGES:
                        raise ImportError("more messages than this build knows")
                    numbers[name] = len(numbers)
                    waiting.append(field.message_type)
                number = numbers[name]
            schema[numbers[descriptor.full_name]][field.number] = Field(how, number)
    return 0


cdef int fill_keys(Keys *keys, groups) except -1:
    """Attribute keys by group, with a multiplier that hashes each to a place of its own."""
    memset(keys, 0, sizeof(Keys))
    names = [name.encode() for group in groups for name in group]
    if len(names) > KEYS or len(groups) > GROUPS or any(not 4 <= len(name) <= KEY_LONGEST for name in names):
        raise ImportError("more or longer attribute keys than this build knows")
    cdef int number = 0, at
    cdef bytes raw
    for at, group in enumerate(groups):
        for name in group:
            raw = name.encode()
            memcpy(keys.bytes[number], <const char *>raw, len(raw))
            keys.sizes[number] = len(raw)
            keys.lengths |= <uint64_t>1 << len(raw)
            keys.groups[at] |= <uint64_t>1 << number
            if name in attribute_keys.URLS:
                keys.urls |= <uint64_t>1 << number
            number += 1
    keys.count = number
    for attempt in range(1, 1 << 20):
        keys.multiplier = (attempt * 2654435761) & 0xFFFFFFFF | 1
        memset(keys.slots, 0, 256)
        for number in range(keys.count):
            at = key_hash(keys, keys.bytes[number], keys.sizes[number])
            if keys.slots[at]:
                break
            keys.slots[at] = number + 1
        else:
            return 0
    raise ImportError("no place of its own for every attribute key")


cdef int fill_texts(SeverityText *texts, int room, numbers) except -1:
    """Short texts and a number of each."""
    cdef int at
    cdef bytes raw
    if len(numbers) > room or any(len(text) > 15 for text in numbers):
        raise ImportError("more or longer texts than this build knows")
    for at, (text, number) in enumerate(numbers.items()):
        raw = text.encode()
        memcpy(texts[at].text, <const char *>raw, len(raw))
        texts[at].size, texts[at].number = len(raw), number
    return len(numbers)


cdef int fill() except -1:
    cdef int c, at
    cdef bytes suffix
    for c in range(128):
        char = chr(c)
        char_class[c] = (DIGIT if char.isdigit() else 0) | (HEX if char in "0123456789abcdefABCDEF" else 0) | (LETTER if char.isalpha() else 0)
    suffixes = SOURCE_SUFFIXES.split("|")
    if len(suffixes) > 64 or any(len(each) > 6 for each in suffixes):
        raise ImportError("more or longer source suffixes than this build knows")
    for at, text in enumerate(suffixes):
        suffix = text.encode()
        memcpy(source_suffixes[at], <const char *>suffix, len(suffix))
    global source_suffix_count
    source_suffix_count = len(suffixes)
    hash_seed[0], hash_seed[1] = (int.from_bytes(os.urandom(8), "little") | 1 for _ in range(2))
    global severity_text_count, body_key_count
    severity_text_count = fill_texts(severity_texts, SEVERITY_TEXTS, TEXTS_OF_SEVERITY)
    body_key_count = fill_texts(body_keys, 8, dict.fromkeys(BODY_KEYS, 0))
    fill_schema()
    fill_keys(&span_keys, attribute_keys.SPAN_GROUPS)
    fill_keys(&log_keys, attribute_keys.LOG_GROUPS)
    return 0


fill()

ENTRIES_CAP = 1 << 18
BYTES_CAP = 32 << 20
REASONS = (Drop.OWN, Drop.NO_TIME, Drop.NO_ID, Drop.SHAPE)


cdef class Walker:
    """Decodes for one pair of dictionaries. Safe to call from several threads: one decodes at a time, without the GIL."""

    cdef Walk walk
    cdef object lock, strings, resources, resolver
    cdef list places
    cdef size_t entries_cap, bytes_cap
    cdef readonly int clears

    def __cinit__(self):
        memset(&self.walk, 0, sizeof(Walk))

    def __init__(self, strings, resources, event_types, *, entries_cap=ENTRIES_CAP, bytes_cap=BYTES_CAP):
        self.lock = threading.Lock()
        self.strings, self.resources = strings, resources
        self.resolver = Resolver(strings, event_types)
        self.entries_cap, self.bytes_cap = entries_cap, bytes_cap
        self.places = []
        self.clears = 0

    def __dealloc__(self):
        finish(&self.walk)
        clear_tables(&self.walk)

    def traces(self, bytes raw):
        """Decode an ExportTraceServiceRequest. Raises ValueError where the bytes are malformed."""
        with self.lock:
            try:
                self._find("ExportTraceServiceRequest", raw, M_TRACES)
                with nogil:
                    walk_traces(&self.walk)
                self._check("ExportTraceServiceRequest")
                self._resolve()
                return Batch(spans=self._spans(), links=self._links(), dropped=self._dropped())
            finally:
                finish(&self.walk)

    def logs(self, bytes raw):
        """Decode an ExportLogsServiceRequest. Raises ValueError where the bytes are malformed."""
        with self.lock:
            try:
                self._find("ExportLogsServiceRequest", raw, M_LOGS)
                with nogil:
                    walk_logs(&self.walk)
                self._check("ExportLogsServiceRequest")
                self._resolve()
                return Batch(logs=self._logs(), changes=self._changes(), dropped=self._dropped())
            finally:
                finish(&self.walk)

    def metrics(self, bytes raw):
        """Decode an ExportMetricsServiceRequest. Raises ValueError where the bytes are malformed."""
        with self.lock:
            try:
                self._find("ExportMetricsServiceRequest", raw, M_METRICS)
                with nogil:
                    walk_metrics(&self.walk)
                self._check("ExportMetricsServiceRequest")
                self._resolve()
                return Batch(points=self._points(), bounds=self._bounds(), dropped=self._dropped())
            finally:
                finish(&self.walk)

    # ------------------------------------------------------------ before and after the pass

    cdef _find(self, str name, bytes raw, int message):
        """Blocks of the request and whose they are."""
        cdef size_t entries = 0, used = 0
        cdef int i
        for i in range(TABLES):
            entries += self.walk.tables[i].count
            used += self.walk.tables[i].used
        if entries > self.entries_cap or used > self.bytes_cap:
            clear_tables(&self.walk)
            self.places.clear()
            self.clears += 1
        cdef Piece request = Piece(<const uint8_t *><const char *>raw, len(raw))
        with nogil:
            find_blocks(&self.walk, request, message)
        self._check(name)
        cdef Table *table = &self.walk.tables[T_RESOURCES]
        for i in range(table.resolved, table.count):
            table.entries[i].values[1] = self.resolver.resource(self._key(table, i))[1]

    cdef _check(self, str name):
        cdef int error = self.walk.error
        if error == NO_MEMORY:
            raise MemoryError
        if error != FINE:
            what = {
                MALFORMED: "malformed bytes",
                BAD_ID: "an id that has not 16 (trace_id) or 8 (span_id, parent_span_id) bytes",
                OUT_OF_RANGE: "a number out of range",
            }[error]
            raise ValueError(f"not a {name}: {what}")

    cdef bytes _key(self, Table *table, int i):
        cdef Entry *entry = &table.entries[i]
        return (<const char *>(table.bytes + entry.at))[: entry.size] if entry.size else b""

    cdef _resolve(self):
        """Values of all new entries; then they are kept."""
        cdef Table *table
        cdef Table *tables = self.walk.tables
        cdef int i, code
        cdef float weight
        cdef uint64_t word
        resolver = self.resolver
        table = &tables[T_RESOURCES]
        for i in range(table.resolved, table.count):
            if not table.entries[i].values[1]:
                table.entries[i].values[0] = self.resources.intern(resolver.resource(self._key(table, i))[0])
        table = &tables[T_OPERATIONS]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0] = resolver.text("operation", self._key(table, i))
        table = &tables[T_CALLEES]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0], table.entries[i].values[1] = resolver.callee(self._key(table, i), table.entries[i].word)
        table = &tables[T_ERROR_TYPES]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0] = resolver.error_type(self._key(table, i), table.entries[i].word)
        table = &tables[T_STATES]
        for i in range(table.resolved, table.count):
            weight = resolver.weight(self._key(table, i))
            memcpy(&table.entries[i].values[0], &weight, 4)
        table = &tables[T_PLACES]
        for i in range(table.resolved, table.count):
            self.places.append(resolver.place(self._key(table, i)))
        table = &tables[T_TEMPLATES]
        for i in range(table.resolved, table.count):
            code = <int>(table.entries[i].word >> 8)
            place = self.places[code - 1] if code else ""
            table.entries[i].values[0] = resolver.template(self._key(table, i), table.entries[i].word & 0xFF, place)
        table = &tables[T_PEERS]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0] = resolver.log_peer(self._key(table, i))
        table = &tables[T_EXCEPTIONS]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0] = resolver.exception(self._key(table, i))
        table = &tables[T_SEVERITIES]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0] = resolver.severity(self._key(table, i))
        table = &tables[T_EVENTS]
        for i in range(table.resolved, table.count):
            table.entries[i].values[0], table.entries[i].values[1] = resolver.event(self._key(table, i), table.entries[i].word)
        for number, kind in ((T_METRICS, "value"), (T_UNITS, "value")):
            table = &tables[<int>number]
            for i in range(table.resolved, table.count):
                table.entries[i].values[0] = resolver.text(kind, self._key(table, i))
        table = &tables[T_SERIES]
        for i in range(table.resolved, table.count):
            word = table.entries[i].word
            resource = tables[T_RESOURCES].entries[<int>(word >> 36)].values[0]
            metric = self._key(&tables[T_METRICS], <int>((word >> 4) & 0xFFFFFFFF)).decode()
            table.entries[i].values[0] = resolver.series(self._key(table, i), word & 15, resource, metric)
        for i in range(TABLES):
            tables[i].resolved = tables[i].count

    # ------------------------------------------------------------ columns

    cdef _dropped(self):
        return tuple(sorted((str(reason), self.walk.dropped[i]) for i, reason in enumerate(REASONS) if self.walk.dropped[i]))

    cdef _spans(self):
        cdef size_t n = self.walk.spans.count
        if not n:
            return None
        block, at = columns(n, SPAN_TYPES)
        cdef uint8_t[::1] memory = block
        cdef uint8_t *p = &memory[0]
        cdef SpanOut out
        out.time_ns = <int64_t *>p
        out.start_ns = <int64_t *>(p + 8 * n)
        out.trace_hi = <uint64_t *>(p + 16 * n)
        out.trace_lo = <uint64_t *>(p + 24 * n)
        out.span = <uint64_t *>(p + 32 * n)
        out.parent = <uint64_t *>(p + 40 * n)
        out.resource = <int32_t *>(p + 48 * n)
        out.operation = <int32_t *>(p + 52 * n)
        out.peer = <int32_t *>(p + 56 * n)
        out.error_type = <int32_t *>(p + 60 * n)
        out.message = <int32_t *>(p + 64 * n)
        out.statement = <int32_t *>(p + 68 * n)
        out.weight = <float *>(p + 72 * n)
        out.kind = p + 76 * n
        out.status = p + 77 * n
        out.peer_kind = p + 78 * n
        with nogil:
            write_spans(&self.walk, out)
        return SpanColumns(**at)

    cdef _links(self):
        cdef size_t n = self.walk.links.count
        if not n:
            return None
        block, at = columns(n, LINK_TYPES)
        cdef uint8_t[::1] memory = block
        cdef uint8_t *p = &memory[0]
        with nogil:
            write_links(&self.walk, <int64_t *>p, <uint64_t *>(p + 8 * n), <uint64_t *>(p + 16 * n), <uint64_t *>(p + 24 * n))
        return LinkColumns(**at)


    cdef _logs(self):
        cdef size_t n = self.walk.logs.count
        if not n:
            return None
        block, at = columns(n, LOG_TYPES)
        cdef uint8_t[::1] memory = block
        cdef uint8_t *p = &memory[0]
        cdef LogOut out
        out.time_ns = <int64_t *>p
        out.trace_hi = <uint64_t *>(p + 8 * n)
        out.trace_lo = <uint64_t *>(p + 16 * n)
        out.span = <uint64_t *>(p + 24 * n)
        out.resource = <int32_t *>(p + 32 * n)
        out.template = <int32_t *>(p + 36 * n)
        out.exception = <int32_t *>(p + 40 * n)
        out.event_name = <int32_t *>(p + 44 * n)
        out.peer = <int32_t *>(p + 48 * n)
        out.statement = <int32_t *>(p + 52 * n)
        out.severity = p + 56 * n
        with nogil:
            write_logs(&self.walk, out)
        return LogColumns(**at)

    cdef _changes(self):
        """Records whose event name is that of a change."""
        cdef EventRow *event = <EventRow *>self.walk.events.rows
        cdef LogRow *rows = <LogRow *>self.walk.logs.rows
        cdef size_t i
        found = []
        for i in range(self.walk.events.count):
            if self.walk.tables[T_EVENTS].entries[rows[event[i].row].event].values[1]:
                record = (<const char *>event[i].record.at)[: event[i].record.size]
                resource = self.resolver.resource(self._key(&self.walk.tables[T_RESOURCES], rows[event[i].row].resource))[0]
                found.append(self.resolver.change(record, resource))
        return tuple(found)

    cdef _points(self):
        cdef size_t n = self.walk.points.count, m = self.walk.counts.count
        if not n:
            return None
        block, at = columns(n, POINT_TYPES)
        cdef uint8_t[::1] memory = block
        cdef uint8_t *p = &memory[0]
        counts_at, counts = np.empty(n + 1, I64), np.empty(m, F64)
        cdef int64_t[::1] ends = counts_at
        cdef double[::1] values = counts
        cdef PointOut out
        out.time_ns = <int64_t *>p
        out.start_ns = <int64_t *>(p + 8 * n)
        out.count = <uint64_t *>(p + 16 * n)
        out.value = <double *>(p + 24 * n)
        out.sum = <double *>(p + 32 * n)
        out.resource = <int32_t *>(p + 40 * n)
        out.series = <int32_t *>(p + 44 * n)
        out.metric = <int32_t *>(p + 48 * n)
        out.unit = <int32_t *>(p + 52 * n)
        out.bounds = <int32_t *>(p + 56 * n)
        out.type = p + 60 * n
        out.temporality = p + 61 * n
        out.flags = p + 62 * n
        with nogil:
            write_points(&self.walk, out, &ends[0], &values[0] if m else NULL)
        return PointColumns(counts_at=counts_at, counts=counts, **at)

    cdef _bounds(self):
        """Rows of Batch.bounds, cut out of one array."""
        cdef Table *table = &self.walk.bounds
        cdef size_t m = self.walk.bound_values.count
        cdef int i
        all_of_them = np.empty(m, F64)
        cdef double[::1] values = all_of_them
        if m:
            memcpy(&values[0], self.walk.bound_values.rows, m * 8)
        return tuple(
            [all_of_them[table.entries[i].at // 8 : (table.entries[i].at + table.entries[i].size) // 8] for i in range(table.count)]
        )


def columns(n, types):
    """One block of memory, and an array of n values in it for each name and type; wider types come first, so all are aligned."""
    block = np.empty(n * sum(dtype.itemsize for dtype in types.values()), np.uint8)
    found, at = {}, 0
    for name, dtype in types.items():
        found[name] = np.ndarray(n, dtype, block, at)
        at += n * dtype.itemsize
    return block, found


I64, U64, I32, F32, F64, U8 = (np.dtype(each) for each in (np.int64, np.uint64, np.int32, np.float32, np.float64, np.uint8))
SPAN_TYPES = (
    dict.fromkeys(("time_ns", "start_ns"), I64)
    | dict.fromkeys(("trace_hi", "trace_lo", "span", "parent"), U64)
    | dict.fromkeys(("resource", "operation", "peer", "error_type", "message", "statement"), I32)
    | {"weight": F32}
    | dict.fromkeys(("kind", "status", "peer_kind"), U8)
)
LOG_TYPES = (
    {"time_ns": I64}
    | dict.fromkeys(("trace_hi", "trace_lo", "span"), U64)
    | dict.fromkeys(("resource", "template", "exception", "event_name", "peer", "statement"), I32)
    | {"severity": U8}
)
POINT_TYPES = (
    {"time_ns": I64, "start_ns": I64, "count": U64, "value": F64, "sum": F64}
    | dict.fromkeys(("resource", "series", "metric", "unit", "bounds"), I32)
    | dict.fromkeys(("type", "temporality", "flags"), U8)
)
LINK_TYPES = {"row": I64, "trace_hi": U64, "trace_lo": U64, "span": U64}
