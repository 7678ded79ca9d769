/* test_uritemplate.c - URI Templates as matchers: RFC 6570's examples, and random templates against the expander and
 * the exhaustive matcher of uritemplate_reference.h.
 */
#include "mercure/limits.h"
#include "mercure/uritemplate.h"

#include <time.h>

#include "unit.h"
#include "uritemplate_reference.h"

/* ---- helpers ---- */

static mercure_uritemplate *make(mercure_str text)
{
    mercure_uritemplate *template = NULL;
    mercure_error err = {""};
    char *exact = unit_exact(text);

    if (mercure_uritemplate_make((mercure_str){exact, text.len}, &template, &err) != MERCURE_OK) {
        fail_msg("\"%.*s\": %s", (int)text.len, text.data, err.reason);
    }
    free(exact);
    return template;
}

/* Match, and hold prefix and suffix to what they promise. */
static bool matches(const mercure_uritemplate *template, mercure_str topic)
{
    mercure_str prefix = mercure_uritemplate_prefix(template), suffix = mercure_uritemplate_suffix(template);
    char *exact = unit_exact(topic);
    bool result = mercure_uritemplate_matches(template, (mercure_str){exact, topic.len});

    if (result) {
        assert_true(topic.len >= prefix.len + suffix.len);
        assert_memory_equal(exact, prefix.data, prefix.len);
        assert_memory_equal(exact + topic.len - suffix.len, suffix.data, suffix.len);
    }
    free(exact);
    return result;
}

static void expect(const char *text, const char *topic, bool expected)
{
    mercure_uritemplate *template = make(mercure_str_of(text));
    bool result = matches(template, mercure_str_of(topic));

    mercure_uritemplate_release(template);
    if (result != expected) {
        fail_msg("%s %s \"%s\"", text, result ? "matches" : "does not match", topic);
    }
}

/* ---- RFC 6570's examples ---- */

static const value rfc_values[] = {
    {"count", LIST, 3, {"one", "two", "three"}},
    {"dom", LIST, 2, {"example", "com"}},
    {"dub", STRING, 1, {"me/too"}},
    {"hello", STRING, 1, {"Hello World!"}},
    {"half", STRING, 1, {"50%"}},
    {"var", STRING, 1, {"value"}},
    {"who", STRING, 1, {"fred"}},
    {"base", STRING, 1, {"http://example.com/home/"}},
    {"path", STRING, 1, {"/foo/bar"}},
    {"list", LIST, 3, {"red", "green", "blue"}},
    {"keys", ARRAY, 6, {"semi", ";", "dot", ".", "comma", ","}},
    {"v", STRING, 1, {"6"}},
    {"x", STRING, 1, {"1024"}},
    {"y", STRING, 1, {"768"}},
    {"empty", STRING, 1, {""}},
    {"empty_keys", ARRAY, 0, {NULL}},
    {"semi", STRING, 1, {";"}},
    {"year", LIST, 3, {"1965", "2000", "2012"}},
    {NULL, UNDEFINED, 0, {NULL}},
};

