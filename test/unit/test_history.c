/* test_history.c - the history on disk: order, ids, retention, repetitions, other processes (PROTOCOL 6, history.h).
 *
 * Each test has a directory of its own under $TMPDIR. Time is an argument of the functions: no test waits.
 */
#include "mercure/history.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit_pool.h"

#define T0 UINT64_C(1700000000000) /* the clock's first reading, in ms */

static const mercure_retention everything = {0, 0, 0};
static mercure_error err;

/* What a test holds: its directory, and the history open for writing. */
static char directory[256];
static mercure_history *history;

static const unsigned char alice[16] = "alice's 16 byte";
static const unsigned char bob[16] = "bob's 16 bytes.";
static const unsigned char carol[16] = "carol's 16 byte"; /* publishes where a test does not care who does */
static uint64_t next_number;

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        err.reason[0] = '\0';                                                                                          \
        if ((call) != MERCURE_OK) {                                                                                    \
            fail_msg("%s: %s", #call, err.reason);                                                                     \
        }                                                                                                              \
    } while (0)

static mercure_str record(const char *id, const char *data)
{
    mercure_str topic = S("t");
    mercure_update update = {
        .topics = &topic, .topic_count = 1, .id = mercure_str_of(id), .data = mercure_str_of(data)};

    return mercure_update_encode(pool, &update);
}

static mercure_append one(const char *hub, mercure_retention retention, const char *id)
{
    uint64_t number = ++next_number;

    return (mercure_append){.hub = mercure_str_of(hub),
                            .retention = retention,
                            .publisher = carol,
                            .number = number,
                            .floor = number,
                            .record = record(id, "x"),
                            .sequence = 999,
                            .repeated = true};
}

static uint64_t append_at(const char *hub, mercure_retention retention, const char *id, uint64_t now_ms)
{
    mercure_append update = one(hub, retention, id);

    assert_ok(mercure_history_append(history, &update, 1, now_ms, &err));
    assert_false(update.repeated);
    return update.sequence;
}

static uint64_t append(const char *hub, const char *id)
{
    return append_at(hub, everything, id, T0);
}

static uint64_t head(const char *hub)
{
    uint64_t sequence = 999;

    assert_ok(mercure_history_head(history, mercure_str_of(hub), &sequence, &err));
    return sequence;
}

/* The sequence of an id, 0 when it is unknown. */
static uint64_t find(const char *hub, const char *id)
{
    uint64_t sequence = 0;
    mercure_status status = mercure_history_find(history, mercure_str_of(hub), mercure_str_of(id), &sequence, &err);

    if (status == MERCURE_NOT_FOUND) {
        return 0;
    }
    assert_int_equal(status, MERCURE_OK);
    assert_true(sequence > 0);
    return sequence;
}

/* A visitor that writes "sequence:id " for each update. */
typedef struct {
    char text[4096];
    size_t len;
    size_t stop_after; /* 0: never */
    size_t count;
} reading;

static bool write_down(void *context, uint64_t sequence, const mercure_record *parsed, mercure_str bytes)
{
    reading *r = context;
    mercure_record again;

    assert_int_equal(mercure_record_parse(bytes, &again, NULL), MERCURE_OK);
    assert_same(again.id, parsed->id);
    r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%llu:%.*s ", (unsigned long long)sequence,
                               (int)parsed->id.len, parsed->id.data);
    assert_true(r->len < sizeof(r->text));
    return ++r->count != r->stop_after;
}

static void check_read(const char *hub, uint64_t after, size_t stop_after, const char *expected, uint64_t expected_last,
                       bool expected_at_head, int line)
{
    reading r = {.stop_after = stop_after};
    mercure_history_reading outcome;

    assert_ok(mercure_history_read(history, mercure_str_of(hub), after, write_down, &r, &outcome, &err));
    unit_check_str((mercure_str){r.text, r.len}, mercure_str_of(expected), __FILE__, line);
    _assert_int_equal(outcome.last, expected_last, __FILE__, line);
    _assert_int_equal(outcome.at_head, expected_at_head, __FILE__, line);
}

/* All there is after `after`. */
#define assert_read(hub, after, expected, last) check_read(hub, after, 0, expected, last, true, __LINE__)

static void reopen(void)
{
    mercure_history_close(history);
    history = NULL;
    assert_ok(mercure_history_open_writer(directory, false, &history, &err));
}

/* ---- opening ---- */

