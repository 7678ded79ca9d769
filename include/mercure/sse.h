/* sse.h - Server-Sent Events as bytes (WHATWG HTML, section 9.2; PROTOCOL 2). */
#ifndef MERCURE_SSE_H
#define MERCURE_SSE_H

#include "mercure/update.h"

/* A comment line, which browsers ignore: the first bytes of a stream, and its heartbeat. */
#define MERCURE_SSE_COMMENT ":\n"

/* The bytes that mercure_sse_write() writes for this update. */
size_t mercure_sse_length(const mercure_update *update);

/* Write the event: `event:` and `retry:` when set, `id:`, one `data:` for each line of the data (split at CR, LF or
 * CRLF), a blank line. `out` has room for mercure_sse_length() bytes. No value but the data may hold CR or LF; that is
 * what mercure_update_from_form() has made sure of.
 */
void mercure_sse_write(const mercure_update *update, char *out);

#endif
