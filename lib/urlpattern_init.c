/* urlpattern_init.c - inits: one string per component, from a constructor string, completed from a base URL (URL
 * Pattern Standard, "Constructor string parsing" and "URLPatternInit processing").
 *
 * A constructor string is cut at the characters that separate a URL's components, where they do not belong to the
 * pattern syntax; hence the lenient tokens. The parser goes back to a component's start at most twice, so it is linear.
 */
#include "urlpattern_internal.h"

#include <apr_strings.h>

typedef enum {
    STATE_PROTOCOL = MERCURE_URL_PROTOCOL, /* the states that end in a component have its number */
    STATE_USERNAME = MERCURE_URL_USERNAME,
    STATE_PASSWORD = MERCURE_URL_PASSWORD,
    STATE_HOSTNAME = MERCURE_URL_HOSTNAME,
    STATE_PORT = MERCURE_URL_PORT,
    STATE_PATHNAME = MERCURE_URL_PATHNAME,
    STATE_SEARCH = MERCURE_URL_SEARCH,
    STATE_HASH = MERCURE_URL_HASH,
    STATE_INIT,
    STATE_AUTHORITY,
    STATE_DONE
} init_state;

struct constructor {
    apr_pool_t *pool;
    mercure_str input;
    urlpattern_token *tokens;
    size_t count;
    size_t index;
    size_t increment;
    size_t component_start; /* a token's index */
    size_t group_depth;
    int bracket_depth;
    bool special; /* the protocol matches a special scheme */
    init_state state;
    urlpattern_init *result;
    mercure_error *err;
};

const char *const urlpattern_names[MERCURE_URL_COMPONENTS] = {"protocol", "username", "password", "hostname",
                                                              "port",     "pathname", "search",   "hash"};

/* ---- constructor strings ---- */

/* "Is a non-special pattern char". */
static bool is_char(const struct constructor *c, size_t index, char value)
{
    const urlpattern_token *token = &c->tokens[index < c->count ? index : c->count - 1];

    return token->value.len == 1 && token->value.data[0] == value &&
           (token->type == URLPATTERN_CHAR || token->type == URLPATTERN_ESCAPED_CHAR ||
            token->type == URLPATTERN_INVALID_CHAR);
}

static bool is_here(const struct constructor *c, char value)
{
    return is_char(c, c->index, value);
}

/* A '?' may be a modifier instead. */
static bool is_search_prefix(const struct constructor *c)
{
    if (is_here(c, '?')) {
        return true;
    }
    if (!mercure_str_is(c->tokens[c->index].value, "?")) {
        return false;
    }
    if (c->index == 0) {
        return true;
    }
    switch (c->tokens[c->index - 1].type) {
    case URLPATTERN_NAME:
    case URLPATTERN_REGEXP_TOKEN:
    case URLPATTERN_CLOSE:
    case URLPATTERN_ASTERISK:
        return false;
    default:
        return true;
    }
}

/* "Make a component string": from the component's start to the current token. */
static mercure_str component_string(const struct constructor *c)
{
    size_t first = c->component_start < c->count ? c->component_start : c->count - 1;
    size_t start = c->tokens[first].index;
    size_t end = c->tokens[c->index].index;

    return (mercure_str){c->input.data + start, end > start ? end - start : 0};
}

static void set_default(struct constructor *c, mercure_url_component component, const char *value)
{
    if (c->result->values[component].data == NULL) {
        c->result->values[component] = mercure_str_of(value);
    }
}

/* Is `state` one of those before `component` in a URL? */
static bool is_before(init_state state, mercure_url_component component)
{
    return state == STATE_AUTHORITY ? component > MERCURE_URL_PASSWORD : state < (init_state)component;
}

/* "Change state". What was jumped over is empty (a pathname: "/" where the scheme is special). */
static void change_state(struct constructor *c, init_state state, size_t skip)
{
    init_state old = c->state;

    if (old != STATE_INIT && old != STATE_AUTHORITY && old != STATE_DONE) {
        c->result->values[old] = component_string(c);
    }
    if (old != STATE_INIT && state != STATE_DONE && state != STATE_AUTHORITY) {
        if (is_before(old, MERCURE_URL_HOSTNAME) && state >= STATE_PORT) {
            set_default(c, MERCURE_URL_HOSTNAME, "");
        }
        if (is_before(old, MERCURE_URL_PATHNAME) && state >= STATE_SEARCH) {
            set_default(c, MERCURE_URL_PATHNAME, c->special ? "/" : "");
        }
        if (is_before(old, MERCURE_URL_SEARCH) && state == STATE_HASH) {
            set_default(c, MERCURE_URL_SEARCH, "");
        }
    }
    c->state = state;
    c->index += skip;
    c->component_start = c->index;
    c->increment = 0;
}

