# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Orders, groups and look-ups of keys, compiled. The same functions in NumPy, with what they mean: engine/kernels/plain.py.

Every index read from an argument is checked before use. Hash tables count their probes: keys made to collide raise OverflowError, and the
caller takes the version that sorts.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    PROBES = 16  # a key on average, and as many again for small tables: beyond, somebody chose the keys


CROWDED = "keys collide far more than chance allows"


cdef inline uint64_t _splitmix(uint64_t x) noexcept nogil:
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t _mix(uint64_t a, uint64_t b) noexcept nogil:
    return _splitmix((a * <uint64_t>0x9E3779B97F4A7C15) ^ b)


cdef inline int _bits(int64_t count) noexcept nogil:
    """Bits of a table that `count` keys fill to a half at most."""
    cdef int bits = 4
    while (<int64_t>1 << bits) < 2 * count:
        bits += 1
    return bits


def mixed(const uint64_t[::1] a, const uint64_t[::1] b):
    cdef Py_ssize_t n = a.shape[0], i
    if b.shape[0] != n:
        raise ValueError(f"a and b must be as long, however: {n} and {b.shape[0]}")
    result = np.empty(n, np.uint64)
    cdef uint64_t[::1] out = result
    with nogil:
        for i in range(n):
            out[i] = _mix(a[i], b[i])
    return result


def hashed(const uint64_t[::1] key, const int32_t[:, :] codes, const float[:, :] numbers):
    cdef Py_ssize_t n = key.shape[0], c = codes.shape[1], k = numbers.shape[1], i, j
    if codes.shape[0] != n or numbers.shape[0] != n:
        raise ValueError(f"columns must be as long, however: {n}, {codes.shape[0]}, {numbers.shape[0]}")
    result = np.empty(n, np.uint64)
    cdef uint64_t[::1] out = result
    cdef uint64_t x
    cdef uint32_t bits
    cdef float number
    with nogil:
        for i in range(n):
            x = key[i]
            for j in range(c):
                x = _splitmix(x ^ <uint64_t><int64_t>codes[i, j])
            for j in range(k):
                number = numbers[i, j]
                if number != number:
                    bits = 0x7FC00000
                elif number == 0:
                    bits = 0
                else:
                    memcpy(&bits, &number, 4)
                x = _splitmix(x ^ (<uint64_t>bits + (<uint64_t>j << 33)))
            out[i] = x
    return result


def argsort(const int64_t[::1] values):
    cdef Py_ssize_t n = values.shape[0], i
    if n >= <int64_t>1 << 31:
        raise ValueError(f"at most 2^31 values, however: {n}")
    result = np.empty(n, np.int64)
    cdef int64_t[::1] out = result
    if n == 0:
        return result
    cdef int64_t low = values[0], high = values[0], before = values[0]
    cdef bint sorted_already = True
    cdef uint64_t[:, ::1] keys
    cdef uint32_t[:, ::1] rows
    cdef uint64_t *key
    cdef uint64_t *other_key
    cdef uint32_t *row
    cdef uint32_t *other_row
    cdef uint64_t *swap_key
    cdef uint32_t *swap_row
    cdef uint64_t span
    cdef uint32_t count[4096]
    cdef uint32_t at, size
    cdef int shift = 0, digit
    with nogil:
        for i in range(n):
            if values[i] < low:
                low = values[i]
            if values[i] > high:
                high = values[i]
            if values[i] < before:
                sorted_already = False
            before = values[i]
        if sorted_already:
            for i in range(n):
                out[i] = i
    if sorted_already:
        return result
    span = <uint64_t>high - <uint64_t>low
    keys, rows = np.empty((2, n), np.uint64), np.empty((2, n), np.uint32)
    key, other_key, row, other_row = &keys[0, 0], &keys[1, 0], &rows[0, 0], &rows[1, 0]
    with nogil:
        for i in range(n):
            key[i] = <uint64_t>values[i] - <uint64_t>low
            row[i] = <uint32_t>i
        while shift < 64 and (span >> shift) > 0:  # a digit of 12 bits after the other, the lowest first
            memset(count, 0, sizeof(count))
            for i in range(n):
                count[(key[i] >> shift) & 4095] += 1
            at = 0
            for digit in range(4096):
                size = count[digit]
                count[digit] = at
                at += size
            for i in range(n):
                digit = <int>((key[i] >> shift) & 4095)
                other_key[count[digit]] = key[i]
                other_row[count[digit]] = row[i]
                count[digit] += 1
            swap_key, swap_row = key, row
            key, row = other_key, other_row
            other_key, other_row = swap_key, swap_row
            shift += 12
        for i in range(n):
            out[i] = row[i]
    return result


