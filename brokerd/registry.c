/* registry.c - see registry.h. Hubs stay known once they were seen: their number is the number of tenants. */
#include "registry.h"

#include <apr_hash.h>
#include <stdlib.h>

#include "mercure/hash.h"

#define MAX_CHILDREN 65536
#define SCRATCH_KEPT (1u << 20) /* bytes of memory for matching that are kept for the next update */

typedef struct hub {
    char *name;
    size_t name_len;
    mercure_index *index; /* members are registrations */
    uint64_t head;        /* the newest sequence that was matched */
    uint64_t told;        /* the head that was told last: see registry_tell_heads() */
} hub;

/* One child's one matcher in one hub. */
typedef struct registration {
    mercure_index_member member; /* owner: the child */
    hub *hub;
    struct registration *next, *previous;
} registration;

struct registry {
    apr_pool_t *pool;
    apr_pool_t *scratch;  /* cleared after each use */
    apr_hash_t *children; /* id -> child */
    apr_hash_t *hubs;     /* name -> hub */
};

registry *registry_create(void)
{
    registry *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&r->pool, NULL, NULL) != APR_SUCCESS ||
        apr_pool_create(&r->scratch, r->pool) != APR_SUCCESS) {
        free(r);
        return NULL;
    }
    apr_allocator_max_free_set(apr_pool_allocator_get(r->pool), SCRATCH_KEPT);
    r->children = apr_hash_make_custom(r->pool, mercure_hash_apr);
    r->hubs = apr_hash_make_custom(r->pool, mercure_hash_apr);
    return r;
}

static void drop_visited(void *context, child *c)
{
    registry_drop(context, c);
}

