/* link.c - see link.h.
 *
 * The link's states: DOWN, until brokerd's subscription is seen on our publishing socket; GREETING, HELLO was said;
 * SYNCING, brokerd has welcomed us, all matchers are registered anew, and a ping was sent behind them; UP, when its
 * pong has come back: everything was registered by then, so the history read from here on misses nothing.
 *
 * What surprised us: a ZeroMQ socket that connects keeps its queue, and what it knows of the peer's subscriptions, when
 * the peer goes; only with ZMQ_IMMEDIATE are both the connection's own, so that we see brokerd go and come.
 *
 * Handlers leave their publications in a list and wait on a semaphore; the streamer's thread sends them, sends them
 * again while no answer comes, and hands over the answer. brokerd stores a repeated one once.
 */
#include "link.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <zmq.h>

#include "clock.h"
#include "streamer.h"

#include "mercure/wire.h"

#define MESSAGES_AT_ONCE 256
#define PING_MS          1000
#define UNSENT_MS        10   /* the control socket is not connected yet: try again */
#define PING_DELIVERIES  1024 /* brokerd lets a child lag by a bounded number: tell it before */
#define SILENCE_MS       4000 /* no word from brokerd for so long: greet it anew */
#define REPEAT_MS        500  /* a publication is sent again */
#define PUBLISH_WAIT_MS  5000 /* a publisher waits so long at most */
#define QUEUE_BOUND      100000
#define KEYS_WANTED_MS   600000 /* brokerd is told again what key sets are in use */

typedef enum { DOWN, GREETING, SYNCING, UP } link_state;

/* Allocated by the handler and freed by it; in the list, and so in the streamer's hands, only under the lock. */
typedef struct publication {
    struct publication *next, *previous;
    uint64_t number;
    uint64_t sent_ms; /* 0: not yet */
    mercure_str hub;
    mercure_retention retention;
    zmq_msg_t record;
    sem_t answered;
    mercure_status status;
} publication;

struct broker_link {
    streamer *streamer;
    void *context;
    void *publish; /* XPUB: a PUB that sees its subscribers */
    void *deliver; /* SUB */
    void *control; /* DEALER */
    mercure_peer_id id;
    link_state state;
    uint64_t session;  /* counts our greetings: what belongs to an earlier one is not heard */
    uint64_t received; /* deliveries */
    uint64_t ponged;   /* the last pong's number */
    uint64_t pinged;   /* `received` when we last pinged */
    uint64_t next_ping_ms;
    uint64_t next_keys_ms;
    uint64_t heard_ms;
    _Atomic uint64_t down_since_ms; /* 0: brokerd is there */
    pthread_mutex_t lock;           /* guards the list and the numbers */
    publication *first, *last;
    uint64_t next_number;
};

/* --- set-up --- */

static bool open_socket(broker_link *l, void **result, int type, const char *dir, const char *name, mercure_error *err)
{
    char endpoint[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8];
    int len = snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s", dir, name);
    int bound = QUEUE_BOUND, linger = 200, soonest = 20, latest = 200, one = 1;
    void *socket = zmq_socket(l->context, type);

    *result = socket;
    if (len < 0 || (size_t)len - 6 >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        mercure_fail(err, MERCURE_INVALID, "the path of brokerd's sockets is too long: %.60s...", dir);
        return false;
    }
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_SNDHWM, &bound, sizeof(bound)) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &bound, sizeof(bound)) != 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_setsockopt(socket, ZMQ_IMMEDIATE, &one, sizeof(one)) != 0 ||
        zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &soonest, sizeof(soonest)) != 0 ||
        zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &latest, sizeof(latest)) != 0 ||
        (type == ZMQ_DEALER && zmq_setsockopt(socket, ZMQ_ROUTING_ID, l->id.bytes, sizeof(l->id.bytes)) != 0) ||
        (type == ZMQ_SUB && zmq_setsockopt(socket, ZMQ_SUBSCRIBE, l->id.bytes, sizeof(l->id.bytes)) != 0) ||
        zmq_connect(socket, endpoint) != 0) {
        mercure_fail(err, MERCURE_SYSTEM, "cannot connect to brokerd's socket %s: %s", endpoint,
                     zmq_strerror(zmq_errno()));
        return false;
    }
    return true;
}

