/* test_h2_session.c - a session of HTTP/2 against nghttp2's client, in memory and with a clock of our own: when
 * requests are run, what the client gets, windows, and ends. test_h2_bounds.c has deadlines, patience and memory.
 */
#include "h2_talk.h"

#define WIDE (1 << 20) /* a window that does not matter */

/* --- requests --- */

static void request_without_body_is_run_at_once(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);
    const h2_head *head;

    (void)state;
    assert_int_equal(at->runs, 1);
    head = h2_exchange_head(at->stream->exchange);
    assert_false(h2_exchange_has_body(at->stream->exchange));
    assert_string_equal(h2_head_method(head), "GET");
    assert_string_equal(h2_head_authority(head), "example.com");
    assert_string_equal(h2_head_path(head), "/a?b");
    talk_respond(at, 204, 0, true);
    talk_pump(t);
    assert_int_equal(at->status, 204);
    assert_true(at->ended);
    assert_int_equal(at->code, 0);
    assert_int_equal(at->closed, 1);
    talk_end(t);
}

static void small_body_is_complete_before_it_is_run(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 1000, true);
    char into[2000];

    (void)state;
    assert_int_equal(at->runs, 0);
    talk_upload_more(t, at, 500, false);
    assert_int_equal(at->runs, 1);
    assert_int_equal(h2_exchange_body_waiting(at->stream->exchange), 1500);
    assert_true(h2_session_kind_held(t->kind) >= 1500);
    while (h2_exchange_read(at->stream->exchange, into, sizeof(into), 0) > 0) {
    }
    h2_stream_take_news(at->stream);
    assert_true(h2_session_kind_held(t->kind) < 1500);
    talk_respond(at, 200, 10, true);
    talk_pump(t);
    assert_int_equal(at->body, 10);
    assert_int_equal(at->code, 0);
    talk_end(t);
}

static void large_body_is_run_when_a_part_is_here(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 15000, true);

    (void)state;
    assert_int_equal(at->runs, 0);
    talk_upload_more(t, at, 2000, true);
    assert_int_equal(at->runs, 1);
    talk_end(t);
}

static void unread_body_is_bounded_by_its_window(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 1 << 20, false);
    size_t waiting, total = 0;

    (void)state;
    waiting = h2_exchange_body_waiting(at->stream->exchange);
    assert_true(waiting >= 16 << 10 && waiting <= 64 << 10);
    while (at->upload > 0 || h2_exchange_body_waiting(at->stream->exchange) > 0) {
        total += talk_read_body(t, at);
        assert_true(h2_exchange_body_waiting(at->stream->exchange) <= 256 << 10);
    }
    assert_int_equal(total, 1 << 20);
    talk_respond(at, 200, 0, true);
    talk_pump(t);
    assert_int_equal(at->code, 0);
    talk_end(t);
}

static void owner_may_want_the_whole_body(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at;

    (void)state;
    t->wants = true;
    at = talk_ask(t, 200000, true);
    assert_int_equal(at->runs, 0);
    assert_int_equal(at->upload, 0);
    talk_upload_more(t, at, 1, false);
    assert_int_equal(at->runs, 1);
    assert_int_equal(h2_exchange_body_waiting(at->stream->exchange), 200001);
    assert_int_equal(talk_read_body(t, at), 200001);
    talk_end(t);
}

/* What was let come before it was run is not counted twice, nor forgotten, when more comes. */
static void body_goes_on_after_the_owner_wanted_some(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at;
    size_t total = 0;

    (void)state;
    t->wants = true;
    at = talk_ask(t, 200000, true);
    t->wants = false;
    talk_upload_more(t, at, 1 << 20, false);
    assert_int_equal(at->runs, 1);
    assert_in_range(h2_exchange_body_waiting(at->stream->exchange), 200000, 200000 + (48 << 10));
    for (unsigned i = 0; i < 100; i++) {
        total += talk_read_body(t, at);
        assert_true(h2_exchange_body_waiting(at->stream->exchange) <= 256 << 10);
    }
    assert_int_equal(total, 200000 + (1 << 20));
    talk_end(t);
}

static void expect_is_run_before_its_body(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_at(t, talk_ask_with(t, "expect", "100-continue", 0, true));

    (void)state;
    assert_int_equal(at->runs, 1);
    talk_respond(at, 100, 0, false);
    talk_pump(t);
    assert_int_equal(at->status, 100);
    talk_upload_more(t, at, 5, false);
    assert_int_equal(talk_read_body(t, at), 5);
    talk_respond(at, 201, 0, true);
    talk_pump(t);
    assert_int_equal(at->status, 201);
    assert_int_equal(at->code, 0);
    talk_end(t);
}

