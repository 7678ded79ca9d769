/* test_h2_bounds.c - what a client may not do to a session of HTTP/2: deadlines, patience, and the memory of requests
 * that wait; and what ordinary clients do, which must not be taken for it.
 */
#include "h2_talk.h"

#define WIDE (1 << 20) /* a window that does not matter */

static void advance(talk *t, uint64_t ms)
{
    t->now_ms += ms;
}

static uint64_t look(talk *t)
{
    uint64_t due;

    t->good = h2_session_look(t->server, t->now_ms, &due);
    talk_pump(t);
    return due == UINT64_MAX ? UINT64_MAX : due - t->now_ms;
}

/* --- deadlines --- */

static void preface_and_first_head_have_a_deadline(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    assert_int_equal(look(t), HEAD_MS);
    advance(t, HEAD_MS - 1);
    assert_int_equal(look(t), 1);
    assert_true(t->good);
    advance(t, 1);
    look(t);
    assert_false(t->good);
    assert_int_equal(t->goaway, NGHTTP2_NO_ERROR);
    assert_true(h2_session_is_over(t->server));
    talk_end(t);
}

static void head_that_does_not_come_has_a_deadline(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    talk_become_events(talk_ask(t, 0, false)); /* not idle */
    talk_pump(t);
    assert_int_equal(look(t), UINT64_MAX);
    talk_frame(t, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 3, "\x82", 1); /* without END_HEADERS */
    advance(t, HEAD_MS - 1);
    assert_int_equal(look(t), 1);
    advance(t, 1);
    look(t);
    assert_false(t->good);
    assert_int_equal(t->goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    talk_end(t);
}

static void body_that_does_not_come_has_a_deadline(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 10, true), *other = talk_ask(t, 0, false);
    uint64_t due;

    (void)state;
    advance(t, BODY_MS - 1);
    assert_int_equal(look(t), 1);
    advance(t, 1);
    assert_false(h2_session_wants_to_send(t->server));
    assert_true(h2_session_look(t->server, t->now_ms, &due));
    assert_true(h2_session_wants_to_send(t->server));
    talk_pump(t);
    assert_int_equal(at->code, NGHTTP2_CANCEL);
    assert_int_equal(at->closed, 1);
    assert_int_equal(other->closed, 0);
    talk_end(t);
}

/* 2,000 bytes each second, for an hour. */
static void slow_body_is_not_cut(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 1, true);

    (void)state;
    for (unsigned second = 0; second < 3600; second++) {
        advance(t, 1000);
        talk_upload_more(t, at, 2000, true);
        look(t);
        assert_int_equal(at->closed, 0);
        if (at->stream != NULL) {
            talk_read_body(t, at);
        }
    }
    talk_end(t);
}

static void byte_now_and_then_is_too_slow(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 1, true);

    (void)state;
    for (unsigned second = 0; second < 25 && at->closed == 0; second++) {
        advance(t, 1000);
        talk_upload_more(t, at, 1, true);
        look(t);
    }
    assert_int_equal(at->code, NGHTTP2_CANCEL);
    talk_end(t);
}

/* Its window is closed: it may not send. */
static void body_that_waits_for_its_runner_has_no_deadline(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 100000, false);

    (void)state;
    assert_true(at->upload > 0);
    for (unsigned i = 0; i < 10; i++) {
        advance(t, BODY_MS);
        look(t);
    }
    assert_int_equal(at->closed, 0);
    talk_end(t);
}

static void idle_connection_has_a_deadline(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);

    (void)state;
    advance(t, 100 * IDLE_MS);
    assert_int_equal(look(t), UINT64_MAX);
    talk_respond(at, 200, 0, true);
    talk_pump(t);
    assert_int_equal(look(t), IDLE_MS);
    advance(t, IDLE_MS);
    look(t);
    assert_false(t->good);
    assert_int_equal(t->goaway, NGHTTP2_NO_ERROR);
    talk_end(t);
}

/* --- patience --- */

/* How many of these until the session has enough? */
static unsigned count_until_fed_up(talk *t, uint8_t type, uint8_t flags, uint32_t id, size_t len)
{
    char payload[64] = "";
    unsigned count = 0;
    char *into = malloc(H2_FRAME_MOST);

    for (count = 0; count < 20000; count++) {
        talk_frame(t, type, flags, id, payload, len);
        if (!t->good) {
            break;
        }
        while (h2_session_send(t->server, into, H2_FRAME_MOST, t->now_ms) > 0) {
        }
    }
    free(into);
    talk_pump(t);
    return count;
}

