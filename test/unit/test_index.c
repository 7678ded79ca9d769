/* test_index.c - the index finds what a plain loop over all matchers finds, and keeps its members straight. */
#include "mercure/hash.h"
#include "mercure/index.h"
#include "mercure/update.h"

#include <time.h>

#include "unit_pool.h"

static mercure_matcher matcher_of(const char *pattern)
{
    mercure_matcher matcher;

    assert_int_equal(mercure_matcher_make(S("exact"), mercure_str_of(pattern), NULL, &matcher, NULL), MERCURE_OK);
    return matcher;
}

static mercure_record record_of(const mercure_str *topics, size_t count)
{
    mercure_update update = {.topics = topics, .topic_count = count, .id = S("1")};
    mercure_record record;

    assert_int_equal(mercure_record_parse(mercure_update_encode(pool, &update), &record, NULL), MERCURE_OK);
    return record;
}

static void match(mercure_index *index, const mercure_record *record,
                  void (*visit)(void *context, mercure_index_entry *entry), void *context)
{
    mercure_index_match(index, mercure_record_topics(pool, record), record->topic_count, visit, context);
}

/* A visitor that marks each entry's members, through their owner (an int to count in). */
static void count_members(void *context, mercure_index_entry *entry)
{
    (void)context;
    for (size_t i = 0; i < entry->count; i++) {
        assert_ptr_equal(entry->members[i]->entry, entry);
        assert_int_equal(entry->members[i]->position, i);
        ++*(int *)entry->members[i]->owner;
    }
}

static void count_visits(void *context, mercure_index_entry *entry)
{
    assert_true(entry->count > 0);
    ++*(int *)context;
}

static int visits(mercure_index *index, const char *topic)
{
    mercure_str one = mercure_str_of(topic);
    mercure_record record = record_of(&one, 1);
    int count = 0;

    match(index, &record, count_visits, &count);
    return count;
}

static void an_empty_index_matches_nothing(void **state)
{
    mercure_index *index = mercure_index_create();
    mercure_matcher a = matcher_of("a"), all = matcher_of("*");
    int count = 0;

    (void)state;
    assert_non_null(index);
    assert_int_equal(mercure_index_size(index), 0);
    assert_int_equal(visits(index, "a"), 0);
    assert_null(mercure_index_find(index, &a.key));
    assert_null(mercure_index_find(index, &all.key));
    mercure_index_each(index, count_visits, &count);
    assert_int_equal(count, 0);
    mercure_index_destroy(index);
    mercure_index_destroy(NULL);
}

static void an_exact_matcher_and_a_star_are_found(void **state)
{
    mercure_index *index = mercure_index_create();
    mercure_matcher a = matcher_of("a"), all = matcher_of("*");
    mercure_index_member first = {NULL, 0, NULL}, second = {NULL, 0, NULL};

    (void)state;
    assert_true(mercure_index_add(index, &a, &first));
    assert_int_equal(visits(index, "a"), 1);
    assert_int_equal(visits(index, "ab"), 0);
    assert_int_equal(visits(index, "*"), 0);
    assert_true(mercure_index_add(index, &all, &second));
    assert_int_equal(visits(index, "a"), 2);
    assert_int_equal(visits(index, "other"), 1);
    assert_int_equal(mercure_index_size(index), 2);
    assert_ptr_equal(mercure_index_find(index, &a.key), first.entry);
    assert_ptr_equal(mercure_index_find(index, &all.key), second.entry);
    mercure_index_remove(index, &second);
    assert_int_equal(visits(index, "other"), 0);
    assert_null(mercure_index_find(index, &all.key));
    mercure_index_remove(index, &first);
    assert_int_equal(mercure_index_size(index), 0);
    assert_int_equal(visits(index, "a"), 0);
    mercure_index_destroy(index);
}