static void refused_head_is_run_to_be_answered(void **state)
{
    talk *t = talk_begin(WIDE);
    char value[9000];
    talk_stream *at;

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    at = talk_at(t, talk_ask_with(t, "x", value, 0, true));
    assert_int_equal(at->runs, 1);
    assert_int_equal(h2_head_refused(h2_exchange_head(at->stream->exchange)), 431);
    talk_end(t);
}

static void malformed_field_is_a_reset(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_at(t, talk_ask_with(t, "x y", "z", 0, false));

    (void)state;
    assert_int_equal(at->runs, 0);
    assert_int_equal(at->code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(at->closed, 1);
    talk_end(t);
}

static void rest_of_a_body_is_not_wanted_after_the_response(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 20000, true);

    (void)state;
    talk_respond(at, 413, 5, true);
    talk_pump(t);
    assert_int_equal(at->status, 413);
    assert_true(at->ended);
    assert_int_equal(at->code, NGHTTP2_NO_ERROR);
    assert_int_equal(at->closed, 1);
    talk_end(t);
}

/* --- responses --- */

static void response_that_fails_is_a_reset(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *cut = talk_ask(t, 0, false), *silent = talk_ask(t, 0, false);

    (void)state;
    talk_respond(cut, 200, 100, false);
    h2_exchange_fail(cut->stream->exchange, NGHTTP2_CANCEL);
    h2_exchange_finish(cut->stream->exchange);
    assert_true(h2_stream_take_news(cut->stream));
    h2_exchange_finish(silent->stream->exchange);
    assert_true(h2_stream_take_news(silent->stream));
    talk_pump(t);
    assert_false(cut->ended);
    assert_int_equal(cut->code, NGHTTP2_CANCEL);
    assert_int_equal(silent->code, NGHTTP2_INTERNAL_ERROR);
    talk_end(t);
}

/* A runner that gave up waiting for room has not sent all, whatever it says afterwards. */
static void response_that_was_given_up_does_not_end_well(void **state)
{
    talk *t = talk_begin(10);
    talk_stream *at = talk_ask(t, 0, false);
    char bytes[1024] = "";

    (void)state;
    talk_respond(at, 200, H2_RESPONSE_PENDING, false);
    assert_false(h2_exchange_write(at->stream->exchange, bytes, sizeof(bytes), 1));
    h2_exchange_end(at->stream->exchange);
    h2_exchange_finish(at->stream->exchange);
    h2_stream_take_news(at->stream);
    nghttp2_session_set_local_window_size(t->client, NGHTTP2_FLAG_NONE, 1, WIDE);
    talk_pump(t);
    assert_false(at->ended);
    assert_int_equal(at->code, NGHTTP2_CANCEL);
    talk_end(t);
}

/* Many streams with much to send, and wide windows: no more is written than there is room for. */
static void all_that_is_sent_has_room(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at[20];

    (void)state;
    for (size_t i = 0; i < COUNT(at); i++) {
        at[i] = talk_ask(t, 0, false);
    }
    for (size_t i = 0; i < COUNT(at); i++) {
        talk_respond(at[i], 200, 60000, true);
    }
    t->room = 3 * H2_FRAME_MOST + 100;
    talk_pump(t);
    for (size_t i = 0; i < COUNT(at); i++) {
        assert_int_equal(at[i]->body, 60000);
        assert_int_equal(at[i]->closed, 1);
    }
    talk_end(t);
}

/* Longer than a frame: it goes on in a CONTINUATION. */
static void response_head_may_be_long(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);
    char value[30000];
    const h2_field fields[] = {{"x", value}};

    (void)state;
    memset(value, '#', sizeof(value) - 1); /* not shorter in Huffman's code */
    value[sizeof(value) - 1] = '\0';
    assert_true(h2_exchange_respond(at->stream->exchange, 200, fields, 1));
    h2_stream_take_news(at->stream);
    assert_true(h2_exchange_write(at->stream->exchange, "abc", 3, 0));
    h2_exchange_end(at->stream->exchange);
    h2_exchange_finish(at->stream->exchange);
    h2_stream_take_news(at->stream);
    talk_pump(t);
    assert_int_equal(at->status, 200);
    assert_int_equal(at->body, 3);
    assert_true(at->ended);
    talk_end(t);
}

