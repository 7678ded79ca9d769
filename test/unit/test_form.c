/* test_form.c - application/x-www-form-urlencoded (WHATWG URL, 5.1), decoded in place. */
#include "mercure/form.h"

#include "unit.h"

#define MAX_PAIRS 8

typedef struct {
    mercure_str input;
    size_t count;
    mercure_str pairs[MAX_PAIRS][2];
} form_case;

/* All pairs are read before the first is looked at: decoding one must not touch another. */
static void assert_form(const form_case *c)
{
    char *text = unit_exact(c->input);
    mercure_str names[MAX_PAIRS + 1], values[MAX_PAIRS + 1];
    mercure_form form;
    size_t count = 0;

    mercure_form_begin(&form, text, c->input.len);
    while (count <= MAX_PAIRS && mercure_form_next(&form, &names[count], &values[count])) {
        count++;
    }
    if (count != c->count) {
        fail_msg("'%s' has %zu pairs, not %zu", c->input.data, count, c->count);
    }
    for (size_t i = 0; i < count; i++) {
        assert_same(names[i], c->pairs[i][0]);
        assert_same(values[i], c->pairs[i][1]);
        assert_non_null(values[i].data); /* also when empty: NULL is how callers say absent */
    }
    free(text);
}

static void assert_forms(const form_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_form(&cases[i]);
    }
}

static void pairs_are_separated_by_ampersands_and_empty_ones_skipped(void **state)
{
    static const form_case cases[] = {
        {S(""), 0, {{{0}}}},
        {S("&"), 0, {{{0}}}},
        {S("&&&"), 0, {{{0}}}},
        {S("a=b"), 1, {{S("a"), S("b")}}},
        {S("a=b&c=d"), 2, {{S("a"), S("b")}, {S("c"), S("d")}}},
        {S("&a=b&&c=d&"), 2, {{S("a"), S("b")}, {S("c"), S("d")}}},
        {S("a=1&a=2&a=1"), 3, {{S("a"), S("1")}, {S("a"), S("2")}, {S("a"), S("1")}}},
        {S("a=b;c=d"), 1, {{S("a"), S("b;c=d")}}},
    };

    (void)state;
    assert_forms(cases, COUNT(cases));
}

static void the_first_equals_sign_separates_and_a_missing_one_is_an_empty_value(void **state)
{
    static const form_case cases[] = {
        {S("a"), 1, {{S("a"), S("")}}},
        {S("a="), 1, {{S("a"), S("")}}},
        {S("="), 1, {{S(""), S("")}}},
        {S("=b"), 1, {{S(""), S("b")}}},
        {S("a=b=c"), 1, {{S("a"), S("b=c")}}},
        {S("=="), 1, {{S(""), S("=")}}},
        {S("a&b=&=c"), 3, {{S("a"), S("")}, {S("b"), S("")}, {S(""), S("c")}}},
    };

    (void)state;
    assert_forms(cases, COUNT(cases));
}

static void plus_is_a_space_and_percent_escapes_are_bytes(void **state)
{
    static const form_case cases[] = {
        {S("a+b=c++d"), 1, {{S("a b"), S("c  d")}}},
        {S("%61%3D=%26%2b%2B"), 1, {{S("a="), S("&++")}}},
        {S("a%26b=%3d"), 1, {{S("a&b"), S("=")}}},
        {S("d=%00%0A%0d"), 1, {{S("d"), S("\0\n\r")}}},
        {S("d=%C3%A9\xC3\xA9%ff%FF"), 1, {{S("d"), S("\xC3\xA9\xC3\xA9\xFF\xFF")}}},
        {S("a\0b=c\0"), 1, {{S("a\0b"), S("c\0")}}},
        {S("a%2Bb"), 1, {{S("a+b"), S("")}}},
    };

    (void)state;
    assert_forms(cases, COUNT(cases));
}

static void a_stray_percent_is_itself(void **state)
{
    static const form_case cases[] = {
        {S("%"), 1, {{S("%"), S("")}}},
        {S("a=%"), 1, {{S("a"), S("%")}}},
        {S("a=%4"), 1, {{S("a"), S("%4")}}},
        {S("a=%4&1=x"), 2, {{S("a"), S("%4")}, {S("1"), S("x")}}},
        {S("%4=1"), 1, {{S("%4"), S("1")}}},
        {S("a=%%41"), 1, {{S("a"), S("%A")}}},
        {S("a=%4%41"), 1, {{S("a"), S("%4A")}}},
        {S("a=%GG%4G%G4"), 1, {{S("a"), S("%GG%4G%G4")}}},
        {S("a=%/0%:0%@0%`0%g0"), 1, {{S("a"), S("%/0%:0%@0%`0%g0")}}},
        {S("a=%2541"), 1, {{S("a"), S("%41")}}}, /* once, not twice */
        {S("a=%u0041"), 1, {{S("a"), S("%u0041")}}},
        {S("a=%+1"), 1, {{S("a"), S("% 1")}}},
        {S("a=%09%9A%aF%fA%Af"), 1, {{S("a"), S("\x09\x9A\xAF\xFA\xAF")}}},
    };

    (void)state;
    assert_forms(cases, COUNT(cases));
}