static void rewind_to(struct constructor *c, init_state state)
{
    c->index = c->component_start;
    c->increment = 0;
    c->state = state;
}

/* The end of the input; true when the last component is taken. */
static bool take_end(struct constructor *c)
{
    switch (c->state) {
    case STATE_INIT: /* no protocol: the string is relative */
        rewind_to(c, STATE_INIT);
        if (is_here(c, '#')) {
            change_state(c, STATE_HASH, 1);
        } else if (is_search_prefix(c)) {
            change_state(c, STATE_SEARCH, 1);
        } else {
            change_state(c, STATE_PATHNAME, 0);
        }
        return false;
    case STATE_AUTHORITY: /* no '@': neither username nor password */
        rewind_to(c, STATE_HOSTNAME);
        return false;
    default:
        change_state(c, STATE_DONE, 0);
        return true;
    }
}

/* The protocol's end: from here on it counts whether it can be a special scheme's. */
static mercure_status take_protocol(struct constructor *c)
{
    urlpattern_component protocol;
    mercure_status status = urlpattern_parse_protocol(c->pool, component_string(c), &protocol, &c->special, c->err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (is_char(c, c->index + 1, '/') && is_char(c, c->index + 2, '/')) {
        change_state(c, STATE_AUTHORITY, 3);
    } else {
        change_state(c, c->special ? STATE_AUTHORITY : STATE_PATHNAME, 1);
    }
    return MERCURE_OK;
}

/* What may follow a hostname, a port, a pathname or a search; `from` is the first component that may. */
static void take_later_component(struct constructor *c, init_state from)
{
    if (from <= STATE_PATHNAME && is_here(c, '/')) {
        change_state(c, STATE_PATHNAME, 0);
    } else if (from <= STATE_SEARCH && is_search_prefix(c)) {
        change_state(c, STATE_SEARCH, 1);
    } else if (is_here(c, '#')) {
        change_state(c, STATE_HASH, 1);
    }
}

/* A token outside of braces. */
static mercure_status take_token(struct constructor *c)
{
    switch (c->state) {
    case STATE_INIT:
        if (is_here(c, ':')) {
            rewind_to(c, STATE_PROTOCOL);
        }
        break;
    case STATE_PROTOCOL:
        return is_here(c, ':') ? take_protocol(c) : MERCURE_OK;
    case STATE_AUTHORITY:
        if (is_here(c, '@')) {
            rewind_to(c, STATE_USERNAME);
        } else if (is_here(c, '/') || is_search_prefix(c) || is_here(c, '#')) {
            rewind_to(c, STATE_HOSTNAME);
        }
        break;
    case STATE_USERNAME:
        if (is_here(c, ':')) {
            change_state(c, STATE_PASSWORD, 1);
            break;
        }
        /* fall through */
    case STATE_PASSWORD:
        if (is_here(c, '@')) {
            change_state(c, STATE_HOSTNAME, 1);
        }
        break;
    case STATE_HOSTNAME:
        if (is_here(c, '[')) {
            c->bracket_depth++;
        } else if (is_here(c, ']')) {
            c->bracket_depth--;
        } else if (is_here(c, ':') && c->bracket_depth == 0) {
            change_state(c, STATE_PORT, 1);
        } else {
            take_later_component(c, STATE_PATHNAME);
        }
        break;
    case STATE_PORT:
        take_later_component(c, STATE_PATHNAME);
        break;
    case STATE_PATHNAME:
        take_later_component(c, STATE_SEARCH);
        break;
    case STATE_SEARCH:
        take_later_component(c, STATE_HASH);
        break;
    case STATE_HASH:
    case STATE_DONE:
        break;
    }
    return MERCURE_OK;
}

mercure_status urlpattern_init_from_string(apr_pool_t *pool, mercure_str input, urlpattern_init *init,
                                           mercure_error *err)
{
    struct constructor c = {.pool = pool, .input = input, .state = STATE_INIT, .result = init, .err = err};
    mercure_status status = MERCURE_OK;

    *init = (urlpattern_init){.base = NULL};
    if (input.data == NULL) {
        c.input.data = "";
    }
    urlpattern_tokenize(pool, c.input, true, &c.tokens, &c.count, err); /* a lenient tokenizer takes everything */
    for (; c.index < c.count; c.index += c.increment) {
        urlpattern_token_type type = c.tokens[c.index].type;

        c.increment = 1;
        if (type == URLPATTERN_END) {
            if (take_end(&c)) {
                break;
            }
            continue;
        }
        if (type == URLPATTERN_OPEN) {
            c.group_depth++;
            continue;
        }
        if (c.group_depth > 0) {
            if (type != URLPATTERN_CLOSE) {
                continue;
            }
            c.group_depth--;
        }
        status = take_token(&c);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    if (init->values[MERCURE_URL_HOSTNAME].data != NULL) {
        set_default(&c, MERCURE_URL_PORT, "");
    }
    return MERCURE_OK;
}

/* ---- processing ---- */

/* "Process a base URL string": what a pattern inherits stands for itself. */
static mercure_str inherit(apr_pool_t *pool, const char *value, bool for_pattern)
{
    return for_pattern ? urlpattern_escape(pool, mercure_str_of(value)) : mercure_str_of(value);
}

static mercure_str or_empty(mercure_str value)
{
    return value.data != NULL ? value : (mercure_str){"", 0};
}

/* What is inherited from the base: each component, as long as the init names neither it nor one before it in
 * protocol, hostname, port, pathname, search, hash; username and password never for a pattern. */
static void inherit_from_base(apr_pool_t *pool, const urlpattern_init *init, bool for_pattern, mercure_str *result)
{
    const mercure_url *base = init->base;
    bool named[MERCURE_URL_COMPONENTS];
    bool above;

    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        named[i] = init->values[i].data != NULL;
    }
    if (!named[MERCURE_URL_PROTOCOL]) {
        result[MERCURE_URL_PROTOCOL] = inherit(pool, base->scheme, for_pattern);
    }
    above = named[MERCURE_URL_PROTOCOL] || named[MERCURE_URL_HOSTNAME];
    if (!above) {
        result[MERCURE_URL_HOSTNAME] = inherit(pool, base->host != NULL ? base->host : "", for_pattern);
    }
    above = above || named[MERCURE_URL_PORT];
    if (!for_pattern && !above && !named[MERCURE_URL_USERNAME]) {
        result[MERCURE_URL_USERNAME] = mercure_str_of(base->username);
        if (!named[MERCURE_URL_PASSWORD]) {
            result[MERCURE_URL_PASSWORD] = mercure_str_of(base->password);
        }
    }
    if (!above) {
        result[MERCURE_URL_PORT] = mercure_str_of(mercure_url_port(pool, base));
    }
    above = above || named[MERCURE_URL_PATHNAME];
    if (!above) {
        result[MERCURE_URL_PATHNAME] = inherit(pool, base->path, for_pattern);
    }
    above = above || named[MERCURE_URL_SEARCH];
    if (!above) {
        result[MERCURE_URL_SEARCH] = inherit(pool, base->query != NULL ? base->query : "", for_pattern);
    }
    above = above || named[MERCURE_URL_HASH];
    if (!above) {
        result[MERCURE_URL_HASH] = inherit(pool, base->fragment != NULL ? base->fragment : "", for_pattern);
    }
}

/* "Is an absolute pathname". */
static bool is_absolute_pathname(mercure_str path, bool for_pattern)
{
    if (path.len > 0 && path.data[0] == '/') {
        return true;
    }
    return for_pattern && path.len >= 2 && (path.data[0] == '\\' || path.data[0] == '{') && path.data[1] == '/';
}

/* The init's pathname, after the base's directory where it is relative. */
static mercure_str resolve_pathname(apr_pool_t *pool, const urlpattern_init *init, bool for_pattern)
{
    mercure_str path = init->values[MERCURE_URL_PATHNAME];
    url_buffer joined = {.pool = pool};

    if (init->base == NULL || init->base->has_opaque_path || is_absolute_pathname(path, for_pattern)) {
        return path;
    }
    mercure_str base_path = inherit(pool, init->base->path, for_pattern);
    while (base_path.len > 0 && base_path.data[base_path.len - 1] != '/') {
        base_path.len--;
    }
    url_buffer_append(&joined, base_path.data, base_path.len);
    url_buffer_append(&joined, path.data, path.len);
    return (mercure_str){url_buffer_string(&joined), joined.len};
}

/* The strings of an init, with what is inherited, without a protocol's final ':' and the first '?' and '#'. Those that
 * the standard's result lacks keep data NULL. */
static void collect(apr_pool_t *pool, const urlpattern_init *init, bool for_pattern, mercure_str *result)
{
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        result[i] = (mercure_str){NULL, 0};
    }
    if (init->base != NULL) {
        inherit_from_base(pool, init, for_pattern, result);
    }
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        mercure_str value = init->values[i];

        if (value.data == NULL) {
            continue;
        }
        if (i == MERCURE_URL_PROTOCOL && value.len > 0 && value.data[value.len - 1] == ':') {
            value.len--;
        } else if (i == MERCURE_URL_PATHNAME) {
            value = resolve_pathname(pool, init, for_pattern);
        } else if (value.len > 0 && ((i == MERCURE_URL_SEARCH && value.data[0] == '?') ||
                                     (i == MERCURE_URL_HASH && value.data[0] == '#'))) {
            value.data++;
            value.len--;
        }
        result[i] = value;
    }
}