static void assert_calm(talk *t)
{
    assert_false(t->good);
    assert_int_equal(t->goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(h2_session_is_over(t->server));
    talk_end(t);
}

static void floods_are_not_endured(void **state)
{
    static const struct {
        uint8_t type, flags;
        size_t len;
        unsigned least;
    } floods[] = {{NGHTTP2_PING, 0, 8, 300},
                  {NGHTTP2_SETTINGS, 0, 0, 300},
                  {NGHTTP2_DATA, 0, 0, 300},
                  {NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, 300},
                  {NGHTTP2_PRIORITY, 0, 5, 1500},
                  {NGHTTP2_PRIORITY_UPDATE, 0, 5, 1500},
                  {99, 0, 30, 1500}};

    (void)state;
    for (size_t i = 0; i < COUNT(floods); i++) {
        talk *t = talk_begin(WIDE);
        unsigned count;
        talk_ask(t, 1, true);
        count = count_until_fed_up(t, floods[i].type, floods[i].flags,
                                   floods[i].type == NGHTTP2_DATA || floods[i].type == NGHTTP2_PRIORITY, floods[i].len);
        assert_in_range(count, floods[i].least, 2 * floods[i].least);
        assert_calm(t);
    }
}

static void frames_of_streams_that_were_reset_are_not_endured(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    talk_ask(t, 1, true);
    talk_frame(t, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
    assert_in_range(count_until_fed_up(t, NGHTTP2_DATA, 0, 1, 3), 0, 2100);
    talk_end(t);
}

/* Ordinary frames, in pieces of any length, are told of. */
static void frames_that_come_in_pieces_cost_nothing_more(void **state)
{
    talk *t = talk_begin(WIDE);
    uint64_t draw = 7;
    int32_t id = talk_ask_with(t, "expect", "100-continue", 0, true);
    char bytes[9 + 200] = {0, 0, (char)200, NGHTTP2_DATA, 0, 0, 0, 0, (char)id};

    (void)state;
    memset(bytes + 9, 'u', 200);
    t->is_quiet = true; /* the client knows nothing of them */
    for (unsigned i = 0; i < 5000; i++) {
        for (size_t at = 0; at < sizeof(bytes);) {
            size_t len = 1 + unit_draw(&draw, 40);
            len = len < sizeof(bytes) - at ? len : sizeof(bytes) - at;
            assert_true(h2_session_receive(t->server, bytes + at, len, t->now_ms));
            at += len;
        }
        h2_exchange_read(talk_at(t, id)->stream->exchange, (char[4096]){0}, 4096, 0);
        h2_stream_take_news(talk_at(t, id)->stream);
        talk_pump(t);
    }
    talk_end(t);
}

/* One field of 3 KiB enters HPACK's table; each byte that follows is that field again. */
static void fields_that_hpack_multiplies_are_not_endured(void **state)
{
    talk *t = talk_begin(WIDE);
    char head[] = {0, 0, 0, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 0, 0, 0, 1};
    char payload[16000];
    const size_t literal = 6 + 3000;

    (void)state;
    memset(payload, '\xbe', sizeof(payload)); /* field 62: the newest of the table */
    memcpy(payload, "\x40\x01x\x7f\xb9\x16", 6);
    memset(payload + 6, 'v', literal - 6);
    head[1] = (char)(sizeof(payload) >> 8);
    head[2] = (char)(sizeof(payload) & 0xff);
    h2_session_receive(t->server, head, sizeof(head), t->now_ms);
    t->good = h2_session_receive(t->server, payload, literal + 1500, t->now_ms);
    assert_true(t->good);
    t->good = h2_session_receive(t->server, payload + literal + 1500, 1000, t->now_ms);
    assert_false(t->good);
    talk_pump(t);
    assert_int_equal(t->goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    talk_end(t);
}

static void rapid_resets_are_not_endured(void **state)
{
    talk *t = talk_begin(WIDE);
    unsigned count = 0;

    (void)state;
    while (t->good && count < TALK_STREAMS - 1) {
        int32_t id = talk_ask_with(t, NULL, NULL, 0, false);
        nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        talk_pump(t);
        count++;
    }
    assert_in_range(count, 150, 300);
    talk_pump(t);
    assert_calm(t);
}

static void malformed_requests_are_not_endured(void **state)
{
    talk *t = talk_begin(WIDE);
    unsigned count;

    (void)state;
    for (count = 0; t->good && count < TALK_STREAMS - 1; count++) {
        talk_ask_with(t, "x y", "z", 0, false);
    }
    assert_in_range(count, 150, 300);
    assert_calm(t);
}

/* A page with a hundred images is left, again and again; other things are loaded meanwhile. */
static void ordinary_browsers_are_endured(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    for (unsigned page = 0; page < 4; page++) {
        uint32_t next = nghttp2_session_get_next_stream_id(t->client);
        for (unsigned i = 0; i < 100; i++) {
            talk_ask(t, 0, false);
        }
        for (unsigned i = 0; i < 100; i++) {
            nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, (int32_t)(next + 2 * i), NGHTTP2_CANCEL);
        }
        talk_pump(t);
        assert_true(t->good);
        advance(t, 10000);
    }
    talk_end(t);
}

static void event_sources_that_come_and_go_are_endured(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        uint32_t next = nghttp2_session_get_next_stream_id(t->client);
        for (unsigned i = 0; i < 20; i++) {
            talk_become_events(talk_ask(t, 0, false));
        }
        talk_pump(t);
        for (unsigned i = 0; i < 20; i++) {
            nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, (int32_t)(next + 2 * i), NGHTTP2_CANCEL);
        }
        talk_pump(t);
        assert_true(t->good);
    }
    talk_end(t);
}

