/* test_legacy.c - tokens of the older dialects: the claim `mercure` with selectors (PROTOCOL 10), with targets
 * (PROTOCOL 11), or with both; and that none of it is there where no older dialect is accepted.
 */
#include "mercure/limits.h"
#include "mercure/token.h"
#include "mercure/update.h"

#include "token_maker.h"

#define NOW      INT64_C(1700000000)
#define ISS      "https://issuer.example"
#define AUDIENCE "https://hub.example/.well-known/mercure"
#define SECRET   "0123456789abcdef0123456789abcdef"
#define JWT      "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

#define OFF     0u
#define SEL     MERCURE_DIALECT_8
#define TARGETS MERCURE_DIALECT_TARGETS
#define BOTH    (MERCURE_DIALECT_8 | MERCURE_DIALECT_TARGETS)

static apr_pool_t *pool;
static mercure_error err;
static mercure_key *key;

/* ---- making and verifying ---- */

static mercure_status verify(const char *header, const char *payload, const char *iss, unsigned dialects,
                             mercure_grants **result)
{
    maker_signer signer = {&maker_algorithms[MERCURE_HS256], S(SECRET), NULL, 0, false};
    mercure_issuer issuer = {iss, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(MERCURE_HS256), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, dialects};
    char *token = maker_token(&signer, header, payload), *copy = unit_exact(mercure_str_of(token));
    mercure_grants *grants = NULL;

    err.reason[0] = '\0';
    mercure_status status =
        mercure_token_verify((mercure_str){copy, strlen(token)}, &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err);
    free(token);
    free(copy);
    assert_int_equal(status == MERCURE_OK, grants != NULL);
    assert_true(status == MERCURE_OK || err.reason[0] != '\0');
    if (result != NULL) {
        *result = grants;
    } else {
        mercure_grants_release(grants);
    }
    return status;
}

static mercure_grants *granted(const char *claims, unsigned dialects)
{
    mercure_grants *grants;

    if (verify(JWT, claims, "*", dialects, &grants) != MERCURE_OK) {
        fail_msg("%s: %s", claims, err.reason);
    }
    return grants;
}

static void assert_refused(const char *header, const char *claims, const char *iss, unsigned dialects, const char *word)
{
    if (verify(header, claims, iss, dialects, NULL) != MERCURE_INVALID) {
        fail_msg("%s %s is not refused", header, claims);
    }
    if (strstr(err.reason, word) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.reason, word);
    }
}

/* ---- asking: lists are written "a b"; "" is none ---- */

static size_t split(const char *list, mercure_str *strings)
{
    size_t count = 0;

    while (*list != '\0') {
        size_t len = strcspn(list, " ");
        strings[count++] = (mercure_str){list, len};
        list += len + (list[len] == ' ');
    }
    return count;
}

static bool publishes_privately;

static bool may_publish(const mercure_grants *grants, const char *topics, const char *targets)
{
    mercure_str texts[8], to[8];
    mercure_topic asked[8];
    size_t count = split(topics, texts), target_count = split(targets, to);

    for (size_t i = 0; i < count; i++) {
        asked[i] = mercure_topic_of(pool, texts[i]);
    }
    return mercure_grants_may_publish(grants, publishes_privately, asked, count, to, target_count);
}

/* A private update; with targets it is one of PROTOCOL 11. */
static bool may_read(const mercure_grants *grants, const char *topics, const char *targets)
{
    mercure_str texts[8], to[8];
    mercure_update update = {.topics = texts, .id = S("1"), .is_private = true, .targets = to};
    mercure_record record;

    update.topic_count = split(topics, texts);
    update.target_count = split(targets, to);
    assert_int_equal(mercure_record_parse(mercure_update_encode(pool, &update), &record, NULL), MERCURE_OK);
    return mercure_grants_may_read(grants, &record, mercure_record_topics(pool, &record));
}

/* ---- the demands on a token ---- */

