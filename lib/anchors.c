/* anchors.c - see anchors.h.
 *
 * An anchor is known by a hash of its text and place alone. Were two of one length to share it, some patterns would be
 * asked in vain, and nothing worse; others are told apart when a pattern is filed. The hash is a polynomial modulo
 * 2^61 - 1 at a point drawn at random, so that nobody outside can make texts collide; it grows character by character,
 * so one walk over a field gives the hashes of all its beginnings. Only beginnings of a length that is in use are
 * looked up.
 */
#include "anchors.h"

#include <apr_hash.h>
#include <stdint.h>
#include <stdlib.h>

#include "mercure/hash.h"

#define LONGEST 255 /* characters of an anchor; longer texts are cut, which bounds the lookups */
#define PRIME   ((UINT64_C(1) << 61) - 1)

/* A place where an anchor stands: the beginning or the end of a field. */
#define PLACES          (2 * ANCHORS_FIELDS)
#define FIELD_OF(place) ((place) / 2)
#define AT_END(place)   ((place) % 2 == 1)

struct anchor {
    uint64_t hash;
    unsigned place;
    size_t len;
    size_t count;
    size_t room;
    anchored **filed;
};

/* A length that anchors of one place have. */
typedef struct {
    size_t len;
    size_t anchors;
} length;

typedef struct {
    length *lengths; /* sorted */
    size_t count;
    size_t room;
} place_lengths;

struct anchors {
    apr_pool_t *pool;  /* the hash table's own */
    apr_hash_t *found; /* hash -> anchor */
    place_lengths lengths[PLACES];
    uint64_t point; /* of the polynomial */
};

/* --- hashes --- */

static uint64_t multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    uint64_t sum = (uint64_t)(product & PRIME) + (uint64_t)(product >> 61);

    return sum >= PRIME ? sum - PRIME : sum;
}

static uint64_t begin_hash(uint64_t group, unsigned place)
{
    return (group * PLACES + place + 1) % PRIME;
}

static uint64_t extend_hash(const anchors *a, uint64_t hash, char c)
{
    return (multiply(hash, a->point) + (unsigned char)c + 1) % PRIME;
}

/* The character at `i` from the side on which the anchor stands. */
static char character(mercure_str text, size_t i, bool at_end)
{
    return at_end ? text.data[text.len - 1 - i] : text.data[i];
}

static unsigned table_hash(const char *key, apr_ssize_t *len)
{
    uint64_t hash;

    (void)len;
    memcpy(&hash, key, sizeof(hash));
    return (unsigned)(hash ^ (hash >> 32));
}

/* --- the table of anchors --- */

anchors *anchors_create(void)
{
    anchors *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&a->pool, NULL, NULL) != APR_SUCCESS) {
        free(a);
        return NULL;
    }
    a->found = apr_hash_make_custom(a->pool, table_hash);
    a->point = mercure_hash64("anchors", 7) % (PRIME - 256) + 256;
    return a;
}

void anchors_destroy(anchors *a)
{
    size_t i;

    if (a == NULL) {
        return;
    }
    for (i = 0; i < PLACES; i++) {
        free(a->lengths[i].lengths);
    }
    apr_pool_destroy(a->pool);
    free(a);
}

/* Where in the list does this length stand, or should it? */
static size_t find_length(const place_lengths *list, size_t len)
{
    size_t i = 0;

    while (i < list->count && list->lengths[i].len < len) {
        i++;
    }
    return i;
}

static bool note_length(place_lengths *list, size_t len)
{
    size_t i = find_length(list, len);

    if (i < list->count && list->lengths[i].len == len) {
        list->lengths[i].anchors++;
        return true;
    }
    if (list->count == list->room) {
        size_t room = list->room + 8;
        length *larger = realloc(list->lengths, room * sizeof(*larger));
        if (larger == NULL) {
            return false;
        }
        list->lengths = larger;
        list->room = room;
    }
    memmove(&list->lengths[i + 1], &list->lengths[i], (list->count - i) * sizeof(length));
    list->lengths[i] = (length){len, 1};
    list->count++;
    return true;
}

static void forget_length(place_lengths *list, size_t len)
{
    size_t i = find_length(list, len);

    if (--list->lengths[i].anchors == 0) {
        list->count--;
        memmove(&list->lengths[i], &list->lengths[i + 1], (list->count - i) * sizeof(length));
    }
}

