/* What was made of bytes before: (bytes, word) to an entry whose values Python computed once.
 *
 * Open addressing; equal hashes are compared byte by byte. The hash has a secret seed, so that no sender can choose collisions.
 * Entries from `resolved` on are new in this request: their values come after the walk, or they are taken back.
 */
#ifndef WHENCE_TABLE_H
#define WHENCE_TABLE_H

#include <stdlib.h>

#include "wire.h"

enum { VALUES = 4 };

typedef struct {
    uint64_t hash, word;
    size_t at;
    uint32_t size;
    int32_t values[VALUES];
} Entry;

typedef struct {
    Entry *entries;
    int32_t *slots; /* entry + 1, 0: free */
    uint8_t *bytes;
    size_t used, bytes_room, mask; /* mask: slots - 1 */
    int32_t count, room, resolved;
} Table;

static uint64_t hash_seed[2]; /* secret, odd */

static inline uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* wyhash (Wang Yi, public domain), final version 4, with secret constants. */
static inline uint64_t hash_of(Bytes p, size_t size, uint64_t word) {
    uint64_t a, b, state = mix(word ^ hash_seed[0], hash_seed[1]);
    if (LIKELY(size <= 16)) {
        if (LIKELY(size >= 8)) {
            a = little64(p);
            b = little64(p + size - 8);
        } else if (size >= 4) {
            a = little32(p);
            b = little32(p + size - 4);
        } else if (size) {
            a = (uint64_t)p[0] << 16 | (uint64_t)p[size >> 1] << 8 | p[size - 1];
            b = 0;
        } else {
            a = b = 0;
        }
    } else {
        size_t i = size;
        Bytes at = p;
        for (; i > 16; i -= 16, at += 16) state = mix(little64(at) ^ hash_seed[1], little64(at + 8) ^ state);
        a = little64(at + i - 16);
        b = little64(at + i - 8);
    }
    return mix(hash_seed[1] ^ size, mix(a ^ hash_seed[1], b ^ state));
}

static int table_grow(Table *table) {
    int32_t room = table->room ? table->room * 2 : 64;
    if (table->room > INT32_MAX / 4) return 0;
    Entry *entries = realloc(table->entries, (size_t)room * sizeof(Entry));
    if (!entries) return 0;
    table->entries = entries;
    size_t slots = (size_t)room * 2;
    int32_t *fresh = calloc(slots, sizeof(int32_t));
    if (!fresh) return 0;
    free(table->slots);
    table->slots = fresh;
    table->mask = slots - 1;
    table->room = room;
    for (int32_t i = 0; i < table->count; i++) {
        size_t slot = entries[i].hash & table->mask;
        while (fresh[slot]) slot = (slot + 1) & table->mask;
        fresh[slot] = i + 1;
    }
    return 1;
}

/* Index of the entry of some bytes, a new one if there was none; -1 without memory. */
static inline int32_t table_index(Table *table, Bytes p, size_t size, uint64_t word) {
    uint64_t hash = hash_of(p, size, word);
    if (UNLIKELY(table->count >= table->room) && !table_grow(table)) return -1;
    size_t slot = hash & table->mask;
    for (int32_t index; (index = table->slots[slot]); slot = (slot + 1) & table->mask) {
        Entry *entry = &table->entries[index - 1];
        if (entry->hash == hash && entry->word == word && entry->size == size && !memcmp(table->bytes + entry->at, p, size)) return index - 1;
    }
    if (table->bytes_room - table->used < size) {
        size_t room = (table->bytes_room + size) * 2;
        uint8_t *bytes = realloc(table->bytes, room);
        if (!bytes) return -1;
        table->bytes = bytes;
        table->bytes_room = room;
    }
    if (size) memcpy(table->bytes + table->used, p, size);
    table->entries[table->count] = (Entry){hash, word, table->used, (uint32_t)size, {0}};
    table->used += size;
    table->slots[slot] = ++table->count;
    return table->count - 1;
}

/* Takes back what is new in this request. Newest first: each leaves the slots as they were before it came. */
static void table_take_back(Table *table) {
    while (table->count > table->resolved) {
        Entry *entry = &table->entries[--table->count];
        size_t slot = entry->hash & table->mask;
        while (table->slots[slot] != table->count + 1) slot = (slot + 1) & table->mask;
        table->slots[slot] = 0;
        table->used = entry->at;
    }
}

static void table_free(Table *table) {
    free(table->entries);
    free(table->slots);
    free(table->bytes);
    *table = (Table){0};
}

/* Rows of any kind, growing. */
typedef struct {
    uint8_t *rows;
    size_t count, room; /* in rows */
} Rows;

/* Room for `more` rows of a size after the last; NULL without memory. */
static inline void *rows_room(Rows *rows, size_t more, size_t size) {
    if (UNLIKELY(!rows->rows || rows->room - rows->count < more)) {
        size_t room = (rows->count + more) * 2 + 16;
        uint8_t *grown = realloc(rows->rows, room * size);
        if (!grown) return NULL;
        rows->rows = grown;
        rows->room = room;
    }
    return rows->rows + rows->count * size;
}

static void rows_free(Rows *rows) {
    free(rows->rows);
    *rows = (Rows){0};
}

#endif
