# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums over the steps and values of joined spans, compiled. The same in NumPy: engine/kernels/plain.py.

Every index read from an argument is checked before use.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np


def step_sums(
    const int32_t[::1] span,
    const int32_t[::1] context,
    const int32_t[::1] outcome,
    use_,
    const int32_t[::1] trace,
    passes_,
    const int64_t[::1] time_ns,
    Py_ssize_t contexts,
    Py_ssize_t outcomes,
):
    cdef const uint8_t[::1] use = use_.view(np.uint8)
    cdef const uint8_t[::1] passes = passes_.view(np.uint8)
    cdef Py_ssize_t steps = span.shape[0], n = use.shape[0], i
    if context.shape[0] != steps or outcome.shape[0] != steps:
        raise ValueError("columns of steps must be as long")
    if not (trace.shape[0] == passes.shape[0] == time_ns.shape[0] == n):
        raise ValueError("columns of spans must be as long")
    chances_, traces_ = np.zeros(contexts, np.int64), np.zeros(contexts, np.int64)
    hits_, passed_, example_ = np.zeros(outcomes, np.int64), np.zeros(outcomes, np.int64), np.full(outcomes, -1, np.int64)
    cdef int64_t[::1] chances = chances_
    cdef int64_t[::1] traces = traces_
    cdef int64_t[::1] hits = hits_
    cdef int64_t[::1] passed = passed_
    cdef int64_t[::1] example = example_
    latest_ = np.full(contexts, -1, np.int32)
    cdef int32_t[::1] latest = latest_
    cdef int32_t row, c, o
    cdef int64_t known
    cdef bint wrong = False
    with nogil:
        for i in range(steps):
            row, c, o = span[i], context[i], outcome[i]
            if row < 0 or row >= n or c < 0 or c >= contexts or o < 0 or o >= outcomes:
                wrong = True
                break
            if not use[row]:
                continue
            chances[c] += 1
            if latest[c] != trace[row]:
                latest[c] = trace[row]
                traces[c] += 1
            hits[o] += 1
            passed[o] += passes[row]
            known = example[o]
            if known < 0 or passes[row] < passes[known] or (passes[row] == passes[known] and time_ns[row] < time_ns[known]):
                example[o] = row
    if wrong:
        raise ValueError("steps must be of spans, contexts and outcomes that are there")
    return chances_, traces_, hits_, passed_, example_


def value_sums(const int32_t[::1] span, const int32_t[::1] key, const float[::1] value, use_, Py_ssize_t keys):
    cdef const uint8_t[::1] use = use_.view(np.uint8)
    cdef Py_ssize_t values = span.shape[0], n = use.shape[0], i
    if key.shape[0] != values or value.shape[0] != values:
        raise ValueError("columns of values must be as long")
    count_, mean_, square_, longest_ = np.zeros(keys), np.zeros(keys), np.zeros(keys), np.full(keys, -1, np.int64)
    cdef int64_t[::1] longest = longest_
    cdef double[::1] count = count_
    cdef double[::1] mean = mean_
    cdef double[::1] square = square_
    cdef int32_t row, k
    cdef double distance
    cdef bint wrong = False
    with nogil:
        for i in range(values):
            row, k = span[i], key[i]
            if row < 0 or row >= n or k < 0 or k >= keys:
                wrong = True
                break
            if use[row]:
                count[k] += 1
                mean[k] += value[i]
                if longest[k] < 0 or value[i] > value[longest[k]]:
                    longest[k] = i
        if not wrong:
            for i in range(keys):
                if count[i] > 0:
                    mean[i] /= count[i]
            for i in range(values):
                if use[span[i]]:
                    distance = value[i] - mean[key[i]]
                    square[key[i]] += distance * distance
    if wrong:
        raise ValueError("values must be of spans and keys that are there")
    return count_, mean_, square_, longest_


def traces_by_service(const int32_t[::1] trace, const int32_t[::1] service, use_, Py_ssize_t services):
    cdef const uint8_t[::1] use = use_.view(np.uint8)
    cdef Py_ssize_t n = trace.shape[0], i
    if service.shape[0] != n or use.shape[0] != n:
        raise ValueError("columns must be as long")
    traces_ = np.zeros(services, np.int64)
    cdef int64_t[::1] traces = traces_
    latest_ = np.full(services, -1, np.int32)
    cdef int32_t[::1] latest = latest_
    cdef int32_t s
    cdef bint wrong = False
    with nogil:
        for i in range(n):
            s = service[i]
            if s < 0 or s >= services:
                wrong = True
                break
            if use[i] and latest[s] != trace[i]:
                latest[s] = trace[i]
                traces[s] += 1
    if wrong:
        raise ValueError("services must lie in 0 ... services - 1")
    return traces_


def fault_below(const int64_t[::1] order, const int32_t[::1] parent, const int32_t[::1] service, const double[::1] fault):
    cdef Py_ssize_t n = parent.shape[0], m = order.shape[0], i
    if service.shape[0] != n or fault.shape[0] != n:
        raise ValueError("columns of spans must be as long")
    below_, subtree_ = np.zeros(n), np.array(fault)
    cdef double[::1] below = below_
    cdef double[::1] subtree = subtree_
    cdef int64_t row
    cdef int32_t up
    cdef double found
    cdef bint wrong = False
    with nogil:
        for i in range(m):
            row = order[i]
            if row < 0 or row >= n or parent[row] >= n:
                wrong = True
                break
            up = parent[row]
            if up < 0:
                continue
            found = subtree[row] if service[row] != service[up] else below[row]
            if found > below[up]:
                below[up] = found
            if subtree[row] > subtree[up]:
                subtree[up] = subtree[row]
    if wrong:
        raise ValueError("rows and parents must be rows")
    return below_
