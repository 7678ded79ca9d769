/* form.c - see form.h. */
#include "mercure/form.h"

void mercure_form_begin(mercure_form *form, char *text, size_t len)
{
    form->next = text;
    form->end = len > 0 ? text + len : text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Decode [from, end) in place. */
static mercure_str decode(char *from, const char *end)
{
    char *out = from;
    const char *in = from;

    while (in < end) {
        if (*in == '+') {
            *out++ = ' ';
            in++;
        } else if (*in == '%' && end - in > 2 && hex_digit(in[1]) >= 0 && hex_digit(in[2]) >= 0) {
            *out++ = (char)(hex_digit(in[1]) * 16 + hex_digit(in[2]));
            in += 3;
        } else {
            *out++ = *in++;
        }
    }
    return (mercure_str){from, (size_t)(out - from)};
}

bool mercure_form_next(mercure_form *form, mercure_str *name, mercure_str *value)
{
    while (form->next < form->end) {
        char *start = form->next;
        char *stop = memchr(start, '&', (size_t)(form->end - start));
        char *equals;

        if (stop == NULL) {
            stop = form->end;
        }
        form->next = stop < form->end ? stop + 1 : form->end;
        if (stop == start) {
            continue;
        }
        equals = memchr(start, '=', (size_t)(stop - start));
        *name = decode(start, equals != NULL ? equals : stop);
        *value = equals != NULL ? decode(equals + 1, stop) : (mercure_str){stop, 0};
        return true;
    }
    return false;
}
