/* h2_answer.c - the head of a response: what httpd knows of it, as HTTP/2 says it.
 *
 * Stands where HTTP_HEADER is in HTTP/1.1, and does what that does, in the same order: errors from below become error
 * responses (ErrorDocument), headers that must not be sent become a 500, `Header always` and `Header` come together.
 * What it leaves out is about connections, and keeping them.
 */
#include "h2_request_internal.h"

#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_time.h>

#include "config.h"

APLOG_USE_MODULE(mercure);

/* --- fields --- */

/* RFC 9113 8.2.2: fields about a connection of HTTP/1.1, and those that its Connection field names. */
static bool is_of_connection(apr_pool_t *pool, const char *name, const char *connection)
{
    static const char *const names[] = {"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            return true;
        }
    }
    return connection != NULL && ap_find_token(pool, connection, name);
}

/* The value without blanks around it (RFC 9113 8.2.1) and with its folded lines made one; NULL: it must not be sent. */
static const char *clean_value(apr_pool_t *pool, const char *value)
{
    char *clean = apr_pstrdup(pool, value + strspn(value, " \t")), *at = clean;
    size_t len;

    while ((at = strchr(at, '\r')) != NULL && at[1] == '\n' && (at[2] == ' ' || at[2] == '\t')) {
        at[0] = at[1] = ' ';
    }
    for (len = strlen(clean); len > 0 && (clean[len - 1] == ' ' || clean[len - 1] == '\t'); len--) {
        clean[len - 1] = '\0';
    }
    return *ap_scan_http_field_content(clean) == '\0' ? clean : NULL;
}

/* Add a table's fields. False when one of them must not be sent. */
static bool collect_fields(request_rec *r, const apr_table_t *table, apr_array_header_t *fields)
{
    const apr_array_header_t *entries = apr_table_elts(table);
    const char *connection = apr_table_get((apr_table_t *)table, "Connection");
    int i;

    for (i = 0; i < entries->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(entries, i, apr_table_entry_t);
        char *name;
        const char *value;
        if (entry->key == NULL || is_of_connection(r->pool, entry->key, connection)) {
            continue;
        }
        name = apr_pstrdup(r->pool, entry->key);
        value = clean_value(r->pool, entry->val);
        if (*name == '\0' || *ap_scan_http_token(name) != '\0' || value == NULL) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                          "mercure: the response's header '%s' cannot be sent: its name or its value has characters "
                          "that none may have",
                          ap_escape_logitem(r->pool, name));
            return false;
        }
        ap_str_tolower(name);
        APR_ARRAY_PUSH(fields, h2_field) = (h2_field){name, value};
    }
    return true;
}

/* --- what httpd adds to a response --- */

static void set_date_and_server(request_rec *r)
{
    const char *us = ap_get_server_banner();
    bool is_another_servers = r->proxyreq != PROXYREQ_NONE;

    if (!is_another_servers || apr_table_get(r->headers_out, "Date") == NULL) {
        char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);
        ap_recent_rfc822_date(date, r->request_time);
        apr_table_setn(r->headers_out, "Date", date);
    }
    if ((!is_another_servers || apr_table_get(r->headers_out, "Server") == NULL) && *us != '\0') {
        apr_table_setn(r->headers_out, "Server", us);
    }
}

/* The languages of the content, and those that a header names already. */
static void set_languages(request_rec *r)
{
    const char *field = apr_table_get(r->headers_out, "Content-Language");
    char *language;

    if (r->content_languages == NULL || r->content_languages->nelts == 0) {
        return;
    }
    while (field != NULL && (language = ap_get_list_item(r->pool, &field)) != NULL) {
        int i, count = r->content_languages->nelts;
        for (i = 0; i < count && strcasecmp(language, APR_ARRAY_IDX(r->content_languages, i, char *)) != 0; i++) {
        }
        if (i == count) {
            APR_ARRAY_PUSH(r->content_languages, char *) = language;
        }
    }
    apr_table_setn(r->headers_out, "Content-Language", apr_array_pstrcat(r->pool, r->content_languages, ','));
}

