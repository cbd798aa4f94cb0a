/* Spans and their links. */
#ifndef WHENCE_SPANS_H
#define WHENCE_SPANS_H

#include "walk.h"

enum { SPAN_CALLEE, SPAN_ERROR_TYPE, SPAN_MESSAGES, SPAN_STATEMENTS };
enum { SPAN_DEPTH = DEPTH_LIMIT - 3 };

typedef struct {
    uint64_t trace_hi, trace_lo, span, parent, start_ns, end_ns;
    int32_t resource, operation, callee, error_type, message, statement, state;
    uint8_t kind, status;
} SpanRow;

typedef struct {
    int64_t row;
    uint64_t trace_hi, trace_lo, span;
} LinkRow;

/* The attributes of an exception event are the span's, unless the span or an earlier event says otherwise. */
static int take_event(Walk *w, Piece event, uint64_t of_span) {
    if (!check_message(event, M_EVENT, SPAN_DEPTH - 1)) return fails(w, MALFORMED);
    Piece name = last_of(event, 2);
    if (name.size != 9 || memcmp(name.at, "exception", 9)) return 1;
    uint64_t allowed = ~(w->set | of_span);
    Bytes p = event.at, end = p + event.size;
    for (int attributes = 0; p < end && attributes < ATTRIBUTES_CAP;) {
        uint32_t tag;
        Piece pair;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        if (tag != TAG(3, DELIMITED)) {
            if (!(p = skip(p, end, tag, SPAN_DEPTH))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = delimited(p, end, &pair))) return fails(w, MALFORMED);
        attributes++;
        if (!take_attribute(w, pair, &span_keys, allowed, SPAN_DEPTH - 2)) return 0;
    }
    return 1;
}

/* Takes a link; whether its ids are wrong is told by `bad`, for a span that is dropped takes its links along. */
static int take_link(Walk *w, Piece link, int *bad) {
    if (!check_message(link, M_LINK, SPAN_DEPTH - 1)) return fails(w, MALFORMED);
    Piece trace = last_of(link, 1), span = last_of(link, 2);
    LinkRow *row = rows_room(&w->links, 1, sizeof(LinkRow));
    if (!row) return fails(w, NO_MEMORY);
    if ((trace.size && trace.size != 16) || (span.size && span.size != 8)) {
        *bad = 1;
        return 1;
    }
    uint64_t none;
    if (!id_words(w, trace, 16, &row->trace_hi, &row->trace_lo) || !id_words(w, span, 8, &none, &row->span)) return 0;
    row->row = (int64_t)w->spans.count;
    if ((row->trace_hi || row->trace_lo) && row->span) w->links.count++;
    return 1;
}

static int take_status(Walk *w, Piece status, Piece *message, uint64_t *code) {
    Bytes p = status.at, end = p + status.size;
    while (p < end) {
        uint32_t tag;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        switch (tag) {
        case TAG(2, DELIMITED):
            p = delimited(p, end, message);
            if (p && !utf8(message->at, message->size)) p = NULL;
            break;
        case TAG(3, VARINT): p = varint(p, end, code); break;
        default: p = check_field(p, end, tag, M_STATUS, SPAN_DEPTH - 1);
        }
        if (!p) return fails(w, MALFORMED);
    }
    return 1;
}

