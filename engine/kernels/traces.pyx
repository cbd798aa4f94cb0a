# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Spans joined inside their traces, and sums over what they did, compiled. The same in NumPy: engine/kernels/plain.py.

Every index read from an argument is checked before use.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

import numpy as np

from engine.kernels.tables import CROWDED

cdef enum:
    PROBES = 16
    SHORT = 16  # events are sorted by insertion


def parents(const int32_t[::1] trace, const uint64_t[::1] span, const uint64_t[::1] parent):
    cdef Py_ssize_t n = trace.shape[0], start = 0, end, i
    if span.shape[0] != n or parent.shape[0] != n:
        raise ValueError(f"columns must be as long, however: {n}, {span.shape[0]}, {parent.shape[0]}")
    if n >= <int64_t>1 << 29:
        raise ValueError(f"at most 2^29 spans, however: {n}")
    firsts, aboves = np.empty(n, np.int64), np.empty(n, np.int64)
    cdef int64_t[::1] first = firsts
    cdef int64_t[::1] above = aboves
    cdef int bits
    cdef int64_t size = 0, longest = 1, run = 0
    cdef uint64_t at, mask
    cdef int64_t left = PROBES * (<int64_t>n + 64)
    cdef bint falls = False
    cdef int32_t[::1] table
    with nogil:
        for i in range(n):
            if i and trace[i] < trace[i - 1]:
                falls = True
            run = run + 1 if i and trace[i] == trace[i - 1] else 1
            longest = run if run > longest else longest
    if falls:
        raise ValueError("traces must not fall")
    bits = 4
    while (<int64_t>1 << bits) < 2 * longest:
        bits += 1
    table = np.empty(<int64_t>1 << bits, np.int32)
    with nogil:
        while start < n and left > 0:
            end = start
            while end < n and trace[end] == trace[start]:
                end += 1
            bits = 4
            while (<int64_t>1 << bits) < 2 * (end - start):
                bits += 1
            mask = (<uint64_t>1 << bits) - 1
            memset(&table[0], 0, 4 * (<size_t>1 << bits))
            for i in range(start, end):
                at = (span[i] * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits)
                while table[at] != 0 and left > 0 and span[table[at] - 1] != span[i]:
                    at = (at + 1) & mask
                    left -= 1
                if left <= 0:
                    break
                if table[at] == 0:
                    table[at] = <int32_t>(i + 1)
                first[i] = table[at] - 1
            if left <= 0:
                break
            for i in range(start, end):
                above[i] = -1
                if parent[i] == 0:
                    continue
                at = (parent[i] * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits)
                while table[at] != 0 and left > 0:
                    if span[table[at] - 1] == parent[i]:
                        above[i] = table[at] - 1
                        break
                    at = (at + 1) & mask
                    left -= 1
                if left <= 0:
                    break
            start = end
    if left <= 0:
        raise OverflowError(CROWDED)
    return firsts, aboves


def hang(const int64_t[::1] parent, const int32_t[::1] service):
    cdef Py_ssize_t n = parent.shape[0], i
    if service.shape[0] != n:
        raise ValueError(f"columns must be as long, however: {n} and {service.shape[0]}")
    aboves, depths, visits = np.empty(n, np.int64), np.zeros(n, np.int64), np.empty(n, np.int64)
    cdef int64_t[::1] above = aboves
    cdef int64_t[::1] depth = depths
    cdef int64_t[::1] visit = visits
    cdef uint8_t[::1] state = np.zeros(n, np.uint8)  # 0: not seen, 1: on the way up, 2: done, 3: hangs in a circle
    cdef int64_t[::1] stack = np.empty(n, np.int64)
    cdef int64_t at, top, up
    cdef bint wrong = False, circle
    with nogil:
        for i in range(n):
            if parent[i] < -1 or parent[i] >= n:
                wrong = True
                break
        if not wrong:
            for i in range(n):
                if state[i] != 0:
                    continue
                top, at = 0, i
                while at >= 0 and state[at] == 0:
                    state[at] = 1
                    stack[top] = at
                    top += 1
                    at = parent[at]
                circle = at >= 0 and (state[at] == 1 or state[at] == 3)
                while top > 0:
                    top -= 1
                    at = stack[top]
                    up = parent[at]
                    if circle or up < 0:
                        state[at] = 3 if circle else 2
                        above[at] = -1
                        depth[at] = 0
                        visit[at] = at
                    else:
                        state[at] = 2
                        above[at] = up
                        depth[at] = depth[up] + 1
                        visit[at] = visit[up] if service[up] == service[at] else at
    if wrong:
        raise ValueError("parents must be rows or -1")
    return aboves, depths, visits


