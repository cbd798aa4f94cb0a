"""The kernels in NumPy: what they mean, what runs where nothing was compiled, and what the compiled ones are tested against."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.records import F32, F64, I32, I64, U64, Bool


def mixed(a: U64, b: U64) -> U64:
    """One 64-bit key for two; two of 500 k pairs collide with probability 1e-8."""
    with np.errstate(over="ignore"):
        return splitmix(a * np.uint64(0x9E3779B97F4A7C15) ^ b)


def hashed(key: U64, codes: I32, numbers: F32) -> U64:
    """Keys [n], each mixed with the codes [n, c] and the numbers [n, k] of its row, one after the other; all NaN are alike, and both zeros.

    Raises: ValueError unless there are as many rows of each.
    """
    if not len(key) == len(codes) == len(numbers):
        raise ValueError(f"columns must be as long, however: {len(key)}, {len(codes)}, {len(numbers)}")
    for column in range(codes.shape[1]):
        key = splitmix(key ^ codes[:, column].astype(np.uint64))
    bits = np.where(np.isnan(numbers), np.float32(np.nan), numbers + np.float32(0)).view(np.uint32).astype(np.uint64)
    for column in range(bits.shape[1]):
        key = splitmix(key ^ (bits[:, column] + np.uint64(column << 33)))
    return key


def splitmix(x: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def argsort(values: I64) -> I64:
    """Ascending order of values, equal ones as they come. [n]"""
    return np.argsort(values, kind="stable")


def index(keys: U64) -> npt.NDArray[np.integer[Any]]:
    """What `find` needs to know of keys: here their order."""
    return np.argsort(keys, kind="stable")


def find(wanted: U64, keys: U64, order: npt.NDArray[np.integer[Any]]) -> I64:
    """For each wanted key the first row of `keys` that has it, -1 if none. `order`: `index` of the keys."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order[place]] == wanted, order[place], -1).astype(np.int64)


def group(keys: U64) -> tuple[I32, I64]:
    """Number of each key's group, int32 [n], in the order in which they first come, and the first row of each group, int64 [groups]."""
    _, first, position = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), np.int32)
    number[order] = np.arange(len(first), dtype=np.int32)
    return number[position.reshape(-1)], first[order].astype(np.int64)


def bounds(of: I32, time: I64, groups: int) -> tuple[I64, I64]:
    """Earliest and latest time of each group. Raises: ValueError for a group out of range."""
    if len(of) and not 0 <= int(of.min()) <= int(of.max()) < groups:
        raise ValueError("groups must lie in 0 ... groups - 1")
    first, last = np.full(groups, np.iinfo(np.int64).max), np.full(groups, np.iinfo(np.int64).min)
    np.minimum.at(first, of, time)
    np.maximum.at(last, of, time)
    return first, last


def by_group(of: I32, groups: int) -> I64:
    """Rows by group, those of one group as they come. Raises: ValueError for a group out of range."""
    if len(of) and not 0 <= int(of.min()) <= int(of.max()) < groups:
        raise ValueError("groups must lie in 0 ... groups - 1")
    return np.argsort(of, kind="stable")


def chosen(of: I32, wanted: Bool) -> I64:
    """Rows whose group is wanted, bool [groups]. Raises: ValueError for a group out of range."""
    if len(of) and not 0 <= int(of.min()) <= int(of.max()) < len(wanted):
        raise ValueError("groups must lie in 0 ... groups - 1")
    return np.flatnonzero(wanted[of])


def lookup(keys: I64, slot_key: I64, slot_code: I32) -> I32:
    """Codes of keys in a hash table of a power of two of slots (linear probing from `slot_of`, code -1: empty); -1 where it has none."""
    codes = np.full(len(keys), -1, np.int32)
    left, at = np.arange(len(keys)), slot_of(keys, len(slot_key))
    for _ in range(len(slot_key)):
        taken = slot_code[at] >= 0
        same = taken & (slot_key[at] == keys[left])
        codes[left[same]] = slot_code[at[same]]
        on = taken & ~same
        if not on.any():
            break
        left, at = left[on], (at[on] + 1) & (len(slot_key) - 1)
    return codes


