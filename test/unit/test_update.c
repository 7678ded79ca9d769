/* test_update.c - publications (every rule of PROTOCOL 4 about fields), event ids, and records. */
#include "mercure/update.h"
#include "mercure/url.h"

#include <apr_strings.h>

#include "unit.h"

static apr_pool_t *pool;
static const mercure_url *hub;
static mercure_error err;
static mercure_update update;
static bool with_targets;

static mercure_status publish_bytes(const char *form_text, size_t len)
{
    char *text = apr_pmemdup(pool, form_text, len);
    mercure_form form;

    err.reason[0] = '\0';
    mercure_form_begin(&form, text, len);
    mercure_status status = mercure_update_from_form(pool, &form, hub, with_targets, &update, &err);
    assert_true((status == MERCURE_OK) == (err.reason[0] == '\0'));
    return status;
}

static mercure_status publish(const char *text)
{
    return publish_bytes(text, strlen(text));
}

static void assert_refused(const char *form)
{
    if (publish(form) != MERCURE_INVALID) {
        fail_msg("'%s' is not refused", form);
    }
}

/* "<prefix>" and `count` times "<unit>" */
static char *repeated(const char *prefix, const char *unit, size_t count)
{
    size_t prefix_len = strlen(prefix), unit_len = strlen(unit);
    char *text = apr_palloc(pool, prefix_len + unit_len * count + 1);

    memcpy(text, prefix, prefix_len);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + prefix_len + i * unit_len, unit, unit_len);
    }
    text[prefix_len + unit_len * count] = '\0';
    return text;
}

/* ---- fields ---- */

static void all_fields_are_read(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=a%2Fb&topic=c+d&data=x%0Ay&private=on&id=urn%3A1&type=add&retry=0150"), MERCURE_OK);
    assert_int_equal(update.topic_count, 2);
    assert_str(update.topics[0], "a/b");
    assert_str(update.topics[1], "c d");
    assert_str(update.data, "x\ny");
    assert_str(update.id, "urn:1");
    assert_str(update.type, "add");
    assert_str(update.retry, "0150");
    assert_true(update.is_private);
}

static void a_topic_alone_is_enough(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=t"), MERCURE_OK);
    assert_int_equal(update.topic_count, 1);
    assert_str(update.topics[0], "t");
    assert_int_equal(update.data.len, 0);
    assert_int_equal(update.id.len, 0);
    assert_int_equal(update.type.len, 0);
    assert_int_equal(update.retry.len, 0);
    assert_false(update.is_private);
}

static void no_topic_or_an_empty_one_is_refused(void **state)
{
    (void)state;
    assert_refused("");
    assert_refused("data=x");
    assert_refused("Topic=t");
    assert_refused("topics=t");
    assert_refused("topic=");
    assert_refused("topic");
    assert_refused("topic=a&topic=");
}

static void private_is_private_whatever_its_value(void **state)
{
    static const char *const forms[] = {"topic=t&private=on", "topic=t&private",         "topic=t&private=",
                                        "private=0&topic=t",  "topic=t&private=off",     "topic=t&private=false",
                                        "topic=t&private=no", "topic=t&private&private", "topic=t&%70rivate=%00"};

    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        assert_int_equal(publish(forms[i]), MERCURE_OK);
        assert_true(update.is_private);
    }
    assert_int_equal(publish("topic=t&Private=on&privat=on&private+=on"), MERCURE_OK);
    assert_false(update.is_private);
}

static void the_first_value_of_a_field_counts(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=t&data=1&data=2&id=a&id=b&type=c&type=d&retry=5&retry=6"), MERCURE_OK);
    assert_str(update.data, "1");
    assert_str(update.id, "a");
    assert_str(update.type, "c");
    assert_str(update.retry, "5");
}

static void an_empty_first_value_counts_too(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=t&data=&data=2&id&id=b&type=&type=d&retry&retry=6"), MERCURE_OK);
    assert_str(update.data, "");
    assert_str(update.id, "");
    assert_str(update.type, "");
    assert_str(update.retry, "");
}