static void equal_matchers_share_one_entry(void **state)
{
    mercure_index *index = mercure_index_create();
    char one[] = "a", other[] = "a";
    mercure_matcher first_matcher = matcher_of(one), second_matcher = matcher_of(other);
    mercure_index_member first = {NULL, 0, NULL}, second = {NULL, 0, NULL};

    (void)state;
    assert_true(mercure_index_add(index, &first_matcher, &first));
    first.entry->phase = 7;
    assert_true(mercure_index_add(index, &second_matcher, &second));
    assert_ptr_equal(first.entry, second.entry);
    assert_int_equal(second.entry->phase, 7);
    assert_int_equal(first.entry->count, 2);
    assert_int_equal(mercure_index_size(index), 1);
    assert_int_equal(visits(index, "a"), 1);
    mercure_index_remove(index, &first);
    assert_int_equal(mercure_index_size(index), 1);
    assert_int_equal(visits(index, "a"), 1);
    mercure_index_remove(index, &second);
    assert_int_equal(mercure_index_size(index), 0);
    assert_true(mercure_index_add(index, &first_matcher, &first));
    assert_int_equal(first.entry->phase, 0); /* a new entry */
    mercure_index_remove(index, &first);
    mercure_index_destroy(index);
}

static void the_pattern_is_copied(void **state)
{
    mercure_index *index = mercure_index_create();
    char *text = unit_exact(S("topic"));
    mercure_matcher borrowed = {.key = {MERCURE_MATCH_EXACT, {text, 5}, S("")}}, same = matcher_of("topic");
    mercure_index_member member = {NULL, 0, NULL};

    (void)state;
    assert_true(mercure_index_add(index, &borrowed, &member));
    memset(text, '#', 5);
    free(text);
    assert_ptr_equal(mercure_index_find(index, &same.key), member.entry);
    assert_str(member.entry->matcher.key.pattern, "topic");
    assert_int_equal(member.entry->matcher.key.kind, MERCURE_MATCH_EXACT);
    assert_int_equal(visits(index, "topic"), 1);
    mercure_index_remove(index, &member);
    mercure_index_destroy(index);
}

static void removing_a_member_leaves_the_others_in_place(void **state)
{
    enum { MEMBERS = 7 };

    (void)state;
    for (size_t removed = 0; removed < MEMBERS; removed++) {
        mercure_index *index = mercure_index_create();
        mercure_matcher a = matcher_of("a");
        mercure_index_member members[MEMBERS];
        int seen[MEMBERS] = {0};
        for (size_t i = 0; i < MEMBERS; i++) {
            members[i] = (mercure_index_member){NULL, 0, &seen[i]};
            assert_true(mercure_index_add(index, &a, &members[i]));
        }
        mercure_index_remove(index, &members[removed]);
        assert_null(members[removed].entry);
        mercure_index_each(index, count_members, NULL);
        for (size_t i = 0; i < MEMBERS; i++) {
            assert_int_equal(seen[i], i == removed ? 0 : 1);
        }
        for (size_t i = 0; i < MEMBERS; i++) {
            mercure_index_remove(index, &members[i]); /* the removed one: in no index, nothing happens */
        }
        assert_int_equal(mercure_index_size(index), 0);
        mercure_index_destroy(index);
    }
}

static void a_repeated_topic_is_found_at_least_once(void **state)
{
    mercure_index *index = mercure_index_create();
    mercure_matcher b = matcher_of("b");
    mercure_index_member member = {NULL, 0, NULL};
    mercure_str topics[] = {S("a"), S("b"), S("c"), S("b")};
    mercure_record record = record_of(topics, COUNT(topics));
    int count = 0;

    (void)state;
    assert_true(mercure_index_add(index, &b, &member));
    match(index, &record, count_visits, &count);
    assert_in_range(count, 1, 2);
    mercure_index_remove(index, &member);
    mercure_index_destroy(index);
}

static void topics_that_share_a_prefix_or_hold_nul_are_kept_apart(void **state)
{
    mercure_index *index = mercure_index_create();
    static const mercure_str patterns[] = {S("a"),     S("a\0"),      S("a\0b"),    S("aa"),
                                           S("a\0\0"), S("abcdefgh"), S("abcdefg"), S("abcdefghi")};
    mercure_index_member members[COUNT(patterns)];
    int seen[COUNT(patterns)];

    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_matcher matcher = {.key = {MERCURE_MATCH_EXACT, patterns[i], S("")}};
        members[i] = (mercure_index_member){NULL, 0, &seen[i]};
        assert_true(mercure_index_add(index, &matcher, &members[i]));
    }
    assert_int_equal(mercure_index_size(index), COUNT(patterns));
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_record record = record_of(&patterns[i], 1);
        memset(seen, 0, sizeof(seen));
        match(index, &record, count_members, NULL);
        for (size_t j = 0; j < COUNT(patterns); j++) {
            assert_int_equal(seen[j], i == j ? 1 : 0);
        }
    }
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_index_remove(index, &members[i]);
    }
    mercure_index_destroy(index);
}

