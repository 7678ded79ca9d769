/* urlpattern_print.c - part lists written out: as a normalised pattern string, and as a regular expression (URL Pattern
 * Standard, "Converting part lists to pattern strings" and "... to regular expressions").
 */
#include "urlpattern_internal.h"

const char *urlpattern_segment_regexp(urlpattern_options options)
{
    switch (options.delimiter) {
    case '/':
        return "[^\\/]+?";
    case '.':
        return "[^\\.]+?";
    default:
        return "[^]+?";
    }
}

static void append(url_buffer *b, const char *text)
{
    url_buffer_append(b, text, strlen(text));
}

static void append_str(url_buffer *b, mercure_str text)
{
    url_buffer_append(b, text.data, text.len);
}

/* Append `text` with a '\' before each of `special`. */
static void append_escaped(url_buffer *b, mercure_str text, const char *special)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\0' && strchr(special, text.data[i]) != NULL) {
            url_buffer_append_char(b, '\\');
        }
        url_buffer_append_char(b, text.data[i]);
    }
}

/* "Escape a pattern string". */
static void append_pattern(url_buffer *b, mercure_str text)
{
    append_escaped(b, text, "+*?:{}()\\");
}

/* "Escape a regexp string". */
static void append_regexp(url_buffer *b, mercure_str text)
{
    append_escaped(b, text, ".+*?^${}()[]|/\\");
}

/* "Convert a modifier to a string". */
static void append_modifier(url_buffer *b, urlpattern_modifier modifier)
{
    static const char *const modifiers[] = {"", "?", "*", "+"};

    append(b, modifiers[modifier]);
}

static mercure_str finished(url_buffer *b)
{
    return (mercure_str){url_buffer_string(b), b->len};
}

/* ---- pattern strings ---- */

static bool has_custom_name(const urlpattern_part *part)
{
    return part->name.len > 0 && !url_is_digit(part->name.data[0]);
}

static bool begins_like_name(mercure_str text)
{
    return text.len > 0 && urlpattern_is_name_char((unsigned char)text.data[0]);
}

/* Would the part, or what follows it, be read as something else without braces around it? */
static bool needs_grouping(const urlpattern_component *component, size_t index)
{
    const urlpattern_part *part = &component->parts[index];
    const urlpattern_part *previous = index > 0 ? part - 1 : NULL;
    const urlpattern_part *next = index + 1 < component->count ? part + 1 : NULL;
    char automatic = component->options.prefix;

    if (part->suffix.len > 0) {
        return true;
    }
    if (part->prefix.len > 0 && !(automatic != '\0' && part->prefix.len == 1 && part->prefix.data[0] == automatic)) {
        return true;
    }
    if (has_custom_name(part) && part->type == URLPATTERN_SEGMENT && part->modifier == URLPATTERN_NONE &&
        next != NULL && next->prefix.len == 0 && next->suffix.len == 0) {
        bool joins = next->type == URLPATTERN_TEXT ? begins_like_name(next->value) : !has_custom_name(next);
        if (joins) {
            return true;
        }
    }
    return part->prefix.len == 0 && previous != NULL && previous->type == URLPATTERN_TEXT && previous->value.len > 0 &&
           automatic != '\0' && previous->value.data[previous->value.len - 1] == automatic;
}

static void print_group(url_buffer *b, const urlpattern_component *component, size_t index)
{
    const urlpattern_part *part = &component->parts[index];
    const urlpattern_part *previous = index > 0 ? part - 1 : NULL;
    bool custom_name = has_custom_name(part);
    bool grouping = needs_grouping(component, index);

    append(b, grouping ? "{" : "");
    append_pattern(b, part->prefix);
    if (custom_name) {
        append(b, ":");
        append_str(b, part->name);
    }
    if (part->type == URLPATTERN_REGEXP) {
        append(b, "(");
        append_str(b, part->value);
        append(b, ")");
    } else if (part->type == URLPATTERN_SEGMENT && !custom_name) {
        append(b, "(");
        append(b, urlpattern_segment_regexp(component->options));
        append(b, ")");
    } else if (part->type == URLPATTERN_FULL) {
        /* A '*' that could be taken for the part before's modifier is written "(.*)". */
        bool clear = previous == NULL || previous->type == URLPATTERN_TEXT || previous->modifier != URLPATTERN_NONE ||
                     grouping || part->prefix.len > 0;
        append(b, !custom_name && clear ? "*" : "(.*)");
    }
    if (part->type == URLPATTERN_SEGMENT && custom_name && begins_like_name(part->suffix)) {
        append(b, "\\");
    }
    append_pattern(b, part->suffix);
    append(b, grouping ? "}" : "");
    append_modifier(b, part->modifier);
}

mercure_str urlpattern_print(apr_pool_t *pool, const urlpattern_component *component)
{
    url_buffer b = {.pool = pool};

    for (size_t i = 0; i < component->count; i++) {
        const urlpattern_part *part = &component->parts[i];

        if (part->type != URLPATTERN_TEXT) {
            print_group(&b, component, i);
        } else if (part->modifier == URLPATTERN_NONE) {
            append_pattern(&b, part->value);
        } else {
            append(&b, "{");
            append_pattern(&b, part->value);
            append(&b, "}");
            append_modifier(&b, part->modifier);
        }
    }
    return finished(&b);
}

mercure_str urlpattern_escape(apr_pool_t *pool, mercure_str text)
{
    url_buffer b = {.pool = pool};

    append_pattern(&b, text);
    return finished(&b);
}

/* ---- regular expressions ---- */

static void print_group_regexp(url_buffer *b, const urlpattern_part *part, mercure_str core)
{
    bool repeated = part->modifier == URLPATTERN_ZERO_OR_MORE || part->modifier == URLPATTERN_ONE_OR_MORE;
    bool bare = part->prefix.len == 0 && part->suffix.len == 0;

    if (bare) {
        append(b, repeated ? "((?:" : "(");
        append_str(b, core);
        append(b, ")");
        append_modifier(b, part->modifier);
        append(b, repeated ? ")" : "");
        return;
    }
    append(b, "(?:");
    append_regexp(b, part->prefix);
    if (!repeated) {
        append(b, "(");
        append_str(b, core);
        append(b, ")");
        append_regexp(b, part->suffix);
        append(b, ")");
        append_modifier(b, part->modifier);
        return;
    }
    append(b, "((?:");
    append_str(b, core);
    append(b, ")(?:");
    append_regexp(b, part->suffix);
    append_regexp(b, part->prefix);
    append(b, "(?:");
    append_str(b, core);
    append(b, "))*)");
    append_regexp(b, part->suffix);
    append(b, part->modifier == URLPATTERN_ZERO_OR_MORE ? ")?" : ")");
}

mercure_str urlpattern_print_regexp(apr_pool_t *pool, const urlpattern_component *component)
{
    url_buffer b = {.pool = pool};

    for (size_t i = 0; i < component->count; i++) {
        const urlpattern_part *part = &component->parts[i];
        mercure_str core = part->value;

        if (part->type == URLPATTERN_TEXT) {
            append(&b, part->modifier != URLPATTERN_NONE ? "(?:" : "");
            append_regexp(&b, part->value);
            append(&b, part->modifier != URLPATTERN_NONE ? ")" : "");
            append_modifier(&b, part->modifier);
            continue;
        }
        if (part->type == URLPATTERN_SEGMENT) {
            core = mercure_str_of(urlpattern_segment_regexp(component->options));
        } else if (part->type == URLPATTERN_FULL) {
            core = mercure_str_of(".*");
        }
        print_group_regexp(&b, part, core);
    }
    return finished(&b);
}