broker_link *link_open(streamer *st, const char *dir, mercure_error *err)
{
    broker_link *l = calloc(1, sizeof(*l));

    if (l == NULL || !mercure_peer_id_make(&l->id) || (l->context = zmq_ctx_new()) == NULL) {
        free(l);
        mercure_fail(err, MERCURE_SYSTEM, "no memory or no random bytes for the link to brokerd");
        return NULL;
    }
    l->streamer = st;
    l->next_number = 1;
    l->down_since_ms = clock_now_ms();
    pthread_mutex_init(&l->lock, NULL);
    if (!open_socket(l, &l->publish, ZMQ_XPUB, dir, MERCURE_SOCKET_PUBLISH, err) ||
        !open_socket(l, &l->deliver, ZMQ_SUB, dir, MERCURE_SOCKET_DELIVER, err) ||
        !open_socket(l, &l->control, ZMQ_DEALER, dir, MERCURE_SOCKET_CONTROL, err)) {
        link_close(l);
        return NULL;
    }
    return l;
}

/* A message that cannot be sent means that the link is broken: where the caller does not look, silence will tell. */
static bool send_control(broker_link *l, const mercure_wire_control *control)
{
    unsigned char frame[MERCURE_WIRE_MAX];

    return zmq_send(l->control, frame, mercure_wire_put_control(control, frame), ZMQ_DONTWAIT) >= 0;
}

