/* test_index.c - the index finds what a plain loop over all matchers finds, and keeps its members straight. */
#include "mercure/hash.h"
#include "mercure/index.h"

#include <time.h>

#include "unit.h"

static apr_pool_t *pool;

static mercure_matcher matcher_of(const char *pattern)
{
    mercure_matcher matcher;

    assert_int_equal(mercure_matcher_make(S("exact"), mercure_str_of(pattern), &matcher, NULL), MERCURE_OK);
    return matcher;
}

static mercure_record record_of(const mercure_str *topics, size_t count)
{
    mercure_update update = {.topics = topics, .topic_count = count, .id = S("1")};
    mercure_record record;

    assert_int_equal(mercure_record_parse(mercure_update_encode(pool, &update), &record, NULL), MERCURE_OK);
    return record;
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

    mercure_index_match(index, &record, count_visits, &count);
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
    assert_null(mercure_index_find(index, &a));
    assert_null(mercure_index_find(index, &all));
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
    assert_ptr_equal(mercure_index_find(index, &a), first.entry);
    assert_ptr_equal(mercure_index_find(index, &all), second.entry);
    mercure_index_remove(index, &second);
    assert_int_equal(visits(index, "other"), 0);
    assert_null(mercure_index_find(index, &all));
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
    mercure_matcher borrowed = {MERCURE_MATCH_EXACT, {text, 5}}, same = matcher_of("topic");
    mercure_index_member member = {NULL, 0, NULL};

    (void)state;
    assert_true(mercure_index_add(index, &borrowed, &member));
    memset(text, '#', 5);
    free(text);
    assert_ptr_equal(mercure_index_find(index, &same), member.entry);
    assert_str(member.entry->matcher.pattern, "topic");
    assert_int_equal(member.entry->matcher.kind, MERCURE_MATCH_EXACT);
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
    mercure_index_match(index, &record, count_visits, &count);
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
        mercure_matcher matcher = {MERCURE_MATCH_EXACT, patterns[i]};
        members[i] = (mercure_index_member){NULL, 0, &seen[i]};
        assert_true(mercure_index_add(index, &matcher, &members[i]));
    }
    assert_int_equal(mercure_index_size(index), COUNT(patterns));
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_record record = record_of(&patterns[i], 1);
        memset(seen, 0, sizeof(seen));
        mercure_index_match(index, &record, count_members, NULL);
        for (size_t j = 0; j < COUNT(patterns); j++) {
            assert_int_equal(seen[j], i == j ? 1 : 0);
        }
    }
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_index_remove(index, &members[i]);
    }
    mercure_index_destroy(index);
}

static const char *random_pattern(uint64_t *seed, bool star)
{
    static const char *const patterns[] = {"*",   "a",           "b",           "ab", "ba", "aa",
                                           "abc", "https://x/1", "https://x/2", "A",  "z"};

    return patterns[star ? unit_draw(seed, COUNT(patterns)) : 1 + unit_draw(seed, COUNT(patterns) - 1)];
}

static void the_index_finds_what_a_loop_over_all_matchers_finds(void **state)
{
    enum { MEMBERS = 40 };
    mercure_index *index = mercure_index_create();
    mercure_index_member members[MEMBERS];
    mercure_matcher matchers[MEMBERS];
    int seen[MEMBERS];
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < MEMBERS; i++) {
        members[i] = (mercure_index_member){NULL, 0, &seen[i]};
    }
    for (int round = 0; round < 20000; round++) {
        size_t one = unit_draw(&seed, MEMBERS);
        if (members[one].entry == NULL) {
            matchers[one] = matcher_of(random_pattern(&seed, true));
            assert_true(mercure_index_add(index, &matchers[one], &members[one]));
            assert_true(mercure_str_equal(members[one].entry->matcher.pattern, matchers[one].pattern));
        } else {
            mercure_index_remove(index, &members[one]);
            assert_null(members[one].entry);
        }
        if (round % 4 != 0) {
            continue;
        }
        mercure_str topics[4];
        size_t count = 1 + unit_draw(&seed, 4), distinct = 0;
        for (size_t i = 0; i < count; i++) {
            topics[i] = mercure_str_of(random_pattern(&seed, false));
        }
        mercure_record record = record_of(topics, count);
        memset(seen, 0, sizeof(seen));
        mercure_index_match(index, &record, count_members, NULL);
        for (size_t i = 0; i < MEMBERS; i++) {
            bool wanted = false, first_of_its_kind = members[i].entry != NULL;
            for (size_t j = 0; j < count && members[i].entry != NULL; j++) {
                wanted = wanted || mercure_matcher_matches(&matchers[i], topics[j]);
            }
            assert_int_equal(seen[i] > 0, wanted);
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
        apr_pool_clear(pool);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
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
        mercure_index_match(index, &record, count_members, NULL);
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
    mercure_index_match(index, &record, count_members, NULL);
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

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
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
        cmocka_unit_test(a_hundred_thousand_matchers_are_found_without_asking_each),
        cmocka_unit_test(one_matcher_may_have_a_hundred_thousand_members),
        cmocka_unit_test(the_hash_depends_on_every_byte_and_on_the_length),
    };

    return cmocka_run_group_tests_name("index", tests, setup, teardown);
}
