/* The state of a walk, and what spans, log records and points have in common: resources, attributes, keys of what Python is asked. */
#ifndef WHENCE_WALK_H
#define WHENCE_WALK_H

#include "buckets.h"
#include "fold.h"
#include "schema.h"
#include "table.h"

enum { FINE = 0, MALFORMED, BAD_ID, OUT_OF_RANGE, NO_MEMORY };
enum { DROP_OWN, DROP_NO_TIME, DROP_NO_ID, DROP_SHAPE, DROPS };
enum { ATTRIBUTES_CAP = 1024, KEYS = 64, KEY_LONGEST = 63, GROUPS = 8 };

/* Tables, in the order of walker.pyx. */
enum {
    T_RESOURCES, T_OPERATIONS, T_CALLEES, T_ERROR_TYPES, T_STATES, T_PLACES, T_TEMPLATES, T_PEERS, T_EXCEPTIONS, T_SEVERITIES, T_EVENTS,
    T_METRICS, T_UNITS, T_SERIES, TABLES
};

/* What the bytes of a template's entry are: folded text, text to fold, or attributes and bodies that only Python reads. */
enum { FOLDED, TEXT, TEXT_ERROR, STATEMENT_TEXT, SPAN_MESSAGE, SPAN_STATEMENT, LOG_STATEMENT, BODY, BODY_ERROR };

/* Attribute keys that are read, group by group; within a group in the order of preference. */
typedef struct {
    uint8_t bytes[KEYS][KEY_LONGEST + 1], sizes[KEYS], slots[256];
    uint64_t groups[GROUPS], urls, lengths; /* bits of keys; bits of sizes */
    uint32_t multiplier;
    int count;
} Keys;

static Keys span_keys, log_keys;

typedef struct {
    Piece pair, text; /* the KeyValue; its value if it is a plain string */
} Slot;

typedef struct {
    Piece whole;
    int32_t resource;
} Block;

typedef struct {
    Table tables[TABLES];
    Rows blocks, spans, links, logs, events, points, counts, bound_values;
    Table bounds; /* of this request */
    Rows key, joined, point_bounds, up, down; /* of this item */
    Edge edges[EDGES];
    Shape written; /* what of written_bounds are */
    double written_bounds[WRITTEN], written_counts[WRITTEN];
    Slot slots[KEYS];
    uint64_t set;
    int64_t dropped[DROPS];
    int error;
    uint8_t *exact; /* the request, of just its size, where a build under AddressSanitizer wants it */
} Walk;

static inline int fails(Walk *w, int error) {
    if (!w->error) w->error = error;
    return 0;
}

static inline uint32_t key_hash(const Keys *keys, Bytes p, size_t size) {
    uint32_t ends = little32(p) ^ little32(p + size - 4) * 31u, middle = little32(p + (size - 3) / 2);
    return ((ends ^ middle * 0x85ebca6bu ^ (uint32_t)size * 0x9e3779b1u) * keys->multiplier) >> 24;
}

/* Number of an attribute key, -1 where it is not read. */
static inline int key_number(const Keys *keys, Bytes p, size_t size) {
    if (size > KEY_LONGEST || !(keys->lengths >> size & 1)) return -1;
    int number = keys->slots[key_hash(keys, p, size)] - 1;
    return number >= 0 && keys->sizes[number] == size && !memcmp(keys->bytes[number], p, size) ? number : -1;
}

/* Appends bytes to the key that is being made. */
static inline int key_add(Walk *w, Bytes p, size_t size) {
    uint8_t *at = rows_room(&w->key, size, 1);
    if (!at) return fails(w, NO_MEMORY);
    if (size) memcpy(at, p, size);
    w->key.count += size;
    return 1;
}

static inline int key_add_size(Walk *w, size_t size) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; size >= 0x80; size >>= 7) bytes[n++] = (uint8_t)(size | 0x80);
    bytes[n++] = (uint8_t)size;
    return key_add(w, bytes, n);
}