static const struct {
    const char *template;
    const char *expansion;
    const char *miss;
} examples[] = {
    /* 1.2, level 1 */
    {"{var}", "value", "va lue"},
    {"{hello}", "Hello%20World%21", "Hello%20World!"},
    /* level 2 */
    {"{+var}", "value", "value%"},
    {"{+hello}", "Hello%20World!", "Hello World!"},
    {"{+path}/here", "/foo/bar/here", "/foo/bar/her"},
    {"here?ref={+path}", "here?ref=/foo/bar", "here?rf=/foo/bar"},
    {"X{#var}", "X#value", "Xvalue"},
    {"X{#hello}", "X#Hello%20World!", "X#Hello%2World!"},
    /* level 3 */
    {"map?{x,y}", "map?1024,768", "map?1024;768"},
    {"{x,hello,y}", "1024,Hello%20World%21,768", "1024,Hello%20World!,768"},
    {"{+x,hello,y}", "1024,Hello%20World!,768", "1024,Hello%20World!,7\"68"},
    {"{+path,x}/here", "/foo/bar,1024/here", "/foo/bar,1024/there "},
    {"{#x,hello,y}", "#1024,Hello%20World!,768", "1024,Hello%20World!,768"},
    {"{#path,x}/here", "#/foo/bar,1024/here", "/foo/bar,1024/here"},
    {"X{.var}", "X.value", "Xvalue"},
    {"X{.x,y}", "X.1024.768", "X.1024/768"},
    {"{/var}", "/value", "value"},
    {"{/var,x}/here", "/value/1024/here", "/value/1024/1/here"},
    {"{;x,y}", ";x=1024;y=768", ";y=768;x=1024"},
    {"{;x,y,empty}", ";x=1024;y=768;empty", ";x=1024;y=768;empt"},
    {"{?x,y}", "?x=1024&y=768", "?y=1024&x=768"},
    {"{?x,y,empty}", "?x=1024&y=768&empty=", "?x=1024&y=768&empty"},
    {"?fixed=yes{&x}", "?fixed=yes&x=1024", "?fixed=yes?x=1024"},
    {"{&x,y,empty}", "&x=1024&y=768&empty=", "?x=1024&y=768&empty="},
    /* level 4 */
    {"{var:3}", "val", "valu"},
    {"{var:30}", "value", "valuevaluevaluevaluevaluevaluev"},
    {"{list}", "red,green,blue", "red;green;blue"},
    {"{list*}", "red,green,blue", "red,green=blue"},
    {"{keys}", "semi,%3B,dot,.,comma,%2C", "semi=%3B,dot,.,comma,%2C"},
    {"{keys*}", "semi=%3B,dot=.,comma=%2C", "semi=%3B,dot=.,comma,%2C"},
    {"{+path:6}/here", "/foo/b/here", "/foo/ba/here"},
    {"{+list}", "red,green,blue", "red,gre en,blue"},
    {"{+list*}", "red,green,blue", "red,green,blue%"},
    {"{+keys}", "semi,;,dot,.,comma,,", "semi,;,dot,.,comma,<"},
    {"{+keys*}", "semi=;,dot=.,comma=,", "semi=;,dot=.,comma=\\"},
    {"{#path:6}/here", "#/foo/b/here", "#/foo/ba/here"},
    {"{#list}", "#red,green,blue", "red,green,blue"},
    {"{#list*}", "#red,green,blue", "?red,green,blue"},
    {"{#keys}", "#semi,;,dot,.,comma,,", "semi,;,dot,.,comma,,"},
    {"{#keys*}", "#semi=;,dot=.,comma=,", "#semi=;,dot=.,comma=^"},
    {"X{.var:3}", "X.val", "X.valu"},
    {"X{.list}", "X.red,green,blue", "X.red,green;blue"},
    {"X{.list*}", "X.red.green.blue", "X.red.green,blue"},
    {"X{.keys}", "X.semi,%3B,dot,.,comma,%2C", "X.semi,%3B,dot,.,comma=%2C"},
    {"X{.keys*}", "X.semi=%3B.dot=..comma=%2C", "X.semi=%3B,dot=..comma=%2C"},
    {"{/var:1,var}", "/v/value", "/va/value/"},
    {"{/list}", "/red,green,blue", "/red/green/blue"},
    {"{/list*}", "/red/green/blue", "/red,green,blue"},
    {"{/list*,path:4}", "/red/green/blue/%2Ffoo", "/red/green/blue//foo="},
    {"{/keys}", "/semi,%3B,dot,.,comma,%2C", "/semi,%3B,dot,.,comma=%2C"},
    {"{/keys*}", "/semi=%3B/dot=./comma=%2C", "/semi=%3B/dot/comma=%2C"},
    {"{;hello:5}", ";hello=Hello", ";hello=Hello%20"},
    {"{;list}", ";list=red,green,blue", ";lists=red,green,blue"},
    {"{;list*}", ";list=red;list=green;list=blue", ";list=red;list=green;list="},
    {"{;keys}", ";keys=semi,%3B,dot,.,comma,%2C", ";keys=semi,%3B,dot,.,comma,;"},
    {"{;keys*}", ";semi=%3B;dot=.;comma=%2C", ";semi=%3B;dot=.;comma=%2C=1"},
    {"{?var:3}", "?var=val", "?var=valu"},
    {"{?list}", "?list=red,green,blue", "?list=red,green,blue&"},
    {"{?list*}", "?list=red&list=green&list=blue", "?list=red&list=green&list"},
    {"{?keys}", "?keys=semi,%3B,dot,.,comma,%2C", "?keys=semi,;,dot,.,comma,%2C"},
    {"{?keys*}", "?semi=%3B&dot=.&comma=%2C", "?semi=%3B&dot=.&comma"},
    {"{&var:3}", "&var=val", "&var=v%C3%A9%C3%A9l"},
    {"{&list}", "&list=red,green,blue", "?list=red,green,blue"},
    {"{&list*}", "&list=red&list=green&list=blue", "&list=red,list=green&list=blue"},
    {"{&keys}", "&keys=semi,%3B,dot,.,comma,%2C", "&kEys=semi,%3B,dot,.,comma,%2C"},
    {"{&keys*}", "&semi=%3B&dot=.&comma=%2C", "&semi=%3B&dot=.=&comma=%2C"},
    /* 2.4 */
    {"{var}", "value", "v/alue"},
    {"{var:20}", "value", "valuevaluevaluevaluev"},
    {"{semi}", "%3B", ";"},
    {"{semi:2}", "%3B", "%3B%3B%3B"},
    {"find{?year*}", "find?year=1965&year=2000&year=2012", "find?year=1965&year=2000year=2012"},
    {"www{.dom*}", "www.example.com", "wwwexample.com/"},
    /* 3.2.1 */
    {"{count}", "one,two,three", "one,two,three;"},
    {"{count*}", "one,two,three", "one/two/three"},
    {"{/count}", "/one,two,three", "/one,two/three"},
    {"{/count*}", "/one/two/three", "one/two/three"},
    {"{;count}", ";count=one,two,three", ";one,two,three"},
    {"{;count*}", ";count=one;count=two;count=three", ";count=one;count=two;count=three=four"},
    {"{?count}", "?count=one,two,three", "?count:one,two,three"},
    {"{?count*}", "?count=one&count=two&count=three", "?count=one&count=two&&count=three"},
    {"{&count*}", "&count=one&count=two&count=three", "&count=one&count=two&count"},
    /* 3.2.2 */
    {"{half}", "50%25", "50%"},
    {"O{empty}X", "OX", "O X"},
    {"O{undef}X", "OX", "O"},
    {"{x,y}", "1024,768", "1024&768"},
    {"?{x,empty}", "?1024,", "1024,"},
    {"?{x,undef}", "?1024", "?1024?"},
    {"?{undef,y}", "?768", "768?"},
    /* 3.2.3 */
    {"{+half}", "50%25", "50%2"},
    {"{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex", "http://example.com/home/index"},
    {"{+base}index", "http://example.com/home/index", "http://example.com/home/"},
    {"O{+empty}X", "OX", "XO"},
    {"O{+undef}X", "OX", "O%X"},
    {"up{+path}{var}/here", "up/foo/barvalue/here", "up/foo/barvalue/here/"},
    /* 3.2.4 */
    {"{#var}", "#value", "value"},
    {"{#hello}", "#Hello%20World!", "#Hello%20World!`"},
    {"{#half}", "#50%25", "#50%"},
    {"foo{#empty}", "foo#", "fo#"},
    {"foo{#undef}", "foo", "food"},
    /* 3.2.5 */
    {"{.who}", ".fred", "fred"},
    {"{.who,who}", ".fred.fred", ".fred,fred=fred"},
    {"{.half,who}", ".50%25.fred", ".50%25/fred"},
    {"X{.empty}", "X.", "X,"},
    {"X{.undef}", "X", "XX"},
    {"X{.empty_keys}", "X", "x"},
    {"X{.empty_keys*}", "X", "X="},
    /* 3.2.6 */
    {"{/who}", "/fred", "/fred/"},
    {"{/who,who}", "/fred/fred", "/fred/fred/fred"},
    {"{/half,who}", "/50%25/fred", "/50%/fred"},
    {"{/who,dub}", "/fred/me%2Ftoo", "/fred/me/too"},
    {"{/var,empty}", "/value/", "/value//"},
    {"{/var,undef}", "/value", "/value=1"},
    /* 3.2.7 */
    {"{;who}", ";who=fred", ";whofred"},
    {"{;half}", ";half=50%25", ";half=50%"},
    {"{;empty}", ";empty", "empty"},
    {"{;v,empty,who}", ";v=6;empty;who=fred", ";v=6;who=fred;empty"},
    {"{;v,bar,who}", ";v=6;who=fred", ";v=6;bear;who=fred"},
    {"{;x,y,undef}", ";x=1024;y=768", ";x=1024;y=768;z"},
    /* 3.2.8 */
    {"{?who}", "?who=fred", "?who"},
    {"{?half}", "?half=50%25", "?haLf=50%25"},
    {"{?x,y,undef}", "?x=1024&y=768", "?x=1024;y=768"},
    /* 3.2.9 */
    {"{&who}", "&who=fred", "&who=fred&"},
    {"{&half}", "&half=50%25", "half=50%25"},
    {"{&x,y,undef}", "&x=1024&y=768", "&x=1024&y768"},
};

