/* The protobuf wire format, read with every access checked: Encoding, protobuf.dev/programming-guides/encoding.
 *
 * Readers take the next byte and the end, and return the byte after what they read, or NULL where the bytes are malformed.
 * What is malformed is what upb refuses: varints over 10 bytes, tags over 5 bytes or over 32 bits, field 0, wire types 6 and 7,
 * groups that end elsewhere, more than 100 messages within each other.
 */
#ifndef WHENCE_WIRE_H
#define WHENCE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A build with -DWHENCE_DROP_CHECK=n leaves out bounds check n: the fuzz run must notice. */
#ifndef WHENCE_DROP_CHECK
#define WHENCE_DROP_CHECK 0
#endif
#define BOUND(number, holds) (WHENCE_DROP_CHECK == (number) || (holds))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef const uint8_t *Bytes;

typedef struct {
    Bytes at;
    size_t size;
} Piece;

enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };
enum { DEPTH_LIMIT = 100 };

#define TAG(field, wire) ((uint32_t)(field) << 3 | (wire))

static inline size_t left(Bytes p, Bytes end) { return (size_t)(end - p); }

static inline Bytes long_varint(Bytes p, Bytes end, int longest, uint64_t *value) {
    uint64_t found = 0;
    for (int i = 0; i < longest; i++) {
        if (!BOUND(1, p < end)) return NULL;
        uint64_t byte = *p++;
        found |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = found;
            return p;
        }
    }
    return NULL;
}

static inline Bytes varint(Bytes p, Bytes end, uint64_t *value) {
    if (LIKELY(BOUND(2, p < end) && *p < 0x80)) {
        *value = *p;
        return p + 1;
    }
    if (left(p, end) >= 2 && p[1] < 0x80) { /* two bytes, as most counts and sizes that are not one */
        *value = (p[0] & 0x7f) | (uint64_t)p[1] << 7;
        return p + 2;
    }
    return long_varint(p, end, 10, value);
}

static inline Bytes read_tag(Bytes p, Bytes end, uint32_t *tag) {
    uint64_t value;
    if (LIKELY(BOUND(3, p < end) && *p < 0x80)) {
        value = *p++;
    } else {
        p = long_varint(p, end, 5, &value);
        if (!p || value > UINT32_MAX) return NULL;
    }
    *tag = (uint32_t)value;
    return value >> 3 ? p : NULL;
}

/* A length and what it measures. */
static inline Bytes delimited(Bytes p, Bytes end, Piece *piece) {
    uint64_t size;
    if (LIKELY(BOUND(4, p < end) && *p < 0x80)) {
        size = *p++;
    } else {
        p = long_varint(p, end, 5, &size);
        if (!p) return NULL;
    }
    if (!BOUND(5, size <= left(p, end))) return NULL;
    piece->at = p;
    piece->size = (size_t)size;
    return p + size;
}

static inline uint64_t little64(Bytes p) {
    uint64_t value;
    memcpy(&value, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint64_t big64(Bytes p) {
    uint64_t value;
    memcpy(&value, p, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t little32(Bytes p) {
    uint32_t value;
    memcpy(&value, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

static inline Bytes fixed64(Bytes p, Bytes end, uint64_t *value) {
    if (!BOUND(6, left(p, end) >= 8)) return NULL;
    *value = little64(p);
    return p + 8;
}

static inline Bytes fixed32(Bytes p, Bytes end, uint32_t *value) {
    if (!BOUND(7, left(p, end) >= 4)) return NULL;
    *value = little32(p);
    return p + 4;
}

/* Skips the value of a field that nobody knows; `depth` is how many messages may yet stand within this one. */
static Bytes skip(Bytes p, Bytes end, uint32_t tag, int depth) {
    uint64_t wide;
    uint32_t narrow;
    Piece piece;
    switch (tag & 7) {
    case VARINT: return varint(p, end, &wide);
    case FIXED64: return fixed64(p, end, &wide);
    case DELIMITED: return delimited(p, end, &piece);
    case FIXED32: return fixed32(p, end, &narrow);
    case GROUP:
        if (depth <= 0) return NULL;
        for (;;) {
            uint32_t inner;
            p = read_tag(p, end, &inner);
            if (!p) return NULL;
            if ((inner & 7) == GROUP_END) return inner >> 3 == tag >> 3 ? p : NULL;
            p = skip(p, end, inner, depth - 1);
            if (!p) return NULL;
        }
    default: return NULL;
    }
}

/* Whether all bytes are ASCII. */
static inline int ascii(Bytes p, size_t size) {
    const uint64_t high = 0x8080808080808080u;
    if (size >= 8) {
        uint64_t seen = little64(p + size - 8);
        for (size_t i = 0; i + 8 < size; i += 8) seen |= little64(p + i);
        return !(seen & high);
    }
    uint8_t seen = 0;
    for (size_t i = 0; i < size; i++) seen |= p[i];
    return seen < 0x80;
}

/* Whether bytes are UTF-8: no surrogates, nothing longer than needed, nothing past U+10FFFF (RFC 3629). */
static int utf8_slow(Bytes p, size_t size) {
    Bytes end = p + size;
    while (p < end) {
        uint8_t first = *p++;
        if (first < 0x80) continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || !BOUND(8, left(p, end) >= (size_t)more)) return 0;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (*p < low || *p > high) return 0;
        p++;
        while (--more)
            if ((*p++ & 0xc0) != 0x80) return 0;
    }
    return 1;
}

static inline int utf8(Bytes p, size_t size) { return LIKELY(ascii(p, size)) || utf8_slow(p, size); }

#endif