static void an_older_token_needs_an_older_dialect(void **state)
{
    static const char *const headers[] = {JWT, "{\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"typ\":\"jwt\"}",
                                          "{\"alg\":\"HS256\",\"typ\":\"\"}", "{\"alg\":\"HS256\",\"typ\":7}"};
    static const unsigned dialects[] = {SEL, TARGETS, BOTH};

    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        assert_refused(headers[i], "{\"mercure\":{\"publish\":[\"*\"]}}", "*", OFF, "access token's is at+jwt");
        assert_refused(headers[i], "{\"mercure\":{\"publish\":[\"*\"]}}", ISS, OFF, "access token's is at+jwt");
        for (size_t j = 0; j < COUNT(dialects); j++) {
            assert_int_equal(verify(headers[i], "{\"mercure\":{\"publish\":[\"*\"]}}", "*", dialects[j], NULL),
                             MERCURE_OK);
        }
    }
}

static void an_access_token_keeps_all_its_demands_and_its_own_claims(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}",
                                          "{\"alg\":\"HS256\",\"typ\":\"Application/AT+JWT\"}"};
    static const char *const claims = "\"mercure\":{\"publish\":[\"*\"],\"subscribe\":[\"*\"]}";
    mercure_grants *grants;
    char text[512];

    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        snprintf(text, sizeof(text), "{%s}", claims);
        assert_refused(headers[i], text, ISS, BOTH, "no MercureIssuer of that name");
        snprintf(text, sizeof(text), "{\"iss\":\"" ISS "\",\"exp\":1700000060,%s}", claims);
        assert_refused(headers[i], text, ISS, BOTH, "aud");
        snprintf(text, sizeof(text), "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",%s}", claims);
        assert_refused(headers[i], text, ISS, BOTH, "no exp");
        snprintf(text, sizeof(text), "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060,%s}", claims);
        assert_refused(headers[i], text, "*", BOTH, "no MercureIssuer of that name"); /* `*` is for older tokens */
        assert_int_equal(verify(headers[i], text, ISS, BOTH, &grants), MERCURE_OK);
        assert_false(may_publish(grants, "a", "")); /* what counts are its authorization_details */
        assert_false(may_publish(grants, "a", "t"));
        assert_false(may_read(grants, "a", ""));
        mercure_grants_release(grants);
    }
    snprintf(text, sizeof(text), "{\"iss\":\"*\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060}");
    assert_refused(headers[0], text, "*", BOTH, "no MercureIssuer of that name");
}

static void an_access_token_holds_no_targets(void **state)
{
    mercure_grants *grants;

    (void)state;
    assert_int_equal(verify("{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}",
                            "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060,"
                            "\"authorization_details\":[{\"type\":\"https://mercure.rocks/authorization-detail\","
                            "\"actions\":[\"publish\",\"subscribe\"],\"topics\":[{\"match\":\"*\"}]}]}",
                            ISS, BOTH, &grants),
                     MERCURE_OK);
    assert_true(may_publish(grants, "a", ""));
    assert_true(may_read(grants, "a", ""));
    assert_false(may_publish(grants, "a", "t"));
    assert_false(may_read(grants, "a", "t"));
    mercure_grants_release(grants);
}

static void an_issuer_is_named_or_any(void **state)
{
    static const char *const none = "{\"mercure\":{}}", *const ours = "{\"iss\":\"" ISS "\",\"mercure\":{}}",
                             *const other = "{\"iss\":\"https://other.example\",\"mercure\":{}}",
                             *const odd = "{\"iss\":7,\"mercure\":{}}";

    (void)state;
    assert_int_equal(verify(JWT, none, "*", SEL, NULL), MERCURE_OK);
    assert_int_equal(verify(JWT, ours, "*", SEL, NULL), MERCURE_OK);
    assert_int_equal(verify(JWT, other, "*", SEL, NULL), MERCURE_OK);
    assert_int_equal(verify(JWT, odd, "*", SEL, NULL), MERCURE_OK);
    assert_int_equal(verify(JWT, ours, ISS, SEL, NULL), MERCURE_OK);
    assert_refused(JWT, none, ISS, SEL, "iss is (none)");
    assert_refused(JWT, other, ISS, SEL, "iss is https://other.example");
    assert_refused(JWT, odd, ISS, SEL, "iss is (none)");
}