/* Bytes of a URL that its host depends on: all before the path; the whole where it is not plainly scheme://authority. */
static size_t authority_size(Piece url) {
    size_t at = 0;
    while (at < url.size && url.at[at] != ':' && is(url.at[at], ALNUM)) at++;
    if (!at || !is(url.at[0], LETTER) || at + 3 > url.size || memcmp(url.at + at, "://", 3)) return url.size;
    for (at += 3; at < url.size; at++) {
        uint8_t c = url.at[at];
        if (c == '/' || c == '?' || c == '#') return at;
        if (c <= 0x20 || c >= 0x7f) return url.size;
    }
    return url.size;
}

/* Takes one attribute: checks it, and keeps it in its slot if its key is one of `allowed`. NULL keys: only checks. */
static inline int take_attribute(Walk *w, Piece pair, const Keys *keys, uint64_t allowed, int depth) {
    Bytes p = pair.at, end = p + pair.size;
    Piece key, value, text = {NULL, 0};
    uint32_t tag;
    /* the usual shape: key, value, nothing else, and in the value one string or number */
    if (LIKELY(p < end && *p == TAG(1, DELIMITED) && (p = delimited(p + 1, end, &key)) && p < end && *p == TAG(2, DELIMITED)
               && (p = delimited(p + 1, end, &value)) && p == end)) {
        int usual = 0;
        uint64_t number;
        Bytes stop = value.at + value.size;
        if (LIKELY(value.size)) {
            tag = value.at[0];
            if (LIKELY(tag == TAG(1, DELIMITED)))
                usual = delimited(value.at + 1, stop, &text) == stop && utf8(text.at, text.size);
            else if (tag == TAG(2, VARINT) || tag == TAG(3, VARINT))
                usual = varint(value.at + 1, stop, &number) == stop;
            else if (tag == TAG(4, FIXED64))
                usual = value.size == 9;
        }
        if (LIKELY(usual)) {
            int number_of = key_number(keys, key.at, key.size);
            if (number_of < 0) return utf8(key.at, key.size) || fails(w, MALFORMED);
            uint64_t bit = (uint64_t)1 << number_of;
            if (allowed & bit) {
                w->set |= bit;
                w->slots[number_of] = (Slot){pair, tag == TAG(1, DELIMITED) ? text : (Piece){NULL, 0}};
            }
            return 1;
        }
    }
    if (!check_message(pair, M_KEY_VALUE, depth)) return fails(w, MALFORMED);
    key = last_of(pair, 1);
    int number_of = key.at ? key_number(keys, key.at, key.size) : -1;
    if (number_of >= 0 && allowed >> number_of & 1) {
        w->set |= (uint64_t)1 << number_of;
        w->slots[number_of] = (Slot){pair, {NULL, 0}};
    }
    return 1;
}

/* Makes the key of a group: its attributes as field `tag` of a message, URLs without path. */
static int key_of_group(Walk *w, const Keys *keys, int group, uint8_t tag) {
    for (uint64_t bits = w->set & keys->groups[group]; bits; bits &= bits - 1) {
        int number = __builtin_ctzll(bits);
        Slot *slot = &w->slots[number];
        size_t authority;
        if (!key_add(w, &tag, 1)) return 0;
        if (keys->urls >> number & 1 && slot->text.at && (authority = authority_size(slot->text)) < slot->text.size && authority < 100) {
            uint8_t size = keys->sizes[number], head[6];
            head[0] = TAG(1, DELIMITED), head[1] = size;
            if (!key_add_size(w, 6 + size + authority) || !key_add(w, head, 2) || !key_add(w, keys->bytes[number], size)) return 0;
            head[0] = TAG(2, DELIMITED), head[1] = (uint8_t)(2 + authority), head[2] = TAG(1, DELIMITED), head[3] = (uint8_t)authority;
            if (!key_add(w, head, 4) || !key_add(w, slot->text.at, authority)) return 0;
        } else if (!key_add_size(w, slot->pair.size) || !key_add(w, slot->pair.at, slot->pair.size)) {
            return 0;
        }
    }
    return 1;
}