static mercure_base *base_of(const char *url)
{
    mercure_base *base;

    assert_int_equal(mercure_base_make(pool, mercure_str_of(url), &base, NULL), MERCURE_OK);
    return base;
}

static const char *random_topic(uint64_t *seed)
{
    static const char *const topics[] = {
        "a",
        "b",
        "aa",
        "abc",
        "/a",
        "/a/b",
        "/b/b",
        "books/1",
        "/books/1?x=1",
        "https:a",
        "https://x/1",
        "https://x/1/2",
        "https://x/1/2/3",
        "https://y/1#f",
        "https://x.example/a/b",
        "https://one.example/a/b",
        "HTTPS://ONE.example/a/../b/b",
        "http://one.example/a",
        "urn:isbn:1",
        "urn:isbn:2",
        "mailto:a@b",
        "https://x/{one}",
        "https://[bad",
        "//one.example/a/b",
        "?x=1",
    };

    return topics[unit_draw(seed, COUNT(topics))];
}

/* A random matcher; its strings are static. Bases: the first, the second or none. */
static mercure_matcher random_matcher(uint64_t *seed, mercure_base *const bases[3])
{
    static const char *const patterns[] = {
        "/a",
        "/a/:b",
        "/:a/b",
        "/:a/:b",
        "/*",
        "books/:id",
        "/books/:id\\?*",
        "https://x/:one",
        "https://x/:one/:two",
        "https://x/:one+",
        "https://x/1{/:two}?",
        "https://*.example/a/b",
        "*://one.example/*",
        "http{s}?://one.example/*",
        "https://:host/a/b",
        "urn\\:isbn\\:*",
        "urn:isbn\\:(\\d)",
        "*:*",
        "*://*/*",
        "https://y/1#*",
        "https://*/(\\d+)/*",
    };
    static const char *const selectors[] = {
        "https://x/{one}",
        "https://x/{one}/{two}",
        "{+any}",
        "/a{/rest*}",
        "urn:isbn:{id}",
        "{scheme}:a",
        "a",
        "{bad",
        "*",
    };
    mercure_base *base = bases[unit_draw(seed, 3)];
    mercure_matcher matcher;

    if (unit_draw(seed, 4) == 0) {
        assert_int_equal(
            mercure_selector_make(mercure_str_of(selectors[unit_draw(seed, COUNT(selectors))]), &matcher, NULL), 0);
        return matcher;
    }
    if (unit_draw(seed, 3) == 0) {
        return matcher_of(unit_draw(seed, 8) == 0 ? "*" : random_topic(seed));
    }
    while (mercure_matcher_make(S("urlpattern"), mercure_str_of(patterns[unit_draw(seed, COUNT(patterns))]), base,
                                &matcher, NULL) != MERCURE_OK) {
        base = bases[0]; /* a relative one wants a base */
    }
    return matcher;
}

