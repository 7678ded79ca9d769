/* fetcher.c - see fetcher.h.
 *
 * The broker's thread only notes what is wanted, under a lock that is never held over I/O, and wakes this one, which
 * runs all transfers at once: a provider that hangs holds up no other.
 */
#include "fetcher.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fetch.h"
#include "log.h"

#include "mercure/key_url.h"

#define URLS_MOST      256
#define FRESH_USUAL    3600 /* seconds, where the provider says nothing */
#define FRESH_MOST     86400
#define RETRY_FIRST    10 /* doubled with each failure */
#define RETRY_MOST     600
#define UNWANTED_MS    (35 * 60 * 1000u) /* children repeat what they want every 10 minutes */
#define SHOWN          256               /* bytes of a URL in a log line */
#define IDLE_MS        60000
#define COMPLAIN_EVERY 60 /* seconds, for one URL */

typedef struct source {
    struct source *next;
    char *url;
    unsigned reach;
    bool fetching, told; /* told: the end of the last fetch is reported */
    uint64_t due_ms;     /* the next fetch */
    uint64_t wanted_ms;  /* by a child, the last time */
    uint64_t lacking_ms; /* a fetch for want of a key, the last one or the next; 0: never */
    /* The thread's own: */
    unsigned failures; /* in a row */
    uint64_t complained_ms;
    bool known; /* `digest` is that of the set that was told of in the log */
    unsigned char digest[MERCURE_FINGERPRINT];
    fetch *transfer;
} source;

struct fetcher {
    fetcher_options options;
    char *dir;
    CURLM *multi;
    pthread_t thread;
    bool started;
    int event;
    pthread_mutex_t lock; /* guards what follows, and of a source what is not the thread's own */
    source *sources;
    size_t count;
    bool stopping;
    log_limit refused_limit;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- the broker's thread --- */

mercure_status fetcher_create(const char *state_dir, const fetcher_options *options, fetcher **result,
                              mercure_error *err)
{
    fetcher *f = calloc(1, sizeof(*f));

    if (f == NULL || asprintf(&f->dir, "%s/keysets", state_dir) < 0) {
        free(f);
        return mercure_fail(err, MERCURE_SYSTEM, "no memory");
    }
    if (mkdir(f->dir, 0700) != 0 && errno != EEXIST) {
        mercure_fail(err, MERCURE_SYSTEM, "cannot create the directory %s: %s", f->dir, strerror(errno));
        free(f->dir);
        free(f);
        return MERCURE_SYSTEM;
    }
    f->options = *options;
    f->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&f->lock, NULL);
    if (f->event < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (f->multi = curl_multi_init()) == NULL) {
        fetcher_stop(f);
        return mercure_fail(err, MERCURE_SYSTEM, "cannot prepare to fetch key sets");
    }
    *result = f;
    return MERCURE_OK;
}

static void *run(void *data);

static source *find(fetcher *f, mercure_str url)
{
    source *s = f->sources;

    while (s != NULL && !mercure_str_is(url, s->url)) {
        s = s->next;
    }
    return s;
}

static source *add(fetcher *f, mercure_str url, unsigned reach)
{
    source *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->url = strndup(url.data, url.len)) == NULL) {
        free(s);
        return NULL;
    }
    s->reach = reach;
    s->told = true;
    s->next = f->sources;
    f->sources = s;
    f->count++;
    return s;
}

static void free_source(source *s)
{
    free(s->url);
    free(s);
}

int fetcher_event(const fetcher *f)
{
    return f->event;
}

bool fetcher_want(fetcher *f, mercure_str url, bool lacking)
{
    uint64_t now = now_ms(), soonest;
    mercure_error err = {"too many key sets"};
    bool under_way = false;
    unsigned reach;
    source *s = NULL;

    pthread_mutex_lock(&f->lock);
    if (mercure_key_url_check(url, f->options.inner, &reach, &err) == MERCURE_OK && (s = find(f, url)) == NULL &&
        f->count < URLS_MOST) {
        s = add(f, url, reach);
    }
    if (s != NULL) {
        s->wanted_ms = now;
        if (lacking && !s->fetching) {
            /* Too soon after the last such fetch: then as soon as may be, so that a new key is late, but comes. */
            soonest = s->lacking_ms != 0 ? s->lacking_ms + f->options.min_refresh * 1000ull : now;
            soonest = soonest < now ? now : soonest;
            if (soonest < s->due_ms) {
                s->due_ms = soonest;
                s->lacking_ms = soonest;
            }
        }
        under_way = s->fetching || s->due_ms <= now;
        s->told = s->told && !under_way;
    }
    pthread_mutex_unlock(&f->lock);
    if (s == NULL) {
        if (log_allowed(&f->refused_limit)) {
            log_error("a child of httpd wants a key set that is not fetched: %s", err.reason);
        }
        return false;
    }
    if (under_way && !f->started) {
        f->started = pthread_create(&f->thread, NULL, run, f) == 0;
        under_way = f->started;
    }
    if (under_way) {
        curl_multi_wakeup(f->multi);
    }
    return under_way;
}