/* 50 MB at once, to a client that says after each 4 KiB that it has read them, of the stream and of the connection. */
static void window_updates_of_a_download_are_endured(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);

    (void)state;
    talk_become_events(at);
    for (unsigned i = 0; i < 50 * 64; i++) {
        assert_true(talk_event(at, 16384));
        talk_pump(t);
        for (unsigned j = 0; j < 4; j++) {
            nghttp2_submit_window_update(t->client, NGHTTP2_FLAG_NONE, 1, 4096);
            nghttp2_submit_window_update(t->client, NGHTTP2_FLAG_NONE, 0, 4096);
            talk_pump(t);
            assert_true(t->good);
        }
    }
    talk_end(t);
}

static void pings_now_and_then_are_endured(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    talk_become_events(talk_ask(t, 0, false));
    for (unsigned i = 0; i < 10000; i++) {
        nghttp2_submit_ping(t->client, NGHTTP2_FLAG_NONE, NULL);
        talk_pump(t);
        assert_true(t->good);
        advance(t, 100);
    }
    assert_int_equal(t->acks, 10000);
    talk_end(t);
}

/* --- memory --- */

static void requests_that_wait_are_bounded(void **state)
{
    talk *t = talk_begin(WIDE);
    size_t run = 0, most = 0;

    (void)state;
    t->wants = true; /* of everything */
    for (unsigned i = 0; i < 90; i++) {
        talk_ask(t, 1 << 20, true);
        most = h2_session_kind_held(t->kind) > most ? h2_session_kind_held(t->kind) : most;
    }
    for (unsigned i = 0; i < 90; i++) {
        assert_int_equal(t->streams[i].code, NEVER);
        run += t->streams[i].runs;
    }
    assert_in_range(most, 2 << 20, 6 << 20);
    assert_in_range(run, 80, 89); /* there is no memory to wait for theirs */
    talk_end(t);
}

static void head_without_memory_for_it_is_refused(void **state)
{
    talk *t = talk_begin(WIDE);
    nghttp2_nv fields[11] = {TALK_FIELD(":method", "GET"), TALK_FIELD(":scheme", "https"),
                             TALK_FIELD(":authority", "example.com"), TALK_FIELD(":path", "/")};
    char value[8000];
    unsigned refused = 0;

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (size_t i = 4; i < COUNT(fields); i++) {
        fields[i] = TALK_FIELD("x", value);
    }
    for (unsigned i = 0; i < H2_STREAMS_MOST; i++) {
        nghttp2_submit_request(t->client, NULL, fields, COUNT(fields), NULL, NULL);
        talk_pump(t);
        assert_true(h2_session_kind_held(t->kind) <= 6 << 20);
    }
    for (unsigned i = 0; i < H2_STREAMS_MOST; i++) {
        talk_stream *at = &t->streams[i];
        assert_int_equal(at->runs, at->code == NEVER);
        assert_true(at->code == NEVER || at->code == NGHTTP2_REFUSED_STREAM);
        refused += at->code != NEVER;
    }
    assert_in_range(refused, 1, 20);
    talk_end(t);
}

