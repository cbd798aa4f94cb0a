/* Metric data points. */
#ifndef WHENCE_POINTS_H
#define WHENCE_POINTS_H

#include <math.h>

#include "buckets.h"
#include "walk.h"

enum { GAUGE = 1, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY };
enum { METRIC_DEPTH = DEPTH_LIMIT - 3, POINT_DEPTH = METRIC_DEPTH - 2, POINT_BOUNDS_CAP = 512, MONOTONIC = 1, NO_RECORDED_VALUE = 2 };

typedef struct {
    uint64_t time_ns, start_ns, count;
    double value, sum;
    size_t counts_end;
    int32_t resource, metric, unit, series, bounds;
    uint8_t type, temporality, flags;
} PointRow;

/* The metric that points are taken of. */
typedef struct {
    int32_t resource, name, unit;
    uint8_t type;
} Metric;

/* Row of some bounds in the request's table of distinct ones; the first spelling stays (0.0 equals -0.0). Mostly they are the last point's. */
static int bounds_row(Walk *w, const double *bounds, size_t count, int32_t *row) {
    const PointRow *last = w->points.count ? (const PointRow *)w->points.rows + w->points.count - 1 : NULL;
    if (last && last->bounds >= 0) {
        const Entry *known = &w->bounds.entries[last->bounds];
        if (known->size == count * sizeof(double) && !memcmp(w->bounds.bytes + known->at, bounds, known->size)) {
            *row = last->bounds;
            return 1;
        }
    }
    w->key.count = 0;
    for (size_t i = 0; i < count; i++) {
        double each = bounds[i] == 0.0 ? 0.0 : bounds[i];
        if (!key_add(w, (Bytes)&each, 8)) return 0;
    }
    int32_t before = w->bounds.count;
    *row = table_index(&w->bounds, w->key.rows, w->key.count, 0);
    if (*row < 0) return fails(w, NO_MEMORY);
    if (*row >= before && count) {
        double *kept = rows_room(&w->bound_values, count, sizeof(double));
        if (!kept) return fails(w, NO_MEMORY);
        memcpy(kept, bounds, count * sizeof(double));
        w->bound_values.count += count;
    }
    return 1;
}

static int increasing(const double *bounds, size_t count) {
    if (count && bounds[0] != bounds[0]) return 0;
    for (size_t i = 1; i < count; i++)
        if (!(bounds[i - 1] < bounds[i])) return 0;
    return 1;
}

static inline int add_double(Walk *w, Rows *rows, double value) {
    double *room = rows_room(rows, 1, sizeof(double));
    if (UNLIKELY(!room)) return fails(w, NO_MEMORY);
    *room = value;
    rows->count++;
    return 1;
}

static inline int add_count(Walk *w, Rows *rows, uint64_t count) {
    uint64_t *room = rows_room(rows, 1, sizeof(uint64_t));
    if (UNLIKELY(!room)) return fails(w, NO_MEMORY);
    *room = count;
    rows->count++;
    return 1;
}

/* A repeated 64-bit field, packed or not: doubles, or unsigned integers as doubles. */
static Bytes take_fixed(Walk *w, Bytes p, Bytes end, uint32_t tag, Rows *rows, int is_double) {
    Piece piece = {p, 8};
    uint64_t bits;
    p = (tag & 7) == DELIMITED ? delimited(p, end, &piece) : fixed64(p, end, &bits);
    if (!p || piece.size % 8) return NULL;
    double *room = rows_room(rows, piece.size / 8, sizeof(double));
    if (!room) {
        fails(w, NO_MEMORY);
        return NULL;
    }
    for (size_t i = 0; i < piece.size / 8; i++) {
        bits = little64(piece.at + 8 * i);
        room[i] = is_double ? double_of(bits) : (double)bits;
    }
    rows->count += piece.size / 8;
    return p;
}

