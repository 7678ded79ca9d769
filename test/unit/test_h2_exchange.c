/* test_h2_exchange.c - where two threads meet: the runner of a request, and the streamer, which here is the test. */
#include "../../mod_mercure/h2_exchange.h"

#include <pthread.h>
#include <sched.h>

#include "../../mod_mercure/clock.h"
#include "unit.h"

#define LONG_MS 5000 /* no test waits so long */

struct hold_arrival {
    int nothing;
};

/* An exchange, whose news are counted, and its runner. */
typedef struct {
    h2_exchange *x;
    atomic_uint news;
    pthread_t thread;
    ssize_t result; /* the runner's */
} meeting;

static void on_news(void *context, h2_exchange *x)
{
    meeting *m = context;

    assert_ptr_equal(m->x, x);
    atomic_fetch_add(&m->news, 1);
}

static void begin(meeting *m, bool has_body)
{
    h2_head *head = h2_head_create(&(h2_head_limits){0, 0, 0});

    *m = (meeting){.x = h2_exchange_create(head, has_body)};
    assert_non_null(m->x);
    assert_ptr_equal(h2_exchange_head(m->x), head);
    h2_exchange_listen(m->x, (h2_exchange_listener){on_news, m});
}

static void start(meeting *m, void *(*run)(void *))
{
    assert_int_equal(pthread_create(&m->thread, NULL, run, m), 0);
}

static void join(meeting *m)
{
    assert_int_equal(pthread_join(m->thread, NULL), 0);
}

/* Take news and free them; what they said is returned. */
static h2_exchange_news take(meeting *m)
{
    h2_exchange_news news = h2_exchange_take_news(m->x);

    while (news.responses != NULL) {
        h2_response *next = news.responses->next;
        h2_response_free(news.responses);
        news.responses = next;
    }
    return news;
}

/* --- the request's body --- */

static void body_is_read_in_order(void **state)
{
    meeting m;
    char into[4000], sent[3000];
    size_t total = 0;
    uint64_t draw = 1;

    (void)state;
    begin(&m, true);
    for (size_t i = 0; i < sizeof(sent); i++) {
        sent[i] = (char)unit_draw(&draw, 256);
    }
    for (size_t at = 0; at < sizeof(sent);) { /* byte by byte, and in pieces */
        size_t len = at < 1500 ? 1 : 700;
        len = len < sizeof(sent) - at ? len : sizeof(sent) - at;
        char *exact = unit_exact((mercure_str){sent + at, len});
        assert_true(h2_exchange_add_body(m.x, exact, len));
        free(exact);
        at += len;
        if (unit_draw(&draw, 20) == 0) {
            total += (size_t)h2_exchange_read(m.x, into + total, 1 + unit_draw(&draw, 30), 0);
        }
        assert_int_equal(h2_exchange_body_waiting(m.x), at - total);
    }
    h2_exchange_end_body(m.x);
    while (total < sizeof(sent)) {
        total += (size_t)h2_exchange_read(m.x, into + total, 333, 0);
    }
    assert_memory_equal(into, sent, sizeof(sent));
    assert_int_equal(h2_exchange_read(m.x, into, 1, 0), 0);
    assert_int_equal(take(&m).body_read, sizeof(sent));
    assert_int_equal(take(&m).body_read, 0);
    h2_exchange_release(m.x);
}

static void request_without_body_is_at_its_end(void **state)
{
    meeting m;
    char into[1];

    (void)state;
    begin(&m, false);
    assert_false(h2_exchange_has_body(m.x));
    assert_int_equal(h2_exchange_read(m.x, into, 1, LONG_MS), 0);
    h2_exchange_release(m.x);
}

static void read_gives_up_in_time(void **state)
{
    meeting m;
    char into[1];
    uint64_t began = clock_now_ms();

    (void)state;
    begin(&m, true);
    assert_int_equal(h2_exchange_read(m.x, into, 1, 20), -2);
    assert_true(clock_now_ms() - began >= 20);
    assert_int_equal(h2_exchange_read(m.x, into, 1, 0), -2);
    h2_exchange_release(m.x);
}

static void *read_one(void *data)
{
    meeting *m = data;
    char into[100];

    m->result = h2_exchange_read(m->x, into, sizeof(into), LONG_MS);
    return NULL;
}

/* Each time, the runner may wait already, or not yet: both must end. */
static void waiting_read_wakes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        meeting m;
        begin(&m, true);
        start(&m, read_one);
        if (i % 10 == 0) {
            sched_yield();
        }
        switch (i % 3) {
        case 0:
            assert_true(h2_exchange_add_body(m.x, "abc", 3));
            break;
        case 1:
            h2_exchange_end_body(m.x);
            break;
        default:
            h2_exchange_abort(m.x);
        }
        join(&m);
        assert_int_equal(m.result, i % 3 == 0 ? 3 : i % 3 == 1 ? 0 : -1);
        h2_exchange_release(m.x);
    }
}

