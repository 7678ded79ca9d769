/* urlpattern_parse.c - from a pattern string to a part list (URL Pattern Standard, "Parsing").
 *
 * Every piece of fixed text goes through the component's encoding callback on its own, so that "/caf\u00e9/:id" and
 * "/caf%C3%A9/:id" are one pattern, and so that a text the URL could not hold is refused here.
 */
#include "urlpattern_internal.h"

#include "mercure/hash.h"

#include <apr_hash.h>
#include <apr_strings.h>

struct parser {
    apr_pool_t *pool;
    urlpattern_token *tokens;
    size_t index;
    urlpattern_encoder encode;
    urlpattern_component *component;
    size_t room;            /* in component->parts */
    url_buffer pending;     /* the pending fixed value */
    apr_hash_t *names;      /* of the parts so far, without the numeric ones, which cannot repeat */
    const char *segment;    /* the segment wildcard's regular expression */
    unsigned int next_name; /* the next numeric name */
    mercure_error *err;
};

static const urlpattern_token *consume(struct parser *p, urlpattern_token_type type)
{
    return p->tokens[p->index].type == type ? &p->tokens[p->index++] : NULL;
}

static mercure_status consume_required(struct parser *p, urlpattern_token_type type)
{
    if (consume(p, type) == NULL) {
        return mercure_fail(p->err, MERCURE_INVALID, "a character that has no place there at byte %zu",
                            p->tokens[p->index].index);
    }
    return MERCURE_OK;
}

static const urlpattern_token *consume_modifier(struct parser *p)
{
    const urlpattern_token *token = consume(p, URLPATTERN_OTHER_MODIFIER);

    return token != NULL ? token : consume(p, URLPATTERN_ASTERISK);
}

static const urlpattern_token *consume_regexp_or_wildcard(struct parser *p, const urlpattern_token *name)
{
    const urlpattern_token *token = consume(p, URLPATTERN_REGEXP_TOKEN);

    return name == NULL && token == NULL ? consume(p, URLPATTERN_ASTERISK) : token;
}

static mercure_str consume_text(struct parser *p)
{
    url_buffer text = {.pool = p->pool};
    const urlpattern_token *token;

    while ((token = consume(p, URLPATTERN_CHAR)) != NULL || (token = consume(p, URLPATTERN_ESCAPED_CHAR)) != NULL) {
        url_buffer_append(&text, token->value.data, token->value.len);
    }
    return (mercure_str){url_buffer_string(&text), text.len};
}

