/* hub_request.h - a request for a hub, and its answers. */
#ifndef MOD_MERCURE_HUB_REQUEST_H
#define MOD_MERCURE_HUB_REQUEST_H

#include <httpd.h>

#include "config.h"

#include "mercure/base.h"
#include "mercure/claims.h"
#include "mercure/form.h"

typedef struct {
    request_rec *r;
    const dir_config *dir;
    const char *hub;        /* its name */
    const char *path;       /* H of PROTOCOL */
    const char *origin;     /* what the client calls us: scheme, host, port */
    const char *url;        /* the hub's public URL */
    mercure_base *base;     /* the same, for what is relative to it; lives as long as the request */
    const char *identifier; /* the resource identifier that a token's aud must hold */
} hub_request;

/* Who asks. */
typedef struct {
    mercure_grants *grants; /* NULL: no token; lives as long as the request */
    bool by_cookie;
    unsigned char digest[32];   /* of the token and what it was verified against */
    unsigned char token_id[32]; /* of the token alone */
} hub_credentials;

/* --- answer.c: every function returns what a handler returns --- */

/* Refuse. `reason` goes to the virtual host's error log, rate limited, and nowhere else; it must hold no secret. */
int answer_refuse(const hub_request *q, int status, const char *reason);

/* Beside a refusal: tell the admin that MercureCompatibility 8 would accept `what`; once a minute at most, of each
 * child and virtual host.
 */
void answer_hint(const hub_request *q, const char *what);

/* Refuse with a challenge (RFC 6750, 3). `error` is its code, or NULL when no token was presented. */
int answer_challenge(const hub_request *q, int status, const char *error, const char *reason);

/* Refuse for now, with Retry-After. */
int answer_retry(const hub_request *q, int status, int seconds, const char *reason);

/* --- cors.c --- */

/* Allow the page that makes this request what MercureCORSOrigins says. Before any answer, also a refusal; may be called
 * again.
 */
void cors_set_headers(request_rec *r, const dir_config *dir);

/* Answer OPTIONS, which may be a preflight, for a resource that has these methods ("GET, HEAD"). */
int cors_answer_options(const hub_request *q, const char *methods);

/* --- discovery.c --- */

/* What the client calls this server ("https://example.com:8443"): scheme, host and port, in canonical form. */
const char *discovery_origin(request_rec *r);

/* Hooks that let the response to any request of a scope with MercureDiscovery On say where its hub is. */
void discovery_register_hooks(void);

/* The RFC 9728 document. */
int discovery_answer_metadata(const hub_request *q);

/* --- auth.c --- */

/* Find and verify the request's token for a role. Returns OK, also without a token; or the answer, already given, in
 * which case *answered is set.
 */
int auth_credentials(const hub_request *q, unsigned role, hub_credentials *credentials, bool *answered);

/* May a page of another origin have made this request with the visitor's cookie? Returns OK, or the answer already
 * given with *answered set. PROTOCOL 5.
 */
int auth_check_origin(const hub_request *q, bool *answered);

/* --- form_body.c --- */

/* Read the request's body, a form of at most MercureMaxBody bytes, into the request's pool. Returns OK, or the answer
 * already given with *answered set.
 */
int read_form_body(const hub_request *q, mercure_form *form, bool *answered);

/* --- subscribe.c, publish.c: the two methods --- */

int hub_subscribe(const hub_request *q);
int hub_publish(const hub_request *q);

#endif
