/*
 * load_publish.c - publishers: P keep-alive connections that POST updates, each waiting for
 * its answer before the next one (closed loop), or begun at a fixed rate (open loop). All of
 * them run in the calling thread.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define REPLY_SIZE 16384

enum publisher_state {
    PUBLISHER_CLOSED,
    PUBLISHER_CONNECTING,
    PUBLISHER_IDLE,
    PUBLISHER_SENDING,
    PUBLISHER_HEAD,
    PUBLISHER_BODY
};

struct publisher {
    struct connection link;
    uint32_t number;
    uint8_t state;
    bool busy; /* has an update whose outcome is not known yet */
    uint32_t next_sequence;
    uint32_t sequence; /* of the update under way */
    uint32_t topic;
    uint8_t *accepted; /* for each sequence number: 1 when the hub has accepted it */
    uint32_t accepted_cap;
    uint64_t due_ns;    /* when the update should have been sent: its latency counts from here */
    uint64_t active_ns; /* when this exchange (or connect) began, for the time limit */
    struct bytes request;
    size_t sent;
    struct http_head head;
    struct chunks chunks;
    uint64_t body_left;
    uint32_t reply_len;
    struct publisher *free_next;
    char reply[REPLY_SIZE];
};

static struct publisher *publishers;
static struct publisher *free_first; /* publishers without an update under way */
static int epoll_fd = -1;
static uint32_t busy_count;
static uint64_t begun;

static void free_push(struct publisher *p)
{
    p->free_next = free_first;
    free_first = p;
}

uint32_t publisher_sequence_end(uint32_t publisher)
{
    return publishers[publisher].next_sequence;
}

bool publisher_accepted(uint32_t publisher, uint32_t sequence)
{
    return publishers[publisher].accepted[sequence];
}

/* ---- one update ---- */

