/* test_js_regexp.c - regular expressions in ECMAScript's syntax, as PCRE2 runs what they are translated to.
 *
 * The tables say what `new RegExp(source, "v")` does; a source in a table is a C string, so every backslash is doubled.
 */
#include "../../lib/js_regexp.h"

#include "unit.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define OPTIONS (PCRE2_UTF | PCRE2_MATCH_UNSET_BACKREF)

static apr_pool_t *pool;

/* Translate; the reason of a refusal is in `err`. The source ends where its memory ends. */
static bool translate(mercure_str source, const char **pcre, mercure_error *err)
{
    char *exact = unit_exact(source);
    bool accepted = js_regexp_translate(pool, (mercure_str){exact, source.len}, pcre, err) == MERCURE_OK;

    free(exact);
    return accepted;
}

/* Compile what was translated, inside a bigger expression that matches whole subjects. */
static pcre2_code *compile(const char *pcre, const char *before, const char *after, int *error)
{
    size_t size = strlen(before) + strlen(pcre) + strlen(after) + 1;
    char *whole = malloc(size);
    PCRE2_SIZE offset;
    pcre2_code *code;

    assert_non_null(whole);
    (void)snprintf(whole, size, "%s%s%s", before, pcre, after);
    code = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED, OPTIONS, error, &offset, NULL);
    free(whole);
    return code;
}

static bool matches(const pcre2_code *code, mercure_str subject)
{
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);
    int found = pcre2_match(code, (PCRE2_SPTR)subject.data, subject.len, 0, 0, match, NULL);

    assert_true(found > 0 || found == PCRE2_ERROR_NOMATCH);
    pcre2_match_data_free(match);
    return found > 0;
}

static pcre2_code *compile_source(const char *source)
{
    mercure_error err = {""};
    const char *pcre;
    pcre2_code *code;
    int error;

    if (!translate(mercure_str_of(source), &pcre, &err)) {
        fail_msg("%s is refused: %s", source, err.reason);
    }
    code = compile(pcre, "^(?:", ")\\z", &error);
    if (code == NULL) {
        fail_msg("%s became %s, which PCRE2 refuses with error %d", source, pcre, error);
    }
    return code;
}