static inline int entry_of(Walk *w, int table, Bytes p, size_t size, uint64_t word, int32_t *entry) {
    *entry = table_index(&w->tables[table], p, size, word);
    return *entry >= 0 || fails(w, NO_MEMORY);
}

static inline int32_t value_of(const Walk *w, int table, int32_t entry, int value) {
    return entry < 0 ? 0 : w->tables[table].entries[entry].values[value];
}

/* Entry of a group's attributes; -1 where it has none. */
static int entry_of_group(Walk *w, const Keys *keys, int group, uint8_t tag, int table, uint64_t word, int32_t *entry) {
    *entry = -1;
    if (!(w->set & keys->groups[group])) return 1;
    w->key.count = 0;
    return key_of_group(w, keys, group, tag) && entry_of(w, table, w->key.rows, w->key.count, word, entry);
}

/* Entry of a text's template; `how` says what it is where Python must fold it. */
static int entry_of_text(Walk *w, Piece text, int how, int32_t place, int32_t *entry) {
    uint8_t literal[FOLD_LONGEST + 3], folded[FOLD_ROOM];
    uint64_t word = (uint64_t)(place + 1) << 8;
    Piece plain = text;
    if (how == STATEMENT_TEXT && memchr(text.at, '\'', text.size)) plain = (Piece){literal, (size_t)without_literals(text.at, text.size, literal)};
    int size = fold(plain.at, plain.size, how == TEXT_ERROR ? FOLD_LONGEST : 256, folded);
    if (size < 0) return entry_of(w, T_TEMPLATES, text.at, text.size, word | (uint64_t)how, entry);
    return entry_of(w, T_TEMPLATES, folded, (size_t)size, word | FOLDED, entry);
}

/* Entry of the template of the first attribute of a group that says something; -1 for none. */
static int entry_of_first(Walk *w, const Keys *keys, int group, uint8_t tag, int how, int how_group, int32_t *entry) {
    *entry = -1;
    for (uint64_t bits = w->set & keys->groups[group]; bits; bits &= bits - 1) {
        Slot *slot = &w->slots[__builtin_ctzll(bits)];
        if (!slot->text.at) return entry_of_group(w, keys, group, tag, T_TEMPLATES, (uint64_t)how_group, entry);
        if (slot->text.size) return entry_of_text(w, slot->text, how, -1, entry);
    }
    return 1;
}

/* An id of `size` bytes as words, zeros for an absent one. */
static inline int id_words(Walk *w, Piece id, size_t size, uint64_t *high, uint64_t *low) {
    *high = *low = 0;
    if (UNLIKELY(!BOUND(9, id.size == size))) return !id.size || fails(w, BAD_ID);
    if (size == 16) *high = big64(id.at);
    *low = big64(id.at + size - 8);
    return 1;
}

