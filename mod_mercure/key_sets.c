/* key_sets.c - see key_sets.h. The table only grows: its names are the configuration's. */
#include "key_sets.h"

#include <httpd.h>
#include <errno.h>
#include <fcntl.h>
#include <http_log.h>
#include <http_main.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "streamer.h"

#include "mercure/jwks.h"

APLOG_USE_MODULE(mercure);

#define LOOK_MS  1000  /* a file is looked at once in so long */
#define ASK_MS   100   /* brokerd is asked about one set once in so long */
#define WAIT_MS  2000  /* for brokerd's answer */
#define AVOID_MS 30000 /* nobody waits, after one waited in vain */

typedef struct entry {
    struct entry *next; /* never changes, nor do these: */
    char *name, *file;
    bool url;
    /* Under the lock: */
    mercure_key *key;
    struct stat seen; /* the file that was read last, well or not */
    uint64_t looked_ms;
    uint64_t looked_answers; /* of `answers`, those after which the file was looked at */
    bool told;               /* brokerd knows that it is in use */
    bool asked;
    uint64_t asked_ms;
    uint64_t answers; /* counts brokerd's */
    uint64_t avoid_until_ms;
} entry;

struct key_sets {
    char *dir;
    unsigned waiting, waiting_most;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    entry *entries;
};

key_sets *key_sets_create(const char *dir, unsigned waiting)
{
    key_sets *sets = calloc(1, sizeof(*sets));

    if (sets == NULL || (sets->dir = strdup(dir)) == NULL) {
        free(sets);
        return NULL;
    }
    sets->waiting_most = waiting;
    pthread_mutex_init(&sets->lock, NULL);
    clock_condition_init(&sets->answered);
    return sets;
}

static void free_entry(entry *e)
{
    mercure_key_free(e->key);
    free(e->name);
    free(e->file);
    free(e);
}

/* --- the table --- */

static char *file_of(const key_sets *sets, const char *url)
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1], *file;
    size_t i;

    SHA256((const unsigned char *)url, strlen(url), raw);
    for (i = 0; i < sizeof(raw); i++) {
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    }
    return asprintf(&file, "%s/%s.json", sets->dir, hex) < 0 ? NULL : file;
}

static entry *add(key_sets *sets, const key_set_source *source)
{
    entry *e = calloc(1, sizeof(*e));

    if (e == NULL) {
        return NULL;
    }
    e->url = source->url != NULL;
    e->name = strdup(e->url ? source->url : source->path);
    e->file = e->url ? file_of(sets, source->url) : strdup(source->path);
    if (e->name == NULL || e->file == NULL) {
        free_entry(e);
        return NULL;
    }
    e->seen.st_size = e->url ? 0 : -1; /* no file yet is what is expected, or is not */
    e->key = source->at_start != NULL ? mercure_key_hold(source->at_start) : NULL;
    e->next = sets->entries;
    sets->entries = e;
    return e;
}

/* Under the lock. NULL without memory. */
static entry *entry_of(key_sets *sets, const key_set_source *source)
{
    const char *name = source->url != NULL ? source->url : source->path;
    entry *e = sets->entries;

    while (e != NULL && (e->url != (source->url != NULL) || strcmp(e->name, name) != 0)) {
        e = e->next;
    }
    return e != NULL ? e : add(sets, source);
}

/* --- reading a set --- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static mercure_status parse_file(int fd, const struct stat *found, mercure_key **key, mercure_error *err)
{
    mercure_status status;
    ssize_t len;
    char *bytes;

    if (!S_ISREG(found->st_mode) || found->st_size > MERCURE_JWKS_MAX_BYTES) {
        return mercure_fail(err, MERCURE_INVALID, "it is no regular file of at most %d bytes", MERCURE_JWKS_MAX_BYTES);
    }
    bytes = malloc((size_t)found->st_size + 1);
    if (bytes == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory");
    }
    len = read(fd, bytes, (size_t)found->st_size + 1);
    status = len < 0 ? mercure_fail(err, MERCURE_SYSTEM, "%s", strerror(errno))
                     : mercure_jwks_parse((mercure_str){bytes, (size_t)len}, key, err);
    free(bytes);
    return status;
}

/* Read the file when it is another one than `seen`, which is updated. NULL: keep what you have. */
static mercure_key *read_if_changed(const entry *e, struct stat *seen)
{
    int fd = open(e->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    mercure_key *key = NULL;
    mercure_error err;
    struct stat found;

    if (fd < 0) {
        memset(&found, 0, sizeof(found));
        if (!same_file(&found, seen)) { /* it was there: say so once */
            ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                         "mercure: cannot read the key set %s again, the last good one stays in use", e->file);
            *seen = found;
        }
        return NULL;
    }
    if (fstat(fd, &found) == 0 && !same_file(&found, seen)) {
        *seen = found;
        if (parse_file(fd, &found, &key, &err) != MERCURE_OK) {
            key = NULL;
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                         "mercure: the key set %s cannot be used, the last good one stays in use: %s", e->file,
                         err.reason);
        }
    }
    close(fd);
    return key;
}