/* One side of an exponential histogram; given twice, the second goes on where the first ended. */
static int take_side(Walk *w, Piece piece, Side *side, Rows *counts) {
    Bytes p = piece.at, end = p + piece.size;
    while (p < end) {
        uint32_t tag;
        uint64_t value;
        Piece packed;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        if (tag == TAG(1, VARINT)) {
            if (!(p = varint(p, end, &value))) return fails(w, MALFORMED);
            uint32_t zigzag = (uint32_t)value;
            side->offset = (int32_t)(zigzag >> 1 ^ (0u - (zigzag & 1)));
            continue;
        }
        if (tag == TAG(2, VARINT)) {
            if (!(p = varint(p, end, &value))) return fails(w, MALFORMED);
            if (!add_count(w, counts, value)) return 0;
            continue;
        }
        if (tag == TAG(2, DELIMITED)) {
            if (!(p = delimited(p, end, &packed))) return fails(w, MALFORMED);
            uint64_t *room = rows_room(counts, packed.size, sizeof(uint64_t)); /* a byte a count at least */
            if (!room) return fails(w, NO_MEMORY);
            for (Bytes at = packed.at; at < p; counts->count++)
                if (!(at = varint(at, p, room++))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = check_field(p, end, tag, M_BUCKETS, POINT_DEPTH - 1))) return fails(w, MALFORMED);
    }
    return 1;
}

static int take_quantile(Walk *w, Piece piece) {
    Bytes p = piece.at, end = p + piece.size;
    uint64_t quantile = 0, value = 0;
    while (p < end) {
        uint32_t tag;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        p = tag == TAG(1, FIXED64)   ? fixed64(p, end, &quantile)
            : tag == TAG(2, FIXED64) ? fixed64(p, end, &value)
                                     : check_field(p, end, tag, M_QUANTILE, POINT_DEPTH - 1);
        if (!p) return fails(w, MALFORMED);
    }
    return add_double(w, &w->point_bounds, double_of(quantile)) && add_double(w, &w->counts, double_of(value));
}

static const uint8_t point_messages[] = {0, M_NUMBER_POINT, M_NUMBER_POINT, M_HISTOGRAM_POINT, M_EXPONENTIAL_POINT, M_SUMMARY_POINT};
static const uint8_t attribute_fields[] = {0, 7, 7, 9, 1, 7};
static const uint8_t flag_fields[] = {0, 8, 8, 10, 10, 8};

/* The attributes of a point as one piece; `tag` is the field. They mostly stand together, else they are joined. */
static int attributes_of(Walk *w, Piece point, uint32_t tag, Piece *found) {
    uint8_t narrow = (uint8_t)tag;
    w->key.count = 0;
    Bytes p = point.at, end = p + point.size;
    for (int count = 0; p < end && count < ATTRIBUTES_CAP;) {
        uint32_t each;
        Piece pair;
        if (!(p = read_tag(p, end, &each))) return fails(w, MALFORMED);
        if (each != tag) {
            if (!(p = skip(p, end, each, POINT_DEPTH))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = delimited(p, end, &pair))) return fails(w, MALFORMED);
        count++;
        if (!key_add(w, &narrow, 1) || !key_add_size(w, pair.size) || !key_add(w, pair.at, pair.size)) return 0;
    }
    *found = (Piece){w->key.rows, w->key.count};
    return 1;
}

