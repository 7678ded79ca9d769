/* broker.c - see broker.h.
 *
 * The path of a publication: take_publication() checks it and gives it to the writer; take_results() hears that it is
 * committed, acknowledges it to the child that sent it, and forwards it, numbered, to each child that wants it.
 *
 * What surprised us: a PUB socket drops what it sends to a subscriber that is not connected yet. So a child is welcomed
 * (and may register) only after its subscription was seen on the delivering XPUB socket, and children look for our
 * subscription on their publishing XPUB in the same way.
 */
#include "broker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "log.h"
#include "registry.h"
#include "writer.h"

#include "mercure/limits.h"

#define MESSAGES_AT_ONCE 256 /* taken from one socket before the others have their turn */
#define QUEUE_BOUND      100000
#define PUBLICATION_MAX  (MERCURE_MAX_RECORD + 65536)
#define CHILD_SILENCE    10 /* seconds without a word, then a child is forgotten; it says a word every second */
#define HOUSEKEEPING_MS  1000

typedef struct {
    broker_options options;
    mercure_history *history; /* the writer thread writes, this one only reads */
    mercure_peer_id id;
    registry *registry;
    writer *writer;
    fetcher *fetcher;
    void *context;
    void *publish; /* SUB */
    void *deliver; /* XPUB */
    void *control; /* ROUTER */
    int signals;
    unsigned long malformed;
    log_limit malformed_limit;
    log_limit store_limit;
    log_limit effort_limit;
} broker;

static time_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void count_malformed(broker *b, const char *where)
{
    b->malformed++;
    if (log_allowed(&b->malformed_limit)) {
        log_error("dropped a malformed message on the %s socket (%lu so far): a process of another version, "
                  "or not one of ours, is connected",
                  where, b->malformed);
    }
}

static mercure_str message_str(zmq_msg_t *message)
{
    return (mercure_str){zmq_msg_data(message), zmq_msg_size(message)};
}

/* Receive one whole message of `wanted` frames without waiting. Returns the number of frames that it had (the frames
 * past `wanted` are dropped), 0 when there is no message. The frames must be closed by the caller in any case.
 */
static int receive(void *socket, zmq_msg_t *frames, int wanted)
{
    int count = 0, more = 1;

    while (more) {
        zmq_msg_t spare;
        zmq_msg_t *frame = count < wanted ? &frames[count] : &spare;

        if (frame == &spare) {
            zmq_msg_init(&spare);
        }
        if (zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) < 0) {
            return 0;
        }
        more = zmq_msg_more(frame);
        count++;
        if (frame == &spare) {
            zmq_msg_close(&spare);
        }
    }
    return count;
}

static void init_frames(zmq_msg_t *frames, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        zmq_msg_init(&frames[i]);
    }
}

static void close_frames(zmq_msg_t *frames, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        zmq_msg_close(&frames[i]);
    }
}

