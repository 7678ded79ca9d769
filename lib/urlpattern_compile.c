/* urlpattern_compile.c - from part lists to the compiled form that urlpattern.c asks.
 *
 * A component's part list is first laid flat: the prefix and suffix of a group that occurs exactly once become texts of
 * their own, neighbouring texts are joined, and repetitions that add nothing go ("(?:.*)+" is ".*"). The texts at both
 * ends are then taken off as the literal prefix and suffix, and what is left decides how the component is matched;
 * most often nothing is left, or one wildcard.
 *
 * A wildcard matches every byte here, although ECMAScript's "." does not match line ends: no component of a URL can
 * hold one.
 *
 * Only a component that holds a regular-expression group is given to PCRE2, as a whole, since its groups may refer to
 * each other ("(a|b)\\1").
 */
#include "urlpattern_internal.h"

#include "js_regexp.h"

#include <apr_strings.h>

#include <stdlib.h>

/* Of one component's regular expression, and of a pattern's together; without them a pattern of 4 KiB could take 64 KiB
 * for each component, or have a class of 700
 * properties, which PCRE2 would ask one after the other for each character. */
#define REGEXP_MAX_SIZE       4096u /* bytes, compiled */
#define REGEXP_MAX_SIZES      8192u
#define REGEXP_MAX_PROPERTIES 64u

/* One step of a flat component. A text's text is in `prefix`. */
typedef struct {
    urlpattern_part_type type;
    urlpattern_modifier modifier;
    mercure_str prefix;
    mercure_str suffix;
} step;

typedef struct {
    apr_pool_t *pool;
    step *steps;
    size_t count;
    url_buffer text; /* a text that may yet grow */
} flat;

/* A component on its way into the allocation. */
typedef struct {
    urlpattern_compiled compiled;
    mercure_str prefix;
    mercure_str suffix;
    mercure_str program;
} draft;

static const mercure_str empty = {"", 0};

static bool occurs(urlpattern_modifier modifier)
{
    return modifier == URLPATTERN_NONE || modifier == URLPATTERN_ONE_OR_MORE;
}

/* ---- laying flat ---- */

static void end_text(flat *f)
{
    if (f->text.len > 0) {
        mercure_str text = {f->text.s, f->text.len};
        f->steps[f->count++] = (step){URLPATTERN_TEXT, URLPATTERN_NONE, text, empty};
        f->text = (url_buffer){.pool = f->pool};
    }
}

static void add_text(flat *f, mercure_str text)
{
    url_buffer_append(&f->text, text.data, text.len);
}

static void add_step(flat *f, step s)
{
    end_text(f);
    f->steps[f->count++] = s;
}

/* The modifier without a repetition that adds nothing: that of a full wildcard, of a segment wildcard that no delimiter
 * ends, or of a segment wildcard with nothing between its repetitions. */
static urlpattern_modifier simplify(const urlpattern_part *part, char delimiter)
{
    bool bare = part->prefix.len == 0 && part->suffix.len == 0;
    bool swallows = part->type == URLPATTERN_FULL || (part->type == URLPATTERN_SEGMENT && (delimiter == '\0' || bare));

    if (part->type == URLPATTERN_FULL && bare) {
        return URLPATTERN_NONE; /* "(.*)?" as well */
    }
    if (!swallows) {
        return part->modifier;
    }
    switch (part->modifier) {
    case URLPATTERN_ZERO_OR_MORE:
        return URLPATTERN_OPTIONAL;
    case URLPATTERN_ONE_OR_MORE:
        return URLPATTERN_NONE;
    default:
        return part->modifier;
    }
}

static flat lay_flat(apr_pool_t *pool, const urlpattern_component *component)
{
    flat f = {.pool = pool, .text = {.pool = pool}};

    f.steps = apr_palloc(pool, (3 * component->count + 1) * sizeof(*f.steps));
    for (size_t i = 0; i < component->count; i++) {
        const urlpattern_part *part = &component->parts[i];
        urlpattern_modifier modifier = simplify(part, component->options.delimiter);

        if (part->type == URLPATTERN_TEXT) {
            if (modifier == URLPATTERN_NONE) {
                add_text(&f, part->value);
            } else if (part->value.len > 0) {
                add_step(&f, (step){URLPATTERN_TEXT, modifier, part->value, empty});
            }
        } else if (modifier == URLPATTERN_NONE) {
            add_text(&f, part->prefix);
            add_step(&f, (step){part->type, URLPATTERN_NONE, empty, empty});
            add_text(&f, part->suffix);
        } else {
            add_step(&f, (step){part->type, modifier, part->prefix, part->suffix});
        }
    }
    end_text(&f);
    return f;
}