/* Heads fill the memory; then a frame of a body comes in two pieces, of which the first finds no place. */
static void body_with_a_hole_is_not_run(void **state)
{
    talk *t = talk_begin(WIDE);
    nghttp2_nv fields[11] = {TALK_FIELD(":method", "GET"), TALK_FIELD(":scheme", "https"),
                             TALK_FIELD(":authority", "example.com"), TALK_FIELD(":path", "/")};
    char value[8000], bytes[9 + 16000] = {0, 0x3e, 0x80, NGHTTP2_DATA, 0, 0, 0, 0, 1};
    talk_stream *at;
    h2_exchange *x;

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (size_t i = 4; i < COUNT(fields); i++) {
        fields[i] = TALK_FIELD("x", value);
    }
    at = talk_at(t, talk_ask_with(t, "expect", "100-continue", 0, true));
    x = h2_exchange_hold(at->stream->exchange);
    for (size_t count = COUNT(fields); count > 4; count -= count > 5 ? 6 : 1) {
        size_t before = 0;
        while (before != h2_session_kind_held(t->kind)) {
            before = h2_session_kind_held(t->kind);
            nghttp2_submit_request(t->client, NULL, fields, count, NULL, NULL);
            talk_pump(t);
        }
    }
    while (h2_session_kind_held(t->kind) + 1000 < 6 << 20) {
        talk_frame(t, NGHTTP2_DATA, 0, 1, value, 60);
    }
    assert_int_equal(at->closed, 0);
    assert_true(h2_session_receive(t->server, bytes, 9 + 15000, t->now_ms));
    assert_true(h2_exchange_aborted(x));
    assert_true(h2_session_receive(t->server, bytes + 9 + 15000, 1000, t->now_ms));
    assert_int_equal(h2_exchange_body_waiting(x), 0);
    talk_pump(t);
    assert_int_equal(at->code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(at->closed, 1);
    h2_exchange_release(x);
    talk_end(t);
}

/* The connection's window is no narrower than a stream's. */
static void upload_is_not_slowed_by_the_connection(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    assert_int_equal(nghttp2_session_get_remote_window_size(t->client), 1 << 20);
    talk_ask(t, 1000, true);
    talk_end(t);
}

static void uploads_within_their_windows_are_not_reset(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at[H2_STREAMS_MOST];

    (void)state;
    for (size_t i = 0; i < COUNT(at); i++) {
        at[i] = talk_ask(t, 1 << 20, false);
        assert_int_equal(at[i]->runs, 1);
        char byte;
        assert_int_equal(h2_exchange_read(at[i]->stream->exchange, &byte, 1, 0), 1);
        while (h2_exchange_body_waiting(at[i]->stream->exchange) > 8 << 10) {
            h2_exchange_read(at[i]->stream->exchange, (char[4096]){0}, 4096, 0);
        }
        h2_stream_take_news(at[i]->stream);
        talk_pump(t);
    }
    for (size_t i = 0; i < COUNT(at); i++) {
        assert_int_equal(at[i]->code, NEVER);
    }
    talk_end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preface_and_first_head_have_a_deadline),
        cmocka_unit_test(head_that_does_not_come_has_a_deadline),
        cmocka_unit_test(body_that_does_not_come_has_a_deadline),
        cmocka_unit_test(slow_body_is_not_cut),
        cmocka_unit_test(byte_now_and_then_is_too_slow),
        cmocka_unit_test(body_that_waits_for_its_runner_has_no_deadline),
        cmocka_unit_test(idle_connection_has_a_deadline),
        cmocka_unit_test(floods_are_not_endured),
        cmocka_unit_test(frames_of_streams_that_were_reset_are_not_endured),
        cmocka_unit_test(frames_that_come_in_pieces_cost_nothing_more),
        cmocka_unit_test(fields_that_hpack_multiplies_are_not_endured),
        cmocka_unit_test(rapid_resets_are_not_endured),
        cmocka_unit_test(malformed_requests_are_not_endured),
        cmocka_unit_test(ordinary_browsers_are_endured),
        cmocka_unit_test(event_sources_that_come_and_go_are_endured),
        cmocka_unit_test(window_updates_of_a_download_are_endured),
        cmocka_unit_test(pings_now_and_then_are_endured),
        cmocka_unit_test(requests_that_wait_are_bounded),
        cmocka_unit_test(head_without_memory_for_it_is_refused),
        cmocka_unit_test(body_with_a_hole_is_not_run),
        cmocka_unit_test(upload_is_not_slowed_by_the_connection),
        cmocka_unit_test(uploads_within_their_windows_are_not_reset),
    };

    return cmocka_run_group_tests_name("h2_bounds", tests, NULL, NULL);
}
