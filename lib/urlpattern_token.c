/* urlpattern_token.c - the tokenizer of URL patterns (URL Pattern Standard, "Tokenizing").
 *
 * Positions are bytes here, code points there; all characters with a meaning are ASCII, so nothing else differs. A
 * lenient error inside "(...)" makes the tokenizer go back to what follows the parenthesis. That is not quadratic: the
 * scan that failed stops at the latest at the next parenthesis from which a scan can go further than one character.
 *
 * Names may hold what ECMAScript's identifiers may. For ASCII that is a comparison; the properties ID_Start and
 * ID_Continue of other code points are asked of PCRE2, which has Unicode's tables anyway.
 */
#include "urlpattern_internal.h"

struct tokenizer {
    apr_pool_t *pool;
    const char *in;
    size_t len;
    size_t index;
    bool lenient;
    urlpattern_token *tokens; /* room for len + 1, as each but the last takes a byte at least */
    size_t count;
    pcre2_code *name; /* made when a name is not ASCII */
    mercure_error *err;
};

static void add_token(struct tokenizer *t, urlpattern_token_type type, size_t next, size_t value_at, size_t value_len)
{
    t->tokens[t->count++] = (urlpattern_token){type, t->index, {t->in + value_at, value_len}};
    t->index = next;
}

/* The bytes of the code point at `at`. */
static size_t code_point_len(const struct tokenizer *t, size_t at)
{
    uint32_t c;

    return url_utf8_decode(t->in + at, t->len - at, &c);
}

/* "Process a tokenizing error". */
static mercure_status tokenizing_error(struct tokenizer *t, size_t next, size_t value_at, const char *what)
{
    if (!t->lenient) {
        return mercure_fail(t->err, MERCURE_INVALID, "%s at byte %zu", what, t->index);
    }
    add_token(t, URLPATTERN_INVALID_CHAR, next, value_at, next - value_at);
    return MERCURE_OK;
}

static apr_status_t free_code(void *code)
{
    pcre2_code_free(code);
    return APR_SUCCESS;
}

/* The length of the name at the start of `s`, which holds characters that are not ASCII. */
static size_t unicode_name_len(struct tokenizer *t, const char *s, size_t size)
{
    static const char pattern[] = "[$_\\p{ID_Start}][$\\x{200C}\\x{200D}\\p{ID_Continue}]*+";
    pcre2_match_data *found = NULL;
    size_t len = 0;
    int error;
    PCRE2_SIZE error_at;

    if (t->name == NULL) {
        t->name = pcre2_compile((PCRE2_SPTR)pattern, sizeof(pattern) - 1,
                                PCRE2_UTF | PCRE2_ANCHORED | PCRE2_MATCH_INVALID_UTF, &error, &error_at, NULL);
        if (t->name == NULL) {
            return 0;
        }
        apr_pool_cleanup_register(t->pool, t->name, free_code, apr_pool_cleanup_null);
    }
    found = pcre2_match_data_create(1, NULL);
    if (found != NULL && pcre2_match(t->name, (PCRE2_SPTR)s, size, 0, 0, found, NULL) > 0) {
        len = pcre2_get_ovector_pointer(found)[1];
    }
    pcre2_match_data_free(found);
    return len;
}

static size_t name_len(struct tokenizer *t, size_t at)
{
    const char *s = t->in + at;
    size_t len = 0;
    bool ascii = true;

    if (at == t->len || url_is_digit(s[0])) {
        return 0;
    }
    while (at + len < t->len && (urlpattern_is_name_char((unsigned char)s[len]) || (unsigned char)s[len] >= 0x80)) {
        ascii = ascii && (unsigned char)s[len] < 0x80;
        len++;
    }
    return ascii ? len : unicode_name_len(t, s, len);
}

static mercure_status take_name(struct tokenizer *t)
{
    size_t start = t->index + 1;
    size_t len = name_len(t, start);

    if (len == 0) {
        return tokenizing_error(t, start, t->index, "a ':' that no name follows");
    }
    add_token(t, URLPATTERN_NAME, start + len, start, len);
    return MERCURE_OK;
}

/* "(...)": everything up to the parenthesis that closes this one, ASCII only. */
static mercure_status take_regexp(struct tokenizer *t)
{
    size_t start = t->index + 1;
    size_t at = start;
    int depth = 1;
    const char *wrong = NULL;

    while (at < t->len && wrong == NULL) {
        unsigned char c = (unsigned char)t->in[at];

        if (c >= 0x80) {
            wrong = "a regular expression with a character that is not ASCII";
        } else if (c == '?' && at == start) {
            wrong = "a regular expression that begins with '?'";
        } else if (c == '\\') {
            if (at + 1 == t->len) {
                wrong = "a regular expression that ends after '\\'";
            } else if ((unsigned char)t->in[at + 1] >= 0x80) {
                wrong = "a regular expression with a character that is not ASCII";
            }
            at++;
        } else if (c == ')' && --depth == 0) {
            at++;
            break;
        } else if (c == '(') {
            depth++;
            if (at + 1 == t->len || t->in[at + 1] != '?') {
                wrong = "a regular expression with a capturing group";
            }
        }
        at++;
    }
    if (wrong == NULL && depth != 0) {
        wrong = "a '(' that nothing closes";
    }
    if (wrong == NULL && at - start == 1) {
        wrong = "a regular expression that is empty";
    }
    if (wrong != NULL) {
        return tokenizing_error(t, start, t->index, wrong);
    }
    add_token(t, URLPATTERN_REGEXP_TOKEN, at, start, at - start - 1);
    return MERCURE_OK;
}

static mercure_status take_token(struct tokenizer *t)
{
    size_t next = t->index + 1;
    urlpattern_token_type type = URLPATTERN_CHAR;

    switch (t->in[t->index]) {
    case ':':
        return take_name(t);
    case '(':
        return take_regexp(t);
    case '\\':
        if (next == t->len) {
            return tokenizing_error(t, next, t->index, "a '\\' that nothing follows");
        }
        add_token(t, URLPATTERN_ESCAPED_CHAR, next + code_point_len(t, next), next, code_point_len(t, next));
        return MERCURE_OK;
    case '*':
        type = URLPATTERN_ASTERISK;
        break;
    case '+':
    case '?':
        type = URLPATTERN_OTHER_MODIFIER;
        break;
    case '{':
        type = URLPATTERN_OPEN;
        break;
    case '}':
        type = URLPATTERN_CLOSE;
        break;
    default:
        next = t->index + code_point_len(t, t->index);
        break;
    }
    add_token(t, type, next, t->index, next - t->index);
    return MERCURE_OK;
}

mercure_status urlpattern_tokenize(apr_pool_t *pool, mercure_str input, bool lenient, urlpattern_token **tokens,
                                   size_t *count, mercure_error *err)
{
    struct tokenizer t = {.pool = pool, .in = input.data, .len = input.len, .lenient = lenient, .err = err};

    t.tokens = apr_palloc(pool, (input.len + 1) * sizeof(*t.tokens));
    while (t.index < t.len) {
        mercure_status status = take_token(&t);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    add_token(&t, URLPATTERN_END, t.index, t.index, 0);
    *tokens = t.tokens;
    *count = t.count;
    return MERCURE_OK;
}