static void the_index_finds_what_a_loop_over_all_matchers_finds(void **state)
{
    enum { MEMBERS = 60 };
    mercure_index *index = mercure_index_create();
    mercure_index_member members[MEMBERS];
    mercure_matcher matchers[MEMBERS];
    mercure_base *bases[3] = {base_of("https://one.example/hub"), base_of("http://two.example:8080/x/hub"), NULL};
    int seen[MEMBERS], found[5] = {0};
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < MEMBERS; i++) {
        members[i] = (mercure_index_member){NULL, 0, &seen[i]};
    }
    for (int round = 0; round < 20000; round++) {
        size_t one = unit_draw(&seed, MEMBERS);
        if (members[one].entry == NULL) {
            matchers[one] = random_matcher(&seed, bases);
            assert_true(mercure_index_add(index, &matchers[one], &members[one]));
            assert_same(members[one].entry->matcher.key.pattern, matchers[one].key.pattern);
            assert_ptr_equal(mercure_index_find(index, &matchers[one].key), members[one].entry);
        } else {
            mercure_index_remove(index, &members[one]);
            mercure_matcher_release(&matchers[one]);
            assert_null(members[one].entry);
        }
        if (round % 4 != 0) {
            continue;
        }
        mercure_str topics[4];
        size_t count = 1 + unit_draw(&seed, 4), distinct = 0;
        for (size_t i = 0; i < count; i++) {
            topics[i] = mercure_str_of(random_topic(&seed));
        }
        mercure_record record = record_of(topics, count);
        memset(seen, 0, sizeof(seen));
        match(index, &record, count_members, NULL);
        for (size_t i = 0; i < MEMBERS; i++) {
            bool wanted = false, first_of_its_kind = members[i].entry != NULL;
            for (size_t j = 0; j < count && members[i].entry != NULL; j++) {
                mercure_topic topic = mercure_topic_of(pool, topics[j]);
                wanted = wanted || mercure_matcher_matches(&matchers[i], &topic);
            }
            if ((seen[i] > 0) != wanted) {
                fail_msg("%.*s: the index says %d", (int)matchers[i].key.pattern.len, matchers[i].key.pattern.data,
                         seen[i]);
            }
            if (wanted) {
                found[matchers[i].key.kind]++;
            }
            for (size_t j = 0; j < i && first_of_its_kind; j++) {
                first_of_its_kind = members[j].entry != members[i].entry;
            }
            distinct += first_of_its_kind;
        }
        assert_int_equal(mercure_index_size(index), distinct);
        memset(seen, 0, sizeof(seen));
        mercure_index_each(index, count_members, NULL);
        for (size_t i = 0; i < MEMBERS; i++) {
            assert_int_equal(seen[i], members[i].entry != NULL ? 1 : 0);
        }
    }
    for (int kind = MERCURE_MATCH_ALL; kind <= MERCURE_MATCH_URITEMPLATE; kind++) {
        assert_true(found[kind] > 1000);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        if (members[i].entry != NULL) {
            mercure_index_remove(index, &members[i]);
            mercure_matcher_release(&matchers[i]);
        }
    }
    assert_int_equal(mercure_index_size(index), 0);
    mercure_index_destroy(index);
    mercure_base_release(bases[0]);
    mercure_base_release(bases[1]);
    apr_pool_clear(pool);
}

static mercure_matcher pattern_of(const char *text, mercure_base *base)
{
    mercure_matcher matcher;
    mercure_error err;

    if (mercure_matcher_make(S("urlpattern"), mercure_str_of(text), base, &matcher, &err) != MERCURE_OK) {
        fail_msg("%s: %s", text, err.reason);
    }
    return matcher;
}

static void a_thousand_members_with_the_same_pattern_are_one_entry(void **state)
{
    enum { MEMBERS = 1000 };
    mercure_index *index = mercure_index_create();
    mercure_index_member *members = calloc(MEMBERS, sizeof(*members));

    (void)state;
    for (int i = 0; i < MEMBERS; i++) {
        mercure_base *base = base_of("https://example.com/hub"); /* each request has its own */
        mercure_matcher matcher = pattern_of("/books/:id", base);
        assert_true(mercure_index_add(index, &matcher, &members[i]));
        mercure_matcher_release(&matcher);
        mercure_base_release(base);
    }
    assert_int_equal(mercure_index_size(index), 1);
    assert_int_equal(members[0].entry->count, MEMBERS);
    assert_int_equal(visits(index, "/books/1"), 1);
    assert_int_equal(visits(index, "https://example.com/books/1"), 1);
    assert_int_equal(visits(index, "https://example.org/books/1"), 0);
    for (int i = 0; i < MEMBERS; i++) {
        mercure_index_remove(index, &members[i]);
    }
    assert_int_equal(mercure_index_size(index), 0);
    mercure_index_destroy(index);
    free(members);
}

