/* Log records. */
#ifndef WHENCE_LOGS_H
#define WHENCE_LOGS_H

#include "walk.h"

enum { LOG_PEERS, LOG_PLACES, LOG_EXCEPTIONS, LOG_STATEMENTS, LOG_EVENTS };
enum { LOG_DEPTH = DEPTH_LIMIT - 3, SEVERITY_ERRORS = 17, SEVERITY_LAST = 24, SEVERITY_TEXTS = 64 };

typedef struct {
    uint64_t time_ns, trace_hi, trace_lo, span;
    int32_t resource, severity_text, template, error_template, exception, event, peer, statement;
    uint8_t severity;
} LogRow;

/* A record that may be a change: its name is looked at after the walk. */
typedef struct {
    Piece record;
    size_t row;
} EventRow;

typedef struct {
    uint8_t text[16], size, number;
} SeverityText;

static SeverityText severity_texts[SEVERITY_TEXTS];
static int severity_text_count;

/* Keys of a structured body that hold what a person would read, in the order of preference. */
static SeverityText body_keys[8];
static int body_key_count;

/* Number of a severity text, 0 for an unknown one, -1 where it is not ASCII. */
static int severity_of(Piece text) {
    uint8_t upper[16];
    size_t start = 0, stop = text.size;
    if (!ascii(text.at, text.size)) return -1;
#define SPACE(c) ((c) == ' ' || ((c) >= 9 && (c) <= 13) || ((c) >= 28 && (c) <= 31))
    while (start < stop && SPACE(text.at[start])) start++;
    while (stop > start && SPACE(text.at[stop - 1])) stop--;
#undef SPACE
    if (stop - start > 15) return 0;
    for (size_t i = start; i < stop; i++) upper[i - start] = text.at[i] >= 'a' && text.at[i] <= 'z' ? text.at[i] - 32 : text.at[i];
    for (int i = 0; i < severity_text_count; i++)
        if (severity_texts[i].size == stop - start && !memcmp(severity_texts[i].text, upper, stop - start)) return severity_texts[i].number;
    return 0;
}

/* The string of an AnyValue that holds one and nothing else; {NULL, 0} for any other. */
static Piece only_string(Piece value) {
    Piece text = {NULL, 0};
    Bytes end = value.at + value.size;
    if (value.size < 2 || value.at[0] != TAG(1, DELIMITED) || delimited(value.at + 1, end, &text) != end) return (Piece){NULL, 0};
    return text;
}

/* What a person would read of a structured body: the first key of body_keys whose value is a string. The body was checked.
 * {NULL, 0} where only Python knows: values that are given twice, bytes, no such key. */
static Piece text_of_list(Piece body) {
    Piece none = {NULL, 0}, found[8] = {{NULL, 0}}, list, pair;
    Bytes p, end = body.at + body.size;
    if (body.size < 2 || body.at[0] != TAG(6, DELIMITED) || delimited(body.at + 1, end, &list) != end) return none;
    for (p = list.at, end = list.at + list.size; p < end;) {
        uint32_t tag;
        if (!(p = read_tag(p, end, &tag)) || tag != TAG(1, DELIMITED) || !(p = delimited(p, end, &pair))) return none;
        Bytes at = pair.at, stop = pair.at + pair.size;
        Piece key, value;
        if (at >= stop || *at != TAG(1, DELIMITED) || !(at = delimited(at + 1, stop, &key)) || at >= stop || *at != TAG(2, DELIMITED)
            || delimited(at + 1, stop, &value) != stop)
            return none;
        for (int i = 0; i < body_key_count; i++) {
            if (body_keys[i].size != key.size || memcmp(body_keys[i].text, key.at, key.size)) continue;
            if (found[i].at) return none; /* given twice */
            found[i] = value;
        }
    }
    for (int i = 0; i < body_key_count; i++) {
        if (!found[i].at || !found[i].size) continue;
        Piece text = only_string(found[i]);
        if (!text.at) return none; /* bytes, too, are text to Python: base64 */
        if (text.size) return text;
    }
    return none;
}