static void closed_window_stops_its_stream_only(void **state)
{
    talk *t = talk_begin(1000);
    talk_stream *slow = talk_ask(t, 0, false), *quick = talk_ask(t, 0, false);

    (void)state;
    talk_respond(slow, 200, 5000, true);
    talk_respond(quick, 200, 900, true);
    talk_pump(t);
    assert_int_equal(slow->body, 1000);
    assert_false(slow->ended);
    assert_int_equal(quick->body, 900);
    assert_true(quick->ended);
    assert_false(h2_session_is_over(t->server));
    nghttp2_session_set_local_window_size(t->client, NGHTTP2_FLAG_NONE, 1, 10000);
    talk_pump(t);
    assert_int_equal(slow->body, 5000);
    assert_true(slow->ended);
    talk_end(t);
}

static void streams_take_turns(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *a = talk_ask(t, 0, false), *b = talk_ask(t, 0, false);
    char into[2 * H2_FRAME_MOST + 200];
    ssize_t len;

    (void)state;
    talk_respond(a, 200, 60000, true);
    talk_respond(b, 200, 60000, true);
    len = h2_session_send(t->server, into, sizeof(into), t->now_ms);
    nghttp2_session_mem_recv(t->client, (uint8_t *)into, (size_t)len);
    assert_true(a->body > 0 && b->body > 0);
    talk_end(t);
}

/* --- streams of events --- */

static void events_go_on_without_a_runner(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);

    (void)state;
    talk_become_events(at);
    assert_null(at->stream->exchange);
    talk_pump(t);
    assert_int_equal(at->status, 200);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(talk_event(at, 100));
        talk_pump(t);
        assert_int_equal(at->body, 100 * i);
        assert_int_equal(at->moved, i);
    }
    assert_true(talk_event(at, 7));
    h2_stream_end(at->stream);
    talk_pump(t);
    assert_int_equal(at->body, 307);
    assert_true(at->ended);
    assert_int_equal(at->closed, 1);
    talk_end(t);
}

static void events_hold_nothing_of_their_request(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    for (int i = 0; i < H2_STREAMS_MOST; i++) {
        talk_become_events(talk_ask(t, 0, false));
    }
    assert_int_equal(h2_session_kind_held(t->kind), 0);
    talk_end(t);
}

static void events_end_at_once_when_nothing_waits(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);

    (void)state;
    talk_become_events(at);
    talk_pump(t);
    h2_stream_end(at->stream);
    talk_pump(t);
    assert_true(at->ended);
    assert_int_equal(at->code, 0);
    talk_end(t);
}

static void reset_does_not_send_what_waits(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false);

    (void)state;
    talk_become_events(at);
    talk_pump(t);
    assert_true(talk_event(at, 100));
    h2_stream_reset(at->stream, NGHTTP2_CANCEL);
    assert_int_equal(at->closed, 0); /* not before it is sent */
    h2_stream_reset(at->stream, NGHTTP2_INTERNAL_ERROR);
    assert_true(talk_event(at, 100));
    h2_stream_end(at->stream);
    talk_pump(t);
    assert_int_equal(at->body, 0);
    assert_int_equal(at->code, NGHTTP2_CANCEL);
    assert_int_equal(at->closed, 1);
    talk_end(t);
}

static void client_that_resets_closes_a_stream_once(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *runs = talk_ask(t, 0, false), *events = talk_ask(t, 0, false), *uploads = talk_ask(t, 100, true);
    h2_exchange *x = h2_exchange_hold(runs->stream->exchange);

    (void)state;
    *h2_exchange_tag(x) = runs->stream;
    talk_become_events(events);
    talk_event(events, 100);
    nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, 1, NGHTTP2_CANCEL);
    nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, 3, NGHTTP2_CANCEL);
    nghttp2_submit_rst_stream(t->client, NGHTTP2_FLAG_NONE, 5, NGHTTP2_CANCEL);
    talk_pump(t);
    assert_int_equal(runs->closed, 1);
    assert_int_equal(events->closed, 1);
    assert_int_equal(uploads->closed, 1);
    assert_true(h2_exchange_aborted(x));
    assert_null(*h2_exchange_tag(x));
    assert_int_equal(h2_session_kind_held(t->kind), 0);
    h2_exchange_finish(x);
    assert_true(h2_exchange_take_end(x));
    h2_exchange_release(x);
    talk_end(t);
}

