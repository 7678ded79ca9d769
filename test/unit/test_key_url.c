/* test_key_url.c - where key sets are fetched from: URLs, addresses, Cache-Control. */
#include "mercure/key_url.h"

#include <arpa/inet.h>

#include "unit.h"

#define OUTER  MERCURE_REACH_PUBLIC
#define LOOP   MERCURE_REACH_LOOPBACK
#define WITHIN MERCURE_REACH_PRIVATE

static mercure_error err;

static void urls_that_are_fetched_have_their_reach(void **state)
{
    static const struct {
        const char *url;
        unsigned reach, inner;
    } cases[] = {
        {"https://login.example.com/.well-known/jwks.json", OUTER, OUTER | LOOP | WITHIN},
        {"https://login.example.com", OUTER, OUTER | LOOP | WITHIN},
        {"https://login.example.com:8443/realms/x/certs?version=1", OUTER, OUTER | LOOP | WITHIN},
        {"https://10.0.0.1/", OUTER, OUTER | LOOP | WITHIN},
        {"https://localhost/", OUTER | LOOP, OUTER | LOOP | WITHIN},
        {"https://127.0.0.2:1/", OUTER | LOOP, OUTER | LOOP | WITHIN},
        {"https://[::1]:8443/", OUTER | LOOP, OUTER | LOOP | WITHIN},
        {"https://[2001:db8::1]/", OUTER, OUTER | LOOP | WITHIN},
        {"http://localhost/", LOOP, LOOP},
        {"http://LocalHost:80/x", LOOP, LOOP},
        {"http://127.0.0.1:8080/jwks", LOOP, LOOP},
        {"http://[::1]/jwks", LOOP, LOOP},
        {"https://localhost.example.com/", OUTER, OUTER | LOOP | WITHIN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *copy = unit_exact(mercure_str_of(cases[i].url));
        mercure_str url = {copy, strlen(cases[i].url)};
        unsigned reach = 99;
        if (mercure_key_url_check(url, false, &reach, &err) != MERCURE_OK || reach != cases[i].reach) {
            fail_msg("%s: reach %u, %s", cases[i].url, reach, err.reason);
        }
        if (mercure_key_url_check(url, true, &reach, &err) != MERCURE_OK || reach != cases[i].inner) {
            fail_msg("%s with inner ones: reach %u", cases[i].url, reach);
        }
        free(copy);
    }
}

static void other_urls_are_refused_with_what_to_write(void **state)
{
    static const struct {
        const char *url, *word;
    } cases[] = {
        {"", "such as https://"},
        {"https://", "such as https://"},
        {"https:///path", "such as https://"},
        {"https://:443/", "such as https://"},
        {"HTTPS://example.com/", "such as https://"},
        {"ftp://example.com/", "such as https://"},
        {"file:///etc/passwd", "such as https://"},
        {"//example.com/", "such as https://"},
        {"/etc/keys.json", "such as https://"},
        {"https://example.com/a b", "such as https://"},
        {"https://example.com/\n", "such as https://"},
        {"https://exa\xC3\xA9mple.com/", "such as https://"},
        {"https://example.com\\@127.0.0.1/", "such as https://"},
        {"https://example.com:x/", "such as https://"},
        {"https://example.com:/", "such as https://"},
        {"https://example.com:123456/", "such as https://"},
        {"https://[::1/", "such as https://"},
        {"https://[::1]x/", "such as https://"},
        {"https://[]/", "such as https://"},
        {"https://example.com/#keys", "no fragment"},
        {"http://example.com/", "over https"},
        {"http://10.0.0.1/", "over https"},
        {"http://127.0.0.1.example.com/", "over https"},
        {"http://localhost.example.com/", "over https"},
        {"http://[::2]/", "over https"},
        {"http://[127.0.0.1]/", "over https"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *copy = unit_exact(mercure_str_of(cases[i].url));
        unsigned reach;
        err.reason[0] = '\0';
        if (mercure_key_url_check((mercure_str){copy, strlen(cases[i].url)}, false, &reach, &err) != MERCURE_INVALID ||
            strstr(err.reason, cases[i].word) == NULL) {
            fail_msg("%s: %s", cases[i].url, err.reason);
        }
        free(copy);
    }
}

static void credentials_in_a_url_are_refused_and_not_quoted(void **state)
{
    static const char *const urls[] = {"https://me:hunter2@example.com/jwks", "https://hunter2@example.com",
                                       "http://hunter2:@localhost/", "https://hunter2:1@example.com/"};
    unsigned reach;

    (void)state;
    for (size_t i = 0; i < COUNT(urls); i++) {
        assert_int_equal(mercure_key_url_check(mercure_str_of(urls[i]), true, &reach, &err), MERCURE_INVALID);
        assert_null(strstr(err.reason, "hunter2"));
    }
}

static void a_url_that_is_too_long_is_refused(void **state)
{
    char url[MERCURE_KEY_URL_MAX + 1];
    unsigned reach;

    (void)state;
    memset(url, 'a', sizeof(url));
    memcpy(url, "https://a/", 10);
    assert_int_equal(mercure_key_url_check((mercure_str){url, sizeof(url)}, false, &reach, &err), MERCURE_LIMIT);
    assert_int_equal(mercure_key_url_check((mercure_str){url, sizeof(url) - 1}, false, &reach, &err), MERCURE_OK);
}

static void a_log_shows_no_secret_of_a_url(void **state)
{
    static const char *const cases[][2] = {
        {"https://example.com/keys?key=secret", "https://example.com/keys"},
        {"https://example.com?secret", "https://example.com"},
        {"https://example.com:8443/a/b#secret", "https://example.com:8443/a/b"},
        {"https://u:secret@example.com/keys", "https://example.com/keys"},
        {"https://secret@secret@example.com/keys", "https://example.com/keys"},
        {"http://[::1]:80/x", "http://[::1]:80/x"},
        {"https://example.com/\x1B[0m", "https://example.com/?[0m"},
        {"javascript:secret", "(no URL)"},
    };
    char out[256], small[12];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mercure_key_url_show(mercure_str_of(cases[i][0]), out, sizeof(out));
        assert_null(strstr(out, "secret"));
        assert_string_equal(out, cases[i][1]);
    }
    mercure_key_url_show(S("https://example.com/"), small, sizeof(small));
    assert_string_equal(small, "https://exa");
}

static bool within(const char *text, unsigned reach)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        return mercure_address_within((struct sockaddr *)&four, sizeof(four), reach);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
    return mercure_address_within((struct sockaddr *)&six, sizeof(six), reach);
}