static void publisher_body(const struct publisher *p, const char *topic, struct bytes *body)
{
    size_t start;

    if (!opt.publish_raw) {
        bytes_format(body, "topic=");
        percent_encode(body, topic);
        if (opt.publish_fields)
            bytes_format(body, "&%s", opt.publish_fields);
        bytes_format(body, "&data=");
    }
    /* Nothing in the data needs encoding in a form. */
    start = body->len;
    bytes_format(body, "b.%u.%u.%u.%llu.", opt.run, p->number, p->sequence, (unsigned long long)p->due_ns);
    while (body->len - start < opt.size) {
        static const char padding[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        size_t missing = opt.size - (body->len - start);

        bytes_append(body, padding, missing < sizeof(padding) - 1 ? missing : sizeof(padding) - 1);
    }
}

static void publisher_request(struct publisher *p)
{
    const struct url *url = &opt.publish;
    struct bytes body = {0};
    char topic[512];

    topic_name(topic, sizeof(topic), p->topic);
    publisher_body(p, topic, &body);
    p->request.len = 0;
    p->sent = 0;
    bytes_format(&p->request, "POST ");
    template_expand(&p->request, url->path, topic);
    bytes_format(&p->request, " HTTP/1.1\r\nHost: %s:%u\r\nContent-Type: %s\r\nContent-Length: %u\r\n",
                 url->host, url->port,
                 opt.publish_raw ? "text/plain" : "application/x-www-form-urlencoded", body.len);
    if (opt.publisher_token_count)
        bytes_format(&p->request, "Authorization: Bearer %s\r\n",
                     opt.publisher_tokens[(begun - 1) % opt.publisher_token_count]);
    else if (opt.publisher_token)
        bytes_format(&p->request, "Authorization: Bearer %s\r\n", opt.publisher_token);
    bytes_format(&p->request, "%s\r\n", opt.headers ? opt.headers : "");
    bytes_append(&p->request, body.data, body.len);
    bytes_free(&body);
}

static void publisher_close(struct publisher *p)
{
    connection_close(&p->link);
    p->state = PUBLISHER_CLOSED;
}

static void publisher_settle(struct publisher *p, struct publish_result *r, int outcome)
{
    uint64_t now = now_ns();

    p->busy = false;
    busy_count--;
    free_push(p);
    if (outcome < 200 || outcome > 299) {
        r->failed++;
        r->outcomes[outcome]++;
        return;
    }
    p->accepted[p->sequence] = 1;
    r->per_topic[p->topic]++;
    r->published++;
    r->ended_ns = now;
}

static void publisher_failed(struct publisher *p, struct publish_result *r, int outcome)
{
    publisher_close(p);
    if (p->busy)
        publisher_settle(p, r, outcome);
}

static void publisher_send(struct publisher *p, struct publish_result *r)
{
    enum io outcome = connection_write(&p->link, p->request.data, p->request.len, &p->sent);

    if (outcome == IO_FAILED) {
        publisher_failed(p, r, OUTCOME_CLOSED);
        return;
    }
    p->state = outcome == IO_AGAIN ? PUBLISHER_SENDING : PUBLISHER_HEAD;
    connection_watch(&p->link, epoll_fd, outcome == IO_AGAIN ? p->link.wanted : (uint32_t)EPOLLIN, p);
}

static void publisher_start_exchange(struct publisher *p, struct publish_result *r)
{
    p->reply_len = 0;
    p->head = (struct http_head){0};
    publisher_send(p, r);
}

static void publisher_connect(struct publisher *p, struct publish_result *r)
{
    p->active_ns = now_ns();
    p->state = PUBLISHER_CONNECTING;
    if (connection_open(&p->link, &opt.publish, opt.publish.port, p->number))
        connection_watch(&p->link, epoll_fd, EPOLLOUT, p);
    else
        publisher_failed(p, r, OUTCOME_CONNECT);
}

static void publisher_begin(struct publisher *p, struct publish_result *r, uint64_t due_ns)
{
    p->busy = true;
    busy_count++;
    begun++;
    p->sequence = p->next_sequence++;
    p->topic = update_topic(p->number, p->sequence);
    p->due_ns = due_ns;
    p->active_ns = now_ns();
    if (p->sequence >= p->accepted_cap) {
        p->accepted_cap = p->accepted_cap ? p->accepted_cap * 2 : 1024;
        p->accepted = must_alloc(p->accepted, p->accepted_cap);
    }
    p->accepted[p->sequence] = 0;
    publisher_request(p);
    if (p->state == PUBLISHER_CLOSED)
        publisher_connect(p, r);
    else
        publisher_start_exchange(p, r);
}

/* ---- the answer ---- */

static void publisher_answered(struct publisher *p, struct publish_result *r)
{
    if (p->head.close)
        publisher_close(p);
    else
        p->state = PUBLISHER_IDLE;
    publisher_settle(p, r, p->head.status);
}

static void publisher_body_bytes(struct publisher *p, struct publish_result *r, const char *data, size_t len)
{
    const char *piece;
    size_t piece_len, used;

    while (len && p->head.chunked && p->chunks.state != CHUNK_END) {
        used = chunks_step(&p->chunks, data, len, &piece, &piece_len);
        data += used;
        len -= used;
        if (p->chunks.state == CHUNK_BAD) {
            publisher_failed(p, r, OUTCOME_MALFORMED);
            return;
        }
    }
    if (!p->head.chunked && p->head.has_length)
        p->body_left -= len < p->body_left ? len : p->body_left;
    if (p->head.chunked ? p->chunks.state == CHUNK_END : p->head.has_length && p->body_left == 0)
        publisher_answered(p, r);
}

static void publisher_head(struct publisher *p, struct publish_result *r)
{
    ssize_t used = http_parse_head(p->reply, p->reply_len, &p->head);

    if (used < 0 || (used == 0 && p->reply_len == REPLY_SIZE)) {
        publisher_failed(p, r, OUTCOME_MALFORMED);
        return;
    }
    if (used == 0)
        return;
    if (p->head.status >= 200 && p->head.status <= 299)
        histogram_add(&r->latency, now_ns() - p->due_ns);
    if (p->head.status == 204 || p->head.status == 304) {
        p->head.has_length = true;
        p->head.length = 0;
    }
    p->state = PUBLISHER_BODY;
    p->chunks = (struct chunks){0};
    p->body_left = p->head.length;
    publisher_body_bytes(p, r, p->reply + used, p->reply_len - (size_t)used);
}

/* The hub has closed: the end of an answer without a length, an idle close, or a failure. */
static void publisher_eof(struct publisher *p, struct publish_result *r)
{
    bool until_close = p->state == PUBLISHER_BODY && !p->head.chunked && !p->head.has_length;
    int outcome = until_close ? p->head.status : OUTCOME_CLOSED;

    publisher_failed(p, r, outcome);
}

static void publisher_read(struct publisher *p, struct publish_result *r)
{
    do {
        bool head = p->state == PUBLISHER_HEAD;
        char *into = head ? p->reply + p->reply_len : p->reply;
        ssize_t n = connection_read(&p->link, into, head ? REPLY_SIZE - p->reply_len : REPLY_SIZE);

        if (n == READ_AGAIN)
            return;
        if (n <= 0) {
            publisher_eof(p, r);
            return;
        }
        if (head) {
            p->reply_len += (uint32_t)n;
            publisher_head(p, r);
        } else if (p->state == PUBLISHER_BODY) {
            publisher_body_bytes(p, r, into, (size_t)n);
        } else {
            publisher_failed(p, r, OUTCOME_MALFORMED); /* an answer to no question */
        }
    } while (p->link.fd >= 0 && connection_pending(&p->link));
}

static void publisher_connecting(struct publisher *p, struct publish_result *r)
{
    switch (connection_ready(&p->link)) {
    case IO_AGAIN:
        connection_watch(&p->link, epoll_fd, p->link.wanted, p);
        return;
    case IO_FAILED:
        publisher_failed(p, r, p->link.connected ? OUTCOME_TLS : OUTCOME_CONNECT);
        return;
    default:
        p->state = PUBLISHER_IDLE;
        connection_watch(&p->link, epoll_fd, EPOLLIN, p);
        if (p->busy)
            publisher_start_exchange(p, r);
    }
}

static void publisher_ready(struct publisher *p, struct publish_result *r)
{
    if (p->state == PUBLISHER_CONNECTING)
        publisher_connecting(p, r);
    else if (p->state == PUBLISHER_SENDING)
        publisher_send(p, r);
    else if (p->state != PUBLISHER_CLOSED)
        publisher_read(p, r);
}

/* ---- the loop ---- */

static void publish_wait(struct publish_result *r, uint64_t wait_ns)
{
    static uint64_t expired_ns;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_SECOND),
                            .tv_nsec = (long)(wait_ns % NS_PER_SECOND)};
    struct epoll_event events[256];
    int n = epoll_pwait2(epoll_fd, events, 256, &wait, NULL);
    uint64_t now;

    for (int i = 0; i < n; i++)
        publisher_ready(events[i].data.ptr, r);
    now = now_ns();
    if (now - expired_ns < NS_PER_SECOND)
        return;
    expired_ns = now;
    for (uint32_t i = 0; i < opt.publishers; i++) {
        struct publisher *p = &publishers[i];
        bool waiting = p->busy || p->state == PUBLISHER_CONNECTING;

        if (waiting && now - p->active_ns > (uint64_t)(opt.answer_timeout * 1e9))
            publisher_failed(p, r, OUTCOME_TIMEOUT);
    }
}