static void the_signature_is_verified_as_ever(void **state)
{
    maker_signer signer = {&maker_algorithms[MERCURE_HS256], S("another secret that is long enough."), NULL, 0, false};
    mercure_issuer issuer = {"*", MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(MERCURE_HS256), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, BOTH};
    char *token = maker_token(&signer, JWT, "{\"mercure\":{\"publish\":[\"*\"]}}");
    mercure_grants *grants = NULL;

    (void)state;
    assert_int_equal(mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err),
                     MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "does not verify"));
    free(token);
    assert_refused("{\"alg\":\"none\",\"typ\":\"JWT\"}", "{}", "*", BOTH, "alg is none");
    assert_refused("{\"alg\":\"HS512\",\"typ\":\"JWT\"}", "{}", "*", BOTH, "alg is not among those");
    assert_refused("{\"alg\":\"HS256\",\"typ\":\"JWT\",\"crit\":[]}", "{}", "*", BOTH, "crit");
    issuer.roles = MERCURE_ROLE_SUBSCRIBER;
    signer.secret = S(SECRET);
    token = maker_token(&signer, JWT, "{\"mercure\":{\"publish\":[\"*\"]}}");
    assert_int_equal(mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err),
                     MERCURE_INVALID);
    free(token);
}

static void exp_and_nbf_are_kept_when_they_are_there(void **state)
{
    mercure_grants *grants = granted("{\"mercure\":{}}", SEL);

    (void)state;
    assert_true(mercure_grants_expires(grants) == INT64_MAX);
    mercure_grants_release(grants);
    grants = granted("{\"exp\":1700000001,\"nbf\":1700000030,\"mercure\":{}}", SEL);
    assert_true(mercure_grants_expires(grants) == 1700000001);
    mercure_grants_release(grants);
    assert_refused(JWT, "{\"exp\":1700000000,\"mercure\":{}}", "*", SEL, "expired");
    assert_refused(JWT, "{\"exp\":\"1700000060\",\"mercure\":{}}", "*", SEL, "exp");
    assert_refused(JWT, "{\"exp\":null,\"mercure\":{}}", "*", SEL, "exp");
    assert_refused(JWT, "{\"nbf\":1700000031,\"mercure\":{}}", "*", SEL, "nbf");
    assert_refused(JWT, "{\"nbf\":\"0\",\"mercure\":{}}", "*", SEL, "nbf");
}

/* ---- the claims ---- */

static void malformed_claims_make_the_token_invalid(void **state)
{
    static const struct {
        const char *claims, *word;
    } cases[] = {
        {"{\"mercure\":[]}", "mercure claim is no object"},
        {"{\"mercure\":\"*\"}", "mercure claim is no object"},
        {"{\"mercure\":true}", "mercure claim is no object"},
        {"{\"https://mercure.rocks/\":[\"*\"]}", "mercure claim is no object"},
        {"{\"mercure\":{\"publish\":\"*\"}}", "mercure.publish is no array"},
        {"{\"mercure\":{\"publish\":{}}}", "mercure.publish is no array"},
        {"{\"mercure\":{\"publish\":true}}", "mercure.publish is no array"},
        {"{\"mercure\":{\"subscribe\":\"a\"}}", "mercure.subscribe is no array"},
        {"{\"mercure\":{\"publish\":[1]}}", "mercure.publish holds what is no string"},
        {"{\"mercure\":{\"publish\":[\"a\",null]}}", "mercure.publish holds what is no string"},
        {"{\"mercure\":{\"subscribe\":[[\"a\"]]}}", "mercure.subscribe holds what is no string"},
    };
    static const unsigned dialects[] = {SEL, TARGETS, BOTH};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t j = 0; j < COUNT(dialects); j++) {
            assert_refused(JWT, cases[i].claims, "*", dialects[j], cases[i].word);
        }
    }
    assert_refused(JWT, "{\"mercure\":{\"publish\":[\"\"]}}", "*", SEL, "empty");
    assert_refused(JWT, "{\"mercure\":{\"publish\":[\"a\\n\"]}}", "*", SEL, "matcher");
    assert_refused(JWT, "{\"mercure\":{\"publish\":[\"a\\u0000\"]}}", "*", BOTH, "payload is not a JSON object");
}

