/* uritemplate_match.c - the matching of uritemplate.h.
 *
 * A set of positions in the topic says where a match of the template's first parts can end. Each element (a byte, a
 * separator, a text, ...) turns the set of where it may begin into the set of where it may end, so there is no
 * backtracking, and a set is a row of bits, so most elements cost a few operations for 64 positions. That a
 * run of characters ends anywhere in the run is one addition: the carry runs through the ones (see extend()).
 *
 * No set ever holds a position inside a triplet: a "%" is only ever passed together with its digits.
 */
#include "uritemplate_internal.h"

#include "mercure/limits.h"
#include "mercure/topic.h"

#include <endian.h>

#define WORDS   (MERCURE_MAX_VALUE / 64 + 1) /* for the positions from 0 to MERCURE_MAX_VALUE */
#define PADDING 64                           /* zeros behind the topic, so that looking ahead needs no check */

typedef uint64_t positions[WORDS];

static const char delimiters[] = ",./;?&#=";

/* How an array's text=text pairs may go on behind their first "=". */
typedef struct {
    positions walk; /* the bytes that may be passed */
    positions ends; /* where a pair is complete */
} pair_rules;

typedef struct {
    size_t len;
    size_t words;             /* in use, of each set below and of every other set */
    positions triplets;       /* where one begins */
    positions inside;         /* not before a triplet but in it */
    positions plain;          /* the bytes of U; of a triplet, the "%" too, its digits being in U anyway */
    positions plain_or_comma; /* the same, and "," */
    positions plain_reserved; /* the same, and R */
    positions code_points[3]; /* where a code point of 2, 3 or 4 triplets begins; once has_code_points */
    positions delimiter[8];   /* where the delimiters are; once in has_delimiter */
    pair_rules pairs[8];      /* by separator; once in has_pairs */
    bool has_code_points;
    unsigned has_delimiter;
    unsigned has_pairs;
    unsigned char text[MERCURE_MAX_VALUE + PADDING];
} topic_map;

enum { UNRESERVED = 1, RESERVED = 2 };

static const unsigned char class_of[256] = {
    ['0' ... '9'] = UNRESERVED, ['A' ... 'Z'] = UNRESERVED, ['a' ... 'z'] = UNRESERVED, ['-'] = UNRESERVED,
    ['.'] = UNRESERVED,         ['_'] = UNRESERVED,         ['~'] = UNRESERVED,         [':'] = RESERVED,
    ['/'] = RESERVED,           ['?'] = RESERVED,           ['#'] = RESERVED,           ['['] = RESERVED,
    [']'] = RESERVED,           ['@'] = RESERVED,           ['!'] = RESERVED,           ['$'] = RESERVED,
    ['&'] = RESERVED,           ['\''] = RESERVED,          ['('] = RESERVED,           [')'] = RESERVED,
    ['*'] = RESERVED,           ['+'] = RESERVED,           [','] = RESERVED,           [';'] = RESERVED,
    ['='] = RESERVED,
};

static bool holds(const uint64_t *set, size_t at)
{
    return set[at / 64] >> (at % 64) & 1;
}

static void insert(uint64_t *set, size_t at)
{
    set[at / 64] |= UINT64_C(1) << (at % 64);
}

static void clear(const topic_map *map, uint64_t *set)
{
    memset(set, 0, map->words * sizeof(*set));
}

static void copy(const topic_map *map, uint64_t *to, const uint64_t *from)
{
    memcpy(to, from, map->words * sizeof(*to));
}

static void unite(const topic_map *map, uint64_t *set, const uint64_t *other)
{
    for (size_t w = 0; w < map->words; w++) {
        set[w] |= other[w];
    }
}

/* ---- what the topic holds ---- */