static void the_rfcs_examples_match_and_near_misses_do_not(void **state)
{
    text_buffer out;

    (void)state;
    for (size_t i = 0; i < COUNT(examples); i++) {
        expand(examples[i].template, rfc_values, &out);
        assert_string_equal(out.data, examples[i].expansion); /* the expander is held to the RFC here */
        expect(examples[i].template, examples[i].expansion, true);
        expect(examples[i].template, examples[i].miss, false);
    }
}

/* An array has no order, so the RFC's example may come out in six ways. */
static void an_array_matches_in_every_order(void **state)
{
    static const char *const pairs[3] = {"semi=%3B", "dot=.", "comma=%2C"};
    static const struct {
        const char *template, *first, *separator;
    } forms[] = {{"{keys*}", "", ","},   {"{.keys*}", ".", "."}, {"{/keys*}", "/", "/"},
                 {"{;keys*}", ";", ";"}, {"{?keys*}", "?", "&"}, {"{&keys*}", "&", "&"}};

    (void)state;
    for (size_t f = 0; f < COUNT(forms); f++) {
        for (size_t order = 0; order < 6; order++) {
            size_t a = order % 3, b = (a + 1 + order / 3) % 3;
            char topic[100];
            snprintf(topic, sizeof(topic), "%s%s%s%s%s%s", forms[f].first, pairs[a], forms[f].separator, pairs[b],
                     forms[f].separator, pairs[3 - a - b]);
            expect(forms[f].template, topic, true);
        }
    }
}