static anchor *create_anchor(anchors *a, const anchor *like)
{
    anchor *made = malloc(sizeof(*made));

    if (made == NULL || !note_length(&a->lengths[like->place], like->len)) {
        free(made);
        return NULL;
    }
    *made = *like;
    apr_hash_set(a->found, &made->hash, sizeof(made->hash), made);
    return made;
}

static void drop_anchor(anchors *a, anchor *empty)
{
    apr_hash_set(a->found, &empty->hash, sizeof(empty->hash), NULL);
    forget_length(&a->lengths[empty->place], empty->len);
    free(empty->filed);
    free(empty);
}

/* --- patterns --- */

/* The anchor that a pattern has in this place: of no length when it has no literal text there. */
static anchor anchor_at(const anchors *a, uint64_t group, const anchor_literals *literals, unsigned place)
{
    const anchor_literals *field = &literals[FIELD_OF(place)];
    mercure_str text = AT_END(place) ? field->end : field->beginning;
    anchor wanted = {.hash = begin_hash(group, place), .place = place, .len = text.len < LONGEST ? text.len : LONGEST};
    size_t i;

    for (i = 0; i < wanted.len; i++) {
        wanted.hash = extend_hash(a, wanted.hash, character(text, i, AT_END(place)));
    }
    return wanted;
}

/* Choose where to file a pattern: the anchor that exists, or NULL and what it would be. */
static anchor *choose(const anchors *a, uint64_t group, const anchor_literals *literals, size_t fields, anchor *wanted)
{
    anchor *best = NULL;
    unsigned place;

    *wanted = (anchor){.hash = begin_hash(group, 0)}; /* everything begins with nothing: the last resort */
    best = apr_hash_get(a->found, &wanted->hash, sizeof(wanted->hash));
    for (place = 0; place < 2 * fields; place++) {
        anchor candidate = anchor_at(a, group, literals, place);
        anchor *known;

        if (candidate.len == 0) {
            continue;
        }
        known = apr_hash_get(a->found, &candidate.hash, sizeof(candidate.hash));
        if (known != NULL && (known->len != candidate.len || known->place != place)) {
            continue; /* another text of the same hash */
        }
        if (wanted->len == 0 || (best != NULL && (known == NULL || known->count < best->count))) {
            *wanted = candidate;
            best = known;
        }
    }
    return best;
}

bool anchors_add(anchors *a, uint64_t group, const anchor_literals *literals, size_t fields, anchored *one)
{
    anchor wanted, *chosen = choose(a, group, literals, fields, &wanted);

    if (chosen == NULL && (chosen = create_anchor(a, &wanted)) == NULL) {
        return false;
    }
    if (chosen->count == chosen->room) {
        size_t room = chosen->room == 0 ? 1 : chosen->room * 2;
        anchored **filed = realloc(chosen->filed, room * sizeof(anchored *));
        if (filed == NULL) {
            if (chosen->count == 0) {
                drop_anchor(a, chosen);
            }
            return false;
        }
        chosen->filed = filed;
        chosen->room = room;
    }
    one->anchor = chosen;
    one->position = chosen->count;
    chosen->filed[chosen->count++] = one;
    return true;
}

void anchors_remove(anchors *a, anchored *one)
{
    anchor *from = one->anchor;
    anchored *last = from->filed[--from->count];

    from->filed[one->position] = last;
    last->position = one->position;
    one->anchor = NULL;
    if (from->count == 0) {
        drop_anchor(a, from);
    }
}

/* --- texts --- */

static void find_at(const anchors *a, uint64_t group, mercure_str text, unsigned place,
                    void (*visit)(void *context, anchored *one), void *context)
{
    const place_lengths *list = &a->lengths[place];
    uint64_t hash = begin_hash(group, place);
    size_t i = 0, at, one;

    for (at = 0; at < list->count && list->lengths[at].len <= text.len; at++) {
        const anchor *known;

        for (; i < list->lengths[at].len; i++) {
            hash = extend_hash(a, hash, character(text, i, AT_END(place)));
        }
        known = apr_hash_get(a->found, &hash, sizeof(hash));
        for (one = 0; known != NULL && one < known->count; one++) {
            visit(context, known->filed[one]);
        }
    }
}

void anchors_find(const anchors *a, uint64_t group, const mercure_str *text, size_t fields,
                  void (*visit)(void *context, anchored *one), void *context)
{
    unsigned place;

    for (place = 0; place < 2 * fields; place++) {
        find_at(a, group, text[FIELD_OF(place)], place, visit, context);
    }
}