static void unknown_fields_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=t&target=x&foo&=y&ID=%23&Type=mercure&Retry=x&a=%00%0A%C2%AD"), MERCURE_OK);
    assert_int_equal(update.topic_count, 1);
    assert_int_equal(update.id.len, 0);
    assert_int_equal(update.type.len, 0);
}

static void topics_keep_their_order_and_repetitions(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=b&topic=a&topic=b"), MERCURE_OK);
    assert_int_equal(update.topic_count, 3);
    assert_str(update.topics[0], "b");
    assert_str(update.topics[1], "a");
    assert_str(update.topics[2], "b");
}

static void ill_formed_utf8_is_refused_in_every_field(void **state)
{
    static const char *const forms[] = {
        "topic=%FF",           "topic=t&data=%C3",    "topic=t&private=%ED%A0%80",
        "topic=t&id=%C0%80",   "topic=t&type=%E2%82", "topic=t&retry=1%80",
        "topic=t&unknown=%F5", "topic=t&%FF=x",       "topic=t&data=a&data=%FF",
        "topic=t&%E2%82",      "topic=t&topic=%FF",   "topic=t&data=\xFF",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        assert_refused(forms[i]);
    }
}

static void control_and_format_characters_are_refused_in_topic_id_and_type(void **state)
{
    static const char *const fields[] = {"topic=", "topic=t&id=", "topic=t&type="};
    static const char *const characters[] = {"%00",    "%01",       "%09",       "%0A",       "%0D",
                                             "%1F",    "%7F",       "%C2%80",    "%C2%85",    "%C2%9F",
                                             "%C2%AD", "%E2%80%8B", "%E2%80%AE", "%EF%BB%BF", "%F3%A0%81%A1"};

    (void)state;
    for (size_t i = 0; i < COUNT(fields); i++) {
        for (size_t j = 0; j < COUNT(characters); j++) {
            assert_refused(apr_pstrcat(pool, fields[i], characters[j], NULL));
            assert_refused(apr_pstrcat(pool, fields[i], "a", characters[j], "b", NULL));
        }
    }
}

static void data_may_hold_any_character(void **state)
{
    (void)state;
    assert_int_equal(publish("topic=t&data=%00%01%0A%0D%7F%C2%85%C2%AD%EF%BB%BF%F4%8F%BF%BF"), MERCURE_OK);
    assert_str(update.data, "\0\x01\n\r\x7F\xC2\x85\xC2\xAD\xEF\xBB\xBF\xF4\x8F\xBF\xBF");
}

static void an_id_is_not_earliest_and_does_not_start_with_a_hash(void **state)
{
    (void)state;
    assert_refused("topic=t&id=%23");
    assert_refused("topic=t&id=%23a");
    assert_refused("topic=t&id=earliest");
    assert_int_equal(publish("topic=t&id=a%23"), MERCURE_OK);
    assert_int_equal(publish("topic=t&id=Earliest"), MERCURE_OK);
    assert_int_equal(publish("topic=t&id=earliest1"), MERCURE_OK);
    assert_int_equal(publish("topic=t&id=+earliest"), MERCURE_OK);
    assert_int_equal(publish("topic=t&data=earliest"), MERCURE_OK);
}

static void a_type_is_not_mercure(void **state)
{
    (void)state;
    assert_refused("topic=t&type=mercure");
    assert_int_equal(publish("topic=t&type=Mercure"), MERCURE_OK);
    assert_int_equal(publish("topic=t&type=mercure2"), MERCURE_OK);
    assert_int_equal(publish("topic=t&type=message"), MERCURE_OK);
}

static void retry_is_ascii_digits_only(void **state)
{
    static const char *const bad[] = {"-1", "%2B1",   "+1",  "1+",   "1.5",       "1e3",        "0x1", "1%0A",
                                      "a",  "%D9%A1", "%00", "1%00", "%EF%BC%91", "1%0Ddata:x", ":",   "%2F"};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_refused(apr_pstrcat(pool, "topic=t&retry=", bad[i], NULL));
    }
    assert_int_equal(publish("topic=t&retry=0123456789"), MERCURE_OK);
    assert_str(update.retry, "0123456789");
    assert_int_equal(publish("topic=t&retry=99999999999999999999999"), MERCURE_OK);
}

