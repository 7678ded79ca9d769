/* answer.c - refusals. The client learns the status and RFC 6750's error code; the admin learns why, in one line of the
 * virtual host's error log. Lines are limited to a number a second for each virtual host, so that no client can fill
 * the disk.
 */
#include "hub_request.h"

#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <stdatomic.h>

#include "clock.h"

APLOG_USE_MODULE(mercure);

#define LINES_A_SECOND 20
#define HINT_EVERY_MS  60000

static void log_reason(const hub_request *q, int status, const char *reason)
{
    log_budget *budget = &config_of_server(q->r->server)->log;
    uint64_t second = clock_now_ms() / 1000;
    unsigned suppressed;

    /* Two threads may both begin a new second: a few lines more, no harm. */
    if (atomic_exchange(&budget->second, second) != second) {
        atomic_store(&budget->lines, 0);
        suppressed = atomic_exchange(&budget->suppressed, 0);
        if (suppressed > 0) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, q->r, "mercure: %u more refusals were not logged", suppressed);
        }
    }
    if (atomic_fetch_add(&budget->lines, 1) >= LINES_A_SECOND) {
        atomic_fetch_add(&budget->suppressed, 1);
        return;
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, q->r, "mercure: hub %s answers %d: %s", q->hub, status, reason);
}

/* The whole answer is ours, not an ErrorDocument: its reader is a program. */
static int send_refusal(const hub_request *q, int status, const char *word)
{
    request_rec *r = q->r;

    r->status = status;
    r->status_line = NULL;
    ap_set_content_type(r, "text/plain; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (!r->header_only) {
        ap_rvputs(r, word, "\n", NULL);
    }
    return OK;
}

static const char *words_of(int status)
{
    const char *line = ap_get_status_line(status);

    return strlen(line) > 4 ? line + 4 : line;
}

int answer_refuse(const hub_request *q, int status, const char *reason)
{
    log_reason(q, status, reason);
    return send_refusal(q, status, words_of(status));
}

void answer_hint(const hub_request *q, const char *what)
{
    _Atomic uint64_t *hinted = &config_of_server(q->r->server)->log.hinted_ms;
    uint64_t now = clock_now_ms(), last = atomic_load(hinted);

    if (last != 0 && now - last < HINT_EVERY_MS) {
        return;
    }
    if (atomic_compare_exchange_strong(hinted, &last, now)) { /* else another thread has just said it */
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, q->r,
                      "mercure: hub %s: %s, which MercureCompatibility 8 would accept", q->hub, what);
    }
}

int answer_challenge(const hub_request *q, int status, const char *error, const char *reason)
{
    const char *metadata = apr_pstrcat(q->r->pool, q->origin, METADATA_PATH, q->path, NULL);
    const char *challenge =
        error != NULL ? apr_psprintf(q->r->pool, "Bearer error=\"%s\", resource_metadata=\"%s\"", error, metadata)
                      : apr_psprintf(q->r->pool, "Bearer resource_metadata=\"%s\"", metadata);

    apr_table_setn(q->r->err_headers_out, "WWW-Authenticate", challenge);
    log_reason(q, status, reason);
    return send_refusal(q, status, error != NULL ? error : words_of(status));
}

int answer_retry(const hub_request *q, int status, int seconds, const char *reason)
{
    apr_table_setn(q->r->err_headers_out, "Retry-After", apr_itoa(q->r->pool, seconds));
    return answer_refuse(q, status, reason);
}