static int entry_of_body(Walk *w, Piece body, int is_error, int32_t place, int32_t *entry) {
    Piece text = body.size ? only_string(body) : body;
    if (!text.at && body.size) text = text_of_list(body);
    if (!body.size) text.at = (Bytes) "";
    if (text.at) return entry_of_text(w, text, is_error ? TEXT_ERROR : TEXT, place, entry);
    return entry_of(w, T_TEMPLATES, body.at, body.size, (uint64_t)(place + 1) << 8 | (is_error ? BODY_ERROR : BODY), entry);
}

static int take_log(Walk *w, Piece item, int32_t resource) {
    Bytes p = item.at, end = p + item.size;
    Piece trace = {NULL, 0}, span = trace, level = trace, body = trace, name = trace, piece;
    uint64_t time_ns = 0, observed_ns = 0, severity = 0;
    int attributes = 0, bodies = 0;
    w->set = 0;
    w->joined.count = 0;
    while (p < end) {
        uint32_t tag;
        if (UNLIKELY(!(p = read_tag(p, end, &tag)))) return fails(w, MALFORMED);
        switch (tag) {
        case TAG(1, FIXED64): p = fixed64(p, end, &time_ns); break;
        case TAG(2, VARINT): p = varint(p, end, &severity); break;
        case TAG(3, DELIMITED):
            p = delimited(p, end, &level);
            if (p && !utf8(level.at, level.size)) p = NULL;
            break;
        case TAG(5, DELIMITED):
            if (!(p = delimited(p, end, &piece))) break;
            if (LIKELY(only_string(piece).at)) {
                if (!utf8(only_string(piece).at, only_string(piece).size)) return fails(w, MALFORMED);
            } else if (!check_message(piece, M_ANY_VALUE, LOG_DEPTH - 1)) {
                return fails(w, MALFORMED);
            }
            if (bodies++) { /* a field given twice is the two joined */
                uint8_t *room = rows_room(&w->joined, body.size + piece.size, 1);
                if (!room) return fails(w, NO_MEMORY);
                if (bodies == 2) {
                    if (body.size) memcpy(room, body.at, body.size);
                    w->joined.count = body.size;
                }
                if (piece.size) memcpy(w->joined.rows + w->joined.count, piece.at, piece.size);
                w->joined.count += piece.size;
                body = (Piece){w->joined.rows, w->joined.count};
            } else {
                body = piece;
            }
            break;
        case TAG(6, DELIMITED):
            if (!(p = delimited(p, end, &piece))) break;
            if (!take_attribute(w, piece, &log_keys, attributes++ < ATTRIBUTES_CAP ? ~(uint64_t)0 : 0, LOG_DEPTH - 1)) return 0;
            break;
        case TAG(9, DELIMITED): p = delimited(p, end, &trace); break;
        case TAG(10, DELIMITED): p = delimited(p, end, &span); break;
        case TAG(11, FIXED64): p = fixed64(p, end, &observed_ns); break;
        case TAG(12, DELIMITED):
            p = delimited(p, end, &name);
            if (p && !utf8(name.at, name.size)) p = NULL;
            break;
        default: p = check_field(p, end, tag, M_LOG_RECORD, LOG_DEPTH);
        }
        if (UNLIKELY(!p)) return fails(w, MALFORMED);
    }
    LogRow *row = rows_room(&w->logs, 1, sizeof(LogRow));
    uint64_t none;
    if (UNLIKELY(!row)) return fails(w, NO_MEMORY);
    if (!id_words(w, trace, 16, &row->trace_hi, &row->trace_lo) || !id_words(w, span, 8, &none, &row->span)) return 0;
    row->time_ns = time_ns ? time_ns : observed_ns;
    if (!row->time_ns) {
        w->dropped[DROP_NO_TIME]++;
        return 1;
    }
    if (row->time_ns > INT64_MAX) return fails(w, OUT_OF_RANGE);
    row->resource = resource;
    row->severity_text = row->error_template = row->event = -1;
    int32_t number = (int32_t)(uint32_t)severity, place;
    if (number <= 0 || number > SEVERITY_LAST) {
        number = level.size ? severity_of(level) : 0;
        if (number < 0) { /* only Python knows it, after the walk: both templates, then */
            number = 0;
            if (!entry_of(w, T_SEVERITIES, level.at, level.size, 0, &row->severity_text)) return 0;
        }
    }
    row->severity = (uint8_t)number;
    if (!entry_of_group(w, &log_keys, LOG_PLACES, TAG(6, DELIMITED), T_PLACES, 0, &place)
        || !entry_of_body(w, body, number >= SEVERITY_ERRORS, place, &row->template)
        || (row->severity_text >= 0 && !entry_of_body(w, body, 1, place, &row->error_template))
        || !entry_of_group(w, &log_keys, LOG_PEERS, TAG(6, DELIMITED), T_PEERS, 0, &row->peer)
        || !entry_of_group(w, &log_keys, LOG_EXCEPTIONS, TAG(6, DELIMITED), T_EXCEPTIONS, 0, &row->exception)
        || !entry_of_first(w, &log_keys, LOG_STATEMENTS, TAG(6, DELIMITED), STATEMENT_TEXT, LOG_STATEMENT, &row->statement))
        return 0;
    if (name.size ? !entry_of(w, T_EVENTS, name.at, name.size, 0, &row->event)
                  : !entry_of_group(w, &log_keys, LOG_EVENTS, TAG(6, DELIMITED), T_EVENTS, 1, &row->event))
        return 0;
    if (row->event >= 0) {
        EventRow *event = rows_room(&w->events, 1, sizeof(EventRow));
        if (!event) return fails(w, NO_MEMORY);
        *event = (EventRow){item, w->logs.count};
        w->events.count++;
    }
    w->logs.count++;
    return 1;
}

