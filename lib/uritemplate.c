/* uritemplate.c - see uritemplate.h. Reads a template by the grammar of RFC 6570, section 2; uritemplate_match.c does
 * the matching.
 */
#include "uritemplate_internal.h"

#include "mercure/limits.h"
#include "mercure/topic.h"

#include <stdlib.h>

static const uritemplate_operator operators[] = {
    {0, 0, ',', false, false, false},     {'+', 0, ',', false, false, true},    {'#', '#', ',', false, false, true},
    {'.', '.', '.', false, false, false}, {'/', '/', '/', false, false, false}, {';', ';', ';', true, true, false},
    {'?', '?', '&', true, false, false},  {'&', '&', '&', true, false, false},
};

typedef struct {
    const char *text;
    size_t len;
    size_t at;
    mercure_uritemplate *template;
    size_t variable_count;
    mercure_error *err;
} reader;

static mercure_status fail(const reader *in, const char *what)
{
    return mercure_fail(in->err, MERCURE_INVALID, "not a URI Template: %s at byte %zu", what, in->at);
}

/* The byte to read next; 0, which stands nowhere in a template, at the end. */
static unsigned char peek(const reader *in)
{
    return in->at < in->len ? (unsigned char)in->text[in->at] : 0;
}

static bool is_triplet(const reader *in)
{
    return in->len - in->at >= 3 && in->text[in->at] == '%' &&
           uritemplate_hex((unsigned char)in->text[in->at + 1]) >= 0 &&
           uritemplate_hex((unsigned char)in->text[in->at + 2]) >= 0;
}

static bool is_letter_or_digit(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint32_t decode(const unsigned char *p, size_t len)
{
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7Fu >> len);

    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (p[i] & 0x3Fu);
    }
    return code;
}

/* ucschar or iprivate (RFC 3987, 2.2): no noncharacter, no tag, no control. */
static bool is_iri_character(uint32_t code)
{
    if (code < 0xA0 || (code >= 0xFDD0 && code <= 0xFDEF) || (code >= 0xFFF0 && code <= 0xFFFF)) {
        return false;
    }
    return (code & 0xFFFE) != 0xFFFE && (code < 0xE0000 || code >= 0xE1000);
}

/* Is a single byte a literal? What is left out of ASCII is what a URI cannot hold, and the braces. */
static bool is_literal(unsigned char c)
{
    return c > ' ' && c < 0x7F && strchr("\"%<>\\^`{|}", c) == NULL;
}

static mercure_status read_literals(reader *in)
{
    uritemplate_part *part = &in->template->parts[in->template->part_count++];

    *part = (uritemplate_part){NULL, (uint16_t)in->at, 0};
    while (in->at < in->len && in->text[in->at] != '{') {
        const unsigned char *p = (const unsigned char *)in->text + in->at;
        size_t len = uritemplate_code_point_len(*p);

        if (is_triplet(in)) {
            len = 3;
        } else if (len == 1 ? !is_literal(*p) : !is_iri_character(decode(p, len))) {
            return fail(in, "a character that must be percent-encoded");
        }
        in->at += len;
    }
    part->count = (uint16_t)(in->at - part->at);
    return MERCURE_OK;
}

/* varname = varchar *( ["."] varchar ) */
static mercure_status read_name(reader *in, uritemplate_variable *variable)
{
    bool after_dot = true;

    variable->name = (uint16_t)in->at;
    for (;;) {
        if (is_triplet(in)) {
            in->at += 3;
            after_dot = false;
        } else if (is_letter_or_digit(peek(in)) || peek(in) == '_') {
            in->at++;
            after_dot = false;
        } else if (peek(in) == '.' && !after_dot) {
            in->at++;
            after_dot = true;
        } else {
            break;
        }
    }
    if (after_dot) {
        return fail(in, "no name of a variable");
    }
    variable->name_len = (uint16_t)(in->at - variable->name);
    return MERCURE_OK;
}

/* max-length = %x31-39 0*3DIGIT */
static mercure_status read_prefix(reader *in, uritemplate_variable *variable)
{
    unsigned length = 0;

    if (peek(in) == '0') {
        return fail(in, "a prefix length that begins with 0");
    }
    while (peek(in) >= '0' && peek(in) <= '9' && length < 1000) {
        length = length * 10 + (peek(in) - (unsigned)'0');
        in->at++;
    }
    if (length == 0) {
        return fail(in, "no prefix length");
    }
    variable->prefix = (uint16_t)length;
    return MERCURE_OK;
}

static mercure_status read_variable(reader *in)
{
    uritemplate_variable *variable = &in->template->variables[in->variable_count++];
    mercure_status status;

    *variable = (uritemplate_variable){0, 0, 0, false};
    status = read_name(in, variable);
    if (status != MERCURE_OK) {
        return status;
    }
    if (peek(in) == '*') {
        in->at++;
        variable->exploded = true;
    } else if (peek(in) == ':') {
        in->at++;
        return read_prefix(in, variable);
    }
    return MERCURE_OK;
}

