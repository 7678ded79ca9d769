/* base.c - see base.h. The parser's strings are copied behind the struct, in one piece. */
#include "mercure/base.h"
#include "mercure/limits.h"

#include <stdatomic.h>
#include <stdlib.h>

struct mercure_base {
    atomic_uint references;
    mercure_str text;
    mercure_url url;
    char strings[];
};

static size_t room_for(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

/* Copy a string to `*to`, which moves on; NULL stays NULL. */
static const char *place(char **to, const char *text)
{
    size_t room = room_for(text);
    char *copy = *to;

    if (text == NULL) {
        return NULL;
    }
    memcpy(copy, text, room);
    *to += room;
    return copy;
}

mercure_status mercure_base_make(apr_pool_t *scratch, mercure_str text, mercure_base **result, mercure_error *err)
{
    mercure_url *url;
    mercure_base *base;
    mercure_status status;
    char *to;

    if (text.len > MERCURE_MAX_BASE) {
        return mercure_fail(err, MERCURE_LIMIT, "the hub's URL is longer than %d bytes", MERCURE_MAX_BASE);
    }
    status = mercure_url_parse(scratch, text.data, text.len, NULL, &url, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (strcmp(url->scheme, "http") != 0 && strcmp(url->scheme, "https") != 0) {
        return mercure_fail(err, MERCURE_INVALID, "the hub's URL is not one of http or https");
    }
    base = malloc(sizeof(*base) + text.len + room_for(url->scheme) + room_for(url->username) + room_for(url->password) +
                  room_for(url->host) + room_for(url->path) + room_for(url->query) + room_for(url->fragment));
    if (base == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for the hub's URL");
    }
    to = base->strings;
    atomic_init(&base->references, 1);
    base->url = *url;
    base->url.scheme = place(&to, url->scheme);
    base->url.username = place(&to, url->username);
    base->url.password = place(&to, url->password);
    base->url.host = place(&to, url->host);
    base->url.path = place(&to, url->path);
    base->url.query = place(&to, url->query);
    base->url.fragment = place(&to, url->fragment);
    memcpy(to, text.data, text.len);
    base->text = (mercure_str){to, text.len};
    *result = base;
    return MERCURE_OK;
}

mercure_base *mercure_base_hold(mercure_base *base)
{
    atomic_fetch_add_explicit(&base->references, 1, memory_order_relaxed);
    return base;
}

void mercure_base_release(mercure_base *base)
{
    if (base != NULL && atomic_fetch_sub_explicit(&base->references, 1, memory_order_acq_rel) == 1) {
        free(base);
    }
}

mercure_str mercure_base_text(const mercure_base *base)
{
    return base->text;
}

const mercure_url *mercure_base_url(const mercure_base *base)
{
    return &base->url;
}