/* A name for each reason to vary, once. */
static int collect_names(void *names, const char *key, const char *value)
{
    apr_array_header_t *all = names;
    char *rest, *name = apr_strtok(apr_pstrdup(all->pool, value), ", \t", &rest);

    (void)key;
    for (; name != NULL; name = apr_strtok(NULL, ", \t", &rest)) {
        int i;
        for (i = 0; i < all->nelts && strcasecmp(name, APR_ARRAY_IDX(all, i, char *)) != 0; i++) {
        }
        if (i == all->nelts) {
            APR_ARRAY_PUSH(all, char *) = name;
        }
    }
    return 1;
}

/* Several modules may have said why the response varies, some in words that others have used too. */
static void set_vary(request_rec *r)
{
    apr_array_header_t *names = apr_array_make(r->pool, 4, sizeof(char *));

    if (apr_table_get(r->subprocess_env, "force-no-vary") != NULL) {
        apr_table_unset(r->headers_out, "Vary");
        return;
    }
    apr_table_do(collect_names, names, r->headers_out, "Vary", NULL);
    if (names->nelts > 0) {
        const char *joined = APR_ARRAY_IDX(names, 0, char *);
        int i;
        for (i = 1; i < names->nelts; i++) {
            joined = apr_pstrcat(r->pool, joined, ", ", APR_ARRAY_IDX(names, i, char *), NULL);
        }
        apr_table_setn(r->headers_out, "Vary", joined);
    }
}

static void complete_headers(request_rec *r)
{
    const char *type, *length;

    if (!apr_is_empty_table(r->err_headers_out)) {
        r->headers_out = apr_table_overlay(r->pool, r->err_headers_out, r->headers_out);
        apr_table_clear(r->err_headers_out);
    }
    set_vary(r);
    if (r->no_cache && apr_table_get(r->headers_out, "Expires") == NULL) {
        char *date = apr_palloc(r->pool, APR_RFC822_DATE_LEN);
        ap_recent_rfc822_date(date, r->request_time);
        apr_table_addn(r->headers_out, "Expires", date);
    }
    if (apr_table_get(r->notes, "no-etag") != NULL) {
        apr_table_unset(r->headers_out, "ETag");
    }
    if (AP_STATUS_IS_HEADER_ONLY(r->status)) {
        apr_table_unset(r->headers_out, "Content-Length");
        r->content_type = r->content_encoding = NULL;
        r->content_languages = NULL;
        r->clength = 0;
    }
    type = ap_make_content_type(r, r->content_type);
    if (type != NULL) {
        apr_table_setn(r->headers_out, "Content-Type", type);
    }
    if (r->content_encoding != NULL) {
        apr_table_setn(r->headers_out, "Content-Encoding", r->content_encoding);
    }
    set_languages(r);
    /* A handler that has nothing to say to HEAD makes this look like an empty document. */
    length = apr_table_get(r->headers_out, "Content-Length");
    if (r->header_only && length != NULL && strcmp(length, "0") == 0) {
        apr_table_unset(r->headers_out, "Content-Length");
    }
    set_date_and_server(r);
}

/* --- answering --- */

/* Has mod_ssl refused this request because it would need another handshake? Such a request is for HTTP/1.1. */
static bool needs_handshake(const request_rec *r)
{
    for (; r != NULL; r = r->prev) {
        if (apr_table_get(r->notes, "ssl-renegotiate-forbidden") != NULL) {
            return true;
        }
    }
    return false;
}

static size_t size_of(const apr_array_header_t *fields)
{
    size_t size = 0;
    int i;

    for (i = 0; i < fields->nelts; i++) {
        const h2_field *field = &APR_ARRAY_IDX(fields, i, h2_field);
        size += strlen(field->name) + strlen(field->value) + 4;
    }
    return size;
}

static void note_length(h2_run *run, const request_rec *r)
{
    const char *length = apr_table_get(r->headers_out, "Content-Length");

    run->without_body = r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status);
    if (length == NULL || !ap_parse_strict_length(&run->announced, length)) {
        run->announced = -1;
    }
}

