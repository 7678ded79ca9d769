/* urlpattern_match.c - the linear matcher: a component without regular expressions against one value.
 *
 * It follows all ways at once. A set of positions, one bit each, says where in the value the steps so far may have
 * ended; each step of the program turns it into the set where that step may end; the value matches when the last set
 * holds its end. Positions are 0 to n; bit i of row_of[c] is set where byte i of the value is c, so a byte of text
 * moves the set by (set & row) << 1. A segment wildcard fills every run of bytes without delimiter from the first
 * position of the set in it to its end, which an addition does: the carry runs through the run. Nothing is tried twice,
 * nothing recurses.
 *
 * Positions after the end of the part that is looked at do no harm: no step leads back.
 */
#include "urlpattern_internal.h"

/* The sets of the scratch memory. */
enum { SET_HERE, SET_OPTION, SET_RUNS, SET_PREFIX, SET_SUFFIX, SETS };

/* The flags of a repeated segment's scan, per position. */
#define MAY_BEGIN 1 /* a segment may begin here */
#define INSIDE    2 /* a segment has begun before, and may go on or end here */
#define MAY_END   4 /* the repetition may end here */

struct run {
    mercure_url_parts *parts;
    const urlpattern_occurrences *occurrences;
    const unsigned char *value;
    size_t len;
    size_t words;
    char delimiter;
};

static const uint64_t *row(const struct run *r, unsigned char c)
{
    return r->occurrences->rows + r->occurrences->row_of[c] * r->words;
}

static uint64_t *set(const struct run *r, int which)
{
    return r->parts->sets + (size_t)which * r->parts->sets_words;
}

static bool has(const uint64_t *positions, size_t i)
{
    return (positions[i / 64] >> (i % 64) & 1) != 0;
}