static void what_ecmascript_matches_is_matched(void **state)
{
    /* Whole subjects. */
    static const struct {
        const char *source;
        const char *yes[8];
        const char *no[8];
    } table[] = {
        /* characters */
        {"", {""}, {"a"}},
        {"abc", {"abc"}, {"ab", "abcd", "ABC"}},
        {"a|bc|", {"a", "bc", ""}, {"abc", "b"}},
        {"a b#c", {"a b#c"}, {"ab"}},
        {"-,:=!<>&~@%'\"`;_/", {"-,:=!<>&~@%'\"`;_/"}, {"-"}},
        {"\\^\\$\\\\\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\|\\/", {"^$\\.*+?()[]{}|/"}, {""}},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"}, {"\xC3\xA9"}},
        {"\\f\\n\\r\\t\\v", {"\f\n\r\t\v"}, {"fnrtv"}},
        {"\\cA\\cz\\cJ", {"\x01\x1A\n"}, {"AzJ"}},
        {"\\x41\\x7e", {"A~"}, {"x41x7e"}},
        {"\\u0041\\u00e9", {"A\xC3\xA9"}, {"A"}},
        {"\\u{41}\\u{1F600}\\u{0000000041}",
         {"A\xF0\x9F\x98\x80"
          "A"},
         {"A"}},
        {"\\ud83d\\ude00", {"\xF0\x9F\x98\x80"}, {""}},
        {"(?:a|\\ud83d)\\ude00|b", {"b"}, {"\xF0\x9F\x98\x80", "a"}},
        {"\\u{d83d}\\u{de00}|b", {"b"}, {"\xF0\x9F\x98\x80"}},
        {".",
         {"a", "\xF0\x9F\x98\x80", "\xC2\x85", "\v", "\f"},
         {"", "\n", "\r", "\xE2\x80\xA8", "\xE2\x80\xA9", "ab"}},
        {"\n", {"\n"}, {""}},
        /* sets */
        {"\\d+", {"0123456789"}, {"\xD9\xA3", "a", ""}},
        {"\\D", {"a", "/", ":", "\xD9\xA3", "\xF0\x9F\x98\x80"}, {"0", "9"}},
        {"\\w+", {"azAZ09_"}, {"\xC3\xA9", "-", "\xC5\xBF", "\xE2\x84\xAA", "@", "[", "`", "{"}},
        {"\\W+", {"@[`{/:^-\xC3\xA9\xC5\xBF"}, {"_", "a", "Z", "0", "9"}},
        {"\\s+",
         {" \t\n\v\f\r\xC2\xA0", "\xE1\x9A\x80\xE2\x80\x80\xE2\x80\x8A\xE2\x80\xA8\xE2\x80\xA9",
          "\xE2\x80\xAF\xE2\x81\x9F\xE3\x80\x80\xEF\xBB\xBF"},
         {"\xC2\x85", "\xE2\x80\x8B", "\xE1\xA0\x8E", "\b", "\x1F"}},
        {"\\S",
         {"\xC2\x85", "\xE2\x80\x8B", "\xE1\xA0\x8E", "\b", "\x0E", "a", "\xF4\x8F\xBF\xBF"},
         {" ", "\t", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\x8A", "\xE2\x80\xA9", "\xE3\x80\x80", "\xEF\xBB\xBF"}},
        {"\\p{L}", {"a", "\xC3\xA9", "\xCE\xB1"}, {"1", "-"}},
        {"\\p{Letter}\\p{gc=Lu}\\p{General_Category=Decimal_Number}", {"aB\xD9\xA3"}, {"abc", "aBc"}},
        {"\\P{Lu}", {"a", "1"}, {"A", "\xC3\x89"}},
        {"\\p{LC}\\p{Cased_Letter}", {"aA"}, {"a1"}},
        {"\\p{Script=Greek}\\p{sc=Grek}\\p{Script_Extensions=Greek}", {"\xCE\xB1\xCE\xB2\xCD\x82"}, {"abc"}},
        {"\\p{sc=Greek}", {"\xCE\xB1"}, {"\xCD\x82", "a"}},
        {"\\p{Any}\\p{ASCII}\\p{Assigned}",
         {"\xC3\xA9"
          "a\xC3\xA9"},
         {"a\xC3\xA9"
          "a",
          "aa\xCD\xB8"}},
        {"\\P{Assigned}", {"\xCD\xB8"}, {"a"}},
        {"\\p{White_Space}\\p{space}\\p{Hex_Digit}\\p{IDS}", {" \tfa"}, {"  g1"}},
        /* classes */
        {"[]|b", {"b"}, {"", "a"}},
        {"[^]", {"a", "\n", "\xF0\x9F\x98\x80"}, {"", "ab"}},
        {"[a-c_x]+", {"abc_x"}, {"d", "-"}},
        {"[^a-c]", {"d", "\n", "\xC3\xA9"}, {"a", "c", ""}},
        {"[.$*+?:,]+", {".$*+?:,"}, {"a"}},
        {"[a^]+", {"a^"}, {"b"}},
        {"[\\-\\&\\!\\#\\%\\,\\:\\;\\<\\=\\>\\@\\`\\~]+", {"-&!#%,:;<=>@`~"}, {"\\"}},
        {"[\\]\\[\\^\\\\\\(\\)\\{\\}\\/\\|]+", {"][^\\(){}/|"}, {"a"}},
        {"[\\b]", {"\b"}, {"b"}},
        {"[\\0\\x41\\u0042\\u{43}\\cA]+", {"ABC\x01"}, {"x"}},
        {"[\\d\\s]+", {"1 2"}, {"a"}},
        {"[\\D]", {"a"}, {"1"}},
        {"[^\\W\\d]", {"a", "_"}, {"1", "-", "\xC3\xA9"}},
        {"[^\\S]", {" "}, {"a"}},
        {"[\\p{L}\\-]+", {"\xC3\xA9-a"}, {"1"}},
        {"[\\ud83d\\ude00-\\u{1f602}]", {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x82"}, {"\xF0\x9F\x98\x83"}},
        {"[\\ud7ff-\\ue000]", {"\xED\x9F\xBF", "\xEE\x80\x80"}, {"a"}},
        {"[\\ud800-\\udfff]|b", {"b"}, {"a"}},
        {"[&]", {"&"}, {""}},
        {"[a&b]+", {"a&b"}, {"c"}},
        {"[[a-c][x-z]0]+", {"abcxyz0"}, {"d", "["}},
        {"[[:alpha:]]+", {":alph"}, {"b", "["}}, /* not PCRE2's */
        {"[[:^digit:]]", {"^", ":"}, {"a"}},
        {"[[.a.][=b=][:<:]]+", {".a=b:<"}, {"c"}},
        {"[[^a-y]b]", {"z", "b", "1"}, {"a", "y"}},
        {"[^[^a-y]b]", {"a", "c", "y"}, {"b", "z"}},
        {"[[a-z]--[aeiou]]+", {"bcd"}, {"a", "A"}},
        {"[\\w--\\d--_]+", {"aZ"}, {"1", "_", "-"}},
        {"[^\\w--\\d]", {"1", "-"}, {"a", "_"}},
        {"[\\p{L}&&\\p{ASCII}&&[^a]]+", {"bcZ"}, {"a", "\xC3\xA9", "1"}},
        {"[[\\w--a]&&[a-c]]", {"b", "c"}, {"a", "d"}},
        {"[[ab]--[]]", {"a", "b"}, {"c"}},
        {"[[ab]&&[]]|x", {"x"}, {"a"}},
        {"[\\q{abc|d|}x]", {"abc", "d", "", "x"}, {"ab", "abcd"}},
        {"[\\q{}]", {""}, {"a"}},
        {"[\\q{a\\-b|cd}[\\q{efg}y]]+", {"a-b", "cdefgy"}, {"a", "e"}},
        {"[^\\q{a|b}]", {"c"}, {"a", "b"}},
        {"[[\\q{ab}c]&&[a-z]]", {"c"}, {"ab", "a"}},
        {"[[a-c]--\\q{a|bc}]", {"b", "c"}, {"a", "bc"}},
        {"[^\\q{ab}&&a]", {"a", "b"}, {"ab"}},
        /* quantifiers */
        {"a*b+c?", {"b", "aabbc", "bc"}, {"", "a", "bcc"}},
        {"a{2}b{1,}c{0,2}", {"aab", "aabbcc"}, {"ab", "aabccc"}},
        {"(?:ab){2,3}", {"abab", "ababab"}, {"ab", "abababab"}},
        {"a*?b+?c??d{2}?e{1,2}?f{1,}?", {"bddef", "aabbcddeeff"}, {"bdef"}},
        {"a{0}b", {"b"}, {"ab"}},
        {"(?:a|)*", {"", "aa"}, {"b"}},
        {"(?:|a)*", {"", "aa"}, {"b"}},
        {"a{0,65535}", {"", "aaa"}, {"b"}},
        /* assertions */
        {"^a$", {"a"}, {"a\n", "\na"}},
        {"a$\n?", {"a"}, {"a\n"}},
        {"^^a$$", {"a"}, {""}},
        {"a(?:^|b)", {"ab"}, {"a"}},
        {"\\ba\\b.\\bb\\B.", {"a-bc"}, {"axbc"}},
        {"\xC3\xA9\\ba",
         {"\xC3\xA9"
          "a"},
         {"a"}},
        {"(?=a.c)abc|(?!x)y?", {"abc", "y", ""}, {"abd", "x"}},
        {"ab(?<=b)(?<!a)c", {"abc"}, {"ab"}},
        {"..(?<=ab|c)d?", {"ab", "xcd"}, {"xb", "a"}},
        {".*(?<=[a-c]{2}(?:x|y)\\d)", {"abx1", "-ccy2"}, {"ax1"}},
        {"(?<=^|x)a", {"a"}, {"xa"}},
        /* groups and back references */
        {"(a|b)c\\1", {"aca", "bcb"}, {"acb", "ac"}},
        {"(a)?b\\1", {"b", "aba"}, {"ba", "ab"}},
        {"(?:(a)|b)\\1", {"aa", "b"}, {"a", "ba"}},
        {"(?:(a)|(b)\\1)\\2", {"a", "bb"}, {"b", "ba"}},
        {"\\1(a)", {"a"}, {"aa"}},
        {"(a\\1)", {"a"}, {"aa"}},
        {"(?:\\1(a))+", {"a", "aa", "aaa"}, {"aba"}},
        {"(?:(a|b)\\1)+", {"aabb", "bbaa"}, {"ab", "aab"}},
        {"(?:(a)|b\\1)+", {"ab", "abb", "abab"}, {"c"}},
        {"([ab])+\\1", {"abb", "aa"}, {"ab", "a"}},
        {"(?<year>\\d)(?<m_1>x)\\k<m_1>\\k<year>", {"1xx1"}, {"1xx2"}},
        {"\\k<n>(?<n>a)", {"a"}, {"aa"}},
        {"(?<\\u0061\\u{62}>a)\\k<ab>", {"aa"}, {"a"}},
        {"(?=(a+))a*b\\1", {"aba", "aabaa"}, {"aab", "ba"}},
        {"(?!(b))a\\1", {"a"}, {"ab"}},
        {"(?:(?!(b))a)+\\1", {"aa"}, {"aab"}},
        {"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\\10", {"abcdefghijj"}, {"abcdefghija0"}},
        {"(a)\\1{2}", {"aaa"}, {"aa"}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        pcre2_code *code = compile_source(table[i].source);
        for (size_t j = 0; j < COUNT(table[i].yes) && table[i].yes[j] != NULL; j++) {
            if (!matches(code, mercure_str_of(table[i].yes[j]))) {
                fail_msg("%s does not match \"%s\"", table[i].source, table[i].yes[j]);
            }
        }
        for (size_t j = 0; j < COUNT(table[i].no) && table[i].no[j] != NULL; j++) {
            if (matches(code, mercure_str_of(table[i].no[j]))) {
                fail_msg("%s matches \"%s\"", table[i].source, table[i].no[j]);
            }
        }
        pcre2_code_free(code);
    }
}

static void modifiers_of_a_group_hold_in_it(void **state)
{
    static const struct {
        const char *source, *yes, *no;
    } table[] = {
        {"(?s:.).", "\na", "a\n"},
        {"(?s:.(?-s:.))", "\na", "\n\n"},
        {"(?m:a$\n^b)$", "a\nb", "a\nb\n"},
        {"(?m:(?-m:^)a\n^b)", "a\nb", "b"},
        {"(?-i:a)", "a", "A"},
        {"(?ms-i:.$\n)", "a\n", "a"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        pcre2_code *code = compile_source(table[i].source);
        if (!matches(code, mercure_str_of(table[i].yes)) || matches(code, mercure_str_of(table[i].no))) {
            fail_msg("%s", table[i].source);
        }
        pcre2_code_free(code);
    }
}

static void refuse_all(const char *const *sources, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mercure_error err = {""};
        const char *pcre;
        if (translate(mercure_str_of(sources[i]), &pcre, &err)) {
            fail_msg("%s became %s", sources[i], pcre);
        }
        if (err.reason[0] == '\0') {
            fail_msg("%s is refused without a reason", sources[i]);
        }
    }
}

static void what_ecmascript_refuses_is_refused(void **state)
{
    static const char *const table[] = {
        /* repetitions */
        "*",
        "+a",
        "?",
        "a**",
        "a++",
        "a+*",
        "a???",
        "a{1}{2}",
        "a{1}*",
        "^*",
        "$+",
        "\\b?",
        "\\B{2}",
        "(?=a)*",
        "(?!a)+",
        "(?<=a)?",
        "(?<!a){2}",
        "a{",
        "a{}",
        "a{,2}",
        "a{b}",
        "a{1",
        "a{1,",
        "a{1,2",
        "a{2,1}",
        "a{ 1}",
        "{1}",
        "{",
        "}",
        "a}",
        "|*",
        "(*)",
        "(?:+)",
        "a{-1}",
        /* groups */
        "(",
        ")",
        "(a",
        "a)",
        "((a)",
        "(?",
        "(?)",
        "(?a)",
        "(?:",
        "(?=",
        "(?<a",
        "(?<>a)",
        "(?<1>a)",
        "(?<a-b>c)",
        "(?<a>b)(?<a>c)",
        "(?<a\\n>b)",
        "(?<a\\u>b)",
        "(?-:a)",
        "(?ii:a)",
        "(?s-s:a)",
        "(?x:a)",
        "(?s)",
        "(?s-:",
        "(?^:a)",
        /* references */
        "\\1",
        "(a)\\2",
        "\\1(?:a)",
        "\\10(a)",
        "\\k<a>",
        "\\k",
        "(?<a>b)\\k",
        "(?<a>b)\\k<b>",
        "(?<a>b)\\k{a}",
        "(?<a>b)\\k<a",
        "\\k'a'",
        "\\9",
        "\\99999999999999999999(a)",
        /* escapes */
        "\\",
        "\\a",
        "\\e",
        "\\-",
        "\\_",
        "\\ ",
        "\\\xC3\xA9",
        "\\!",
        "\\#",
        "\\\"",
        "\\'",
        "\\,",
        "\\:",
        "\\<",
        "\\@",
        "\\c",
        "\\c1",
        "\\c_",
        "\\x",
        "\\x1",
        "\\x1g",
        "\\x{41}",
        "\\u",
        "\\u123",
        "\\u12g4",
        "\\u{",
        "\\u{}",
        "\\u{110000}",
        "\\u{41",
        "\\u{ 41}",
        "\\00",
        "\\01",
        "\\08",
        "\\q{a}",
        "\\i",
        "\\y",
        "\\z",
        "\\Z",
        "\\o{101}",
        "\\N",
        "\\N{U+41}",
        /* properties */
        "\\p",
        "\\pL",
        "\\p{",
        "\\p{}",
        "\\p{L",
        "\\p{Lx}",
        "\\p{ L}",
        "\\p{^L}",
        "\\p{letter}",
        "\\p{l}",
        "\\p{L&}",
        "\\p{Greek}",
        "\\p{Script}",
        "\\p{Script=}",
        "\\p{Script=greek}",
        "\\p{sc:Greek}",
        "\\p{Block=Latin}",
        "\\p{=L}",
        "\\p{gc=Greek}",
        "\\p{Script=L}",
        "\\p{Xan}",
        "\\p{Xwd}",
        "\\p{Xuc}",
        "\\p{Digit}",
        "\\p{Punct}",
        "\\p{any}",
        "\\p{ASCII=Yes}",
        "\\p{IsL}",
        "\\p{bidi_class:L}",
        "\\P{RGI_Emoji}",
        "\\p{Upper Case}",
        /* classes */
        "[",
        "[a",
        "[a-",
        "[^",
        "]",
        "a]",
        "[b-a]",
        "[a-]",
        "[-a]",
        "[-]",
        "[a-\\d]",
        "[\\d-a]",
        "[a-[b]]",
        "[(]",
        "[)]",
        "[{]",
        "[}]",
        "[/]",
        "[|]",
        "[[]",
        "[a[b]",
        "[&&]",
        "[&&a]",
        "[a&&]",
        "[a&&&b]",
        "[a&&b&&]",
        "[--a]",
        "[a--]",
        "[a---b]",
        "[a--b&&c]",
        "[a&&b--c]",
        "[ab--c]",
        "[ab&&c]",
        "[a-z--b]",
        "[a-z&&b]",
        "[a--b-z]",
        "[a&&bc]",
        "[a--bc]",
        "[!!]",
        "[##]",
        "[$$]",
        "[%%]",
        "[**]",
        "[++]",
        "[,,]",
        "[..]",
        "[::]",
        "[;;]",
        "[<<]",
        "[==]",
        "[>>]",
        "[??]",
        "[@@]",
        "[^^^]",
        "[a^^]",
        "[``]",
        "[~~]",
        "[a!!b]",
        "[\\a]",
        "[\\B]",
        "[\\1]",
        "[\\k<a>]",
        "[\\01]",
        "[\\_]",
        "[\\']",
        "[\\c1]",
        "[\\u{110000}]",
        "[\\q]",
        "[\\q{]",
        "[\\q{a]",
        "[\\q{a-b}]",
        "[\\q{(}]",
        "[\\q{\\d}]",
        "[\\q{&&}]",
        "[^\\q{ab}]",
        "[^\\q{}]",
        "[^[\\q{ab}]]",
        "[^a\\q{bc}]",
        "[\\q{a}-b]",
        "[a-\\q{b}]",
        "[\\p{Lx}]",
        "[\\c]",
    };

    (void)state;
    refuse_all(table, COUNT(table));
}

static void what_only_pcre2_knows_is_refused(void **state)
{
    static const char *const table[] = {
        /* verbs and options at the start */
        "(*UTF)",
        "(*UCP)a",
        "(*LIMIT_MATCH=1)a",
        "(*NO_JIT)",
        "(*CRLF)",
        "(*BSR_ANYCRLF)",
        "(*ACCEPT)",
        "a(*FAIL)",
        "a(*F)",
        "a(*COMMIT)b",
        "a(*PRUNE:x)",
        "a(*SKIP)",
        "a(*THEN)",
        "(*MARK:x)",
        "(*:x)",
        "(*atomic:a)",
        "(*pla:a)",
        "(*naplb:a)",
        "(*sr:a)",
        "(*script_run:a)",
        "(*NOTEMPTY)",
        "(*HEAP_LIMIT=1)",
        /* groups */
        "(?>a)",
        "(?|(a)|(b))",
        "(?#c)",
        "(?i)a",
        "(?x)a",
        "(?-i)",
        "(?^)",
        "(?^i:a)",
        "(?xx:a)",
        "(?n:a)",
        "(?J)",
        "(?U)",
        "(?aD:a)",
        "(?R)",
        "(?0)",
        "(?1)",
        "(a)(?1)",
        "(a)(?+1)",
        "(a)(?-1)",
        "(?<a>b)(?&a)",
        "(?P<a>b)",
        "(?P=a)",
        "(?P>a)",
        "(?'a'b)",
        "(?(1)a)",
        "(?(1)a|b)",
        "(?(DEFINE)a)",
        "(?(R)a)",
        "(?(?=a)b)",
        "(?(<a>)b)",
        "(?(VERSION>=10)a)",
        "(?C)",
        "(?C1)",
        "(?C'x')",
        "(?*a)",
        "(?<*a)",
        "(?[a])",
        /* escapes */
        "\\K",
        "\\G",
        "\\A",
        "\\z",
        "\\Z",
        "\\Qa\\E",
        "\\E",
        "\\g1",
        "\\g{1}",
        "(a)\\g{-1}",
        "(a)\\g1",
        "\\g<1>",
        "(a)\\g'1'",
        "\\R",
        "\\X",
        "\\C",
        "\\h",
        "\\H",
        "\\V",
        "\\N",
        "\\e",
        "\\a",
        "\\o{7}",
        "\\x{41}",
        "\\l",
        "\\L",
        "\\U",
        "\\pL",
        "\\k{a}",
        "(?<a>b)\\k'a'",
        "(?<a>b)\\k{a}",
        /* quantifiers */
        "a*+",
        "a++",
        "a?+",
        "a{1}+",
        "a{1,2}+",
        "a{,3}",
        "(?:a)++",
        /* classes */
        "[]a]",
        "[^]a]",
        "[\\Qa\\E]",
        "[\\h]",
        "[\\R]",
        "[\\X]",
        "[\\N]",
        "[a-\\w]",
    };

    (void)state;
    refuse_all(table, COUNT(table));
}

static void what_pcre2_lacks_is_refused(void **state)
{
    /* The reasons say what; ECMAScript knows all of these. */
    static const struct {
        const char *source, *reason;
    } table[] = {
        {"(?<=a*)b", "a look-behind that is not of one length"},
        {"(?<=a+?)b", "a look-behind that is not of one length"},
        {"(?<!a?)b", "a look-behind that is not of one length"},
        {"(?<=a{1,2})b", "a look-behind that is not of one length"},
        {"(?<=x(?:a|bc))b", "a look-behind that is not of one length"}, /* only its own alternatives may differ */
        {"(?<=[\\q{ab|c}])d", "a look-behind that is not of one length"},
        {"(?<=a{65535}b)c", "a look-behind that is not of one length"},
        {"(?<=(?:a{65535}){65535})c", "a look-behind that is not of one length"},
        {"(a)(?<=\\1)", "a back reference in a look-behind"}, /* an error with PCRE2_MATCH_UNSET_BACKREF */
        {"(?<=(a)\\1)", "a back reference in a look-behind"},
        {"(?<=\\1(a))", "a back reference in a look-behind"},
        {"(?<=(.){2})\\1", "a back reference to a group in"},   /* ECMAScript goes from right to left */
        {"(?:(a)|b)*\\1", "a back reference to a group in"},    /* PCRE2 does not forget the group */
        {"(a?)*b\\1", "a back reference to a group in"},        /* for PCRE2 the last empty round counts */
        {"(?:(?=(a)))?\\1a", "a back reference to a group in"}, /* for ECMAScript this round does not count */
        {"(?:(?:(a)|b)\\1)*", "a repeated back reference to a group"},
        {"(?i:a)", "flag i"},
        {"(?:(?<a>x)|(?<a>y))", "two groups of one name"}, /* ECMAScript 2025 */
        {"(?<\xC3\xA9>a)", "a group's name"},
        {"(?<$>a)", "a group's name"},
        {"(?<abcdefghijklmnopqrstuvwxyz0123456>a)", "a group's name"},
        {"a{65536}", "a quantifier with a number past 65535"},
        {"a{0,99999999999999999999}", "a quantifier with a number past 65535"},
        {"\\p{RGI_Emoji}", "a property"},
        {"[\\p{Basic_Emoji}]", "a property"},
        {"\\p{Bidi_Mirrored}", "a property"},          /* PCRE2 answers otherwise than Unicode */
        {"\\p{scx=Common}", "a property"},             /* the same */
        {"\\p{Script_Extensions=Zinh}", "a property"}, /* the same */
        {"\\p{CWKCF}", "a property"},
        {"\\p{Script=Kawi}", "a property"}, /* Unicode 15 */
        {"[\\q{ab|cd}--\\q{ab}]", "a difference of strings"},
        {"[\\q{ab|cd}&&\\q{ab}]", "an intersection of strings"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        mercure_error err = {""};
        const char *pcre;
        if (translate(mercure_str_of(table[i].source), &pcre, &err)) {
            fail_msg("%s became %s", table[i].source, pcre);
        }
        if (strstr(err.reason, table[i].reason) == NULL) {
            fail_msg("%s is refused because: %s", table[i].source, err.reason);
        }
    }
}

static void only_well_formed_utf8_is_read(void **state)
{
    mercure_error err;
    const char *pcre;

    (void)state;
    assert_false(translate(S("a\xFF"), &pcre, &err));
    assert_false(translate(S("[\xED\xA0\x80]"), &pcre, &err));
    assert_false(translate(S("\xC3"), &pcre, &err));
    assert_false(translate(S("\\\0"), &pcre, &err));
    assert_true(translate(S("a\0b"), &pcre, &err));
    assert_string_equal(pcre, "a\\x{0}b");
}

static void the_result_keeps_its_meaning_in_a_bigger_expression(void **state)
{
    const char *pcre;
    mercure_error err;
    pcre2_code *code;
    int error;

    (void)state;
    assert_true(translate(S("(?<n>a|b) #\\1|c"), &pcre, &err));
    code = compile(pcre, "(?x)^/(x)(", ")$", &error);
    assert_non_null(code);
    assert_true(matches(code, S("/xa #a")));
    assert_true(matches(code, S("/xc")));
    assert_false(matches(code, S("/xa #x")));
    assert_false(matches(code, S("/xa#a")));
    assert_int_equal(pcre2_substring_number_from_name(code, (PCRE2_SPTR) "n"), 3);
    pcre2_code_free(code);
}

static void nesting_is_bounded_and_its_bound_compiles(void **state)
{
    /* The deepest that is accepted: groups, then classes that each cost several parentheses. */
    static const struct {
        const char *open, *inside, *close;
        unsigned most;
    } kinds[] = {
        {"(", "a", ")", 100},    {"(?:", "a", ")", 100},    {"(?=", "a", ")", 100},
        {"(?<!", "a", ")", 100}, {"[", "a", "]", 20},       {"[^", "a", "--b]", 20},
        {"[x", "a", "]", 20},    {"[^x[^", "a", "]y]", 10}, {"[^[y]&&", "a", "]", 19},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        for (unsigned beyond = 0; beyond < 3; beyond++) {
            char source[8192] = "";
            unsigned depth = beyond == 2 ? 300 : kinds[i].most + beyond;
            const char *pcre;
            mercure_error err = {""};
            int error;
            for (unsigned j = 0; i > 3 && beyond == 0 && j < 100; j++) {
                strcat(source, "(?:");
            }
            for (unsigned j = 0; j < depth; j++) {
                strcat(source, kinds[i].open);
            }
            strcat(source, kinds[i].inside);
            for (unsigned j = 0; j < depth; j++) {
                strcat(source, kinds[i].close);
            }
            for (unsigned j = 0; i > 3 && beyond == 0 && j < 100; j++) {
                strcat(source, ")");
            }
            if (translate(mercure_str_of(source), &pcre, &err) != (beyond == 0)) {
                fail_msg("%u times %s: %s", depth, kinds[i].open, err.reason);
            }
            if (beyond == 0) {
                pcre2_code *code = compile(pcre, "^(?:/(", "))$", &error);
                if (code == NULL) {
                    fail_msg("%u times %s: PCRE2's error %d", depth, kinds[i].open, error);
                }
                pcre2_code_free(code);
            }
        }
    }
}

static void random_sources_are_refused_or_compile(void **state)
{
    static const char *const pieces[] = {
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?<a>",
        "(?s:",
        "(?m-s:",
        "(?>",
        "(*F)",
        "|",
        "|",
        "*",
        "+",
        "?",
        "??",
        "{2}",
        "{0}",
        "{1,3}",
        "{2,}",
        "{",
        "}",
        "[",
        "]",
        "[",
        "]",
        "[^",
        "--",
        "&&",
        "-",
        "\\q{",
        "ab",
        "a",
        "b",
        "c",
        ".",
        "^",
        "$",
        "\\b",
        "\\B",
        "\\1",
        "\\2",
        "\\k<a>",
        "\\d",
        "\\D",
        "\\w",
        "\\W",
        "\\s",
        "\\S",
        "\\p{L}",
        "\\P{sc=Greek}",
        "\\x41",
        "\\u{1F600}",
        "\\ud83d",
        "\\cA",
        "\\0",
        "\\-",
        "\\/",
        "\\Q",
        "\\E",
        "\\K",
        "#",
        " ",
        "\n",
        "\xC3\xA9",
        "\xF0\x9F\x98\x80",
        "&",
        "!",
        ":",
        "[:alpha:]",
        "a)",
        "(a)",
        "(?:a)*",
        "[a-c]",
    };
    uint64_t random = 1;
    unsigned accepted = 0;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        char source[256] = "";
        const char *pcre;
        int error;
        pcre2_code *code;
        for (uint32_t left = 1 + unit_draw(&random, 12); left > 0; left--) {
            strcat(source, pieces[unit_draw(&random, COUNT(pieces))]);
        }
        if (!translate(mercure_str_of(source), &pcre, NULL)) {
            continue;
        }
        accepted++;
        for (const char *c = pcre; *c != '\0'; c++) {
            assert_in_range((unsigned char)*c, 0x20, 0x7E);
        }
        code = compile(pcre, "^(?:/(", "))$", &error);
        if (code == NULL) {
            fail_msg("%s became %s, which PCRE2 refuses with error %d", source, pcre, error);
        }
        pcre2_code_free(code);
        apr_pool_clear(pool);
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ecmascript_matches_is_matched),
        cmocka_unit_test(modifiers_of_a_group_hold_in_it),
        cmocka_unit_test(what_ecmascript_refuses_is_refused),
        cmocka_unit_test(what_only_pcre2_knows_is_refused),
        cmocka_unit_test(what_pcre2_lacks_is_refused),
        cmocka_unit_test(only_well_formed_utf8_is_read),
        cmocka_unit_test(the_result_keeps_its_meaning_in_a_bigger_expression),
        cmocka_unit_test(nesting_is_bounded_and_its_bound_compiles),
        cmocka_unit_test(random_sources_are_refused_or_compile),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests_name("js_regexp", tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