/* It has sent, and is closed before its owner was told: the list of those that moved does not name it any more. */
static void closed_stream_is_not_told_of(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *first = talk_ask(t, 0, false), *second = talk_ask(t, 0, false), *third = talk_ask(t, 0, false);
    talk_stream *all[] = {first, second, third};
    char *into = malloc(4 * H2_FRAME_MOST);

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        talk_become_events(all[i]);
    }
    talk_pump(t);
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_true(talk_event(all[i], 10));
    }
    h2_session_send(t->server, into, 4 * H2_FRAME_MOST, t->now_ms);
    talk_frame(t, NGHTTP2_RST_STREAM, 0, 3, "\0\0\0\x8", 4);
    assert_int_equal(second->closed, 1);
    h2_session_tell_moved(t->server);
    assert_int_equal(first->moved, 1);
    assert_int_equal(second->moved, 0);
    assert_int_equal(third->moved, 1);
    free(into);
    talk_end(t);
}

static void freed_session_closes_all_streams(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    talk_ask(t, 0, false);
    talk_become_events(talk_ask(t, 0, false));
    talk_ask(t, 10, true);
    h2_session_free(t->server);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(t->streams[i].closed, 1);
    }
    t->server = h2_session_create(t->kind, &(h2_session_limits){{0, 0, 0}, 1, 1, 1, 1, 1}, &talk_owner, t, 0);
    talk_end(t);
}

/* --- GOAWAY --- */

static void go_away_lets_open_streams_go_on(void **state)
{
    talk *t = talk_begin(WIDE);
    talk_stream *at = talk_ask(t, 0, false), *late;
    int32_t id;

    (void)state;
    talk_become_events(at);
    talk_pump(t);
    h2_session_go_away(t->server);
    h2_session_go_away(t->server);
    t->is_quiet = true; /* a request that crosses it */
    id = talk_ask_with(t, NULL, NULL, 0, false);
    late = talk_at(t, id);
    t->is_quiet = false;
    assert_int_equal(late->runs, 0);
    assert_false(h2_session_is_over(t->server));
    assert_true(talk_event(at, 10));
    h2_stream_end(at->stream);
    talk_pump(t);
    assert_int_equal(at->body, 10);
    assert_true(at->ended);
    assert_true(h2_session_is_over(t->server));
    talk_end(t);
}

static void idle_session_is_over_after_go_away(void **state)
{
    talk *t = talk_begin(WIDE);

    (void)state;
    assert_false(h2_session_is_over(t->server));
    h2_session_go_away(t->server);
    assert_false(h2_session_is_over(t->server));
    talk_pump(t);
    assert_int_equal(t->goaway, NGHTTP2_NO_ERROR);
    assert_true(h2_session_is_over(t->server));
    talk_end(t);
}

static void no_preface_is_the_end(void **state)
{
    talk *t = talk_begin(WIDE);
    const char *text = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

    (void)state;
    h2_session_free(t->server);
    t->server = h2_session_create(t->kind, &(h2_session_limits){{0, 0, 0}, 1, 1, 1, 1, 1}, &talk_owner, t, 0);
    assert_false(h2_session_receive(t->server, text, strlen(text), 0));
    assert_false(h2_session_receive(t->server, text, strlen(text), 0));
    talk_end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_without_body_is_run_at_once),
        cmocka_unit_test(small_body_is_complete_before_it_is_run),
        cmocka_unit_test(large_body_is_run_when_a_part_is_here),
        cmocka_unit_test(unread_body_is_bounded_by_its_window),
        cmocka_unit_test(owner_may_want_the_whole_body),
        cmocka_unit_test(body_goes_on_after_the_owner_wanted_some),
        cmocka_unit_test(expect_is_run_before_its_body),
        cmocka_unit_test(refused_head_is_run_to_be_answered),
        cmocka_unit_test(malformed_field_is_a_reset),
        cmocka_unit_test(rest_of_a_body_is_not_wanted_after_the_response),
        cmocka_unit_test(response_that_fails_is_a_reset),
        cmocka_unit_test(response_that_was_given_up_does_not_end_well),
        cmocka_unit_test(all_that_is_sent_has_room),
        cmocka_unit_test(response_head_may_be_long),
        cmocka_unit_test(closed_window_stops_its_stream_only),
        cmocka_unit_test(streams_take_turns),
        cmocka_unit_test(events_go_on_without_a_runner),
        cmocka_unit_test(events_hold_nothing_of_their_request),
        cmocka_unit_test(events_end_at_once_when_nothing_waits),
        cmocka_unit_test(reset_does_not_send_what_waits),
        cmocka_unit_test(client_that_resets_closes_a_stream_once),
        cmocka_unit_test(closed_stream_is_not_told_of),
        cmocka_unit_test(freed_session_closes_all_streams),
        cmocka_unit_test(go_away_lets_open_streams_go_on),
        cmocka_unit_test(idle_session_is_over_after_go_away),
        cmocka_unit_test(no_preface_is_the_end),
    };

    return cmocka_run_group_tests_name("h2_session", tests, NULL, NULL);
}