static void add(uint64_t *positions, size_t i)
{
    positions[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- preparing ---- */

static urlpattern_occurrences *find_occurrences(apr_pool_t *pool, mercure_str value)
{
    urlpattern_occurrences *o = apr_pcalloc(pool, sizeof(*o));
    const unsigned char *s = (const unsigned char *)value.data;
    size_t rows = 1;

    o->words = value.len / 64 + 1;
    /* There is a row number for each: no UTF-8 has all 256 bytes in it, let alone ASCII. */
    for (size_t i = 0; i < value.len; i++) {
        if (o->row_of[s[i]] == 0 && rows < 256) {
            o->row_of[s[i]] = (uint8_t)rows++;
        }
    }
    o->rows = apr_pcalloc(pool, rows * o->words * sizeof(*o->rows));
    for (size_t i = 0; i < value.len; i++) {
        add(o->rows + o->row_of[s[i]] * o->words, i);
    }
    return o;
}

static void prepare(struct run *r, mercure_url_component component)
{
    mercure_url_parts *parts = r->parts;
    mercure_str value = parts->values[component];

    if (parts->occurrences[component] == NULL) {
        parts->occurrences[component] = find_occurrences(parts->pool, value);
        parts->steps += value.len;
    }
    r->occurrences = parts->occurrences[component];
    r->value = (const unsigned char *)value.data;
    r->len = value.len;
    r->words = r->occurrences->words;
    if (parts->sets_words < r->words) {
        parts->sets = apr_palloc(parts->pool, SETS * r->words * sizeof(*parts->sets));
        parts->flags = apr_palloc(parts->pool, r->words * 64);
        parts->sets_words = r->words;
    }
}

/* ---- steps ---- */

/* The index of the first word with a position, or `words`. */
static size_t first_word(const struct run *r, const uint64_t *positions)
{
    size_t w = 0;

    while (w < r->words && positions[w] == 0) {
        w++;
    }
    return w;
}

/* False when nothing is left. */
static bool step_text(const struct run *r, uint64_t *here, mercure_str text)
{
    size_t first = first_word(r, here);
    uint64_t any = 1;

    for (size_t i = 0; i < text.len && any != 0; i++) {
        const uint64_t *occurs = row(r, (unsigned char)text.data[i]);
        uint64_t carry = 0;

        any = 0;
        for (size_t w = first; w < r->words; w++) {
            uint64_t hit = here[w] & occurs[w];
            here[w] = hit << 1 | carry;
            carry = hit >> 63;
            any |= here[w];
        }
        r->parts->steps += r->words - first;
    }
    return any != 0;
}

/* Everything from `from` to the value's end. */
static bool fill_from(const struct run *r, uint64_t *here, size_t from)
{
    for (size_t w = 0; w < r->words; w++) {
        here[w] = w < from / 64 ? 0 : ~UINT64_C(0);
    }
    if (from / 64 < r->words) {
        here[from / 64] &= ~UINT64_C(0) << (from % 64);
        here[r->len / 64] &= ~UINT64_C(0) >> (63 - r->len % 64);
    }
    r->parts->steps += r->words;
    return from <= r->len;
}

static bool step_full(const struct run *r, uint64_t *here, size_t at_least)
{
    size_t first = first_word(r, here);

    if (first == r->words) {
        return false;
    }
    return fill_from(r, here, first * 64 + (size_t)__builtin_ctzll(here[first]) + at_least);
}

/* Turn each position of the set that is in a run of `runs` into that position and all after it in the run. The
 * addition's carry goes through the rest of the run; what it does not reach, because another position stops it, is in
 * the set. */
static void fill_runs(const struct run *r, uint64_t *here, const uint64_t *runs)
{
    uint64_t carry = 0;

    for (size_t w = 0; w < r->words; w++) {
        uint64_t starts = here[w] & runs[w];
        uint64_t sum;
        uint64_t overflow = (uint64_t)__builtin_add_overflow(runs[w], starts, &sum);

        overflow |= (uint64_t)__builtin_add_overflow(sum, carry, &sum);
        here[w] = ((sum ^ runs[w]) & runs[w]) | starts;
        carry = overflow;
    }
    r->parts->steps += r->words;
}

/* Every position becomes the one after it. False when there is none. */
static bool advance(const struct run *r, uint64_t *here)
{
    uint64_t carry = 0;
    uint64_t any = 0;

    for (size_t w = 0; w < r->words; w++) {
        uint64_t next = here[w] >> 63;
        here[w] = here[w] << 1 | carry;
        carry = next;
        any |= here[w];
    }
    return any != 0;
}

/* Where a byte that is not the delimiter stands. */
static uint64_t plain_word(const struct run *r, size_t w)
{
    uint64_t plain = ~row(r, (unsigned char)r->delimiter)[w];

    return w == r->len / 64 ? plain & ((UINT64_C(1) << (r->len % 64)) - 1) : plain;
}

static bool step_segment(const struct run *r, uint64_t *here)
{
    uint64_t *runs = set(r, SET_RUNS);

    for (size_t w = 0; w < r->words; w++) {
        runs[w] = plain_word(r, w);
    }
    fill_runs(r, here, runs);
    return advance(r, here);
}

static bool step_core(const struct run *r, uint64_t *here, urlpattern_part_type type)
{
    if (type == URLPATTERN_SEGMENT && r->delimiter != '\0') {
        return step_segment(r, here);
    }
    return step_full(r, here, type == URLPATTERN_SEGMENT ? 1 : 0);
}

/* ---- repeated steps ---- */

/* The positions where `text` stands, into `where`; all of them for an empty text. */
static void find_text(const struct run *r, uint64_t *where, mercure_str text)
{
    fill_from(r, where, 0);
    for (size_t i = text.len; i-- > 0;) {
        const uint64_t *occurs = row(r, (unsigned char)text.data[i]);

        for (size_t w = 0; w < r->words; w++) {
            uint64_t next = w + 1 < r->words ? where[w + 1] << 63 : 0;
            where[w] = occurs[w] & (where[w] >> 1 | next);
        }
        r->parts->steps += r->words;
    }
}

/* (?:c)+ for a single byte: runs of it. */
static bool repeat_byte(const struct run *r, uint64_t *here, unsigned char c)
{
    fill_runs(r, here, row(r, c));
    return advance(r, here);
}

/* (?:/segment)+ where the prefix is the delimiter, as in "/:path+": from a delimiter on, every byte may follow but a
 * delimiter after a delimiter; and each end is after another byte. */
static bool repeat_delimited_segment(const struct run *r, uint64_t *here)
{
    const uint64_t *delimiters = row(r, (unsigned char)r->delimiter);
    uint64_t *runs = set(r, SET_RUNS);
    uint64_t carry = 0;

    for (size_t w = 0; w < r->words; w++) {
        uint64_t after_delimiter = delimiters[w] << 1 | carry;
        carry = delimiters[w] >> 63;
        runs[w] = plain_word(r, w) | (delimiters[w] & ~after_delimiter);
        here[w] &= delimiters[w];
    }
    if (!advance(r, here)) {
        return false;
    }
    for (size_t w = 0; w < r->words; w++) {
        here[w] &= plain_word(r, w);
    }
    fill_runs(r, here, runs);
    for (size_t w = 0; w < r->words; w++) {
        here[w] &= plain_word(r, w);
    }
    return advance(r, here);
}

/* (?:text)+ : each end is a beginning again. `here` is turned into the ends, or with `or_none` gets them in addition.
 */
static bool repeat_text(const struct run *r, uint64_t *here, mercure_str text, bool or_none)
{
    uint64_t *where = set(r, SET_PREFIX);
    uint64_t *ends = set(r, SET_SUFFIX);
    size_t first = first_word(r, here);
    bool any = or_none;

    find_text(r, where, text);
    memset(ends, 0, r->words * sizeof(*ends));
    for (size_t i = first * 64; i + text.len <= r->len; i++) {
        if (has(where, i) && (has(here, i) || has(ends, i))) {
            add(ends, i + text.len);
            any = true;
        }
    }
    r->parts->steps += r->len;
    for (size_t w = 0; w < r->words; w++) {
        here[w] = or_none ? here[w] | ends[w] : ends[w];
    }
    return any;
}

/* (?:P((?:segment)(?:SP(?:segment))*)S) : one scan from left to right, as P and S are not both empty. */
static bool repeat_segment(const struct run *r, uint64_t *here, mercure_str prefix, mercure_str suffix, bool or_none)
{
    uint64_t *prefixes = set(r, SET_PREFIX);
    uint64_t *suffixes = set(r, SET_SUFFIX);
    unsigned char *flags = r->parts->flags;
    size_t first = first_word(r, here) * 64;
    bool any = or_none;

    if (first > r->len) {
        return false;
    }
    find_text(r, prefixes, prefix);
    find_text(r, suffixes, suffix);
    memset(flags + first, 0, r->len + 1 - first);
    for (size_t i = first; i <= r->len; i++) {
        if (has(here, i) && has(prefixes, i)) {
            flags[i + prefix.len] |= MAY_BEGIN;
        }
        if ((flags[i] & INSIDE) != 0 && has(suffixes, i)) {
            size_t after = i + suffix.len;
            flags[after] |= MAY_END;
            if (has(prefixes, after)) {
                flags[after + prefix.len] |= MAY_BEGIN;
            }
        }
        if ((flags[i] & (MAY_BEGIN | INSIDE)) != 0 && i < r->len && r->value[i] != (unsigned char)r->delimiter) {
            flags[i + 1] |= INSIDE;
        }
    }
    r->parts->steps += r->len;
    for (size_t w = first / 64; w < r->words; w++) {
        uint64_t ends = 0;

        for (size_t i = w * 64; i <= r->len && i < (w + 1) * 64; i++) {
            ends |= (uint64_t)((flags[i] & MAY_END) != 0) << (i % 64);
        }
        here[w] = or_none ? here[w] | ends : ends;
        any = any || ends != 0;
    }
    return any;
}

/* ---- programs ---- */

/* A length and so many bytes. */
static mercure_str get_counted(const unsigned char **at)
{
    size_t len = 0;
    int shift = 0;

    for (;; shift += 7) {
        unsigned char c = *(*at)++;
        len |= (size_t)(c & 0x7F) << shift;
        if (c < 0x80) {
            break;
        }
    }
    mercure_str text = {(const char *)*at, len};
    *at += len;
    return text;
}

/* One step without its modifier. */
static bool step_once(const struct run *r, uint64_t *here, urlpattern_part_type type, mercure_str prefix,
                      mercure_str suffix)
{
    if (!step_text(r, here, prefix)) {
        return false;
    }
    return type == URLPATTERN_TEXT || (step_core(r, here, type) && step_text(r, here, suffix));
}

static bool step_optional(const struct run *r, uint64_t *here, urlpattern_part_type type, mercure_str prefix,
                          mercure_str suffix)
{
    uint64_t *option = set(r, SET_OPTION);

    memcpy(option, here, r->words * sizeof(*here));
    if (step_once(r, option, type, prefix, suffix)) {
        for (size_t w = 0; w < r->words; w++) {
            here[w] |= option[w];
        }
    }
    return true;
}

static bool step_repeated(const struct run *r, uint64_t *here, urlpattern_part_type type, mercure_str prefix,
                          mercure_str suffix, bool or_none)
{
    bool byte = type == URLPATTERN_TEXT && prefix.len == 1;
    bool delimited = type == URLPATTERN_SEGMENT && prefix.len == 1 && prefix.data[0] == r->delimiter && suffix.len == 0;
    uint64_t *before = set(r, SET_OPTION);

    if (!byte && !delimited) {
        return type == URLPATTERN_TEXT ? repeat_text(r, here, prefix, or_none)
                                       : repeat_segment(r, here, prefix, suffix, or_none);
    }
    memcpy(before, here, r->words * sizeof(*here));
    bool any = byte ? repeat_byte(r, here, (unsigned char)prefix.data[0]) : repeat_delimited_segment(r, here);
    for (size_t w = 0; w < r->words && or_none; w++) {
        here[w] |= before[w];
    }
    return any || or_none;
}

/* One step of the program; false when the set is empty after it. */
static bool step(const struct run *r, uint64_t *here, const unsigned char **at)
{
    unsigned char op = *(*at)++;
    urlpattern_part_type type = (urlpattern_part_type)(op & 3);
    mercure_str prefix = {"", 0};
    mercure_str suffix = {"", 0};

    if ((op & URLPATTERN_HAS_PREFIX) != 0) {
        prefix = get_counted(at);
    }
    if ((op & URLPATTERN_HAS_SUFFIX) != 0) {
        suffix = get_counted(at);
    }
    urlpattern_modifier modifier = (urlpattern_modifier)(op >> 2 & 3);
    switch (modifier) {
    case URLPATTERN_NONE:
        return step_once(r, here, type, prefix, suffix);
    case URLPATTERN_OPTIONAL:
        return step_optional(r, here, type, prefix, suffix);
    case URLPATTERN_ZERO_OR_MORE:
    case URLPATTERN_ONE_OR_MORE:
        break;
    }
    return step_repeated(r, here, type, prefix, suffix, modifier == URLPATTERN_ZERO_OR_MORE);
}

bool urlpattern_run(mercure_url_parts *parts, mercure_url_component component, const unsigned char *program, size_t len,
                    char delimiter, size_t start, size_t end)
{
    struct run r = {.parts = parts, .delimiter = delimiter};
    const unsigned char *stop = program + len;

    prepare(&r, component);
    uint64_t *here = set(&r, SET_HERE);
    memset(here, 0, r.words * sizeof(*here));
    add(here, start);
    while (program < stop) {
        if (!step(&r, here, &program)) {
            return false;
        }
    }
    return has(here, end);
}