void fetcher_results(fetcher *f, void (*tell)(void *context, mercure_str url), void *context)
{
    uint64_t ignored;
    source *s;

    if (read(f->event, &ignored, sizeof(ignored)) < 0) {
        return; /* nothing has ended */
    }
    pthread_mutex_lock(&f->lock);
    for (s = f->sources; s != NULL; s = s->next) {
        if (!s->fetching && !s->told && s->due_ms > now_ms()) {
            s->told = true;
            tell(context, mercure_str_of(s->url));
        }
    }
    pthread_mutex_unlock(&f->lock);
}

void fetcher_stop(fetcher *f)
{
    source *s, *next;

    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_mutex_unlock(&f->lock);
    if (f->started) {
        curl_multi_wakeup(f->multi);
        pthread_join(f->thread, NULL);
    }
    for (s = f->sources; s != NULL; s = next) {
        next = s->next;
        free_source(s);
    }
    curl_multi_cleanup(f->multi);
    if (f->event >= 0) {
        close(f->event);
    }
    pthread_mutex_destroy(&f->lock);
    free(f->dir);
    free(f);
}

/* --- keeping a set --- */

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        data += put;
        len -= (size_t)put;
    }
    return true;
}

/* Replace the file of a URL whole: whoever reads it has the old set or the new one, also after a power failure. */
static mercure_status store(const fetcher *f, const char *url, mercure_str set, mercure_error *err)
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    char name[2 * SHA256_DIGEST_LENGTH + 1], path[4096], fresh[4096];
    int file, dir, len;
    size_t i;
    bool done;

    SHA256((const unsigned char *)url, strlen(url), raw);
    for (i = 0; i < sizeof(raw); i++) {
        snprintf(name + 2 * i, 3, "%02x", raw[i]);
    }
    len = snprintf(path, sizeof(path), "%s/%s.json", f->dir, name);
    snprintf(fresh, sizeof(fresh), "%s/%s.new", f->dir, name);
    if (len >= (int)sizeof(path)) {
        return mercure_fail(err, MERCURE_STORE, "the state directory's path is too long");
    }
    file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    done = file >= 0 && write_all(file, set.data, set.len) && fsync(file) == 0;
    if (file >= 0 && close(file) != 0) {
        done = false;
    }
    if (!done || rename(fresh, path) != 0) {
        mercure_fail(err, MERCURE_STORE, "the set cannot be kept: %s", strerror(errno));
        unlink(fresh);
        return MERCURE_STORE;
    }
    dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir); /* when it fails the name may be lost with the power: then the set is fetched again */
        close(dir);
    }
    return MERCURE_OK;
}

static mercure_status keep(const fetcher *f, source *s, mercure_error *err)
{
    mercure_str answer = {s->transfer->body, s->transfer->len};
    char shown[SHOWN];
    mercure_status status;
    mercure_key *set;

    if ((status = mercure_jwks_parse(answer, &set, err)) != MERCURE_OK) {
        return status;
    }
    /* Written anew also when it is the same: the file may have been damaged or removed. */
    status = store(f, s->url, answer, err);
    if (status == MERCURE_OK &&
        (!s->known || memcmp(s->digest, mercure_key_fingerprint(set), sizeof(s->digest)) != 0)) {
        s->known = true;
        memcpy(s->digest, mercure_key_fingerprint(set), sizeof(s->digest));
        mercure_key_url_show(mercure_str_of(s->url), shown, sizeof(shown));
        log_notice("the key set of %s has %zu keys (%zu were skipped)", shown, mercure_jwks_count(set),
                   mercure_jwks_skipped(set));
    }
    mercure_key_free(set);
    return status;
}

/* --- the schedule --- */

/* Up to a tenth less, so that many servers do not ask at once. */
static uint64_t jittered(uint64_t ms)
{
    uint32_t random = 0;

    (void)RAND_bytes((unsigned char *)&random, sizeof(random)); /* without it: no jitter */
    return ms - ms / 10 * (random % 1000) / 1000;
}

static uint64_t fresh_ms(const fetcher *f, const fetch *transfer)
{
    unsigned long fresh = transfer->fresh != FETCH_FRESH_UNSAID ? transfer->fresh : FRESH_USUAL;
    unsigned long least = 2ul * f->options.min_refresh;

    fresh = fresh > transfer->age ? fresh - transfer->age : 0;
    fresh = fresh < least ? least : fresh;
    return jittered((fresh > FRESH_MOST ? FRESH_MOST : fresh) * 1000ull);
}