void urlpattern_init_for_pattern(apr_pool_t *pool, const urlpattern_init *init,
                                 mercure_str values[MERCURE_URL_COMPONENTS])
{
    collect(pool, init, true, values);
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        if (values[i].data == NULL) {
            values[i] = mercure_str_of("*");
        }
    }
    /* The default port is written as none. */
    mercure_str protocol = values[MERCURE_URL_PROTOCOL];
    int port = mercure_url_scheme_port(protocol.data, protocol.len);
    if (port >= 0 && mercure_str_is(values[MERCURE_URL_PORT], apr_itoa(pool, port))) {
        values[MERCURE_URL_PORT] = mercure_str_of("");
    }
}

/* Canonicalise what the init gave; what is inherited is canonical already. */
static mercure_status canonicalise(apr_pool_t *pool, const urlpattern_init *init, mercure_url_component component,
                                   mercure_str *values, mercure_error *err)
{
    const char *protocol = values[MERCURE_URL_PROTOCOL].data; /* canonical by now, so NUL-terminated */
    mercure_str value = values[component];
    const char *out = "";
    mercure_status status = MERCURE_OK;

    if (init->values[component].data == NULL) {
        return MERCURE_OK;
    }
    switch (component) {
    case MERCURE_URL_PROTOCOL:
        status = mercure_url_canonicalise_protocol(pool, value.data, value.len, &out, err);
        break;
    case MERCURE_URL_USERNAME:
        status = mercure_url_canonicalise_username(pool, value.data, value.len, &out, err);
        break;
    case MERCURE_URL_PASSWORD:
        status = mercure_url_canonicalise_password(pool, value.data, value.len, &out, err);
        break;
    case MERCURE_URL_HOSTNAME:
        status = mercure_url_canonicalise_hostname(pool, value.data, value.len, &out, err);
        break;
    case MERCURE_URL_PORT:
        status = mercure_url_canonicalise_port(pool, value.data, value.len, protocol, &out, err);
        break;
    case MERCURE_URL_PATHNAME:
        if (protocol == NULL || protocol[0] == '\0' || mercure_url_scheme_special(protocol, strlen(protocol))) {
            status = mercure_url_canonicalise_pathname(pool, value.data, value.len, &out, err);
        } else {
            status = mercure_url_canonicalise_opaque_pathname(pool, value.data, value.len, &out, err);
        }
        break;
    case MERCURE_URL_SEARCH:
        status = mercure_url_canonicalise_search(pool, value.data, value.len, &out, err);
        break;
    case MERCURE_URL_HASH:
    case MERCURE_URL_COMPONENTS:
        status = mercure_url_canonicalise_hash(pool, value.data, value.len, &out, err);
        break;
    }
    values[component] = mercure_str_of(out);
    return status;
}

mercure_status urlpattern_init_for_url(apr_pool_t *pool, const urlpattern_init *init,
                                       mercure_str values[MERCURE_URL_COMPONENTS], mercure_error *err)
{
    collect(pool, init, false, values);
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        mercure_status status = canonicalise(pool, init, (mercure_url_component)i, values, err);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        values[i] = or_empty(values[i]);
    }
    return MERCURE_OK;
}
