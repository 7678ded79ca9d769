/* counters.c - see counters.h.
 *
 * A part is an open-addressing table of {key, count}. Its owner changes it under a lock of its own process; others read
 * without any, which may show them a count that is a moment old.
 */
#include "counters.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define PLACES     65536 /* distinct keys a child can count: two a stream, at the most */
#define PARTS_MOST 1024
#define PROBES     64

typedef struct {
    _Atomic uint64_t key; /* 0: never used */
    _Atomic uint32_t count;
} place;

typedef struct {
    _Atomic pid_t owner; /* 0: free */
    _Atomic uint32_t blocking;
    place places[PLACES];
} part;

struct counters {
    unsigned char salt[32];
    unsigned count;
    part parts[];
};

/* This process's own: set once, by counters_claim(). */
static struct {
    part *mine;
    pthread_mutex_t lock;
} self = {NULL, PTHREAD_MUTEX_INITIALIZER};

counters *counters_create(unsigned children)
{
    unsigned parts = children < PARTS_MOST ? children : PARTS_MOST;
    size_t size = sizeof(counters) + parts * sizeof(part);
    /* Only what is used takes memory. */
    counters *c = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (c == MAP_FAILED) {
        return NULL;
    }
    if (RAND_bytes(c->salt, sizeof(c->salt)) != 1) {
        munmap(c, size);
        return NULL;
    }
    c->count = parts;
    return c;
}

static void digest_part(EVP_MD_CTX *digest, const void *piece, size_t len)
{
    EVP_DigestUpdate(digest, &len, sizeof(len)); /* so that the parts cannot run into each other */
    EVP_DigestUpdate(digest, piece, len);
}

uint64_t counters_key(const counters *c, const char *kind, const char *hub, const void *value, size_t len)
{
    unsigned char raw[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    uint64_t key;

    if (digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1) {
        digest_part(digest, c->salt, sizeof(c->salt));
        digest_part(digest, kind, strlen(kind));
        digest_part(digest, hub, strlen(hub));
        digest_part(digest, value, len);
        EVP_DigestFinal_ex(digest, raw, NULL);
    }
    EVP_MD_CTX_free(digest);
    memcpy(&key, raw, sizeof(key));
    return key != 0 ? key : 1;
}

uint64_t counters_address_key(const counters *c, const char *kind, const char *hub, const char *address)
{
    unsigned char raw[16];

    if (inet_pton(AF_INET6, address, raw) == 1 && !IN6_IS_ADDR_V4MAPPED((struct in6_addr *)raw)) {
        return counters_key(c, kind, hub, raw, 8);
    }
    return counters_key(c, kind, hub, address, strlen(address));
}

static void clear_part(part *p)
{
    unsigned i;

    for (i = 0; i < PLACES; i++) {
        if (p->places[i].key != 0) { /* untouched pages stay untouched */
            p->places[i].count = 0;
            p->places[i].key = 0;
        }
    }
    p->blocking = 0;
}

void counters_child_ended(counters *c, pid_t pid)
{
    unsigned i;

    for (i = 0; i < c->count; i++) {
        if (c->parts[i].owner == pid) {
            clear_part(&c->parts[i]);
            c->parts[i].owner = 0;
        }
    }
}

bool counters_claim(counters *c, pid_t pid)
{
    unsigned i;

    for (i = 0; i < c->count; i++) {
        pid_t nobody = 0;
        if (atomic_compare_exchange_strong(&c->parts[i].owner, &nobody, pid)) {
            self.mine = &c->parts[i];
            return true;
        }
    }
    return false;
}

/* The place of a key, or NULL. With `create`, one that was never used or is no longer used is taken. */
static place *find_place(part *p, uint64_t key, bool create)
{
    place *spare = NULL;
    unsigned i;

    for (i = 0; i < PROBES; i++) {
        place *at = &p->places[(key + i) % PLACES];
        if (at->key == key) {
            return at;
        }
        if (at->count == 0 && spare == NULL) {
            spare = at;
        }
        if (at->key == 0) {
            break;
        }
    }
    if (!create || spare == NULL) {
        return NULL;
    }
    spare->key = key;
    return spare;
}

static uint64_t total(counters *c, uint64_t key)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < c->count; i++) {
        place *at = c->parts[i].owner != 0 ? find_place(&c->parts[i], key, false) : NULL;
        sum += at != NULL ? at->count : 0;
    }
    return sum;
}

/* Count one more of `key`, unless that is more than `most`. */
static counters_answer take_place(counters *c, uint64_t key, uint64_t most, counters_answer full)
{
    place *at = find_place(self.mine, key, true);

    if (at == NULL) {
        return COUNTERS_NO_ROOM;
    }
    at->count++;
    if (total(c, key) > most) {
        at->count--;
        return full;
    }
    return COUNTERS_ADMITTED;
}

static void leave_places(const counters_ticket *ticket)
{
    int i;

    for (i = 0; i < 3; i++) {
        place *at = ticket->keys[i] != 0 ? find_place(self.mine, ticket->keys[i], false) : NULL;
        if (at != NULL && at->count > 0) {
            at->count--;
        }
    }
}

counters_answer counters_admit(counters *c, const counters_request *request, counters_ticket *ticket)
{
    const struct {
        uint64_t key, most;
        counters_answer full;
    } wanted[3] = {
        {request->hub, request->max_subscribers, COUNTERS_HUB_FULL},
        {request->address, request->max_per_client, COUNTERS_CLIENT_FULL},
        {request->token, request->max_per_client, COUNTERS_CLIENT_FULL},
    };
    counters_answer answer = COUNTERS_ADMITTED;
    int i;

    *ticket = (counters_ticket){{0, 0, 0}};
    if (self.mine == NULL) {
        return COUNTERS_ADMITTED;
    }
    pthread_mutex_lock(&self.lock);
    for (i = 0; i < 3 && answer == COUNTERS_ADMITTED; i++) {
        if (wanted[i].key == 0 || wanted[i].most == 0) {
            continue;
        }
        answer = take_place(c, wanted[i].key, wanted[i].most, wanted[i].full);
        if (answer == COUNTERS_ADMITTED) {
            ticket->keys[i] = wanted[i].key;
        }
    }
    if (answer != COUNTERS_ADMITTED) {
        leave_places(ticket);
        *ticket = (counters_ticket){{0, 0, 0}};
    }
    pthread_mutex_unlock(&self.lock);
    return answer;
}

void counters_leave(counters *c, const counters_ticket *ticket)
{
    (void)c;
    if (self.mine == NULL) {
        return;
    }
    pthread_mutex_lock(&self.lock);
    leave_places(ticket);
    pthread_mutex_unlock(&self.lock);
}

bool counters_block(counters *c, unsigned most, unsigned most_here)
{
    unsigned sum = 0, i;

    if (self.mine == NULL) {
        return false; /* uncounted workers must not block */
    }
    if (atomic_fetch_add(&self.mine->blocking, 1) >= most_here) {
        counters_unblock(c);
        return false;
    }
    for (i = 0; i < c->count; i++) {
        sum += c->parts[i].owner != 0 ? c->parts[i].blocking : 0;
    }
    if (sum > most) {
        counters_unblock(c);
        return false;
    }
    return true;
}

void counters_unblock(counters *c)
{
    (void)c;
    atomic_fetch_sub(&self.mine->blocking, 1);
}
