/* index.c - see index.h. */
#include "mercure/index.h"
#include "mercure/hash.h"
#include "mercure/limits.h"

#include <stdlib.h>

#include "anchors.h"

/* The URL Patterns with one base: they see a relative topic as the same URL. */
typedef struct base_group {
    struct base_group *next;
    mercure_base *base; /* NULL: relative to nothing */
    uint64_t number;
    size_t patterns;
} base_group;

/* The entry of a URL Pattern. */
typedef struct {
    mercure_index_entry entry; /* the first field */
    base_group *group;
    anchored filed;
    mercure_str key; /* in the table of patterns */
} url_pattern;

struct mercure_index {
    apr_pool_t *pool;     /* the hash tables' own */
    apr_hash_t *exact;    /* pattern -> mercure_index_entry */
    apr_hash_t *patterns; /* base, NUL, pattern -> url_pattern */
    anchors *anchors;     /* of the URL Patterns; NULL: there never was one */
    base_group *groups;
    uint64_t groups_made;
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
    index->patterns = apr_hash_make_custom(index->pool, mercure_hash_apr);
    return index;
}

void mercure_index_destroy(mercure_index *index)
{
    if (index == NULL) {
        return;
    }
    anchors_destroy(index->anchors);
    apr_pool_destroy(index->pool);
    free(index);
}

/* --- entries --- */

#define PATTERN_KEY_MAX (MERCURE_MAX_BASE + 1 + MERCURE_MAX_VALUE)

/* The key of a URL Pattern, written to `room`, which has PATTERN_KEY_MAX bytes or as many as it takes. */
static mercure_str write_pattern_key(const mercure_matcher_key *key, char *room)
{
    if (key->base.len > 0) {
        memcpy(room, key->base.data, key->base.len);
    }
    room[key->base.len] = '\0';
    memcpy(room + key->base.len + 1, key->pattern.data, key->pattern.len);
    return (mercure_str){room, key->base.len + 1 + key->pattern.len};
}

mercure_index_entry *mercure_index_find(mercure_index *index, const mercure_matcher_key *key)
{
    char room[PATTERN_KEY_MAX];
    mercure_str found_by = key->pattern;
    apr_hash_t *table = index->exact;

    if (key->kind == MERCURE_MATCH_ALL) {
        return index->all;
    }
    if (key->kind == MERCURE_MATCH_URLPATTERN) {
        if (key->base.len > MERCURE_MAX_BASE || key->pattern.len > MERCURE_MAX_VALUE) {
            return NULL;
        }
        found_by = write_pattern_key(key, room);
        table = index->patterns;
    }
    return apr_hash_get(table, found_by.data, (apr_ssize_t)found_by.len); /* an entry is its struct's first field */
}

static base_group *group_of(mercure_index *index, mercure_base *base)
{
    base_group *group;

    for (group = index->groups; group != NULL; group = group->next) {
        if (group->base == base || (group->base != NULL && base != NULL &&
                                    mercure_str_equal(mercure_base_text(group->base), mercure_base_text(base)))) {
            return group;
        }
    }
    group = malloc(sizeof(*group));
    if (group != NULL) {
        *group = (base_group){index->groups, base != NULL ? mercure_base_hold(base) : NULL, ++index->groups_made, 0};
        index->groups = group;
    }
    return group;
}

static void leave_group(mercure_index *index, base_group *group)
{
    base_group **at = &index->groups;

    if (--group->patterns > 0) {
        return;
    }
    while (*at != group) {
        at = &(*at)->next;
    }
    *at = group->next;
    mercure_base_release(group->base);
    free(group);
}

static mercure_index_entry *create_pattern(mercure_index *index, const mercure_matcher *matcher)
{
    url_pattern *made = calloc(1, sizeof(*made) + matcher->key.base.len + 1 + matcher->key.pattern.len);
    base_group *group = made != NULL ? group_of(index, matcher->base) : NULL;

    if (group == NULL) {
        free(made);
        return NULL;
    }
    group->patterns++;
    if ((index->anchors == NULL && (index->anchors = anchors_create()) == NULL) ||
        !anchors_add(index->anchors, group->number, matcher->urlpattern, &made->filed)) {
        leave_group(index, group);
        free(made);
        return NULL;
    }
    made->group = group;
    made->key = write_pattern_key(&matcher->key, (char *)(made + 1));
    made->entry.matcher = mercure_matcher_copy(matcher, (char *)(made + 1) + matcher->key.base.len + 1);
    if (made->entry.matcher.base != group->base) { /* one base for all of the group */
        mercure_base_release(made->entry.matcher.base);
        made->entry.matcher.base = mercure_base_hold(group->base);
        made->entry.matcher.key.base = mercure_base_text(group->base);
    }
    apr_hash_set(index->patterns, made->key.data, (apr_ssize_t)made->key.len, made);
    return &made->entry;
}

