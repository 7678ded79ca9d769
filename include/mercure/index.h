/* index.h - who wants an update? A set of matchers that finds those which match, without asking every one.
 *
 * One index belongs to one hub. The streamer keeps one whose members are streams, brokerd one whose members are
 * children of httpd. An *entry* is one distinct matcher; its *members* are those who hold it, however many.
 * Exact matchers are found by a hash of the topic, `*` is one entry of its own.
 *
 * Not thread-safe: an index belongs to one thread.
 */
#ifndef MERCURE_INDEX_H
#define MERCURE_INDEX_H

#include "mercure/matcher.h"
#include "mercure/update.h"

typedef struct mercure_index mercure_index;
typedef struct mercure_index_entry mercure_index_entry;

/* Embedded by the caller in whatever holds a matcher. */
typedef struct {
    mercure_index_entry *entry; /* NULL: in no index */
    size_t position;            /* among the entry's members */
    void *owner;                /* the caller's, untouched */
} mercure_index_member;

struct mercure_index_entry {
    mercure_matcher matcher; /* with a copy of the pattern, which lives as long as the entry */
    mercure_index_member **members;
    size_t count;
    size_t room;
    int phase;      /* the caller's, 0 at first */
    uint64_t since; /* the caller's, 0 at first */
};

/* Both return NULL or false only when there is no memory. */
mercure_index *mercure_index_create(void);
bool mercure_index_add(mercure_index *index, const mercure_matcher *matcher, mercure_index_member *member);

/* Free the index. It must be empty. NULL is allowed. */
void mercure_index_destroy(mercure_index *index);

/* Take a member out. When it was the entry's last one the entry is freed; look at `member->entry->count == 1` before
 * to know. O(1).
 */
void mercure_index_remove(mercure_index *index, mercure_index_member *member);

/* The entry of just this matcher, or NULL. */
mercure_index_entry *mercure_index_find(mercure_index *index, const mercure_matcher *matcher);

/* Number of distinct matchers. */
size_t mercure_index_size(const mercure_index *index);

/* Call `visit` for each entry that matches one of the record's topics; an entry may be visited more than once. `visit`
 * must not change the index.
 */
void mercure_index_match(mercure_index *index, const mercure_record *record,
                         void (*visit)(void *context, mercure_index_entry *entry), void *context);

/* Call `visit` for every entry. `visit` must not change the index. */
void mercure_index_each(mercure_index *index, void (*visit)(void *context, mercure_index_entry *entry), void *context);

#endif
