/* urlpattern_internal.h - what the files of the URL pattern share, and what their test looks into.
 *
 * The way of a pattern: constructor string -> init (urlpattern_init.c, with tokens of urlpattern_token.c) -> one
 * pattern string per component -> part list (urlpattern_parse.c) -> compiled form (urlpattern_compile.c), which
 * urlpattern.c and urlpattern_match.c ask. urlpattern_print.c writes part lists out again.
 *
 * "The standard" is the URL Pattern Standard; strings may point into the pattern or live in the pool that was given.
 */
#ifndef MERCURE_URLPATTERN_INTERNAL_H
#define MERCURE_URLPATTERN_INTERNAL_H

#include "mercure/urlpattern.h"

#include "url_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdatomic.h>
#include <stdint.h>

/* ---- tokens ---- */

typedef enum {
    URLPATTERN_OPEN,
    URLPATTERN_CLOSE,
    URLPATTERN_REGEXP_TOKEN,
    URLPATTERN_NAME,
    URLPATTERN_CHAR,
    URLPATTERN_ESCAPED_CHAR,
    URLPATTERN_OTHER_MODIFIER,
    URLPATTERN_ASTERISK,
    URLPATTERN_END,
    URLPATTERN_INVALID_CHAR
} urlpattern_token_type;

typedef struct {
    urlpattern_token_type type;
    size_t index;      /* in bytes */
    mercure_str value; /* points into the input */
} urlpattern_token;

/* Tokenize ("Tokenizing"). The last token is URLPATTERN_END.
 *
 * lenient   the policy: what is wrong becomes a token, instead of a failure
 * tokens    out: `count` of them, in `pool`
 */
mercure_status urlpattern_tokenize(apr_pool_t *pool, mercure_str input, bool lenient, urlpattern_token **tokens,
                                   size_t *count, mercure_error *err);

/* Is this an ASCII character that a name may go on with? */
static inline bool urlpattern_is_name_char(int c)
{
    return url_is_alpha(c) || url_is_digit(c) || c == '_' || c == '$';
}

/* ---- part lists ---- */

typedef enum { URLPATTERN_TEXT, URLPATTERN_REGEXP, URLPATTERN_SEGMENT, URLPATTERN_FULL } urlpattern_part_type;

typedef enum {
    URLPATTERN_NONE,
    URLPATTERN_OPTIONAL,     /* ? */
    URLPATTERN_ZERO_OR_MORE, /* * */
    URLPATTERN_ONE_OR_MORE   /* + */
} urlpattern_modifier;

typedef struct {
    urlpattern_part_type type;
    urlpattern_modifier modifier;
    mercure_str value; /* a text, or a regular expression in ECMAScript's syntax; else empty */
    mercure_str name;  /* empty for a text only */
    mercure_str prefix;
    mercure_str suffix;
} urlpattern_part;

/* The standard's options; '\0' is its empty string. */
typedef struct {
    char delimiter;
    char prefix;
} urlpattern_options;

/* A parsed component. */
typedef struct {
    urlpattern_part *parts;
    size_t count;
    urlpattern_options options;
    bool has_regexp;
} urlpattern_component;

/* The signature of the mercure_url_canonicalise_*() functions. */
typedef mercure_status (*urlpattern_encoder)(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                             mercure_error *err);

/* Parse a pattern string ("Parsing"). */
mercure_status urlpattern_parse(apr_pool_t *pool, mercure_str input, urlpattern_options options,
                                urlpattern_encoder encode, urlpattern_component *component, mercure_error *err);

/* "Generate a segment wildcard regexp". */
const char *urlpattern_segment_regexp(urlpattern_options options);

/* "Generate a pattern string". */
mercure_str urlpattern_print(apr_pool_t *pool, const urlpattern_component *component);

/* "Escape a pattern string". */
mercure_str urlpattern_escape(apr_pool_t *pool, mercure_str text);

/* "Generate a regular expression and name list", in ECMAScript's syntax, without the anchors at both ends. The names
 * are those of the parts that are not texts, in order. */
mercure_str urlpattern_print_regexp(apr_pool_t *pool, const urlpattern_component *component);

/* The same regular expression, compiled; it is anchored at both ends.
 *
 * code     out: the caller's to free
 * weight   out: see urlpattern_compiled; may be NULL
 *
 * Returns MERCURE_OK; MERCURE_INVALID when it is none, or none that PCRE2 can have; MERCURE_LIMIT when it is too heavy.
 */
mercure_status urlpattern_compile_regexp(apr_pool_t *pool, const urlpattern_component *component, pcre2_code **code,
                                         uint32_t *weight, mercure_error *err);

/* ---- inits ---- */

/* A URLPatternInit; a component is absent where its data is NULL. */
typedef struct {
    mercure_str values[MERCURE_URL_COMPONENTS];
    const mercure_url *base; /* of the member baseURL; NULL: absent */
} urlpattern_init;

/* "Parse a constructor string". */
mercure_status urlpattern_init_from_string(apr_pool_t *pool, mercure_str input, urlpattern_init *init,
                                           mercure_error *err);

/* "Process a URLPatternInit" for "pattern", and the default port: the eight pattern strings, "*" where the standard's
 * result has none. */
