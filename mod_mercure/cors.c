/* cors.c - which pages of other origins may talk to the hub (PROTOCOL 8; the Fetch standard, "HTTP extensions").
 *
 * The headers are set before anybody may refuse the request, and where they survive a refusal, so that a page can see
 * why it was refused. They are set once more when httpd makes an answer of its own: it may have refused earlier (a
 * RewriteRule), and it drops all headers when reading the request's body has failed. An origin that is listed may use
 * cookies; any other, where `*` is listed too, may not.
 */
#include "hub_request.h"

#include <apr_strings.h>
#include <http_protocol.h>

#define PREFLIGHT_SECONDS "7200" /* the most that browsers keep */

/* The Access-Control-Allow-Origin for this origin, or NULL. */
static const char *allowed(const dir_config *dir, const char *origin, bool *credentials)
{
    const char *any = NULL;
    int i;

    for (i = 0; i < dir->cors_origins->nelts; i++) {
        const char *listed = APR_ARRAY_IDX(dir->cors_origins, i, const char *);
        if (strcmp(listed, origin) == 0) {
            *credentials = true;
            return listed;
        }
        any = strcmp(listed, "*") == 0 ? listed : any;
    }
    *credentials = false;
    return any;
}

void cors_set_headers(request_rec *r, const dir_config *dir)
{
    const char *origin = apr_table_get(r->headers_in, "Origin"), *allow;
    bool credentials;

    if (dir->cors_origins == NULL) {
        return;
    }
    /* The same answer to another origin looks different. httpd writes each word of Vary once. */
    apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    if (origin == NULL || (allow = allowed(dir, origin, &credentials)) == NULL) {
        return;
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", allow);
    if (credentials) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Credentials", "true");
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Expose-Headers", "Link, Mercure-Last-Event-ID");
}

int cors_answer_options(const hub_request *q, const char *methods)
{
    request_rec *r = q->r;
    const char *asked = apr_table_get(r->headers_in, "Access-Control-Request-Method");

    apr_table_setn(r->err_headers_out, "Allow", methods);
    if (asked != NULL && apr_table_get(r->err_headers_out, "Access-Control-Allow-Origin") != NULL) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Methods", methods);
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers",
                       "authorization, cache-control, content-type, last-event-id");
        apr_table_setn(r->err_headers_out, "Access-Control-Max-Age", PREFLIGHT_SECONDS);
    }
    r->status = HTTP_NO_CONTENT;
    r->status_line = NULL;
    return OK;
}