def index(const uint64_t[::1] keys):
    """Open addressing, linear probing: row + 1 of the first of equal keys, 0 where empty."""
    cdef Py_ssize_t n = keys.shape[0], i
    if n >= <int64_t>1 << 29:
        raise ValueError(f"at most 2^29 keys, however: {n}")
    cdef int bits = _bits(n)
    result = np.zeros(<int64_t>1 << bits, np.int32)
    cdef int32_t[::1] table = result
    cdef uint64_t at, mask = (<uint64_t>1 << bits) - 1
    cdef int64_t left = PROBES * (<int64_t>n + 64)
    with nogil:
        for i in range(n):
            at = (keys[i] * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits)
            while table[at] != 0 and left > 0 and keys[table[at] - 1] != keys[i]:
                at = (at + 1) & mask
                left -= 1
            if left <= 0:
                break
            if table[at] == 0:
                table[at] = <int32_t>(i + 1)
    if left <= 0:
        raise OverflowError(CROWDED)
    return result


def find(const uint64_t[::1] wanted, const uint64_t[::1] keys, const int32_t[::1] table):
    cdef Py_ssize_t n = wanted.shape[0], m = keys.shape[0], size = table.shape[0], i
    cdef int bits = _bits(m)
    if size != <int64_t>1 << bits:
        raise ValueError(f"not the index of these keys, however: {size=}, {m=}")
    result = np.empty(n, np.int64)
    cdef int64_t[::1] out = result
    cdef uint64_t at, mask = (<uint64_t>1 << bits) - 1
    cdef int64_t left = PROBES * (<int64_t>n + 64)
    cdef int32_t row
    with nogil:
        for i in range(n):
            at = (wanted[i] * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits)
            out[i] = -1
            while left > 0:
                row = table[at]
                if row <= 0 or row > m:
                    break
                if keys[row - 1] == wanted[i]:
                    out[i] = row - 1
                    break
                at = (at + 1) & mask
                left -= 1
            if left <= 0:
                break
    if left <= 0:
        raise OverflowError(CROWDED)
    return result


def group(const uint64_t[::1] keys):
    cdef Py_ssize_t n = keys.shape[0], i
    if n >= <int64_t>1 << 29:
        raise ValueError(f"at most 2^29 keys, however: {n}")
    cdef int bits = _bits(n)
    found, firsts = np.empty(n, np.int32), np.empty(n, np.int64)
    cdef int32_t[::1] of = found
    cdef int64_t[::1] first = firsts
    cdef int32_t groups = 0
    cdef uint64_t at, mask = (<uint64_t>1 << bits) - 1
    cdef int64_t left = PROBES * (<int64_t>n + 64)
    cdef int32_t[::1] table = np.zeros(<int64_t>1 << bits, np.int32)
    with nogil:
        for i in range(n):
            at = (keys[i] * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits)
            while table[at] != 0 and left > 0 and keys[first[table[at] - 1]] != keys[i]:
                at = (at + 1) & mask
                left -= 1
            if left <= 0:
                break
            if table[at] == 0:
                first[groups] = i
                groups += 1
                table[at] = groups
            of[i] = table[at] - 1
    if left <= 0:
        raise OverflowError(CROWDED)
    return found, firsts[:groups].copy()


def bounds(const int32_t[::1] of, const int64_t[::1] time, Py_ssize_t groups):
    cdef Py_ssize_t n = of.shape[0], i
    cdef int32_t at
    cdef bint wrong = False
    if time.shape[0] != n:
        raise ValueError(f"of and time must be as long, however: {n} and {time.shape[0]}")
    firsts, lasts = np.full(groups, np.iinfo(np.int64).max), np.full(groups, np.iinfo(np.int64).min)
    cdef int64_t[::1] first = firsts
    cdef int64_t[::1] last = lasts
    with nogil:
        for i in range(n):
            at = of[i]
            if at < 0 or at >= groups:
                wrong = True
                break
            if time[i] < first[at]:
                first[at] = time[i]
            if time[i] > last[at]:
                last[at] = time[i]
    if wrong:
        raise ValueError("groups must lie in 0 ... groups - 1")
    return firsts, lasts


def by_group(const int32_t[::1] of, Py_ssize_t groups):
    cdef Py_ssize_t n = of.shape[0], i
    cdef int64_t at, size
    cdef bint wrong = False
    result = np.empty(n, np.int64)
    cdef int64_t[::1] out = result
    cdef int64_t[::1] place = np.zeros(groups, np.int64)
    with nogil:
        for i in range(n):
            if of[i] < 0 or of[i] >= groups:
                wrong = True
                break
            place[of[i]] += 1
        if not wrong:
            at = 0
            for i in range(groups):
                size = place[i]
                place[i] = at
                at += size
            for i in range(n):
                out[place[of[i]]] = i
                place[of[i]] += 1
    if wrong:
        raise ValueError("groups must lie in 0 ... groups - 1")
    return result


def chosen(const int32_t[::1] of, wanted_):
    cdef const uint8_t[::1] wanted = wanted_.view(np.uint8)
    cdef Py_ssize_t n = of.shape[0], i
    cdef uint32_t groups = <uint32_t>min(wanted.shape[0], <int64_t>1 << 31)
    cdef int64_t count = 0
    cdef int64_t[::1] out
    cdef bint wrong = False
    with nogil:
        for i in range(n):
            if <uint32_t>of[i] >= groups:
                wrong = True
                break
            count += wanted[of[i]]
    if wrong:
        raise ValueError("groups must lie in 0 ... groups - 1")
    result = np.empty(count, np.int64)
    out = result
    count = 0
    with nogil:
        for i in range(n):
            if wanted[of[i]]:
                out[count] = i
                count += 1
    return result