static void the_directory_is_made_private(void **state)
{
    struct stat info;

    (void)state;
    assert_int_equal(stat(directory, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    char file[300];
    snprintf(file, sizeof(file), "%s/data.mdb", directory);
    assert_int_equal(stat(file, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

static void opening_below_a_missing_directory_says_why_not(void **state)
{
    mercure_history *other = NULL;

    (void)state;
    err.reason[0] = '\0';
    assert_int_equal(mercure_history_open_writer("/nonexistent/a/b", false, &other, &err), MERCURE_STORE);
    assert_null(other);
    assert_non_null(strstr(err.reason, "/nonexistent/a/b"));
}

static void a_reader_needs_an_existing_history(void **state)
{
    mercure_history *other = NULL;
    char empty[300];

    (void)state;
    snprintf(empty, sizeof(empty), "%s/missing", directory);
    assert_int_equal(mercure_history_open_reader(empty, &other, &err), MERCURE_STORE);
    assert_int_equal(mkdir(empty, 0700), 0);
    err.reason[0] = '\0';
    assert_int_equal(mercure_history_open_reader(empty, &other, &err), MERCURE_STORE);
    assert_null(other);
    assert_string_not_equal(err.reason, "");
}

static void a_history_of_another_format_is_refused_with_advice(void **state)
{
    unsigned char format[] = {0, 0, 0, 2};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta;
    MDB_val key = {6, "format"}, value = {sizeof(format), format};

    (void)state;
    append("hub", "a");
    mercure_history_close(history);
    history = NULL;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 8);
    assert_int_equal(mdb_env_open(env, directory, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    assert_int_equal(mdb_put(txn, meta, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    for (int reader = 0; reader < 2; reader++) {
        mercure_history *other = NULL;
        err.reason[0] = '\0';
        assert_int_equal(reader ? mercure_history_open_reader(directory, &other, &err)
                                : mercure_history_open_writer(directory, false, &other, &err),
                         MERCURE_STORE);
        assert_null(other);
        assert_non_null(strstr(err.reason, "another version"));
        assert_non_null(strstr(err.reason, "Move the directory away"));
    }
}

static void a_file_that_is_no_history_is_refused(void **state)
{
    char file[300], junk[8192];
    mercure_history *other = NULL;
    FILE *out;

    (void)state;
    mercure_history_close(history);
    history = NULL;
    memset(junk, 'x', sizeof(junk));
    snprintf(file, sizeof(file), "%s/data.mdb", directory);
    out = fopen(file, "w");
    assert_int_equal(fwrite(junk, 1, sizeof(junk), out), sizeof(junk));
    fclose(out);
    err.reason[0] = '\0';
    assert_int_equal(mercure_history_open_writer(directory, false, &other, &err), MERCURE_STORE);
    assert_null(other);
    assert_non_null(strstr(err.reason, directory));
}

static void a_reader_notices_that_its_file_was_replaced(void **state)
{
    char file[300], aside[310];

    (void)state;
    assert_false(mercure_history_replaced(history));
    append("hub", "a");
    assert_false(mercure_history_replaced(history));
    snprintf(file, sizeof(file), "%s/data.mdb", directory);
    snprintf(aside, sizeof(aside), "%s.old", file);
    assert_int_equal(rename(file, aside), 0);
    assert_true(mercure_history_replaced(history));
    close(open(file, O_CREAT | O_WRONLY, 0600));
    assert_true(mercure_history_replaced(history));
    assert_int_equal(rename(aside, file), 0);
    assert_false(mercure_history_replaced(history));
}

static void a_durable_history_keeps_what_was_appended(void **state)
{
    (void)state;
    mercure_history_close(history);
    assert_ok(mercure_history_open_writer(directory, true, &history, &err));
    assert_int_equal(append("hub", "a"), 1);
    assert_ok(mercure_history_sync(history, &err));
    reopen();
    assert_read("hub", 0, "1:a ", 1);
    assert_ok(mercure_history_sync(history, &err));
    mercure_history_close(NULL);
}

/* ---- appending and reading ---- */

static void a_hub_that_never_had_an_update_is_empty(void **state)
{
    (void)state;
    assert_int_equal(head("hub"), 0);
    assert_int_equal(find("hub", "a"), 0);
    assert_read("hub", 0, "", 0);
    assert_read("hub", 5, "", 5);
    append("other", "a");
    assert_int_equal(head("hub"), 0);
    assert_int_equal(find("hub", "a"), 0);
    assert_read("hub", 0, "", 0);
}

static void updates_are_numbered_from_1_and_read_in_order(void **state)
{
    (void)state;
    assert_int_equal(append("hub", "a"), 1);
    assert_int_equal(append("hub", "b"), 2);
    assert_int_equal(append("hub", "c"), 3);
    assert_int_equal(head("hub"), 3);
    assert_int_equal(find("hub", "a"), 1);
    assert_int_equal(find("hub", "b"), 2);
    assert_int_equal(find("hub", "c"), 3);
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);
    assert_read("hub", 1, "2:b 3:c ", 3);
    assert_read("hub", 2, "3:c ", 3);
    assert_read("hub", 3, "", 3);
    assert_read("hub", 4, "", 4);
    assert_read("hub", UINT64_MAX, "", UINT64_MAX);
}

static bool keep_bytes(void *context, uint64_t sequence, const mercure_record *parsed, mercure_str bytes)
{
    (void)sequence;
    (void)parsed;
    *(mercure_str *)context = (mercure_str){apr_pmemdup(pool, bytes.data, bytes.len), bytes.len};
    return true;
}

static void the_bytes_come_back_as_they_were(void **state)
{
    mercure_append update = one("hub", everything, "a");
    mercure_str got = {NULL, 0};
    char *large = malloc(200001);
    mercure_history_reading outcome;

    (void)state;
    memset(large, 'd', 200000);
    large[200000] = '\0';
    update.record = record("a", large);
    assert_ok(mercure_history_append(history, &update, 1, T0, &err));
    assert_ok(mercure_history_read(history, S("hub"), 0, keep_bytes, &got, &outcome, &err));
    assert_same(got, update.record);
    free(large);
}

static void a_visitor_may_stop(void **state)
{
    (void)state;
    append("hub", "a");
    append("hub", "b");
    append("hub", "c");
    check_read("hub", 0, 1, "1:a ", 1, false, __LINE__);
    check_read("hub", 1, 1, "2:b ", 2, false, __LINE__);
    check_read("hub", 1, 2, "2:b 3:c ", 3, true, __LINE__);
    check_read("hub", 0, 3, "1:a 2:b 3:c ", 3, true, __LINE__);
}

static void a_batch_is_appended_in_order_across_hubs(void **state)
{
    mercure_append batch[] = {one("x", everything, "a"), one("y", everything, "b"), one("x", everything, "c"),
                              one("x", everything, "d"), one("y", everything, "e")};

    (void)state;
    assert_ok(mercure_history_append(history, batch, COUNT(batch), T0, &err));
    assert_int_equal(batch[0].sequence, 1);
    assert_int_equal(batch[1].sequence, 1);
    assert_int_equal(batch[2].sequence, 2);
    assert_int_equal(batch[3].sequence, 3);
    assert_int_equal(batch[4].sequence, 2);
    assert_read("x", 0, "1:a 2:c 3:d ", 3);
    assert_read("y", 0, "1:b 2:e ", 2);
    assert_ok(mercure_history_append(history, NULL, 0, T0, &err));
    assert_int_equal(head("x"), 3);
}

static void a_batch_with_a_damaged_record_stores_nothing(void **state)
{
    mercure_append batch[] = {one("x", everything, "a"), one("y", everything, "b"), one("x", everything, "c")};

    (void)state;
    append("x", "before");
    batch[2].record.len--;
    assert_int_equal(mercure_history_append(history, batch, COUNT(batch), T0, &err), MERCURE_STORE);
    assert_int_equal(head("x"), 1);
    assert_int_equal(head("y"), 0);
    assert_int_equal(find("x", "a"), 0);
    batch[2].record.len++;
    assert_ok(mercure_history_append(history, batch, COUNT(batch), T0, &err)); /* none counts as repeated */
    assert_false(batch[0].repeated);
    assert_read("x", 0, "1:before 2:a 3:c ", 3);
}

static void hubs_with_the_same_ids_are_kept_apart(void **state)
{
    (void)state;
    append("x", "only-x");
    append("x", "a");
    append("y", "a");
    append("xy", "b");
    append("xy", "c");
    append("xy", "a");
    assert_int_equal(find("x", "a"), 2);
    assert_int_equal(find("y", "a"), 1);
    assert_int_equal(find("xy", "a"), 3);
    assert_int_equal(find("y", "only-x"), 0);
    assert_read("x", 0, "1:only-x 2:a ", 2);
    assert_read("y", 0, "1:a ", 1);
    assert_read("xy", 0, "1:b 2:c 3:a ", 3);
    assert_read("y", 1, "", 1); /* does not run on into the next hub */
}

static void a_hub_whose_updates_are_all_gone_does_not_read_on_into_the_next(void **state)
{
    bool more;

    (void)state;
    append_at("x", (mercure_retention){0, 60, 0}, "a", T0);
    append_at("x", (mercure_retention){0, 60, 0}, "b", T0);
    assert_ok(mercure_history_trim(history, T0 + 60001, &more, &err));
    append("y", "c");
    append("y", "d");
    assert_read("x", 0, "", 2);
    assert_read("y", 0, "1:c 2:d ", 2);
}

static void a_hub_and_an_id_of_the_longest_kind_are_stored(void **state)
{
    char hub[256], other_hub[256], id[4097], other_id[4097];

    (void)state;
    memset(hub, 'h', 255);
    hub[255] = '\0';
    strcpy(other_hub, hub);
    other_hub[254] = 'i';
    memset(id, 'i', 4096);
    id[4096] = '\0';
    strcpy(other_id, id);
    other_id[4095] = 'j';
    assert_int_equal(append(hub, id), 1);
    assert_int_equal(append(hub, other_id), 2);
    assert_int_equal(find(hub, id), 1);
    assert_int_equal(find(hub, other_id), 2);
    assert_int_equal(head(other_hub), 0);
    id[4095] = '\0';
    assert_int_equal(find(hub, id), 0);
}

static void an_unknown_id_is_not_found(void **state)
{
    uint64_t sequence;

    (void)state;
    append("hub", "abc");
    assert_int_equal(mercure_history_find(history, S("hub"), S("ab"), &sequence, &err), MERCURE_NOT_FOUND);
    assert_int_equal(mercure_history_find(history, S("hub"), S("abcd"), &sequence, &err), MERCURE_NOT_FOUND);
    assert_int_equal(mercure_history_find(history, S("hub"), S("ABC"), &sequence, &err), MERCURE_NOT_FOUND);
    assert_int_equal(mercure_history_find(history, S("hub"), S(""), &sequence, &err), MERCURE_NOT_FOUND);
    assert_int_equal(mercure_history_find(history, S("hub"), S("earliest"), &sequence, NULL), MERCURE_NOT_FOUND);
    assert_int_equal(mercure_history_find(history, S("other"), S("abc"), &sequence, NULL), MERCURE_NOT_FOUND);
}

static void all_survives_close_and_reopen(void **state)
{
    (void)state;
    append("x", "a");
    append("y", "b");
    append("x", "c");
    reopen();
    assert_read("x", 0, "1:a 2:c ", 2);
    assert_read("y", 0, "1:b ", 1);
    assert_int_equal(append("x", "d"), 3);
    assert_int_equal(append("z", "e"), 1); /* a hub's number is not given out again */
    assert_read("y", 0, "1:b ", 1);
    assert_read("z", 0, "1:e ", 1);
    assert_int_equal(find("x", "c"), 2);
}

/* ---- ids used twice ---- */

static void an_id_used_twice_resolves_to_the_earliest(void **state)
{
    (void)state;
    append("hub", "a");
    append("hub", "twice");
    append("hub", "b");
    append("hub", "twice");
    append("hub", "twice");
    assert_int_equal(find("hub", "twice"), 2);
    assert_read("hub", 2, "3:b 4:twice 5:twice ", 5);
    reopen();
    assert_int_equal(find("hub", "twice"), 2);
}

static void an_id_used_twice_resolves_to_the_next_once_the_earliest_is_discarded(void **state)
{
    const mercure_retention two = {2, 0, 0};

    (void)state;
    append("hub", "twice");
    append("hub", "a");
    append_at("hub", everything, "twice", T0);
    assert_int_equal(find("hub", "twice"), 1);
    append_at("hub", two, "b", T0);
    assert_read("hub", 0, "3:twice 4:b ", 4);
    assert_int_equal(find("hub", "twice"), 3);
    assert_int_equal(find("hub", "a"), 0);
    append_at("hub", two, "c", T0);
    assert_int_equal(find("hub", "twice"), 0);
    append_at("hub", two, "twice", T0);
    assert_int_equal(find("hub", "twice"), 6);
}

static void an_id_used_300_times_resolves_to_the_earliest_in_numeric_order(void **state)
{
    const mercure_retention fifty = {50, 0, 0};

    (void)state;
    for (int i = 0; i < 300; i++) {
        append("hub", "again"); /* past 256: sequences have to sort as numbers */
    }
    assert_int_equal(find("hub", "again"), 1);
    append_at("hub", fifty, "again", T0);
    assert_int_equal(find("hub", "again"), 252);
    assert_int_equal(head("hub"), 301);
}

/* ---- retention ---- */

static void exactly_as_many_events_are_kept_as_allowed(void **state)
{
    const mercure_retention three = {3, 0, 0};

    (void)state;
    append_at("hub", three, "a", T0);
    append_at("hub", three, "b", T0);
    append_at("hub", three, "c", T0);
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);
    append_at("hub", three, "d", T0);
    assert_read("hub", 0, "2:b 3:c 4:d ", 4);
    assert_int_equal(find("hub", "a"), 0);
    assert_int_equal(find("hub", "b"), 2);
    append_at("hub", (mercure_retention){1, 0, 0}, "e", T0);
    assert_read("hub", 0, "5:e ", 5);
    assert_read("hub", 2, "5:e ", 5); /* a reader that stood in what is gone goes on with what is left */
    append_at("hub", everything, "f", T0);
    append_at("hub", everything, "g", T0);
    assert_read("hub", 0, "5:e 6:f 7:g ", 7);
}

static void one_hubs_retention_does_not_touch_another(void **state)
{
    (void)state;
    append("x", "a");
    append("x", "b");
    append_at("y", (mercure_retention){1, 0, 0}, "a", T0);
    append_at("y", (mercure_retention){1, 0, 0}, "b", T0);
    assert_read("x", 0, "1:a 2:b ", 2);
    assert_read("y", 0, "2:b ", 2);
    assert_int_equal(find("x", "a"), 1);
    assert_int_equal(find("y", "a"), 0);
}

static void bytes_are_counted_as_the_sum_of_the_records(void **state)
{
    const mercure_retention enough = {0, 0, 105}, too_few = {0, 0, 104};

    (void)state;
    assert_int_equal(record("aaa", "x").len, 35);
    append_at("x", enough, "aaa", T0);
    append_at("x", enough, "bbb", T0);
    append_at("x", enough, "ccc", T0);
    assert_read("x", 0, "1:aaa 2:bbb 3:ccc ", 3);
    append_at("x", enough, "ddd", T0);
    assert_read("x", 0, "2:bbb 3:ccc 4:ddd ", 4);
    append_at("y", too_few, "aaa", T0);
    append_at("y", too_few, "bbb", T0);
    append_at("y", too_few, "ccc", T0);
    assert_read("y", 0, "2:bbb 3:ccc ", 3);
    reopen();
    append_at("x", enough, "eee", T0); /* the sum is kept on disk */
    assert_read("x", 0, "3:ccc 4:ddd 5:eee ", 5);
}

static void an_update_larger_than_all_is_kept_until_the_next(void **state)
{
    (void)state;
    append("hub", "aaa");
    assert_int_equal(append_at("hub", (mercure_retention){0, 0, 34}, "bbb", T0), 2);
    assert_int_equal(head("hub"), 2);
    assert_int_equal(find("hub", "bbb"), 2);
    assert_read("hub", 0, "2:bbb ", 2);
    assert_int_equal(append_at("hub", (mercure_retention){0, 0, 34}, "ccc", T0), 3);
    assert_read("hub", 0, "3:ccc ", 3);
}

static void what_is_older_than_allowed_is_discarded(void **state)
{
    const mercure_retention minute = {0, 60, 0};
    bool more = true;

    (void)state;
    append_at("hub", minute, "a", T0);
    append_at("hub", minute, "b", T0 + 1000);
    append_at("hub", minute, "c", T0 + 60000); /* a is 60 s old to the millisecond */
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);
    append_at("hub", minute, "d", T0 + 60001);
    assert_read("hub", 0, "2:b 3:c 4:d ", 4);
    assert_ok(mercure_history_trim(history, T0 + 61000, &more, &err));
    assert_false(more);
    assert_read("hub", 0, "2:b 3:c 4:d ", 4);
    assert_ok(mercure_history_trim(history, T0 + 61001, &more, &err));
    assert_false(more);
    assert_read("hub", 0, "3:c 4:d ", 4);
    assert_int_equal(find("hub", "b"), 0);
    assert_ok(mercure_history_trim(history, T0 + 600000, &more, &err));
    assert_read("hub", 0, "", 4);
    assert_int_equal(head("hub"), 4);
    assert_int_equal(append_at("hub", minute, "e", T0 + 600000), 5);
    assert_ok(mercure_history_trim(history, T0 + 660000, &more, &err));
    assert_read("hub", 0, "5:e ", 5); /* its age counts from its own time */
    assert_ok(mercure_history_trim(history, T0 + 660001, &more, &err));
    assert_read("hub", 4, "", 5);
}

static void a_clock_set_back_discards_nothing(void **state)
{
    const mercure_retention minute = {0, 60, 0};
    bool more;

    (void)state;
    append_at("hub", minute, "a", T0);
    append_at("hub", minute, "b", T0 - 3600000);
    assert_ok(mercure_history_trim(history, T0 - 7200000, &more, &err));
    assert_ok(mercure_history_trim(history, 0, &more, &err));
    assert_read("hub", 0, "1:a 2:b ", 2);
}

static void an_age_too_large_for_milliseconds_keeps_everything(void **state)
{
    bool more;

    (void)state;
    append_at("x", (mercure_retention){0, UINT64_MAX, 0}, "a", T0);
    append_at("y", (mercure_retention){0, UINT64_C(18446744073709552), 0}, "a", T0); /* 2^64 / 1000, and a bit */
    assert_ok(mercure_history_trim(history, T0 + 86400000, &more, &err));
    assert_read("x", 0, "1:a ", 1);
    assert_read("y", 0, "1:a ", 1);
}

static void all_three_bounds_hold_at_once(void **state)
{
    const mercure_retention both = {3, 60, 70};

    (void)state;
    append_at("hub", both, "aaa", T0);
    append_at("hub", both, "bbb", T0);
    append_at("hub", both, "ccc", T0 + 1);
    assert_read("hub", 0, "2:bbb 3:ccc ", 3); /* bytes */
    append_at("hub", both, "ddd", T0 + 60001);
    assert_read("hub", 0, "3:ccc 4:ddd ", 4);
    append_at("hub", both, "eee", T0 + 70000);
    assert_read("hub", 0, "4:ddd 5:eee ", 5); /* age */
}

static void append_many(const char *hub, mercure_retention retention, unsigned from, unsigned count)
{
    enum { BATCH = 500 };
    static mercure_append batch[BATCH];

    for (unsigned done = 0; done < count;) {
        size_t size = 0;
        for (; size < BATCH && done < count; size++, done++) {
            char id[16];
            snprintf(id, sizeof(id), "id%u", from + done);
            batch[size] = one(hub, retention, id);
        }
        assert_ok(mercure_history_append(history, batch, size, T0, &err));
        apr_pool_clear(pool);
    }
}

static void trim_says_when_there_is_more_and_ends(void **state)
{
    bool more = false;
    int calls = 0;
    uint64_t first = 0;
    const mercure_retention ten = {10, 0, 0};

    (void)state;
    append_many("hub", everything, 1, 20000);
    append_at("hub", ten, "id20001", T0);
    assert_true(mercure_history_find(history, S("hub"), S("id19000"), &first, &err) == MERCURE_OK); /* bounded too */
    assert_ok(mercure_history_trim(history, T0, &more, &err));
    assert_true(more);
    assert_true(find("hub", "id1") == 0);
    assert_true(find("hub", "id19000") == 19000);
    for (; more && calls < 50; calls++) {
        assert_ok(mercure_history_trim(history, T0, &more, &err));
    }
    assert_in_range(calls, 1, 10);
    assert_read("hub", 0,
                "19992:id19992 19993:id19993 19994:id19994 19995:id19995 19996:id19996 19997:id19997 "
                "19998:id19998 19999:id19999 20000:id20000 20001:id20001 ",
                20001);
    assert_ok(mercure_history_trim(history, T0, &more, &err));
    assert_false(more);
    assert_int_equal(head("hub"), 20001);
}

static void trim_looks_at_every_hub(void **state)
{
    const mercure_retention minute = {0, 60, 0};
    bool more;

    (void)state;
    for (int i = 0; i < 300; i++) {
        char hub[16];
        snprintf(hub, sizeof(hub), "hub%d", i);
        append_at(hub, i % 3 == 0 ? everything : minute, "a", T0);
    }
    assert_ok(mercure_history_trim(history, T0 + 60001, &more, &err));
    assert_false(more);
    for (int i = 0; i < 300; i++) {
        char hub[16];
        snprintf(hub, sizeof(hub), "hub%d", i);
        assert_int_equal(find(hub, "a"), i % 3 == 0 ? 1 : 0);
        assert_int_equal(head(hub), 1);
    }
}

static void the_file_stays_bounded_while_200000_updates_pass(void **state)
{
    const mercure_retention thousand = {1000, 0, 0};
    char file[300];
    struct stat early, late;

    (void)state;
    snprintf(file, sizeof(file), "%s/data.mdb", directory);
    append_many("hub", thousand, 1, 20000);
    assert_int_equal(stat(file, &early), 0);
    append_many("hub", thousand, 20001, 180000);
    assert_int_equal(stat(file, &late), 0);
    assert_int_equal(head("hub"), 200000);
    assert_int_equal(find("hub", "id199000"), 0);
    assert_int_equal(find("hub", "id199001"), 199001);
    if (late.st_size > 8 << 20 || late.st_size > early.st_size + early.st_size / 4) {
        fail_msg("%lld bytes after 20,000 updates, %lld after 200,000", (long long)early.st_size,
                 (long long)late.st_size);
    }
}

/* ---- repeated publications ---- */

static mercure_append numbered(const char *hub, const unsigned char *publisher, uint64_t number, uint64_t floor,
                               const char *id)
{
    return (mercure_append){.hub = mercure_str_of(hub),
                            .publisher = publisher,
                            .number = number,
                            .floor = floor,
                            .record = record(id, "x"),
                            .sequence = 999};
}

/* Append one publication; returns its sequence, negative when it was known. */
static long publish(const unsigned char *publisher, uint64_t number, uint64_t floor, const char *id, uint64_t now_ms)
{
    mercure_append update = numbered("hub", publisher, number, floor, id);

    assert_ok(mercure_history_append(history, &update, 1, now_ms, &err));
    return update.repeated ? -(long)update.sequence : (long)update.sequence;
}

static void a_repeated_publication_is_stored_once(void **state)
{
    (void)state;
    assert_int_equal(publish(alice, 1, 1, "a", T0), 1);
    assert_int_equal(publish(alice, 2, 1, "b", T0), 2);
    assert_int_equal(publish(alice, 1, 1, "a", T0), -1);
    assert_int_equal(publish(alice, 2, 1, "b", T0), -2);
    assert_int_equal(publish(alice, 3, 1, "c", T0), 3);
    assert_int_equal(publish(alice, 2, 1, "b", T0), -2);
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);
}

static void a_publication_repeated_in_one_batch_is_stored_once(void **state)
{
    mercure_append batch[] = {numbered("hub", alice, 1, 1, "a"), numbered("hub", bob, 1, 1, "b"),
                              numbered("hub", alice, 1, 1, "a"), numbered("hub", alice, 2, 1, "c")};

    (void)state;
    assert_ok(mercure_history_append(history, batch, COUNT(batch), T0, &err));
    assert_false(batch[0].repeated);
    assert_false(batch[1].repeated);
    assert_true(batch[2].repeated);
    assert_false(batch[3].repeated);
    assert_int_equal(batch[2].sequence, 1);
    assert_int_equal(batch[3].sequence, 3);
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);
}

static void publishers_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(publish(alice, 1, 1, "a", T0), 1);
    assert_int_equal(publish(bob, 1, 1, "b", T0), 2);
    assert_int_equal(publish(bob, 2, 2, "c", T0), 3); /* bob's floor settles nothing of alice's */
    assert_int_equal(publish(alice, 1, 1, "a", T0), -1);
}

static void a_repeated_publication_is_known_after_reopening(void **state)
{
    (void)state;
    assert_int_equal(publish(alice, 1, 1, "a", T0), 1);
    assert_int_equal(publish(alice, 2, 1, "b", T0), 2);
    reopen();
    assert_int_equal(publish(alice, 2, 1, "b", T0 + 1000), -2);
    assert_int_equal(publish(alice, 1, 1, "a", T0 + 1000), -1);
    assert_read("hub", 0, "1:a 2:b ", 2);
}

static void a_repeated_publication_is_known_although_its_update_was_discarded(void **state)
{
    mercure_append update = numbered("hub", alice, 1, 1, "a");

    (void)state;
    update.retention.events = 1;
    assert_ok(mercure_history_append(history, &update, 1, T0, &err));
    append_at("hub", (mercure_retention){1, 0, 0}, "b", T0);
    assert_int_equal(find("hub", "a"), 0);
    assert_int_equal(publish(alice, 1, 1, "a", T0), -1);
    assert_int_equal(head("hub"), 2);
}

/* How many publications are remembered, looked up behind the library's back. */
static size_t remembered(void)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi publications;
    MDB_stat info;

    mercure_history_close(history);
    history = NULL;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 8);
    assert_int_equal(mdb_env_open(env, directory, MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "publications", 0, &publications), 0);
    assert_int_equal(mdb_stat(txn, publications, &info), 0);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    assert_ok(mercure_history_open_writer(directory, false, &history, &err));
    return info.ms_entries;
}

