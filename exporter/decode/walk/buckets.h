/* exporter.decode.buckets.explicit: exponential histograms written out as explicit ones, to the same bits. */
#ifndef WHENCE_BUCKETS_H
#define WHENCE_BUCKETS_H

#include <math.h>

#include "wire.h"

enum { BUCKETS_CAP = 160, SCALE_LOWEST = -11, SCALE_HIGHEST = 32, WRITTEN = 2 * BUCKETS_CAP + 8 };

typedef struct {
    const uint64_t *counts;
    size_t size;
    int32_t offset;
} Side;

/* How many times pairs must be merged until the buckets are within the cap. */
static int merges_of(Side side) {
    int64_t first = side.offset, last = first + (int64_t)side.size - 1;
    int steps = 0;
    while ((last >> steps) - (first >> steps) + 1 > BUCKETS_CAP) steps++;
    return steps;
}

/* Buckets after `steps` mergings of pairs, as doubles of exact sums; returns the offset. */
static int64_t merged(Side side, int steps, double *counts, int *size) {
    int64_t start = (int64_t)side.offset >> steps;
    *size = 0;
    if (!side.size) return side.offset;
    *size = (int)((((int64_t)side.offset + (int64_t)side.size - 1) >> steps) - start + 1);
    if (!steps) {
        for (int i = 0; i < *size; i++) counts[i] = (double)side.counts[i];
        return start;
    }
    size_t at = 0;
    for (int i = 0; i < *size; i++) {
        unsigned __int128 sum = 0;
        for (; at < side.size && (((int64_t)side.offset + (int64_t)at) >> steps) - start == i; at++) sum += side.counts[at];
        counts[i] = (double)sum;
    }
    return start;
}

static int edges_fit(int64_t start, int buckets, int scale) {
    double step = ldexp(1.0, -scale);
    return !((double)start * step < -1074 || (double)(start + buckets) * step >= 1024);
}

/* Bounds that were computed before: 60 of them a histogram are most of its cost, and the next one has nearly the same. */
enum { EDGES = 4096 };
typedef struct {
    double value;
    int64_t at;
    int32_t scale, known;
} Edge;

static double edge(Edge *edges, int64_t at, int scale) {
    Edge *kept = &edges[((uint64_t)at ^ (uint64_t)(uint32_t)scale << 7) % EDGES];
    if (!kept->known || kept->at != at || kept->scale != scale) *kept = (Edge){pow(2.0, (double)at * ldexp(1.0, -scale)), at, scale, 1};
    return kept->value;
}

/* What bounds depend on, where all buckets are of positive values, as of nearly all histograms; and what they were found to be. */
typedef struct {
    int64_t start;
    double zero;
    int scale, ups, known, count, skipped;
} Shape;

/* Bounds of buckets into `bounds`, which has room for WRITTEN: their number, -1 where they do not ascend. `skipped` of the positive ones lie
 * below the zero threshold. */
static int write_bounds(Edge *edges, int scale, double zero, int64_t up_start, int ups, int64_t down_start, int downs, double *bounds, int *skipped) {
    int n = 0;
    if (downs) {
        if (!edges_fit(down_start, downs, scale)) return -1;
        for (int i = downs; i >= 0; i--) bounds[n++] = -edge(edges, down_start + i, scale);
        bounds[n++] = zero;
    } else {
        bounds[n++] = zero != 0.0 ? -zero : 0.0;
        if (zero != 0.0) bounds[n++] = zero;
    }
    double top = bounds[n - 1];
    *skipped = 0;
    if (ups) {
        double first = 0.0;
        if (!edges_fit(up_start, ups, scale)) return -1;
        while (*skipped <= ups && !((first = edge(edges, up_start + *skipped, scale)) > top)) ++*skipped;
        if (*skipped > ups) return -1;
        bounds[n++] = first;
        for (int i = *skipped + 1; i <= ups; i++) bounds[n++] = edge(edges, up_start + i, scale);
    }
    for (int i = 0; i < n; i++)
        if (!isfinite(bounds[i]) || (i && bounds[i - 1] >= bounds[i])) return -1;
    return n;
}

/* Bounds and counts (one more) of an exponential histogram; the number of bounds, -1 where it is not a histogram.
 * `bounds` and `counts` have room for WRITTEN. Bounds are written anew where `last`, what those that are there are of, is another shape. */
static int write_out(Edge *edges, Shape *last, int scale, uint64_t zero_count, double threshold, Side positive, Side negative, double *bounds, double *counts) {
    double up[BUCKETS_CAP + 1], down[BUCKETS_CAP + 1];
    int ups, downs, m = 0;
    if (scale < SCALE_LOWEST || scale > SCALE_HIGHEST) return -1;
    int widest = merges_of(positive), other = merges_of(negative);
    if (other > widest) widest = other;
    int64_t up_start = merged(positive, widest, up, &ups), down_start = merged(negative, widest, down, &downs);
    scale -= widest;
    double zero = threshold > 0.0 ? threshold : 0.0;
    if (!last->known || downs || last->scale != scale || last->start != up_start || last->ups != ups || last->zero != zero) {
        *last = (Shape){up_start, zero, scale, ups, 0, 0, 0};
        last->count = write_bounds(edges, scale, zero, up_start, ups, down_start, downs, bounds, &last->skipped);
        if (last->count < 0) return -1;
        last->known = !downs;
    }
    if (downs) {
        counts[m++] = 0.0;
        for (int i = downs - 1; i >= 0; i--) counts[m++] = down[i];
    } else if (zero != 0.0) {
        counts[m++] = 0.0;
    }
    counts[m++] = (double)zero_count;
    if (ups) {
        int skipped = last->skipped;
        if (!skipped) {
            counts[m++] = 0.0;
        } else {
            unsigned __int128 sum = 0; /* buckets below the zero threshold stay with the first one above it */
            int64_t stop = up_start + skipped;
            for (size_t at = 0; at < positive.size && (((int64_t)positive.offset + (int64_t)at) >> widest) < stop; at++)
                sum += positive.counts[at];
            counts[m++] = (double)sum;
        }
        for (int i = skipped; i < ups; i++) counts[m++] = up[i];
    }
    counts[m++] = 0.0;
    return last->count;
}

#endif