/* The value of the triplet at `at`, or -1. */
static int triplet_value(const topic_map *map, size_t at)
{
    int high, low;

    if (map->text[at] != '%') {
        return -1;
    }
    high = uritemplate_hex(map->text[at + 1]);
    low = uritemplate_hex(map->text[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void map_topic(topic_map *map, const char *text, size_t len)
{
    uint64_t carry = 0;

    map->len = len;
    map->words = len / 64 + 1;
    map->has_code_points = false;
    map->has_delimiter = map->has_pairs = 0;
    memcpy(map->text, text, len);
    memset(map->text + len, 0, PADDING);
    for (size_t w = 0; w < map->words; w++) {
        uint64_t unreserved = 0, reserved = 0, commas = 0, triplets = 0;
        size_t from = w * 64, count = len - from < 64 ? len - from : 64;

        for (size_t i = 0; i < count; i++) {
            unsigned char c = map->text[from + i];
            uint64_t class = class_of[c];
            unreserved |= (class & UNRESERVED) << i;
            reserved |= (class >> 1) << i;
            commas |= (uint64_t)(c == ',') << i;
            if (c == '%' && triplet_value(map, from + i) >= 0) {
                triplets |= UINT64_C(1) << i;
            }
        }
        map->triplets[w] = triplets;
        map->inside[w] = triplets << 1 | triplets << 2 | carry;
        carry = triplets >> 63 | triplets >> 62;
        map->plain[w] = unreserved | triplets;
        map->plain_or_comma[w] = unreserved | triplets | commas;
        map->plain_reserved[w] = unreserved | triplets | reserved;
    }
}

/* Where in the w-th 64 bytes is `c`? The carry-free test for zero bytes, eight at a time; the multiplication gathers
 * their marks. */
static uint64_t bytes_equal(const topic_map *map, size_t w, unsigned char c)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t result = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint64_t eight;
        memcpy(&eight, map->text + w * 64 + i * 8, 8);
        eight = le64toh(eight) ^ (UINT64_C(0x0101010101010101) * c);
        eight = ~(((eight & low) + low) | eight | low) >> 7;
        result |= (eight * UINT64_C(0x0102040810204080) >> 56) << (i * 8);
    }
    return result;
}

/* The positions of a delimiter. */
static const uint64_t *where(topic_map *map, char c)
{
    size_t i = (size_t)(strchr(delimiters, c) - delimiters);

    if ((map->has_delimiter >> i & 1) == 0) {
        for (size_t w = 0; w < map->words; w++) {
            map->delimiter[i][w] = bytes_equal(map, w, (unsigned char)c);
        }
        map->has_delimiter |= 1u << i;
    }
    return map->delimiter[i];
}

static void find_code_points(topic_map *map)
{
    for (size_t i = 0; i < 3; i++) {
        clear(map, map->code_points[i]);
    }
    for (size_t at = 0; at < map->len; at++) {
        char bytes[4];
        size_t len, i;
        int value = triplet_value(map, at);

        if (value < 0xC2) {
            continue;
        }
        len = uritemplate_code_point_len((unsigned char)value);
        for (i = 0; i < len && value >= 0; i++) {
            bytes[i] = (char)value;
            value = triplet_value(map, at + 3 * (i + 1));
        }
        if (i == len && mercure_utf8_valid((mercure_str){bytes, len})) {
            insert(map->code_points[len - 2], at);
        }
    }
    map->has_code_points = true;
}

/* One pass over the topic. What is asked for begins behind a "=", so of each delimiter only what came since is
 * looked at, and it does not matter that another run of pairs may have come before.
 *
 * Between two "=" there must be a separator. Between two separators there must be a "=", unless the separator may as
 * well be part of a text ("."), or a pair may be a name alone (";"), which in turn has no "=" behind it.
 */
static const pair_rules *pairs_of(topic_map *map, char separator)
{
    size_t i = (size_t)(strchr(delimiters, separator) - delimiters);
    pair_rules *rules = &map->pairs[i];
    bool in_name = true, bare = separator == ';', after_equals = false;

    if (map->has_pairs >> i & 1) {
        return rules;
    }
    copy(map, rules->walk, map->plain);
    clear(map, rules->ends);
    for (size_t at = 0; at <= map->len; at++) {
        char c = (char)map->text[at];
        if (bare ? !after_equals : (!in_name || separator == '.')) {
            insert(rules->ends, at);
        }
        if (c == '=') {
            if (in_name) {
                insert(rules->walk, at);
            }
            in_name = false;
        } else if (c == separator) {
            if (bare ? !after_equals : !in_name) {
                insert(rules->walk, at);
            }
            in_name = true;
        }
        after_equals = c == '=';
    }
    map->has_pairs |= 1u << i;
    return rules;
}

/* ---- from where an element begins to where it ends ---- */

/* One delimiter. */
static bool follow_delimiter(topic_map *map, uint64_t *set, char c)
{
    const uint64_t *there = where(map, c);
    uint64_t carry = 0, any = 0;

    for (size_t w = 0; w < map->words; w++) {
        uint64_t hit = set[w] & there[w];
        any |= hit;
        set[w] = hit << 1 | carry;
        carry = hit >> 63;
    }
    return any != 0;
}

/* One byte of ASCII. */
static bool follow_byte(const topic_map *map, uint64_t *set, unsigned char c)
{
    uint64_t carry = 0, any = 0;

    for (size_t w = 0; w < map->words; w++) {
        uint64_t hit = set[w];
        if ((hit & (hit - 1)) != 0) {
            hit &= bytes_equal(map, w, c);
        } else if (hit != 0 && map->text[w * 64 + (size_t)__builtin_ctzll(hit)] != c) {
            hit = 0;
        }
        any |= hit;
        set[w] = hit << 1 | carry;
        carry = hit >> 63;
    }
    return any != 0;
}

static bool is_encoded(const topic_map *map, size_t at, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (triplet_value(map, at + 3 * i) != bytes[i]) {
            return false;
        }
    }
    return true;
}