/* Drop counts are not kept: a peer that does not take a control message has gone, and will say HELLO again. */
static void send_control(broker *b, const mercure_peer_id *to, const mercure_wire_control *control)
{
    unsigned char frame[MERCURE_WIRE_MAX];
    size_t len = mercure_wire_put_control(control, frame);

    if (zmq_send(b->control, to->bytes, sizeof(to->bytes), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        (void)zmq_send(b->control, frame, len, ZMQ_DONTWAIT);
    }
}

/* --- publications --- */

static void acknowledge(broker *b, const mercure_wire_publication *publication, mercure_status status)
{
    mercure_wire_control answer = {.type = MERCURE_WIRE_ACKNOWLEDGE, .number = publication->number, .status = status};

    send_control(b, &publication->child, &answer);
}

static bool take_publication(broker *b)
{
    mercure_wire_publication publication;
    mercure_record record;
    zmq_msg_t frames[2];
    writer_job *job;
    int count;

    init_frames(frames, 2);
    count = receive(b->publish, frames, 2);
    if (count == 0) {
        close_frames(frames, 2);
        return false;
    }
    if (count != 2 || !mercure_wire_get_publication(message_str(&frames[0]), &publication)) {
        count_malformed(b, "publish");
    } else if (mercure_record_parse(message_str(&frames[1]), &record, NULL) != MERCURE_OK) {
        count_malformed(b, "publish");
        acknowledge(b, &publication, MERCURE_INVALID);
    } else if ((job = writer_job_create(&frames[0], &frames[1], &publication)) == NULL) {
        acknowledge(b, &publication, MERCURE_SYSTEM);
    } else {
        writer_submit(b->writer, job);
    }
    close_frames(frames, 2);
    return true;
}

typedef struct {
    broker *broker;
    writer_job *job;
} forwarding;

static void forward(void *context, child *c)
{
    const forwarding *f = context;
    mercure_wire_delivery delivery = {.sequence = f->job->sequence, .hub = f->job->publication.hub};
    unsigned char header[MERCURE_WIRE_MAX];
    zmq_msg_t record;

    if (!c->welcomed || !registry_number(c, zmq_msg_size(&f->job->record))) {
        return; /* the child will see the gap and catch up from the history */
    }
    delivery.session = c->session;
    delivery.number = c->sent;
    zmq_msg_init(&record);
    zmq_msg_copy(&record, &f->job->record); /* shares the bytes */
    /* A failure to send leaves a gap as well. */
    if (zmq_send(f->broker->deliver, c->id.bytes, sizeof(c->id.bytes), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send(f->broker->deliver, header, mercure_wire_put_delivery(&delivery, header), ZMQ_SNDMORE | ZMQ_DONTWAIT) <
            0 ||
        zmq_msg_send(&record, f->broker->deliver, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&record);
    }
}

/* Everything of this hub up to its head was forwarded: said on the same way as the updates, and in order with them, so
 * that a child whose topics are quiet does not believe itself far behind.
 */
static void tell_head(void *context, child *c, mercure_str hub, uint64_t head)
{
    broker *b = context;
    mercure_wire_delivery delivery = {.session = c->session, .sequence = head, .hub = hub};
    unsigned char header[MERCURE_WIRE_MAX];

    if (!c->welcomed || !registry_number(c, 0)) {
        return;
    }
    delivery.number = c->sent;
    if (zmq_send(b->deliver, c->id.bytes, sizeof(c->id.bytes), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        zmq_send(b->deliver, header, mercure_wire_put_delivery(&delivery, header), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        (void)zmq_send(b->deliver, "", 0, ZMQ_DONTWAIT); /* what is not sent is a gap, which the child sees */
    }
}

static void match(broker *b, const writer_job *job, const mercure_record *record, forwarding *f)
{
    mercure_str hub = job->publication.hub;

    if (!registry_match(b->registry, hub, job->sequence, record, forward, f) && log_allowed(&b->effort_limit)) {
        log_error(
            "hub %.*s: its subscribers' URL Patterns cost too much for one update: those not asked yet do not match",
            (int)hub.len, hub.data);
    }
}

static void take_results(broker *b, writer_job *job)
{
    while (job != NULL) {
        writer_job *next = job->next;
        forwarding f = {b, job};
        mercure_record record;

        acknowledge(b, &job->publication, job->status);
        if (job->status == MERCURE_OK && !job->repeated &&
            mercure_record_parse(message_str(&job->record), &record, NULL) == MERCURE_OK) {
            match(b, job, &record, &f);
        }
        writer_job_free(job);
        job = next;
    }
}

/* --- children --- */

static void welcome_if_ready(broker *b, child *c)
{
    mercure_wire_control welcome = {.type = MERCURE_WIRE_WELCOME, .peer = b->id, .number = c->session};

    if (c->greeted && c->subscribed && !c->welcomed) {
        c->welcomed = true;
        send_control(b, &c->id, &welcome);
    }
}

/* Forget what a child said. Its record stays: ZeroMQ tells of its subscription only once. */
static void forget(broker *b, child *c)
{
    registry_reset(b->registry, c);
    c->greeted = false;
}

/* A subscription or its end, seen on the delivering socket: one byte, then the child's id. */
static bool take_subscription(broker *b)
{
    zmq_msg_t frame;
    mercure_peer_id id;
    const unsigned char *bytes;
    child *c;

    zmq_msg_init(&frame);
    if (receive(b->deliver, &frame, 1) == 0) {
        zmq_msg_close(&frame);
        return false;
    }
    bytes = zmq_msg_data(&frame);
    if (zmq_msg_size(&frame) != 1 + sizeof(id.bytes)) {
        count_malformed(b, "deliver");
        zmq_msg_close(&frame);
        return true;
    }
    memcpy(id.bytes, bytes + 1, sizeof(id.bytes));
    c = registry_child(b->registry, &id, bytes[0] == 1);
    if (c != NULL) {
        c->subscribed = bytes[0] == 1;
        c->heard = seconds_now();
        if (!c->subscribed) {
            forget(b, c); /* what is sent now would not arrive: it begins anew */
        }
        welcome_if_ready(b, c);
    }
    zmq_msg_close(&frame);
    return true;
}

static bool head_of(void *context, mercure_str hub, uint64_t *head)
{
    broker *b = context;
    mercure_error err;

    if (mercure_history_head(b->history, hub, head, &err) == MERCURE_OK) {
        return true;
    }
    if (log_allowed(&b->store_limit)) {
        log_error("%s", err.reason);
    }
    return false;
}

static void do_register(broker *b, child *c, const mercure_wire_control *asked)
{
    mercure_wire_control answer = *asked;

    answer.type = MERCURE_WIRE_REGISTERED;
    answer.status = MERCURE_OK;
    switch (registry_register(b->registry, c, asked->hub, &asked->matcher, head_of, b, &answer.number)) {
    case MERCURE_OK:
        send_control(b, &c->id, &answer);
        break;
    case MERCURE_SYSTEM:
        forget(b, c); /* no memory, or the history cannot be read: it begins anew */
        send_control(b, &c->id, &(mercure_wire_control){.type = MERCURE_WIRE_UNKNOWN});
        break;
    case MERCURE_LIMIT:
        answer.status = MERCURE_LIMIT;
        send_control(b, &c->id, &answer);
        break;
    default: /* our idea of a pattern is not the child's */
        answer.status = MERCURE_INVALID;
        send_control(b, &c->id, &answer);
        count_malformed(b, "control");
    }
}

static void greet(broker *b, const mercure_peer_id *from, const mercure_wire_control *hello)
{
    child *c;

    if (memcmp(hello->peer.bytes, from->bytes, sizeof(from->bytes)) != 0) {
        count_malformed(b, "control");
        return;
    }
    c = registry_child(b->registry, from, true);
    if (c == NULL) {
        return; /* it will say HELLO again */
    }
    registry_reset(b->registry, c);
    c->greeted = true;
    c->session = hello->number;
    c->heard = seconds_now();
    welcome_if_ready(b, c);
}

/* --- key sets --- */

static void want_keys(broker *b, const child *c, const mercure_wire_control *asked)
{
    if (!fetcher_want(b->fetcher, asked->url, asked->type == MERCURE_WIRE_KEYS_LACKING)) {
        send_control(b, &c->id, &(mercure_wire_control){.type = MERCURE_WIRE_KEYS_FETCHED, .url = asked->url});
    }
}

typedef struct {
    broker *broker;
    mercure_str url;
} fetched_url;

static void tell_fetched(void *context, child *c)
{
    const fetched_url *fetched = context;

    if (c->welcomed) {
        send_control(fetched->broker, &c->id,
                     &(mercure_wire_control){.type = MERCURE_WIRE_KEYS_FETCHED, .url = fetched->url});
    }
}

static void tell_all_fetched(void *context, mercure_str url)
{
    broker *b = context;
    fetched_url fetched = {b, url};

    registry_each(b->registry, tell_fetched, &fetched);
}

static void obey(broker *b, child *c, const mercure_wire_control *asked)
{
    mercure_wire_control pong = {.type = MERCURE_WIRE_PONG, .number = c->sent};

    c->heard = seconds_now();
    switch (asked->type) {
    case MERCURE_WIRE_REGISTER:
        do_register(b, c, asked);
        break;
    case MERCURE_WIRE_UNREGISTER:
        registry_unregister(b->registry, c, asked->hub, &asked->matcher);
        break;
    case MERCURE_WIRE_PING:
        if (asked->number >= c->received && asked->number <= c->sent) {
            c->received = asked->number;
        }
        send_control(b, &c->id, &pong);
        break;
    case MERCURE_WIRE_KEYS_WANTED:
    case MERCURE_WIRE_KEYS_LACKING:
        want_keys(b, c, asked);
        break;
    case MERCURE_WIRE_BYE:
        registry_drop(b->registry, c);
        break;
    default:
        count_malformed(b, "control");
        break;
    }
}

static bool take_control(broker *b)
{
    mercure_wire_control asked;
    mercure_peer_id from;
    zmq_msg_t frames[2];
    child *c;
    int count;

    init_frames(frames, 2);
    count = receive(b->control, frames, 2);
    if (count == 0) {
        close_frames(frames, 2);
        return false;
    }
    if (count != 2 || zmq_msg_size(&frames[0]) != sizeof(from.bytes) ||
        !mercure_wire_get_control(message_str(&frames[1]), &asked)) {
        count_malformed(b, "control");
        close_frames(frames, 2);
        return true;
    }
    memcpy(from.bytes, zmq_msg_data(&frames[0]), sizeof(from.bytes));
    c = registry_child(b->registry, &from, false);
    if (asked.type == MERCURE_WIRE_HELLO) {
        greet(b, &from, &asked);
    } else if (c != NULL && c->welcomed) {
        obey(b, c, &asked);
    } else if (c == NULL || !c->greeted) {
        send_control(b, &from, &(mercure_wire_control){.type = MERCURE_WIRE_UNKNOWN});
    }
    close_frames(frames, 2);
    return true;
}

static void forget_if_silent(void *context, child *c)
{
    broker *b = context;

    if (seconds_now() - c->heard <= CHILD_SILENCE) {
        return;
    }
    if (c->subscribed) {
        forget(b, c); /* paused, perhaps: it is told to greet us again when it goes on */
    } else {
        registry_drop(b->registry, c);
    }
}

static void say_bye(void *context, child *c)
{
    send_control(context, &c->id, &(mercure_wire_control){.type = MERCURE_WIRE_BYE});
}

/* --- the parent --- */

/* Take a new descriptor for the log. Returns false when the parent is gone. */
static bool hear_parent(int parent)
{
    char byte;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } extra;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = extra.bytes, .msg_controllen = sizeof(extra.bytes)};
    struct cmsghdr *first;
    ssize_t got = recvmsg(parent, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int log;

    if (got == 0) {
        return false;
    }
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    first = CMSG_FIRSTHDR(&message);
    if (first != NULL && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS &&
        first->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&log, CMSG_DATA(first), sizeof(log));
        if (dup2(log, STDERR_FILENO) < 0) {
            log_error("cannot take over the new error log: %s", strerror(errno));
        }
        close(log);
    }
    return true;
}

/* --- set-up and the loop --- */

static mercure_status open_socket(broker *b, int type, const char *name, void **result, mercure_error *err)
{
    int bound = QUEUE_BOUND, linger = 500, one = 1;
    int64_t largest = type == ZMQ_SUB ? PUBLICATION_MAX : MERCURE_WIRE_MAX;
    char endpoint[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 8];
    int len = snprintf(endpoint, sizeof(endpoint), "ipc://%s/%s", b->options.socket_dir, name);
    void *socket;

    if (len < 0 || (size_t)len - 6 >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return mercure_fail(err, MERCURE_INVALID,
                            "the socket directory's path is too long: use one of at most 90 bytes");
    }
    socket = zmq_socket(b->context, type);
    if (socket == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no ZeroMQ socket: %s", zmq_strerror(zmq_errno()));
    }
    *result = socket;
    if (zmq_setsockopt(socket, ZMQ_SNDHWM, &bound, sizeof(bound)) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &bound, sizeof(bound)) != 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) != 0 ||
        (type == ZMQ_ROUTER && zmq_setsockopt(socket, ZMQ_ROUTER_HANDOVER, &one, sizeof(one)) != 0) ||
        (type == ZMQ_SUB && zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) != 0) || zmq_bind(socket, endpoint) != 0) {
        return mercure_fail(err, MERCURE_SYSTEM, "cannot listen on %s: %s", endpoint, zmq_strerror(zmq_errno()));
    }
    return MERCURE_OK;
}

