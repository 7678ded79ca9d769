/* h2_exchange.c - see h2_exchange.h. */
#include "h2_exchange.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define PIECE_AT_LEAST  1024       /* bytes of room, so that a body that comes byte by byte takes no more memory */
#define CANCEL          0x8        /* RFC 9113 section 7 */
#define MS_A_BYTE       10         /* a byte that is written gives so much time for the next */
#define PATIENT_MS      5000       /* where others wait for the thread, no more than this, */
#define BYTES_A_SECOND  4096       /* and a client that gives or takes at this rate goes on */
#define LOOK_EVERY_MS   500        /* whether they do */
#define NEWS_OF_READING (8u << 10) /* bytes of the body that are read before the streamer is told */

/* A piece of the request's body. */
typedef struct body_piece {
    struct body_piece *next;
    size_t room, len, read;
    char bytes[];
} body_piece;

struct h2_exchange {
    atomic_uint references;
    h2_head *head;
    bool has_body;
    h2_exchange_listener listener;
    void *tag;            /* the streamer's thread only */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;  /* for the runner */
    bool told;            /* news were told, and not taken yet */
    bool aborted;
    /* the request's body: */
    body_piece *first, *last;
    size_t waiting;
    size_t read;         /* since news were taken */
    ssize_t body_length; /* of what has come */
    bool body_ended;
    /* the response: */
    h2_response *responses, **responses_end;
    outbox body;
    size_t pending;                     /* bytes that are not written to the connection yet */
    uint64_t written_ms;                /* when some were: so many that they are worth the time */
    uint64_t credit_ms, waits_since_ms; /* see begin_waiting() */
    const atomic_uint *others;          /* how many; NULL: none */
    bool ended, failed, finished, is_stream;
    unsigned reset_code;
    struct hold_arrival *arrival;
};

h2_exchange *h2_exchange_create(h2_head *head, bool has_body)
{
    h2_exchange *x = calloc(1, sizeof(*x));

    if (x == NULL) {
        return NULL;
    }
    x->references = 1;
    x->head = head;
    x->has_body = has_body;
    x->body_ended = !has_body;
    x->responses_end = &x->responses;
    x->credit_ms = PATIENT_MS;
    pthread_mutex_init(&x->lock, NULL);
    clock_condition_init(&x->wake);
    return x;
}

h2_exchange *h2_exchange_hold(h2_exchange *x)
{
    atomic_fetch_add(&x->references, 1);
    return x;
}

static void drop_body(h2_exchange *x)
{
    while (x->first != NULL) {
        body_piece *next = x->first->next;
        free(x->first);
        x->first = next;
    }
    x->last = NULL;
    x->waiting = 0;
}

void h2_response_free(h2_response *response)
{
    free(response);
}

static void free_responses(h2_response *responses)
{
    while (responses != NULL) {
        h2_response *next = responses->next;
        h2_response_free(responses);
        responses = next;
    }
}