static const uritemplate_operator *read_operator(reader *in)
{
    for (size_t i = 1; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (peek(in) == (unsigned char)operators[i].symbol) {
            in->at++;
            return &operators[i];
        }
    }
    return &operators[0];
}

static mercure_status read_expression(reader *in)
{
    uritemplate_part *part = &in->template->parts[in->template->part_count++];
    mercure_status status;

    in->at++;
    if (peek(in) != 0 && strchr("=,!@|", peek(in)) != NULL) {
        return fail(in, "a reserved operator");
    }
    *part = (uritemplate_part){read_operator(in), (uint16_t)in->variable_count, 0};
    for (;;) {
        status = read_variable(in);
        if (status != MERCURE_OK) {
            return status;
        }
        part->count++;
        if (peek(in) != ',') {
            break;
        }
        in->at++;
    }
    if (peek(in) != '}') {
        return fail(in, "an expression that does not go on as one");
    }
    in->at++;
    return MERCURE_OK;
}

static mercure_status read_template(reader *in)
{
    while (in->at < in->len) {
        mercure_status status = in->text[in->at] == '{' ? read_expression(in) : read_literals(in);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    return MERCURE_OK;
}

/* Does the literal at `p` match in one form only? One with a letter among its digits, or outside ASCII, has several. */
static bool has_one_form(const char *p)
{
    return *p == '%' ? (p[1] <= '9' && p[2] <= '9') : (unsigned char)*p < 0x80;
}

static size_t literal_len(const char *p)
{
    return *p == '%' ? 3 : uritemplate_code_point_len((unsigned char)*p);
}

/* Take from the first literals what is the same in every match, and from the last. */
static void take_prefix_and_suffix(mercure_uritemplate *template)
{
    const char *text = template->text;
    uritemplate_part *first, *last;
    size_t at, from, end;

    if (template->part_count == 0) {
        return;
    }
    first = &template->parts[0];
    last = &template->parts[template->part_count - 1];
    if (first->op == NULL) {
        for (at = 0; at < first->count && has_one_form(text + at);) {
            at += literal_len(text + at);
        }
        template->prefix_len = at;
        first->at = (uint16_t)at;
        first->count = (uint16_t)(first->count - at);
    }
    if (last->op == NULL) {
        end = (size_t)last->at + last->count;
        for (at = from = last->at; at < end; at += literal_len(text + at)) {
            if (!has_one_form(text + at)) {
                from = at + literal_len(text + at);
            }
        }
        template->suffix_len = end - from;
        last->count = (uint16_t)(from - last->at);
    }
}

/* Room for all parts and variables that `text` can have, and a copy of it. */
static mercure_uritemplate *make_room(mercure_str text)
{
    size_t braces = 0, commas = 0, parts, variables;
    mercure_uritemplate *template;
    char *copy;

    for (size_t i = 0; i < text.len; i++) {
        braces += text.data[i] == '{';
        commas += text.data[i] == ',' && braces > 0;
    }
    parts = 2 * braces + 1;
    variables = braces + commas;
    template = malloc(sizeof(*template) + parts * sizeof(uritemplate_part) + variables * sizeof(uritemplate_variable) +
                      text.len + 1);
    if (template == NULL) {
        return NULL;
    }
    memset(template, 0, sizeof(*template));
    atomic_init(&template->references, 1);
    template->parts = (uritemplate_part *)(template + 1);
    template->variables = (uritemplate_variable *)(template->parts + parts);
    copy = (char *)(template->variables + variables);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    template->text = copy;
    template->text_len = text.len;
    return template;
}

mercure_status mercure_uritemplate_make(mercure_str text, mercure_uritemplate **result, mercure_error *err)
{
    reader in = {.err = err};
    mercure_status status;

    if (text.len > MERCURE_MAX_VALUE) {
        return mercure_fail(err, MERCURE_LIMIT, "a URI Template of %zu bytes, at most %d are allowed", text.len,
                            MERCURE_MAX_VALUE);
    }
    if (!mercure_utf8_valid(text)) {
        return mercure_fail(err, MERCURE_INVALID, "not a URI Template: it is not valid UTF-8");
    }
    in.template = make_room(text);
    if (in.template == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a URI Template");
    }
    in.text = in.template->text;
    in.len = text.len;
    status = read_template(&in);
    if (status != MERCURE_OK) {
        free(in.template);
        return status;
    }
    take_prefix_and_suffix(in.template);
    *result = in.template;
    return MERCURE_OK;
}

mercure_uritemplate *mercure_uritemplate_hold(mercure_uritemplate *template)
{
    atomic_fetch_add_explicit(&template->references, 1, memory_order_relaxed);
    return template;
}

void mercure_uritemplate_release(mercure_uritemplate *template)
{
    if (template != NULL && atomic_fetch_sub_explicit(&template->references, 1, memory_order_acq_rel) == 1) {
        free(template);
    }
}

mercure_str mercure_uritemplate_prefix(const mercure_uritemplate *template)
{
    return (mercure_str){template->text, template->prefix_len};
}

mercure_str mercure_uritemplate_suffix(const mercure_uritemplate *template)
{
    return (mercure_str){template->text + template->text_len - template->suffix_len, template->suffix_len};
}
