/* What fields the messages have, and a check of bytes against it: everything that upb would refuse is refused, nothing is kept.
 *
 * The tables are filled from the descriptors of the installed opentelemetry-proto: a field that a later version adds is known
 * here, too.
 */
#ifndef WHENCE_SCHEMA_H
#define WHENCE_SCHEMA_H

#include "wire.h"

enum { FIELDS = 32, MESSAGES = 64 };

/* How a field is checked. REPEATED numbers stand packed or one by one. */
enum {
    UNKNOWN = 0, F_VARINT, F_FIXED32, F_FIXED64, F_BYTES, F_STRING, F_MESSAGE, F_REPEATED_VARINT, F_REPEATED_FIXED32, F_REPEATED_FIXED64
};

/* Messages that the walker knows by name; those that only occur within them follow. The order is that of walker.pyx. */
enum {
    M_TRACES, M_RESOURCE_SPANS, M_SCOPE_SPANS, M_SPAN, M_EVENT, M_LINK, M_STATUS,
    M_LOGS, M_RESOURCE_LOGS, M_SCOPE_LOGS, M_LOG_RECORD,
    M_METRICS, M_RESOURCE_METRICS, M_SCOPE_METRICS, M_METRIC,
    M_GAUGE, M_SUM, M_HISTOGRAM, M_EXPONENTIAL, M_SUMMARY,
    M_NUMBER_POINT, M_HISTOGRAM_POINT, M_EXPONENTIAL_POINT, M_SUMMARY_POINT, M_BUCKETS, M_QUANTILE,
    M_RESOURCE, M_SCOPE, M_KEY_VALUE, M_ANY_VALUE, M_NAMED
};

typedef struct {
    uint8_t how, message;
} Field;

static Field schema[MESSAGES][FIELDS];

static inline Field field_of(int message, uint32_t tag) {
    return LIKELY(tag >> 3 < FIELDS) ? schema[message][tag >> 3] : (Field){UNKNOWN, 0};
}

static Bytes check_field(Bytes p, Bytes end, uint32_t tag, int message, int depth);

/* Whether `piece` is a message of that kind; `depth`: how many messages may stand within it. */
static int check_message(Piece piece, int message, int depth) {
    Bytes p = piece.at, end = p + piece.size;
    if (depth < 0) return 0;
    while (p < end) {
        uint32_t tag;
        p = read_tag(p, end, &tag);
        if (!p || !(p = check_field(p, end, tag, message, depth))) return 0;
    }
    return 1;
}

/* Checks the value of one field of a message, after its tag. */
static Bytes check_field(Bytes p, Bytes end, uint32_t tag, int message, int depth) {
    Field field = field_of(message, tag);
    if ((tag & 7) != DELIMITED || field.how <= F_FIXED64) return skip(p, end, tag, depth);
    Piece piece;
    p = delimited(p, end, &piece);
    if (!p) return NULL;
    switch (field.how) {
    case F_STRING: return utf8(piece.at, piece.size) ? p : NULL;
    case F_MESSAGE: return check_message(piece, field.message, depth - 1) ? p : NULL;
    case F_REPEATED_FIXED32: return piece.size % 4 ? NULL : p;
    case F_REPEATED_FIXED64: return piece.size % 8 ? NULL : p;
    case F_REPEATED_VARINT: {
        Bytes at = piece.at, stop = at + piece.size;
        uint64_t value;
        while (at < stop)
            if (!(at = varint(at, stop, &value))) return NULL;
        return p;
    }
    default: return p;
    }
}

/* The last value of a delimited field in a message that was checked; {NULL, 0} where it has none. */
static Piece last_of(Piece message, uint32_t field) {
    Bytes p = message.at, end = p + message.size;
    Piece found = {NULL, 0};
    while (p && p < end) {
        uint32_t tag;
        p = read_tag(p, end, &tag);
        if (!p) break;
        p = tag == TAG(field, DELIMITED) ? delimited(p, end, &found) : skip(p, end, tag, DEPTH_LIMIT);
    }
    return found;
}

#endif