static mercure_status encode(struct parser *p, mercure_str text, mercure_str *encoded)
{
    const char *out = "";

    if (text.len > 0) {
        mercure_status status = p->encode(p->pool, text.data, text.len, &out, p->err);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    *encoded = mercure_str_of(out);
    return MERCURE_OK;
}

static urlpattern_part *new_part(struct parser *p, urlpattern_part_type type, urlpattern_modifier modifier)
{
    static const mercure_str empty = {"", 0};
    urlpattern_component *component = p->component;

    if (component->count == p->room) {
        urlpattern_part *old = component->parts;
        p->room = p->room == 0 ? 8 : p->room * 2;
        component->parts = apr_palloc(p->pool, p->room * sizeof(*component->parts));
        if (component->count > 0) {
            memcpy(component->parts, old, component->count * sizeof(*old));
        }
    }
    urlpattern_part *part = &component->parts[component->count++];
    *part = (urlpattern_part){type, modifier, empty, empty, empty, empty};
    return part;
}

/* An encoding callback may leave nothing of a text ("\t" in a pathname); the part is made nevertheless. */
static mercure_status add_text(struct parser *p, mercure_str text, urlpattern_modifier modifier)
{
    mercure_str encoded;
    mercure_status status = encode(p, text, &encoded);

    if (status == MERCURE_OK) {
        new_part(p, URLPATTERN_TEXT, modifier)->value = encoded;
    }
    return status;
}

/* "Maybe add a part from the pending fixed value". */
static mercure_status add_pending(struct parser *p)
{
    mercure_str text = {p->pending.s, p->pending.len};

    if (text.len == 0) {
        return MERCURE_OK;
    }
    p->pending = (url_buffer){.pool = p->pool};
    return add_text(p, text, URLPATTERN_NONE);
}

static urlpattern_modifier modifier_of(const urlpattern_token *token)
{
    if (token == NULL) {
        return URLPATTERN_NONE;
    }
    switch (token->value.data[0]) {
    case '?':
        return URLPATTERN_OPTIONAL;
    case '*':
        return URLPATTERN_ZERO_OR_MORE;
    default:
        return URLPATTERN_ONE_OR_MORE;
    }
}

/* A group's name: its own, or the next number. */
static mercure_status name_group(struct parser *p, const urlpattern_token *name, mercure_str *result)
{
    if (name == NULL) {
        *result = mercure_str_of(apr_psprintf(p->pool, "%u", p->next_name++));
        return MERCURE_OK;
    }
    if (apr_hash_get(p->names, name->value.data, (apr_ssize_t)name->value.len) != NULL) {
        return mercure_fail(p->err, MERCURE_INVALID, "a name that is used twice, again at byte %zu", name->index);
    }
    apr_hash_set(p->names, name->value.data, (apr_ssize_t)name->value.len, name);
    *result = name->value;
    return MERCURE_OK;
}

/* "Add a part". */
static mercure_status add_part(struct parser *p, mercure_str prefix, const urlpattern_token *name,
                               const urlpattern_token *regexp_or_wildcard, mercure_str suffix,
                               const urlpattern_token *modifier_token)
{
    urlpattern_modifier modifier = modifier_of(modifier_token);
    urlpattern_part group = {.modifier = modifier, .type = URLPATTERN_SEGMENT, .value = {"", 0}};
    bool fixed = name == NULL && regexp_or_wildcard == NULL;

    if (fixed && modifier == URLPATTERN_NONE) {
        url_buffer_append(&p->pending, prefix.data, prefix.len); /* "{foo}" joins the text around it */
        return MERCURE_OK;
    }
    mercure_status status = add_pending(p);
    if (status != MERCURE_OK) {
        return status;
    }
    if (fixed) {
        return prefix.len > 0 ? add_text(p, prefix, modifier) : MERCURE_OK;
    }
    if (regexp_or_wildcard != NULL && regexp_or_wildcard->type == URLPATTERN_ASTERISK) {
        group.type = URLPATTERN_FULL;
    } else if (regexp_or_wildcard != NULL && mercure_str_is(regexp_or_wildcard->value, ".*")) {
        group.type = URLPATTERN_FULL;
    } else if (regexp_or_wildcard != NULL && !mercure_str_is(regexp_or_wildcard->value, p->segment)) {
        group.type = URLPATTERN_REGEXP;
        group.value = regexp_or_wildcard->value;
        p->component->has_regexp = true;
    }
    if ((status = name_group(p, name, &group.name)) != MERCURE_OK ||
        (status = encode(p, prefix, &group.prefix)) != MERCURE_OK ||
        (status = encode(p, suffix, &group.suffix)) != MERCURE_OK) {
        return status;
    }
    *new_part(p, group.type, group.modifier) = group;
    return MERCURE_OK;
}

/* "{prefix :name(regexp) suffix}modifier", after the brace. */
static mercure_status parse_group(struct parser *p)
{
    mercure_str prefix = consume_text(p);
    const urlpattern_token *name = consume(p, URLPATTERN_NAME);
    const urlpattern_token *regexp_or_wildcard = consume_regexp_or_wildcard(p, name);
    mercure_str suffix = consume_text(p);
    mercure_status status = consume_required(p, URLPATTERN_CLOSE);

    if (status != MERCURE_OK) {
        return status;
    }
    return add_part(p, prefix, name, regexp_or_wildcard, suffix, consume_modifier(p));
}

/* What begins at the next token; `done` when it is the end. */
static mercure_status parse_next(struct parser *p, bool *done)
{
    const urlpattern_token *first = consume(p, URLPATTERN_CHAR);
    const urlpattern_token *name = consume(p, URLPATTERN_NAME);
    const urlpattern_token *regexp_or_wildcard = consume_regexp_or_wildcard(p, name);
    mercure_str prefix = {"", 0};

    if (name != NULL || regexp_or_wildcard != NULL) {
        char automatic = p->component->options.prefix;

        if (first != NULL && automatic != '\0' && first->value.data[0] == automatic) {
            prefix = first->value;
        } else if (first != NULL) {
            url_buffer_append(&p->pending, first->value.data, first->value.len);
        }
        mercure_status status = add_pending(p);
        if (status != MERCURE_OK) {
            return status;
        }
        return add_part(p, prefix, name, regexp_or_wildcard, (mercure_str){"", 0}, consume_modifier(p));
    }
    if (first == NULL) {
        first = consume(p, URLPATTERN_ESCAPED_CHAR);
    }
    if (first != NULL) {
        url_buffer_append(&p->pending, first->value.data, first->value.len);
        return MERCURE_OK;
    }
    if (consume(p, URLPATTERN_OPEN) != NULL) {
        return parse_group(p);
    }
    mercure_status status = add_pending(p);
    if (status != MERCURE_OK) {
        return status;
    }
    *done = true;
    return consume_required(p, URLPATTERN_END);
}

mercure_status urlpattern_parse(apr_pool_t *pool, mercure_str input, urlpattern_options options,
                                urlpattern_encoder encoder, urlpattern_component *component, mercure_error *err)
{
    struct parser p = {.pool = pool, .encode = encoder, .component = component, .pending = {.pool = pool}, .err = err};
    size_t count;
    bool done = false;

    *component = (urlpattern_component){.options = options};
    p.segment = urlpattern_segment_regexp(options);
    p.names = apr_hash_make_custom(pool, mercure_hash_apr);
    mercure_status status = urlpattern_tokenize(pool, input, false, &p.tokens, &count, err);
    while (status == MERCURE_OK && !done) {
        status = parse_next(&p, &done);
    }
    return status;
}