void urlpattern_init_for_pattern(apr_pool_t *pool, const urlpattern_init *init,
                                 mercure_str values[MERCURE_URL_COMPONENTS]);

/* The same for "url": the eight component values. Fails where the standard throws: such an init matches nothing. */
mercure_status urlpattern_init_for_url(apr_pool_t *pool, const urlpattern_init *init,
                                       mercure_str values[MERCURE_URL_COMPONENTS], mercure_error *err);

/* Parse all components of an init ("create" without compiling). */
mercure_status urlpattern_parse_init(apr_pool_t *pool, const urlpattern_init *init,
                                     urlpattern_component components[MERCURE_URL_COMPONENTS], mercure_error *err);

/* Parse a protocol alone, and see whether it "matches a special scheme". */
mercure_status urlpattern_parse_protocol(apr_pool_t *pool, mercure_str input, urlpattern_component *protocol,
                                         bool *special, mercure_error *err);

/* "protocol", "username", ... */
extern const char *const urlpattern_names[MERCURE_URL_COMPONENTS];

/* ---- compiled form ---- */

/* How a component is matched, the cheapest first. */
typedef enum {
    URLPATTERN_IS_LITERAL,  /* equal to the prefix */
    URLPATTERN_IS_WILDCARD, /* prefix, anything, suffix; min_len has been checked */
    URLPATTERN_IS_SEGMENT,  /* prefix, one or more bytes that are not the delimiter, suffix */
    URLPATTERN_IS_PROGRAM,  /* what lies between used_prefix and used_suffix is left to the linear matcher */
    URLPATTERN_IS_REGEXP    /* PCRE2 looks at the whole value */
} urlpattern_kind;

/* One component of a compiled pattern. Offsets are into the pattern's `bytes`. */
typedef struct {
    uint8_t which; /* mercure_url_component */
    uint8_t kind;  /* urlpattern_kind */
    char delimiter;
    uint32_t min_len;
    uint32_t prefix; /* what every match begins with */
    uint32_t prefix_len;
    uint32_t used_prefix; /* so many bytes of it the program does not look at again */
    uint32_t suffix;
    uint32_t suffix_len;
    uint32_t used_suffix;
    uint32_t weight;    /* of a regular expression: what one look at a character may cost, 1 for an ordinary one */
    uint32_t code_size; /* of a regular expression, compiled, in bytes */
    union {
        pcre2_code *code;
        struct {
            uint32_t at;
            uint32_t len;
        } program;
    } u;
} urlpattern_compiled;

struct mercure_urlpattern {
    atomic_uint holds;
    uint8_t count;                            /* of `components` */
    uint8_t index_of[MERCURE_URL_COMPONENTS]; /* 1 + index into `components`, 0: anything matches */
    const unsigned char *bytes;               /* behind `components`, in the same allocation */
    urlpattern_compiled components[];         /* those that do not match everything, ordered by kind */
};

/* Compile parsed components into one allocation. */
mercure_status urlpattern_compile(apr_pool_t *pool, const urlpattern_component components[MERCURE_URL_COMPONENTS],
                                  mercure_urlpattern **result, mercure_error *err);

/* A step of a program: a byte (type, modifier << 2, and these), then a length and the prefix (or the text), and a
 * length and the suffix, where they are. A length has 7 bits a byte, the lowest first. */
#define URLPATTERN_HAS_PREFIX 0x10
#define URLPATTERN_HAS_SUFFIX 0x20

/* ---- matching ---- */

/* What the linear matcher knows of a value: for each byte c that occurs, the set of its positions, row_of[c] of `rows`;
 * row 0 is empty. */
typedef struct {
    uint8_t row_of[256];
    uint64_t *rows;
    size_t words; /* of a set: positions are 0 to the value's length */
} urlpattern_occurrences;

struct mercure_url_parts {
    apr_pool_t *pool;
    mercure_str values[MERCURE_URL_COMPONENTS];
    urlpattern_occurrences *occurrences[MERCURE_URL_COMPONENTS]; /* NULL until asked for */
    uint64_t *sets;                                              /* the matcher's scratch memory */
    size_t sets_words;                                           /* words that each of its sets has */
    unsigned char *flags;
    mercure_effort *effort;
    uint64_t steps; /* work done so far, in words and positions looked at */
};

/* Parts of eight values, not of a URL. */
mercure_url_parts *urlpattern_parts_of_values(apr_pool_t *pool, const mercure_str values[MERCURE_URL_COMPONENTS]);

/* PCRE2's match limit for a value of `len` bytes. */
uint32_t urlpattern_match_limit(const urlpattern_compiled *compiled, size_t len);

/* Ask a regular expression, as far as the effort allows. */
bool urlpattern_match_regexp(mercure_effort *effort, const urlpattern_compiled *compiled, mercure_str value);

/* May one more program be run? What it took is noted after. */
bool urlpattern_may_run(mercure_effort *effort);
void urlpattern_note_steps(mercure_effort *effort, uint64_t steps);

/* Run a program over a component's value, from its byte `start` to its byte `end`. */
bool urlpattern_run(mercure_url_parts *parts, mercure_url_component component, const unsigned char *program, size_t len,
                    char delimiter, size_t start, size_t end);

#endif