/* ---- what uritemplate.h decides beyond the examples ---- */

static void literals_outside_ascii_match_raw_and_encoded(void **state)
{
    (void)state;
    expect("/caf\u00e9/{id}", "/caf\u00e9/1", true);
    expect("/caf\u00e9/{id}", "/caf%C3%A9/1", true);
    expect("/caf\u00e9/{id}", "/caf%c3%a9/1", true);
    expect("/caf\u00e9/{id}", "/caf%C3\xA9/1", false);
    expect("/caf\u00e9/{id}", "/caf%C3%A8/1", false);
    expect("/caf\u00e9/{id}", "/cafe/1", false);
    expect("{id}/\u4f60\U0001F600", "1/%E4%BD%A0\U0001F600", true);
    expect("{id}/\u4f60\U0001F600", "1/\u4f60%F0%9F%98%80", true);
    expect("{id}/\u4f60\U0001F600", "1/\u4f60%F0%9F%98", false);
    /* A value is encoded, always. */
    expect("/{id}", "/caf\u00e9", false);
    expect("/{+id}", "/caf\u00e9", false);
    expect("/{id}", "/caf%C3%A9", true);
}

static void triplets_match_in_either_case(void **state)
{
    (void)state;
    expect("a%2Fb{x}", "a%2fb1", true);
    expect("a%2fb{x}", "a%2Fb1", true);
    expect("a%2fb{x}", "a/b1", false);
    expect("a%20b{x}%20", "a%20b1%20", true);
    expect("{?%c3%a9.b}", "?%C3%A9.b=1", true);
    expect("{?%c3%a9.b}", "?%C3%A8.b=1", false);
    expect("{?%c3%a9.b}", "?\u00e9.b=1", false);
    expect("{x}", "%e9%FF", true);
    expect("{x}", "%4", false);
    expect("{x}", "%", false);
    expect("{x}", "%%41", false);
    expect("{x}", "%zz", false);
    /* None of a triplet's digits can be another element's. */
    expect("{x}41", "%41", false);
    expect("{x}41", "%4141", true);
    expect("{x}4{y}", "%41", false);
    expect("{x}1{y}", "%41", false);
    expect("{x:1}1{y}", "%411", true);
}

static void prefixes_count_characters(void **state)
{
    (void)state;
    expect("{x:3}", "", true);
    expect("{x:3}", "abc", true);
    expect("{x:3}", "a,b", false);
    expect("{x:2}", "%C3%A9%E2%82%AC", true);
    expect("{x:1}", "%C3%A9%E2%82%AC", false);
    expect("{x:1}", "%F0%9F%98%80", true);
    expect("{x:1}", "%F0%9F%98%80%80", false);
    expect("{x:3}", "%F0%9F%98", true); /* not UTF-8: one each */
    expect("{x:2}", "%F0%9F%98", false);
    expect("{x:1}", "%C0%80", false);
    expect("{x:1}", "%ED%A0%80", false);
    expect("{+x:2}", "/%2F", true);
    expect("{+x:2}", "/%2F/", false);
    expect("{;x:2}", ";x", true);
    expect("{;x:2}", ";x=", false);
    expect("{;x:2}", ";x=ab", true);
    expect("{;x:2}", ";x=abc", false);
    expect("{?x:2}", "?x=", true);
    expect("{?x:2}", "?x", false);
    expect("{x:9}", "123456789", true); /* on both sides of where another way of counting begins */
    expect("{x:9}", "1234567890", false);
    expect("{x:8}", "12345678", true);
    expect("{x:8}", "123456789", false);
    expect("{x:9}", "12345678%C3%A9", true);
    expect("{x:9}", "123456789%C3%A9", false);
    expect("a{x:9}c", "a%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9c", true);
    expect("a{x:9}b{y:10}c", "a%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9b1234567890c", true);
    expect("a{x:9}b{y:10}c", "a%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9b12345678901c", false);
    expect("{x:9999}", "abc", true);
}