/* News of reading are told, so that the window is given back, and once until they are taken. */
static void news_are_told_once(void **state)
{
    meeting m;
    char into[100];

    (void)state;
    begin(&m, true);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(h2_exchange_add_body(m.x, "abc", 3));
        assert_int_equal(h2_exchange_read(m.x, into, 100, 0), 3);
        assert_int_equal(m.news, 1);
    }
    assert_int_equal(take(&m).body_read, 9);
    assert_true(h2_exchange_respond(m.x, 200, NULL, 0));
    assert_int_equal(m.news, 2);
    h2_exchange_end(m.x);
    h2_exchange_finish(m.x);
    assert_int_equal(m.news, 2);
    h2_exchange_release(m.x);
}

/* --- the response --- */

static void response_is_copied(void **state)
{
    meeting m;
    char name[] = "x-a", value[] = "one";
    const h2_field fields[] = {{name, value}, {"x-b", ""}};
    h2_exchange_news news;

    (void)state;
    begin(&m, false);
    assert_true(h2_exchange_respond(m.x, 103, NULL, 0));
    assert_true(h2_exchange_respond(m.x, 200, fields, 2));
    memset(name, '#', 3);
    memset(value, '#', 3);
    assert_true(h2_exchange_write(m.x, "body", 4, 0));
    h2_exchange_end(m.x);
    news = h2_exchange_take_news(m.x);
    assert_int_equal(news.responses->status, 103);
    assert_int_equal(news.responses->next->status, 200);
    assert_int_equal(news.responses->next->count, 2);
    assert_string_equal(news.responses->next->fields[0].name, "x-a");
    assert_string_equal(news.responses->next->fields[0].value, "one");
    assert_string_equal(news.responses->next->fields[1].value, "");
    assert_int_equal(news.body.pending, 4);
    assert_memory_equal(news.body.first->at, "body", 4);
    assert_true(news.ended);
    assert_false(news.failed);
    assert_false(news.finished);
    h2_response_free(news.responses->next);
    h2_response_free(news.responses);
    outbox_clear(&news.body);
    assert_false(h2_exchange_respond(m.x, 200, NULL, 0)); /* it has ended */
    h2_exchange_release(m.x);
}

/* Writes 40 pieces. */
static void *write_much(void *data)
{
    meeting *m = data;
    char bytes[8192] = "";

    h2_exchange_respond(m->x, 200, NULL, 0);
    while (m->result < 40 && h2_exchange_write(m->x, bytes, sizeof(bytes), LONG_MS)) {
        m->result++;
    }
    h2_exchange_end(m->x);
    h2_exchange_finish(m->x);
    return NULL;
}

static void runner_is_held_back(void **state)
{
    meeting m;
    size_t total = 0, out = 0;

    (void)state;
    begin(&m, false);
    start(&m, write_much);
    for (;;) {
        h2_exchange_news news = take(&m);
        total += news.body.pending;
        out += news.body.pending;
        assert_true(out <= H2_RESPONSE_PENDING + 8192);
        outbox_clear(&news.body);
        if (news.finished) {
            assert_true(news.ended);
            break;
        }
        if (out >= H2_RESPONSE_PENDING) { /* taken is not yet written */
            h2_exchange_written(m.x, out);
            out = 0;
        }
        sched_yield();
    }
    join(&m);
    assert_int_equal(m.result, 40);
    assert_int_equal(total, 40 * 8192);
    h2_exchange_release(m.x);
}

static void abort_wakes_a_runner_that_is_held_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        meeting m;
        begin(&m, false);
        start(&m, write_much);
        while (i % 2 == 0 && m.news == 0) {
            sched_yield();
        }
        h2_exchange_abort(m.x);
        join(&m);
        assert_true(m.result <= H2_RESPONSE_PENDING / 8192);
        assert_true(h2_exchange_aborted(m.x));
        assert_true(h2_exchange_take_end(m.x));
        h2_exchange_release(m.x);
    }
}

/* Then it has not ended well, whatever the runner says. */
static void write_gives_up_in_time(void **state)
{
    meeting m;
    char bytes[H2_RESPONSE_PENDING] = "";
    h2_exchange_news news;

    (void)state;
    begin(&m, false);
    assert_true(h2_exchange_respond(m.x, 200, NULL, 0));
    assert_true(h2_exchange_write(m.x, bytes, sizeof(bytes), 0));
    assert_false(h2_exchange_write(m.x, bytes, 1, 20));
    assert_true(h2_exchange_aborted(m.x));
    assert_false(h2_exchange_write(m.x, bytes, 1, LONG_MS));
    h2_exchange_end(m.x);
    news = take(&m);
    assert_false(news.ended);
    assert_true(news.failed);
    assert_int_equal(news.reset_code, 8);
    assert_int_equal(news.body.pending, sizeof(bytes));
    outbox_clear(&news.body);
    h2_exchange_release(m.x);
}