static mercure_index_entry *create_entry(mercure_index *index, const mercure_matcher *matcher)
{
    mercure_index_entry *entry;

    if (matcher->key.kind == MERCURE_MATCH_URLPATTERN) {
        return create_pattern(index, matcher);
    }
    entry = calloc(1, sizeof(*entry) + matcher->key.pattern.len);
    if (entry == NULL) {
        return NULL;
    }
    entry->matcher = mercure_matcher_copy(matcher, (char *)(entry + 1));
    if (matcher->key.kind == MERCURE_MATCH_ALL) {
        index->all = entry;
    } else {
        apr_hash_set(index->exact, entry->matcher.key.pattern.data, (apr_ssize_t)entry->matcher.key.pattern.len, entry);
    }
    return entry;
}

static void drop_entry(mercure_index *index, mercure_index_entry *entry)
{
    url_pattern *pattern;

    switch (entry->matcher.key.kind) {
    case MERCURE_MATCH_ALL:
        index->all = NULL;
        break;
    case MERCURE_MATCH_EXACT:
        apr_hash_set(index->exact, entry->matcher.key.pattern.data, (apr_ssize_t)entry->matcher.key.pattern.len, NULL);
        break;
    case MERCURE_MATCH_URLPATTERN:
        pattern = (url_pattern *)entry;
        apr_hash_set(index->patterns, pattern->key.data, (apr_ssize_t)pattern->key.len, NULL);
        anchors_remove(index->anchors, &pattern->filed);
        leave_group(index, pattern->group);
        break;
    }
    mercure_matcher_release(&entry->matcher);
    free(entry->members);
    free(entry);
}

/* --- members --- */

bool mercure_index_add(mercure_index *index, const mercure_matcher *matcher, mercure_index_member *member)
{
    mercure_index_entry *entry = mercure_index_find(index, &matcher->key);

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
    return apr_hash_count(index->exact) + apr_hash_count(index->patterns) + (index->all != NULL ? 1 : 0);
}

/* --- matching --- */

typedef struct {
    mercure_url_parts *url;
    void (*visit)(void *context, mercure_index_entry *entry);
    void *context;
} asking;

static void ask(void *context, anchored *one)
{
    const asking *about = context;
    url_pattern *pattern = (url_pattern *)((char *)one - offsetof(url_pattern, filed));

    if (mercure_urlpattern_matches(pattern->entry.matcher.urlpattern, about->url)) {
        about->visit(about->context, &pattern->entry);
    }
}

static void match_topic(mercure_index *index, mercure_topic *topic,
                        void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    mercure_index_entry *exact = apr_hash_get(index->exact, topic->text.data, (apr_ssize_t)topic->text.len);
    const base_group *group;

    if (exact != NULL) {
        visit(context, exact);
    }
    for (group = index->groups; group != NULL; group = group->next) {
        asking about = {mercure_topic_resolve(topic, group->base), visit, context};
        if (about.url != NULL) {
            anchors_find(index->anchors, group->number, about.url, ask, &about);
        }
    }
}

void mercure_index_match(mercure_index *index, mercure_topic *topics, size_t count,
                         void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    size_t i;

    if (index->all != NULL) {
        visit(context, index->all);
    }
    for (i = 0; i < count; i++) {
        match_topic(index, &topics[i], visit, context);
    }
}

static void visit_table(apr_hash_t *table, void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, table); walk != NULL; walk = apr_hash_next(walk)) {
        visit(context, apr_hash_this_val(walk)); /* an entry is its struct's first field */
    }
}

void mercure_index_each(mercure_index *index, void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    if (index->all != NULL) {
        visit(context, index->all);
    }
    visit_table(index->exact, visit, context);
    visit_table(index->patterns, visit, context);
}