static void names_and_equals_signs_are_kept(void **state)
{
    (void)state;
    expect("{?q}", "?r=1", false);
    expect("{?q}", "?q=1&q=2", false);
    expect("{?q}", "", true);
    expect("{?q}", "?", false);
    expect("{?a,b}", "?b=1", true);
    expect("{?a,b}", "?a=1&b=2", true);
    expect("{?a,b}", "?b=1&a=2", false);
    expect("{;x}", ";x=", true); /* the list of one empty string */
    expect("{;x*}", ";x=", false);
    expect("{;x*}", ";x", true);
    expect("{;x*}", ";k;l=1;m", true);
    expect("{;x*}", ";k=1;l=;m", false);
    expect("{;x*}", ";k=1=2", false);
    expect("{?x*}", "?k=1&l=", true);
    expect("{?x*}", "?k&l=1", false);
    expect("{x*}", "a=b,c=d", true);
    expect("{x*}", "a=b,c", false);
    expect("{x*}", "a,c=d", false);
    expect("{x*}", "a=b=c", false);
    expect("{x*,y*}", "a,c=d", true);
    expect("{x*,y*}", "a=b,c", true);
    expect("{x,y*}", "a,b,c=d,e=f", true);
    expect("{x}", "a=b", false);
    expect("{.x*}", ".a.b=c.d=e", true);
    expect("{.x*}", ".a.b=cd=e", false);
    expect("{.x*}", ".a=b.c", true);
    expect("x=y{z*}", "x=ya=b", true);
    expect("{a*}{b*}", "a=b=c", true);
    expect("{a*}{b*}", "a=b=c=d", false);
    expect("{/x*}", "/a=b/c", false);
    expect("{/x*,y}", "/a=b/c", true);
}

static void expressions_without_values_are_nothing(void **state)
{
    (void)state;
    expect("", "", true);
    expect("", "a", false);
    expect("{x}", "", true);
    expect("{x}{/y}{?z*}{#w}", "", true);
    expect("{x}{/y}{?z*}{#w}", "a/b?c=d#e", true);
    expect("{/a,b,c}", "/1/2", true);
    expect("{/a,b,c}", "/1/2/3/4", false);
    expect("{a,b}", ",", true);
    expect("https://example.com/users/{id}/posts/{post}", "https://example.com/users/1/posts/2", true);
    expect("https://example.com/users/{id}/posts/{post}", "https://example.com/users/1/posts/2/3", false);
    expect("https://example.com/users/{id}/posts/{post}", "https://example.com/users/1", false);
    expect("https://example.com/", "https://example.com/", true);
    expect("https://example.com/", "https://example.com/a", false);
    /* Prefix and suffix do not share bytes of the topic. */
    expect("ab{x}bc", "abc", false);
    expect("ab{x}bc", "abbc", true);
}

