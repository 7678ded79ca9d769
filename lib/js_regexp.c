/* js_regexp.c - see js_regexp.h. A recursive-descent parser of ECMA-262's Pattern with the flag v, which writes PCRE2's
 * syntax as it reads. Escapes, classes, properties and the writing itself are in js_regexp_*.c.
 *
 * What takes care here:
 * - ECMAScript forgets what the groups in a repetition matched each time a round begins, and a round that matches
 * nothing does not count; PCRE2 forgets nothing. Only back references can see that. So for every group is kept what may
 * make the two differ, and a back reference that could see it is refused. A back reference to a group that cannot have
 *   matched yet is empty in ECMAScript, and written as such.
 * - PCRE2 10.42 wants every alternative of a look-behind to have one length, and within it every alternative of a group
 *   the same; so lengths are kept as well.
 */
#include "js_regexp_internal.h"
#include "mercure/topic.h"

#include <apr_strings.h>

#define MAX_DEPTH       100   /* groups in each other; with the classes' this stays below PCRE2's 250 */
#define MAX_GROUPS      1000  /* capturing ones */
#define MAX_NAME        32    /* bytes of a group's name, in PCRE2 */
#define MAX_REPEAT      65535 /* in PCRE2 */
#define MAX_LOOK_BEHIND 65535 /* in PCRE2 */
#define NO_LIMIT        UINT32_MAX
#define MANY            (SIZE_MAX / MAX_REPEAT - 1) /* a width this large is not counted further */

typedef struct {
    const char *name; /* NULL when it has none */
    bool closed;
    bool elsewhere;    /* in another alternative than the one that is being read: it did not take part */
    bool in_assertion; /* in a look-around that is over */
    bool never;        /* in a negative look-around that is over: it did not take part */
    bool optional;     /* may not have taken part, although what contains it did */
    bool differs;      /* may hold another text in PCRE2 than in ECMAScript */
} js_group;

typedef struct {
    size_t group; /* from 0 */
    bool optional;
} js_reference;

static mercure_status disjunction(js_parser *p, js_width *width, bool *each_fixed);

static js_group *group_at(js_parser *p, size_t i)
{
    return &APR_ARRAY_IDX(p->groups, i, js_group);
}

static size_t group_count(const js_parser *p)
{
    return (size_t)p->groups->nelts;
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* Decimal digits; false when there are none. A number past MAX_REPEAT is given as MAX_REPEAT + 1. */
static bool number(js_parser *p, uint32_t *value)
{
    size_t start = p->at;

    *value = 0;
    for (; is_digit(js_peek(p, 0)); p->at++) {
        *value = *value * 10 + (js_peek(p, 0) - '0');
        if (*value > MAX_REPEAT) {
            *value = MAX_REPEAT + 1;
        }
    }
    return p->at > start;
}

/* A group's name up to its ">", with the escapes resolved. */
static mercure_status group_name(js_parser *p, const char **name)
{
    char read[MAX_NAME];
    size_t len = 0;

    while (!js_take(p, '>')) {
        uint32_t c = js_peek(p, 0);
        if (c == JS_END) {
            return js_refuse(p, "a group's name without its >");
        }
        p->at++;
        if (c == '\\') {
            mercure_status status;
            if (!js_take(p, 'u')) {
                return js_refuse(p, "a group's name with an escape other than \\u");
            }
            status = js_unicode_escape(p, &c);
            if (status != MERCURE_OK) {
                return status;
            }
        }
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (is_digit(c) && len > 0))) {
            return js_refuse(p, "a group's name with other than A-Z, a-z, 0-9 and _, or with a digit first");
        }
        if (len == sizeof(read)) {
            return js_refuse(p, "a group's name of more than 32 characters");
        }
        read[len++] = (char)c;
    }
    *name = apr_pstrmemdup(p->pool, read, len);
    return len > 0 ? MERCURE_OK : js_refuse(p, "a group without a name in its <>");
}