/* ---- limits ---- */

static void a_value_has_4096_bytes_at_most_and_data_has_no_such_limit(void **state)
{
    static const char *const fields[] = {"topic=", "topic=t&id=", "topic=t&type=", "topic=t&retry="};

    (void)state;
    for (size_t i = 0; i < COUNT(fields); i++) {
        assert_int_equal(publish(repeated(fields[i], "7", 4096)), MERCURE_OK);
        assert_int_equal(publish(repeated(fields[i], "7", 4097)), MERCURE_LIMIT);
        assert_int_equal(publish(repeated(fields[i], "%37", 4096)), MERCURE_OK); /* decoded bytes count */
    }
    assert_int_equal(publish(repeated("topic=t&data=", "7", 500000)), MERCURE_OK);
    assert_int_equal(update.data.len, 500000);
    assert_int_equal(publish(repeated("topic=t&private=", "7", 5000)), MERCURE_OK);
}

static void an_update_has_1000_topics_at_most(void **state)
{
    (void)state;
    assert_int_equal(publish(repeated("", "topic=t&", 1000)), MERCURE_OK);
    assert_int_equal(update.topic_count, 1000);
    assert_int_equal(publish(repeated("", "topic=t&", 1001)), MERCURE_LIMIT);
}

/* ---- the reserved namespace ---- */

static void a_star_is_no_topic(void **state)
{
    (void)state;
    assert_refused("topic=*");
    assert_refused("topic=a&topic=%2A");
    assert_int_equal(publish("topic=**"), MERCURE_OK);
    assert_int_equal(publish("topic=a*"), MERCURE_OK);
}

static void a_topic_must_not_address_the_hub(void **state)
{
    static const char *const reserved[] = {
        "/.well-known/mercure",
        "/.well-known/mercure/subscriptions/exact/a/b",
        "https://hub.example/.well-known/mercure",
        "https://other.example/.well-known/mercure/x",
        "foo://h/.well-known/mercure",
        "mercure",
        "mercure/x",
        "../a/../.well-known/mercure",
        "/.well-known/%256Dercure", /* the form decodes one layer */
        "/.well-known/%6Dercure%3Fq",
        "/.well-known/mercure%23f",
        "%2F%2E%2E%2F.well-known%2Fmercure",
        "//x/.well-known/./mercure",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(reserved); i++) {
        assert_refused(apr_pstrcat(pool, "topic=", reserved[i], NULL));
        assert_refused(apr_pstrcat(pool, "topic=free&topic=", reserved[i], NULL));
    }
}

static void neighbours_of_the_hub_and_what_is_no_url_are_free(void **state)
{
    static const char *const free_topics[] = {
        "/.well-known/mercurex",     "/.well-known",
        "/.well-known/Mercure",      "https://ex%20ample/.well-known/mercure",
        "urn:x:.well-known/mercure", "/a?/.well-known/mercure",
        "/x/.well-known/mercure",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(free_topics); i++) {
        if (publish(apr_pstrcat(pool, "topic=", free_topics[i], NULL)) != MERCURE_OK) {
            fail_msg("'%s' is refused: %s", free_topics[i], err.reason);
        }
    }
}

static void the_reserved_path_is_the_hubs_own(void **state)
{
    mercure_url *other;
    mercure_form form;
    char text[] = "topic=/sub/hub/x", free_text[] = "topic=/.well-known/mercure";

    (void)state;
    mercure_url_parse(pool, "https://h/sub/hub", 17, NULL, &other, NULL);
    mercure_form_begin(&form, text, strlen(text));
    assert_int_equal(mercure_update_from_form(pool, &form, other, with_targets, &update, NULL), MERCURE_INVALID);
    mercure_form_begin(&form, free_text, strlen(free_text));
    assert_int_equal(mercure_update_from_form(pool, &form, other, with_targets, &update, NULL), MERCURE_OK);
}