static void the_floor_forgets_what_is_settled_and_only_that(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 600; number++) { /* past 256, and past one page */
        publish(alice, number, 1, "a", T0);
    }
    publish(bob, 1, 1, "b", T0);
    assert_int_equal(remembered(), 601);
    assert_int_equal(publish(alice, 601, 500, "c", T0), 602);
    assert_int_equal(remembered(), 1 + 102);
    assert_int_equal(publish(alice, 500, 500, "a", T0), -500);
    assert_int_equal(publish(alice, 601, 500, "c", T0), -602);
    assert_int_equal(publish(bob, 1, 1, "b", T0), -601);
    assert_int_equal(publish(alice, 602, 602, "d", T0), 603);
    assert_int_equal(remembered(), 2);
}

static void tidy_forgets_publishers_that_fell_silent(void **state)
{
    (void)state;
    publish(alice, 1, 1, "a", T0);
    publish(alice, 2, 1, "b", T0);
    publish(bob, 1, 1, "c", T0 + 5000);
    assert_ok(mercure_history_tidy(history, T0 + 60000, 60, &err)); /* alice was heard of 60 s ago to the millisecond */
    assert_int_equal(remembered(), 3);
    assert_ok(mercure_history_tidy(history, T0 + 60001, 60, &err));
    assert_int_equal(remembered(), 1);
    assert_int_equal(publish(bob, 1, 1, "c", T0 + 60001), -3);
    assert_read("hub", 0, "1:a 2:b 3:c ", 3);              /* the updates stay */
    assert_ok(mercure_history_tidy(history, 5, 60, &err)); /* a clock set back to the beginning */
    assert_int_equal(remembered(), 1);
}