static void absent_null_and_empty_grant_nothing(void **state)
{
    static const char *const claims[] = {"{}",
                                         "{\"mercure\":null}",
                                         "{\"mercure\":{}}",
                                         "{\"mercure\":{\"publish\":null,\"subscribe\":null}}",
                                         "{\"https://mercure.rocks/\":null}",
                                         "{\"Mercure\":{\"publish\":[\"*\"],\"subscribe\":[\"*\"]}}"};
    static const unsigned dialects[] = {SEL, TARGETS, BOTH};

    (void)state;
    for (size_t i = 0; i < COUNT(claims); i++) {
        for (size_t j = 0; j < COUNT(dialects); j++) {
            mercure_grants *grants = granted(claims[i], dialects[j]);
            assert_false(may_publish(grants, "a", ""));
            assert_false(may_publish(grants, "a", "t"));
            assert_false(may_read(grants, "a", ""));
            assert_false(may_read(grants, "a", "t"));
            mercure_grants_release(grants);
        }
    }
}

static void the_namespaced_claim_goes_before_the_short_one(void **state)
{
    mercure_grants *grants = granted("{\"https://mercure.rocks/\":{\"publish\":[\"a\"]}}", SEL);

    (void)state;
    assert_true(may_publish(grants, "a", ""));
    mercure_grants_release(grants);
    grants = granted("{\"mercure\":{\"publish\":[\"b\"]},\"https://mercure.rocks/\":{\"publish\":[\"a\"]}}", SEL);
    assert_true(may_publish(grants, "a", ""));
    assert_false(may_publish(grants, "b", ""));
    mercure_grants_release(grants);
    grants = granted("{\"mercure\":{\"publish\":[\"b\"]},\"https://mercure.rocks/\":null}", SEL); /* as if absent */
    assert_true(may_publish(grants, "b", ""));
    mercure_grants_release(grants);
}

/* {"mercure":{"<name>":["s0", "s1", ...]}} with `count` selectors */
static char *many(const char *name, int count)
{
    char *text = malloc((size_t)count * 8 + 100), *at = text;

    at += sprintf(at, "{\"mercure\":{\"%s\":[", name);
    for (int i = 0; i < count; i++) {
        at += sprintf(at, "%s\"s%d\"", i > 0 ? "," : "", i);
    }
    sprintf(at, "]}}");
    return text;
}

static void a_token_has_1000_selectors_of_a_kind_at_most(void **state)
{
    static const unsigned dialects[] = {SEL, TARGETS, BOTH};

    (void)state;
    for (size_t i = 0; i < COUNT(dialects); i++) {
        char *good = many("publish", MERCURE_MAX_SELECTORS), *bad = many("subscribe", MERCURE_MAX_SELECTORS + 1);
        mercure_grants *grants = granted(good, dialects[i]);
        assert_true(may_publish(grants, "s0 s999", dialects[i] == SEL ? "" : "s0 s999"));
        mercure_grants_release(grants);
        assert_refused(JWT, bad, "*", dialects[i], "at most 1000");
        free(good);
        free(bad);
    }
}

static void a_selector_has_4096_bytes_at_most(void **state)
{
    char text[5000];

    (void)state;
    for (int len = MERCURE_MAX_VALUE; len <= MERCURE_MAX_VALUE + 1; len++) {
        snprintf(text, sizeof(text), "{\"mercure\":{\"publish\":[\"%0*d\"]}}", len, 0);
        assert_int_equal(verify(JWT, text, "*", SEL, NULL), len == MERCURE_MAX_VALUE ? MERCURE_OK : MERCURE_INVALID);
    }
}

/* ---- who may do what ---- */

typedef struct {
    const char *array;   /* of mercure.publish, or of mercure.subscribe; NULL: absent */
    const char *topics;  /* of the update */
    const char *targets; /* of the update; "": none */
    bool with_8, with_targets, with_both;
} permission;