cdef void _sort(int64_t *time, int64_t *event, int64_t count, int64_t *spare) noexcept nogil:
    """By time, equal ones as they come: insertion, for many merging of sorted stretches. `spare` has room for 2 * count."""
    cdef int64_t i, j, t, e, width = SHORT, low, middle, high, a, b, out
    cdef int64_t *from_time = time
    cdef int64_t *from_event = event
    cdef int64_t *to_time = spare
    cdef int64_t *to_event = spare + count
    cdef int64_t *swap
    low = 0
    while low < count:
        high = low + SHORT if low + SHORT < count else count
        for i in range(low + 1, high):
            t, e = time[i], event[i]
            j = i - 1
            while j >= low and time[j] > t:
                time[j + 1] = time[j]
                event[j + 1] = event[j]
                j -= 1
            time[j + 1] = t
            event[j + 1] = e
        low += SHORT
    while width < count:
        low = 0
        while low < count:
            middle = low + width if low + width < count else count
            high = low + 2 * width if low + 2 * width < count else count
            a, b = low, middle
            for out in range(low, high):
                if a < middle and (b >= high or from_time[a] <= from_time[b]):
                    to_time[out] = from_time[a]
                    to_event[out] = from_event[a]
                    a += 1
                else:
                    to_time[out] = from_time[b]
                    to_event[out] = from_event[b]
                    b += 1
            low = high
        swap = from_time
        from_time = to_time
        to_time = swap
        swap = from_event
        from_event = to_event
        to_event = swap
        width *= 2
    if from_time != time:
        for i in range(count):
            time[i] = from_time[i]
            event[i] = from_event[i]


def self_time(const int64_t[::1] start_ns, const int64_t[::1] end_ns, const int64_t[::1] parent):
    cdef Py_ssize_t n = parent.shape[0], i
    if start_ns.shape[0] != n or end_ns.shape[0] != n:
        raise ValueError(f"columns must be as long, however: {n}, {start_ns.shape[0]}, {end_ns.shape[0]}")
    result = np.empty(n, np.int64)
    cdef int64_t[::1] own = result
    cdef int64_t[::1] first = np.zeros(n + 2, np.int64)
    cdef int64_t[::1] begins
    cdef int64_t[::1] ends
    cdef int64_t[::1] spare
    cdef int64_t at, low, high, duration, begin, end, reached, covered, longest = 0
    cdef bint wrong = False
    with nogil:
        for i in range(n):
            at = parent[i]
            if at < -1 or at >= n:
                wrong = True
                break
            if at >= 0:
                first[at + 2] += 1
        if not wrong:
            for i in range(1, n + 1):
                longest = first[i + 1] if first[i + 1] > longest else longest
                first[i + 1] += first[i]
    if wrong:
        raise ValueError("parents must be rows or -1")
    begins, ends = np.empty((2, first[n + 1]), np.int64)
    spare = np.empty(2 * longest, np.int64)
    with nogil:
        for i in range(n):
            at = parent[i]
            if at >= 0:
                begins[first[at + 1]] = start_ns[i]
                ends[first[at + 1]] = end_ns[i]
                first[at + 1] += 1
        for i in range(n):
            low, high = first[i], first[i + 1]
            duration = end_ns[i] - start_ns[i]
            if duration < 0:
                duration = 0
            own[i] = duration
            if low == high:
                continue
            if high - low > 1:
                _sort(&begins[low], &ends[low], high - low, &spare[0])
            reached, covered = 0, 0
            for at in range(low, high):
                begin = begins[at] - start_ns[i]
                begin = 0 if begin < 0 else (duration if begin > duration else begin)
                end = ends[at] - start_ns[i]
                end = begin if end < begin else (duration if end > duration else end)
                if begin < reached:
                    begin = reached
                if end > begin:
                    covered += end - begin
                if end > reached:
                    reached = end
            own[i] = duration - covered if duration > covered else 0
    return result