static mercure_status set_up(broker *b, mercure_error *err)
{
    char history[4096];
    mercure_status status;
    sigset_t stop;

    if (snprintf(history, sizeof(history), "%s/history", b->options.state_dir) >= (int)sizeof(history)) {
        return mercure_fail(err, MERCURE_INVALID, "the state directory's path is too long");
    }
    if (!mercure_peer_id_make(&b->id) || (b->registry = registry_create()) == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no random bytes or no memory");
    }
    status = mercure_history_open_writer(history, b->options.durable, &b->history, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if ((status = fetcher_create(b->options.state_dir, &b->options.fetcher, &b->fetcher, err)) != MERCURE_OK) {
        return status;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGHUP); /* a terminal that closes stops us cleanly too */
    if (sigprocmask(SIG_BLOCK, &stop, NULL) != 0 || (b->signals = signalfd(-1, &stop, SFD_CLOEXEC)) < 0) {
        return mercure_fail(err, MERCURE_SYSTEM, "cannot wait for signals: %s", strerror(errno));
    }
    b->writer = writer_start(b->history, b->options.durable);
    b->context = zmq_ctx_new();
    if (b->writer == NULL || b->context == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "cannot start a thread: %s", strerror(errno));
    }
    if ((status = open_socket(b, ZMQ_SUB, MERCURE_SOCKET_PUBLISH, &b->publish, err)) != MERCURE_OK ||
        (status = open_socket(b, ZMQ_XPUB, MERCURE_SOCKET_DELIVER, &b->deliver, err)) != MERCURE_OK) {
        return status;
    }
    return open_socket(b, ZMQ_ROUTER, MERCURE_SOCKET_CONTROL, &b->control, err);
}