static void a_null_text_of_no_length_has_no_pairs(void **state)
{
    mercure_form form;
    mercure_str name, value;

    (void)state;
    mercure_form_begin(&form, NULL, 0);
    assert_false(mercure_form_next(&form, &name, &value));
    assert_false(mercure_form_next(&form, &name, &value));
}

static void a_finished_form_stays_finished(void **state)
{
    char text[] = {'a', '=', 'b'};
    mercure_form form;
    mercure_str name, value;

    (void)state;
    mercure_form_begin(&form, text, sizeof(text));
    assert_true(mercure_form_next(&form, &name, &value));
    assert_false(mercure_form_next(&form, &name, &value));
    assert_false(mercure_form_next(&form, &name, &value));
}

static void a_mebibyte_of_separators_has_no_pairs(void **state)
{
    size_t len = 1 << 20;
    char *text = malloc(len);
    mercure_form form;
    mercure_str name, value;

    (void)state;
    memset(text, '&', len);
    mercure_form_begin(&form, text, len);
    assert_false(mercure_form_next(&form, &name, &value));
    free(text);
}

/* The standard's algorithm, written as it stands there: split, then replace, then percent-decode into a new string. */
static mercure_str decoded(const char *from, const char *end, char *out)
{
    mercure_str text = {out, 0};
    const char digits[] = "0123456789abcdef0123456789ABCDEF";

    for (; from < end; from++) {
        const char *high = end - from > 2 && from[1] != '\0' ? strchr(digits, from[1]) : NULL;
        const char *low = end - from > 2 && from[2] != '\0' ? strchr(digits, from[2]) : NULL;
        if (*from == '%' && high != NULL && low != NULL) {
            out[text.len++] = (char)((high - digits) % 16 * 16 + (low - digits) % 16);
            from += 2;
        } else {
            out[text.len++] = *from == '+' ? ' ' : *from;
        }
    }
    return text;
}

static void random_forms_are_read_as_the_standard_says(void **state)
{
    static const char alphabet[] = "%%%&&==+0aF9gZ\xC3";
    uint64_t seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char original[24], out[24];
        size_t len = unit_draw(&seed, sizeof(original) + 1);
        for (size_t i = 0; i < len; i++) {
            original[i] = alphabet[unit_draw(&seed, sizeof(alphabet))]; /* the NUL too */
        }
        char *text = unit_exact((mercure_str){original, len});
        mercure_form form;
        mercure_str name, value;
        mercure_form_begin(&form, text, len);
        for (size_t start = 0; start < len;) {
            const char *at = original + start, *end = original + len;
            const char *stop = memchr(at, '&', len - start);
            stop = stop != NULL ? stop : end;
            start = (size_t)(stop - original) + 1;
            if (stop == at) {
                continue;
            }
            const char *equals = memchr(at, '=', (size_t)(stop - at));
            assert_true(mercure_form_next(&form, &name, &value));
            assert_same(name, decoded(at, equals != NULL ? equals : stop, out));
            assert_same(value, decoded(equals != NULL ? equals + 1 : stop, stop, out));
        }
        assert_false(mercure_form_next(&form, &name, &value));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_separated_by_ampersands_and_empty_ones_skipped),
        cmocka_unit_test(the_first_equals_sign_separates_and_a_missing_one_is_an_empty_value),
        cmocka_unit_test(plus_is_a_space_and_percent_escapes_are_bytes),
        cmocka_unit_test(a_stray_percent_is_itself),
        cmocka_unit_test(a_null_text_of_no_length_has_no_pairs),
        cmocka_unit_test(a_finished_form_stays_finished),
        cmocka_unit_test(a_mebibyte_of_separators_has_no_pairs),
        cmocka_unit_test(random_forms_are_read_as_the_standard_says),
    };

    return cmocka_run_group_tests_name("form", tests, NULL, NULL);
}