/* ---- targets (PROTOCOL 11) ---- */

static void targets_are_read_only_where_they_mean_something(void **state)
{
    (void)state;
    with_targets = false;
    assert_int_equal(publish("topic=t&target=a&target=&target=%0A&target=b"), MERCURE_OK);
    assert_int_equal(update.target_count, 0);
    assert_false(update.is_private);
    with_targets = true;
    assert_int_equal(publish("target=a+b&topic=t&target=%2A&Target=c&targets=d"), MERCURE_OK);
    assert_int_equal(update.target_count, 2);
    assert_str(update.targets[0], "a b");
    assert_str(update.targets[1], "*");
    assert_int_equal(update.topic_count, 1);
    assert_true(update.is_private);
    assert_int_equal(publish("topic=t"), MERCURE_OK);
    assert_int_equal(update.target_count, 0);
    assert_false(update.is_private);
    assert_int_equal(publish("topic=t&private"), MERCURE_OK);
    assert_int_equal(update.target_count, 0);
    assert_true(update.is_private);
    with_targets = false;
}

static void a_target_keeps_the_rules_of_a_value(void **state)
{
    (void)state;
    with_targets = true;
    assert_refused("topic=t&target=");
    assert_refused("topic=t&target");
    assert_refused("topic=t&target=a&target=");
    assert_refused("topic=t&target=a%0A");
    assert_refused("topic=t&target=%C2%85");
    assert_refused("topic=t&target=%E2%80%8B");
    assert_refused("topic=t&target=%FF");
    assert_refused("topic=t&target=%00");
    assert_refused("target=a");
    assert_int_equal(publish(repeated("topic=t&target=", "x", 4096)), MERCURE_OK);
    assert_int_equal(publish(repeated("topic=t&target=", "x", 4097)), MERCURE_LIMIT);
    with_targets = false;
}

static void an_update_has_1000_targets_at_most(void **state)
{
    (void)state;
    with_targets = true;
    assert_int_equal(publish(repeated("topic=t", "&target=a", 1000)), MERCURE_OK);
    assert_int_equal(update.target_count, 1000);
    assert_int_equal(publish(repeated("topic=t", "&target=a", 1001)), MERCURE_LIMIT);
    with_targets = false;
    assert_int_equal(publish(repeated("topic=t", "&target=a", 1001)), MERCURE_OK);
}

/* ---- ids ---- */

static void an_id_is_a_random_version_4_uuid_urn(void **state)
{
    char id[MERCURE_ID_LENGTH + 1];
    bool seen[16][16] = {{false}};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        memset(id, '#', sizeof(id));
        assert_true(mercure_id_make(id));
        assert_int_equal(strlen(id), 45);
        assert_int_equal(strncmp(id, "urn:uuid:", 9), 0);
        for (int at = 9; at < 45; at++) {
            if (at == 17 || at == 22 || at == 27 || at == 32) {
                assert_int_equal(id[at], '-');
            } else {
                assert_non_null(strchr("0123456789abcdef", id[at]));
            }
        }
        assert_int_equal(id[23], '4');
        assert_non_null(strchr("89ab", id[28]));
        for (int at = 0; at < 8; at++) { /* every digit of the first group takes every value */
            seen[at][strchr("0123456789abcdef", id[9 + at]) - "0123456789abcdef"] = true;
        }
    }
    for (int at = 0; at < 8; at++) {
        for (int digit = 0; digit < 16; digit++) {
            assert_true(seen[at][digit]);
        }
    }
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void ids_do_not_repeat_and_have_no_order(void **state)
{
    enum { MANY = 20000 };
    char(*ids)[MERCURE_ID_LENGTH + 1] = malloc(MANY * sizeof(*ids));
    int rises = 0;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        assert_true(mercure_id_make(ids[i]));
        rises += i > 0 && strcmp(ids[i - 1], ids[i]) < 0;
    }
    assert_in_range(rises, MANY * 45 / 100, MANY * 55 / 100);
    qsort(ids, MANY, sizeof(*ids), compare_ids);
    for (int i = 1; i < MANY; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
    free(ids);
}