static void tear_down(broker *b)
{
    if (b->writer != NULL) {
        /* What was received is committed and acknowledged before we go. */
        writer_job *rest = writer_stop(b->writer);
        if (b->control != NULL) {
            take_results(b, rest);
            registry_each(b->registry, say_bye, b);
        }
    }
    if (b->fetcher != NULL) {
        fetcher_stop(b->fetcher);
    }
    if (b->publish != NULL) {
        zmq_close(b->publish);
    }
    if (b->deliver != NULL) {
        zmq_close(b->deliver);
    }
    if (b->control != NULL) {
        zmq_close(b->control);
    }
    if (b->context != NULL) {
        zmq_ctx_term(b->context);
    }
    if (b->signals >= 0) {
        close(b->signals);
    }
    mercure_history_close(b->history);
    if (b->registry != NULL) {
        registry_free(b->registry);
    }
}

static void drain(broker *b, bool (*take)(broker *b))
{
    int i;

    for (i = 0; i < MESSAGES_AT_ONCE && take(b); i++) {
    }
}

static mercure_status loop(broker *b, mercure_error *err)
{
    time_t next_housekeeping = seconds_now();

    for (;;) {
        zmq_pollitem_t wait[] = {
            {b->publish, 0, ZMQ_POLLIN, 0},           {b->deliver, 0, ZMQ_POLLIN, 0},
            {b->control, 0, ZMQ_POLLIN, 0},           {NULL, writer_event(b->writer), ZMQ_POLLIN, 0},
            {NULL, b->signals, ZMQ_POLLIN, 0},        {NULL, fetcher_event(b->fetcher), ZMQ_POLLIN, 0},
            {NULL, b->options.parent, ZMQ_POLLIN, 0},
        };
        int count = b->options.parent >= 0 ? 7 : 6;

        if (zmq_poll(wait, count, HOUSEKEEPING_MS) < 0 && zmq_errno() != EINTR) {
            return mercure_fail(err, MERCURE_SYSTEM, "cannot wait for messages: %s", zmq_strerror(zmq_errno()));
        }
        if (wait[4].revents != 0) {
            return MERCURE_OK;
        }
        if (count == 7 && wait[6].revents != 0 && !hear_parent(b->options.parent)) {
            log_notice("httpd is gone, stopping");
            return MERCURE_OK;
        }
        drain(b, take_subscription);
        drain(b, take_control);
        drain(b, take_publication);
        take_results(b, writer_results(b->writer));
        fetcher_results(b->fetcher, tell_all_fetched, b);
        if (seconds_now() > next_housekeeping) {
            next_housekeeping = seconds_now();
            registry_each(b->registry, forget_if_silent, b);
            registry_tell_heads(b->registry, tell_head, b);
        }
    }
}

mercure_status broker_run(const broker_options *options, mercure_error *err)
{
    broker b = {.options = *options, .signals = -1};
    mercure_status status = set_up(&b, err);

    if (status == MERCURE_OK) {
        log_notice("ready, history in %s/history, sockets in %s", options->state_dir, options->socket_dir);
        status = loop(&b, err);
    }
    tear_down(&b);
    return status;
}