def intern(keys: I64, codes: I32, at: int, slot_key: I64, slot_code: I32, known: I64, size: int, limit: int) -> tuple[int, int]:
    """Write codes of keys[at:], giving out new ones in the order of their first sight. Returns where it stopped, and how many there are.

    It stops at a key that would be more than `limit`. Slots are those of `lookup`, more of them than `limit`; `known`: key by code.
    """
    found = lookup(keys[at:], slot_key, slot_code)
    missing = np.flatnonzero(found < 0)
    stop = len(keys)
    if len(missing):
        fresh, first = np.unique(keys[at:][missing], return_index=True)
        order = np.argsort(first)
        fresh, first = fresh[order], missing[first[order]]
        if len(fresh) > limit - size:
            stop = at + int(first[limit - size])
            fresh = fresh[: limit - size]
        known[size : size + len(fresh)] = fresh
        for code, begin in enumerate(slot_of(fresh, len(slot_key)).tolist(), size):
            slot = begin
            while slot_code[slot] >= 0:
                slot = (slot + 1) & (len(slot_key) - 1)
            slot_key[slot], slot_code[slot] = known[code], code
        size += len(fresh)
        found = lookup(keys[at:], slot_key, slot_code)
    codes[at:stop] = found[: stop - at]
    return stop, size


def chained(
    first: I32, owner: I32, second: I64, third: I64, shift: int, inner_key: I64, inner_code: I32, outer_key: I64, outer_code: I32
) -> tuple[I32, I32]:
    """Code of first[owner] << shift | second in the inner table, and of that code << shift | third in the outer one; -1: it has none.

    Tables are those of `lookup`; a negative `first` has no code. Raises: ValueError for owners that are no rows of `first`.
    """
    if len(owner) and not 0 <= int(owner.min()) <= int(owner.max()) < len(first):
        raise ValueError("owners must be rows")
    of = first[owner].astype(np.int64)
    inner = np.where(of < 0, -1, lookup((of << shift) | second, inner_key, inner_code)).astype(np.int32)
    outer = lookup((inner.astype(np.int64) << shift) | third, outer_key, outer_code)
    return inner, np.where(inner < 0, -1, outer).astype(np.int32)


def slot_of(keys: I64, slots: int) -> I64:
    """Where the search for a key begins."""
    at: I64 = (mixed(keys.view(np.uint64), np.zeros(1, np.uint64)) & np.uint64(slots - 1)).astype(np.int64)
    return at


def parents(trace: I32, span: U64, parent: U64) -> tuple[I64, I64]:
    """Of each span, the first row of its trace with its id, and the row of its parent in its trace, -1: none. Both int64 [n].

    Args: trace, never falling; span ids; parent ids, 0: none.
    """
    own = mixed(trace.astype(np.uint64), span)
    order = index(own)
    above = find(mixed(trace.astype(np.uint64), parent), own, order)
    return find(own, own, order), np.where(parent == 0, -1, above)


ROUNDS = 20  # of pointer doubling: chains of 2^20 spans; what is still not at its root then hangs in a circle


def hang(parent: I64, service: I32) -> tuple[I64, I64, I64]:
    """Parent, depth and visit of each row. Rows that hang in a circle lose their parent; depth 0: no parent here; visit: the row of
    the topmost span reached without leaving the service.
    """
    rows = np.arange(len(parent))
    above, depth = parent.copy(), (parent >= 0).astype(np.int64)
    for _ in range(ROUNDS):
        waiting = np.flatnonzero(above >= 0)
        if not len(waiting):
            break
        depth[waiting] += depth[above[waiting]]
        above[waiting] = above[above[waiting]]
    else:
        return hang(np.where(above >= 0, -1, parent), service)
    visit = np.where((parent >= 0) & (service[parent] == service), parent, rows)
    while (visit[visit] != visit).any():
        visit = visit[visit]
    return parent, depth, visit