/* ---- records ---- */

static const mercure_str two_topics[] = {S("a"), S("bc")};
static const mercure_update small = {
    .topics = two_topics, .topic_count = 2, .id = S("i"), .data = S("x"), .is_private = true};
#define SMALL_RECORD                                                                                                   \
    "\x01\x01\x02\x00\x01\x00\x00\x00\x0F\x00\x00\x00"                                                                 \
    "\x01\x00"                                                                                                         \
    "a"                                                                                                                \
    "\x02\x00"                                                                                                         \
    "bc"                                                                                                               \
    "i"                                                                                                                \
    "id: i\ndata: x\n\n"

static void a_record_has_the_documented_bytes(void **state)
{
    mercure_update public_one = small;

    (void)state;
    assert_str(mercure_update_encode(pool, &small), SMALL_RECORD);
    public_one.is_private = false;
    mercure_str bytes = mercure_update_encode(pool, &public_one);
    assert_int_equal(bytes.data[1], 0);
}

static void a_record_is_parsed_into_what_was_encoded(void **state)
{
    mercure_record record;
    mercure_str topic;
    size_t at = 0;

    (void)state;
    assert_int_equal(mercure_record_parse(S(SMALL_RECORD), &record, NULL), MERCURE_OK);
    assert_true(record.is_private);
    assert_int_equal(record.topic_count, 2);
    assert_str(record.id, "i");
    assert_str(record.event, "id: i\ndata: x\n\n");
    assert_true(mercure_record_topic(&record, &at, &topic));
    assert_str(topic, "a");
    assert_true(mercure_record_topic(&record, &at, &topic));
    assert_str(topic, "bc");
    assert_false(mercure_record_topic(&record, &at, &topic));
    assert_false(mercure_record_topic(&record, &at, &topic));
}

static const mercure_str two_targets[] = {S("u"), S("vw")};
#define TARGETS_RECORD                                                                                                 \
    "\x01\x03\x02\x00\x01\x00\x00\x00\x0F\x00\x00\x00"                                                                 \
    "\x01\x00"                                                                                                         \
    "a"                                                                                                                \
    "\x02\x00"                                                                                                         \
    "bc"                                                                                                               \
    "i"                                                                                                                \
    "id: i\ndata: x\n\n"                                                                                               \
    "\x01\x00"                                                                                                         \
    "u"                                                                                                                \
    "\x02\x00"                                                                                                         \
    "vw"

static void targets_stand_at_a_records_end(void **state)
{
    mercure_update sent = small;
    mercure_record record;
    mercure_str text;
    size_t at = 0;

    (void)state;
    sent.targets = two_targets;
    sent.target_count = 2;
    assert_str(mercure_update_encode(pool, &sent), TARGETS_RECORD);
    assert_int_equal(mercure_record_parse(S(TARGETS_RECORD), &record, NULL), MERCURE_OK);
    assert_true(record.is_private);
    assert_str(record.event, "id: i\ndata: x\n\n");
    assert_true(mercure_record_target(&record, &at, &text));
    assert_str(text, "u");
    assert_true(mercure_record_target(&record, &at, &text));
    assert_str(text, "vw");
    assert_false(mercure_record_target(&record, &at, &text));
    at = 0;
    assert_int_equal(mercure_record_parse(S(SMALL_RECORD), &record, NULL), MERCURE_OK);
    assert_int_equal(record.targets.len, 0);
    assert_false(mercure_record_target(&record, &at, &text));
}

static void a_record_whose_targets_are_cut_or_missing_is_refused(void **state)
{
    const size_t without = sizeof(SMALL_RECORD) - 1;
    mercure_record record;
    char bytes[] = TARGETS_RECORD;

    (void)state;
    for (size_t len = 0; len < sizeof(bytes) - 1; len++) {
        char *copy = unit_exact((mercure_str){bytes, len});
        /* At a string's end a record is whole: only the whole update's length, which is the storage's, could tell. */
        mercure_status wanted = len == without + 3 ? MERCURE_OK : MERCURE_INVALID;
        assert_int_equal(mercure_record_parse((mercure_str){copy, len}, &record, NULL), wanted);
        free(copy);
    }
    bytes[1] = 2; /* with targets, and yet not private */
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    bytes[1] = 1; /* targets that no flag announces */
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    for (int flags = 4; flags < 256; flags++) {
        bytes[1] = (char)flags;
        assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    }
}

