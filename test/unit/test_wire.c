/* test_wire.c - the frames between httpd's children and brokerd: round trips, and whatever else may arrive. */
#include "mercure/wire.h"

#include "unit.h"

static const mercure_peer_id peer = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
#define PEER "\1\2\3\4\5\6\7\x8\x9\xA\xB\xC\xD\xE\xF\x10"

static const mercure_wire_publication publication = {
    .child = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
    .number = UINT64_C(0x0102030405060708),
    .floor = 7,
    .hub = S("hub"),
    .retention = {.events = 1000, .seconds = UINT64_MAX, .bytes = 0},
};
#define PUBLICATION_FRAME                                                                                              \
    "MB\2\1" PEER "\x8\7\6\5\4\3\2\1"                                                                                  \
    "\7\0\0\0\0\0\0\0"                                                                                                 \
    "\xE8\3\0\0\0\0\0\0"                                                                                               \
    "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"                                                                                 \
    "\0\0\0\0\0\0\0\0"                                                                                                 \
    "\3\0hub"

static const mercure_wire_delivery delivery = {.session = 5, .number = 258, .sequence = UINT64_MAX, .hub = S("h")};
#define DELIVERY_FRAME                                                                                                 \
    "MB\2\2"                                                                                                           \
    "\5\0\0\0\0\0\0\0"                                                                                                 \
    "\2\1\0\0\0\0\0\0"                                                                                                 \
    "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"                                                                                 \
    "\1\0h"

static const mercure_matcher_key exact = {MERCURE_MATCH_EXACT, S("topic"), S("")};
static const mercure_matcher_key all = {MERCURE_MATCH_ALL, S("*"), S("")};

