/* conceal.c - see conceal.h. */
#include "conceal.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>

#include "config.h"
#include "request_state.h"

#include "mercure/form.h"

#define HIDDEN      "(hidden)"
#define REPLACEMENT "authorization=" HIDDEN

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
    /* A pair that is replaced has 13 bytes at least, and becomes 22. */
    char *clean = apr_palloc(pool, 2 * strlen(query) + sizeof(REPLACEMENT)), *end = clean;
    const char *at = query;

    for (;;) {
        size_t len = strcspn(at, "&");
        const char *found = token_of_pair(pool, at, len);

        if (found != NULL && *token == NULL) {
            *token = found;
        }
        if (found != NULL) {
            memcpy(end, REPLACEMENT, sizeof(REPLACEMENT) - 1);
            end += sizeof(REPLACEMENT) - 1;
        } else {
            memcpy(end, at, len);
            end += len;
        }
        *end++ = at[len];
        if (at[len] == '\0') {
            return clean;
        }
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

/* The query of a request line, or NULL. */
static const char *query_of(apr_pool_t *pool, const char *line)
{
    const char *mark = line != NULL ? strchr(line, '?') : NULL;

    return mark != NULL ? apr_pstrmemdup(pool, mark + 1, strcspn(mark + 1, " #")) : NULL;
}

static void set_query(request_rec *r, char *query)
{
    r->args = query;
    r->parsed_uri.query = query;
}

static void clean_query(request_rec *r, request_state *state)
{
    const char *raw = r->args != NULL ? r->args : query_of(r->pool, r->the_request), *token = NULL;
    char *clean;

    if (raw == NULL) {
        return;
    }
    clean = without_tokens(r->pool, raw, &token);
    if (token == NULL) {
        return;
    }
    if (state->query_token == NULL) {
        state->query_token = token;
        state->raw_query = raw;
    }
    set_query(r, r->args != NULL ? clean : NULL);
    r->the_request = with_query(r->pool, r->the_request, clean);
    r->unparsed_uri = with_query(r->pool, r->unparsed_uri, clean);
}

/* Is this the hub's path, or below it, in whatever spelling? httpd unescapes and shortens r->uri only later. A request
 * that httpd could not read to its end has no r->uri, and some paths cannot be told: these are treated as the hub's.
 */
static bool goes_to_hub_of(const request_rec *r, const server_rec *s)
{
    const char *path = config_path(s);
    size_t len = strlen(path);
    char *name;

    if (r->uri == NULL) {
        return true;
    }
    name = apr_pstrdup(r->pool, r->uri);
    ap_unescape_url(name);
    if (!ap_normalize_path(name, AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_NOT_ABOVE_ROOT)) {
        return true;
    }
    return strncmp(name, path, len) == 0 && (name[len] == '\0' || name[len] == '/');
}

static bool goes_to_hub(const request_rec *r)
{
    return goes_to_hub_of(r, r->server);
}

static void hide_headers(request_rec *r, request_state *state)
{
    size_t i;

    for (i = 0; i < STATE_HIDDEN_HEADERS; i++) {
        const char *value = apr_table_get(r->headers_in, headers[i]);
        if (value != NULL && state->hidden[i] == NULL) {
            state->hidden[i] = value;
            apr_table_setn(r->headers_in, headers[i], HIDDEN);
        }
    }
}

static int show(request_rec *r)
{
    request_state *state = ap_get_module_config(r->request_config, &mercure_module);
    size_t i;

    for (i = 0; state != NULL && i < STATE_HIDDEN_HEADERS; i++) {
        if (state->hidden[i] != NULL) {
            apr_table_setn(r->headers_in, headers[i], state->hidden[i]);
            state->hidden[i] = NULL;
        }
    }
    return DECLINED;
}

/* httpd's core logs the request line at core:trace5 as soon as it has it, before any hook could look at it. So the
 * request's log level is held below that while httpd reads, and the line is logged when it is clean.
 */
static void hold_log_level(request_rec *r, conn_rec *c)
{
    const struct ap_logconf *log = r->log != NULL ? r->log : c->log != NULL ? c->log : &r->server->log;
    struct ap_logconf *held;

    if (!APLOG_R_MODULE_IS_LEVEL(r, core_module.module_index, APLOG_TRACE5)) {
        return;
    }
    held = ap_new_log_config(r->pool, log);
    ap_set_module_loglevel(r->pool, held, core_module.module_index, APLOG_TRACE4);
    request_state_of(r)->held_log = held;
    r->log = held;
}

static void release_log_level(request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state == NULL || state->held_log == NULL || r->log != state->held_log) {
        return;
    }
    r->log = NULL;
    ap_log_rerror(__FILE__, __LINE__, core_module.module_index, APLOG_TRACE5, 0, r, "Request received from client: %s",
                  ap_escape_logitem(r->pool, r->the_request));
}

