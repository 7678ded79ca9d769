/* test_h2_head.c - the head of a request over HTTP/2: fields as they arrive, what is refused, and with which status. */
#include "../../mod_mercure/h2_head.h"

#include "unit.h"

static const h2_head_limits ordinary = {100, 8190, 8190};

static bool add(h2_head *head, mercure_str name, mercure_str value)
{
    char *name_exact = unit_exact(name), *value_exact = unit_exact(value);
    bool good = h2_head_add(head, name_exact, name.len, value_exact, value.len);

    free(name_exact);
    free(value_exact);
    return good;
}

#define ADD(head, name, value) assert_true(add((head), S(name), S(value)))

/* With everything that a request must have, but Host. */
static h2_head *begin(const h2_head_limits *limits)
{
    h2_head *head = h2_head_create(limits);

    assert_non_null(head);
    ADD(head, ":method", "GET");
    ADD(head, ":scheme", "https");
    ADD(head, ":authority", "example.com");
    ADD(head, ":path", "/a?b=c");
    return head;
}

static void assert_finished(h2_head *head, int refused, int line)
{
    h2_head_finish(head);
    _assert_int_equal((LargestIntegralType)h2_head_refused(head), (LargestIntegralType)refused, __FILE__, line);
    assert_non_null(h2_head_method(head));
    assert_non_null(h2_head_authority(head));
    assert_non_null(h2_head_path(head));
    h2_head_free(head);
}

#define END(head, refused) assert_finished((head), (refused), __LINE__)

static void fields_stay_in_their_order(void **state)
{
    h2_head *head = begin(&ordinary);

    (void)state;
    ADD(head, "accept", "text/event-stream");
    ADD(head, "x", "");
    ADD(head, "accept", "second");
    h2_head_finish(head);
    assert_int_equal(h2_head_refused(head), 0);
    assert_string_equal(h2_head_method(head), "GET");
    assert_string_equal(h2_head_scheme(head), "https");
    assert_string_equal(h2_head_authority(head), "example.com");
    assert_string_equal(h2_head_path(head), "/a?b=c");
    assert_int_equal(h2_head_count(head), 3);
    assert_string_equal(h2_head_field(head, 1).name, "x");
    assert_string_equal(h2_head_field(head, 1).value, "");
    assert_string_equal(h2_head_field(head, 2).value, "second");
    assert_string_equal(h2_head_get(head, "accept"), "text/event-stream");
    assert_null(h2_head_get(head, "accep"));
    assert_null(h2_head_get(head, ":path"));
    h2_head_free(head);
}

static void cookies_become_one_where_the_first_was(void **state)
{
    h2_head *head = begin(&ordinary);

    (void)state;
    ADD(head, "a", "1");
    ADD(head, "cookie", "one=1");
    ADD(head, "b", "2");
    ADD(head, "cookie", "");
    ADD(head, "cookie", "two=2; three=3");
    ADD(head, "c", "3");
    h2_head_finish(head);
    assert_int_equal(h2_head_count(head), 4);
    assert_string_equal(h2_head_field(head, 0).name, "a");
    assert_string_equal(h2_head_field(head, 1).name, "cookie");
    assert_string_equal(h2_head_field(head, 1).value, "one=1; ; two=2; three=3");
    assert_string_equal(h2_head_field(head, 2).name, "b");
    assert_string_equal(h2_head_field(head, 3).name, "c");
    h2_head_free(head);
}

static void host_stands_in_for_authority(void **state)
{
    h2_head *head = h2_head_create(&ordinary);

    (void)state;
    ADD(head, ":method", "GET");
    ADD(head, ":scheme", "HTTPS");
    ADD(head, ":path", "*");
    ADD(head, "host", "example.com:8443");
    h2_head_finish(head);
    assert_int_equal(h2_head_refused(head), 0);
    assert_string_equal(h2_head_authority(head), "example.com:8443");
    assert_int_equal(h2_head_count(head), 0);
    h2_head_free(head);

    head = begin(&ordinary);
    ADD(head, "host", "EXAMPLE.com");
    END(head, 0);
    head = begin(&ordinary);
    ADD(head, "host", "example.org");
    END(head, 400);
    head = begin(&ordinary);
    ADD(head, "host", "example.com");
    ADD(head, "host", "example.com");
    END(head, 400);
}

/* One of the pseudo fields is missing, or has another value. */
static void check_pseudo(const char *name, const char *value, int refused, int line)
{
    static const char *const fields[][2] = {
        {":method", "GET"}, {":scheme", "https"}, {":authority", "example.com"}, {":path", "/"}};
    h2_head *head = h2_head_create(&ordinary);

    for (size_t i = 0; i < COUNT(fields); i++) {
        const char *mine = strcmp(fields[i][0], name) == 0 ? value : fields[i][1];
        if (mine != NULL) {
            assert_true(h2_head_add(head, fields[i][0], strlen(fields[i][0]), mine, strlen(mine)));
        }
    }
    assert_finished(head, refused, line);
}