static void random_updates_survive_the_round_trip(void **state)
{
    uint64_t seed = 3;
    mercure_str topics[20];
    static char bytes[8192];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)('!' + unit_draw(&seed, 90));
    }
    for (int round = 0; round < 500; round++) {
        mercure_update sent = {.topics = topics, .topic_count = 1 + unit_draw(&seed, 20)};
        for (size_t i = 0; i < sent.topic_count; i++) {
            topics[i] = (mercure_str){bytes + unit_draw(&seed, 4096), 1 + unit_draw(&seed, 4096)};
        }
        sent.id = (mercure_str){bytes, 1 + unit_draw(&seed, 4096)};
        sent.data = (mercure_str){bytes, unit_draw(&seed, 8192)};
        sent.type = (mercure_str){bytes, unit_draw(&seed, 2) * 5};
        sent.is_private = unit_draw(&seed, 2);
        if (sent.is_private && unit_draw(&seed, 2)) {
            sent.targets = topics;
            sent.target_count = 1 + unit_draw(&seed, (uint32_t)sent.topic_count);
        }

        apr_pool_t *scratch;
        apr_pool_create(&scratch, pool);
        mercure_str encoded = mercure_update_encode(scratch, &sent);
        char *copy = unit_exact(encoded);
        mercure_record record;
        mercure_str topic;
        size_t at = 0, walked = 0;
        assert_int_equal(mercure_record_parse((mercure_str){copy, encoded.len}, &record, NULL), MERCURE_OK);
        assert_int_equal(record.is_private, sent.is_private);
        assert_same(record.id, sent.id);
        while (mercure_record_topic(&record, &at, &topic)) {
            assert_same(topic, topics[walked++]);
        }
        assert_int_equal(walked, sent.topic_count);
        assert_int_equal(record.topic_count, sent.topic_count);
        for (at = 0, walked = 0; mercure_record_target(&record, &at, &topic);) {
            assert_same(topic, sent.targets[walked++]);
        }
        assert_int_equal(walked, sent.target_count);
        assert_memory_equal(record.event.data, sent.type.len > 0 ? "event: " : "id: ", 4);
        assert_memory_equal(record.event.data + record.event.len - 2, "\n\n", 2);
        free(copy);
        apr_pool_destroy(scratch);
    }
}

static void the_largest_update_survives_the_round_trip(void **state)
{
    char *form = repeated("id=", "i", 4096), *topic = repeated("&topic=", "x", 4096);
    mercure_record record;

    (void)state;
    form = apr_pstrcat(pool, form, repeated("", topic, 1000), NULL);
    assert_int_equal(publish(form), MERCURE_OK);
    mercure_str encoded = mercure_update_encode(pool, &update);
    assert_int_equal(mercure_record_parse(encoded, &record, NULL), MERCURE_OK);
    assert_int_equal(record.topic_count, 1000);
    assert_int_equal(record.topics.len, 1000 * 4098);
    assert_int_equal(record.id.len, 4096);
}

/* Walk whatever a parsed record claims to hold, so that a wrong pointer is read. */
static size_t touch(const mercure_record *record)
{
    mercure_str topic;
    size_t at = 0, sum = 0, topics = 0;

    while (mercure_record_topic(record, &at, &topic)) {
        for (size_t i = 0; i < topic.len; i++) {
            sum += (unsigned char)topic.data[i];
        }
        topics++;
    }
    assert_int_equal(topics, record->topic_count);
    for (at = 0; mercure_record_target(record, &at, &topic);) {
        for (size_t i = 0; i < topic.len; i++) {
            sum += (unsigned char)topic.data[i];
        }
    }
    assert_int_equal(at, record->targets.len);
    for (size_t i = 0; i < record->id.len; i++) {
        sum += (unsigned char)record->id.data[i];
    }
    for (size_t i = 0; i < record->event.len; i++) {
        sum += (unsigned char)record->event.data[i];
    }
    return sum;
}