/* --- talking with brokerd --- */

typedef struct {
    bool lacking;
    char url[];
} question;

static void say(streamer *st, void *argument)
{
    question *q = argument;

    link_want_keys(st->link, mercure_str_of(q->url), q->lacking);
    free(q);
}

/* Without memory it is not said: then the next request says it, or the child's next round. */
static void tell_broker(streamer *st, const char *url, bool lacking)
{
    question *q = malloc(sizeof(*q) + strlen(url) + 1);

    if (q == NULL) {
        return;
    }
    q->lacking = lacking;
    strcpy(q->url, url);
    if (!streamer_post(st, say, q)) {
        free(q);
    }
}

mercure_key *key_sets_find(key_sets *sets, streamer *st, const key_set_source *source)
{
    uint64_t now = clock_now_ms();
    mercure_key *key = NULL, *fresh;
    bool look = false, tell = false;
    uint64_t answers = 0;
    struct stat seen;
    entry *e;

    pthread_mutex_lock(&sets->lock);
    e = entry_of(sets, source);
    if (e != NULL) {
        look = e->key == NULL || e->looked_answers != e->answers || now - e->looked_ms >= LOOK_MS;
        answers = e->answers;
        tell = e->url && !e->told && st != NULL;
        e->looked_ms = look ? now : e->looked_ms;
        e->told = e->told || tell;
        seen = e->seen;
        key = !look && e->key != NULL ? mercure_key_hold(e->key) : NULL;
    }
    pthread_mutex_unlock(&sets->lock);
    if (tell) {
        tell_broker(st, e->name, false);
    }
    if (!look) {
        return key;
    }
    fresh = read_if_changed(e, &seen);
    pthread_mutex_lock(&sets->lock);
    e->seen = seen;
    e->looked_answers = answers;
    if (fresh != NULL) {
        mercure_key_free(e->key);
        e->key = fresh;
    }
    key = e->key != NULL ? mercure_key_hold(e->key) : NULL;
    pthread_mutex_unlock(&sets->lock);
    return key;
}

/* Wait for an answer after `before`. Under the lock. */
static bool wait_for_answer(key_sets *sets, entry *e, uint64_t before)
{
    uint64_t until_ms = clock_now_ms() + WAIT_MS;
    struct timespec until = clock_moment(until_ms);

    sets->waiting++;
    while (e->answers == before && pthread_cond_timedwait(&sets->answered, &sets->lock, &until) != ETIMEDOUT) {
    }
    sets->waiting--;
    if (e->answers == before) {
        e->avoid_until_ms =
            clock_now_ms() + AVOID_MS; /* a provider that hangs shall not hold workers again and again */
    }
    return e->answers != before;
}

bool key_sets_refresh(key_sets *sets, streamer *st, const key_set_source *source)
{
    uint64_t now = clock_now_ms(), before;
    bool ask, wait, answered = false;
    entry *e;

    if (source->url == NULL) {
        return false; /* a file: it was looked at */
    }
    pthread_mutex_lock(&sets->lock);
    e = entry_of(sets, source);
    if (e == NULL) {
        pthread_mutex_unlock(&sets->lock);
        return false;
    }
    ask = e->asked_ms == 0 || now - e->asked_ms >= ASK_MS;
    if (ask) {
        e->asked = true;
        e->asked_ms = now;
    }
    before = e->answers;
    wait = e->asked && now >= e->avoid_until_ms && sets->waiting < sets->waiting_most;
    if (ask) {
        pthread_mutex_unlock(&sets->lock);
        tell_broker(st, e->name, true);
        pthread_mutex_lock(&sets->lock);
    }
    if (wait) {
        answered = wait_for_answer(sets, e, before);
    }
    pthread_mutex_unlock(&sets->lock);
    return answered;
}

void key_sets_fetched(key_sets *sets, mercure_str url)
{
    entry *e;

    pthread_mutex_lock(&sets->lock);
    for (e = sets->entries; e != NULL; e = e->next) {
        if (e->url && mercure_str_is(url, e->name)) {
            e->answers++;
            e->asked = false;
            if (e->key == NULL) {
                e->asked_ms = 0; /* the first set: it may lack a key at once */
            }
        }
    }
    pthread_cond_broadcast(&sets->answered);
    pthread_mutex_unlock(&sets->lock);
}

void key_sets_each(key_sets *sets, void (*say_one)(void *context, const char *url, bool lacking), void *context)
{
    entry *first, *e;

    pthread_mutex_lock(&sets->lock);
    first = sets->entries;
    pthread_mutex_unlock(&sets->lock);
    for (e = first; e != NULL; e = e->next) {
        bool lacking;
        if (!e->url) {
            continue;
        }
        pthread_mutex_lock(&sets->lock);
        lacking = e->asked;
        pthread_mutex_unlock(&sets->lock);
        say_one(context, e->name, lacking);
    }
}