#define assert_pseudo(name, value, refused) check_pseudo((name), (value), (refused), __LINE__)

static void pseudo_fields_are_checked(void **state)
{
    (void)state;
    assert_pseudo("none", NULL, 0);
    assert_pseudo(":method", NULL, 400);
    assert_pseudo(":scheme", NULL, 400);
    assert_pseudo(":authority", NULL, 400);
    assert_pseudo(":path", NULL, 400);
    assert_pseudo(":method", "CONNECT", 405);
    assert_pseudo(":method", "GET /x HTTP/1.1", 400);
    assert_pseudo(":scheme", "http", 400);
    assert_pseudo(":path", "", 400);
    assert_pseudo(":path", "a", 400);
    assert_pseudo(":path", "http://example.com/", 400);
    assert_pseudo(":path", "/ HTTP/1.1", 400);
    assert_pseudo(":authority", "a b", 400);
}

static void pseudo_field_comes_once_and_is_known(void **state)
{
    h2_head *head = begin(&ordinary);

    (void)state;
    ADD(head, ":path", "/other");
    END(head, 400);
    head = begin(&ordinary);
    ADD(head, ":protocol", "websocket");
    END(head, 400);
    head = begin(&ordinary);
    ADD(head, "", "x");
    END(head, 400);
}

/* What would end a line or a string in HTTP/1.1. */
static void dangerous_characters_are_refused(void **state)
{
    static const mercure_str bad[] = {{"a\r", 2}, {"a\nb", 3}, {"\0", 1}, {"a\r\nx: y", 7}};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        h2_head *head = begin(&ordinary);
        assert_true(add(head, S("x"), bad[i]));
        END(head, 400);
        head = begin(&ordinary);
        assert_true(add(head, bad[i], S("x")));
        END(head, 400);
        head = h2_head_create(&ordinary);
        assert_true(add(head, S(":path"), bad[i]));
        END(head, 400);
    }
}

static void limits_are_kept(void **state)
{
    const h2_head_limits limits = {3, 10, 6};
    h2_head *head = begin(&limits);

    (void)state;
    ADD(head, "abc", "12345"); /* 10 bytes with the colon and the space */
    ADD(head, "a", "");
    ADD(head, "b", "");
    END(head, 0);
    head = begin(&limits);
    ADD(head, "abc", "123456");
    END(head, 431);
    head = begin(&limits);
    ADD(head, "a", "");
    ADD(head, "b", "");
    ADD(head, "c", "");
    ADD(head, "d", "");
    END(head, 431);
    head = h2_head_create(&limits);
    ADD(head, ":path", "/123456");
    END(head, 414);
}

static void joined_cookies_keep_the_limit_of_one_field(void **state)
{
    const h2_head_limits limits = {0, 30, 0};
    h2_head *head = begin(&limits);

    (void)state;
    ADD(head, "cookie", "a=12345678");
    ADD(head, "cookie", "b=1234567");
    END(head, 0);
    head = begin(&limits);
    ADD(head, "cookie", "a=1234567890");
    ADD(head, "cookie", "b=1234567890");
    END(head, 431);
}

/* Without limits of the server's, a head is bounded all the same. */
static void no_head_is_larger_than_64_kib(void **state)
{
    const h2_head_limits none = {0, 0, 0};
    h2_head *head = begin(&none);
    char value[1000];

    (void)state;
    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(h2_head_add(head, "x", 1, value, sizeof(value)));
        assert_true(h2_head_size(head) <= 160 << 10);
    }
    END(head, 431);
    head = begin(&none);
    for (unsigned i = 0; i < 100000; i++) {
        assert_true(h2_head_add(head, "x", 1, "", 0));
    }
    assert_true(h2_head_size(head) <= 1 << 20);
    END(head, 431);
}

static void first_reason_to_refuse_stays(void **state)
{
    h2_head *head = begin(&ordinary);

    (void)state;
    assert_true(add(head, S("x"), S("a\nb")));
    for (unsigned i = 0; i < 300; i++) {
        ADD(head, "y", "z");
    }
    assert_int_equal(h2_head_count(head), 0);
    END(head, 400);
    h2_head_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_stay_in_their_order),
        cmocka_unit_test(cookies_become_one_where_the_first_was),
        cmocka_unit_test(host_stands_in_for_authority),
        cmocka_unit_test(pseudo_fields_are_checked),
        cmocka_unit_test(pseudo_field_comes_once_and_is_known),
        cmocka_unit_test(dangerous_characters_are_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(joined_cookies_keep_the_limit_of_one_field),
        cmocka_unit_test(no_head_is_larger_than_64_kib),
        cmocka_unit_test(first_reason_to_refuse_stays),
    };

    return cmocka_run_group_tests_name("h2_head", tests, NULL, NULL);
}
