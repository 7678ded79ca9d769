/* index.c - see index.h. */
#include "mercure/index.h"
#include "mercure/hash.h"

#include <stdlib.h>

struct mercure_index {
    apr_pool_t *pool;         /* the hash table's own */
    apr_hash_t *exact;        /* pattern -> mercure_index_entry */
    mercure_index_entry *all; /* `*` */
};

mercure_index *mercure_index_create(void)
{
    mercure_index *index = calloc(1, sizeof(*index));

    if (index == NULL) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&index->pool, NULL, NULL) != APR_SUCCESS) {
        free(index);
        return NULL;
    }
    index->exact = apr_hash_make_custom(index->pool, mercure_hash_apr);
    return index;
}

void mercure_index_destroy(mercure_index *index)
{
    if (index == NULL) {
        return;
    }
    apr_pool_destroy(index->pool);
    free(index);
}

mercure_index_entry *mercure_index_find(mercure_index *index, const mercure_matcher *matcher)
{
    if (matcher->kind == MERCURE_MATCH_ALL) {
        return index->all;
    }
    return apr_hash_get(index->exact, matcher->pattern.data, (apr_ssize_t)matcher->pattern.len);
}

static mercure_index_entry *create_entry(mercure_index *index, const mercure_matcher *matcher)
{
    mercure_index_entry *entry = calloc(1, sizeof(*entry) + matcher->pattern.len);
    char *pattern;

    if (entry == NULL) {
        return NULL;
    }
    pattern = (char *)(entry + 1);
    memcpy(pattern, matcher->pattern.data, matcher->pattern.len);
    entry->matcher.kind = matcher->kind;
    entry->matcher.pattern = (mercure_str){pattern, matcher->pattern.len};
    if (matcher->kind == MERCURE_MATCH_ALL) {
        index->all = entry;
    } else {
        apr_hash_set(index->exact, pattern, (apr_ssize_t)matcher->pattern.len, entry);
    }
    return entry;
}

static void drop_entry(mercure_index *index, mercure_index_entry *entry)
{
    if (entry->matcher.kind == MERCURE_MATCH_ALL) {
        index->all = NULL;
    } else {
        apr_hash_set(index->exact, entry->matcher.pattern.data, (apr_ssize_t)entry->matcher.pattern.len, NULL);
    }
    free(entry->members);
    free(entry);
}

bool mercure_index_add(mercure_index *index, const mercure_matcher *matcher, mercure_index_member *member)
{
    mercure_index_entry *entry = mercure_index_find(index, matcher);

    if (entry == NULL && (entry = create_entry(index, matcher)) == NULL) {
        return false;
    }
    if (entry->count == entry->room) {
        size_t room = entry->room == 0 ? 1 : entry->room * 2;
        mercure_index_member **members = realloc(entry->members, room * sizeof(*members));
        if (members == NULL) {
            if (entry->count == 0) {
                drop_entry(index, entry);
            }
            return false;
        }
        entry->members = members;
        entry->room = room;
    }
    member->entry = entry;
    member->position = entry->count;
    entry->members[entry->count++] = member;
    return true;
}

void mercure_index_remove(mercure_index *index, mercure_index_member *member)
{
    mercure_index_entry *entry = member->entry;
    mercure_index_member *last;

    if (entry == NULL) {
        return;
    }
    last = entry->members[--entry->count];
    entry->members[member->position] = last;
    last->position = member->position;
    member->entry = NULL;
    if (entry->count == 0) {
        drop_entry(index, entry);
    }
}

size_t mercure_index_size(const mercure_index *index)
{
    return apr_hash_count(index->exact) + (index->all != NULL ? 1 : 0);
}

void mercure_index_match(mercure_index *index, const mercure_record *record,
                         void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    mercure_str topic;
    size_t at = 0;

    if (index->all != NULL) {
        visit(context, index->all);
    }
    while (mercure_record_topic(record, &at, &topic)) {
        mercure_index_entry *entry = apr_hash_get(index->exact, topic.data, (apr_ssize_t)topic.len);
        if (entry != NULL) {
            visit(context, entry);
        }
    }
}

void mercure_index_each(mercure_index *index, void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    apr_hash_index_t *walk;

    if (index->all != NULL) {
        visit(context, index->all);
    }
    for (walk = apr_hash_first(NULL, index->exact); walk != NULL; walk = apr_hash_next(walk)) {
        visit(context, apr_hash_this_val(walk));
    }
}