static void *write_past_the_bound(void *data)
{
    meeting *m = data;
    char bytes[H2_RESPONSE_PENDING] = "";

    h2_exchange_respond(m->x, 200, NULL, 0);
    while (h2_exchange_write(m->x, bytes, sizeof(bytes), 50)) {
    }
    return NULL;
}

/* A client that takes a byte now and then does not hold a runner. */
static void bytes_now_and_then_are_no_progress(void **state)
{
    meeting m;
    const struct timespec now_and_then = {0, 20 * 1000000};
    uint64_t began = clock_now_ms();

    (void)state;
    begin(&m, false);
    start(&m, write_past_the_bound);
    while (!h2_exchange_aborted(m.x) && clock_now_ms() - began < LONG_MS) {
        h2_exchange_written(m.x, 1);
        nanosleep(&now_and_then, NULL);
    }
    assert_true(h2_exchange_aborted(m.x));
    join(&m);
    h2_exchange_release(m.x);
}

static void failure_is_told_with_its_code(void **state)
{
    meeting m;
    h2_exchange_news news;

    (void)state;
    begin(&m, true);
    assert_true(h2_exchange_add_body(m.x, "abc", 3));
    h2_exchange_fail(m.x, 7);
    h2_exchange_fail(m.x, 2);
    h2_exchange_end(m.x);
    assert_int_equal(m.news, 1);
    news = take(&m);
    assert_true(news.failed);
    assert_false(news.ended);
    assert_int_equal(news.reset_code, 7);
    assert_false(h2_exchange_respond(m.x, 200, NULL, 0));
    h2_exchange_finish(m.x);
    assert_int_equal(m.news, 2);
    assert_int_equal(h2_exchange_body_waiting(m.x), 0);
    assert_true(h2_exchange_add_body(m.x, "abc", 3)); /* nobody wants it */
    assert_int_equal(h2_exchange_body_waiting(m.x), 0);
    assert_true(take(&m).finished);
    h2_exchange_release(m.x);
}

static void stream_of_events_does_not_end_with_its_runner(void **state)
{
    meeting m;
    struct hold_arrival arrival;
    h2_exchange_news news;

    (void)state;
    begin(&m, false);
    assert_null(h2_exchange_arrival(m.x));
    assert_true(h2_exchange_respond(m.x, 200, NULL, 0));
    h2_exchange_become_stream(m.x, &arrival);
    h2_exchange_end(m.x);
    h2_exchange_fail(m.x, 2);
    h2_exchange_finish(m.x);
    news = take(&m);
    assert_true(news.finished);
    assert_false(news.ended);
    assert_false(news.failed);
    assert_ptr_equal(h2_exchange_arrival(m.x), &arrival);
    assert_null(h2_exchange_arrival(m.x));
    h2_exchange_release(m.x);
}

/* The runner lets go of it last, with all that was not taken. */
static void last_to_leave_frees_it(void **state)
{
    meeting m;

    (void)state;
    begin(&m, true);
    assert_true(h2_exchange_add_body(m.x, "abc", 3));
    assert_true(h2_exchange_respond(m.x, 200, NULL, 0));
    assert_true(h2_exchange_write(m.x, "abc", 3, 0));
    h2_exchange_hold(m.x);
    h2_exchange_release(m.x);
    assert_false(h2_exchange_aborted(m.x));
    h2_exchange_release(m.x);
    h2_exchange_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body_is_read_in_order),
        cmocka_unit_test(request_without_body_is_at_its_end),
        cmocka_unit_test(read_gives_up_in_time),
        cmocka_unit_test(waiting_read_wakes),
        cmocka_unit_test(news_are_told_once),
        cmocka_unit_test(response_is_copied),
        cmocka_unit_test(runner_is_held_back),
        cmocka_unit_test(abort_wakes_a_runner_that_is_held_back),
        cmocka_unit_test(write_gives_up_in_time),
        cmocka_unit_test(bytes_now_and_then_are_no_progress),
        cmocka_unit_test(failure_is_told_with_its_code),
        cmocka_unit_test(stream_of_events_does_not_end_with_its_runner),
        cmocka_unit_test(last_to_leave_frees_it),
    };

    return cmocka_run_group_tests_name("h2_exchange", tests, NULL, NULL);
}