static int take_point(Walk *w, Piece point, const Metric *metric) {
    Bytes p = point.at, end = p + point.size, begun = NULL, ended = NULL;
    const int type = metric->type, message = point_messages[type];
    const uint32_t attribute_tag = TAG(attribute_fields[type], DELIMITED), flag_tag = TAG(flag_fields[type], VARINT);
    uint64_t start_ns = 0, time_ns = 0, count = 0, flags = 0, zero_count = 0, bits;
    double value = 0.0, sum = 0.0, zero_threshold = 0.0;
    int32_t scale = 0;
    int attributes = 0, apart = 0, has_sum = 0;
    const int histogram = type == HISTOGRAM, exponential = type == EXPONENTIAL;
    Side positive = {0}, negative = {0};
    size_t counts = w->counts.count;
    Piece piece;
    w->point_bounds.count = w->up.count = w->down.count = 0;
    while (p < end) {
        uint32_t tag;
        Bytes at = p;
        if (UNLIKELY(!(p = read_tag(p, end, &tag)))) return fails(w, MALFORMED);
        if (tag == attribute_tag) {
            if (!(p = delimited(p, end, &piece))) return fails(w, MALFORMED);
            if (++attributes > ATTRIBUTES_CAP) {
                if (!check_message(piece, M_KEY_VALUE, POINT_DEPTH - 1)) return fails(w, MALFORMED);
            } else {
                if (!begun) begun = at;
                else if (ended != at) apart = 1;
                ended = p;
            }
            continue;
        }
        if (tag == flag_tag) {
            p = varint(p, end, &flags);
        } else if (tag == TAG(2, FIXED64)) {
            p = fixed64(p, end, &start_ns);
        } else if (tag == TAG(3, FIXED64)) {
            p = fixed64(p, end, &time_ns);
        } else if (type <= SUM) {
            if (tag == TAG(4, FIXED64)) {
                p = fixed64(p, end, &bits);
                if (p) value = double_of(bits);
            } else if (tag == TAG(6, FIXED64)) {
                p = fixed64(p, end, &bits);
                if (p) value = (double)(int64_t)bits;
            } else {
                p = check_field(p, end, tag, message, POINT_DEPTH);
            }
        } else if (tag == TAG(4, FIXED64)) {
            p = fixed64(p, end, &count);
        } else if (tag == TAG(5, FIXED64)) {
            p = fixed64(p, end, &bits);
            if (p) sum = double_of(bits), has_sum = 1;
        } else if (histogram && (tag == TAG(6, DELIMITED) || tag == TAG(6, FIXED64))) {
            p = take_fixed(w, p, end, tag, &w->counts, 0);
        } else if (histogram && (tag == TAG(7, DELIMITED) || tag == TAG(7, FIXED64))) {
            p = take_fixed(w, p, end, tag, &w->point_bounds, 1);
        } else if (exponential && tag == TAG(6, VARINT)) {
            p = varint(p, end, &bits);
            if (p) scale = (int32_t)((uint32_t)bits >> 1 ^ (0u - ((uint32_t)bits & 1)));
        } else if (exponential && tag == TAG(7, FIXED64)) {
            p = fixed64(p, end, &zero_count);
        } else if (exponential && tag == TAG(14, FIXED64)) {
            p = fixed64(p, end, &bits);
            if (p) zero_threshold = double_of(bits);
        } else if (exponential && (tag == TAG(8, DELIMITED) || tag == TAG(9, DELIMITED))) {
            int up = tag == TAG(8, DELIMITED);
            if (!(p = delimited(p, end, &piece))) return fails(w, MALFORMED);
            if (!take_side(w, piece, up ? &positive : &negative, up ? &w->up : &w->down)) return 0;
        } else if (type == SUMMARY && tag == TAG(6, DELIMITED)) {
            if (!(p = delimited(p, end, &piece))) return fails(w, MALFORMED);
            if (!take_quantile(w, piece)) return 0;
        } else {
            p = check_field(p, end, tag, message, POINT_DEPTH);
        }
        if (UNLIKELY(!p)) return fails(w, MALFORMED);
    }
    Piece key = {begun, begun ? left(begun, ended) : 0};
    if (apart && !attributes_of(w, point, attribute_tag, &key)) return 0;
    if (!key.at) key.at = (Bytes) "";
    int no_value = flags & 1, dropped = -1;
    size_t bounds = w->point_bounds.count, found = w->counts.count - counts;
    if (exponential && !no_value) {
        positive.counts = (const uint64_t *)w->up.rows, positive.size = w->up.count;
        negative.counts = (const uint64_t *)w->down.rows, negative.size = w->down.count;
        int written = write_out(w->edges, &w->written, scale, zero_count, zero_threshold, positive, negative, w->written_bounds, w->written_counts);
        if (written < 0) {
            dropped = DROP_SHAPE;
        } else {
            double *room = rows_room(&w->counts, (size_t)written + 1, sizeof(double));
            if (!room) return fails(w, NO_MEMORY);
            memcpy(room, w->written_counts, ((size_t)written + 1) * sizeof(double));
            w->counts.count += (size_t)written + 1;
            found = (size_t)written + 1;
            bounds = (size_t)written;
        }
    } else if (histogram && !no_value) {
        if (found != (bounds || found ? bounds + 1 : 0) || bounds > POINT_BOUNDS_CAP || !increasing((double *)w->point_bounds.rows, bounds))
            dropped = DROP_SHAPE;
    } else if (type == SUMMARY) {
        if (bounds > POINT_BOUNDS_CAP || !increasing((double *)w->point_bounds.rows, bounds)) dropped = DROP_SHAPE;
    }
    if (dropped < 0 && !time_ns) dropped = DROP_NO_TIME;
    if (dropped < 0 && (time_ns > INT64_MAX || start_ns > INT64_MAX)) return fails(w, OUT_OF_RANGE);
    PointRow *row = rows_room(&w->points, 1, sizeof(PointRow));
    if (UNLIKELY(!row)) return fails(w, NO_MEMORY);
    int32_t before = w->tables[T_SERIES].count;
    uint64_t word = (uint64_t)metric->resource << 36 | (uint64_t)metric->name << 4 | (uint64_t)type;
    if (dropped < 0 && !entry_of(w, T_SERIES, key.at, key.size, word, &row->series)) return 0;
    if (dropped >= 0 || row->series >= before) { /* attributes that were not seen before must be checked */
        for (Bytes at = key.at, stop = at + key.size; at < stop;) {
            uint32_t tag;
            if (!(at = read_tag(at, stop, &tag)) || !(at = delimited(at, stop, &piece))) return fails(w, MALFORMED);
            if (!check_message(piece, M_KEY_VALUE, POINT_DEPTH - 1)) return fails(w, MALFORMED);
        }
    }
    if (dropped >= 0) {
        w->dropped[dropped]++;
        w->counts.count = counts;
        return 1;
    }
    row->bounds = -1;
    if (no_value) {
        w->counts.count = counts;
        value = sum = NAN;
        count = 0;
    } else if (bounds || found) {
        if (!bounds_row(w, exponential ? w->written_bounds : (double *)w->point_bounds.rows, bounds, &row->bounds)) return 0;
    }
    row->time_ns = time_ns;
    row->start_ns = start_ns;
    row->count = type <= SUM ? 0 : count;
    row->value = type <= SUM ? value : NAN;
    row->sum = type <= SUM || no_value || (type != SUMMARY && !has_sum) ? NAN : sum;
    row->counts_end = w->counts.count;
    row->resource = metric->resource;
    row->metric = metric->name;
    row->unit = metric->unit;
    row->type = metric->type;
    row->temporality = 0;
    row->flags = no_value ? NO_RECORDED_VALUE : 0;
    w->points.count++;
    return 1;
}

