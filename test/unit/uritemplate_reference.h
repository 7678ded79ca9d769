/* uritemplate_reference.h - what the URI Template matcher is held to: an expander written from RFC 6570, section 3.2,
 * and a matcher written from uritemplate.h that tries everything. Slow, simple, and independent of lib/.
 */
#ifndef MERCURE_URITEMPLATE_REFERENCE_H
#define MERCURE_URITEMPLATE_REFERENCE_H

#include "unit.h"

/* ---- an expander: RFC 6570, 3.2 ---- */

typedef enum { UNDEFINED, STRING, LIST, ARRAY } value_type;

typedef struct {
    const char *name;
    value_type type;
    size_t count;          /* of items: an array's are names and values by turns */
    const char *items[16]; /* NUL-terminated UTF-8 */
} value;

typedef struct {
    char data[2048];
    size_t len;
} text_buffer;

static void add(text_buffer *out, const char *data, size_t len)
{
    assert_true(out->len + len < sizeof(out->data));
    memcpy(out->data + out->len, data, len);
    out->len += len;
    out->data[out->len] = '\0';
}

static bool is_hex(char c)
{
    return c != '\0' && strchr("0123456789ABCDEFabcdef", c) != NULL;
}

static bool is_unreserved(char c)
{
    return c != '\0' && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", c) != NULL;
}

static bool is_plain(char c, bool reserved)
{
    return is_unreserved(c) || (reserved && c != '\0' && strchr(":/?#[]@!$&'()*+,;=", c) != NULL);
}

static void add_encoded(text_buffer *out, const char *text, size_t len, bool reserved)
{
    for (size_t i = 0; i < len; i++) {
        char triplet[4];
        if (is_plain(text[i], reserved)) {
            add(out, text + i, 1);
        } else if (reserved && text[i] == '%' && len - i > 2 && is_hex(text[i + 1]) && is_hex(text[i + 2])) {
            add(out, text + i, 3);
            i += 2;
        } else {
            snprintf(triplet, sizeof(triplet), "%%%02X", (unsigned)(unsigned char)text[i]);
            add(out, triplet, 3);
        }
    }
}

/* The length of the first `most` characters; a triplet is one where it stays one. */
static size_t cut(const char *text, size_t most, bool reserved)
{
    size_t at = 0;

    while (text[at] != '\0' && most-- > 0) {
        if (reserved && text[at] == '%' && is_hex(text[at + 1]) && is_hex(text[at + 2])) {
            at += 3;
            continue;
        }
        at++;
        while ((text[at] & 0xC0) == 0x80) {
            at++;
        }
    }
    return at;
}

static const value *value_of(const value *values, const char *name, size_t len)
{
    for (; values->name != NULL; values++) {
        if (strlen(values->name) == len && memcmp(values->name, name, len) == 0) {
            bool empty = values->type == UNDEFINED || (values->type != STRING && values->count == 0);
            return empty ? NULL : values;
        }
    }
    return NULL;
}

static void add_composite(text_buffer *out, const value *v, const char *name, size_t name_len, char op, char separator)
{
    bool named = strchr(";?&", op) != NULL, reserved = op == '+' || op == '#';

    for (size_t i = 0; i < v->count; i++) {
        const char *item = v->items[i];
        if (i > 0) {
            add(out, &separator, 1);
        }
        if (v->type == ARRAY) {
            add_encoded(out, item, strlen(item), reserved);
            item = v->items[++i];
        } else if (named) {
            add_encoded(out, name, name_len, true);
        }
        if ((named || v->type == ARRAY) && !(op == ';' && *item == '\0')) {
            add(out, "=", 1);
        }
        add_encoded(out, item, strlen(item), reserved);
    }
}

static void add_joined(text_buffer *out, const value *v, bool reserved)
{
    for (size_t i = 0; i < v->count; i++) {
        if (i > 0) {
            add(out, ",", 1);
        }
        add_encoded(out, v->items[i], strlen(v->items[i]), reserved);
    }
}