static void every_truncation_and_every_extension_of_a_record_is_refused(void **state)
{
    mercure_record record;

    (void)state;
    for (size_t len = 0; len < sizeof(SMALL_RECORD) - 1; len++) {
        char *copy = unit_exact((mercure_str){SMALL_RECORD, len});
        mercure_error reason = {""};
        assert_int_equal(mercure_record_parse((mercure_str){copy, len}, &record, &reason), MERCURE_INVALID);
        assert_string_not_equal(reason.reason, "");
        free(copy);
    }
    assert_int_equal(mercure_record_parse(S(SMALL_RECORD "\n"), &record, NULL), MERCURE_INVALID);
}

static void a_record_of_another_version_or_with_unknown_flags_is_refused(void **state)
{
    char bytes[] = SMALL_RECORD;
    mercure_record record;

    (void)state;
    bytes[0] = 2;
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    bytes[0] = 0;
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    bytes[0] = 1;
    bytes[1] = 2;
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_INVALID);
    bytes[1] = 0;
    assert_int_equal(mercure_record_parse((mercure_str){bytes, sizeof(bytes) - 1}, &record, NULL), MERCURE_OK);
    assert_false(record.is_private);
}

static void a_record_without_topic_id_or_event_is_refused(void **state)
{
    mercure_record record;

    (void)state;
    assert_int_equal(mercure_record_parse(S("\1\0\0\0\1\0\0\0\1\0\0\0ie"), &record, NULL), MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\0\0\0\0\1\0\0\0\1\0te"), &record, NULL), MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\1\0\0\0\0\0\0\0\1\0ti"), &record, NULL), MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\1\0\0\0\1\0\0\0\1\0tie"), &record, NULL), MERCURE_OK);
}

static void lengths_near_the_top_of_their_range_are_refused(void **state)
{
    mercure_record record;

    (void)state;
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\xFF\xFF\xFF\xFF\1\0\0\0\1\0tie"), &record, NULL),
                     MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\1\0\0\0\xFF\xFF\xFF\xFF\1\0tie"), &record, NULL),
                     MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\2\0\0\0\xFF\xFF\xFF\xFF\1\0tie"), &record, NULL),
                     MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\xFF\xFF\1\0\0\0\1\0\0\0\1\0tie"), &record, NULL), MERCURE_INVALID);
    assert_int_equal(mercure_record_parse(S("\1\0\1\0\1\0\0\0\1\0\0\0\xFF\xFFtie"), &record, NULL), MERCURE_INVALID);
}

static void mutate(const char *form)
{
    uint64_t seed = 4;
    mercure_str encoded;
    size_t accepted = 0;

    assert_int_equal(publish(form), MERCURE_OK);
    encoded = mercure_update_encode(pool, &update);
    for (int round = 0; round < 100000; round++) {
        size_t len = encoded.len - (unit_draw(&seed, 4) == 0 ? unit_draw(&seed, (uint32_t)encoded.len) : 0);
        char *copy = unit_exact((mercure_str){encoded.data, len});
        mercure_record record;
        for (uint32_t changes = 1 + unit_draw(&seed, 3); changes > 0 && len > 0; changes--) {
            size_t at = unit_draw(&seed, (uint32_t)(unit_draw(&seed, 2) == 0 && len > 24 ? 24 : len));
            copy[at] = (char)(unit_draw(&seed, 2) == 0 ? unit_draw(&seed, 256) : unit_draw(&seed, 12));
        }
        if (mercure_record_parse((mercure_str){copy, len}, &record, NULL) == MERCURE_OK) {
            accepted++;
            assert_int_equal(record.topics.len + record.id.len + record.event.len + record.targets.len + 12, len);
            (void)touch(&record);
        }
        free(copy);
    }
    assert_in_range(accepted, 1000, 99000); /* both ways were gone */
}