def steps(
    const int64_t[::1] start_ns,
    const int64_t[::1] parent,
    const int64_t[::1] label,
    const int64_t[::1] ending,
    carries_,
    const int64_t[::1] log_span,
    const int64_t[::1] log_time,
    const int64_t[::1] log_event,
):
    cdef Py_ssize_t n = parent.shape[0], logs = log_span.shape[0], i
    cdef const uint8_t[::1] carries = carries_.view(np.uint8)
    if not (start_ns.shape[0] == label.shape[0] == ending.shape[0] == carries.shape[0] == n):
        raise ValueError("columns of spans must be as long")
    if not (log_time.shape[0] == log_event.shape[0] == logs):
        raise ValueError("columns of log records must be as long")
    cdef int32_t[::1] owner
    cdef int64_t[::1] before
    cdef int64_t[::1] after
    if n >= <int64_t>1 << 31:
        raise ValueError(f"at most 2^31 spans, however: {n}")
    cdef int64_t[::1] first = np.zeros(n + 2, np.int64)
    cdef int64_t[::1] time
    cdef int64_t[::1] event
    cdef int64_t[::1] spare
    cdef int64_t at, low, high, last, longest = 0, count = 0
    cdef bint wrong = False
    with nogil:
        for i in range(n):
            at = parent[i]
            if at < -1 or at >= n:
                wrong = True
                break
            if at >= 0 and not carries[at]:
                first[at + 2] += 1
        for i in range(logs):
            at = log_span[i]
            if at < 0 or at >= n:
                wrong = True
                break
            if not carries[at]:
                first[at + 2] += 1
        if not wrong:
            for i in range(1, n + 1):
                longest = first[i + 1] if first[i + 1] > longest else longest
                first[i + 1] += first[i]
                count += not carries[i - 1]
    if wrong:
        raise ValueError("parents and spans of log records must be rows")
    time, event = np.empty((2, first[n + 1]), np.int64)
    spare = np.empty(2 * longest, np.int64)
    owners, (befores, afters) = np.empty(first[n + 1] + count, np.int32), np.empty((2, first[n + 1] + count), np.int64)
    owner, before, after = owners, befores, afters
    count = 0
    with nogil:
        for i in range(n):
            at = parent[i]
            if at >= 0 and not carries[at]:
                time[first[at + 1]] = start_ns[i]
                event[first[at + 1]] = label[i]
                first[at + 1] += 1
        for i in range(logs):
            at = log_span[i]
            if not carries[at]:
                time[first[at + 1]] = log_time[i]
                event[first[at + 1]] = log_event[i]
                first[at + 1] += 1
        for i in range(n):
            if carries[i]:
                continue
            low, high = first[i], first[i + 1]
            if high - low > 1:
                _sort(&time[low], &event[low], high - low, &spare[0])
            last = 0
            for at in range(low, high):
                owner[count] = <int32_t>i
                before[count] = last
                after[count] = event[at]
                last = event[at]
                count += 1
            owner[count] = <int32_t>i
            before[count] = last
            after[count] = ending[i]
            count += 1
    return owners, befores, afters
