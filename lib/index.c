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

#define TEMPLATES 0 /* the number of the group of URI Templates; those of bases begin at 1 */

/* The entry of a URL Pattern or URI Template. */
typedef struct {
    mercure_index_entry entry; /* the first field */
    base_group *group;         /* of a URL Pattern */
    anchored filed;
    mercure_str key; /* in its table */
} pattern_entry;

struct mercure_index {
    apr_pool_t *pool;      /* the hash tables' own */
    apr_hash_t *exact;     /* pattern -> mercure_index_entry */
    apr_hash_t *patterns;  /* base, NUL, pattern -> pattern_entry */
    apr_hash_t *templates; /* pattern -> pattern_entry */
    anchors *anchors;      /* of patterns and templates; NULL: there never was one */
    base_group *groups;
    size_t group_count;
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
    index->templates = apr_hash_make_custom(index->pool, mercure_hash_apr);
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
    apr_hash_t *table = NULL;

    switch (key->kind) {
    case MERCURE_MATCH_ALL:
        return index->all;
    case MERCURE_MATCH_EXACT:
        table = index->exact;
        break;
    case MERCURE_MATCH_URITEMPLATE:
        table = index->templates;
        break;
    case MERCURE_MATCH_URLPATTERN:
        if (key->base.len > MERCURE_MAX_BASE || key->pattern.len > MERCURE_MAX_VALUE) {
            return NULL;
        }
        found_by = write_pattern_key(key, room);
        table = index->patterns;
        break;
    }
    return apr_hash_get(table, found_by.data, (apr_ssize_t)found_by.len); /* an entry is its struct's first field */
}

static base_group *find_group(mercure_index *index, mercure_str base)
{
    base_group *group = index->groups;

    while (group != NULL &&
           !mercure_str_equal(group->base != NULL ? mercure_base_text(group->base) : mercure_str_of(""), base)) {
        group = group->next;
    }
    return group;
}

/* Anybody can make up names under which to reach a hub, and each one costs every relative topic: so they are few. */
bool mercure_index_takes(mercure_index *index, const mercure_matcher_key *key)
{
    return key->kind != MERCURE_MATCH_URLPATTERN || index->group_count < MERCURE_MAX_BASES ||
           find_group(index, key->base) != NULL;
}