static int take_span(Walk *w, Piece item, int32_t resource) {
    Bytes p = item.at, end = p + item.size;
    Piece trace = {NULL, 0}, span = trace, parent = trace, state = trace, name = trace, message = trace, piece;
    uint64_t kind = 0, start_ns = 0, end_ns = 0, code = 0, of_span = 0, before;
    size_t links = w->links.count;
    int attributes = 0, events = 0, bad_link = 0;
    w->set = 0;
    while (p < end) {
        uint32_t tag;
        if (UNLIKELY(!(p = read_tag(p, end, &tag)))) return fails(w, MALFORMED);
        switch (tag) {
        case TAG(1, DELIMITED): p = delimited(p, end, &trace); break;
        case TAG(2, DELIMITED): p = delimited(p, end, &span); break;
        case TAG(3, DELIMITED):
            p = delimited(p, end, &state);
            if (p && !utf8(state.at, state.size)) p = NULL;
            break;
        case TAG(4, DELIMITED): p = delimited(p, end, &parent); break;
        case TAG(5, DELIMITED):
            p = delimited(p, end, &name);
            if (p && !utf8(name.at, name.size)) p = NULL;
            break;
        case TAG(6, VARINT): p = varint(p, end, &kind); break;
        case TAG(7, FIXED64): p = fixed64(p, end, &start_ns); break;
        case TAG(8, FIXED64): p = fixed64(p, end, &end_ns); break;
        case TAG(9, DELIMITED):
            if (UNLIKELY(!(p = delimited(p, end, &piece)))) break;
            before = w->set;
            if (UNLIKELY(events)) w->set = of_span; /* an attribute after an event: what the span says, counts */
            if (!take_attribute(w, piece, &span_keys, attributes++ < ATTRIBUTES_CAP ? ~(uint64_t)0 : 0, SPAN_DEPTH - 1)) return 0;
            of_span = w->set;
            w->set |= before;
            break;
        case TAG(11, DELIMITED):
            if (!(p = delimited(p, end, &piece))) break;
            if (!take_event(w, piece, of_span)) return 0;
            events = 1;
            break;
        case TAG(13, DELIMITED):
            if (!(p = delimited(p, end, &piece))) break;
            if (!take_link(w, piece, &bad_link)) return 0;
            break;
        case TAG(15, DELIMITED):
            if (!(p = delimited(p, end, &piece))) break;
            if (!take_status(w, piece, &message, &code)) return 0;
            break;
        default: p = check_field(p, end, tag, M_SPAN, SPAN_DEPTH);
        }
        if (UNLIKELY(!p)) return fails(w, MALFORMED);
    }
    SpanRow *row = rows_room(&w->spans, 1, sizeof(SpanRow));
    uint64_t none;
    if (UNLIKELY(!row)) return fails(w, NO_MEMORY);
    if (!id_words(w, trace, 16, &row->trace_hi, &row->trace_lo) || !id_words(w, span, 8, &none, &row->span)
        || !id_words(w, parent, 8, &none, &row->parent))
        return 0;
    int dropped = !(row->trace_hi || row->trace_lo) || !row->span ? DROP_NO_ID : !start_ns || start_ns > end_ns ? DROP_NO_TIME : -1;
    if (UNLIKELY(dropped >= 0)) {
        w->dropped[dropped]++;
        w->links.count = links;
        return 1;
    }
    if (bad_link) return fails(w, BAD_ID);
    if (end_ns > INT64_MAX) return fails(w, OUT_OF_RANGE);
    row->start_ns = start_ns;
    row->end_ns = end_ns;
    row->resource = resource;
    row->kind = (uint32_t)kind <= 5 ? (uint8_t)kind : 0;
    row->status = (uint32_t)code <= 2 ? (uint8_t)code : 0;
    if (!entry_of(w, T_OPERATIONS, name.at, name.size, 0, &row->operation)) return 0;
    row->message = row->statement = row->state = -1;
    if (!entry_of_group(w, &span_keys, SPAN_CALLEE, TAG(9, DELIMITED), T_CALLEES, row->kind, &row->callee)) return 0;
    if (!entry_of_group(w, &span_keys, SPAN_ERROR_TYPE, TAG(9, DELIMITED), T_ERROR_TYPES, row->kind, &row->error_type)) return 0;
    if (message.size ? !entry_of_text(w, message, TEXT, -1, &row->message)
                     : !entry_of_first(w, &span_keys, SPAN_MESSAGES, TAG(9, DELIMITED), TEXT, SPAN_MESSAGE, &row->message))
        return 0;
    if (!entry_of_first(w, &span_keys, SPAN_STATEMENTS, TAG(9, DELIMITED), STATEMENT_TEXT, SPAN_STATEMENT, &row->statement)) return 0;
    if (state.size && !entry_of(w, T_STATES, state.at, state.size, 0, &row->state)) return 0;
    w->spans.count++;
    return 1;
}

static int walk_traces(Walk *w) {
    for (size_t i = 0; i < w->blocks.count; i++)
        if (!walk_block(w, (Block *)w->blocks.rows + i, M_RESOURCE_SPANS, M_SCOPE_SPANS, M_SPAN, take_span, NULL)) return 0;
    return 1;
}

/* Where the columns go; each has room for as many values as there are rows. */
typedef struct {
    int64_t *time_ns, *start_ns;
    uint64_t *trace_hi, *trace_lo, *span, *parent;
    int32_t *resource, *operation, *peer, *error_type, *message, *statement;
    float *weight;
    uint8_t *kind, *status, *peer_kind;
} SpanOut;

static void write_spans(const Walk *w, SpanOut out) {
    const SpanRow *row = (const SpanRow *)w->spans.rows;
    for (size_t i = 0; i < w->spans.count; i++, row++) {
        out.time_ns[i] = (int64_t)row->end_ns;
        out.start_ns[i] = (int64_t)row->start_ns;
        out.trace_hi[i] = row->trace_hi;
        out.trace_lo[i] = row->trace_lo;
        out.span[i] = row->span;
        out.parent[i] = row->parent;
        out.resource[i] = value_of(w, T_RESOURCES, row->resource, 0);
        out.operation[i] = value_of(w, T_OPERATIONS, row->operation, 0);
        out.peer[i] = value_of(w, T_CALLEES, row->callee, 0);
        out.peer_kind[i] = (uint8_t)value_of(w, T_CALLEES, row->callee, 1);
        out.error_type[i] = value_of(w, T_ERROR_TYPES, row->error_type, 0);
        out.message[i] = value_of(w, T_TEMPLATES, row->message, 0);
        out.statement[i] = value_of(w, T_TEMPLATES, row->statement, 0);
        int32_t bits = value_of(w, T_STATES, row->state, 0);
        if (row->state < 0) out.weight[i] = 1.0f;
        else memcpy(&out.weight[i], &bits, 4);
        out.kind[i] = row->kind;
        out.status[i] = row->status;
    }
}

static void write_links(const Walk *w, int64_t *rows, uint64_t *trace_hi, uint64_t *trace_lo, uint64_t *span) {
    const LinkRow *row = (const LinkRow *)w->links.rows;
    for (size_t i = 0; i < w->links.count; i++, row++) {
        rows[i] = row->row;
        trace_hi[i] = row->trace_hi;
        trace_lo[i] = row->trace_lo;
        span[i] = row->span;
    }
}

#endif