/* One character, percent-encoded, or as it is if `raw`. */
static bool follow_encoded(const topic_map *map, uint64_t *set, const unsigned char *bytes, size_t len, bool raw)
{
    positions ends;
    bool any = false;

    clear(map, ends);
    for (size_t w = 0; w < map->words; w++) {
        for (uint64_t rest = set[w]; rest != 0; rest &= rest - 1) {
            size_t at = w * 64 + (size_t)__builtin_ctzll(rest), by = 0;
            if (is_encoded(map, at, bytes, len)) {
                by = 3 * len;
            } else if (raw && memcmp(map->text + at, bytes, len) == 0) {
                by = len;
            }
            if (by > 0) {
                insert(ends, at + by);
                any = true;
            }
        }
    }
    copy(map, set, ends);
    return any;
}

/* Literals, or a name. False: the set is now empty. */
static bool follow_literals(const topic_map *map, uint64_t *set, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    bool any = true;

    while (any && p < end) {
        size_t step = uritemplate_code_point_len(*p);
        if (*p == '%') {
            unsigned char byte = (unsigned char)(uritemplate_hex(p[1]) * 16 + uritemplate_hex(p[2]));
            any = follow_encoded(map, set, &byte, 1, false);
            step = 3;
        } else if (step == 1) {
            any = follow_byte(map, set, *p);
        } else {
            any = follow_encoded(map, set, p, step, true);
        }
        p += step;
    }
    return any;
}

/* Any number of the characters of `cover`. In each run of ones, adding the lowest of the positions makes a carry that
 * turns the ones from there on to zeros; where a further position is added, a one stays, but that one is in the set.
 */
static void extend(const topic_map *map, uint64_t *set, const uint64_t *cover)
{
    bool carry = false;

    for (size_t w = 0; w < map->words; w++) {
        uint64_t sum;
        bool over = __builtin_add_overflow(set[w] & cover[w], cover[w], &sum);
        over |= __builtin_add_overflow(sum, (uint64_t)carry, &sum);
        set[w] |= (sum ^ cover[w]) & ~map->inside[w];
        carry = over;
    }
}

/* Note that `to` characters lead to `at`. */
static void lower(uint16_t *count, size_t at, unsigned to)
{
    if (to < count[at]) {
        count[at] = (uint16_t)to;
    }
}

/* At most `most` characters, by the least number of them on a way to each position. */
static void extend_at_most(topic_map *map, uint64_t *set, const uint64_t *cover, unsigned most)
{
    uint16_t count[MERCURE_MAX_VALUE + PADDING];
    positions whole;
    unsigned here = UINT16_MAX; /* the count by way of the byte before */

    copy(map, whole, set);
    extend(map, whole, cover);
    if (memcmp(whole, set, map->words * sizeof(*set)) == 0) {
        return; /* nothing to count */
    }
    if (!map->has_code_points) {
        find_code_points(map);
    }
    memset(count, 0xFF, map->words * 64 * sizeof(*count));
    for (size_t w = 0; w < map->words; w++) {
        uint64_t begins = set[w], covered = cover[w], triplets = map->triplets[w], reached = 0;
        if (whole[w] == 0) {
            continue; /* and no count leads here */
        }
        for (size_t i = 0; i < 64; i++) {
            uint64_t bit = UINT64_C(1) << i;
            size_t at = w * 64 + i;
            unsigned by_triplet = count[at];

            here = here < by_triplet ? here : by_triplet;
            here = (begins & bit) != 0 ? 0 : here;
            reached |= here <= most ? bit : 0;
            here = here < most && (covered & bit) != 0 ? here + 1 : UINT16_MAX;
            if ((triplets & bit) == 0 || here == UINT16_MAX) {
                continue;
            }
            lower(count, at + 3, here);
            for (size_t j = 0; j < 3; j++) {
                if ((map->code_points[j][w] & bit) != 0) {
                    lower(count, at + 3 * (j + 2), here);
                }
            }
            here = UINT16_MAX;
        }
        set[w] |= reached;
    }
}