/* ---- one component ---- */

static bool is_plain_text(const step *s)
{
    return s->type == URLPATTERN_TEXT && s->modifier == URLPATTERN_NONE;
}

static size_t min_len(const flat *f)
{
    size_t len = 0;

    for (size_t i = 0; i < f->count; i++) {
        const step *s = &f->steps[i];
        if (occurs(s->modifier)) {
            len += s->prefix.len + s->suffix.len + (s->type == URLPATTERN_SEGMENT ? 1 : 0);
        }
    }
    return len;
}

static mercure_str join(apr_pool_t *pool, mercure_str a, mercure_str b)
{
    url_buffer joined = {.pool = pool};

    url_buffer_append(&joined, a.data, a.len);
    url_buffer_append(&joined, b.data, b.len);
    return (mercure_str){url_buffer_string(&joined), joined.len};
}

/* Find the literal prefix and suffix. `*steps` and `*count` are then what lies between those parts of them that need
 * no second look; a repeated step next to them ("{ab}+") adds to what a value must begin or end with, but stays. */
static void take_literals(apr_pool_t *pool, draft *d, const step **steps, size_t *count)
{
    d->prefix = d->suffix = empty;
    if (*count > 0 && is_plain_text(*steps)) {
        d->prefix = (*steps)->prefix;
        ++*steps;
        --*count;
    }
    if (*count > 0 && is_plain_text(*steps + *count - 1)) {
        d->suffix = (*steps)[--*count].prefix;
    }
    d->compiled.used_prefix = (uint32_t)d->prefix.len;
    d->compiled.used_suffix = (uint32_t)d->suffix.len;
    if (*count > 0) {
        const step *first = *steps;
        const step *last = *steps + *count - 1;
        if (occurs(first->modifier)) {
            d->prefix = join(pool, d->prefix, first->prefix);
        }
        if (occurs(last->modifier)) {
            d->suffix = join(pool, last->type == URLPATTERN_TEXT ? last->prefix : last->suffix, d->suffix);
        }
    }
}

static void append_counted(url_buffer *b, mercure_str text)
{
    size_t len = text.len;

    for (; len >= 0x80; len >>= 7) {
        url_buffer_append_char(b, (char)(0x80 | (len & 0x7F)));
    }
    url_buffer_append_char(b, (char)len);
    url_buffer_append(b, text.data, text.len);
}

static mercure_str write_program(apr_pool_t *pool, const step *steps, size_t count)
{
    url_buffer program = {.pool = pool};

    for (size_t i = 0; i < count; i++) {
        const step *s = &steps[i];
        unsigned int op = (unsigned int)s->type | (unsigned int)s->modifier << 2 |
                          (s->prefix.len > 0 ? URLPATTERN_HAS_PREFIX : 0) |
                          (s->suffix.len > 0 ? URLPATTERN_HAS_SUFFIX : 0);

        url_buffer_append_char(&program, (char)op);
        if (s->prefix.len > 0) {
            append_counted(&program, s->prefix);
        }
        if (s->suffix.len > 0) {
            append_counted(&program, s->suffix);
        }
    }
    return (mercure_str){url_buffer_string(&program), program.len};
}

/* The regular expression for matching alone: "((?:[^\\/]+?)+)", as the standard writes it, would backtrack for as long
 * as it may, where "([^\\/]+?)" matches the same. */