static void tidy_forgets_all_of_many(void **state)
{
    (void)state;
    for (uint64_t number = 1; number <= 3000; number++) {
        publish(alice, number, 1, "a", T0 + number % 2 * 1000);
        if (number % 100 == 0) {
            publish(bob, number, 1, "b", T0 + 100000);
        }
    }
    for (int i = 0; i < 10; i++) { /* a bounded amount each time */
        assert_ok(mercure_history_tidy(history, T0 + 100000, 60, &err));
    }
    assert_int_equal(remembered(), 30);
}

/* ---- another process ---- */

enum { SHARED_UPDATES = 5000 };

typedef struct {
    uint64_t last;
    bool in_order;
} following;

static bool follow(void *context, uint64_t sequence, const mercure_record *parsed, mercure_str bytes)
{
    following *f = context;
    char id[16];

    (void)bytes;
    snprintf(id, sizeof(id), "id%llu", (unsigned long long)sequence);
    f->in_order = f->in_order && sequence == f->last + 1 && mercure_str_is(parsed->id, id);
    f->last = sequence;
    return f->in_order && sequence % 7 != 0;
}

/* The child: open when told to, read until all have come, report one byte. It must not return into cmocka. */
static void read_all_and_report(int orders, int reports)
{
    mercure_history *reader = NULL;
    mercure_error why;
    following f = {0, true};
    char order, report = 'x';

    if (read(orders, &order, 1) != 1 || mercure_history_open_reader(directory, &reader, &why) != MERCURE_OK ||
        write(reports, "o", 1) != 1) {
        _exit(1);
    }
    while (f.in_order && f.last < SHARED_UPDATES) {
        mercure_history_reading outcome;
        uint64_t found;
        char id[16];
        if (mercure_history_read(reader, S("hub"), f.last, follow, &f, &outcome, &why) != MERCURE_OK ||
            outcome.last != f.last) {
            _exit(2);
        }
        snprintf(id, sizeof(id), "id%llu", (unsigned long long)f.last);
        if (f.last > 0 && (mercure_history_find(reader, S("hub"), mercure_str_of(id), &found, &why) != MERCURE_OK ||
                           found != f.last)) {
            _exit(3);
        }
        sched_yield();
    }
    mercure_history_close(reader);
    report = f.in_order ? 'y' : 'n';
    _exit(write(reports, &report, 1) == 1 ? 0 : 4);
}

