/* test_topic.c - which characters a topic, an id, a type or a matcher may hold (PROTOCOL 1). */
#include "mercure/topic.h"

#include "unit.h"

/* Encode a code point, also one that no text may hold (a surrogate). */
static size_t encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

static mercure_status check_code(uint32_t code)
{
    char text[4];

    return mercure_value_check("topic", (mercure_str){text, encode(code, text)}, NULL);
}

static void every_scalar_value_is_utf8_and_no_surrogate_is(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char text[4];
        size_t len = encode(code, text);
        bool scalar = code < 0xD800 || code > 0xDFFF;
        if (mercure_utf8_valid((mercure_str){text, len}) != scalar) {
            fail_msg("U+%04X", code);
        }
    }
    char text[4];
    assert_false(mercure_utf8_valid((mercure_str){text, encode(0x110000, text)}));
    assert_false(mercure_utf8_valid((mercure_str){text, encode(0x1FFFFF, text)}));
}

static void ill_formed_utf8_is_refused_wherever_it_stands(void **state)
{
    static const mercure_str ill_formed[] = {
        S("\x80"),         S("\xBF"),         S("\xC0\x80"),         S("\xC1\xBF"),         S("\xC2"),
        S("\xC2\x41"),     S("\xC2\xC2"),     S("\xE0\x80\x80"),     S("\xE0\x9F\xBF"),     S("\xE2\x82"),
        S("\xE2\x28\xA1"), S("\xED\xA0\x80"), S("\xED\xBF\xBF"),     S("\xF0\x80\x80\x80"), S("\xF0\x8F\xBF\xBF"),
        S("\xF0\x9F\x92"), S("\xF0\x9F"),     S("\xF4\x90\x80\x80"), S("\xF5\x80\x80\x80"), S("\xF8\x88\x80\x80\x80"),
        S("\xFE"),         S("\xFF"),         S("\xE2\x82\x41"),     S("\xF0\x9F\x92\x41"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(ill_formed); i++) {
        char around[16] = "a\xC3\xA9";
        size_t len = 3;
        memcpy(around + len, ill_formed[i].data, ill_formed[i].len);
        len += ill_formed[i].len;

        char *alone = unit_exact(ill_formed[i]);
        char *after = unit_exact((mercure_str){around, len});
        around[len++] = 'z';
        bool valid = mercure_utf8_valid((mercure_str){alone, ill_formed[i].len}) ||
                     mercure_utf8_valid((mercure_str){after, len - 1}) ||
                     mercure_utf8_valid((mercure_str){around, len}) ||
                     mercure_value_check("id", (mercure_str){after, len - 1}, NULL) != MERCURE_INVALID ||
                     mercure_value_check("id", (mercure_str){around, len}, NULL) != MERCURE_INVALID;
        free(alone);
        free(after);
        if (valid) {
            fail_msg("ill-formed sequence number %zu", i);
        }
    }
}

static void an_empty_text_is_valid(void **state)
{
    (void)state;
    assert_true(mercure_utf8_valid(S("")));
    assert_int_equal(mercure_value_check("topic", S(""), NULL), MERCURE_OK);
}

static void control_characters_are_refused(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x20; code++) {
        assert_int_equal(check_code(code), MERCURE_INVALID);
    }
    for (uint32_t code = 0x7F; code <= 0x9F; code++) {
        assert_int_equal(check_code(code), MERCURE_INVALID);
    }
    assert_int_equal(check_code(0x20), MERCURE_OK);
    assert_int_equal(check_code(0x7E), MERCURE_OK);
    assert_int_equal(check_code(0xA0), MERCURE_OK);
    assert_int_equal(mercure_value_check("topic", S("a\0b"), NULL), MERCURE_INVALID);
    assert_int_equal(mercure_value_check("topic", S("ab\n"), NULL), MERCURE_INVALID);
}