/* Gauge, Sum, Histogram, ExponentialHistogram or Summary: points, and what holds for all of them. */
static int take_data(Walk *w, Piece data, const Metric *metric) {
    static const uint8_t messages[] = {0, M_GAUGE, M_SUM, M_HISTOGRAM, M_EXPONENTIAL, M_SUMMARY};
    Bytes p = data.at, end = p + data.size;
    uint64_t temporality = 0, monotonic = 0;
    size_t first = w->points.count;
    while (p < end) {
        uint32_t tag;
        Piece point;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        if (tag == TAG(1, DELIMITED)) {
            if (!(p = delimited(p, end, &point))) return fails(w, MALFORMED);
            if (!take_point(w, point, metric)) return 0;
            continue;
        }
        if (tag == TAG(2, VARINT)) p = varint(p, end, &temporality);
        else if (tag == TAG(3, VARINT)) p = varint(p, end, &monotonic);
        else p = check_field(p, end, tag, messages[metric->type], METRIC_DEPTH - 1);
        if (!p) return fails(w, MALFORMED);
    }
    for (size_t i = first; i < w->points.count; i++) {
        PointRow *row = (PointRow *)w->points.rows + i;
        if (metric->type >= SUM && metric->type <= EXPONENTIAL && (uint32_t)temporality <= 2) row->temporality = (uint8_t)temporality;
        if (metric->type == SUM && monotonic) row->flags |= MONOTONIC;
    }
    return 1;
}