static base_group *group_of(mercure_index *index, const mercure_matcher *matcher)
{
    base_group *group = find_group(index, matcher->key.base);

    if (group != NULL || !mercure_index_takes(index, &matcher->key)) {
        return group;
    }
    group = malloc(sizeof(*group));
    if (group != NULL) {
        *group = (base_group){index->groups, matcher->base != NULL ? mercure_base_hold(matcher->base) : NULL,
                              ++index->groups_made, 0};
        index->groups = group;
        index->group_count++;
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
    index->group_count--;
    mercure_base_release(group->base);
    free(group);
}

/* Where URL Patterns have literal text, the most telling first. */
static const mercure_url_component url_fields[] = {MERCURE_URL_PATHNAME, MERCURE_URL_HOSTNAME, MERCURE_URL_SEARCH,
                                                   MERCURE_URL_HASH};
#define URL_FIELDS (sizeof(url_fields) / sizeof(url_fields[0]))

static bool file(mercure_index *index, uint64_t group, const anchor_literals *literals, size_t fields, anchored *filed)
{
    if (index->anchors == NULL && (index->anchors = anchors_create()) == NULL) {
        return false;
    }
    return anchors_add(index->anchors, group, literals, fields, filed);
}

static bool file_urlpattern(mercure_index *index, const mercure_urlpattern *pattern, pattern_entry *made)
{
    anchor_literals literals[URL_FIELDS];
    size_t i;

    for (i = 0; i < URL_FIELDS; i++) {
        literals[i].beginning = mercure_urlpattern_prefix(pattern, url_fields[i]);
        literals[i].end = mercure_urlpattern_suffix(pattern, url_fields[i]);
    }
    return file(index, made->group->number, literals, URL_FIELDS, &made->filed);
}

static mercure_index_entry *create_urlpattern(mercure_index *index, const mercure_matcher *matcher)
{
    pattern_entry *made = calloc(1, sizeof(*made) + matcher->key.base.len + 1 + matcher->key.pattern.len);

    if (made == NULL || (made->group = group_of(index, matcher)) == NULL) {
        free(made);
        return NULL;
    }
    made->group->patterns++;
    if (!file_urlpattern(index, matcher->urlpattern, made)) {
        leave_group(index, made->group);
        free(made);
        return NULL;
    }
    made->key = write_pattern_key(&matcher->key, (char *)(made + 1));
    made->entry.matcher = mercure_matcher_copy(matcher, (char *)(made + 1) + matcher->key.base.len + 1);
    if (made->entry.matcher.base != made->group->base) { /* one base for all of the group */
        mercure_base_release(made->entry.matcher.base);
        made->entry.matcher.base = mercure_base_hold(made->group->base);
        made->entry.matcher.key.base = mercure_base_text(made->group->base);
    }
    apr_hash_set(index->patterns, made->key.data, (apr_ssize_t)made->key.len, made);
    return &made->entry;
}

static mercure_index_entry *create_uritemplate(mercure_index *index, const mercure_matcher *matcher)
{
    pattern_entry *made = calloc(1, sizeof(*made) + matcher->key.pattern.len);
    anchor_literals literals = {mercure_uritemplate_prefix(matcher->uritemplate),
                                mercure_uritemplate_suffix(matcher->uritemplate)};

    if (made == NULL || !file(index, TEMPLATES, &literals, 1, &made->filed)) {
        free(made);
        return NULL;
    }
    made->entry.matcher = mercure_matcher_copy(matcher, (char *)(made + 1));
    made->key = made->entry.matcher.key.pattern;
    apr_hash_set(index->templates, made->key.data, (apr_ssize_t)made->key.len, made);
    return &made->entry;
}

static mercure_index_entry *create_plain(mercure_index *index, const mercure_matcher *matcher)
{
    mercure_index_entry *entry = calloc(1, sizeof(*entry) + matcher->key.pattern.len);

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

static mercure_index_entry *create_entry(mercure_index *index, const mercure_matcher *matcher)
{
    switch (matcher->key.kind) {
    case MERCURE_MATCH_URLPATTERN:
        return create_urlpattern(index, matcher);
    case MERCURE_MATCH_URITEMPLATE:
        return create_uritemplate(index, matcher);
    default:
        return create_plain(index, matcher);
    }
}

static void drop_pattern(mercure_index *index, apr_hash_t *table, pattern_entry *pattern)
{
    apr_hash_set(table, pattern->key.data, (apr_ssize_t)pattern->key.len, NULL);
    anchors_remove(index->anchors, &pattern->filed);
    if (pattern->group != NULL) {
        leave_group(index, pattern->group);
    }
}

static void drop_entry(mercure_index *index, mercure_index_entry *entry)
{
    mercure_str pattern = entry->matcher.key.pattern;

    switch (entry->matcher.key.kind) {
    case MERCURE_MATCH_ALL:
        index->all = NULL;
        break;
    case MERCURE_MATCH_EXACT:
        apr_hash_set(index->exact, pattern.data, (apr_ssize_t)pattern.len, NULL);
        break;
    case MERCURE_MATCH_URLPATTERN:
        drop_pattern(index, index->patterns, (pattern_entry *)entry);
        break;
    case MERCURE_MATCH_URITEMPLATE:
        drop_pattern(index, index->templates, (pattern_entry *)entry);
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
    return apr_hash_count(index->exact) + apr_hash_count(index->patterns) + apr_hash_count(index->templates) +
           (index->all != NULL ? 1 : 0);
}

/* --- matching --- */

typedef struct {
    mercure_topic *topic;
    void (*visit)(void *context, mercure_index_entry *entry);
    void *context;
} asking;

static void ask(void *context, anchored *one)
{
    const asking *about = context;
    pattern_entry *pattern = (pattern_entry *)((char *)one - offsetof(pattern_entry, filed));

    if (mercure_matcher_matches(&pattern->entry.matcher, about->topic)) {
        about->visit(about->context, &pattern->entry);
    }
}

static void ask_urlpatterns(mercure_index *index, const base_group *group, asking *about)
{
    const mercure_url_parts *url = mercure_topic_resolve(about->topic, group->base);
    mercure_str fields[URL_FIELDS];
    size_t i;

    if (url == NULL) {
        return;
    }
    for (i = 0; i < URL_FIELDS; i++) {
        fields[i] = mercure_url_parts_get(url, url_fields[i]);
    }
    anchors_find(index->anchors, group->number, fields, URL_FIELDS, ask, about);
}

/* A template is also its own topic, text for text. */
static void ask_uritemplates(mercure_index *index, asking *about)
{
    mercure_str text = about->topic->text;
    mercure_index_entry *same = apr_hash_get(index->templates, text.data, (apr_ssize_t)text.len);

    if (same != NULL) {
        about->visit(about->context, same);
    }
    anchors_find(index->anchors, TEMPLATES, &text, 1, ask, about);
}

static void match_topic(mercure_index *index, mercure_topic *topic,
                        void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    mercure_index_entry *exact = apr_hash_get(index->exact, topic->text.data, (apr_ssize_t)topic->text.len);
    asking about = {topic, visit, context};
    const base_group *group;

    if (exact != NULL) {
        visit(context, exact);
    }
    for (group = index->groups; group != NULL; group = group->next) {
        ask_urlpatterns(index, group, &about);
    }
    if (apr_hash_count(index->templates) > 0) {
        ask_uritemplates(index, &about);
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
    visit_table(index->templates, visit, context);
}
