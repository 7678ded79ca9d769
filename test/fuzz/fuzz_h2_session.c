/* fuzz_h2_session.c - input: a byte of options, then steps: a byte that says what is done, and what belongs to it.
 *
 *   0x00-0x7f  the client sends the next bytes: their number is this one, or, for 0x7f, in the next two bytes
 *   0x80-0x9f  time passes: 2^(low bits) ms, at most 2^17
 *   0xa0-0xbf  up to (low bits) KiB more than one frame of what is to be sent leave
 *   0xc0-0xff  something happens to the next of the requests that run, see act()
 *
 * Option 0x01: the client's preface and SETTINGS come first; 0x02: the owner wants whole bodies; 0x04: it refuses a
 * request in run(); 0x08: a wide window is announced, too.
 */
#include "../../mod_mercure/h2_session.h"

#include "fuzz.h"

#define HELD_MOST ((6u << 20) + 1) /* of one session, see h2_session.c */

typedef struct {
    h2_session *session;
    h2_stream *running[H2_STREAMS_MOST + 1];
    size_t count, next;
    bool wants, refuses;
    uint64_t now_ms;
    size_t runs, closed;
} hub;

static void run(void *owner, h2_stream *s)
{
    hub *h = owner;

    FUZZ_CHECK(h->count < H2_STREAMS_MOST);
    FUZZ_CHECK(s->job == NULL && s->exchange != NULL);
    h->running[h->count++] = s;
    h->runs++;
    s->job = h;
    *h2_exchange_tag(s->exchange) = s;
    if (h->refuses && h->runs % 3 == 0) {
        h2_stream_reset(s, H2_REFUSED_STREAM);
    }
}

static bool wants_body(void *owner, const h2_head *head, size_t waiting)
{
    const hub *h = owner;

    return h->wants && waiting < (1u << 20) && strlen(h2_head_path(head)) % 2 == 0;
}

static void moved(void *owner, h2_stream *s)
{
    (void)owner;
    FUZZ_CHECK(s->events != NULL);
}

static void closed(void *owner, h2_stream *s)
{
    hub *h = owner;

    h->closed += s->job != NULL;
    for (size_t i = 0; i < h->count; i++) {
        if (h->running[i] == s) {
            h->running[i] = h->running[--h->count];
            return;
        }
    }
    FUZZ_CHECK(s->job == NULL);
}

static const h2_session_owner calls = {run, wants_body, moved, closed};

/* --- the runner and the hub --- */

static void read_body(h2_exchange *x, size_t most)
{
    char into[512];
    ssize_t got;

    while (most >= sizeof(into) && (got = h2_exchange_read(x, into, sizeof(into), 0)) > 0) {
        most -= (size_t)got;
    }
}

static void respond(h2_exchange *x, int status, size_t body)
{
    static const h2_field fields[] = {{"content-type", "text/plain"}, {"x", ""}};
    static const char bytes[8192];

    if (!h2_exchange_respond(x, status, fields, 2)) {
        return;
    }
    while (body > 0) {
        size_t len = body < sizeof(bytes) ? body : sizeof(bytes);
        if (!h2_exchange_write(x, bytes, len, 0)) {
            return;
        }
        body -= len;
    }
}

static void write_event(h2_stream *s, size_t len)
{
    buffer *b = buffer_create(len);

    memset(b->data, 'e', len);
    FUZZ_CHECK(h2_stream_write(s, b, b->data, len));
    buffer_release(b);
}

/* To a request that has a runner. */
static void act_as_runner(h2_stream *s, unsigned what)
{
    h2_exchange *x = s->exchange;
    bool becomes_events = false, finishes = true;

    switch (what) {
    case 0:
        respond(x, 204, 0);
        h2_exchange_end(x);
        break;
    case 1:
        respond(x, 200, 100);
        h2_exchange_end(x);
        break;
    case 2:
        respond(x, 200, 60000);
        h2_exchange_end(x);
        break;
    case 3:
        respond(x, 200, 200000); /* more than may wait: given up */
        h2_exchange_end(x);
        break;
    case 4:
        respond(x, 200, 3000);
        finishes = false;
        break;
    case 5:
        respond(x, 103, 0);
        finishes = false;
        break;
    case 6:
        read_body(x, 1024);
        finishes = false;
        break;
    case 7:
        read_body(x, 1 << 20);
        finishes = false;
        break;
    case 8:
        h2_exchange_fail(x, H2_REFUSED_STREAM);
        break;
    case 9:
        break;
    case 10:
        h2_stream_reset(s, 8);
        return;
    case 11:
        h2_exchange_abort(x);
        return;
    default:
        respond(x, 200, what == 12 ? 500 : 0);
        h2_exchange_become_stream(x, NULL);
        becomes_events = true;
    }
    if (finishes) {
        h2_exchange_finish(x);
    }
    FUZZ_CHECK(h2_stream_take_news(s) == finishes);
    if (becomes_events) {
        s->events = s;
    }
}

