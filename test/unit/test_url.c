/* test_url.c - the URL parser against the web platform's test data, and what the hub adds to it.
 *
 * The data is read from $MERCURE_WPT or ../shared/wpt (run from the project's root); where it is absent those tests are
 * skipped and say so.
 */
#include "mercure/url.h"

#include <apr_strings.h>
#include <jansson.h>
#include <time.h>

#include "unit_pool.h"
#include "wpt.h"

/* ---- the web platform's data ---- */

/* Cases that cannot pass. One that passes all the same is a failure, so this does not go stale. */
static const struct {
    const char *file;
    const char *input;
    const char *reason;
} exceptions[] = {{NULL, NULL, NULL}};

static const char *exception_reason(const char *file, const char *input)
{
    for (size_t i = 0; exceptions[i].file != NULL; i++) {
        if (strcmp(exceptions[i].file, file) == 0 && strcmp(exceptions[i].input, input) == 0) {
            return exceptions[i].reason;
        }
    }
    return NULL;
}

/* One line of what is wrong, or NULL. */
static const char *differs(json_t *test, const char *member, const char *actual)
{
    json_t *expected = json_object_get(test, member);

    if (expected == NULL || strcmp(json_string_value(expected), actual) == 0) {
        return NULL;
    }
    return apr_psprintf(pool, "%s is '%s', expected '%s'", member, actual, json_string_value(expected));
}

static const char *check_components(json_t *test, const mercure_url *url)
{
    const struct {
        const char *member;
        const char *actual;
    } checks[] = {{"href", mercure_url_serialise(pool, url)},
                  {"origin", mercure_url_origin(pool, url)},
                  {"protocol", mercure_url_protocol(pool, url)},
                  {"username", url->username},
                  {"password", url->password},
                  {"host", mercure_url_host(pool, url)},
                  {"hostname", mercure_url_hostname(pool, url)},
                  {"port", mercure_url_port(pool, url)},
                  {"pathname", url->path},
                  {"search", mercure_url_search(pool, url)},
                  {"hash", mercure_url_hash(pool, url)}};
    mercure_url *again;

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        const char *wrong = differs(test, checks[i].member, checks[i].actual);
        if (wrong != NULL) {
            return wrong;
        }
    }
    if (url->path_len != strlen(url->path)) {
        return "path_len is not the path's length";
    }
    const char *href = checks[0].actual;
    if (mercure_url_parse(pool, href, strlen(href), NULL, &again, NULL) != MERCURE_OK ||
        strcmp(mercure_url_serialise(pool, again), href) != 0) {
        return "href does not parse to itself";
    }
    return NULL;
}

/* The README of the suite: "base" null means none; "failure" must hold for the input as given; and, where no base is
 * given, for any base ("relativeTo" absent) or for a base with an opaque path ("non-opaque-path-base"), while it parses
 * against the bases that "relativeTo" names. */
static const char *check_failure(json_t *test, const mercure_url *base)
{
    static const char opaque_base[] = "about:blank";
    static const char path_base[] = "http://host/dir/file";
    json_t *input = json_object_get(test, "input");
    const char *s = json_string_value(input);
    size_t len = json_string_length(input);
    const char *relative_to = json_string_value(json_object_get(test, "relativeTo"));
    mercure_url *url;
    mercure_url *other;
    mercure_error err = {""};

    if (mercure_url_parse(pool, s, len, base, &url, &err) == MERCURE_OK) {
        return apr_psprintf(pool, "parses to '%s', expected failure", mercure_url_serialise(pool, url));
    }
    if (err.reason[0] == '\0') {
        return "fails without a reason";
    }
    if (!json_is_null(json_object_get(test, "base"))) {
        return NULL;
    }
    assert_int_equal(mercure_url_parse(pool, opaque_base, strlen(opaque_base), NULL, &other, NULL), MERCURE_OK);
    bool parses = mercure_url_parse(pool, s, len, other, &url, NULL) == MERCURE_OK;
    if (parses != (relative_to != NULL && strcmp(relative_to, "any-base") == 0)) {
        return parses ? "parses against about:blank" : "does not parse against about:blank";
    }
    assert_int_equal(mercure_url_parse(pool, path_base, strlen(path_base), NULL, &other, NULL), MERCURE_OK);
    if (relative_to != NULL && mercure_url_parse(pool, s, len, other, &url, NULL) != MERCURE_OK) {
        return "does not parse against a URL with a path";
    }
    return NULL;
}