/* The blocks of a request (ResourceSpans, ResourceLogs, ResourceMetrics), each with its resource. */
static int find_blocks(Walk *w, Piece request, int message) {
#ifdef WHENCE_EXACT
    w->exact = malloc(request.size);
    if (request.size) memcpy(w->exact, request.at, request.size);
    request.at = w->exact;
#endif
    Bytes p = request.at, end = p + request.size;
    while (p < end) {
        uint32_t tag;
        Piece whole;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        if (tag != TAG(1, DELIMITED)) {
            if (!(p = check_field(p, end, tag, message, DEPTH_LIMIT))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = delimited(p, end, &whole))) return fails(w, MALFORMED);
        Piece resource = {whole.at, 0};
        int pieces = 0;
        w->key.count = 0;
        for (Bytes at = whole.at, stop = whole.at + whole.size; at < stop;) {
            if (!(at = read_tag(at, stop, &tag))) return fails(w, MALFORMED);
            if (tag != TAG(1, DELIMITED)) {
                if (!(at = skip(at, stop, tag, DEPTH_LIMIT - 1))) return fails(w, MALFORMED);
                continue;
            }
            Piece piece;
            if (!(at = delimited(at, stop, &piece))) return fails(w, MALFORMED);
            if (pieces++) { /* a field given twice is the two joined; each must be a message by itself */
                if (pieces == 2 && !(check_message(resource, M_RESOURCE, DEPTH_LIMIT - 2) || fails(w, MALFORMED))) return 0;
                if (pieces == 2 && !key_add(w, resource.at, resource.size)) return 0;
                if (!(check_message(piece, M_RESOURCE, DEPTH_LIMIT - 2) || fails(w, MALFORMED)) || !key_add(w, piece.at, piece.size)) return 0;
            } else {
                resource = piece;
            }
        }
        if (pieces > 1) resource = (Piece){w->key.rows, w->key.count};
        Block *block = rows_room(&w->blocks, 1, sizeof(Block));
        if (!block) return fails(w, NO_MEMORY);
        int32_t before = w->tables[T_RESOURCES].count;
        if (!entry_of(w, T_RESOURCES, resource.at, resource.size, 0, &block->resource)) return 0;
        if (block->resource >= before && !check_message(resource, M_RESOURCE, DEPTH_LIMIT - 2)) return fails(w, MALFORMED);
        block->whole = whole;
        w->blocks.count++;
    }
    return 1;
}

typedef int Take(Walk *w, Piece item, int32_t resource);

/* Walks the items of a block: field 2 of it are scopes, field 2 of those are items. `take` is NULL for whence's own telemetry. */
static inline int walk_block(Walk *w, const Block *block, int message, int scope_message, int item_message, Take *take, Take *own) {
    Bytes p = block->whole.at, end = p + block->whole.size;
    int is_own = w->tables[T_RESOURCES].entries[block->resource].values[1];
    while (p < end) {
        uint32_t tag;
        Piece scope, item;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        if (tag == TAG(1, DELIMITED)) {
            if (!(p = delimited(p, end, &scope))) return fails(w, MALFORMED);
            continue;
        }
        if (tag != TAG(2, DELIMITED)) {
            if (!(p = check_field(p, end, tag, message, DEPTH_LIMIT - 1))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = delimited(p, end, &scope))) return fails(w, MALFORMED);
        for (Bytes at = scope.at, stop = scope.at + scope.size; at < stop;) {
            if (!(at = read_tag(at, stop, &tag))) return fails(w, MALFORMED);
            if (tag != TAG(2, DELIMITED)) {
                if (!(at = check_field(at, stop, tag, scope_message, DEPTH_LIMIT - 2))) return fails(w, MALFORMED);
                continue;
            }
            if (!(at = delimited(at, stop, &item))) return fails(w, MALFORMED);
            if (UNLIKELY(is_own)) {
                if (!check_message(item, item_message, DEPTH_LIMIT - 3)) return fails(w, MALFORMED);
                if (own) own(w, item, block->resource);
                else w->dropped[DROP_OWN]++;
            } else if (!take(w, item, block->resource)) {
                return 0;
            }
        }
    }
    return 1;
}

/* Forgets the request: what is new in the tables is taken back unless it was resolved. */
static void finish(Walk *w) {
    Rows *rows[] = {&w->blocks, &w->spans, &w->links, &w->logs, &w->events, &w->points, &w->counts, &w->bound_values, &w->key, &w->joined,
                    &w->point_bounds, &w->up, &w->down};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        rows[i]->count = 0;
        if (rows[i]->room > 1 << 18) rows_free(rows[i]); /* after an uncommonly large request */
    }
    for (int i = 0; i < TABLES; i++) table_take_back(&w->tables[i]);
    w->bounds.resolved = 0;
    if (w->bounds.room > 1 << 14) table_free(&w->bounds);
    else table_take_back(&w->bounds);
    memset(w->dropped, 0, sizeof(w->dropped));
    w->error = FINE;
    free(w->exact);
    w->exact = NULL;
}

static void clear_tables(Walk *w) {
    for (int i = 0; i < TABLES; i++) table_free(&w->tables[i]);
}

#endif
