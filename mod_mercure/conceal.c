/* conceal.c - see conceal.h. */
#include "conceal.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <stdbool.h>

#include "config.h"
#include "request_state.h"

#include "mercure/form.h"

APLOG_USE_MODULE(mercure);

#define HIDDEN "(hidden)"

static const char *const headers[STATE_HIDDEN_HEADERS] = {"Authorization", "Cookie"};

/* The value of this pair if its name is `authorization`, however it is encoded; else NULL. */
static const char *token_of_pair(apr_pool_t *pool, const char *pair, size_t len)
{
    mercure_form form;
    mercure_str name, value;

    mercure_form_begin(&form, apr_pstrmemdup(pool, pair, len), len);
    if (!mercure_form_next(&form, &name, &value) || !mercure_str_is(name, "authorization")) {
        return NULL;
    }
    return apr_pstrmemdup(pool, value.data, value.len);
}

/* The query without its tokens, of which the first goes to `*token`. */
static char *without_tokens(apr_pool_t *pool, const char *query, const char **token)
{
    char *clean = apr_pstrdup(pool, "");
    const char *at = query;

    for (;;) {
        size_t len = strcspn(at, "&");
        const char *found = token_of_pair(pool, at, len);

        if (found != NULL && *token == NULL) {
            *token = found;
        }
        clean = found != NULL ? apr_pstrcat(pool, clean, "authorization=" HIDDEN, NULL)
                              : apr_pstrcat(pool, clean, apr_pstrmemdup(pool, at, len), NULL);
        if (at[len] == '\0') {
            return clean;
        }
        clean = apr_pstrcat(pool, clean, "&", NULL);
        at += len + 1;
    }
}

/* Put `query` in the place of the query of `text`, a request line or a URI. */
static char *with_query(apr_pool_t *pool, const char *text, const char *query)
{
    const char *mark = text != NULL ? strchr(text, '?') : NULL;

    if (mark == NULL) {
        return apr_pstrdup(pool, text);
    }
    return apr_pstrcat(pool, apr_pstrmemdup(pool, text, (apr_size_t)(mark - text)), "?", query,
                       mark + strcspn(mark, " #"), NULL);
}

static void clean_query(request_rec *r, request_state *state)
{
    char *clean;

    if (r->args == NULL || strlen(r->args) > 65536) { /* httpd's own limit is far below */
        return;
    }
    clean = without_tokens(r->pool, r->args, &state->query_token);
    if (state->query_token == NULL) {
        return;
    }
    r->args = clean;
    r->parsed_uri.query = clean;
    r->the_request = with_query(r->pool, r->the_request, clean);
    r->unparsed_uri = with_query(r->pool, r->unparsed_uri, clean);
}

/* --- the request line --- */

/* From LogLevel core:trace5 on httpd logs the request line as soon as it has read it. It shall not: we do, once the
 * line is clean.
 */
static void silence(request_rec *r, conn_rec *c)
{
    struct ap_logconf *quieter;

    (void)c;
    if (ap_get_request_module_loglevel(r, core_module.module_index) >= APLOG_TRACE5) {
        quieter = ap_new_log_config(r->pool, r->log != NULL ? r->log : &r->server->log);
        ap_set_module_loglevel(r->pool, quieter, core_module.module_index, APLOG_TRACE4);
        request_state_of(r)->silenced = true;
        request_state_of(r)->log = r->log;
        r->log = quieter;
    }
}

static void log_request_line(request_rec *r)
{
    request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state != NULL && state->silenced) {
        state->silenced = false;
        r->log = state->log;
        ap_log_rerror(APLOG_MARK, APLOG_TRACE5, 0, r, "Request received from client: %s", r->the_request);
    }
}

/* --- the request --- */

/* Is it for the hub, or for what is below its path? httpd has not decoded the path yet. */
static bool is_for_hub(const request_rec *r)
{
    const char *path = config_path(r->server);
    size_t len = strlen(path);
    char *plain;

    if (r->uri == NULL) {
        return false;
    }
    plain = apr_pstrdup(r->pool, r->uri);
    (void)ap_normalize_path(plain,
                            AP_NORMALIZE_NOT_ABOVE_ROOT | AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_DECODE_UNRESERVED);
    (void)ap_unescape_url(plain); /* httpd itself refuses what these two refuse */
    return strncmp(plain, path, len) == 0 && (plain[len] == '\0' || plain[len] == '/');
}

static int hide(request_rec *r)
{
    request_state *state;
    size_t i;

    if (!is_for_hub(r)) {
        log_request_line(r);
        return DECLINED;
    }
    state = request_state_of(r);
    clean_query(r, state);
    log_request_line(r);
    for (i = 0; i < STATE_HIDDEN_HEADERS; i++) {
        state->hidden[i] = apr_table_get(r->headers_in, headers[i]);
        if (state->hidden[i] != NULL) {
            apr_table_setn(r->headers_in, headers[i], HIDDEN);
        }
    }
    return DECLINED;
}

static int show(request_rec *r, int lookup)
{
    request_state *state = ap_get_module_config(r->request_config, &mercure_module);
    size_t i;

    (void)lookup;
    for (i = 0; state != NULL && i < STATE_HIDDEN_HEADERS; i++) {
        if (state->hidden[i] != NULL) {
            apr_table_setn(r->headers_in, headers[i], state->hidden[i]);
            state->hidden[i] = NULL;
        }
    }
    return DECLINED;
}

const char *conceal_query_token(const request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    return state != NULL ? state->query_token : NULL;
}

void conceal_register_hooks(void)
{
    static const char *const later[] = {"mod_log_forensic.c", NULL};

    ap_hook_pre_read_request(silence, NULL, NULL, APR_HOOK_LAST);
    ap_hook_post_read_request(hide, NULL, later, APR_HOOK_REALLY_FIRST);
    ap_hook_quick_handler(show, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