/* Connects beforehand, so that the first updates are measured like the others. */
bool publish_prepare(struct publish_result *r)
{
    bool connecting = true;

    memset(r, 0, sizeof(*r));
    r->per_topic = must_alloc(NULL, opt.topics * sizeof(*r->per_topic));
    memset(r->per_topic, 0, opt.topics * sizeof(*r->per_topic));
    publishers = must_alloc(NULL, opt.publishers * sizeof(*publishers));
    memset(publishers, 0, opt.publishers * sizeof(*publishers));
    for (uint32_t i = 0; i < opt.publishers; i++) {
        publishers[i].number = i;
        publishers[i].link.fd = -1;
    }
    if (!opt.have_publish)
        return true;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        fprintf(stderr, "bench-load: epoll_create1 failed: %s\n", strerror(errno));
        return false;
    }
    for (uint32_t i = opt.publishers; i-- > 0;) {
        publisher_connect(&publishers[i], r);
        free_push(&publishers[i]);
    }
    while (connecting && !time_is_up()) {
        publish_wait(r, 10 * NS_PER_MS);
        connecting = false;
        for (uint32_t i = 0; i < opt.publishers; i++)
            connecting |= publishers[i].state == PUBLISHER_CONNECTING;
    }
    return true;
}

static uint64_t due_time(const struct publish_result *r, uint64_t update)
{
    return r->began_ns + (uint64_t)((double)update * 1e9 / opt.rate);
}

static bool more_to_begin(uint64_t now, uint64_t end_ns)
{
    return (opt.updates == 0 || begun < opt.updates) && now < end_ns;
}

void publish_run(struct publish_result *r)
{
    uint64_t now, end_ns;

    r->began_ns = r->ended_ns = now = now_ns();
    end_ns = opt.duration > 0 ? now + (uint64_t)(opt.duration * 1e9) : UINT64_MAX;
    while ((more_to_begin(now, end_ns) || busy_count) && !time_is_up()) {
        uint64_t wait = 100 * NS_PER_MS;

        /* As many as are free now: an update may fail at once and free its publisher again. */
        for (uint32_t i = 0; i < opt.publishers && free_first && more_to_begin(now, end_ns); i++) {
            struct publisher *p = free_first;
            uint64_t due = now_ns();

            if (opt.rate > 0) {
                uint64_t planned = due_time(r, begun);

                if (planned > due)
                    break;
                r->behind += due - planned > NS_PER_MS;
                due = planned;
            }
            free_first = p->free_next;
            publisher_begin(p, r, due);
        }
        now = now_ns();
        if (more_to_begin(now, end_ns) && free_first)
            wait = opt.rate > 0 && due_time(r, begun) > now ? due_time(r, begun) - now : 0;
        if (wait > 100 * NS_PER_MS)
            wait = 100 * NS_PER_MS;
        publish_wait(r, wait);
        now = now_ns();
    }
}

void publish_free(struct publish_result *r)
{
    for (uint32_t i = 0; publishers && i < opt.publishers; i++) {
        connection_close(&publishers[i].link);
        bytes_free(&publishers[i].request);
        free(publishers[i].accepted);
    }
    if (epoll_fd >= 0)
        close(epoll_fd);
    free(publishers);
    free(r->per_topic);
    publishers = NULL;
}