def lookup(const int64_t[::1] keys, const int64_t[::1] slot_key, const int32_t[::1] slot_code):
    cdef Py_ssize_t n = keys.shape[0], size = slot_key.shape[0], i, tried
    if slot_code.shape[0] != size or size < 1 or size & (size - 1):
        raise ValueError(f"slots must be a power of two, however: {size=}, {slot_code.shape[0]=}")
    result = np.empty(n, np.int32)
    cdef int32_t[::1] out = result
    cdef uint64_t at, mask = size - 1
    cdef int64_t before = 0
    cdef int32_t code = -1
    with nogil:
        for i in range(n):
            if i and keys[i] == before:
                out[i] = code
                continue
            before = keys[i]
            at = _mix(<uint64_t>keys[i], 0) & mask
            code = -1
            for tried in range(size):
                if slot_code[at] < 0:
                    break
                if slot_key[at] == keys[i]:
                    code = slot_code[at]
                    break
                at = (at + 1) & mask
            out[i] = code
    return result


def intern(
    const int64_t[::1] keys,
    int32_t[::1] codes,
    Py_ssize_t at,
    int64_t[::1] slot_key,
    int32_t[::1] slot_code,
    int64_t[::1] known,
    Py_ssize_t size,
    Py_ssize_t limit,
):
    cdef Py_ssize_t n = keys.shape[0], slots = slot_key.shape[0]
    if slot_code.shape[0] != slots or slots < 1 or slots & (slots - 1):
        raise ValueError(f"slots must be a power of two, however: {slots=}, {slot_code.shape[0]=}")
    if codes.shape[0] != n or at < 0 or size < 0 or not size <= limit <= known.shape[0] or limit >= slots:
        raise ValueError(f"no room for what is asked, however: {n=}, {codes.shape[0]=}, {at=}, {size=}, {limit=}, {slots=}")
    cdef uint64_t slot, mask = slots - 1
    cdef int32_t code
    with nogil:
        while at < n:
            slot = _mix(<uint64_t>keys[at], 0) & mask
            code = -1
            while slot_code[slot] >= 0:  # ends: fewer codes than slots
                if slot_key[slot] == keys[at]:
                    code = slot_code[slot]
                    break
                slot = (slot + 1) & mask
            if code < 0:
                if size >= limit:
                    break
                code = <int32_t>size
                slot_key[slot], slot_code[slot], known[size] = keys[at], code, keys[at]
                size += 1
            codes[at] = code
            at += 1
    return at, size


cdef inline int32_t _code(int64_t key, const int64_t[::1] slot_key, const int32_t[::1] slot_code, uint64_t mask) noexcept nogil:
    cdef uint64_t at = _mix(<uint64_t>key, 0) & mask
    cdef uint64_t tried
    for tried in range(mask + 1):
        if slot_code[at] < 0:
            return -1
        if slot_key[at] == key:
            return slot_code[at]
        at = (at + 1) & mask
    return -1


def chained(
    const int32_t[::1] first,
    const int32_t[::1] owner,
    const int64_t[::1] second,
    const int64_t[::1] third,
    int shift,
    const int64_t[::1] inner_key,
    const int32_t[::1] inner_code,
    const int64_t[::1] outer_key,
    const int32_t[::1] outer_code,
):
    cdef Py_ssize_t n = owner.shape[0], m = first.shape[0], inner = inner_key.shape[0], outer = outer_key.shape[0], i
    if second.shape[0] != n or third.shape[0] != n or not 0 <= shift < 63:
        raise ValueError(f"columns must be as long, however: {n=}, {second.shape[0]=}, {third.shape[0]=}, {shift=}")
    if inner_code.shape[0] != inner or inner < 1 or inner & (inner - 1) or outer_code.shape[0] != outer or outer < 1 or outer & (outer - 1):
        raise ValueError(f"slots must be a power of two, however: {inner=}, {outer=}")
    inners, outers = np.empty(n, np.int32), np.empty(n, np.int32)
    cdef int32_t[::1] a = inners
    cdef int32_t[::1] b = outers
    cdef int32_t of, code
    cdef bint wrong = False
    with nogil:
        for i in range(n):
            of = owner[i]
            if of < 0 or of >= m:
                wrong = True
                break
            code = -1
            if first[of] >= 0:
                code = _code((<int64_t>first[of] << shift) | second[i], inner_key, inner_code, inner - 1)
            a[i] = code
            b[i] = -1 if code < 0 else _code((<int64_t>code << shift) | third[i], outer_key, outer_code, outer - 1)
    if wrong:
        raise ValueError("owners must be rows")
    return inners, outers