static void prefix_and_suffix_are_the_fixed_ends(void **state)
{
    static const struct {
        const char *template, *prefix, *suffix;
    } cases[] = {
        {"", "", ""},
        {"a/b", "a/b", ""},
        {"a/{x}", "a/", ""},
        {"a/{x}/b", "a/", "/b"},
        {"{x}/b", "", "/b"},
        {"{x}", "", ""},
        {"a%20b%2Fc{x}c%2Fb%20a", "a%20b", "b%20a"},
        {"a\u00e9b", "a", "b"},
        {"a\u00e9b\u00e9c", "a", "c"},
        {"\u00e9{x}\u00e9", "", ""},
        {"a{x}b{y}c", "a", "c"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mercure_uritemplate *template = make(mercure_str_of(cases[i].template));
        assert_same(mercure_uritemplate_prefix(template), mercure_str_of(cases[i].prefix));
        assert_same(mercure_uritemplate_suffix(template), mercure_str_of(cases[i].suffix));
        mercure_uritemplate_release(template);
    }
}

static void what_breaks_the_grammar_is_refused(void **state)
{
    static const char *const invalid[] = {
        "{",         "}",        "a}",        "{a",     "{a}}",       "{{a}}",      "{}",         "{+}",    "{?}",
        "{=a}",      "{,a}",     "{!a}",      "{@a}",   "{|a}",       "{$a}",       "{-a}",       "{a,}",   "{,}",
        "{a,,b}",    "{a b}",    "{a-b}",     "{a+}",   "{a?}",       "{.}",        "{..a}",      "{a.}",   "{a..b}",
        "{.a.}",     "{a%}",     "{a%4}",     "{a%zz}", "{%}",        "{a:}",       "{a:0}",      "{a:01}", "{a:10000}",
        "{a:12345}", "{a:-1}",   "{a:x}",     "{a:3x}", "{a:3*}",     "{a*:3}",     "{a**}",      "{*}",    "{:3}",
        "{a:3:4}",   "{\u00e9}", "{a\u00e9}", "a b",    "a\"b",       "a<b",        "a>b",        "a\\b",   "a^b",
        "a`b",       "a|b",      "a\x01",     "a\x7f",  "%",          "a%4",        "a%zz",       "a%4g",   "\xc2\x80",
        "\xc2\x9f",  "\ufdd0",   "\ufff0",    "\uffff", "\U0001fffe", "\U000e0001", "\U0010ffff", "\xff",   "\xc0\x80",
        "{a}{",      "{a}%",     "{a}\x80",   "{a}{b",  "{/a,b",      "{a:3",       "{a*",        "{a,",
    };
    mercure_uritemplate *template = NULL;
    mercure_error err;
    char long_text[MERCURE_MAX_VALUE + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(invalid); i++) {
        mercure_str text = mercure_str_of(invalid[i]);
        char *exact = unit_exact(text);
        err.reason[0] = '\0';
        if (mercure_uritemplate_make((mercure_str){exact, text.len}, &template, &err) != MERCURE_INVALID) {
            fail_msg("\"%s\" is taken", invalid[i]);
        }
        assert_true(err.reason[0] != '\0');
        free(exact);
    }
    assert_int_equal(mercure_uritemplate_make(S("a\0b"), &template, NULL), MERCURE_INVALID);
    memset(long_text, 'a', sizeof(long_text));
    assert_int_equal(mercure_uritemplate_make((mercure_str){long_text, sizeof(long_text)}, &template, &err),
                     MERCURE_LIMIT);
    assert_null(template);
}

static void what_keeps_the_grammar_is_taken(void **state)
{
    static const char *const valid[] = {
        "!#$&'()*+,-./0123456789:;=?@AZ[]_az~",
        "%41%2f",
        "\u00a0\ud7ff\uf900\ufdcf\ufdf0\uffef\ue000",
        "\U00010000\U0001fffd\U000e1000\U0010fffd",
        "{a}",
        "{_}",
        "{0}",
        "{a.b.c}",
        "{%41}",
        "{a%41.b}",
        "{a:1}",
        "{a:9999}",
        "{a*}",
        "{a,b*,c:10}",
        "{+a}{#a}{.a}{/a}{;a}{?a}{&a}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(valid); i++) {
        mercure_uritemplate_release(make(mercure_str_of(valid[i])));
    }
    expect("o'brien/{x}", "o'brien/1", true);
}

static void a_template_lives_until_the_last_release(void **state)
{
    mercure_uritemplate *template = make(S("a/{x}"));

    (void)state;
    assert_ptr_equal(mercure_uritemplate_hold(template), template);
    mercure_uritemplate_release(template);
    assert_true(matches(template, S("a/1")));
    assert_false(mercure_uritemplate_matches(template, (mercure_str){NULL, 0}));
    mercure_uritemplate_release(template);
    mercure_uritemplate_release(NULL);
}

/* ---- random templates and topics ---- */

static void add_random_expression(text_buffer *out, uint64_t *seed, uint32_t *variables)
{
    static const char *const ops[] = {"", "+", "#", ".", "/", ";", "?", "&"};
    static const char *const names[] = {"a", "b", "a.b", "%c3%a9"};
    static const char *const modifiers[] = {"", "", "*", "*", ":1", ":2", ":3", ":9", ":12"};
    const char *op = ops[unit_draw(seed, 8)];
    uint32_t count = 1 + unit_draw(seed, 3);

    add(out, "{", 1);
    add(out, op, strlen(op));
    for (uint32_t i = 0; i<count && * variables> 0; i++, --*variables) {
        const char *name = names[unit_draw(seed, 4)], *modifier = modifiers[unit_draw(seed, 9)];
        if (i > 0) {
            add(out, ",", 1);
        }
        add(out, name, strlen(name));
        add(out, modifier, strlen(modifier));
    }
    add(out, "}", 1);
}

static void make_random_template(text_buffer *out, uint64_t *seed)
{
    static const char *const literals[] = {"a", "b", "/",   ".",   ",",      "=", ";",
                                           "&", "?", "%41", "%c3", "\u00e9", "4", "1"};
    uint32_t parts = 1 + unit_draw(seed, 4), variables = 4;

    out->len = 0;
    out->data[0] = '\0';
    while (parts-- > 0) {
        if (variables > 0 && unit_draw(seed, 5) < 3) {
            add_random_expression(out, seed, &variables);
        } else {
            const char *literal = literals[unit_draw(seed, COUNT(literals))];
            add(out, literal, strlen(literal));
        }
    }
}

static void make_random_values(value *values, uint64_t *seed)
{
    static const char *const names[] = {"a", "b", "a.b", "%c3%a9"};
    static const char *const items[] = {"",  "",    "a",  "b", "ab", ",", "=", "a.b", "\u00e9", "\u20ac\u00e9",
                                        "%", "%41", "1/", "&;"};

    for (size_t i = 0; i < 4; i++, values++) {
        values->name = names[i];
        values->type = (value_type)unit_draw(seed, 4);
        values->count = values->type == STRING ? 1 : 2 * unit_draw(seed, 3);
        for (size_t j = 0; j < values->count; j++) {
            values->items[j] = items[unit_draw(seed, COUNT(items))];
        }
    }
    values->name = NULL;
}

static bool has_prefix(const char *template, const value *values)
{
    for (; values->name != NULL; values++) {
        size_t len = strlen(values->name);
        for (const char *at = template; values->type > STRING && (at = strstr(at, values->name)) != NULL; at += len) {
            if (at[len] == ':') {
                return true;
            }
        }
    }
    return false;
}

static void mutate(text_buffer *topic, uint64_t *seed)
{
    static const char letters[] = "ab14=,./;?&#%C\xc3\xa9 !";
    size_t at = unit_draw(seed, (uint32_t)topic->len + 1);
    char letter = letters[unit_draw(seed, sizeof(letters) - 1)];

    switch (unit_draw(seed, 3)) {
    case 0:
        add(topic, " ", 1);
        memmove(topic->data + at + 1, topic->data + at, topic->len - at - 1);
        topic->data[at] = letter;
        break;
    case 1:
        if (at < topic->len) {
            topic->data[at] = letter;
        }
        break;
    default:
        if (at < topic->len) {
            memmove(topic->data + at, topic->data + at + 1, topic->len - at);
            topic->len--;
        }
    }
}

static void random_expansions_match_and_the_exhaustive_matcher_agrees(void **state)
{
    uint64_t seed = 20120301;
    unsigned yes = 0, no = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        text_buffer template, topic;
        value values[5];
        mercure_uritemplate *compiled;
        bool expected;

        make_random_template(&template, &seed);
        compiled = make((mercure_str){template.data, template.len});
        make_random_values(values, &seed);
        expand(template.data, values, &topic);
        /* A list has no prefix: its expansion is none of the RFC's. */
        if (!has_prefix(template.data, values) && !matches(compiled, (mercure_str){topic.data, topic.len})) {
            fail_msg("%s does not match its expansion \"%s\"", template.data, topic.data);
        }
        for (int i = 0; i < 6; i++) {
            mutate(&topic, &seed);
            if (topic.len > 28) {
                break;
            }
            expected = slow_match((mercure_str){template.data, template.len}, (mercure_str){topic.data, topic.len});
            if (matches(compiled, (mercure_str){topic.data, topic.len}) != expected) {
                fail_msg("%s %s \"%.*s\"", template.data, expected ? "should match" : "should not match",
                         (int)topic.len, topic.data);
            }
            yes += expected;
            no += !expected;
        }
        mercure_uritemplate_release(compiled);
    }
    assert_true(yes > 5000 && no > 5000);
}

