/* exporter.decode.fold for ASCII text, to the same result; what is not ASCII goes to Python. */
#ifndef WHENCE_FOLD_H
#define WHENCE_FOLD_H

#include "wire.h"

enum { FOLD_LONGEST = 1024, FOLD_ROOM = 3 * FOLD_LONGEST + 16, PLACES = FOLD_LONGEST };

enum { DIGIT = 1, HEX = 2, LETTER = 4 };
#define ALNUM (DIGIT | LETTER)
static uint8_t char_class[256];
static char source_suffixes[64][8];
static int source_suffix_count;

static inline int is(uint8_t c, int classes) { return char_class[c] & classes; }

typedef struct {
    int start, end;
} Place;

/* End of the identifier (UUID, or hex of 8 and more with a digit) that starts at `at`, 0 for none. */
static inline int identifier_end(Bytes text, int start, int at, int end) {
    if (at > start && is(text[at - 1], ALNUM)) return 0;
    int run = at, digits = 0;
    while (run < end && is(text[run], HEX)) digits |= is(text[run++], DIGIT);
    if (run - at < 8 || !digits) return 0;
    static const int parts[] = {4, 4, 4, 12};
    int tail = run;
    for (int i = 0; i < 4 && tail; i++) {
        int stop = tail + 1 + parts[i];
        if (stop > end || text[tail] != '-') {
            tail = 0;
            break;
        }
        for (int k = tail + 1; k < stop; k++)
            if (!is(text[k], HEX)) stop = 0;
        tail = stop;
    }
    if (tail && !(tail < end && is(text[tail], ALNUM))) return tail;
    return run < end && is(text[run], ALNUM) ? 0 : run;
}

/* Writes text[start:end] with identifiers and numbers as <*>; returns what is written so far. */
static int fold_part(Bytes text, int start, int end, uint8_t *out, int written) {
    int at = start;
    while (at < end) {
        uint8_t c = text[at];
        if (!is(c, HEX)) {
            out[written++] = c;
            at++;
            continue;
        }
        int stop = identifier_end(text, start, at, end);
        if (!stop && is(c, DIGIT)) {
            stop = at + 1;
            if (c == '0' && stop + 1 < end && (text[stop] == 'x' || text[stop] == 'X') && is(text[stop + 1], HEX)) {
                stop++;
                while (stop < end && is(text[stop], HEX)) stop++;
            } else {
                while (stop < end && is(text[stop], DIGIT)) stop++;
                while (stop + 1 < end && text[stop] == '.' && is(text[stop + 1], DIGIT) && !identifier_end(text, start, stop + 1, end)) {
                    stop += 2;
                    while (stop < end && is(text[stop], DIGIT)) stop++;
                }
            }
        }
        if (stop) {
            memcpy(out + written, "<*>", 3);
            written += 3;
            at = stop;
        } else {
            out[written++] = c;
            at++;
        }
    }
    return written;
}

static inline int in_name(uint8_t c, int file) { return is(c, ALNUM) || c == '_' || c == '$' || c == '.' || (file && (c == '/' || c == '-')); }

static int name_begins(Bytes text, int end, int file) {
    int at = end;
    while (at && in_name(text[at - 1], file)) at--;
    while (at < end && !(is(text[at], LETTER) || text[at] == '_' || text[at] == '$')) at++;
    return at;
}

/* Where the dot of `.suffix` before a colon is, -1 where there is no source suffix. */
static int suffix_dot(Bytes text, int colon) {
    for (int size = 1; size <= 6 && colon - size - 1 >= 0; size++) {
        if (text[colon - size - 1] != '.') continue;
        for (int i = 0; i < source_suffix_count; i++)
            if (strlen(source_suffixes[i]) == (size_t)size && !memcmp(source_suffixes[i], text + colon - size, (size_t)size)) return colon - size - 1;
        return -1;
    }
    return -1;
}

/* Places of text, by start and end. */
static int places_of(Bytes text, int size, Place *places) {
    int count = 0;
    for (int at = 0; at + 1 < size; at++) {
        if ((text[at] != '#' && text[at] != ':') || !is(text[at + 1], DIGIT)) continue;
        int file = text[at] == ':', end = at + 1;
        while (end < size && is(text[end], DIGIT)) end++;
        if (end < size && (is(text[end], ALNUM) || text[end] == '_')) continue;
        int stop = file ? suffix_dot(text, at) : at;
        if (stop < 0) continue;
        int start = name_begins(text, stop, file);
        if (!(is(text[start], LETTER) || text[start] == '_' || text[start] == '$')) continue;
        int k = count++;
        for (; k && (places[k - 1].start > start || (places[k - 1].start == start && places[k - 1].end > end)); k--) places[k] = places[k - 1];
        places[k] = (Place){start, end};
    }
    return count;
}

/* Length of the first `longest` bytes of a longer text without the word that the cut goes through: fold.cut.
 * Where the cut leaves "word\n", the word goes and the line end stays: then -1, and Python does it. */
static int cut_size(Bytes text, int longest) {
    int at = longest;
    if (text[at - 1] == '\n') return -1;
    while (at && (is(text[at - 1], ALNUM) || text[at - 1] == '_' || text[at - 1] == '-')) at--;
    return at ? at : longest;
}

/* Folds ASCII text into `out` (FOLD_ROOM bytes). Returns the size, -1 where Python must do it. */
static int fold(Bytes text, size_t all, int longest, uint8_t *out) {
    int size = (int)(all <= (size_t)longest ? all : (size_t)longest);
    if (!ascii(text, (size_t)size)) return -1;
    if (all > (size_t)longest && (size = cut_size(text, longest)) < 0) return -1;
    int written = 0, at = 0, colons = memchr(text, '#', (size_t)size) || memchr(text, ':', (size_t)size);
    if (colons) {
        Place places[PLACES];
        int count = places_of(text, size, places);
        for (int i = 0; i < count; i++) {
            if (places[i].start < at) continue;
            written = fold_part(text, at, places[i].start, out, written);
            memcpy(out + written, text + places[i].start, (size_t)(places[i].end - places[i].start));
            written += places[i].end - places[i].start;
            at = places[i].end;
        }
    }
    return fold_part(text, at, size, out, written);
}

/* Quoted literals of a statement as <*>, into `out`; no more than FOLD_LONGEST bytes, for fold cuts before. */
static int without_literals(Bytes text, size_t size, uint8_t *out) {
    int written = 0;
    size_t at = 0;
    while (at < size && written + 3 <= FOLD_LONGEST) {
        size_t stop = 0;
        if (text[at] == '\'') {
            size_t k = at + 1;
            for (; k < size; k++) {
                if (text[k] != '\'') continue;
                stop = k + 1;
                if (k + 1 < size && text[k + 1] == '\'') k++;
                else break;
            }
        } else if (text[at] == '"' && at + 1 < size && text[at + 1] == '"') {
            stop = at + 2;
        }
        if (stop) {
            memcpy(out + written, "<*>", 3);
            written += 3;
            at = stop;
        } else {
            out[written++] = text[at++];
        }
    }
    return written;
}

#endif