static char wait_report(int reports)
{
    struct pollfd one_pipe = {reports, POLLIN, 0};
    char report = '?';

    assert_int_equal(poll(&one_pipe, 1, 10000), 1); /* rather than hang, fail */
    assert_int_equal(read(reports, &report, 1), 1);
    return report;
}

static void a_reader_process_follows_while_the_writer_writes(void **state)
{
    int orders[2], reports[2], status;
    uint64_t seed = 8;

    (void)state;
    mercure_history_close(history); /* not to be carried over the fork */
    history = NULL;
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(reports), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        read_all_and_report(orders[0], reports[1]);
    }
    close(orders[0]);
    close(reports[1]);
    assert_ok(mercure_history_open_writer(directory, false, &history, &err));
    assert_int_equal(write(orders[1], "g", 1), 1);
    assert_int_equal(wait_report(reports[0]), 'o');
    for (unsigned done = 0; done < SHARED_UPDATES;) {
        unsigned count = 1 + unit_draw(&seed, 40);
        count = count < SHARED_UPDATES - done ? count : SHARED_UPDATES - done;
        append_many("hub", everything, done + 1, count);
        done += count;
    }
    char report = wait_report(reports[0]);
    close(orders[1]);
    close(reports[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(report, 'y');
}

static void a_reader_process_sees_discarded_updates_gone(void **state)
{
    int orders[2], reports[2], status;
    const mercure_retention two = {2, 0, 0};

    (void)state;
    mercure_history_close(history);
    history = NULL;
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(reports), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mercure_history *reader;
        uint64_t sequence = 0;
        char order;
        if (read(orders[0], &order, 1) != 1 || mercure_history_open_reader(directory, &reader, NULL) != MERCURE_OK ||
            mercure_history_find(reader, S("hub"), S("a"), &sequence, NULL) != MERCURE_OK || sequence != 1 ||
            write(reports[1], "1", 1) != 1 || read(orders[0], &order, 1) != 1 ||
            mercure_history_find(reader, S("hub"), S("a"), &sequence, NULL) != MERCURE_NOT_FOUND ||
            mercure_history_find(reader, S("hub"), S("c"), &sequence, NULL) != MERCURE_OK || sequence != 3) {
            _exit(1);
        }
        mercure_history_close(reader);
        _exit(0);
    }
    close(orders[0]);
    close(reports[1]);
    assert_ok(mercure_history_open_writer(directory, false, &history, &err));
    append_at("hub", two, "a", T0);
    append_at("hub", two, "b", T0);
    assert_int_equal(write(orders[1], "g", 1), 1);
    assert_int_equal(wait_report(reports[0]), '1');
    append_at("hub", two, "c", T0);
    assert_int_equal(write(orders[1], "g", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(orders[1]);
    close(reports[0]);
}

/* ---- the group ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static int open_one(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    next_number = 0;
    snprintf(directory, sizeof(directory), "%s/mercure-history-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(directory) == NULL || rmdir(directory) != 0) { /* the library makes it, under a name that is free */
        return -1;
    }
    return mercure_history_open_writer(directory, false, &history, &err) == MERCURE_OK ? 0 : -1;
}