static const char *check_urltestdata_case(json_t *test)
{
    json_t *input = json_object_get(test, "input");
    json_t *base_value = json_object_get(test, "base");
    bool failure = json_is_true(json_object_get(test, "failure"));
    mercure_url *base = NULL;
    mercure_url *url;
    mercure_error err;

    if (json_is_string(base_value) && mercure_url_parse(pool, json_string_value(base_value),
                                                        json_string_length(base_value), NULL, &base, &err) != 0) {
        return failure ? NULL : apr_psprintf(pool, "the base does not parse: %s", err.reason);
    }
    if (failure) {
        return check_failure(test, base);
    }
    if (mercure_url_parse(pool, json_string_value(input), json_string_length(input), base, &url, &err) != 0) {
        return apr_psprintf(pool, "does not parse: %s", err.reason);
    }
    return check_components(test, url);
}

/* As the suite's toascii test: the input as the host of a URL, in the host and in the href. */
static const char *check_toascii_case(json_t *test)
{
    const char *output = json_string_value(json_object_get(test, "output"));
    const char *href = apr_pstrcat(pool, "https://", json_string_value(json_object_get(test, "input")), "/x", NULL);
    mercure_url *url;

    if (mercure_url_parse(pool, href, strlen(href), NULL, &url, NULL) != MERCURE_OK) {
        return output == NULL ? NULL : apr_psprintf(pool, "is refused, expected '%s'", output);
    }
    if (output == NULL) {
        return apr_psprintf(pool, "gives '%s', expected to be refused", url->host);
    }
    if (strcmp(url->host, output) != 0 || strcmp(url->path, "/x") != 0) {
        return apr_psprintf(pool, "gives '%s', expected '%s'", url->host, output);
    }
    return NULL;
}

static void run_cases(const char *file, const char *name, const char *(*check)(json_t *test))
{
    json_t *cases = wpt_load(pool, file);
    size_t passed = 0;
    size_t total = 0;
    size_t surprises = 0;
    size_t i;
    json_t *test;

    json_array_foreach(cases, i, test)
    {
        if (!json_is_object(test)) {
            continue; /* a comment */
        }
        const char *input = json_string_value(json_object_get(test, "input"));
        const char *wrong = check(test);
        const char *reason = exception_reason(file, input);
        total++;
        passed += wrong == NULL ? 1 : 0;
        if (wrong != NULL && reason == NULL) {
            surprises++;
            printf("%s: '%s': %s\n", name, input, wrong);
        } else if (wrong == NULL && reason != NULL) {
            surprises++;
            printf("%s: '%s' passes, take it off the exceptions\n", name, input);
        }
    }
    printf("%s: %zu of %zu cases pass\n", name, passed, total);
    json_decref(cases);
    assert_int_equal(surprises, 0);
    assert_true(total > 0);
}

static void urltestdata(void **state)
{
    (void)state;
    run_cases("urltestdata.json", "urltestdata", check_urltestdata_case);
}

static void toascii_data(void **state)
{
    (void)state;
    run_cases("toascii.json", "toascii", check_toascii_case);
}

/* ---- our own ---- */

static mercure_url *parse(const char *input, const char *base)
{
    mercure_url *base_url = NULL;
    mercure_url *url;
    mercure_error err;

    if (base != NULL) {
        base_url = parse(base, NULL);
    }
    if (mercure_url_parse(pool, input, strlen(input), base_url, &url, &err) != MERCURE_OK) {
        fail_msg("'%s': %s", input, err.reason);
    }
    return url;
}

static void assert_href(const char *input, const char *base, const char *href)
{
    assert_string_equal(mercure_url_serialise(pool, parse(input, base)), href);
}

static void assert_refused(const char *input, size_t len)
{
    mercure_url *url = NULL;
    mercure_error err = {""};

    assert_int_equal(mercure_url_parse(pool, input, len, NULL, &url, &err), MERCURE_INVALID);
    assert_null(url);
    assert_string_not_equal(err.reason, "");
}

static void assert_host(const char *host, const char *expected)
{
    const char *href = apr_pstrcat(pool, "https://", host, "/", NULL);

    if (expected == NULL) {
        assert_refused(href, strlen(href));
    } else {
        assert_string_equal(parse(href, NULL)->host, expected);
    }
}