static int hide_all(request_rec *r)
{
    request_state *state;

    if (goes_to_hub(r)) {
        state = request_state_of(r);
        state->conceals = true;
        clean_query(r, state);
        hide_headers(r, state);
    }
    release_log_level(r);
    return DECLINED;
}

static int hide_headers_again(request_rec *r)
{
    request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state != NULL && state->conceals) {
        hide_headers(r, state);
    }
    return DECLINED;
}

static int show_for_good(request_rec *r, int lookup)
{
    (void)lookup;
    return show(r);
}

/* Might it be for some virtual host's hub? Which virtual host it is for is not known of a request that could not be
 * read.
 */
static bool goes_to_any_hub(const request_rec *r)
{
    const server_rec *s;

    if (r->status < HTTP_BAD_REQUEST) {
        return goes_to_hub(r);
    }
    for (s = ap_server_conf; s != NULL; s = s->next) {
        if (goes_to_hub_of(r, s)) {
            return true;
        }
    }
    return false;
}

static bool has_query(const request_rec *r)
{
    return r->args != NULL || (r->the_request != NULL && strchr(r->the_request, '?') != NULL);
}

/* What is logged is this request or, of one that was redirected within the server, another of the chain: a request that
 * httpd refused before it was read to its end, and one whose query was given back.
 */
static int clean_before_log(request_rec *r)
{
    request_rec *one = r;

    while (one->prev != NULL) {
        one = one->prev;
    }
    for (; one != NULL; one = one->next) {
        if (one->request_config != NULL && has_query(one) && goes_to_any_hub(one)) {
            clean_query(one, request_state_of(one));
        }
    }
    return DECLINED;
}

void conceal_give_back(request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state != NULL && state->raw_query != NULL && r->args != NULL) {
        set_query(r, apr_pstrdup(r->pool, state->raw_query));
    }
}

const char *conceal_query_token(const request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    return state != NULL ? state->query_token : NULL;
}

void conceal_register_hooks(void)
{
    static const char *const loggers[] = {"mod_log_forensic.c", "mod_security2.c", NULL};

    ap_hook_pre_read_request(hold_log_level, NULL, NULL, APR_HOOK_REALLY_LAST);
    /* What these modules see first they may log. Then come those that act on headers, such as mod_setenvif. */
    ap_hook_post_read_request(hide_all, NULL, loggers, APR_HOOK_REALLY_FIRST);
    ap_hook_post_read_request(show, NULL, NULL, APR_HOOK_FIRST - 5);
    /* httpd's core logs the headers between these two. */
    ap_hook_post_read_request(hide_headers_again, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_quick_handler(show_for_good, NULL, NULL, APR_HOOK_REALLY_FIRST);
    /* mod_security looks at the headers again here, after Require and before the handler. */
    ap_hook_fixups(hide_headers_again, NULL, loggers, APR_HOOK_REALLY_FIRST);
    ap_hook_fixups(show, NULL, NULL, APR_HOOK_FIRST - 5);
    ap_hook_log_transaction(clean_before_log, NULL, loggers, APR_HOOK_REALLY_FIRST);
}
