/* test_sse.c - an update as the exact bytes of a Server-Sent Event (PROTOCOL 2). */
#include "mercure/sse.h"

#include "unit.h"

static const mercure_str none = {NULL, 0};

/* Written into exactly as many bytes as were announced, so that one more is seen by AddressSanitizer, one less by the
 * fill.
 */
static void check_event(mercure_str type, mercure_str retry, mercure_str id, mercure_str data, mercure_str expected,
                        int line)
{
    mercure_str topic = S("t");
    mercure_update update = {.topics = &topic, .topic_count = 1, .type = type, .retry = retry, .id = id, .data = data};
    size_t len = mercure_sse_length(&update);
    char *out = malloc(len);

    memset(out, '#', len);
    mercure_sse_write(&update, out);
    unit_check_str((mercure_str){out, len}, expected, __FILE__, line);
    free(out);
}

#define assert_event(type, retry, id, data, literal) check_event(type, retry, id, data, S(literal), __LINE__)
#define assert_data(data, literal)                   check_event(none, none, S("1"), S(data), S("id: 1\n" literal "\n"), __LINE__)

static void id_and_data_are_always_written(void **state)
{
    (void)state;
    assert_event(none, none, S("urn:x"), S("hi"), "id: urn:x\ndata: hi\n\n");
}

static void type_then_retry_then_id_then_data(void **state)
{
    (void)state;
    assert_event(S("add"), S("1500"), S("7"), S("x"), "event: add\nretry: 1500\nid: 7\ndata: x\n\n");
    assert_event(S("add"), none, S("7"), S("x"), "event: add\nid: 7\ndata: x\n\n");
    assert_event(none, S("0"), S("7"), S("x"), "retry: 0\nid: 7\ndata: x\n\n");
    assert_event(S(""), S(""), S("7"), S("x"), "id: 7\ndata: x\n\n");
}

static void empty_data_is_one_empty_line(void **state)
{
    (void)state;
    assert_event(none, none, S("1"), none, "id: 1\ndata: \n\n");
    assert_data("", "data: \n");
}

static void lines_are_split_at_lf_cr_and_crlf(void **state)
{
    (void)state;
    assert_data("a\nb", "data: a\ndata: b\n");
    assert_data("a\rb", "data: a\ndata: b\n");
    assert_data("a\r\nb", "data: a\ndata: b\n");
    assert_data("a\n\rb", "data: a\ndata: \ndata: b\n");
    assert_data("a\r\r\nb", "data: a\ndata: \ndata: b\n");
    assert_data("a\r\n\nb", "data: a\ndata: \ndata: b\n");
    assert_data("a\n\nb\rc\r\nd", "data: a\ndata: \ndata: b\ndata: c\ndata: d\n");
}

static void data_that_ends_in_a_line_break_keeps_it(void **state)
{
    (void)state;
    assert_data("a\n", "data: a\ndata: \n");
    assert_data("a\r", "data: a\ndata: \n");
    assert_data("a\r\n", "data: a\ndata: \n");
    assert_data("\n", "data: \ndata: \n");
    assert_data("\r\n", "data: \ndata: \n");
    assert_data("\n\n", "data: \ndata: \ndata: \n");
    assert_data("\na", "data: \ndata: a\n");
}

static void data_cannot_inject_a_field_or_an_event(void **state)
{
    (void)state;
    assert_data("x\n\nid: 666\nevent: mercure\ndata: y\n\n",
                "data: x\ndata: \ndata: id: 666\ndata: event: mercure\ndata: data: y\ndata: \ndata: \n");
    assert_data("x\r\rretry: 0", "data: x\ndata: \ndata: retry: 0\n");
    assert_data("x\r\n\r\n:", "data: x\ndata: \ndata: :\n");
}

static void other_characters_are_left_as_they_are(void **state)
{
    (void)state;
    assert_data(" a", "data:  a\n"); /* the reader strips one space: ours */
    assert_data("\0\x0B\x0C\xC2\x85\xE2\x80\xA8\xEF\xBB\xBF", "data: \0\x0B\x0C\xC2\x85\xE2\x80\xA8\xEF\xBB\xBF\n");
}

/* What a browser's parser (HTML, 9.2.6) makes of an event's data. */
static mercure_str received(mercure_str event, char *out)
{
    mercure_str data = {out, 0};
    const char *at = event.data, *end = event.data + event.len;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(stop);
        assert_null(memchr(at, '\r', (size_t)(stop - at)));
        if (stop == at) {
            assert_ptr_equal(stop + 1, end); /* one blank line, the last */
        } else if (strncmp(at, "data: ", 6) == 0) {
            memcpy(out + data.len, at + 6, (size_t)(stop - at - 6));
            data.len += (size_t)(stop - at - 6);
            out[data.len++] = '\n';
        } else {
            assert_int_equal(strncmp(at, "id: 1\n", 6), 0);
        }
        at = stop + 1;
    }
    data.len--;
    return data;
}

static void random_data_arrives_with_its_line_breaks_as_lf(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        char data[12], expected[12], parsed[32];
        size_t len = unit_draw(&seed, sizeof(data) + 1), expected_len = 0;
        for (size_t i = 0; i < len; i++) {
            data[i] = "a:\r\n"[unit_draw(&seed, 4)];
        }
        for (size_t i = 0; i < len; i++) {
            if (data[i] == '\n' && i > 0 && data[i - 1] == '\r') {
                continue;
            }
            expected[expected_len++] = data[i] == '\r' ? '\n' : data[i];
        }
        mercure_update update = {.id = S("1"), .data = {data, len}};
        size_t size = mercure_sse_length(&update);
        char *out = malloc(size);
        mercure_sse_write(&update, out);
        assert_same(received((mercure_str){out, size}, parsed), ((mercure_str){expected, expected_len}));
        free(out);
    }
}

static void the_comment_is_a_colon_and_a_newline(void **state)
{
    (void)state;
    assert_string_equal(MERCURE_SSE_COMMENT, ":\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_and_data_are_always_written),
        cmocka_unit_test(type_then_retry_then_id_then_data),
        cmocka_unit_test(empty_data_is_one_empty_line),
        cmocka_unit_test(lines_are_split_at_lf_cr_and_crlf),
        cmocka_unit_test(data_that_ends_in_a_line_break_keeps_it),
        cmocka_unit_test(data_cannot_inject_a_field_or_an_event),
        cmocka_unit_test(other_characters_are_left_as_they_are),
        cmocka_unit_test(random_data_arrives_with_its_line_breaks_as_lf),
        cmocka_unit_test(the_comment_is_a_colon_and_a_newline),
    };

    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