/* Each type of control message, its bytes, and what they mean. */
static const struct {
    mercure_wire_control message;
    mercure_str frame;
} controls[] = {
    {{.type = MERCURE_WIRE_HELLO, .peer = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}, .number = 7},
     S("MB\2\xA" PEER "\7\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_WELCOME, .peer = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}, .number = 7},
     S("MB\2\xB" PEER "\7\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_REGISTER, .hub = S("hub"), .matcher = {MERCURE_MATCH_EXACT, S("topic"), S("")}, .nonce = 3},
     S("MB\2\xC\3\0hub\2\5\0topic\0\0\3\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_REGISTERED,
      .hub = S("hub"),
      .matcher = {MERCURE_MATCH_ALL, S("*"), S("")},
      .number = 65536,
      .status = MERCURE_LIMIT,
      .nonce = 4},
     S("MB\2\xD\3\0hub\1\1\0*\0\0\0\0\1\0\0\0\0\0\2\4\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_UNREGISTER, .hub = S("hub"), .matcher = {MERCURE_MATCH_EXACT, S("topic"), S("")}},
     S("MB\2\xE\3\0hub\2\5\0topic\0\0")},
    {{.type = MERCURE_WIRE_REGISTER, .hub = S("hub"), .matcher = {MERCURE_MATCH_URLPATTERN, S("/:a"), S("http://b/")}},
     S("MB\2\xC\3\0hub\3\3\0/:a\x9\0http://b/\0\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_ACKNOWLEDGE, .number = 9, .status = MERCURE_STORE}, S("MB\2\xF\x9\0\0\0\0\0\0\0\4")},
    {{.type = MERCURE_WIRE_PING, .number = 1}, S("MB\2\x10\1\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_PONG, .number = 2}, S("MB\2\x11\2\0\0\0\0\0\0\0")},
    {{.type = MERCURE_WIRE_UNKNOWN}, S("MB\2\x12")},
    {{.type = MERCURE_WIRE_BYE}, S("MB\2\x13")},
    {{.type = MERCURE_WIRE_KEYS_WANTED, .url = S("https://a/")}, S("MB\2\x14\xA\0https://a/")},
    {{.type = MERCURE_WIRE_KEYS_LACKING, .url = S("https://b")}, S("MB\2\x15\x9\0https://b")},
    {{.type = MERCURE_WIRE_KEYS_FETCHED, .url = S("https://c")}, S("MB\2\x16\x9\0https://c")},
};

/* Try all three decoders on an exact copy, and read all that they return. Returns how many accepted it. */
static int accepted_by(mercure_str frame)
{
    char *copy = unit_exact(frame);
    mercure_str same = {copy, frame.len};
    mercure_wire_publication got_publication;
    mercure_wire_delivery got_delivery;
    mercure_wire_control got_control;
    unsigned char again[MERCURE_WIRE_MAX];
    int accepted = 0;

    memset(&got_publication, 0, sizeof(got_publication));
    memset(&got_delivery, 0, sizeof(got_delivery));
    memset(&got_control, 0, sizeof(got_control));
    /* What is accepted has one encoding: encoding it again gives the frame, and reads every string. */
    if (mercure_wire_get_publication(same, &got_publication)) {
        size_t len = mercure_wire_put_publication(&got_publication, again);
        assert_same(((mercure_str){(char *)again, len}), same);
        accepted++;
    }
    if (mercure_wire_get_delivery(same, &got_delivery)) {
        size_t len = mercure_wire_put_delivery(&got_delivery, again);
        assert_same(((mercure_str){(char *)again, len}), same);
        accepted++;
    }
    if (mercure_wire_get_control(same, &got_control)) {
        size_t len = mercure_wire_put_control(&got_control, again);
        assert_same(((mercure_str){(char *)again, len}), same);
        accepted++;
    }
    free(copy);
    return accepted;
}

static void a_publication_survives_the_round_trip(void **state)
{
    unsigned char out[MERCURE_WIRE_MAX];
    mercure_wire_publication got;

    (void)state;
    size_t len = mercure_wire_put_publication(&publication, out);
    assert_str(((mercure_str){(char *)out, len}), PUBLICATION_FRAME);
    assert_true(mercure_wire_get_publication((mercure_str){(char *)out, len}, &got));
    assert_memory_equal(got.child.bytes, peer.bytes, 16);
    assert_true(got.number == UINT64_C(0x0102030405060708));
    assert_true(got.floor == 7);
    assert_true(got.retention.events == 1000);
    assert_true(got.retention.seconds == UINT64_MAX);
    assert_true(got.retention.bytes == 0);
    assert_str(got.hub, "hub");
}

static void a_delivery_survives_the_round_trip(void **state)
{
    unsigned char out[MERCURE_WIRE_MAX];
    mercure_wire_delivery got;

    (void)state;
    size_t len = mercure_wire_put_delivery(&delivery, out);
    assert_str(((mercure_str){(char *)out, len}), DELIVERY_FRAME);
    assert_true(mercure_wire_get_delivery((mercure_str){(char *)out, len}, &got));
    assert_true(got.session == 5);
    assert_true(got.number == 258);
    assert_true(got.sequence == UINT64_MAX);
    assert_str(got.hub, "h");
}

static void every_control_message_survives_the_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(controls); i++) {
        const mercure_wire_control *sent = &controls[i].message;
        unsigned char out[MERCURE_WIRE_MAX];
        mercure_wire_control got;
        memset(&got, 0, sizeof(got));

        size_t len = mercure_wire_put_control(sent, out);
        assert_same(((mercure_str){(char *)out, len}), controls[i].frame);
        assert_true(mercure_wire_get_control((mercure_str){(char *)out, len}, &got));
        assert_int_equal(got.type, sent->type);
        assert_memory_equal(got.peer.bytes, sent->peer.bytes, 16);
        assert_same(got.hub, sent->hub.data != NULL ? sent->hub : S(""));
        assert_int_equal(got.matcher.kind, sent->matcher.kind);
        assert_same(got.matcher.pattern, sent->matcher.pattern.data != NULL ? sent->matcher.pattern : S(""));
        assert_same(got.matcher.base, sent->matcher.base.data != NULL ? sent->matcher.base : S(""));
        assert_true(got.number == sent->number);
        assert_int_equal(got.status, sent->status);
        assert_same(got.url, sent->url.data != NULL ? sent->url : S(""));
    }
}

static void every_status_can_be_acknowledged_and_no_other(void **state)
{
    (void)state;
    for (unsigned status = 0; status < 256; status++) {
        char frame[] = "MB\2\xF\x9\0\0\0\0\0\0\0\0";
        frame[12] = (char)status;
        assert_int_equal(accepted_by((mercure_str){frame, 13}), status <= MERCURE_SYSTEM ? 1 : 0);
    }
}

static void the_largest_strings_fit_into_a_frame(void **state)
{
    static char pattern[4096], hub[255], base[2048];
    mercure_wire_control control = {
        .type = MERCURE_WIRE_REGISTERED,
        .hub = {hub, sizeof(hub)},
        .matcher = {MERCURE_MATCH_URLPATTERN, {pattern, sizeof(pattern)}, {base, sizeof(base)}},
        .number = UINT64_MAX};
    unsigned char out[MERCURE_WIRE_MAX];
    mercure_wire_control got;

    (void)state;
    memset(pattern, 'p', sizeof(pattern));
    memset(hub, 'h', sizeof(hub));
    memset(base, 'b', sizeof(base));
    size_t len = mercure_wire_put_control(&control, out);
    assert_true(mercure_wire_get_control((mercure_str){(char *)out, len}, &got));
    assert_int_equal(got.matcher.pattern.len, 4096);
    assert_int_equal(got.matcher.base.len, 2048);
    assert_int_equal(got.hub.len, 255);
    assert_true(got.number == UINT64_MAX);
}

static void a_longer_string_writes_nothing_past_the_frame(void **state)
{
    static char pattern[60000];
    mercure_wire_control control = {.type = MERCURE_WIRE_REGISTER,
                                    .hub = S("hub"),
                                    .matcher = {MERCURE_MATCH_EXACT, {pattern, sizeof(pattern)}, S("")}};
    unsigned char *out = malloc(MERCURE_WIRE_MAX);

    (void)state;
    size_t len = mercure_wire_put_control(&control, out);
    assert_in_range(len, 0, MERCURE_WIRE_MAX);
    assert_int_equal(accepted_by((mercure_str){(char *)out, len}), 0);
    free(out);
}

static void names_and_patterns_out_of_bounds_are_refused(void **state)
{
    static char frame[8192];

    (void)state;
    assert_int_equal(accepted_by(S("MB\2\xC\0\0\2\5\0topic\0\0\0\0\0\0\0\0\0\0")), 0); /* no hub */
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\2\0\0\0\0\0\0\0\0\0\0\0\0")), 0);   /* no pattern */
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\0\1\0*\0\0\0\0\0\0\0\0\0\0")), 0);  /* kinds that do not exist */
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\x20\1\0*\0\0\0\0\0\0\0\0\0\0")), 0);
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\xFF\1\0*\0\0\0\0\0\0\0\0\0\0")), 0);
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\2\1\0t\1\0b\0\0\0\0\0\0\0\0")), 0); /* a base without need */
    assert_int_equal(accepted_by(S("MB\2\xC\3\0hub\1\1\0*\1\0b\0\0\0\0\0\0\0\0")), 0);
    assert_int_equal(accepted_by(S("MB\2\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
                     0); /* a delivery without hub */

    memcpy(frame, "MB\2\xC\0\1", 6); /* a hub of 256 bytes */
    memset(frame + 6, 'h', 256);
    memcpy(frame + 262, "\2\1\0t\0\0\0\0\0\0\0\0\0\0", 14);
    assert_int_equal(accepted_by((mercure_str){frame, 276}), 0);
    memcpy(frame + 4, "\xFF\0", 2); /* of 255 */
    memcpy(frame + 261, "\2\1\0t\0\0\0\0\0\0\0\0\0\0", 14);
    assert_int_equal(accepted_by((mercure_str){frame, 275}), 1);

    memcpy(frame, "MB\2\xC\1\0h\2\1\x10", 10); /* a pattern of 4097 bytes */
    memset(frame + 10, 'p', 4097);
    memset(frame + 10 + 4096, 0, 32);
    frame[10 + 4096] = 'p';
    mercure_wire_control got;
    assert_false(mercure_wire_get_control((mercure_str){frame, 10 + 4097 + 10}, &got));
    frame[8] = 0; /* of 4096 */
    frame[10 + 4096] = 0;
    assert_true(mercure_wire_get_control((mercure_str){frame, 10 + 4096 + 10}, &got));

    memset(frame, 'b', sizeof(frame));
    memcpy(frame, "MB\2\xC\1\0h\3\1\0p\1\x8", 13); /* a base of 2049 bytes */
    assert_false(mercure_wire_get_control((mercure_str){frame, 13 + 2049 + 8}, &got));
    frame[11] = 0; /* of 2048 */
    assert_true(mercure_wire_get_control((mercure_str){frame, 13 + 2048 + 8}, &got));
}

static void urls_out_of_bounds_are_refused(void **state)
{
    static char frame[6 + 2049] = "MB\2\x14\1\x8"; /* 2049 bytes */
    mercure_wire_control got;

    (void)state;
    assert_int_equal(accepted_by(S("MB\2\x14\0\0")), 0);
    memset(frame + 6, 'u', 2049);
    assert_false(mercure_wire_get_control((mercure_str){frame, 6 + 2049}, &got));
    frame[4] = 0; /* 2048 */
    assert_true(mercure_wire_get_control((mercure_str){frame, 6 + 2048}, &got));
}

static void each_frame(void (*check)(mercure_str frame))
{
    check(S(PUBLICATION_FRAME));
    check(S(DELIVERY_FRAME));
    for (size_t i = 0; i < COUNT(controls); i++) {
        check(controls[i].frame);
    }
}

static void check_one_decoder(mercure_str frame)
{
    assert_int_equal(accepted_by(frame), 1);
}

static void a_frame_is_accepted_by_its_own_decoder_only(void **state)
{
    (void)state;
    each_frame(check_one_decoder);
}

static void check_truncations(mercure_str frame)
{
    char longer[128];

    for (size_t len = 0; len < frame.len; len++) {
        assert_int_equal(accepted_by((mercure_str){frame.data, len}), 0);
    }
    memcpy(longer, frame.data, frame.len);
    longer[frame.len] = 0;
    assert_int_equal(accepted_by((mercure_str){longer, frame.len + 1}), 0);
}

static void every_truncation_and_every_extension_is_refused(void **state)
{
    (void)state;
    each_frame(check_truncations);
}

static void check_versions(mercure_str frame)
{
    char other[128];

    for (unsigned version = 0; version < 256; version++) {
        memcpy(other, frame.data, frame.len);
        other[2] = (char)version;
        assert_int_equal(accepted_by((mercure_str){other, frame.len}), version == MERCURE_WIRE_VERSION ? 1 : 0);
    }
    memcpy(other, frame.data, frame.len);
    other[0] = 'm';
    assert_int_equal(accepted_by((mercure_str){other, frame.len}), 0);
    other[0] = 'M';
    other[1] = 'C';
    assert_int_equal(accepted_by((mercure_str){other, frame.len}), 0);
}

static void another_version_or_another_magic_is_refused(void **state)
{
    (void)state;
    each_frame(check_versions);
}

static void unknown_types_are_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        char frame[] = {'M', 'B', MERCURE_WIRE_VERSION, (char)type};
        bool bare = type == MERCURE_WIRE_UNKNOWN || type == MERCURE_WIRE_BYE;
        assert_int_equal(accepted_by((mercure_str){frame, sizeof(frame)}), bare ? 1 : 0);
    }
}

static uint64_t seed = 6;

static void check_mutations(mercure_str frame)
{
    char mutated[128];

    for (int round = 0; round < 5000; round++) {
        memcpy(mutated, frame.data, frame.len);
        for (uint32_t changes = 1 + unit_draw(&seed, 3); changes > 0; changes--) {
            mutated[unit_draw(&seed, (uint32_t)frame.len)] = (char)unit_draw(&seed, unit_draw(&seed, 2) ? 256 : 24);
        }
        (void)accepted_by((mercure_str){mutated, frame.len - unit_draw(&seed, 2) * unit_draw(&seed, 4)});
    }
}

static void mutated_frames_are_refused_or_read_within_their_bytes(void **state)
{
    (void)state;
    each_frame(check_mutations);
}

static void random_bytes_are_refused_or_read_within_their_bytes(void **state)
{
    (void)state;
    for (int round = 0; round < 50000; round++) {
        char bytes[80] = "MB\2";
        size_t len = unit_draw(&seed, sizeof(bytes) + 1);
        for (size_t i = unit_draw(&seed, 4); i < len; i++) {
            bytes[i] = (char)unit_draw(&seed, unit_draw(&seed, 2) ? 256 : 24);
        }
        (void)accepted_by((mercure_str){bytes, len});
    }
}

static void an_empty_frame_is_refused(void **state)
{
    mercure_wire_control control;
    mercure_wire_delivery got_delivery;
    mercure_wire_publication got_publication;

    (void)state;
    assert_false(mercure_wire_get_control(S(""), &control));
    assert_false(mercure_wire_get_delivery(S(""), &got_delivery));
    assert_false(mercure_wire_get_publication(S(""), &got_publication));
}

static void peer_ids_do_not_repeat_nor_begin_with_zero(void **state)
{
    mercure_peer_id ids[2000];

    (void)state;
    for (size_t i = 0; i < COUNT(ids); i++) {
        assert_true(mercure_peer_id_make(&ids[i]));
        assert_int_not_equal(ids[i].bytes[0], 0);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(ids[j].bytes, ids[i].bytes, 16);
        }
    }
}

static void matchers_of_both_kinds_travel(void **state)
{
    unsigned char out[MERCURE_WIRE_MAX];
    mercure_wire_control control = {.type = MERCURE_WIRE_REGISTER, .hub = S("hub"), .matcher = exact}, got;

    (void)state;
    assert_true(mercure_wire_get_control((mercure_str){(char *)out, mercure_wire_put_control(&control, out)}, &got));
    assert_int_equal(got.matcher.kind, MERCURE_MATCH_EXACT);
    control.matcher = all;
    assert_true(mercure_wire_get_control((mercure_str){(char *)out, mercure_wire_put_control(&control, out)}, &got));
    assert_int_equal(got.matcher.kind, MERCURE_MATCH_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publication_survives_the_round_trip),
        cmocka_unit_test(a_delivery_survives_the_round_trip),
        cmocka_unit_test(every_control_message_survives_the_round_trip),
        cmocka_unit_test(matchers_of_both_kinds_travel),
        cmocka_unit_test(every_status_can_be_acknowledged_and_no_other),
        cmocka_unit_test(the_largest_strings_fit_into_a_frame),
        cmocka_unit_test(a_longer_string_writes_nothing_past_the_frame),
        cmocka_unit_test(names_and_patterns_out_of_bounds_are_refused),
        cmocka_unit_test(urls_out_of_bounds_are_refused),
        cmocka_unit_test(a_frame_is_accepted_by_its_own_decoder_only),
        cmocka_unit_test(every_truncation_and_every_extension_is_refused),
        cmocka_unit_test(another_version_or_another_magic_is_refused),
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(mutated_frames_are_refused_or_read_within_their_bytes),
        cmocka_unit_test(random_bytes_are_refused_or_read_within_their_bytes),
        cmocka_unit_test(an_empty_frame_is_refused),
        cmocka_unit_test(peer_ids_do_not_repeat_nor_begin_with_zero),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