static void a_relative_topic_is_relative_to_each_subscribers_base(void **state)
{
    mercure_index *index = mercure_index_create();
    mercure_base *one = base_of("https://one.example/hub"), *two = base_of("https://two.example/hub");
    mercure_matcher first = pattern_of("/a/*", one), second = pattern_of("/a/*", two);
    mercure_matcher absolute = pattern_of("https://two.example/a/*", one),
                    none = pattern_of("https://two.example/a/*", NULL);
    mercure_index_member members[4] = {{NULL, 0, NULL}};

    (void)state;
    assert_true(mercure_index_add(index, &first, &members[0]));
    assert_true(mercure_index_add(index, &second, &members[1]));
    assert_true(mercure_index_add(index, &absolute, &members[2]));
    assert_true(mercure_index_add(index, &none, &members[3]));
    assert_int_equal(mercure_index_size(index), 4);
    assert_int_equal(visits(index, "/a/1"), 2); /* each in its own world */
    assert_int_equal(visits(index, "https://one.example/a/1"), 1);
    assert_int_equal(visits(index, "https://two.example/a/1"), 3);
    assert_int_equal(visits(index, "//two.example/a/1"), 2);
    for (size_t i = 0; i < 4; i++) {
        mercure_index_remove(index, &members[i]);
    }
    mercure_index_destroy(index);
    mercure_matcher_release(&first);
    mercure_matcher_release(&second);
    mercure_matcher_release(&absolute);
    mercure_matcher_release(&none);
    mercure_base_release(one);
    mercure_base_release(two);
}

static void an_index_takes_patterns_of_64_bases(void **state)
{
    enum { BASES = 66 };
    mercure_index *index = mercure_index_create();
    mercure_index_member members[BASES] = {{NULL, 0, NULL}}, again = {NULL, 0, NULL};

    (void)state;
    for (int i = 0; i < BASES; i++) {
        char url[40];
        snprintf(url, sizeof(url), "https://host%d.example/hub", i);
        mercure_base *base = base_of(url);
        mercure_matcher matcher = pattern_of("/a/:id", base), exact = matcher_of("a");
        assert_int_equal(mercure_index_takes(index, &matcher.key), i < 64);
        assert_int_equal(mercure_index_add(index, &matcher, &members[i]), i < 64);
        assert_true(mercure_index_takes(index, &exact.key));
        mercure_matcher_release(&matcher);
        mercure_base_release(base);
    }
    mercure_base *known = base_of("https://host5.example/hub");
    mercure_matcher other = pattern_of("/b/:id", known);
    assert_true(mercure_index_add(index, &other, &again)); /* another pattern of a base that is there */
    assert_int_equal(visits(index, "/a/1"), 64);
    mercure_index_remove(index, &members[7]);
    mercure_matcher_release(&other);
    mercure_base_release(known);
    known = base_of("https://new.example/hub");
    other = pattern_of("/a/:id", known);
    assert_true(mercure_index_add(index, &other, &members[7])); /* one has gone */
    mercure_matcher_release(&other);
    mercure_base_release(known);
    mercure_index_remove(index, &again);
    for (int i = 0; i < 64; i++) {
        mercure_index_remove(index, &members[i]);
    }
    assert_int_equal(mercure_index_size(index), 0);
    mercure_index_destroy(index);
}

static void a_hundred_thousand_matchers_are_found_without_asking_each(void **state)
{
    enum { MATCHERS = 100000 };
    mercure_index *index = mercure_index_create();
    mercure_index_member *members = calloc(MATCHERS, sizeof(*members));
    int *seen = calloc(MATCHERS, sizeof(*seen));
    char topic[40];

    (void)state;
    for (int i = 0; i < MATCHERS; i++) {
        snprintf(topic, sizeof(topic), "https://example.com/books/%d", i);
        mercure_matcher matcher = matcher_of(topic);
        members[i].owner = &seen[i];
        assert_true(mercure_index_add(index, &matcher, &members[i]));
    }
    assert_int_equal(mercure_index_size(index), MATCHERS);
    clock_t start = clock();
    for (int i = 0; i < MATCHERS; i++) {
        mercure_str one = {topic, (size_t)snprintf(topic, sizeof(topic), "https://example.com/books/%d", i)};
        mercure_record record = record_of(&one, 1);
        match(index, &record, count_members, NULL);
        apr_pool_clear(pool);
    }
    /* Asking each takes 10^10 comparisons: minutes. */
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5);
    for (int i = 0; i < MATCHERS; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(visits(index, "https://example.com/books/100000"), 0);
    for (int i = 0; i < MATCHERS; i += 2) {
        mercure_index_remove(index, &members[i]);
    }
    assert_int_equal(mercure_index_size(index), MATCHERS / 2);
    assert_int_equal(visits(index, "https://example.com/books/2"), 0);
    assert_int_equal(visits(index, "https://example.com/books/3"), 1);
    for (int i = 1; i < MATCHERS; i += 2) {
        mercure_index_remove(index, &members[i]);
    }
    assert_int_equal(mercure_index_size(index), 0);
    mercure_index_destroy(index);
    free(members);
    free(seen);
}