static void format_characters_are_refused_and_their_neighbours_are_not(void **state)
{
    static const uint32_t format[] = {
        0xAD,    0x600,   0x605,   0x61C,   0x6DD,   0x70F,   0x890,   0x891,   0x8E2,   0x180E,  0x200B, 0x200D,
        0x200F,  0x202A,  0x202E,  0x2060,  0x2064,  0x2066,  0x2069,  0x206F,  0xFEFF,  0xFFF9,  0xFFFB, 0x110BD,
        0x110CD, 0x13430, 0x1343F, 0x1BCA0, 0x1BCA3, 0x1D173, 0x1D17A, 0xE0001, 0xE0020, 0xE007F,
    };
    static const uint32_t other[] = {
        0xAC,    0xAE,    0x5FF,   0x606,   0x61B,   0x61D,   0x6DC,   0x6DE,   0x70E,    0x710,   0x88F,   0x892,
        0x8E1,   0x8E3,   0x180D,  0x180F,  0x200A,  0x2010,  0x2028,  0x2029,  0x202F,   0x205F,  0x2065,  0x2070,
        0xFEFE,  0xFF00,  0xFFF8,  0xFFFC,  0xFFFE,  0xFFFF,  0x110BC, 0x110BE, 0x110CC,  0x110CE, 0x1342F, 0x13440,
        0x1BC9F, 0x1BCA4, 0x1D172, 0x1D17B, 0xE0000, 0xE0002, 0xE001F, 0xE0080, 0x10FFFF,
    };

    (void)state;
    for (size_t i = 0; i < COUNT(format); i++) {
        if (check_code(format[i]) != MERCURE_INVALID) {
            fail_msg("U+%04X is allowed", format[i]);
        }
    }
    for (size_t i = 0; i < COUNT(other); i++) {
        if (check_code(other[i]) != MERCURE_OK) {
            fail_msg("U+%04X is refused", other[i]);
        }
    }
}

static void as_many_characters_are_refused_as_unicode_15_has(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code < 0xD800 || code > 0xDFFF) {
            refused += check_code(code) == MERCURE_INVALID;
        }
    }
    assert_int_equal(refused, 32 + 33 + 170); /* C0, DEL with C1, Cf */
}

static void a_value_may_have_4096_bytes_and_no_more(void **state)
{
    char *text = malloc(4098);
    mercure_error err = {""};

    (void)state;
    memset(text, 'x', 4098);
    assert_int_equal(mercure_value_check("topic", (mercure_str){text, 4096}, NULL), MERCURE_OK);
    assert_int_equal(mercure_value_check("topic", (mercure_str){text, 4097}, &err), MERCURE_LIMIT);
    assert_string_equal(err.reason, "topic of 4097 bytes, at most 4096 are allowed");
    memcpy(text + 4094, "\xC3\xA9", 2);
    assert_int_equal(mercure_value_check("topic", (mercure_str){text, 4096}, NULL), MERCURE_OK);
    memcpy(text + 4094, "x\xC3\xA9", 3); /* bytes count, not characters */
    assert_int_equal(mercure_value_check("topic", (mercure_str){text, 4097}, NULL), MERCURE_LIMIT);
    free(text);
}

static void the_reason_names_the_value_and_the_fault(void **state)
{
    mercure_error err;

    (void)state;
    mercure_value_check("id", S("a\x1F"), &err);
    assert_string_equal(err.reason, "id holds the control character U+001F");
    mercure_value_check("type", S("a\xE2\x80\x8B"), &err);
    assert_string_equal(err.reason, "type holds the invisible format character U+200B");
    mercure_value_check("topic", S("abc\xFF"), &err);
    assert_string_equal(err.reason, "topic is not valid UTF-8 at byte 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_is_utf8_and_no_surrogate_is),
        cmocka_unit_test(ill_formed_utf8_is_refused_wherever_it_stands),
        cmocka_unit_test(an_empty_text_is_valid),
        cmocka_unit_test(control_characters_are_refused),
        cmocka_unit_test(format_characters_are_refused_and_their_neighbours_are_not),
        cmocka_unit_test(as_many_characters_are_refused_as_unicode_15_has),
        cmocka_unit_test(a_value_may_have_4096_bytes_and_no_more),
        cmocka_unit_test(the_reason_names_the_value_and_the_fault),
    };

    return cmocka_run_group_tests_name("topic", tests, NULL, NULL);
}