/* `list` is what stands between the braces. */
static void add_expression(text_buffer *out, const char *list, size_t len, const value *values)
{
    char op = strchr("+#./;?&", list[0]) != NULL ? list[0] : ' ';
    char separator = op == '?' ? '&' : strchr("./;&", op) != NULL ? op : ',';
    bool named = strchr(";?&", op) != NULL, reserved = op == '+' || op == '#', some = false;
    size_t at = op == ' ' ? 0 : 1;

    while (at < len) {
        size_t end = at + strcspn(list + at, ",}"), name_len = strcspn(list + at, ":*,}");
        const char *name = list + at, modifier = list[at + name_len];
        const value *v = value_of(values, name, name_len);

        at = end + 1;
        if (v == NULL) {
            continue;
        }
        if (some) {
            add(out, &separator, 1);
        } else if (op != ' ' && op != '+') {
            add(out, &op, 1);
        }
        some = true;
        if (modifier == '*' && v->type != STRING) {
            add_composite(out, v, name, name_len, op, separator);
            continue;
        }
        if (named) {
            add_encoded(out, name, name_len, true);
            if (op != ';' || v->type != STRING || v->items[0][0] != '\0') {
                add(out, "=", 1);
            }
        }
        if (v->type == STRING && modifier == ':') {
            add_encoded(out, v->items[0], cut(v->items[0], strtoul(name + name_len + 1, NULL, 10), reserved), reserved);
        } else {
            add_joined(out, v, reserved);
        }
    }
}

static void expand(const char *template, const value *values, text_buffer *out)
{
    out->len = 0;
    out->data[0] = '\0';
    while (*template != '\0') {
        if (*template == '{') {
            size_t len = strcspn(template, "}");
            add_expression(out, template + 1, len - 1, values);
            template += len + 1;
        } else {
            size_t len = strcspn(template, "{");
            add_encoded(out, template, len, true);
            template += len;
        }
    }
}

/* ---- an exhaustive matcher, written from uritemplate.h ---- */

static bool is_triplet(mercure_str text)
{
    return text.len >= 3 && text.data[0] == '%' && is_hex(text.data[1]) && is_hex(text.data[2]);
}

static mercure_str after(mercure_str text, size_t len)
{
    return (mercure_str){text.data + len, text.len - len};
}

static mercure_str head(mercure_str text, size_t len)
{
    return (mercure_str){text.data, len};
}

static unsigned byte_of(mercure_str triplet)
{
    char digits[3] = {triplet.data[1], triplet.data[2], '\0'};

    return (unsigned)strtoul(digits, NULL, 16);
}

static bool is_text(mercure_str text, bool reserved)
{
    while (text.len > 0) {
        size_t step = is_plain(text.data[0], reserved) ? 1 : is_triplet(text) ? 3 : 0;
        if (step == 0) {
            return false;
        }
        text = after(text, step);
    }
    return true;
}

/* How many triplets at the start are one code point of more than one byte? */
static size_t code_point(mercure_str text)
{
    static const struct {
        unsigned lead_first, lead_last, next_first, next_last;
        size_t len;
    } forms[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
                 {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                 {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};

    for (size_t f = 0; f < COUNT(forms); f++) {
        bool good = text.len >= 3 * forms[f].len;
        for (size_t i = 0; good && i < forms[f].len; i++) {
            unsigned first = i == 0 ? forms[f].lead_first : i == 1 ? forms[f].next_first : 0x80;
            unsigned last = i == 0 ? forms[f].lead_last : i == 1 ? forms[f].next_last : 0xBF;
            mercure_str triplet = after(text, 3 * i);
            good = is_triplet(triplet) && byte_of(triplet) >= first && byte_of(triplet) <= last;
        }
        if (good) {
            return forms[f].len;
        }
    }
    return 0;
}

static bool is_text_of(mercure_str text, size_t most, bool reserved)
{
    if (text.len == 0) {
        return true;
    }
    if (most == 0) {
        return false;
    }
    if (is_triplet(text)) {
        size_t len = code_point(text);
        return is_text_of(after(text, 3), most - 1, reserved) ||
               (len > 0 && is_text_of(after(text, 3 * len), most - 1, reserved));
    }
    return is_plain(text.data[0], reserved) && is_text_of(after(text, 1), most - 1, reserved);
}

static bool is_pair(mercure_str text, char op)
{
    bool reserved = op == '+' || op == '#';

    if (op == ';' && is_text(text, false)) {
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '=' && is_text(head(text, i), reserved) && is_text(after(text, i + 1), reserved) &&
            (op != ';' || i + 1 < text.len)) {
            return true;
        }
    }
    return false;
}

static bool are_texts(mercure_str text, char separator, bool reserved)
{
    if (is_text(text, reserved)) {
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == separator && is_text(head(text, i), reserved) &&
            are_texts(after(text, i + 1), separator, reserved)) {
            return true;
        }
    }
    return false;
}