static void act(hub *h, unsigned what)
{
    h2_stream *s;

    if (what == 0x3f) {
        h2_session_go_away(h->session);
        return;
    }
    if (h->count == 0) {
        return;
    }
    s = h->running[h->next++ % h->count];
    if (s->exchange != NULL) {
        act_as_runner(s, what % 16);
    } else if (s->events != NULL) {
        switch (what % 16) {
        case 0:
            s->events = NULL;
            h2_stream_end(s);
            break;
        case 1:
            s->events = NULL;
            h2_stream_reset(s, 8);
            break;
        default:
            if (s->out.pending < 100000) {
                write_event(s, what % 16 == 2 ? 30000 : what);
            }
        }
    }
}

/* --- what the input says --- */

static void receive(hub *h, const uint8_t *bytes, size_t len)
{
    char *exact = fuzz_exact((mercure_str){(const char *)bytes, len});

    if (!h2_session_receive(h->session, exact, len, h->now_ms)) {
        FUZZ_CHECK(!h2_session_receive(h->session, exact, len, h->now_ms));
    }
    free(exact);
}

/* Everything is sent, or as much as there is room for. Returns false when nothing was. */
static bool send_some(hub *h, size_t room)
{
    char *into = malloc(room);
    ssize_t len = h2_session_send(h->session, into, room, h->now_ms);

    FUZZ_CHECK(len <= (ssize_t)room);
    h2_session_tell_moved(h->session);
    free(into);
    return len > 0;
}

static void look(hub *h)
{
    uint64_t due;

    if (h2_session_look(h->session, h->now_ms, &due)) {
        FUZZ_CHECK(due > h->now_ms);
    }
}

static void step(hub *h, const uint8_t **at, const uint8_t *end)
{
    unsigned what = *(*at)++;
    size_t len = what;

    if (what < 0x80) {
        if (what == 0x7f && end - *at >= 2) {
            len = (size_t)(*at)[0] << 8 | (*at)[1];
            *at += 2;
        }
        len = len < (size_t)(end - *at) ? len : (size_t)(end - *at);
        receive(h, *at, len);
        *at += len;
    } else if (what < 0xa0) {
        unsigned bits = what & 0x1f;
        h->now_ms += UINT64_C(1) << (bits < 17 ? bits : 17);
        look(h);
    } else if (what < 0xc0) {
        send_some(h, H2_FRAME_MOST + ((what & 0x1f) << 10));
    } else {
        act(h, what & 0x3f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x4\0\0\0\0";
    static const uint8_t wide[] = "\0\0\x6\x4\0\0\0\0\0\0\x4\x7f\xff\xff\xff\0\0\x4\x8\0\0\0\0\0\x7f\0\0\0";
    const h2_session_limits limits = {{20, 2000, 500}, 10000, 20000, 60000, 5000, 5000};
    const uint8_t *end = data + size;
    h2_session_kind *kind = h2_session_kind_create();
    hub h = {.now_ms = 1000};
    unsigned options = size > 0 ? *data++ : 0;

    h.wants = (options & 2) != 0;
    h.refuses = (options & 4) != 0;
    h.session = h2_session_create(kind, &limits, &calls, &h, h.now_ms);
    if (options & 1) {
        receive(&h, preface, sizeof(preface)); /* with its last NUL: nine bytes of SETTINGS */
    }
    if (options & 8) {
        receive(&h, wide, sizeof(wide) - 1);
    }
    while (data < end) {
        step(&h, &data, end);
        FUZZ_CHECK(h2_session_kind_held(kind) < HELD_MOST);
    }
    for (unsigned i = 0; i < 10000 && send_some(&h, 4 * H2_FRAME_MOST); i++) {
    }
    FUZZ_CHECK(!send_some(&h, H2_FRAME_MOST));
    (void)h2_session_is_over(h.session);
    h2_session_free(h.session);
    FUZZ_CHECK(h.count == 0);
    FUZZ_CHECK(h.runs == h.closed);
    FUZZ_CHECK(h2_session_kind_held(kind) == 0);
    h2_session_kind_free(kind);
    return 0;
}