/* The sets of positions have a seam at every 64th byte: the same small cases again, moved along it. */
static void long_topics_match_like_short_ones(void **state)
{
    static const struct {
        const char *template, *topic;
        bool expected;
    } cases[] = {
        {"{p}/{x}%2fb\u00e9{y}c", "/%41%C3%A9%2Fb%C3%A9ac", true},
        {"{p}/{x:2}b", "/%C3%A9%E2%82%ACb", true},
        {"{p}/{x:2}b", "/%C3%A9%E2%82%ACab", false},
        {"{p}/{x:10}b", "/1%F0%9F%98%80345678%E2%82%AC0b", true},
        {"{p}/{x:10}b", "/1%F0%9F%98%80345678%E2%82%AC01b", false},
        {"{p}{/x*}{?y*}", "/ab/cd?ef=gh&ij=kl", true},
        {"{p}{/x*}{?y*}", "/ab/cd?ef=gh&ij", false},
        {"{p}{;x*}", ";a=b;c;d=e", true},
        {"{p}{;x*}", ";a=b;c=;d=e", false},
        {"{p}1{x:1}", "%41", false},
        {"{p}41{x:1}", "%41", false},
        {"{p}%41{x:1}", "%41", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mercure_uritemplate *template = make(mercure_str_of(cases[i].template));
        for (size_t fill = 0; fill < 200; fill++) {
            char topic[300];
            size_t len = strlen(cases[i].topic);
            memset(topic, 'p', fill);
            memcpy(topic + fill, cases[i].topic, len);
            if (matches(template, (mercure_str){topic, fill + len}) != cases[i].expected) {
                fail_msg("%s after %zu bytes: \"%s\"", cases[i].template, fill, cases[i].topic);
            }
        }
        mercure_uritemplate_release(template);
    }
}

/* ---- the worst ---- */

static void fill(char *data, size_t room, const char *unit)
{
    for (size_t i = 0, len = strlen(unit); i < room; i++) {
        data[i] = unit[i % len];
    }
}

static double now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* 4 KiB of expressions, topics of 4 KiB that nearly match them in all ways. The bound is far above what it takes, with
 * sanitizers too, and far below what backtracking takes. */
static void the_worst_templates_stay_bounded(void **state)
{
    static const struct {
        const char *unit, *topic;
    } cases[] = {
        {"{a}", "a"},
        {"{a}{b*}", "a"},
        {"{a}a", "a"},
        {"{a}b", "ab"},
        {"{a:1}", "a"},
        {"{a:99}b", "ab"},
        {"{a:99}b", "aaaaaaab"},
        {"{a:99}", "a"},
        {"{a:9999}", "%C3%A9"},
        {"{a:9}b", "aaaaaaaab"},
        {"{a*}", "a=b,"},
        {"{/a*}", "/a=b"},
        {"{;a*}", ";a=b"},
        {"{?a*}", "?a=b&"},
        {"{.a*}", ".a=b"},
        {"{a}%C3", "%C3"},
        {"{a}\u00e9", "%C3%A9"},
        {"{a}\u00e9", "\u00e9"},
        {"{+a}%C3%A9", "%C3%A9"},
        {"{&a}", "&a=1"},
        {"{?a:9}", "?a=1"},
        {"{;a}", ";a"},
        {"{a,b,c,d,e,f,g}", "a,"},
        {"{#a}", "#"},
    };
    char template[MERCURE_MAX_VALUE], topic[MERCURE_MAX_VALUE];
    double worst = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t unit_len = strlen(cases[i].unit), len = sizeof(template) / unit_len * unit_len;
        mercure_uritemplate *compiled;
        double took;

        fill(template, len, cases[i].unit);
        fill(topic, sizeof(topic), cases[i].topic);
        topic[sizeof(topic) - 16] = '^'; /* not among the fixed suffix, which would end it at once */
        compiled = make((mercure_str){template, len});
        took = now_ms();
        assert_false(mercure_uritemplate_matches(compiled, (mercure_str){topic, sizeof(topic)}));
        took = now_ms() - took;
        worst = took > worst ? took : worst;
        assert_true(took < 1000);
        mercure_uritemplate_release(compiled);
    }
    print_message("the worst template took %.2f ms\n", worst);
}