void link_close(broker_link *l)
{
    if (l->control != NULL && l->state != DOWN) {
        send_control(l, &(mercure_wire_control){.type = MERCURE_WIRE_BYE});
    }
    if (l->publish != NULL) {
        zmq_close(l->publish);
    }
    if (l->deliver != NULL) {
        zmq_close(l->deliver);
    }
    if (l->control != NULL) {
        zmq_close(l->control);
    }
    zmq_ctx_term(l->context);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static bool watch_descriptor(int epoll, void *socket, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    size_t size = sizeof(int);
    int fd;

    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool link_watch(broker_link *l, int epoll, void *tag)
{
    return watch_descriptor(epoll, l->publish, tag) && watch_descriptor(epoll, l->deliver, tag) &&
           watch_descriptor(epoll, l->control, tag);
}

/* --- states --- */

static void greet(broker_link *l)
{
    bool sent =
        send_control(l, &(mercure_wire_control){.type = MERCURE_WIRE_HELLO, .peer = l->id, .number = ++l->session});

    l->state = GREETING;
    l->next_ping_ms = l->streamer->now_ms + (sent ? PING_MS : UNSENT_MS);
    l->heard_ms = l->streamer->now_ms;
}

static void ping(broker_link *l)
{
    l->next_ping_ms = l->streamer->now_ms + PING_MS;
    l->pinged = l->received;
    send_control(l, &(mercure_wire_control){.type = MERCURE_WIRE_PING, .number = l->received});
}

static void lost(broker_link *l)
{
    l->state = DOWN;
    hub_feeds_broken(l->streamer);
}

static void say_keys(void *context, const char *url, bool lacking)
{
    link_want_keys(context, mercure_str_of(url), lacking);
}

static void say_all_keys(broker_link *l)
{
    l->next_keys_ms = l->streamer->now_ms + KEYS_WANTED_MS;
    key_sets_each(l->streamer->key_sets, say_keys, l);
}

static void welcomed(broker_link *l)
{
    l->state = SYNCING;
    l->received = 0;
    l->ponged = 0;
    hub_feeds_broken(l->streamer);
    streamer_history_check(l->streamer);
    hub_register_all(l->streamer);
    say_all_keys(l);
    ping(l); /* its pong comes behind all the answers to what was registered */
}

static void ponged(broker_link *l, uint64_t number)
{
    if (l->state == SYNCING) {
        l->state = UP;
        hub_catch_up_all(l->streamer);
    } else if (l->ponged > l->received) {
        /* What had been sent before the pong before this one must have arrived by now. */
        l->received = l->ponged;
        hub_catch_up_all(l->streamer);
    }
    l->ponged = number;
}

/* --- what arrives --- */

static mercure_str message_str(zmq_msg_t *message)
{
    return (mercure_str){zmq_msg_data(message), zmq_msg_size(message)};
}

/* brokerd's subscription, or its end, on our publishing socket. */
static bool take_subscription(broker_link *l)
{
    unsigned char first = 0;
    int len = zmq_recv(l->publish, &first, 1, ZMQ_DONTWAIT);
    publication *p;

    if (len < 0) {
        return false;
    }
    if (len != 1) {
        return true; /* a subscription to something narrower is not brokerd's */
    }
    if (first == 0) {
        l->down_since_ms = l->streamer->now_ms;
        lost(l);
        return true;
    }
    l->down_since_ms = 0;
    pthread_mutex_lock(&l->lock);
    for (p = l->first; p != NULL; p = p->next) {
        p->sent_ms = 0;
    }
    pthread_mutex_unlock(&l->lock);
    greet(l);
    return true;
}

static void number_arrived(broker_link *l, uint64_t number)
{
    if (number <= l->received) {
        return;
    }
    if (number != l->received + 1 && l->state == UP) {
        l->received = number;
        hub_catch_up_all(l->streamer);
    }
    l->received = number;
}

static bool take_delivery(broker_link *l)
{
    mercure_wire_delivery delivery;
    zmq_msg_t frames[3];
    int count = 0, more = 1, i;

    for (i = 0; i < 3; i++) {
        zmq_msg_init(&frames[i]);
    }
    while (more) {
        zmq_msg_t *frame = &frames[count < 3 ? count : 2];
        if (zmq_msg_recv(frame, l->deliver, ZMQ_DONTWAIT) < 0) {
            break;
        }
        more = zmq_msg_more(frame);
        count++;
    }
    if (count == 3 && mercure_wire_get_delivery(message_str(&frames[1]), &delivery) && delivery.session == l->session) {
        number_arrived(l, delivery.number);
        hub_deliver(l->streamer, delivery.hub, delivery.sequence, &frames[2]);
        if (l->received - l->pinged >= PING_DELIVERIES) {
            ping(l);
        }
    }
    for (i = 0; i < 3; i++) {
        zmq_msg_close(&frames[i]);
    }
    return count > 0;
}

static void unlink_publication(broker_link *l, publication *p)
{
    if (p->previous != NULL) {
        p->previous->next = p->next;
    } else {
        l->first = p->next;
    }
    if (p->next != NULL) {
        p->next->previous = p->previous;
    } else {
        l->last = p->previous;
    }
}

static void acknowledged(broker_link *l, uint64_t number, mercure_status status)
{
    publication *p;

    pthread_mutex_lock(&l->lock);
    for (p = l->first; p != NULL && p->number != number; p = p->next) {
    }
    if (p != NULL) {
        unlink_publication(l, p);
        p->number = 0;
        p->status = status;
        sem_post(&p->answered);
    }
    pthread_mutex_unlock(&l->lock);
}

static void obey(broker_link *l, const mercure_wire_control *said)
{
    l->heard_ms = l->streamer->now_ms;
    switch (said->type) {
    case MERCURE_WIRE_WELCOME:
        if (l->state == GREETING && said->number == l->session) {
            welcomed(l);
        }
        break;
    case MERCURE_WIRE_REGISTERED:
        if (l->state >= SYNCING) {
            hub_registered(l->streamer, said->hub, &said->matcher, said->status, said->nonce, said->number);
        }
        break;
    case MERCURE_WIRE_ACKNOWLEDGE:
        acknowledged(l, said->number, said->status);
        break;
    case MERCURE_WIRE_PONG:
        if (l->state >= SYNCING) {
            ponged(l, said->number);
        }
        break;
    case MERCURE_WIRE_UNKNOWN:
        if (l->state >= SYNCING) {
            lost(l);
            greet(l);
        }
        break;
    case MERCURE_WIRE_BYE:
        lost(l);
        break;
    case MERCURE_WIRE_KEYS_FETCHED:
        key_sets_fetched(l->streamer->key_sets, said->url);
        break;
    default:
        break; /* not brokerd's to say */
    }
}

static bool take_control(broker_link *l)
{
    mercure_wire_control said;
    zmq_msg_t frame;
    bool taken;

    zmq_msg_init(&frame);
    taken = zmq_msg_recv(&frame, l->control, ZMQ_DONTWAIT) >= 0;
    if (taken && mercure_wire_get_control(message_str(&frame), &said)) {
        obey(l, &said);
    }
    zmq_msg_close(&frame);
    return taken;
}

/* --- publications --- */

/* Copy out the next publication that is due; its record's bytes are shared, not copied. */
static bool next_due(broker_link *l, uint64_t *after, mercure_wire_publication *header, char hub[MERCURE_MAX_HUB_NAME],
                     zmq_msg_t *record)
{
    uint64_t now = l->streamer->now_ms;
    publication *p;

    pthread_mutex_lock(&l->lock);
    for (p = l->first; p != NULL; p = p->next) {
        if (p->number > *after && (p->sent_ms == 0 || now - p->sent_ms >= REPEAT_MS)) {
            break;
        }
    }
    if (p != NULL) {
        p->sent_ms = now;
        *after = p->number;
        memcpy(hub, p->hub.data, p->hub.len);
        *header = (mercure_wire_publication){l->id, p->number, l->first->number, {hub, p->hub.len}, p->retention};
        zmq_msg_copy(record, &p->record);
    }
    pthread_mutex_unlock(&l->lock);
    return p != NULL;
}

static void send_publications(broker_link *l)
{
    unsigned char frame[MERCURE_WIRE_MAX];
    char hub[MERCURE_MAX_HUB_NAME];
    mercure_wire_publication header;
    uint64_t after = 0;
    zmq_msg_t record;

    if (l->down_since_ms != 0) {
        return;
    }
    zmq_msg_init(&record);
    while (next_due(l, &after, &header, hub, &record)) {
        /* What is not sent now is sent again later. */
        if (zmq_send(l->publish, frame, mercure_wire_put_publication(&header, frame), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
            zmq_msg_send(&record, l->publish, ZMQ_DONTWAIT) < 0) {
            break;
        }
    }
    zmq_msg_close(&record);
}

static bool make_publication(publication *p, mercure_str hub, mercure_retention retention, mercure_str record)
{
    memset(p, 0, sizeof(*p));
    if (hub.len > MERCURE_MAX_HUB_NAME || zmq_msg_init_size(&p->record, record.len) != 0) {
        return false;
    }
    memcpy(zmq_msg_data(&p->record), record.data, record.len);
    p->hub = hub;
    p->retention = retention;
    sem_init(&p->answered, 0, 0);
    return true;
}

static void enqueue(broker_link *l, publication *p)
{
    pthread_mutex_lock(&l->lock);
    p->number = l->next_number++;
    p->previous = l->last;
    if (l->last != NULL) {
        l->last->next = p;
    } else {
        l->first = p;
    }
    l->last = p;
    pthread_mutex_unlock(&l->lock);
}

/* Wait for the answer. False when none came; then the publication is no longer in the list. */
static bool wait_for_answer(broker_link *l, publication *p)
{
    uint64_t until_ms = clock_now_ms() + PUBLISH_WAIT_MS;
    struct timespec until = clock_moment(until_ms);
    bool answered;

    while (sem_clockwait(&p->answered, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&l->lock);
    answered = p->number == 0;
    if (!answered) {
        unlink_publication(l, p);
    }
    pthread_mutex_unlock(&l->lock);
    return answered;
}

static mercure_status answer_of(const publication *p, mercure_error *err)
{
    switch (p->status) {
    case MERCURE_OK:
        return MERCURE_OK;
    case MERCURE_STORE:
        return mercure_fail(err, MERCURE_STORE, "brokerd cannot store updates, its log says why (is the disk full?)");
    default:
        return mercure_fail(err, MERCURE_SYSTEM, "brokerd refused the update: its version or its memory");
    }
}

mercure_status link_publish(streamer *st, mercure_str hub, mercure_retention retention, mercure_str record,
                            mercure_error *err)
{
    broker_link *l = st->link;
    uint64_t down_since = l->down_since_ms;
    mercure_status status;
    publication p;

    if (down_since != 0 && clock_now_ms() - down_since > PUBLISH_WAIT_MS) {
        return mercure_fail(err, MERCURE_SYSTEM, "brokerd cannot be reached, is it running?");
    }
    if (!make_publication(&p, hub, retention, record)) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory to publish");
    }
    enqueue(l, &p);
    streamer_wake(st);
    status = wait_for_answer(l, &p) ? answer_of(&p, err)
                                    : mercure_fail(err, MERCURE_SYSTEM, "brokerd did not answer within %d seconds",
                                                   PUBLISH_WAIT_MS / 1000);
    zmq_msg_close(&p.record);
    sem_destroy(&p.answered);
    return status;
}

/* --- matchers --- */

static void send_matcher(broker_link *l, mercure_wire_type type, mercure_str hub, const mercure_matcher_key *matcher,
                         uint64_t nonce)
{
    if (l->state >= SYNCING) {
        send_control(l, &(mercure_wire_control){.type = type, .hub = hub, .matcher = *matcher, .nonce = nonce});
    }
}

void link_register(broker_link *l, mercure_str hub, const mercure_matcher_key *matcher, uint64_t nonce)
{
    send_matcher(l, MERCURE_WIRE_REGISTER, hub, matcher, nonce);
}

void link_unregister(broker_link *l, mercure_str hub, const mercure_matcher_key *matcher)
{
    send_matcher(l, MERCURE_WIRE_UNREGISTER, hub, matcher, 0);
}

void link_want_keys(broker_link *l, mercure_str url, bool lacking)
{
    if (l->state >= SYNCING) {
        send_control(l, &(mercure_wire_control){.type = lacking ? MERCURE_WIRE_KEYS_LACKING : MERCURE_WIRE_KEYS_WANTED,
                                                .url = url});
    }
}

/* --- the work --- */

static bool drain(broker_link *l, bool (*take)(broker_link *l))
{
    int i;

    for (i = 0; i < MESSAGES_AT_ONCE; i++) {
        if (!take(l)) {
            return false;
        }
    }
    return true;
}

static void keep_up(broker_link *l)
{
    uint64_t now = l->streamer->now_ms;

    if (l->state == DOWN || now < l->next_ping_ms) {
        return;
    }
    if (l->state == GREETING) {
        greet(l);
    } else if (now - l->heard_ms > SILENCE_MS) {
        lost(l);
        greet(l);
    } else {
        ping(l);
        if (now >= l->next_keys_ms) {
            say_all_keys(l);
        }
    }
}

static bool readable(void *socket)
{
    size_t size = sizeof(int);
    int events = 0;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

bool link_work(broker_link *l)
{
    bool more = drain(l, take_subscription);

    more = drain(l, take_control) || more;
    more = drain(l, take_delivery) || more;
    send_publications(l);
    keep_up(l);
    /* Sending may have taken note of arrivals, which the descriptors then no longer tell. */
    return more || readable(l->publish) || readable(l->control) || readable(l->deliver);
}

uint64_t link_due(const broker_link *l)
{
    uint64_t due = l->state == DOWN ? UINT64_MAX : l->next_ping_ms;

    if (l->first != NULL) { /* only a hint, so it needs no lock: REPEAT_MS later we look again */
        uint64_t repeat = l->streamer->now_ms + REPEAT_MS;
        due = repeat < due ? repeat : due;
    }
    return due;
}