/* From here on ap_die() knows that there is an answer. */
static void begin_response(h2_run *run, request_rec *r, h2_progress progress)
{
    run->progress = progress;
    r->sent_bodyct = progress == H2_ANSWERED && !run->without_body; /* for %b */
    ap_remove_output_filter_byhandle(r->output_filters, "HTTP_HEADER");
}

/* Give the response's head to the exchange. */
static apr_status_t send_head(h2_run *run, request_rec *r, const apr_array_header_t *fields)
{
    if (!h2_exchange_respond(run->x, r->status, (const h2_field *)fields->elts, (size_t)fields->nelts)) {
        run->c->aborted = 1;
        return APR_ECONNABORTED;
    }
    begin_response(run, r, H2_ANSWERED);
    h2_filters_count_out(run, size_of(fields));
    return APR_SUCCESS;
}

/* This head must not be sent: answer 500 instead, by httpd's way at first, and if that is as bad, with nothing. */
static apr_status_t replace_head(h2_run *run, request_rec *r, apr_bucket_brigade *bb)
{
    apr_brigade_cleanup(bb);
    apr_table_clear(r->headers_out);
    apr_table_clear(r->err_headers_out);
    r->content_type = r->content_encoding = NULL;
    r->content_languages = NULL;
    r->clength = 0;
    if (!run->head_was_bad) {
        run->head_was_bad = true;
        r->status = r->status < HTTP_OK ? HTTP_OK : r->status; /* no error that led here */
        ap_die(HTTP_INTERNAL_SERVER_ERROR, r);
        return AP_FILTER_ERROR;
    }
    r->status = HTTP_INTERNAL_SERVER_ERROR;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    note_length(run, r);
    return send_head(run, r, apr_array_make(r->pool, 1, sizeof(h2_field)));
}

static apr_status_t answer(h2_run *run, request_rec *r, apr_bucket_brigade *bb)
{
    apr_array_header_t *fields = apr_array_make(r->pool, 16, sizeof(h2_field));

    if (r->status >= HTTP_BAD_REQUEST && needs_handshake(r)) {
        begin_response(run, r, H2_UNANSWERED);
        h2_filters_fail(run, H2_HTTP_1_1_REQUIRED);
        return APR_SUCCESS;
    }
    complete_headers(r);
    if (r->status < HTTP_OK || r->status > 999 || !collect_fields(r, r->headers_out, fields)) {
        return replace_head(run, r, bb);
    }
    note_length(run, r);
    return send_head(run, r, fields);
}

/* Take the data out of a brigade, and leave what controls the filters. */
static void drop_data(apr_bucket_brigade *bb)
{
    apr_bucket *b, *next;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = next) {
        next = APR_BUCKET_NEXT(b);
        if (!APR_BUCKET_IS_METADATA(b)) {
            apr_bucket_delete(b);
        }
    }
}

apr_status_t h2_answer(ap_filter_t *f, apr_bucket_brigade *bb)
{
    h2_run *run = f->ctx;
    request_rec *r = f->r;
    apr_bucket *b;
    int error = 0;

    for (b = APR_BRIGADE_FIRST(bb); run->progress == H2_UNANSWERED && b != APR_BRIGADE_SENTINEL(bb);
         b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_EOC(b)) { /* the connection is to be closed without an answer */
            begin_response(run, r, H2_UNANSWERED);
            h2_filters_fail(run, H2_INTERNAL_ERROR);
        } else if (AP_BUCKET_IS_ERROR(b) && error == 0) {
            error = ((ap_bucket_error *)b->data)->status;
        }
    }
    if (run->progress == H2_UNANSWERED) {
        apr_status_t rv;
        if (error != 0) {
            apr_brigade_cleanup(bb);
            ap_die(error, r);
            return AP_FILTER_ERROR;
        }
        rv = answer(run, r, bb);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (run->progress == H2_OVER || run->without_body) {
        drop_data(bb);
    }
    return ap_pass_brigade(f->next, bb);
}