static int close_one(void **state)
{
    (void)state;
    mercure_history_close(history);
    history = NULL;
    apr_pool_clear(pool);
    return nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_directory_is_made_private),
        TEST(opening_below_a_missing_directory_says_why_not),
        TEST(a_reader_needs_an_existing_history),
        TEST(a_history_of_another_format_is_refused_with_advice),
        TEST(a_file_that_is_no_history_is_refused),
        TEST(a_reader_notices_that_its_file_was_replaced),
        TEST(a_durable_history_keeps_what_was_appended),
        TEST(a_hub_that_never_had_an_update_is_empty),
        TEST(updates_are_numbered_from_1_and_read_in_order),
        TEST(the_bytes_come_back_as_they_were),
        TEST(a_visitor_may_stop),
        TEST(a_batch_is_appended_in_order_across_hubs),
        TEST(a_batch_with_a_damaged_record_stores_nothing),
        TEST(hubs_with_the_same_ids_are_kept_apart),
        TEST(a_hub_whose_updates_are_all_gone_does_not_read_on_into_the_next),
        TEST(a_hub_and_an_id_of_the_longest_kind_are_stored),
        TEST(an_unknown_id_is_not_found),
        TEST(all_survives_close_and_reopen),
        TEST(an_id_used_twice_resolves_to_the_earliest),
        TEST(an_id_used_twice_resolves_to_the_next_once_the_earliest_is_discarded),
        TEST(an_id_used_300_times_resolves_to_the_earliest_in_numeric_order),
        TEST(exactly_as_many_events_are_kept_as_allowed),
        TEST(one_hubs_retention_does_not_touch_another),
        TEST(bytes_are_counted_as_the_sum_of_the_records),
        TEST(an_update_larger_than_all_is_kept_until_the_next),
        TEST(what_is_older_than_allowed_is_discarded),
        TEST(a_clock_set_back_discards_nothing),
        TEST(an_age_too_large_for_milliseconds_keeps_everything),
        TEST(all_three_bounds_hold_at_once),
        TEST(trim_says_when_there_is_more_and_ends),
        TEST(trim_looks_at_every_hub),
        TEST(the_file_stays_bounded_while_200000_updates_pass),
        TEST(a_repeated_publication_is_stored_once),
        TEST(a_publication_repeated_in_one_batch_is_stored_once),
        TEST(publishers_are_told_apart),
        TEST(a_repeated_publication_is_known_after_reopening),
        TEST(a_repeated_publication_is_known_although_its_update_was_discarded),
        TEST(the_floor_forgets_what_is_settled_and_only_that),
        TEST(tidy_forgets_publishers_that_fell_silent),
        TEST(tidy_forgets_all_of_many),
        TEST(a_reader_process_follows_while_the_writer_writes),
        TEST(a_reader_process_sees_discarded_updates_gone),
    };

    return cmocka_run_group_tests_name("history", tests, unit_setup, unit_teardown);
}