static mercure_status compile_regexp_to_match(apr_pool_t *pool, const urlpattern_component *component,
                                              urlpattern_compiled *compiled, mercure_error *err)
{
    urlpattern_component simple = *component;
    size_t size = 0;

    simple.parts = apr_pmemdup(pool, component->parts, component->count * sizeof(*component->parts));
    for (size_t i = 0; i < simple.count; i++) {
        simple.parts[i].modifier = simplify(&simple.parts[i], simple.options.delimiter);
    }
    mercure_status status = urlpattern_compile_regexp(pool, &simple, &compiled->u.code, &compiled->weight, err);
    if (status == MERCURE_OK) {
        pcre2_pattern_info(compiled->u.code, PCRE2_INFO_SIZE, &size);
        compiled->code_size = (uint32_t)size;
    }
    return status;
}

/* `anything` becomes true, and nothing is compiled, for a component that every value matches. */
static mercure_status draft_component(apr_pool_t *pool, const urlpattern_component *component, draft *d, bool *anything,
                                      mercure_error *err)
{
    flat f = lay_flat(pool, component);
    const step *steps = f.steps;
    size_t count = f.count;

    *anything = count == 1 && steps[0].type == URLPATTERN_FULL && steps[0].modifier == URLPATTERN_NONE;
    d->compiled.min_len = (uint32_t)min_len(&f);
    d->compiled.delimiter = component->options.delimiter;
    d->program = empty;
    take_literals(pool, d, &steps, &count);
    if (component->has_regexp) {
        d->compiled.kind = URLPATTERN_IS_REGEXP;
        return compile_regexp_to_match(pool, component, &d->compiled, err);
    }
    if (count == 0) {
        d->compiled.kind = URLPATTERN_IS_LITERAL;
    } else if (count == 1 && steps[0].modifier == URLPATTERN_NONE && steps[0].type == URLPATTERN_FULL) {
        d->compiled.kind = URLPATTERN_IS_WILDCARD;
    } else if (count == 1 && steps[0].modifier == URLPATTERN_NONE && steps[0].type == URLPATTERN_SEGMENT) {
        d->compiled.kind = d->compiled.delimiter == '\0' ? URLPATTERN_IS_WILDCARD : URLPATTERN_IS_SEGMENT;
    } else {
        d->compiled.kind = URLPATTERN_IS_PROGRAM;
        d->program = write_program(pool, steps, count);
    }
    return MERCURE_OK;
}

/* ---- the whole ---- */

static unsigned char *put(unsigned char *at, mercure_str text)
{
    if (text.len > 0) {
        memcpy(at, text.data, text.len);
    }
    return at + text.len;
}

static uint32_t offset(const mercure_urlpattern *pattern, const unsigned char *at)
{
    return (uint32_t)(at - pattern->bytes);
}

/* One allocation for all the drafts, the cheap ones first. */
static mercure_urlpattern *assemble(const draft *drafts, size_t count)
{
    size_t size = sizeof(mercure_urlpattern) + count * sizeof(urlpattern_compiled);
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += drafts[i].prefix.len + drafts[i].suffix.len + drafts[i].program.len;
    }
    mercure_urlpattern *pattern = calloc(1, size + bytes);
    if (pattern == NULL) {
        return NULL;
    }
    unsigned char *at = (unsigned char *)pattern + size;
    atomic_init(&pattern->holds, 1);
    pattern->bytes = at;
    for (int kind = URLPATTERN_IS_LITERAL; kind <= URLPATTERN_IS_REGEXP; kind++) {
        /* From the last component to the first: a pathname tells more patterns apart than a protocol does. */
        for (size_t i = count; i-- > 0;) {
            if (drafts[i].compiled.kind != kind) {
                continue;
            }
            urlpattern_compiled *compiled = &pattern->components[pattern->count++];
            *compiled = drafts[i].compiled;
            compiled->prefix = offset(pattern, at);
            compiled->prefix_len = (uint32_t)drafts[i].prefix.len;
            at = put(at, drafts[i].prefix);
            compiled->suffix = offset(pattern, at);
            compiled->suffix_len = (uint32_t)drafts[i].suffix.len;
            at = put(at, drafts[i].suffix);
            if (kind == URLPATTERN_IS_PROGRAM) {
                compiled->u.program.at = offset(pattern, at);
                compiled->u.program.len = (uint32_t)drafts[i].program.len;
                at = put(at, drafts[i].program);
            }
            pattern->index_of[compiled->which] = pattern->count;
        }
    }
    return pattern;
}