static void a_result_does_not_live_in_its_base_or_input(void **state)
{
    apr_pool_t *short_lived;
    char input[] = "x?y";
    mercure_url *url;

    (void)state;
    apr_pool_create(&short_lived, pool);
    mercure_url *base;
    assert_int_equal(mercure_url_parse(short_lived, "foo://u:p@h:1/a/b?q#f", 21, NULL, &base, NULL), MERCURE_OK);
    assert_int_equal(mercure_url_parse(pool, input, 3, base, &url, NULL), MERCURE_OK);
    memset(input, '!', sizeof(input));
    memset((char *)(uintptr_t)base->host, '!', 1);
    memset((char *)(uintptr_t)base->username, '!', 1);
    memset((char *)(uintptr_t)base->path, '!', base->path_len);
    apr_pool_destroy(short_lived);
    assert_string_equal(mercure_url_serialise(pool, url), "foo://u:p@h:1/a/x?y");
}

static void absent_and_empty_components_differ(void **state)
{
    (void)state;
    assert_null(parse("a:b", NULL)->host);
    assert_null(parse("a:b", NULL)->query);
    assert_null(parse("a:b", NULL)->fragment);
    assert_true(parse("a:b", NULL)->has_opaque_path);
    assert_string_equal(parse("a:///b?#", NULL)->host, "");
    assert_string_equal(parse("a:///b?#", NULL)->query, "");
    assert_string_equal(parse("a:///b?#", NULL)->fragment, "");
    assert_false(parse("a:///b?#", NULL)->has_opaque_path);
    assert_int_equal(parse("https://h:443", NULL)->port, -1);
    assert_int_equal(parse("http://h:443", NULL)->port, 443);
    assert_href("a:///b?#", NULL, "a:///b?#");
}

static void a_path_does_not_turn_into_an_authority(void **state)
{
    (void)state;
    assert_href("web+demo:/.//not-a-host/", NULL, "web+demo:/.//not-a-host/");
    assert_string_equal(parse("web+demo:/a/..//x", NULL)->path, "//x");
}

static void special_schemes_and_their_ports(void **state)
{
    (void)state;
    assert_true(mercure_url_scheme_special("wss", 3));
    assert_true(mercure_url_scheme_special("file", 4));
    assert_false(mercure_url_scheme_special("httpsx", 6));
    assert_false(mercure_url_scheme_special("", 0));
    assert_int_equal(mercure_url_scheme_port("ftp", 3), 21);
    assert_int_equal(mercure_url_scheme_port("file", 4), -1);
    assert_int_equal(mercure_url_scheme_port("foo", 3), -1);
}

static void origins(void **state)
{
    (void)state;
    assert_string_equal(mercure_url_origin(pool, parse("https://u:p@h:8443/x", NULL)), "https://h:8443");
    assert_string_equal(mercure_url_origin(pool, parse("blob:https://h:443/x", NULL)), "https://h");
    assert_string_equal(mercure_url_origin(pool, parse("blob:blob:https://h/x", NULL)), "null");
    assert_string_equal(mercure_url_origin(pool, parse("blob:ftp://h/x", NULL)), "null");
    assert_string_equal(mercure_url_origin(pool, parse("file:///x", NULL)), "null");
    assert_string_equal(mercure_url_origin(pool, parse("foo://h/x", NULL)), "null");
}

static void drive_letters(void **state)
{
    (void)state;
    assert_href("/", "file:///C:/a/b", "file:///C:/");
    assert_href("..", "file:///C:/", "file:///C:/");
    assert_href("D|/x", "file:///C:/a/b", "file:///D:/x");
    assert_href("file:c:\\foo\\bar", "file:///D:/", "file:///c:/foo/bar");
    assert_href("//C|/x", "file://host/a", "file:///C:/x");
    assert_href("C|a", "file:///D:/b", "file:///D:/C|a");
    assert_href("file://h/C|/../x", NULL, "file://h/C:/x");
}