static uint64_t retry_ms(const fetcher *f, unsigned failures)
{
    unsigned long first = f->options.min_refresh < RETRY_FIRST ? f->options.min_refresh : RETRY_FIRST;
    unsigned long seconds = failures > 16 ? RETRY_MOST : first << (failures - 1);

    return jittered((seconds > RETRY_MOST ? RETRY_MOST : seconds) * 1000ull);
}

static void complain(source *s, const mercure_error *err)
{
    uint64_t now = now_ms();
    char shown[SHOWN];

    if (s->failures > 1 && now - s->complained_ms < COMPLAIN_EVERY * 1000) {
        return;
    }
    s->complained_ms = now;
    mercure_key_url_show(mercure_str_of(s->url), shown, sizeof(shown));
    log_error("cannot refresh the key set of %s, the last good one stays in use: %s", shown, err->reason);
}

static void ended(fetcher *f, source *s, mercure_status status, const mercure_error *err)
{
    uint64_t wait, one = 1;

    s->failures = status == MERCURE_OK ? 0 : s->failures + 1;
    wait = status == MERCURE_OK ? fresh_ms(f, s->transfer) : retry_ms(f, s->failures);
    if (status != MERCURE_OK) {
        complain(s, err);
    }
    if (s->transfer != NULL) {
        fetch_free(s->transfer);
        s->transfer = NULL;
    }
    pthread_mutex_lock(&f->lock);
    s->due_ms = now_ms() + wait;
    s->fetching = false;
    s->told = false;
    pthread_mutex_unlock(&f->lock);
    if (write(f->event, &one, sizeof(one)) < 0) {
        return; /* the counter is full: it is readable */
    }
}

/* Drop what no child wants any more, and choose what is due. Returns how long there is nothing to do. */
static uint64_t choose(fetcher *f, source **due)
{
    uint64_t now = now_ms(), wait = IDLE_MS;
    source **at = &f->sources, *s;

    *due = NULL;
    pthread_mutex_lock(&f->lock);
    while ((s = *at) != NULL) {
        if (!s->fetching && s->told && now - s->wanted_ms > UNWANTED_MS) {
            *at = s->next;
            f->count--;
            free_source(s);
            continue;
        }
        if (!s->fetching && s->due_ms <= now) {
            s->fetching = true;
            *due = s;
            break; /* one at a time: the caller comes back */
        }
        if (!s->fetching && s->due_ms - now < wait) {
            wait = s->due_ms - now;
        }
        at = &s->next;
    }
    pthread_mutex_unlock(&f->lock);
    return *due != NULL ? 0 : wait;
}

static void begin(fetcher *f, source *s)
{
    mercure_error err;

    s->transfer = fetch_create(s->url, s->reach, f->options.ca);
    if (s->transfer == NULL || curl_multi_add_handle(f->multi, s->transfer->easy) != CURLM_OK) {
        mercure_fail(&err, MERCURE_SYSTEM, "no memory, or a libcurl that lacks what is needed");
        ended(f, s, MERCURE_SYSTEM, &err);
    }
}

static source *source_of(fetcher *f, const CURL *easy)
{
    source *s;

    pthread_mutex_lock(&f->lock);
    for (s = f->sources; s != NULL && (s->transfer == NULL || s->transfer->easy != easy); s = s->next) {
    }
    pthread_mutex_unlock(&f->lock);
    return s;
}

static void finish(fetcher *f)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(f->multi, &left)) != NULL) {
        source *s = source_of(f, message->easy_handle);
        CURLcode code = message->data.result;
        mercure_error err;
        mercure_status status;
        if (message->msg != CURLMSG_DONE || s == NULL) {
            continue;
        }
        curl_multi_remove_handle(f->multi, s->transfer->easy);
        status = fetch_outcome(s->transfer, code, &err);
        if (status == MERCURE_OK) {
            status = keep(f, s, &err);
        }
        ended(f, s, status, &err);
    }
}

static bool is_stopping(fetcher *f)
{
    bool stopping;

    pthread_mutex_lock(&f->lock);
    stopping = f->stopping;
    pthread_mutex_unlock(&f->lock);
    return stopping;
}

static void *run(void *data)
{
    fetcher *f = data;
    uint64_t wait;
    int running;
    source *s;

    while (!is_stopping(f)) {
        bool begun = false;
        curl_multi_perform(f->multi, &running);
        finish(f);
        while ((wait = choose(f, &s)) == 0 && s != NULL) {
            begin(f, s);
            begun = true;
        }
        curl_multi_poll(f->multi, NULL, 0, begun ? 0 : (int)wait, NULL);
    }
    for (s = f->sources; s != NULL; s = s->next) { /* nobody else looks any more */
        if (s->transfer != NULL) {
            curl_multi_remove_handle(f->multi, s->transfer->easy);
            fetch_free(s->transfer);
        }
    }
    return NULL;
}