static bool are_pairs(mercure_str text, char separator, char op)
{
    if (is_pair(text, op)) {
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == separator && is_pair(head(text, i), op) && are_pairs(after(text, i + 1), separator, op)) {
            return true;
        }
    }
    return false;
}

/* How many bytes of the topic does the first literal of the template match? 0: none. */
static size_t literal_end(mercure_str template, mercure_str topic, size_t *literal_len)
{
    *literal_len = 1;
    if (is_triplet(template)) {
        *literal_len = 3;
        return is_triplet(topic) && byte_of(topic) == byte_of(template) ? 3 : 0;
    }
    while (*literal_len < template.len && (template.data[*literal_len] & 0xC0) == 0x80) {
        ++*literal_len;
    }
    if (topic.len >= *literal_len && memcmp(topic.data, template.data, *literal_len) == 0) {
        return *literal_len;
    }
    if (*literal_len == 1 || topic.len < 3 * *literal_len) {
        return 0;
    }
    for (size_t i = 0; i < *literal_len; i++) {
        mercure_str triplet = after(topic, 3 * i);
        if (!is_triplet(triplet) || byte_of(triplet) != (unsigned char)template.data[i]) {
            return 0;
        }
    }
    return 3 * *literal_len;
}

static bool is_piece(mercure_str variable, char op, char separator, mercure_str piece)
{
    size_t name_len = 0, literal_len, end;
    bool named = strchr(";?&", op) != NULL, reserved = op == '+' || op == '#';
    char modifier;

    while (name_len < variable.len && strchr(":*", variable.data[name_len]) == NULL) {
        name_len++;
    }
    modifier = name_len < variable.len ? variable.data[name_len] : ' ';
    if (modifier == '*') {
        return are_pairs(piece, separator, op) || (!named && are_texts(piece, separator, reserved));
    }
    if (named) {
        for (mercure_str name = head(variable, name_len); name.len > 0; name = after(name, literal_len)) {
            end = literal_end(name, piece, &literal_len);
            if (end == 0) {
                return false;
            }
            piece = after(piece, end);
        }
        if (piece.len == 0) {
            return op == ';';
        }
        if (piece.data[0] != '=' || (op == ';' && modifier == ':' && piece.len == 1)) {
            return false;
        }
        piece = after(piece, 1);
    }
    if (modifier == ':') {
        return is_text_of(piece, strtoul(variable.data + name_len + 1, NULL, 10), reserved);
    }
    return are_texts(piece, ',', reserved);
}

static bool slow_match(mercure_str template, mercure_str topic);

/* `list` goes on with a variable, or with the closing brace. */
static bool slow_variables(mercure_str list, char op, bool some, mercure_str topic)
{
    char separator = op == '?' ? '&' : strchr("./;&", op) != NULL ? op : ',';
    char lead = some ? separator : strchr(" +", op) != NULL ? '\0' : op;
    size_t len = 0;
    mercure_str next, begin = topic;

    if (list.data[0] == '}') {
        return slow_match(after(list, 1), topic);
    }
    while (strchr(",}", list.data[len]) == NULL) {
        len++;
    }
    next = after(list, list.data[len] == ',' ? len + 1 : len);
    if (slow_variables(next, op, some, topic)) {
        return true;
    }
    if (lead != '\0') {
        if (topic.len == 0 || topic.data[0] != lead) {
            return false;
        }
        begin = after(topic, 1);
    }
    for (size_t end = 0; end <= begin.len; end++) {
        if (is_piece(head(list, len), op, separator, head(begin, end)) &&
            slow_variables(next, op, true, after(begin, end))) {
            return true;
        }
    }
    return false;
}

static bool slow_match(mercure_str template, mercure_str topic)
{
    size_t literal_len, end;

    if (template.len == 0) {
        return topic.len == 0;
    }
    if (template.data[0] == '{') {
        char op = strchr("+#./;?&", template.data[1]) != NULL ? template.data[1] : ' ';
        return slow_variables(after(template, op == ' ' ? 1 : 2), op, false, topic);
    }
    end = literal_end(template, topic, &literal_len);
    return end > 0 && slow_match(after(template, literal_len), after(topic, end));
}

#endif