void registry_free(registry *r)
{
    apr_hash_index_t *walk;

    registry_each(r, drop_visited, r);
    for (walk = apr_hash_first(NULL, r->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        hub *h = apr_hash_this_val(walk);
        mercure_index_destroy(h->index);
        free(h->name);
        free(h);
    }
    apr_pool_destroy(r->pool);
    free(r);
}

child *registry_child(registry *r, const mercure_peer_id *id, bool create)
{
    child *c = apr_hash_get(r->children, id->bytes, sizeof(id->bytes));

    if (c != NULL || !create || apr_hash_count(r->children) >= MAX_CHILDREN) {
        return c;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    c->id = *id;
    apr_hash_set(r->children, c->id.bytes, sizeof(c->id.bytes), c);
    return c;
}

static void remove_registration(child *c, registration *one)
{
    mercure_index_remove(one->hub->index, &one->member);
    if (one->previous != NULL) {
        one->previous->next = one->next;
    } else {
        c->registrations = one->next;
    }
    if (one->next != NULL) {
        one->next->previous = one->previous;
    }
    free(one);
}

void registry_reset(registry *r, child *c)
{
    (void)r;
    while (c->registrations != NULL) {
        remove_registration(c, c->registrations);
    }
    c->sent = 0;
    c->received = 0;
    c->bytes = 0;
    c->bytes_at[0] = 0;
    c->welcomed = false;
}

void registry_drop(registry *r, child *c)
{
    registry_reset(r, c);
    apr_hash_set(r->children, c->id.bytes, sizeof(c->id.bytes), NULL);
    free(c);
}

static hub *find_hub(registry *r, mercure_str name)
{
    return apr_hash_get(r->hubs, name.data, (apr_ssize_t)name.len);
}

static hub *create_hub(registry *r, mercure_str name, uint64_t head)
{
    hub *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->name = malloc(name.len);
    h->index = mercure_index_create();
    if (h->name == NULL || h->index == NULL) {
        mercure_index_destroy(h->index);
        free(h->name);
        free(h);
        return NULL;
    }
    memcpy(h->name, name.data, name.len);
    h->name_len = name.len;
    h->head = head;
    apr_hash_set(r->hubs, h->name, (apr_ssize_t)h->name_len, h);
    return h;
}

/* The registration of this matcher for this child, or NULL. An entry has at most one member a child. */
static registration *find_registration(hub *h, const child *c, const mercure_matcher_key *matcher)
{
    const mercure_index_entry *entry = mercure_index_find(h->index, matcher);
    size_t i;

    for (i = 0; entry != NULL && i < entry->count; i++) {
        if (entry->members[i]->owner == c) {
            return (registration *)entry->members[i]; /* the member is its first field */
        }
    }
    return NULL;
}

/* Put a child's member into the index. The matcher is made, a pattern compiled, only if nobody holds it yet. */
static mercure_status add_member(registry *r, hub *h, const mercure_matcher_key *key, mercure_index_member *member)
{
    const mercure_index_entry *entry = mercure_index_find(h->index, key);
    mercure_matcher matcher;
    mercure_status status;

    if (entry != NULL) {
        return mercure_index_add(h->index, &entry->matcher, member) ? MERCURE_OK : MERCURE_SYSTEM;
    }
    if (!mercure_index_takes(h->index, key)) {
        return MERCURE_LIMIT;
    }
    status = mercure_matcher_of_key(r->scratch, key, &matcher, NULL);
    apr_pool_clear(r->scratch);
    if (status != MERCURE_OK) {
        return status;
    }
    status = mercure_index_add(h->index, &matcher, member) ? MERCURE_OK : MERCURE_SYSTEM;
    mercure_matcher_release(&matcher);
    return status;
}

mercure_status registry_register(registry *r, child *c, mercure_str name, const mercure_matcher_key *matcher,
                                 bool (*head_of)(void *context, mercure_str hub, uint64_t *head), void *context,
                                 uint64_t *head)
{
    hub *h = find_hub(r, name);
    mercure_status status;
    registration *one;

    if (h == NULL && (!head_of(context, name, head) || (h = create_hub(r, name, *head)) == NULL)) {
        return MERCURE_SYSTEM;
    }
    *head = h->head;
    if (find_registration(h, c, matcher) != NULL) {
        return MERCURE_OK;
    }
    one = calloc(1, sizeof(*one));
    status = one != NULL ? add_member(r, h, matcher, &one->member) : MERCURE_SYSTEM;
    if (status != MERCURE_OK) {
        free(one);
        return status;
    }
    one->member.owner = c;
    one->hub = h;
    one->next = c->registrations;
    if (one->next != NULL) {
        one->next->previous = one;
    }
    c->registrations = one;
    return MERCURE_OK;
}

bool registry_unregister(registry *r, child *c, mercure_str name, const mercure_matcher_key *matcher)
{
    hub *h = find_hub(r, name);
    registration *one = h != NULL ? find_registration(h, c, matcher) : NULL;

    if (one == NULL) {
        return false;
    }
    remove_registration(c, one);
    return true;
}

typedef struct {
    hub *hub;
    uint64_t sequence;
    void (*forward)(void *context, child *c);
    void *context;
} matching;

static void visit_entry(void *context, mercure_index_entry *entry)
{
    const matching *m = context;
    size_t i;

    for (i = 0; i < entry->count; i++) {
        child *c = entry->members[i]->owner;
        if (c->last_hub == m->hub && c->last_hub_sequence == m->sequence) {
            continue; /* another matcher of this child has matched already */
        }
        c->last_hub = m->hub;
        c->last_hub_sequence = m->sequence;
        m->forward(m->context, c);
    }
}

bool registry_match(registry *r, mercure_str name, uint64_t sequence, const mercure_record *record,
                    void (*forward)(void *context, child *c), void *context)
{
    hub *h = find_hub(r, name);
    matching m = {h, sequence, forward, context};
    mercure_topic *topics;
    bool complete;

    if (h == NULL) {
        return true; /* nobody ever asked for it: a hub's head is learnt from the history when somebody does */
    }
    h->head = sequence > h->head ? sequence : h->head;
    topics = mercure_record_topics(r->scratch, record);
    mercure_index_match(h->index, topics, record->topic_count, visit_entry, &m);
    complete = !mercure_effort_exhausted(topics->effort);
    apr_pool_clear(r->scratch);
    return complete;
}

typedef struct {
    hub *hub;
    void (*tell)(void *context, child *c, mercure_str hub, uint64_t head);
    void *context;
} telling;

static void tell_entry(void *context, mercure_index_entry *entry)
{
    const telling *t = context;
    size_t i;

    for (i = 0; i < entry->count; i++) {
        child *c = entry->members[i]->owner;
        if (c->told_hub != t->hub || c->told_head != t->hub->head) {
            c->told_hub = t->hub;
            c->told_head = t->hub->head;
            t->tell(t->context, c, (mercure_str){t->hub->name, t->hub->name_len}, t->hub->head);
        }
    }
}

void registry_tell_heads(registry *r, void (*tell)(void *context, child *c, mercure_str hub, uint64_t head),
                         void *context)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, r->hubs); walk != NULL; walk = apr_hash_next(walk)) {
        telling t = {apr_hash_this_val(walk), tell, context};
        if (t.hub->head != t.hub->told) {
            t.hub->told = t.hub->head;
            mercure_index_each(t.hub->index, tell_entry, &t);
        }
    }
}

bool registry_number(child *c, size_t size)
{
    uint64_t outstanding = c->sent - c->received;
    bool fits =
        outstanding < CHILD_WINDOW - 1 && c->bytes - c->bytes_at[c->received % CHILD_WINDOW] <= CHILD_WINDOW_BYTES;

    c->sent++;
    if (fits) {
        c->bytes += size;
    }
    c->bytes_at[c->sent % CHILD_WINDOW] = c->bytes;
    return fits;
}

void registry_each(registry *r, void (*visit)(void *context, child *c), void *context)
{
    apr_hash_index_t *walk;

    for (walk = apr_hash_first(NULL, r->children); walk != NULL; walk = apr_hash_next(walk)) {
        visit(context, apr_hash_this_val(walk));
    }
}
