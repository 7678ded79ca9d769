/* h2_head.h - the head of a request that came over HTTP/2: its method, target and fields, in memory of its own.
 *
 * RFC 9113 section 8. Knows nothing of nghttp2 or httpd.
 */
#ifndef MOD_MERCURE_H2_HEAD_H
#define MOD_MERCURE_H2_HEAD_H

#include <stdbool.h>
#include <stddef.h>

/* What httpd would accept of an HTTP/1.1 request (LimitRequestFields, LimitRequestFieldSize, LimitRequestLine). */
typedef struct {
    size_t fields;     /* number of fields; 0: any */
    size_t field_size; /* bytes of a field's name and value */
    size_t line;       /* bytes of the request line */
} h2_head_limits;

typedef struct {
    const char *name, *value; /* NUL-terminated, without NUL inside */
} h2_field;

typedef struct h2_head h2_head;

/* NULL without memory. */
h2_head *h2_head_create(const h2_head_limits *limits);
void h2_head_free(h2_head *head); /* NULL is allowed */

/* Add a field, or a pseudo field (":path"), as it arrives. What does not belong in a request makes the head refused,
 * and from then on nothing is kept: see h2_head_refused(). False without memory.
 */
bool h2_head_add(h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len);

/* The head is complete: cookies that were split are joined (RFC 9113 8.2.3), `:authority` and Host are compared. */
void h2_head_finish(h2_head *head);

/* The HTTP status with which this request is to be refused, 0: none. 400 malformed, 414 and 431 too large, 405 CONNECT,
 * 503 no memory. Of a refused head the functions below tell what had come by then, or "".
 */
int h2_head_refused(const h2_head *head);

/* Of a finished head. Never NULL. */
const char *h2_head_method(const h2_head *head);
const char *h2_head_scheme(const h2_head *head);
const char *h2_head_authority(const h2_head *head); /* `:authority`, else Host */
const char *h2_head_path(const h2_head *head);      /* with its query */

/* The fields in their order, without pseudo fields and Host; cookies are one field. */
size_t h2_head_count(const h2_head *head);
h2_field h2_head_field(const h2_head *head, size_t at);

/* The first field of this name (in lower case), or NULL. */
const char *h2_head_get(const h2_head *head, const char *name);

/* Bytes it takes up, about. */
size_t h2_head_size(const h2_head *head);

#endif