/* Finds name, unit and data of a metric. The last kind of data counts; given twice, it is the two joined. */
static int read_metric(Walk *w, Piece item, Piece *name, Piece *unit, Piece *data, uint32_t *field) {
    Bytes p = item.at, end = p + item.size;
    Piece piece;
    *name = *unit = *data = (Piece){(Bytes) "", 0};
    *field = 0;
    w->joined.count = 0;
    for (int pieces = 0; p < end;) {
        uint32_t tag;
        if (!(p = read_tag(p, end, &tag))) return fails(w, MALFORMED);
        uint32_t number = tag >> 3;
        if ((tag & 7) != DELIMITED || !((1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11) >> (number < 32 ? number : 0) & 1)) {
            if (!(p = check_field(p, end, tag, M_METRIC, METRIC_DEPTH))) return fails(w, MALFORMED);
            continue;
        }
        if (!(p = delimited(p, end, &piece))) return fails(w, MALFORMED);
        if (number <= 3) {
            if (!utf8(piece.at, piece.size)) return fails(w, MALFORMED);
            *(number == 1 ? name : unit) = piece;
            continue;
        }
        if (!*field) {
            *field = number;
            *data = piece;
            pieces = 1;
            continue;
        }
        /* data given before: each piece must be a message by itself */
        if (pieces == 1 && !check_message(*data, field_of(M_METRIC, TAG(*field, DELIMITED)).message, METRIC_DEPTH - 1)) return fails(w, MALFORMED);
        if (!check_message(piece, field_of(M_METRIC, tag).message, METRIC_DEPTH - 1)) return fails(w, MALFORMED);
        if (number != *field) {
            *field = number;
            *data = piece;
            pieces = 1;
            continue;
        }
        if (pieces++ == 1) {
            w->joined.count = 0;
            uint8_t *room = rows_room(&w->joined, data->size, 1);
            if (!room) return fails(w, NO_MEMORY);
            memcpy(room, data->at, data->size);
            w->joined.count = data->size;
        }
        uint8_t *room = rows_room(&w->joined, piece.size, 1);
        if (!room) return fails(w, NO_MEMORY);
        memcpy(room, piece.at, piece.size);
        w->joined.count += piece.size;
        *data = (Piece){w->joined.rows, w->joined.count};
    }
    return 1;
}

static int take_metric(Walk *w, Piece item, int32_t resource) {
    static const uint8_t types[32] = {[5] = GAUGE, [7] = SUM, [9] = HISTOGRAM, [10] = EXPONENTIAL, [11] = SUMMARY};
    Piece name, unit, data;
    uint32_t field;
    if (!read_metric(w, item, &name, &unit, &data, &field)) return 0;
    if (!field) return 1;
    Metric metric = {resource, 0, -1, types[field]};
    if (!entry_of(w, T_METRICS, name.at, name.size, 0, &metric.name)) return 0;
    if (unit.size && !entry_of(w, T_UNITS, unit.at, unit.size, 0, &metric.unit)) return 0;
    return take_data(w, data, &metric);
}

/* Counts the points of a metric of whence's own. */
static int count_own(Walk *w, Piece item, int32_t resource) {
    Piece name, unit, data;
    uint32_t field;
    (void)resource;
    if (!read_metric(w, item, &name, &unit, &data, &field)) return 0;
    for (Bytes p = data.at, end = p + data.size; p && p < end;) {
        uint32_t tag;
        Piece point;
        if (!(p = read_tag(p, end, &tag))) break;
        w->dropped[DROP_OWN] += tag == TAG(1, DELIMITED);
        p = tag == TAG(1, DELIMITED) ? delimited(p, end, &point) : skip(p, end, tag, DEPTH_LIMIT);
    }
    return 1;
}

static int walk_metrics(Walk *w) {
    for (size_t i = 0; i < w->blocks.count; i++)
        if (!walk_block(w, (Block *)w->blocks.rows + i, M_RESOURCE_METRICS, M_SCOPE_METRICS, M_METRIC, take_metric, count_own)) return 0;
    return 1;
}

typedef struct {
    int64_t *time_ns, *start_ns;
    uint64_t *count;
    double *value, *sum;
    int32_t *resource, *series, *metric, *unit, *bounds;
    uint8_t *type, *temporality, *flags;
} PointOut;

static void write_points(const Walk *w, PointOut out, int64_t *counts_at, double *counts) {
    const PointRow *row = (const PointRow *)w->points.rows;
    counts_at[0] = 0;
    for (size_t i = 0; i < w->points.count; i++, row++) {
        out.time_ns[i] = (int64_t)row->time_ns;
        out.start_ns[i] = (int64_t)row->start_ns;
        out.count[i] = row->count;
        out.value[i] = row->value;
        out.sum[i] = row->sum;
        out.resource[i] = value_of(w, T_RESOURCES, row->resource, 0);
        out.series[i] = value_of(w, T_SERIES, row->series, 0);
        out.metric[i] = value_of(w, T_METRICS, row->metric, 0);
        out.unit[i] = value_of(w, T_UNITS, row->unit, 0);
        out.bounds[i] = row->bounds;
        out.type[i] = row->type;
        out.temporality[i] = row->temporality;
        out.flags[i] = row->flags;
        counts_at[i + 1] = (int64_t)row->counts_end;
    }
    if (w->counts.count) memcpy(counts, w->counts.rows, w->counts.count * sizeof(double));
}

#endif
