/* str.h - a borrowed piece of bytes: pointer and length, not NUL-terminated, owned by somebody else. */
#ifndef MERCURE_STR_H
#define MERCURE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    const char *data;
    size_t len;
} mercure_str;

static inline mercure_str mercure_str_of(const char *text)
{
    return (mercure_str){text, strlen(text)};
}

static inline bool mercure_str_equal(mercure_str a, mercure_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool mercure_str_is(mercure_str a, const char *text)
{
    return mercure_str_equal(a, mercure_str_of(text));
}

#endif