static bool find_group(js_parser *p, const char *name, size_t *index)
{
    for (*index = 0; *index < group_count(p); (*index)++) {
        if (group_at(p, *index)->name != NULL && strcmp(group_at(p, *index)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Write a back reference to a group from 0; the group may not have been seen yet. */
static mercure_status back_reference(js_parser *p, size_t index, js_width *width)
{
    js_group *group = index < group_count(p) ? group_at(p, index) : NULL;
    js_reference reference;

    if (p->look_behinds > 0) {
        return js_refuse(p, "a back reference in a look-behind, which PCRE2 does not have");
    }
    *width = (js_width){0, true};
    if (group == NULL || !group->closed || group->elsewhere || group->never) {
        js_text_append(&p->out, "(?:)");
        return MERCURE_OK;
    }
    if (group->differs) {
        return js_refuse(p,
                         "a back reference to a group in a repetition or a look-around, where PCRE2 may hold another "
                         "text for it");
    }
    reference = (js_reference){index, group->optional};
    APR_ARRAY_PUSH(p->references, js_reference) = reference;
    width->fixed = false;
    js_text_append(&p->out, apr_psprintf(p->pool, "\\g{-%u}", (unsigned)(group_count(p) - index)));
    return MERCURE_OK;
}

static mercure_status named_reference(js_parser *p, js_width *width)
{
    const char *name;
    mercure_status status;
    size_t index;

    if (!js_take(p, '<')) {
        return js_refuse(p, "\\k without a name in <>");
    }
    status = group_name(p, &name);
    if (status != MERCURE_OK) {
        return status;
    }
    if (!find_group(p, name, &index)) {
        APR_ARRAY_PUSH(p->names, const char *) = name;
    }
    return back_reference(p, index, width);
}

/* A backslash outside a class, and what follows. */
static mercure_status escape(js_parser *p, js_width *width, bool *is_assertion)
{
    js_text items = {.pool = p->pool};
    mercure_status status;
    uint32_t code;
    bool found;

    p->at++;
    code = js_peek(p, 0);
    if (code == 'b' || code == 'B') {
        p->at++;
        *is_assertion = true;
        *width = (js_width){0, true};
        js_text_append(&p->out, code == 'b' ? "\\b" : "\\B");
        return MERCURE_OK;
    }
    if (code == 'k') {
        p->at++;
        return named_reference(p, width);
    }
    if (is_digit(code) && code != '0') {
        (void)number(p, &code);
        p->highest = code > p->highest ? code : p->highest;
        return back_reference(p, code - 1, width);
    }
    *width = (js_width){1, true};
    status = js_class_escape(p, &items, &found);
    if (status != MERCURE_OK) {
        return status;
    }
    if (found) {
        js_text_append(&p->out, "[");
        js_text_append(&p->out, js_text_string(&items));
        js_text_append(&p->out, "]");
        return MERCURE_OK;
    }
    status = js_character_escape(p, &code);
    if (status != MERCURE_OK) {
        return status;
    }
    if (code >= 0xD800 && code <= 0xDFFF) {
        js_text_append(&p->out, JS_NONE); /* no UTF-8 text has half of a surrogate pair */
    } else {
        js_text_code(&p->out, code);
    }
    return MERCURE_OK;
}

/* Flags of a group, up to the character that is not one: a set of 1 (i), 2 (m), 4 (s). */
static mercure_status flags(js_parser *p, unsigned *set)
{
    static const char letters[] = "ims";

    *set = 0;
    for (;;) {
        uint32_t c = js_peek(p, 0);
        unsigned flag;
        if (c != 'i' && c != 'm' && c != 's') {
            return MERCURE_OK;
        }
        flag = 1u << (strchr(letters, (int)c) - letters);
        if ((*set & flag) != 0) {
            return js_refuse(p, "a flag twice");
        }
        *set |= flag;
        p->at++;
    }
}

/* (?ims-ims: after the question mark. */
static mercure_status modifiers(js_parser *p)
{
    unsigned on, off = 0;
    bool has_minus;
    mercure_status status = flags(p, &on);

    if (status != MERCURE_OK) {
        return status;
    }
    has_minus = js_take(p, '-');
    if (has_minus) {
        status = flags(p, &off);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    if (!js_take(p, ':') || (on & off) != 0 || (has_minus && (on | off) == 0)) {
        return js_refuse(p, "a group that does not exist");
    }
    if ((on & 1) != 0) {
        return js_refuse(p, "flag i in a group, where PCRE2 folds case otherwise");
    }
    p->multiline = (p->multiline || (on & 2) != 0) && (off & 2) == 0;
    p->dot_all = (p->dot_all || (on & 4) != 0) && (off & 4) == 0;
    js_text_append(&p->out, "(?:");
    return MERCURE_OK;
}

/* (?<name> after the "<". */
static mercure_status named_group(js_parser *p, js_group *group)
{
    size_t index;
    mercure_status status = group_name(p, &group->name);

    if (status != MERCURE_OK) {
        return status;
    }
    if (find_group(p, group->name, &index)) {
        return js_refuse(p, "two groups of one name");
    }
    js_text_append(&p->out, apr_pstrcat(p->pool, "(?<", group->name, ">", NULL));
    return MERCURE_OK;
}

typedef enum { PLAIN, CAPTURING, LOOK_AHEAD, LOOK_BEHIND } group_kind;

/* The beginning of a group, up to where its content starts. */
static mercure_status open_group(js_parser *p, group_kind *kind, bool *negative)
{
    js_group group = {0};
    mercure_status status = MERCURE_OK;

    *kind = PLAIN;
    *negative = false;
    p->at++; /* ( */
    if (js_take(p, '?')) {
        uint32_t c = js_peek(p, 0), next = js_peek(p, 1);
        if (c == '=' || c == '!') {
            p->at++;
            *kind = LOOK_AHEAD;
            *negative = c == '!';
            js_text_append(&p->out, *negative ? "(?!" : "(?=");
            return MERCURE_OK;
        }
        if (c == '<' && (next == '=' || next == '!')) {
            p->at += 2;
            *kind = LOOK_BEHIND;
            *negative = next == '!';
            js_text_append(&p->out, *negative ? "(?<!" : "(?<=");
            return MERCURE_OK;
        }
        if (c != '<') {
            return modifiers(p);
        }
        p->at++;
        status = named_group(p, &group);
    } else {
        js_text_append(&p->out, "(");
    }
    if (status == MERCURE_OK && group_count(p) == MAX_GROUPS) {
        status = js_refuse(p, "more than 1000 groups");
    }
    *kind = CAPTURING;
    APR_ARRAY_PUSH(p->groups, js_group) = group;
    return status;
}

/* A look-around is over: what may a back reference after it see of the groups in it, from `first` on? */
static void close_look_around(js_parser *p, group_kind kind, bool negative, size_t first)
{
    for (; first < group_count(p); first++) {
        js_group *group = group_at(p, first);
        group->in_assertion = true;
        group->never |= negative;
        group->differs |= kind == LOOK_BEHIND; /* ECMAScript matches these from right to left */
    }
}

static mercure_status group(js_parser *p, js_width *width, bool *is_assertion)
{
    size_t first = group_count(p);
    bool dot_all = p->dot_all, multiline = p->multiline, negative, each_fixed;
    group_kind kind;
    mercure_status status;

    if (++p->depth > MAX_DEPTH) {
        return js_refuse(p, "groups nested too deeply");
    }
    status = open_group(p, &kind, &negative);
    if (status != MERCURE_OK) {
        return status;
    }
    p->look_behinds += kind == LOOK_BEHIND;
    status = disjunction(p, width, &each_fixed);
    if (status != MERCURE_OK) {
        return status;
    }
    if (!js_take(p, ')')) {
        return js_refuse(p, "a group without its )");
    }
    js_text_append(&p->out, ")");
    p->look_behinds -= kind == LOOK_BEHIND;
    p->depth--;
    p->dot_all = dot_all;
    p->multiline = multiline;
    if (kind == CAPTURING) {
        group_at(p, first)->closed = true;
    }
    if (kind == LOOK_AHEAD || kind == LOOK_BEHIND) {
        if (kind == LOOK_BEHIND && !each_fixed) {
            return js_refuse(p, "a look-behind that is not of one length, which PCRE2 does not have");
        }
        close_look_around(p, kind, negative, first);
        *width = (js_width){0, true};
        *is_assertion = true;
    }
    return MERCURE_OK;
}

/* Write an atom or an assertion. */
static mercure_status atom(js_parser *p, js_width *width, bool *is_assertion)
{
    static const char line_end[] = "\\x{a}\\x{d}\\x{2028}\\x{2029}";
    uint32_t c = js_peek(p, 0);

    *width = (js_width){1, true};
    *is_assertion = c == '^' || c == '$';
    switch (c) {
    case '(':
        return group(p, width, is_assertion);
    case '[':
        return js_class(p, width);
    case '\\':
        return escape(p, width, is_assertion);
    case '*':
    case '+':
    case '?':
    case '{':
        return js_refuse(p, "nothing to repeat");
    case ']':
    case '}':
        return js_refuse(p, "an unescaped ] or }");
    default:
        break;
    }
    p->at++;
    if (*is_assertion) {
        *width = (js_width){0, true};
    }
    if (c == '^') {
        js_text_append(&p->out, p->multiline ? apr_psprintf(p->pool, "(?:\\A|(?<=[%s]))", line_end) : "\\A");
    } else if (c == '$') {
        js_text_append(&p->out, p->multiline ? apr_psprintf(p->pool, "(?=[%s]|\\z)", line_end) : "\\z");
    } else if (c == '.') {
        js_text_append(&p->out, p->dot_all ? JS_ANY : apr_psprintf(p->pool, "[^%s]", line_end));
    } else {
        js_text_code(&p->out, c);
    }
    return MERCURE_OK;
}

/* Read a quantifier; without one, both numbers are 1. */
static mercure_status quantifier(js_parser *p, uint32_t *min, uint32_t *max)
{
    *min = *max = 1;
    if (js_take(p, '*')) {
        *min = 0;
        *max = NO_LIMIT;
    } else if (js_take(p, '+')) {
        *max = NO_LIMIT;
    } else if (js_take(p, '?')) {
        *min = 0;
    } else if (js_take(p, '{')) {
        if (!number(p, min)) {
            return js_refuse(p, "{ that begins no quantifier");
        }
        *max = *min;
        if (js_take(p, ',') && !number(p, max)) {
            *max = NO_LIMIT;
        }
        if (!js_take(p, '}')) {
            return js_refuse(p, "a quantifier without its }");
        }
        if (*max < *min) {
            return js_refuse(p, "a quantifier with its numbers out of order");
        }
        if (*min > MAX_REPEAT || (*max > MAX_REPEAT && *max != NO_LIMIT)) {
            return js_refuse(p, "a quantifier with a number past 65535, PCRE2's largest");
        }
    } else {
        return MERCURE_OK;
    }
    if (*max == NO_LIMIT && *min <= 1) {
        js_text_append(&p->out, *min == 0 ? "*" : "+");
    } else if (*max == NO_LIMIT) {
        js_text_append(&p->out, apr_psprintf(p->pool, "{%u,}", *min));
    } else {
        js_text_append(&p->out, apr_psprintf(p->pool, "{%u,%u}", *min, *max));
    }
    if (js_take(p, '?') && *min != *max) {
        js_text_append(&p->out, "?");
    }
    return MERCURE_OK;
}

/* An atom is repeated: what may a back reference after it see of the groups in it, and what did those in it see? */
static mercure_status repeat(js_parser *p, uint32_t min, uint32_t max, js_width *width, size_t first_group,
                             size_t first_reference)
{
    size_t i;

    for (i = first_group; i < group_count(p); i++) {
        js_group *group = group_at(p, i);
        group->differs |= group->in_assertion || (max > 1 && (group->optional || width->min == 0));
        group->optional |= min == 0;
    }
    for (i = first_reference; max > 1 && i < (size_t)p->references->nelts; i++) {
        const js_reference *reference = &APR_ARRAY_IDX(p->references, i, js_reference);
        if (reference->optional && reference->group >= first_group) {
            return js_refuse(p, "a repeated back reference to a group that may not take part, for which PCRE2 may hold "
                                "the text of an earlier round");
        }
    }
    width->fixed = width->fixed && min == max;
    width->min *= min; /* MANY leaves room for this */
    width->min = width->min > MANY ? MANY : width->min;
    return MERCURE_OK;
}

static mercure_status term(js_parser *p, js_width *width)
{
    size_t first_group = group_count(p), first_reference = (size_t)p->references->nelts;
    uint32_t min, max;
    bool is_assertion = false;
    mercure_status status = atom(p, width, &is_assertion);

    if (status != MERCURE_OK || is_assertion) {
        return status;
    }
    status = quantifier(p, &min, &max);
    if (status != MERCURE_OK || (min == 1 && max == 1)) {
        return status;
    }
    return repeat(p, min, max, width, first_group, first_reference);
}

static mercure_status alternative(js_parser *p, js_width *width)
{
    *width = (js_width){0, true};
    while (js_peek(p, 0) != JS_END && js_peek(p, 0) != '|' && js_peek(p, 0) != ')') {
        js_width more;
        mercure_status status = term(p, &more);
        if (status != MERCURE_OK) {
            return status;
        }
        width->min = width->min > MANY - more.min ? MANY : width->min + more.min;
        width->fixed = width->fixed && more.fixed;
    }
    return MERCURE_OK;
}

/* Alternatives up to the end or a closing parenthesis. */
static mercure_status disjunction(js_parser *p, js_width *width, bool *each_fixed)
{
    size_t first = group_count(p), from = first, i;
    bool several = false;
    mercure_status status = alternative(p, width);

    *each_fixed = width->fixed && width->min <= MAX_LOOK_BEHIND;
    while (status == MERCURE_OK && js_take(p, '|')) {
        js_width more;
        js_text_append(&p->out, "|");
        for (; from < group_count(p); from++) {
            group_at(p, from)->elsewhere = true;
        }
        status = alternative(p, &more);
        *each_fixed = *each_fixed && more.fixed && more.min <= MAX_LOOK_BEHIND;
        width->fixed = width->fixed && more.fixed && width->min == more.min;
        width->min = more.min < width->min ? more.min : width->min;
        several = true;
    }
    for (i = first; i < group_count(p); i++) {
        group_at(p, i)->elsewhere = false;
        group_at(p, i)->optional |= several;
    }
    return status;
}

/* References may stand before their group; now all groups are known. */
static mercure_status check_references(js_parser *p)
{
    size_t index;
    int i;

    if (p->highest > group_count(p)) {
        return js_refuse(p, "a back reference to a group that does not exist");
    }
    for (i = 0; i < p->names->nelts; i++) {
        if (!find_group(p, APR_ARRAY_IDX(p->names, i, const char *), &index)) {
            return js_refuse(p, "a back reference to a name that no group has");
        }
    }
    return MERCURE_OK;
}

/* `source` is well-formed UTF-8. */
static size_t decode(mercure_str source, uint32_t *codes)
{
    const unsigned char *s = (const unsigned char *)source.data;
    size_t count = 0, i;

    for (i = 0; i < source.len; i++) {
        if (s[i] < 0x80) {
            codes[count++] = s[i];
        } else if (s[i] >= 0xC0) {
            codes[count++] = s[i] & (s[i] < 0xE0 ? 0x1Fu : s[i] < 0xF0 ? 0x0Fu : 0x07u);
        } else {
            codes[count - 1] = codes[count - 1] << 6 | (s[i] & 0x3Fu);
        }
    }
    return count;
}

mercure_status js_regexp_translate(apr_pool_t *pool, mercure_str source, const char **pcre, mercure_error *err)
{
    js_parser p = {.pool = pool, .out = {.pool = pool}, .err = err};
    uint32_t *codes;
    js_width width;
    mercure_status status;
    bool each_fixed;

    if (!mercure_utf8_valid(source)) {
        return mercure_fail(err, MERCURE_INVALID, "regular expression: not valid UTF-8");
    }
    codes = apr_palloc(pool, (source.len + 1) * sizeof(*codes));
    p.len = decode(source, codes);
    p.source = codes;
    p.groups = apr_array_make(pool, 4, sizeof(js_group));
    p.references = apr_array_make(pool, 4, sizeof(js_reference));
    p.names = apr_array_make(pool, 0, sizeof(const char *));
    status = disjunction(&p, &width, &each_fixed);
    if (status == MERCURE_OK && p.at < p.len) {
        status = js_refuse(&p, "an unmatched )");
    }
    if (status == MERCURE_OK) {
        status = check_references(&p);
    }
    if (status == MERCURE_OK) {
        *pcre = js_text_string(&p.out);
    }
    return status;
}
