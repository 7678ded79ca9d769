/* publish.c - POST: a publication becomes a record, and brokerd has committed it before the 200 goes out. PROTOCOL 4.
 */
#include "hub_request.h"

#include <apr_strings.h>
#include <http_protocol.h>

#include "child.h"
#include "link.h"

#include "mercure/limits.h"
#include "mercure/update.h"

static int check_grants(const hub_request *q, const hub_credentials *credentials, const mercure_update *update,
                        bool *answered)
{
    mercure_topic *topics = apr_palloc(q->r->pool, update->topic_count * sizeof(*topics));
    mercure_effort *effort = mercure_effort_make(q->r->pool);
    size_t i;

    for (i = 0; i < update->topic_count; i++) {
        topics[i] = mercure_topic_of(q->r->pool, update->topics[i]);
        topics[i].effort = effort;
    }
    *answered = !mercure_grants_may_publish(credentials->grants, update->is_private, topics, update->topic_count,
                                            update->targets, update->target_count);
    if (!*answered) {
        return OK;
    }
    return answer_challenge(q, HTTP_FORBIDDEN, "insufficient_scope",
                            update->target_count > 0 ? "the token does not grant publish to every target of the update"
                                                     : "the token does not grant publish on every topic of the update");
}

static int publish_update(const hub_request *q, mercure_update *update)
{
    char id[MERCURE_ID_LENGTH + 1];
    mercure_error err;
    streamer *st = child_streamer(q->r->server, &err);
    mercure_str record;

    if (st == NULL) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, err.reason);
    }
    if (update->id.len == 0) {
        if (!mercure_id_make(id)) {
            return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, "the system gives no random bytes");
        }
        update->id = mercure_str_of(id);
    }
    record = mercure_update_encode(q->r->pool, update);
    if (record.len > MERCURE_MAX_RECORD) {
        return answer_refuse(q, HTTP_REQUEST_ENTITY_TOO_LARGE,
                             "an update of very many lines: its event would be too large");
    }
    if (link_publish(st, mercure_str_of(q->hub), config_retention(q->dir), record, &err) != MERCURE_OK) {
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 1, err.reason);
    }
    ap_set_content_type(q->r, "text/plain; charset=utf-8");
    ap_set_content_length(q->r, (apr_off_t)update->id.len);
    ap_rwrite(update->id.data, (int)update->id.len, q->r);
    return OK;
}

static int read_update(const hub_request *q, mercure_update *update, bool *answered)
{
    mercure_form form;
    mercure_error err;
    int status = read_form_body(q, &form, answered);

    if (*answered) {
        return status;
    }
    *answered = true;
    switch (mercure_update_from_form(q->r->pool, &form, mercure_base_url(q->base),
                                     (config_dialects(q->dir) & MERCURE_DIALECT_TARGETS) != 0, update, &err)) {
    case MERCURE_OK:
        *answered = false;
        return OK;
    case MERCURE_LIMIT:
        return answer_refuse(q, HTTP_REQUEST_ENTITY_TOO_LARGE, err.reason);
    default:
        return answer_refuse(q, HTTP_BAD_REQUEST, err.reason);
    }
}

int hub_publish(const hub_request *q)
{
    hub_credentials credentials;
    mercure_update update;
    bool answered;
    int status = auth_credentials(q, MERCURE_ROLE_PUBLISHER, &credentials, &answered);

    if (answered) {
        return status;
    }
    if (credentials.grants == NULL) {
        return answer_challenge(q, HTTP_UNAUTHORIZED, NULL, "a publication without a token");
    }
    if (credentials.by_cookie) {
        status = auth_check_origin(q, &answered);
        if (answered) {
            return status;
        }
    }
    status = read_update(q, &update, &answered);
    if (!answered) {
        status = check_grants(q, &credentials, &update, &answered);
    }
    return answered ? status : publish_update(q, &update);
}