/* ---- expressions ---- */

/* The piece of a variable without "*". */
static void follow_value(topic_map *map, const mercure_uritemplate *template, uint64_t *set,
                         const uritemplate_operator *op, const uritemplate_variable *variable)
{
    const uint64_t *cover = op->reserved ? map->plain_reserved : map->plain_or_comma;
    positions bare, begin;

    if (op->named) {
        if (!follow_literals(map, set, template->text + variable->name, variable->name_len)) {
            return;
        }
        copy(map, bare, set);
        follow_delimiter(map, set, '=');
    }
    if (variable->prefix == 0) {
        extend(map, set, cover);
    } else {
        copy(map, begin, set);
        extend_at_most(map, set, op->reserved ? map->plain_reserved : map->plain, variable->prefix);
        for (size_t w = 0; op->bare && w < map->words; w++) {
            set[w] &= ~begin[w];
        }
    }
    if (op->bare) {
        unite(map, set, bare);
    }
}

/* The piece of a variable with "*". */
static void follow_exploded(topic_map *map, uint64_t *set, const uritemplate_operator *op)
{
    const pair_rules *rules;
    const uint64_t *separators;
    positions list, pairs, cover;

    if (op->reserved) {
        extend(map, set, map->plain_reserved); /* which holds "," and "=" */
        return;
    }
    rules = pairs_of(map, op->separator);
    separators = where(map, op->separator);
    for (size_t w = 0; w < map->words; w++) {
        cover[w] = map->plain[w] | separators[w];
    }
    /* Texts with separators between, which with names are names alone. */
    copy(map, list, set);
    extend(map, list, cover);
    /* Pairs: the first name, its "=", and the rest. */
    copy(map, pairs, set);
    extend(map, pairs, op->bare ? cover : map->plain);
    follow_delimiter(map, pairs, '=');
    extend(map, pairs, rules->walk);
    for (size_t w = 0; w < map->words; w++) {
        set[w] = pairs[w] & rules->ends[w];
    }
    if (!op->named || op->bare) {
        unite(map, set, list);
    }
}

static void follow_expression(topic_map *map, const mercure_uritemplate *template, uint64_t *set,
                              const uritemplate_part *part)
{
    const uritemplate_operator *op = part->op;
    positions first, some, piece; /* some: where a match ends that has at least one piece */

    copy(map, first, set);
    if (op->first != 0 && !follow_delimiter(map, first, op->first)) {
        return;
    }
    clear(map, some);
    for (size_t i = 0; i < part->count; i++) {
        const uritemplate_variable *variable = &template->variables[part->at + i];
        copy(map, piece, some);
        if (i > 0) {
            follow_delimiter(map, piece, op->separator);
        }
        unite(map, piece, first);
        if (variable->exploded) {
            follow_exploded(map, piece, op);
        } else {
            follow_value(map, template, piece, op, variable);
        }
        unite(map, some, piece);
    }
    unite(map, set, some);
}

bool mercure_uritemplate_matches(const mercure_uritemplate *template, mercure_str topic)
{
    mercure_str prefix = mercure_uritemplate_prefix(template), suffix = mercure_uritemplate_suffix(template);
    topic_map map;
    positions set;

    if (topic.len == 0) {
        topic.data = ""; /* it may be NULL */
    }
    if (topic.len > MERCURE_MAX_VALUE || topic.len < prefix.len + suffix.len ||
        memcmp(topic.data, prefix.data, prefix.len) != 0 ||
        memcmp(topic.data + topic.len - suffix.len, suffix.data, suffix.len) != 0) {
        return false;
    }
    map_topic(&map, topic.data + prefix.len, topic.len - prefix.len - suffix.len);
    clear(&map, set);
    insert(set, 0);
    for (size_t i = 0; i < template->part_count; i++) {
        const uritemplate_part *part = &template->parts[i];
        if (part->op != NULL) {
            follow_expression(&map, template, set, part);
        } else if (!follow_literals(&map, set, template->text + part->at, part->count)) {
            return false;
        }
    }
    return holds(set, map.len);
}