static void one_matcher_may_have_a_hundred_thousand_members(void **state)
{
    enum { MEMBERS = 100000 };
    mercure_index *index = mercure_index_create();
    mercure_index_member *members = calloc(MEMBERS, sizeof(*members));
    int *seen = calloc(MEMBERS, sizeof(*seen));
    mercure_matcher a = matcher_of("a");
    mercure_str topic = S("a");
    mercure_record record = record_of(&topic, 1);

    (void)state;
    for (int i = 0; i < MEMBERS; i++) {
        members[i].owner = &seen[i];
        assert_true(mercure_index_add(index, &a, &members[i]));
    }
    clock_t start = clock();
    for (int i = 0; i < MEMBERS; i++) {
        if (i % 3 != 0) {
            mercure_index_remove(index, &members[i]);
        }
    }
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2); /* O(1) each */
    match(index, &record, count_members, NULL);
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(seen[i], i % 3 == 0 ? 1 : 0);
    }
    for (int i = 0; i < MEMBERS; i += 3) {
        mercure_index_remove(index, &members[i]);
    }
    assert_int_equal(mercure_index_size(index), 0);
    mercure_index_destroy(index);
    free(members);
    free(seen);
}

static void the_hash_depends_on_every_byte_and_on_the_length(void **state)
{
    unsigned char data[40] = {0};

    (void)state;
    for (size_t len = 1; len <= sizeof(data); len++) {
        uint64_t base = mercure_hash64(data, len);
        unsigned char *copy = malloc(len);
        memcpy(copy, data, len);
        assert_true(mercure_hash64(copy, len) == base);
        free(copy);
        assert_true(mercure_hash64(data, len - 1) != base);
        for (size_t at = 0; at < len; at++) {
            data[at] = 1;
            assert_true(mercure_hash64(data, len) != base);
            data[at] = 0;
        }
    }
    apr_ssize_t len = APR_HASH_KEY_STRING, given = 3;
    assert_int_equal(mercure_hash_apr("abc", &len), mercure_hash_apr("abcd", &given));
    assert_int_equal(len, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_index_matches_nothing),
        cmocka_unit_test(an_exact_matcher_and_a_star_are_found),
        cmocka_unit_test(equal_matchers_share_one_entry),
        cmocka_unit_test(the_pattern_is_copied),
        cmocka_unit_test(removing_a_member_leaves_the_others_in_place),
        cmocka_unit_test(a_repeated_topic_is_found_at_least_once),
        cmocka_unit_test(topics_that_share_a_prefix_or_hold_nul_are_kept_apart),
        cmocka_unit_test(the_index_finds_what_a_loop_over_all_matchers_finds),
        cmocka_unit_test(a_thousand_members_with_the_same_pattern_are_one_entry),
        cmocka_unit_test(a_relative_topic_is_relative_to_each_subscribers_base),
        cmocka_unit_test(an_index_takes_patterns_of_64_bases),
        cmocka_unit_test(a_hundred_thousand_matchers_are_found_without_asking_each),
        cmocka_unit_test(one_matcher_may_have_a_hundred_thousand_members),
        cmocka_unit_test(the_hash_depends_on_every_byte_and_on_the_length),
    };

    return cmocka_run_group_tests_name("index", tests, unit_setup, unit_teardown);
}