mercure_status urlpattern_compile(apr_pool_t *pool, const urlpattern_component components[MERCURE_URL_COMPONENTS],
                                  mercure_urlpattern **result, mercure_error *err)
{
    draft drafts[MERCURE_URL_COMPONENTS];
    size_t count = 0, sizes = 0;
    mercure_status status = MERCURE_OK;

    for (int i = 0; i < MERCURE_URL_COMPONENTS && status == MERCURE_OK; i++) {
        mercure_error inner = {""};
        bool anything = false;
        draft *d = &drafts[count];

        *d = (draft){.compiled = {.which = (uint8_t)i}};
        status = draft_component(pool, &components[i], d, &anything, &inner);
        if (status != MERCURE_OK) {
            mercure_fail(err, status, "the pattern's %s: %s", urlpattern_names[i], inner.reason);
        } else if (!anything) {
            count++;
            sizes += d->compiled.code_size;
        }
    }
    if (status == MERCURE_OK && sizes > REGEXP_MAX_SIZES) {
        status = mercure_fail(err, MERCURE_LIMIT, "the pattern's regular expressions take %zu bytes, more than %u",
                              sizes, REGEXP_MAX_SIZES);
    } else if (status == MERCURE_OK) {
        *result = assemble(drafts, count);
        if (*result != NULL) {
            return MERCURE_OK;
        }
        status = mercure_fail(err, MERCURE_SYSTEM, "there is no memory for a URL pattern");
    }
    for (size_t i = 0; i < count; i++) {
        if (drafts[i].compiled.kind == URLPATTERN_IS_REGEXP) {
            pcre2_code_free(drafts[i].compiled.u.code);
        }
    }
    return status;
}

/* How many Unicode properties an expression asks for. PCRE2 tries those of a class one after the other, some two
 * nanoseconds each, for every character. */
static uint32_t count_properties(const char *pcre)
{
    uint32_t count = 0;

    for (; (pcre = strchr(pcre, '\\')) != NULL && pcre[1] != '\0'; pcre += 2) {
        count += pcre[1] == 'p' || pcre[1] == 'P' ? 1 : 0;
    }
    return count;
}

static mercure_status status_of_error(int error)
{
    if (error == PCRE2_ERROR_HEAP_FAILED) {
        return MERCURE_SYSTEM;
    }
    return error == PCRE2_ERROR_PATTERN_TOO_LARGE ? MERCURE_LIMIT : MERCURE_INVALID;
}

mercure_status urlpattern_compile_regexp(apr_pool_t *pool, const urlpattern_component *component, pcre2_code **code,
                                         uint32_t *weight, mercure_error *err)
{
    const char *pcre;
    int error;
    PCRE2_SIZE error_at;
    size_t size = 0;
    mercure_status status = js_regexp_translate(pool, urlpattern_print_regexp(pool, component), &pcre, err);

    if (status != MERCURE_OK) {
        return status;
    }
    uint32_t properties = count_properties(pcre);
    if (properties > REGEXP_MAX_PROPERTIES) {
        return mercure_fail(err, MERCURE_LIMIT, "its regular expressions have %u properties, more than %u", properties,
                            REGEXP_MAX_PROPERTIES);
    }
    *code = pcre2_compile((PCRE2_SPTR)pcre, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_MATCH_UNSET_BACKREF, &error, &error_at,
                          NULL);
    if (*code == NULL) {
        PCRE2_UCHAR reason[120] = "";
        pcre2_get_error_message(error, reason, sizeof(reason));
        return mercure_fail(err, status_of_error(error), "a regular expression that cannot be compiled: %s",
                            (const char *)reason);
    }
    pcre2_pattern_info(*code, PCRE2_INFO_SIZE, &size);
    if (size > REGEXP_MAX_SIZE) {
        pcre2_code_free(*code);
        return mercure_fail(err, MERCURE_LIMIT, "its regular expressions take %zu bytes, more than %u", size,
                            REGEXP_MAX_SIZE);
    }
    if (weight != NULL) {
        *weight = 1 + 2 * properties;
    }
    return MERCURE_OK;
}