static void addresses_are_within_their_reach_only(void **state)
{
    static const struct {
        const char *address;
        unsigned reach;
    } cases[] = {
        {"8.8.8.8", OUTER},
        {"1.0.0.1", OUTER},
        {"9.255.255.255", OUTER},
        {"10.0.0.0", WITHIN},
        {"10.255.255.255", WITHIN},
        {"11.0.0.0", OUTER},
        {"100.63.255.255", OUTER},
        {"100.64.0.1", WITHIN},
        {"100.127.255.255", WITHIN},
        {"100.128.0.0", OUTER},
        {"126.255.255.255", OUTER},
        {"127.0.0.1", LOOP},
        {"127.255.255.254", LOOP},
        {"128.0.0.1", OUTER},
        {"169.254.169.254", 0},
        {"169.253.1.1", OUTER},
        {"172.15.255.255", OUTER},
        {"172.16.0.1", WITHIN},
        {"172.31.255.255", WITHIN},
        {"172.32.0.0", OUTER},
        {"192.168.1.1", WITHIN},
        {"192.169.0.1", OUTER},
        {"192.0.0.8", 0},
        {"192.0.2.1", 0},
        {"198.18.0.1", 0},
        {"198.19.255.255", 0},
        {"198.20.0.1", OUTER},
        {"198.51.100.7", 0},
        {"203.0.113.7", 0},
        {"0.0.0.0", 0},
        {"0.1.2.3", 0},
        {"224.0.0.1", 0},
        {"239.255.255.255", 0},
        {"240.0.0.1", 0},
        {"255.255.255.255", 0},
        {"2606:4700::1111", OUTER},
        {"2a00:1450::1", OUTER},
        {"::", 0},
        {"::1", LOOP},
        {"::2", 0},
        {"::127.0.0.1", 0},
        {"::ffff:8.8.8.8", OUTER},
        {"::ffff:127.0.0.1", LOOP},
        {"::ffff:10.1.2.3", WITHIN},
        {"::ffff:169.254.169.254", 0},
        {"64:ff9b::8.8.8.8", OUTER},
        {"64:ff9b::10.0.0.1", WITHIN},
        {"64:ff9b::169.254.169.254", 0},
        {"64:ff9b:1::10.0.0.1", 0},
        {"2002:a9fe:a9fe::1", 0},
        {"2002:0a00:0001::1", WITHIN},
        {"2002:7f00:0001::1", LOOP},
        {"2002:0808:0808::1", OUTER},
        {"fc00::1", WITHIN},
        {"fdff::1", WITHIN},
        {"fe80::1", 0},
        {"fec0::1", 0},
        {"ff02::1", 0},
        {"2001::1", 0},
        {"2001:db8::1", 0},
        {"2001:200::1", OUTER},
        {"3fff::1", 0},
        {"4000::1", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (unsigned reach = 0; reach < 8; reach++) {
            if (within(cases[i].address, reach) != ((cases[i].reach & reach) != 0)) {
                fail_msg("%s with reach %u", cases[i].address, reach);
            }
        }
    }
}

static void other_families_and_short_addresses_are_refused(void **state)
{
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};

    (void)state;
    assert_false(mercure_address_within(&other, sizeof(other), 7));
    assert_false(mercure_address_within((struct sockaddr *)&four, sizeof(four) - 1, 7));
}