void h2_exchange_release(h2_exchange *x)
{
    if (x == NULL || atomic_fetch_sub(&x->references, 1) > 1) {
        return;
    }
    drop_body(x);
    free_responses(x->responses);
    outbox_clear(&x->body);
    h2_head_free(x->head);
    pthread_cond_destroy(&x->wake);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

void h2_exchange_listen(h2_exchange *x, h2_exchange_listener listener)
{
    x->listener = listener;
}

void **h2_exchange_tag(h2_exchange *x)
{
    return &x->tag;
}

const h2_head *h2_exchange_head(const h2_exchange *x)
{
    return x->head;
}

bool h2_exchange_has_body(const h2_exchange *x)
{
    return x->has_body;
}

/* Give the lock back, and tell of news if they are the first since some were taken. */
static void unlock_and_tell(h2_exchange *x, bool news)
{
    bool tell = news && !x->told && x->listener.news != NULL;

    x->told = x->told || tell;
    pthread_mutex_unlock(&x->lock);
    if (tell) {
        x->listener.news(x->listener.context, x);
    }
}

/* A client has a credit of time, in which its runner waits for it although others wait for the thread. What it gives or
 * takes is worth some; waiting uses it up.
 */
static void begin_waiting(h2_exchange *x)
{
    x->waits_since_ms = clock_now_ms();
}

static void add_credit(h2_exchange *x, size_t len)
{
    uint64_t waited = x->waits_since_ms > 0 ? clock_now_ms() - x->waits_since_ms : 0;

    x->credit_ms += len * 1000 / BYTES_A_SECOND;
    if (x->credit_ms > waited + PATIENT_MS) {
        x->credit_ms = waited + PATIENT_MS;
    }
}

static void end_waiting(h2_exchange *x)
{
    uint64_t waited = clock_now_ms() - x->waits_since_ms;

    x->credit_ms = waited < x->credit_ms ? x->credit_ms - waited : 0;
    x->waits_since_ms = 0;
}

/* Is this client to be given up, since others wait? */
static bool is_pressed(const h2_exchange *x)
{
    return x->others != NULL && atomic_load(x->others) > 0 && clock_now_ms() - x->waits_since_ms >= x->credit_ms;
}

/* Wait for a word of the streamer, with the lock. False when it is later than `until_ms`. */
static bool wait_until(h2_exchange *x, uint64_t until_ms)
{
    struct timespec until = clock_moment(until_ms);

    if (clock_now_ms() >= until_ms) {
        return false;
    }
    pthread_cond_timedwait(&x->wake, &x->lock, &until);
    return true;
}

/* --- the streamer's side --- */

/* A new last piece with room for `len` bytes at least. False without memory. */
static bool begin_piece(h2_exchange *x, size_t len)
{
    size_t room = len > PIECE_AT_LEAST ? len : PIECE_AT_LEAST;
    body_piece *piece = malloc(sizeof(*piece) + room);

    if (piece == NULL) {
        return false;
    }
    *piece = (body_piece){NULL, room, 0, 0};
    if (x->last != NULL) {
        x->last->next = piece;
    } else {
        x->first = piece;
    }
    x->last = piece;
    return true;
}

bool h2_exchange_add_body(h2_exchange *x, const char *bytes, size_t len)
{
    bool good = true;

    pthread_mutex_lock(&x->lock);
    if (x->aborted || x->finished) {
        x->read += len; /* nobody wants it: as good as read */
    } else {
        good = (x->last != NULL && x->last->room - x->last->len >= len) || begin_piece(x, len);
        if (good) {
            memcpy(x->last->bytes + x->last->len, bytes, len);
            x->last->len += len;
            x->waiting += len;
            x->body_length += (ssize_t)len;
            pthread_cond_signal(&x->wake);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return good;
}

void h2_exchange_end_body(h2_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->body_ended = true;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

void h2_exchange_abort(h2_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->aborted = true;
    drop_body(x);
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

size_t h2_exchange_body_waiting(h2_exchange *x)
{
    size_t waiting;

    pthread_mutex_lock(&x->lock);
    waiting = x->waiting;
    pthread_mutex_unlock(&x->lock);
    return waiting;
}

h2_exchange_news h2_exchange_take_news(h2_exchange *x)
{
    h2_exchange_news news;

    pthread_mutex_lock(&x->lock);
    news = (h2_exchange_news){x->responses, x->body, x->read, x->ended, x->failed, x->finished, x->reset_code};
    x->responses = NULL;
    x->responses_end = &x->responses;
    x->body = (outbox){NULL, NULL, 0};
    x->read = 0;
    x->told = false;
    pthread_mutex_unlock(&x->lock);
    return news;
}

bool h2_exchange_take_end(h2_exchange *x)
{
    h2_exchange_news news = h2_exchange_take_news(x);

    free_responses(news.responses);
    outbox_clear(&news.body);
    return news.finished;
}

void h2_exchange_written(h2_exchange *x, size_t len)
{
    uint64_t now = clock_now_ms();

    pthread_mutex_lock(&x->lock);
    x->pending -= len < x->pending ? len : x->pending;
    x->written_ms = x->written_ms + len * MS_A_BYTE < now ? x->written_ms + len * MS_A_BYTE : now;
    add_credit(x, len);
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

struct hold_arrival *h2_exchange_arrival(h2_exchange *x)
{
    struct hold_arrival *arrival;

    pthread_mutex_lock(&x->lock);
    arrival = x->arrival;
    x->arrival = NULL;
    pthread_mutex_unlock(&x->lock);
    return arrival;
}

/* --- the runner's side --- */

void h2_exchange_share(h2_exchange *x, const atomic_uint *others)
{
    x->others = others;
}

ssize_t h2_exchange_read(h2_exchange *x, char *into, size_t room, unsigned wait_ms)
{
    uint64_t until_ms = clock_now_ms() + wait_ms;
    ssize_t got = -2;
    bool news = false;

    pthread_mutex_lock(&x->lock);
    begin_waiting(x);
    while (!x->aborted && x->first == NULL && !x->body_ended && !is_pressed(x)) {
        uint64_t look = clock_now_ms() + LOOK_EVERY_MS; /* others may come meanwhile */
        if (!wait_until(x, until_ms < look ? until_ms : look)) {
            break;
        }
    }
    end_waiting(x);
    if (x->aborted) {
        got = -1;
    } else if (x->first != NULL) {
        body_piece *piece = x->first;
        size_t len = piece->len - piece->read < room ? piece->len - piece->read : room;
        memcpy(into, piece->bytes + piece->read, len);
        piece->read += len;
        x->waiting -= len;
        x->read += len;
        add_credit(x, len);
        got = (ssize_t)len;
        if (piece->read == piece->len) {
            x->first = piece->next;
            x->last = x->first != NULL ? x->last : NULL;
            free(piece);
        }
        news = !x->body_ended && (x->read >= NEWS_OF_READING || x->first == NULL);
    } else if (x->body_ended) {
        got = 0;
    }
    unlock_and_tell(x, news);
    return got;
}

ssize_t h2_exchange_body_length(h2_exchange *x)
{
    ssize_t length;

    pthread_mutex_lock(&x->lock);
    length = x->body_ended && !x->aborted ? x->body_length : -1;
    pthread_mutex_unlock(&x->lock);
    return length;
}

/* A copy with all its text in one block. */
static h2_response *copy_response(int status, const h2_field *fields, size_t count)
{
    size_t size = sizeof(h2_response) + count * sizeof(h2_field), i;
    h2_response *response;
    char *text;

    for (i = 0; i < count; i++) {
        size += strlen(fields[i].name) + strlen(fields[i].value) + 2;
    }
    response = malloc(size);
    if (response == NULL) {
        return NULL;
    }
    response->next = NULL;
    response->status = status;
    response->count = count;
    text = (char *)(response->fields + count);
    for (i = 0; i < count; i++) {
        response->fields[i].name = text;
        text = stpcpy(text, fields[i].name) + 1;
        response->fields[i].value = text;
        text = stpcpy(text, fields[i].value) + 1;
    }
    return response;
}

bool h2_exchange_respond(h2_exchange *x, int status, const h2_field *fields, size_t count)
{
    h2_response *response = copy_response(status, fields, count);
    bool good;

    if (response == NULL) {
        return false;
    }
    pthread_mutex_lock(&x->lock);
    good = !x->aborted && !x->ended && !x->failed;
    if (good) {
        *x->responses_end = response;
        x->responses_end = &response->next;
        x->written_ms = clock_now_ms();
    }
    unlock_and_tell(x, good);
    if (!good) {
        h2_response_free(response);
    }
    return good;
}

/* Wait until there is room for more. False when the exchange was aborted, or nothing was written for too long. */
static bool wait_for_room(h2_exchange *x, unsigned wait_ms)
{
    while (!x->aborted && x->pending >= H2_RESPONSE_PENDING) {
        uint64_t now = clock_now_ms(), end = x->written_ms + wait_ms;
        if (now >= end || is_pressed(x)) {
            return false;
        }
        /* Others may come meanwhile. */
        wait_until(x, end < now + LOOK_EVERY_MS ? end : now + LOOK_EVERY_MS);
    }
    return !x->aborted;
}

bool h2_exchange_write(h2_exchange *x, const char *bytes, size_t len, unsigned wait_ms)
{
    buffer *b = buffer_create(len);
    bool good;

    if (b == NULL) {
        return false;
    }
    memcpy(b->data, bytes, len);
    pthread_mutex_lock(&x->lock);
    if (x->pending < H2_RESPONSE_PENDING) {
        x->written_ms = clock_now_ms(); /* the runner has not waited so far */
    }
    begin_waiting(x);
    good = wait_for_room(x, wait_ms);
    end_waiting(x);
    good = good && !x->ended && !x->failed && outbox_add(&x->body, b, b->data, len);
    if (good) {
        x->pending += len;
    } else {
        x->aborted = true;
    }
    unlock_and_tell(x, true);
    buffer_release(b);
    return good;
}

void h2_exchange_end(h2_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    if (!x->ended && !x->failed && !x->is_stream) {
        x->ended = !x->aborted;
        x->failed = x->aborted; /* some of it is missing */
        x->reset_code = CANCEL;
    }
    unlock_and_tell(x, x->ended || x->failed);
}

void h2_exchange_fail(h2_exchange *x, unsigned reset_code)
{
    pthread_mutex_lock(&x->lock);
    if (!x->ended && !x->failed && !x->is_stream) {
        x->failed = true;
        x->reset_code = reset_code;
    }
    unlock_and_tell(x, x->failed);
}

bool h2_exchange_aborted(h2_exchange *x)
{
    bool aborted;

    pthread_mutex_lock(&x->lock);
    aborted = x->aborted;
    pthread_mutex_unlock(&x->lock);
    return aborted;
}

void h2_exchange_become_stream(h2_exchange *x, struct hold_arrival *arrival)
{
    pthread_mutex_lock(&x->lock);
    x->is_stream = true;
    x->arrival = arrival;
    unlock_and_tell(x, false); /* h2_exchange_finish() will tell */
}

void h2_exchange_finish(h2_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->finished = true;
    drop_body(x);
    unlock_and_tell(x, true);
}