static void ipv4_addresses(void **state)
{
    (void)state;
    assert_host("0x7f.1", "127.0.0.1");
    assert_host("017700000001", "127.0.0.1");
    assert_host("4294967295", "255.255.255.255");
    assert_host("4294967296", NULL);
    assert_host("1.2.3.4.", "1.2.3.4");
    assert_host("1.2.3.4..", "1.2.3.4.."); /* the last part is empty, so it is a name */
    assert_host("1.2.3.4.5", NULL);
    assert_host("1.2.3.256", NULL);
    assert_host("1.2.65536", NULL);
    assert_host("1.2.65535", "1.2.255.255");
    assert_host("256.1", NULL);
    assert_host("a.0x", NULL);
    assert_host("a.0xg", "a.0xg");
    assert_host("09", NULL);
    assert_host("0x", "0.0.0.0");
    assert_host("1.", "0.0.0.1");
    assert_host("0xfffffffffffffffffffffffffffffffffffff", NULL);
    assert_host("\xEF\xBC\x91\xEF\xBC\x8E\xEF\xBC\x92", "1.0.0.2"); /* fullwidth 1.2 */
}

static void ipv6_addresses(void **state)
{
    (void)state;
    assert_host("[::]", "[::]");
    assert_host("[1:0:0:2:0:0:0:3]", "[1:0:0:2::3]");
    assert_host("[0:1:0:1:0:1:0:1]", "[0:1:0:1:0:1:0:1]");
    assert_host("[1:0:0:2:3:0:0:4]", "[1::2:3:0:0:4]");
    assert_host("[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:0]");
    assert_host("[::1:2:3:4:5:6:7]", "[0:1:2:3:4:5:6:7]");
    assert_host("[1:2:3:4:5:6:0:0]", "[1:2:3:4:5:6::]");
    assert_host("[::ffff:1.2.3.4]", "[::ffff:102:304]");
    assert_host("[1:2:3:4:5:6:7.8.9.10]", "[1:2:3:4:5:6:708:90a]");
    assert_host("[ABCD::0001]", "[abcd::1]");
    assert_host("[]", NULL);
    assert_host("[", NULL);
    assert_host("[:1]", NULL);
    assert_host("[1:]", NULL);
    assert_host("[::1::]", NULL);
    assert_host("[1:2:3:4:5:6:7]", NULL);
    assert_host("[1:2:3:4:5:6:7:8:9]", NULL);
    assert_host("[1:2:3:4:5:6:7:8::]", NULL);
    assert_host("[12345::]", NULL);
    assert_host("[::1.2.3]", NULL);
    assert_host("[::1.2.3.4.5]", NULL);
    assert_host("[::01.2.3.4]", NULL);
    assert_host("[::1.2.3.256]", NULL);
    assert_host("[::.1.2.3]", NULL);
    assert_host("[1:2:3:4:5:6:7:1.2.3.4]", NULL);
    assert_host("[::1%eth0]", NULL);
    assert_href("foo://[::A]/", NULL, "foo://[::a]/");
}