def self_time(start_ns: I64, end_ns: I64, parent: I64) -> I64:
    """Duration of each span less the union of its children's intervals, ns [n]."""
    duration: I64 = np.maximum(end_ns - start_ns, 0)
    child = np.flatnonzero(parent >= 0)
    if not len(child):
        return duration
    child = child[np.lexsort((start_ns[child], parent[child]))]
    owner = parent[child]
    begins = np.clip(start_ns[child] - start_ns[owner], 0, duration[owner])
    ends = np.clip(end_ns[child] - start_ns[owner], begins, duration[owner])
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    # Running maximum inside each owner: each starts above all that come before it. Microseconds where nanoseconds would overflow.
    unit = 1 if (float(duration[owner].max()) + 1) * first.sum() < 2**62 else 1000
    lift = (np.cumsum(first) - 1) * (int(duration[owner].max()) // unit + 1)
    reached = (np.maximum.accumulate(ends // unit + lift) - lift) * unit
    before = np.where(first, 0, np.concatenate([[0], reached[:-1]]))
    covered = np.zeros(len(duration), np.int64)
    np.add.at(covered, owner, np.maximum(0, ends - np.maximum(begins, before)))
    own: I64 = np.maximum(0, duration - covered)
    return own


def steps(
    start_ns: I64, parent: I64, label: I64, ending: I64, carries: Bool, log_span: I64, log_time: I64, log_event: I64
) -> tuple[I32, I64, I64]:
    """Consecutive events inside spans by time: start (0), children and log records, end. Returns span row, event, next event.

    Args: label, ending: event of each span in its parent, and its end; carries: spans without steps; log_span: rows.
    """
    count = len(parent)
    rows, child = np.arange(count), np.flatnonzero(parent >= 0)
    owner = np.concatenate([rows, parent[child], log_span, rows])
    event = np.concatenate([np.zeros(count, np.int64), label[child], log_event, ending])
    earliest, latest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    time = np.concatenate([np.full(count, earliest), start_ns[child], log_time, np.full(count, latest)])
    keep = np.flatnonzero(~carries[owner])
    keep = keep[np.lexsort((time[keep], owner[keep]))]
    owner, event = owner[keep], event[keep]
    follows = np.flatnonzero(owner[1:] == owner[:-1])
    return owner[follows].astype(np.int32), event[follows], event[follows + 1]


def step_sums(
    span: I32, context: I32, outcome: I32, use: Bool, trace: I32, passes: Bool, time_ns: I64, contexts: int, outcomes: int
) -> tuple[I64, I64, I64, I64, I64]:
    """Of the steps whose span is used: steps and traces by context; steps, those of spans that pass on an error, and an example by outcome.

    The example is a row of a span: one that passes nothing on if there is any, the earliest of them; -1: none. Traces never fall.
    """
    rows = np.flatnonzero(use[span])
    span, context, outcome = span[rows], context[rows], outcome[rows]
    pairs = np.unique(trace[span].astype(np.int64) * contexts + context)
    order = np.lexsort((time_ns[span], passes[span], outcome))
    example = np.full(outcomes, -1, np.int64)
    example[outcome[order[::-1]]] = span[order[::-1]]
    return (
        np.bincount(context, minlength=contexts),
        np.bincount(pairs % contexts, minlength=contexts) if contexts else np.zeros(0, np.int64),
        np.bincount(outcome, minlength=outcomes),
        np.bincount(outcome[passes[span]], minlength=outcomes),
        example,
    )


def value_sums(span: I32, key: I32, value: F32, use: Bool, keys: int) -> tuple[F64, F64, F64, I64]:
    """Of the values whose span is used, by key: count, mean (0 without any), sum of squared deviations from it, and the first row of
    the highest (-1: none). [keys]
    """
    rows = np.flatnonzero(use[span])
    key, numbers = key[rows], value[rows].astype(np.float64)
    count = np.bincount(key, minlength=keys).astype(np.float64)
    mean = np.bincount(key, weights=numbers, minlength=keys) / np.maximum(count, 1)
    square = np.bincount(key, weights=(numbers - mean[key]) ** 2, minlength=keys)
    longest = np.full(keys, -1, np.int64)
    order = np.lexsort((-rows, numbers))
    longest[key[order]] = rows[order]
    return count, mean, square.astype(np.float64), longest


def traces_by_service(trace: I32, service: I32, use: Bool, services: int) -> I64:
    """Number of traces with a used span of the service. [services]"""
    pairs = np.unique(trace[use].astype(np.int64) * services + service[use])
    return np.bincount(pairs % services, minlength=services) if services else np.zeros(0, np.int64)


def fault_below(order: I64, parent: I32, service: I32, fault: F64) -> F64:
    """For each span, the largest fault of a descendant in another service; [n]. `order`: rows that count, children before parents."""
    below, subtree = np.zeros(len(parent)), fault.copy()
    for row in order[parent[order] >= 0].tolist():
        up = parent[row]
        below[up] = max(below[up], subtree[row] if service[row] != service[up] else below[row])
        subtree[up] = max(subtree[up], subtree[row])
    return below