static void cache_control_says_how_long_an_answer_is_fresh(void **state)
{
    static const struct {
        const char *value;
        unsigned long seconds;
    } cases[] = {
        {"max-age=300", 300},
        {"public, max-age=300", 300},
        {"PUBLIC,MAX-AGE=300 ,must-revalidate\r\n", 300},
        {"max-age=\"300\"", 300},
        {"max-age=0", 0},
        {"no-cache", 0},
        {"no-store", 0},
        {"max-age=300, no-store", 0},
        {"no-cache=\"Set-Cookie\", max-age=300", 0},
        {"max-age=99999999999999999999", 1000000000},
        {"max-age", 7},
        {"max-age=", 7},
        {"max-age=-1", 7},
        {"max-age=1h", 7},
        {"s-maxage=300", 7},
        {"x-max-age=300", 7},
        {"", 7},
        {",,,", 7},
        {"=", 7},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *copy = unit_exact(mercure_str_of(cases[i].value));
        unsigned long seconds = 7;
        mercure_cache_control((mercure_str){copy, strlen(cases[i].value)}, &seconds);
        if (seconds < cases[i].seconds || (seconds > cases[i].seconds && seconds < 1000000000)) {
            fail_msg("%s: %lu", cases[i].value, seconds);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_are_fetched_have_their_reach),
        cmocka_unit_test(other_urls_are_refused_with_what_to_write),
        cmocka_unit_test(credentials_in_a_url_are_refused_and_not_quoted),
        cmocka_unit_test(a_url_that_is_too_long_is_refused),
        cmocka_unit_test(a_log_shows_no_secret_of_a_url),
        cmocka_unit_test(addresses_are_within_their_reach_only),
        cmocka_unit_test(other_families_and_short_addresses_are_refused),
        cmocka_unit_test(cache_control_says_how_long_an_answer_is_fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