static int walk_logs(Walk *w) {
    for (size_t i = 0; i < w->blocks.count; i++)
        if (!walk_block(w, (Block *)w->blocks.rows + i, M_RESOURCE_LOGS, M_SCOPE_LOGS, M_LOG_RECORD, take_log, NULL)) return 0;
    return 1;
}

typedef struct {
    int64_t *time_ns;
    uint64_t *trace_hi, *trace_lo, *span;
    int32_t *resource, *template, *exception, *event_name, *peer, *statement;
    uint8_t *severity;
} LogOut;

static void write_logs(const Walk *w, LogOut out) {
    const LogRow *row = (const LogRow *)w->logs.rows;
    for (size_t i = 0; i < w->logs.count; i++, row++) {
        int32_t severity = row->severity_text < 0 ? row->severity : value_of(w, T_SEVERITIES, row->severity_text, 0);
        int is_error = row->error_template >= 0 && severity >= SEVERITY_ERRORS;
        out.time_ns[i] = (int64_t)row->time_ns;
        out.trace_hi[i] = row->trace_hi;
        out.trace_lo[i] = row->trace_lo;
        out.span[i] = row->span;
        out.resource[i] = value_of(w, T_RESOURCES, row->resource, 0);
        out.template[i] = value_of(w, T_TEMPLATES, is_error ? row->error_template : row->template, 0);
        out.exception[i] = value_of(w, T_EXCEPTIONS, row->exception, 0);
        out.event_name[i] = value_of(w, T_EVENTS, row->event, 0);
        out.peer[i] = value_of(w, T_PEERS, row->peer, 0);
        out.statement[i] = value_of(w, T_TEMPLATES, row->statement, 0);
        out.severity[i] = (uint8_t)severity;
    }
}

#endif