static void one_expression_of_thousands_of_variables_matches(void **state)
{
    char template[MERCURE_MAX_VALUE], topic[MERCURE_MAX_VALUE + 1];
    mercure_uritemplate *compiled;

    (void)state;
    template[0] = '{';
    template[1] = '/';
    fill(template + 2, sizeof(template) - 2, "a,");
    template[sizeof(template) - 1] = '}';
    fill(topic, sizeof(topic), "/a");
    compiled = make((mercure_str){template, sizeof(template)});
    /* 2047 variables make at most as many pieces. */
    assert_true(mercure_uritemplate_matches(compiled, (mercure_str){topic, 2 * 2047}));
    assert_false(mercure_uritemplate_matches(compiled, (mercure_str){topic, 2 * 2048}));
    mercure_uritemplate_release(compiled);

    compiled = make(S("{/a*}"));
    assert_true(mercure_uritemplate_matches(compiled, (mercure_str){topic, MERCURE_MAX_VALUE}));
    assert_false(mercure_uritemplate_matches(compiled, (mercure_str){topic, MERCURE_MAX_VALUE + 1}));
    mercure_uritemplate_release(compiled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfcs_examples_match_and_near_misses_do_not),
        cmocka_unit_test(an_array_matches_in_every_order),
        cmocka_unit_test(literals_outside_ascii_match_raw_and_encoded),
        cmocka_unit_test(triplets_match_in_either_case),
        cmocka_unit_test(prefixes_count_characters),
        cmocka_unit_test(names_and_equals_signs_are_kept),
        cmocka_unit_test(expressions_without_values_are_nothing),
        cmocka_unit_test(prefix_and_suffix_are_the_fixed_ends),
        cmocka_unit_test(what_breaks_the_grammar_is_refused),
        cmocka_unit_test(what_keeps_the_grammar_is_taken),
        cmocka_unit_test(a_template_lives_until_the_last_release),
        cmocka_unit_test(random_expansions_match_and_the_exhaustive_matcher_agrees),
        cmocka_unit_test(long_topics_match_like_short_ones),
        cmocka_unit_test(the_worst_templates_stay_bounded),
        cmocka_unit_test(one_expression_of_thousands_of_variables_matches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