static void international_domains(void **state)
{
    (void)state;
    assert_host("\xF0\x9F\x92\xA9", "xn--ls8h");                     /* IDNA2008 has no emoji */
    assert_host("-\xC3\xA9-.\xC3\xA9--a", "xn-----bja.xn----a-9la"); /* hyphens anywhere */
    assert_host("e\xCC\x81", "xn--9ca");                             /* NFC */
    assert_host("\xE2\x86\x90\xCC\xB8", "xn--e6g");                  /* NFC of a symbol: U+219A */
    assert_host("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "xn--p39a"); /* NFC of jamo: U+AC01 */
    assert_host("\xC2\xBD", "xn--12-c6t");                           /* mapped to 1, U+2044, 2 */
    assert_host("\xE2\x84\x80", NULL);                               /* mapped to a/c */
    assert_host("\xEF\xBC\x85\x34\x31", NULL);                       /* mapped to %41 */
    assert_host("\xCC\x80"
                "a",
                NULL);                                                    /* a mark at the start */
    assert_host("a\xE2\x80\x8D\xC3\xA9", NULL);                           /* a joiner with nothing to join */
    assert_host("\xE0\xA4\x95\xE0\xA5\x8D\xE2\x80\x8D", "xn--11b6iy14e"); /* a joiner behind a virama */
    assert_host("\xD7\x90"
                "a",
                NULL);                /* both directions in one label */
    assert_host("0a.\xD7\x90", NULL); /* a label that starts neither way */
    assert_host("a0.\xD7\x90", "a0.xn--4db");
    assert_host("a-.\xD7\x90", NULL);
    assert_host("\xD7\x90\xF0\x9F\x92\xA9\xD7\x90", "xn--4dba65119a"); /* a symbol between right-to-left letters */
    assert_host("\xD7\x90\xF0\x9F\x92\xA9", NULL);                     /* but not at the end */
    assert_host("\xD7\x90"
                "0\xD9\xA0",
                NULL);                   /* both kinds of numbers */
    assert_host("xn--a.\xC3\xA9", NULL); /* U+0080 */
    assert_host("xn--a", "xn--a");       /* ASCII alone is not looked at */
    assert_host("xn--.\xC3\xA9", NULL);
    assert_host("xn--abc-.\xC3\xA9", NULL);
    assert_host("XN--9CA.\xC3\xA9", "xn--9ca.xn--9ca");
    assert_host("xn--e-xbb.\xC3\xA9", NULL); /* e, U+0301: not NFC */
    assert_host("\xC2\xAD", NULL);           /* maps to nothing */
    assert_host("\xE3\x80\x82", ".");
    assert_host("a%C3%A9", "xn--a-bga");
    assert_host("a%C3", NULL);
    assert_href("foo://\xC3\xA9%41/", NULL, "foo://%C3%A9%41/");
}

static void long_labels(void **state)
{
    char *host = apr_palloc(pool, 5000);

    (void)state;
    memset(host, 'a', 4000);
    memcpy(host + 4000, "\0", 1);
    assert_host(host, host);
    memcpy(host + 100, "\xC3\xA9", 3);
    assert_int_equal(strncmp(parse(apr_pstrcat(pool, "http://", host, NULL), NULL)->host, "xn--aaaa", 8), 0);
    memcpy(host + 98, "\xE2\x80\x8D\xC3\xA9", 6); /* libidn2 checks the joiner although the label is too long */
    assert_host(host, NULL);
    memset(host, 'a', 4000);
    memcpy(host + 4000, "\xC3\xA9", 3);
    assert_host(host, NULL); /* our limit for labels that are not ASCII */
}

static void ill_formed_utf8_is_a_replacement_character(void **state)
{
    mercure_url *url;
    static const char *const ill_formed[] = {"\x80", "\xC3", "\xE2\x82", "\xF0\x9F\x92", "\xC0", "\xFF"};

    (void)state;
    for (size_t i = 0; i < sizeof(ill_formed) / sizeof(ill_formed[0]); i++) {
        /* An exact copy, so that reading past its end shows. */
        size_t len = strlen("a:/x") + strlen(ill_formed[i]);
        char *input = malloc(len);
        memcpy(input, "a:/x", 4);
        memcpy(input + 4, ill_formed[i], len - 4);
        assert_int_equal(mercure_url_parse(pool, input, len, NULL, &url, NULL), MERCURE_OK);
        free(input);
        assert_string_equal(url->path, "/x%EF%BF%BD");
    }
    assert_string_equal(parse("a:/\xED\xA0\x80", NULL)->path, "/%EF%BF%BD%EF%BF%BD%EF%BF%BD"); /* a surrogate */
    assert_string_equal(parse("a:/\xE0\x80\xAF", NULL)->path, "/%EF%BF%BD%EF%BF%BD%EF%BF%BD"); /* an overlong slash */
    assert_string_equal(parse("a:/\xF4\x90\x80", NULL)->path, "/%EF%BF%BD%EF%BF%BD%EF%BF%BD"); /* above U+10FFFF */
    assert_refused("http://\xFF/", 9);
}

static void nul_bytes_are_characters(void **state)
{
    mercure_url *url;

    (void)state;
    assert_int_equal(mercure_url_parse(pool, "a:/\0b?\0#\0c\0\0", 12, NULL, &url, NULL), MERCURE_OK);
    assert_string_equal(mercure_url_serialise(pool, url), "a:/%00b?%00#%00c");
    assert_refused("http://a\0b/", 11);
    assert_refused("foo://a\0b/", 10);
    assert_refused("\0", 1);
    assert_refused(NULL, 0);
}

static bool addresses(const char *topic, const char *base)
{
    mercure_url *base_url = base != NULL ? parse(base, NULL) : NULL;

    return mercure_url_addresses_path(pool, topic, strlen(topic), base_url, "/.well-known/mercure");
}

static void reserved_topics_are_recognised(void **state)
{
    static const char *const reserved[] = {
        "/.well-known/mercure",
        ".well-known/mercure",
        "/.well-known/mercure/",
        "/.well-known/mercure?x",
        "/.well-known/mercure#x",
        "/.well-known/mercure/subscriptions/exact/x/y",
        "https://x.example/.well-known/%6Dercure/a",
        "https://other.example:8443/.well-known/mercure",
        "//other.example/.well-known/mercure",
        "foo://h/a/../.well-known/mercure/",
        "foo:/.well-known/mercure",
        "foo:a/../.well-known/mercure", /* opaque, but an RFC 3986 reader would get there */
        "file:///.well-known/mercure",
        "/.well-known/mercure/../mercure/x",
        "/%2Ewell-known/mercure",
        "/%2ewell%2Dknown/%6d%65%72%63%75%72%65",
        "/a/%2e%2E/.well-known/mercure",
        "/a/.%2e/.well-known/mercure",
        "/./.well-known/./mercure/.",
        "/.well-known/mercure/x/..",
        "/.well-known/mercure/%2E",
        "\\.well-known\\mercure",
        "https:\\\\x\\.well-known/mercure\\y",
        " /.well-known/\tmer\ncure ",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (!addresses(reserved[i], "https://hub.example/")) {
            fail_msg("'%s' is not taken for reserved", reserved[i]);
        }
    }
    assert_true(addresses("mercure", "https://hub.example/.well-known/x"));
    assert_true(addresses("?x", "https://hub.example/.well-known/mercure"));
}

static void other_topics_are_not_reserved(void **state)
{
    static const char *const free_topics[] = {
        "/.well-known/mercurex",
        "/.well-known/Mercure",
        "/.well-known",
        "/.well-known/mercure/..",
        "/.well-known/mercure/%2e%2e",
        "//.well-known/mercure",
        "/x/.well-known/mercure",
        "/.well-known%2Fmercure", /* a slash is not unreserved */
        "/.well-known/%256Dercure",
        "/.well-known/mercure%2Fx",
        "https://ex ample/.well-known/mercure", /* does not parse */
        "https://h/?/.well-known/mercure",
        "https://h/#/.well-known/mercure",
        "foo:/\\.well-known/mercure", /* not a slash in this scheme */
        "urn:.well-known/mercure",
        "urn:uuid:1",
        "*",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(free_topics) / sizeof(free_topics[0]); i++) {
        if (addresses(free_topics[i], "https://hub.example/")) {
            fail_msg("'%s' is taken for reserved", free_topics[i]);
        }
    }
    assert_false(addresses("/.well-known/mercure", NULL));
    assert_true(addresses("a:/.well-known/mercure", NULL));
    assert_false(mercure_url_addresses_path(pool, "/a", 2, parse("https://h/", NULL), "/a/b"));
}

typedef mercure_status (*canonicaliser)(apr_pool_t *, const char *, size_t, const char **, mercure_error *);

static void assert_canonical(canonicaliser canonicalise, const char *value, const char *expected)
{
    const char *out = NULL;
    mercure_error err = {""};
    mercure_status status = canonicalise(pool, value, strlen(value), &out, &err);

    if (expected == NULL) {
        assert_int_equal(status, MERCURE_INVALID);
        assert_string_not_equal(err.reason, "");
        return;
    }
    if (status != MERCURE_OK) {
        fail_msg("'%s': %s", value, err.reason);
    }
    assert_string_equal(out, expected);
}

static void protocols_usernames_and_passwords(void **state)
{
    (void)state;
    assert_canonical(mercure_url_canonicalise_protocol, "", "");
    assert_canonical(mercure_url_canonicalise_protocol, "HTTPS", "https");
    assert_canonical(mercure_url_canonicalise_protocol, "Foo+b.a-r", "foo+b.a-r");
    assert_canonical(mercure_url_canonicalise_protocol, "caf\xC3\xA9", NULL);
    assert_canonical(mercure_url_canonicalise_protocol, "1a", NULL);
    assert_canonical(mercure_url_canonicalise_protocol, "http:", NULL);
    assert_canonical(mercure_url_canonicalise_username, "", "");
    assert_canonical(mercure_url_canonicalise_username, "caf\xC3\xA9:@/%41\t", "caf%C3%A9%3A%40%2F%41%09");
    assert_canonical(mercure_url_canonicalise_password, "a|b=c\xFF", "a%7Cb%3Dc%EF%BF%BD");
}

static void hostnames(void **state)
{
    (void)state;
    assert_canonical(mercure_url_canonicalise_hostname, "", "");
    assert_canonical(mercure_url_canonicalise_hostname, "EXAMPLE.com", "example.com");
    assert_canonical(mercure_url_canonicalise_hostname, "caf\xC3\xA9.com", "xn--caf-dma.com");
    assert_canonical(mercure_url_canonicalise_hostname, "a\tb", "ab");
    assert_canonical(mercure_url_canonicalise_hostname, "a/b", "a");
    assert_canonical(mercure_url_canonicalise_hostname, "a\\b", "a");
    assert_canonical(mercure_url_canonicalise_hostname, "a?b", "a");
    assert_canonical(mercure_url_canonicalise_hostname, "[::0]", "[::]");
    assert_canonical(mercure_url_canonicalise_hostname, "0x7f.1", "127.0.0.1");
    assert_canonical(mercure_url_canonicalise_hostname, "a:80", NULL);
    assert_canonical(mercure_url_canonicalise_hostname, "/", NULL);
    assert_canonical(mercure_url_canonicalise_hostname, "a b", NULL);
    assert_canonical(mercure_url_canonicalise_hostname, "a%41", "aa");
    assert_canonical(mercure_url_canonicalise_hostname, "a@b", NULL);
    assert_canonical(mercure_url_canonicalise_ipv6_hostname, "", "");
    assert_canonical(mercure_url_canonicalise_ipv6_hostname, "[::AbC", "[::abc");
    assert_canonical(mercure_url_canonicalise_ipv6_hostname, "[::1.2.3.4]", NULL);
    assert_canonical(mercure_url_canonicalise_ipv6_hostname, "[::xyz]", NULL);
}

static void assert_port(const char *value, const char *protocol, const char *expected)
{
    const char *out = NULL;
    mercure_status status = mercure_url_canonicalise_port(pool, value, strlen(value), protocol, &out, NULL);

    assert_int_equal(status, expected != NULL ? MERCURE_OK : MERCURE_INVALID);
    if (expected != NULL) {
        assert_string_equal(out, expected);
    }
}

static void ports(void **state)
{
    (void)state;
    assert_port("", "https", "");
    assert_port("443", "https", "");
    assert_port("443", "http", "443");
    assert_port("443", NULL, "443");
    assert_port("443", "", "443");
    assert_port("0080", "foo", "80");
    assert_port("8\t0", "foo", "80");
    assert_port("80x", "foo", "80");
    assert_port("80/x", "foo", "80");
    assert_port("x80", "foo", NULL);
    assert_port(" 80", "foo", NULL);
    assert_port("65535", "foo", "65535");
    assert_port("65536", "foo", NULL);
    assert_port("99999999999999999999x", "foo", NULL);
}

static void pathnames(void **state)
{
    (void)state;
    assert_canonical(mercure_url_canonicalise_pathname, "", "");
    assert_canonical(mercure_url_canonicalise_pathname, "/a/../b", "/b");
    assert_canonical(mercure_url_canonicalise_pathname, "/a\\b", "/a/b");
    assert_canonical(mercure_url_canonicalise_pathname, "/a?b#c", "/a%3Fb%23c");
    assert_canonical(mercure_url_canonicalise_pathname, "caf\xC3\xA9", "caf%C3%A9");
    assert_canonical(mercure_url_canonicalise_pathname, "a/./b", "a/b");
    assert_canonical(mercure_url_canonicalise_pathname, ".", ".");
    assert_canonical(mercure_url_canonicalise_pathname, "../b", "../b");
    assert_canonical(mercure_url_canonicalise_pathname, "a/../../..", "");
    assert_canonical(mercure_url_canonicalise_pathname, "/{}", "/%7B%7D");
    assert_canonical(mercure_url_canonicalise_opaque_pathname, "", "");
    assert_canonical(mercure_url_canonicalise_opaque_pathname, "a b/../\x01{", "a b/../%01{");
    assert_canonical(mercure_url_canonicalise_opaque_pathname, "a ", "a ");
    assert_canonical(mercure_url_canonicalise_opaque_pathname, "a ?x", "a%20");
    assert_canonical(mercure_url_canonicalise_opaque_pathname, "a#x", "a");
}

static void searches_and_hashes(void **state)
{
    (void)state;
    assert_canonical(mercure_url_canonicalise_search, "", "");
    assert_canonical(mercure_url_canonicalise_search, "q=caf\xC3\xA9'#?", "q=caf%C3%A9%27%23?");
    assert_canonical(mercure_url_canonicalise_search, "?a\nb", "?ab");
    assert_canonical(mercure_url_canonicalise_hash, "", "");
    assert_canonical(mercure_url_canonicalise_hash, "#a `\xC3\xA9", "#a%20%60%C3%A9");
}

/* ---- pathological input ---- */

/* Repeat `unit` behind `prefix` up to `size` bytes, parse it, and return the processor time that took, in seconds. */
static double time_of(const char *prefix, const char *unit, size_t size)
{
    apr_pool_t *scratch;
    mercure_url *base = parse("http://host/dir/file", NULL);
    mercure_url *url;

    apr_pool_create(&scratch, pool);
    size_t prefix_len = strlen(prefix);
    size -= (size - prefix_len) % strlen(unit); /* whole units: half a character would be refused at once */
    char *input = malloc(size);                 /* exact, so that reading past its end shows */
    memcpy(input, prefix, prefix_len);
    for (size_t i = prefix_len; i < size; i++) {
        input[i] = unit[(i - prefix_len) % strlen(unit)];
    }
    clock_t start = clock();
    (void)mercure_url_parse(scratch, input, size, base, &url, NULL);
    (void)mercure_url_addresses_path(scratch, input, size, NULL, "/.well-known/mercure");
    double took = (double)(clock() - start) / CLOCKS_PER_SEC;
    free(input);
    apr_pool_destroy(scratch);
    return took;
}

static void pathological_input_takes_linear_time(void **state)
{
    static const char *const prefixes[] = {"",     "http://",  "http://a/", "http://a?", "foo://",
                                           "foo:", "file:///", "http://a:", "http://["};
    static const char *const units[] = {"@",        "..//",     "[",         "%",         "a@:",
                                        "/.",       "a/../",    "\t",        " ?",        "\\",
                                        "1.",       "a.",       "xn--.",     "%2e%2E/",   "#",
                                        "0",        "f:",       "../",       ":",         "a ",
                                        "\xFF",     "\xC3\xA9", "\xC3\xA9.", "e\xCC\x81", "\xE2\x80\x8D",
                                        "\xD7\x90", "\xD7\x90."};

    (void)state;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        for (size_t j = 0; j < sizeof(units) / sizeof(units[0]); j++) {
            time_of(prefixes[i], units[j], 4096);
            double little = time_of(prefixes[i], units[j], 8 * 1024);
            double much = time_of(prefixes[i], units[j], 64 * 1024);
            /* Eight times the input: 64 times as long if it were quadratic. What takes no time cannot be compared. */
            if (much > 0.1 && much > 24 * little) {
                fail_msg("'%s' and many of '%s': 8 KiB take %g s, 64 KiB %g s", prefixes[i], units[j], little, much);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urltestdata),
        cmocka_unit_test(toascii_data),
        cmocka_unit_test(a_result_does_not_live_in_its_base_or_input),
        cmocka_unit_test(absent_and_empty_components_differ),
        cmocka_unit_test(a_path_does_not_turn_into_an_authority),
        cmocka_unit_test(special_schemes_and_their_ports),
        cmocka_unit_test(origins),
        cmocka_unit_test(drive_letters),
        cmocka_unit_test(ipv4_addresses),
        cmocka_unit_test(ipv6_addresses),
        cmocka_unit_test(international_domains),
        cmocka_unit_test(long_labels),
        cmocka_unit_test(ill_formed_utf8_is_a_replacement_character),
        cmocka_unit_test(nul_bytes_are_characters),
        cmocka_unit_test(reserved_topics_are_recognised),
        cmocka_unit_test(other_topics_are_not_reserved),
        cmocka_unit_test(protocols_usernames_and_passwords),
        cmocka_unit_test(hostnames),
        cmocka_unit_test(ports),
        cmocka_unit_test(pathnames),
        cmocka_unit_test(searches_and_hashes),
        cmocka_unit_test(pathological_input_takes_linear_time),
    };

    return cmocka_run_group_tests_name("url", tests, unit_setup, unit_teardown);
}
