/* update.c - see update.h. */
#include "mercure/update.h"
#include "mercure/limits.h"
#include "mercure/sse.h"
#include "mercure/topic.h"
#include "mercure/url.h"

#include <apr_tables.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "bytes.h"

#define RECORD_VERSION 1
#define RECORD_PRIVATE 1u
#define RECORD_TARGETS 2u
#define RECORD_HEADER  12

static mercure_status check_topic(apr_pool_t *pool, mercure_str topic, const mercure_url *hub, mercure_error *err)
{
    mercure_status status = mercure_value_check("topic", topic, err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (mercure_str_is(topic, "*")) {
        return mercure_fail(err, MERCURE_INVALID, "topic is *, which is reserved for matching every topic");
    }
    if (mercure_url_addresses_path(pool, topic.data, topic.len, hub, hub->path)) {
        return mercure_fail(err, MERCURE_INVALID, "topic addresses the hub's own path %.100s", hub->path);
    }
    return MERCURE_OK;
}

static mercure_status check_id(mercure_str id, mercure_error *err)
{
    mercure_status status = mercure_value_check("id", id, err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (id.len > 0 && id.data[0] == '#') {
        return mercure_fail(err, MERCURE_INVALID, "id starts with #, which is reserved for the hub");
    }
    if (mercure_str_is(id, "earliest")) {
        return mercure_fail(err, MERCURE_INVALID, "id is the reserved word earliest");
    }
    return MERCURE_OK;
}

static mercure_status check_type(mercure_str type, mercure_error *err)
{
    mercure_status status = mercure_value_check("type", type, err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (mercure_str_is(type, "mercure")) {
        return mercure_fail(err, MERCURE_INVALID, "type is mercure, which is reserved for the hub");
    }
    return MERCURE_OK;
}

static mercure_status check_retry(mercure_str retry, mercure_error *err)
{
    size_t i;

    if (retry.len > MERCURE_MAX_VALUE) {
        return mercure_fail(err, MERCURE_LIMIT, "retry of %zu bytes", retry.len);
    }
    for (i = 0; i < retry.len; i++) {
        if (retry.data[i] < '0' || retry.data[i] > '9') {
            return mercure_fail(err, MERCURE_INVALID, "retry is not made of ASCII digits only");
        }
    }
    return MERCURE_OK;
}

static mercure_status add_topic(apr_pool_t *pool, apr_array_header_t *topics, mercure_str value, const mercure_url *hub,
                                mercure_error *err)
{
    mercure_status status;

    if (topics->nelts >= MERCURE_MAX_TOPICS) {
        return mercure_fail(err, MERCURE_LIMIT, "more than %d topics", MERCURE_MAX_TOPICS);
    }
    if (value.len == 0) {
        return mercure_fail(err, MERCURE_INVALID, "topic is empty");
    }
    status = check_topic(pool, value, hub, err);
    if (status == MERCURE_OK) {
        APR_ARRAY_PUSH(topics, mercure_str) = value;
    }
    return status;
}

static mercure_status add_target(apr_array_header_t *targets, mercure_str value, mercure_error *err)
{
    mercure_status status = mercure_value_check("target", value, err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (value.len == 0) {
        return mercure_fail(err, MERCURE_INVALID, "target is empty");
    }
    if (targets->nelts >= MERCURE_MAX_TARGETS) {
        return mercure_fail(err, MERCURE_LIMIT, "more than %d targets", MERCURE_MAX_TARGETS);
    }
    APR_ARRAY_PUSH(targets, mercure_str) = value;
    return MERCURE_OK;
}

/* A field that may stand once: its first value counts, as in every form. */
static void take_first(mercure_str *field, mercure_str value)
{
    if (field->data == NULL) {
        *field = value;
    }
}

typedef struct {
    apr_pool_t *pool;
    const mercure_url *hub;
    apr_array_header_t *topics;
    apr_array_header_t *targets; /* NULL: the field means nothing */
    mercure_update *update;
} form_reading;

static mercure_status take_field(form_reading *r, mercure_str name, mercure_str value, mercure_error *err)
{
    mercure_update *update = r->update;

    if (!mercure_utf8_valid(name) || !mercure_utf8_valid(value)) {
        return mercure_fail(err, MERCURE_INVALID, "a form field is not valid UTF-8");
    }
    if (mercure_str_is(name, "topic")) {
        return add_topic(r->pool, r->topics, value, r->hub, err);
    }
    if (mercure_str_is(name, "target") && r->targets != NULL) {
        return add_target(r->targets, value, err);
    }
    if (mercure_str_is(name, "private")) {
        update->is_private = true;
    } else if (mercure_str_is(name, "data")) {
        take_first(&update->data, value);
    } else if (mercure_str_is(name, "id")) {
        take_first(&update->id, value);
        return check_id(value, err);
    } else if (mercure_str_is(name, "type")) {
        take_first(&update->type, value);
        return check_type(value, err);
    } else if (mercure_str_is(name, "retry")) {
        take_first(&update->retry, value);
        return check_retry(value, err);
    }
    return MERCURE_OK;
}

mercure_status mercure_update_from_form(apr_pool_t *pool, mercure_form *form, const mercure_url *hub, bool with_targets,
                                        mercure_update *update, mercure_error *err)
{
    form_reading r = {pool, hub, apr_array_make(pool, 2, sizeof(mercure_str)),
                      with_targets ? apr_array_make(pool, 2, sizeof(mercure_str)) : NULL, update};
    mercure_str name, value;

    memset(update, 0, sizeof(*update));
    while (mercure_form_next(form, &name, &value)) {
        mercure_status status = take_field(&r, name, value, err);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    if (r.topics->nelts == 0) {
        return mercure_fail(err, MERCURE_INVALID, "no topic field");
    }
    update->topics = (const mercure_str *)r.topics->elts;
    update->topic_count = (size_t)r.topics->nelts;
    if (with_targets && r.targets->nelts > 0) {
        update->targets = (const mercure_str *)r.targets->elts;
        update->target_count = (size_t)r.targets->nelts;
        update->is_private = true;
    }
    return MERCURE_OK;
}

bool mercure_id_make(char id[MERCURE_ID_LENGTH + 1])
{
    unsigned char b[16];

    if (RAND_bytes(b, sizeof(b)) != 1) {
        return false;
    }
    b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
    snprintf(id, MERCURE_ID_LENGTH + 1, "urn:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return true;
}

static size_t length_of(const mercure_str *strings, size_t count)
{
    size_t len = 0, i;

    for (i = 0; i < count; i++) {
        len += 2 + strings[i].len;
    }
    return len;
}

static void put_strings(bytes_out *out, const mercure_str *strings, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        bytes_put_number(out, strings[i].len, 2);
        bytes_put(out, strings[i].data, strings[i].len);
    }
}

mercure_str mercure_update_encode(apr_pool_t *pool, const mercure_update *update)
{
    size_t event_len = mercure_sse_length(update);
    size_t len = RECORD_HEADER + length_of(update->topics, update->topic_count) + update->id.len + event_len +
                 length_of(update->targets, update->target_count);
    unsigned char *bytes = apr_palloc(pool, len);
    bytes_out out = {bytes, bytes + len, false};

    bytes_put_number(&out, RECORD_VERSION, 1);
    bytes_put_number(&out, (update->is_private ? RECORD_PRIVATE : 0) | (update->target_count > 0 ? RECORD_TARGETS : 0),
                     1);
    bytes_put_number(&out, update->topic_count, 2);
    bytes_put_number(&out, update->id.len, 4);
    bytes_put_number(&out, event_len, 4);
    put_strings(&out, update->topics, update->topic_count);
    bytes_put(&out, update->id.data, update->id.len);
    mercure_sse_write(update, (char *)out.at);
    out.at += event_len;
    put_strings(&out, update->targets, update->target_count);
    return (mercure_str){(char *)bytes, len};
}

/* Strings with their lengths, up to the end of `in`. */
static mercure_str get_strings(bytes_in *in)
{
    const char *begin = (const char *)in->at;

    while (!in->short_of && in->at != in->end) {
        bytes_get(in, bytes_get_number(in, 2));
    }
    return (mercure_str){begin, (size_t)((const char *)in->at - begin)};
}

mercure_status mercure_record_parse(mercure_str bytes, mercure_record *record, mercure_error *err)
{
    bytes_in in = bytes_reader(bytes);
    uint64_t version = bytes_get_number(&in, 1);
    uint64_t flags = bytes_get_number(&in, 1);
    size_t id_len, event_len, i;
    const char *topics;

    record->topic_count = (uint16_t)bytes_get_number(&in, 2);
    id_len = bytes_get_number(&in, 4);
    event_len = bytes_get_number(&in, 4);
    if (in.short_of || version != RECORD_VERSION || flags > (RECORD_PRIVATE | RECORD_TARGETS) ||
        flags == RECORD_TARGETS) {
        return mercure_fail(err, MERCURE_INVALID, "not a record of version %d", RECORD_VERSION);
    }
    topics = (const char *)in.at;
    for (i = 0; i < record->topic_count; i++) {
        bytes_get(&in, bytes_get_number(&in, 2));
    }
    record->topics = (mercure_str){topics, (size_t)((const char *)in.at - topics)};
    record->id = bytes_get(&in, id_len);
    record->event = bytes_get(&in, event_len);
    record->is_private = (flags & RECORD_PRIVATE) != 0;
    record->targets = (flags & RECORD_TARGETS) ? get_strings(&in) : (mercure_str){"", 0};
    if (in.short_of || in.at != in.end || record->topic_count == 0 || id_len == 0 || event_len == 0 ||
        ((flags & RECORD_TARGETS) && record->targets.len == 0)) {
        return mercure_fail(err, MERCURE_INVALID, "a record whose lengths do not add up");
    }
    return MERCURE_OK;
}

static bool next_string(mercure_str strings, size_t *at, mercure_str *one)
{
    bytes_in in = bytes_reader((mercure_str){strings.data + *at, strings.len - *at});

    if (*at >= strings.len) {
        return false;
    }
    *one = bytes_get(&in, bytes_get_number(&in, 2));
    *at += 2 + one->len;
    return true;
}

bool mercure_record_topic(const mercure_record *record, size_t *at, mercure_str *topic)
{
    return next_string(record->topics, at, topic);
}

bool mercure_record_target(const mercure_record *record, size_t *at, mercure_str *target)
{
    return next_string(record->targets, at, target);
}

mercure_topic *mercure_record_topics(apr_pool_t *pool, const mercure_record *record)
{
    mercure_topic *topics = apr_palloc(pool, record->topic_count * sizeof(*topics));
    mercure_effort *effort = mercure_effort_make(pool);
    size_t at = 0, i = 0;
    mercure_str text;

    while (mercure_record_topic(record, &at, &text)) {
        topics[i] = mercure_topic_of(pool, text);
        topics[i++].effort = effort;
    }
    return topics;
}