static void check(const char *name, const permission *p,
                  bool (*may)(const mercure_grants *, const char *, const char *))
{
    const struct {
        unsigned dialects;
        bool allowed;
    } columns[] = {{SEL, p->with_8}, {TARGETS, p->with_targets}, {BOTH, p->with_both}};
    char claims[256] = "{\"mercure\":{}}";

    if (p->array != NULL) {
        snprintf(claims, sizeof(claims), "{\"mercure\":{\"%s\":%s}}", name, p->array);
    }
    for (size_t i = 0; i < COUNT(columns); i++) {
        mercure_grants *grants = granted(claims, columns[i].dialects);
        if (may(grants, p->topics, p->targets) != columns[i].allowed) {
            fail_msg("%s, dialects %u, topics %s, targets %s: not %s", claims, columns[i].dialects, p->topics,
                     p->targets, columns[i].allowed ? "allowed" : "refused");
        }
        mercure_grants_release(grants);
    }
}

static void who_may_publish(void **state)
{
    static const permission table[] = {
        /* without targets: selectors, but with targets alone the array's presence is enough */
        {NULL, "a", "", false, false, false},
        {"[]", "a", "", false, true, false},
        {"[\"a\"]", "a", "", true, true, true},
        {"[\"a\"]", "b", "", false, true, false},
        {"[\"a\"]", "a b", "", false, true, false},
        {"[\"a\",\"b\"]", "a b", "", true, true, true},
        {"[\"*\"]", "a b", "", true, true, true},
        {"[\"/{id}\"]", "/1", "", true, true, true},
        {"[\"/{id}\"]", "/{id}", "", true, true, true}, /* the very same selector */
        {"[\"/{id}\"]", "/1/2", "", false, true, false},
        {"[\"{x\"]", "{x", "", true, true, true}, /* no template, just a topic */
        /* with targets: all of them. With 8 alone the field is not read, so no target gets here. */
        {NULL, "a", "t", false, false, false},
        {"[]", "a", "t", false, false, false},
        {"[\"t\"]", "a", "t", false, true, true},
        {"[\"t\"]", "a", "u", false, false, false},
        {"[\"t\"]", "a", "t u", false, false, false},
        {"[\"t\",\"u\"]", "a", "t u", false, true, true},
        {"[\"u\",\"t\"]", "a", "t", false, true, true},
        {"[\"*\"]", "a", "t u", false, true, true},
        {"[\"*\",\"t\"]", "a", "u", false, true, true},
        {"[\"a\"]", "a", "t", false, false, false},      /* its topic is no target */
        {"[\"/{id}\"]", "a", "/1", false, false, false}, /* targets are no templates */
        {"[\"/{id}\"]", "a", "/{id}", false, true, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        check("publish", &table[i], may_publish);
    }
}

static void who_may_read(void **state)
{
    static const permission table[] = {
        /* private, without targets: by selectors, which targets alone does not know */
        {NULL, "a", "", false, false, false},
        {"[]", "a", "", false, false, false},
        {"[\"a\"]", "a", "", true, false, true},
        {"[\"a\"]", "b a", "", true, false, true}, /* any topic */
        {"[\"a\"]", "b", "", false, false, false},
        {"[\"*\"]", "b", "", true, false, true},
        {"[\"/{id}\"]", "/7", "", true, false, true},
        {"[\"/{id}\"]", "/{id}", "", true, false, true},
        /* with targets: one of them, whatever the topics are */
        {NULL, "a", "t", false, false, false},
        {"[]", "a", "t", false, false, false},
        {"[\"t\"]", "a", "t", false, true, true},
        {"[\"t\"]", "a", "u t", false, true, true},
        {"[\"t\"]", "a", "u v", false, false, false},
        {"[\"t\"]", "a", "tt", false, false, false},
        {"[\"tt\"]", "a", "t", false, false, false},
        {"[\"*\"]", "a", "t", false, true, true},
        {"[\"a\"]", "a", "t", false, false, false}, /* also with 8: its topic is not enough */
        {"[\"a\",\"t\"]", "a", "t", false, true, true},
        {"[\"t\"]", "a", "*", false, false, false}, /* a star holds every target, and is not held by any */
        {"[\"/{id}\"]", "a", "/1", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        check("subscribe", &table[i], may_read);
    }
}

static void one_array_does_not_serve_the_other(void **state)
{
    mercure_grants *grants = granted("{\"mercure\":{\"publish\":[\"*\"]}}", BOTH);

    (void)state;
    assert_false(may_read(grants, "a", ""));
    assert_false(may_read(grants, "a", "t"));
    mercure_grants_release(grants);
    grants = granted("{\"mercure\":{\"subscribe\":[\"*\"]}}", BOTH);
    assert_false(may_publish(grants, "a", ""));
    assert_false(may_publish(grants, "a", "t"));
    mercure_grants_release(grants);
    grants = granted("{\"mercure\":{\"subscribe\":[\"*\"]}}", TARGETS);
    assert_false(may_publish(grants, "a", ""));
    mercure_grants_release(grants);
}

static void nobody_reads_targets_without_a_token(void **state)
{
    (void)state;
    assert_false(may_read(NULL, "a", "t"));
    assert_false(may_read(NULL, "a", "*"));
    assert_false(may_read(NULL, "a", ""));
}

static void a_token_looks_older_by_its_claims(void **state)
{
    maker_signer signer = {&maker_algorithms[MERCURE_HS256], S(SECRET), NULL, 0, false};
    const struct {
        const char *claims;
        bool older;
    } cases[] = {
        {"{\"mercure\":{}}", true},
        {"{\"https://mercure.rocks/\":1}", true},
        {"{\"authorization_details\":[]}", false},
        {"{}", false},
        {"[]", false},
        {"no json", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *token = maker_token(&signer, JWT, cases[i].claims);
        assert_int_equal(mercure_token_is_legacy(mercure_str_of(token)), cases[i].older);
        free(token);
    }
    assert_false(mercure_token_is_legacy(S("")));
    assert_false(mercure_token_is_legacy(S("a.b")));
    assert_false(mercure_token_is_legacy(S("...")));
}

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    return mercure_key_make(S(SECRET), MERCURE_ALGORITHM_BIT(MERCURE_HS256), &key, NULL) == MERCURE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mercure_key_free(key);
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static void an_empty_array_with_targets_alone_is_for_public_updates(void **state)
{
    mercure_grants *empty = granted("{\"mercure\":{\"publish\":[]}}", TARGETS);
    mercure_grants *some = granted("{\"mercure\":{\"publish\":[\"t\"]}}", TARGETS);

    (void)state;
    assert_true(may_publish(empty, "a", ""));
    publishes_privately = true;
    assert_false(may_publish(empty, "a", ""));
    assert_true(may_publish(some, "a", ""));
    publishes_privately = false;
    mercure_grants_release(empty);
    mercure_grants_release(some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_array_with_targets_alone_is_for_public_updates),
        cmocka_unit_test(an_older_token_needs_an_older_dialect),
        cmocka_unit_test(an_access_token_keeps_all_its_demands_and_its_own_claims),
        cmocka_unit_test(an_access_token_holds_no_targets),
        cmocka_unit_test(an_issuer_is_named_or_any),
        cmocka_unit_test(the_signature_is_verified_as_ever),
        cmocka_unit_test(exp_and_nbf_are_kept_when_they_are_there),
        cmocka_unit_test(malformed_claims_make_the_token_invalid),
        cmocka_unit_test(absent_null_and_empty_grant_nothing),
        cmocka_unit_test(the_namespaced_claim_goes_before_the_short_one),
        cmocka_unit_test(a_token_has_1000_selectors_of_a_kind_at_most),
        cmocka_unit_test(a_selector_has_4096_bytes_at_most),
        cmocka_unit_test(who_may_publish),
        cmocka_unit_test(who_may_read),
        cmocka_unit_test(one_array_does_not_serve_the_other),
        cmocka_unit_test(nobody_reads_targets_without_a_token),
        cmocka_unit_test(a_token_looks_older_by_its_claims),
    };

    return cmocka_run_group_tests_name("legacy", tests, setup, teardown);
}
