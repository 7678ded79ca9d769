/* index.h - who wants an update? A set of matchers that finds those which match, without asking every one.
 *
 * One index belongs to one hub. The streamer keeps one whose members are streams, brokerd one whose members are
 * children of httpd. An *entry* is one distinct matcher; its *members* are those who hold it, however many.
 * Exact matchers are found by a hash of the topic, URL Patterns by literal text that they begin or end with
 * (lib/anchors.h), each compiled once and asked once; `*` is one entry of its own.
 *
 * Not thread-safe: an index belongs to one thread.
 */
#ifndef MERCURE_INDEX_H
#define MERCURE_INDEX_H

#include "mercure/matcher.h"

typedef struct mercure_index mercure_index;
typedef struct mercure_index_entry mercure_index_entry;

/* Embedded by the caller in whatever holds a matcher. */
typedef struct {
    mercure_index_entry *entry; /* NULL: in no index */
    size_t position;            /* among the entry's members */
    void *owner;                /* the caller's, untouched */
} mercure_index_member;

struct mercure_index_entry {
    mercure_matcher matcher; /* the entry's own: it lives as long as the entry */
    mercure_index_member **members;
    size_t count;
    size_t room;
    int phase;      /* the caller's, 0 at first */
    uint64_t since; /* the caller's, 0 at first */
};

/* NULL only when there is no memory. */
mercure_index *mercure_index_create(void);

/* Free the index. It must be empty. NULL is allowed. */
void mercure_index_destroy(mercure_index *index);

/* May a matcher be added? Not when its base is one too many: see MERCURE_MAX_BASES. */
bool mercure_index_takes(mercure_index *index, const mercure_matcher_key *key);

/* Put a member in. Of the matcher a copy is kept, if it is a new one. False when it may not be added, or there is no
 * memory.
 */
bool mercure_index_add(mercure_index *index, const mercure_matcher *matcher, mercure_index_member *member);

/* Take a member out. When it was the entry's last one the entry is freed; look at `member->entry->count == 1` before
 * to know. O(1).
 */
void mercure_index_remove(mercure_index *index, mercure_index_member *member);

/* The entry of just this matcher, or NULL. */
mercure_index_entry *mercure_index_find(mercure_index *index, const mercure_matcher_key *key);

/* Number of distinct matchers. */
size_t mercure_index_size(const mercure_index *index);

/* Call `visit` for each entry that matches one of the topics; an entry may be visited more than once. `visit` must not
 * change the index.
 */
void mercure_index_match(mercure_index *index, mercure_topic *topics, size_t count,
                         void (*visit)(void *context, mercure_index_entry *entry), void *context);

/* Call `visit` for every entry. `visit` must not change the index. */
void mercure_index_each(mercure_index *index, void (*visit)(void *context, mercure_index_entry *entry), void *context);

#endif