static void mutated_records_are_refused_or_stay_within_their_bytes(void **state)
{
    (void)state;
    mutate("topic=aaaa&topic=bb&topic=c&id=urn:1&data=x%0Ay");
    with_targets = true;
    mutate("topic=aaaa&topic=bb&id=urn:1&data=x%0Ay&target=aa&target=b&target=cccc");
    with_targets = false;
}

static void random_bytes_are_no_record(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char bytes[40];
        size_t len = unit_draw(&seed, sizeof(bytes) + 1);
        mercure_record record;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)unit_draw(&seed, i < 12 ? 4 : 256);
        }
        char *copy = unit_exact((mercure_str){bytes, len});
        if (mercure_record_parse((mercure_str){copy, len}, &record, NULL) == MERCURE_OK) {
            (void)touch(&record);
        }
        free(copy);
    }
}

static int setup(void **state)
{
    mercure_url *url;
    const char *text = "https://hub.example/.well-known/mercure";

    (void)state;
    apr_initialize();
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS ||
        mercure_url_parse(pool, text, strlen(text), NULL, &url, NULL) != MERCURE_OK) {
        return -1;
    }
    hub = url;
    return 0;
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
        cmocka_unit_test(all_fields_are_read),
        cmocka_unit_test(a_topic_alone_is_enough),
        cmocka_unit_test(no_topic_or_an_empty_one_is_refused),
        cmocka_unit_test(private_is_private_whatever_its_value),
        cmocka_unit_test(the_first_value_of_a_field_counts),
        cmocka_unit_test(an_empty_first_value_counts_too),
        cmocka_unit_test(unknown_fields_are_ignored),
        cmocka_unit_test(topics_keep_their_order_and_repetitions),
        cmocka_unit_test(ill_formed_utf8_is_refused_in_every_field),
        cmocka_unit_test(control_and_format_characters_are_refused_in_topic_id_and_type),
        cmocka_unit_test(data_may_hold_any_character),
        cmocka_unit_test(an_id_is_not_earliest_and_does_not_start_with_a_hash),
        cmocka_unit_test(a_type_is_not_mercure),
        cmocka_unit_test(retry_is_ascii_digits_only),
        cmocka_unit_test(a_value_has_4096_bytes_at_most_and_data_has_no_such_limit),
        cmocka_unit_test(an_update_has_1000_topics_at_most),
        cmocka_unit_test(a_star_is_no_topic),
        cmocka_unit_test(a_topic_must_not_address_the_hub),
        cmocka_unit_test(neighbours_of_the_hub_and_what_is_no_url_are_free),
        cmocka_unit_test(the_reserved_path_is_the_hubs_own),
        cmocka_unit_test(targets_are_read_only_where_they_mean_something),
        cmocka_unit_test(a_target_keeps_the_rules_of_a_value),
        cmocka_unit_test(an_update_has_1000_targets_at_most),
        cmocka_unit_test(an_id_is_a_random_version_4_uuid_urn),
        cmocka_unit_test(ids_do_not_repeat_and_have_no_order),
        cmocka_unit_test(a_record_has_the_documented_bytes),
        cmocka_unit_test(a_record_is_parsed_into_what_was_encoded),
        cmocka_unit_test(targets_stand_at_a_records_end),
        cmocka_unit_test(a_record_whose_targets_are_cut_or_missing_is_refused),
        cmocka_unit_test(random_updates_survive_the_round_trip),
        cmocka_unit_test(the_largest_update_survives_the_round_trip),
        cmocka_unit_test(every_truncation_and_every_extension_of_a_record_is_refused),
        cmocka_unit_test(a_record_of_another_version_or_with_unknown_flags_is_refused),
        cmocka_unit_test(a_record_without_topic_id_or_event_is_refused),
        cmocka_unit_test(lengths_near_the_top_of_their_range_are_refused),
        cmocka_unit_test(mutated_records_are_refused_or_stay_within_their_bytes),
        cmocka_unit_test(random_bytes_are_no_record),
    };

    return cmocka_run_group_tests_name("update", tests, setup, teardown);
}
