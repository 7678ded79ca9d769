/* history.c - opening and reading a history. The writing half is history_write.c; see history.h. */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "bytes.h"
#include "history_internal.h"

/* Children of httpd read, several threads each: a slot a thread, 64 bytes. */
#define MAX_READERS 8192

void history_put_big(unsigned char *out, uint64_t number, size_t width)
{
    size_t i;

    for (i = 0; i < width; i++) {
        out[i] = (unsigned char)(number >> (8 * (width - 1 - i)));
    }
}

uint64_t history_get_big(const unsigned char *in, size_t width)
{
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < width; i++) {
        number = number << 8 | in[i];
    }
    return number;
}

void history_key(unsigned char key[HISTORY_KEY], uint32_t hub, uint64_t sequence)
{
    history_put_big(key, hub, 4);
    history_put_big(key + 4, sequence, 8);
}

void history_id_key(unsigned char key[HISTORY_ID_KEY], uint32_t hub, mercure_str id)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    /* An LMDB key has at most 511 bytes and an id may have 4096: a digest stands for it, the id itself is compared. */
    SHA256((const unsigned char *)id.data, id.len, digest);
    history_put_big(key, hub, 4);
    memcpy(key + 4, digest, HISTORY_ID_KEY - 4);
}

mercure_status history_result(int rc, const char *doing, mercure_error *err)
{
    if (rc == 0) {
        return MERCURE_OK;
    }
    if (rc == MDB_NOTFOUND) {
        return mercure_fail(err, MERCURE_NOT_FOUND, "not found while %s", doing);
    }
    return mercure_fail(err, MERCURE_STORE, "the history failed while %s: %s", doing, mdb_strerror(rc));
}

bool history_decode_hub(MDB_val value, history_hub *hub)
{
    bytes_in in = bytes_reader((mercure_str){value.mv_data, value.mv_size});

    hub->number = (uint32_t)bytes_get_number(&in, 4);
    hub->head = bytes_get_number(&in, 8);
    hub->first = bytes_get_number(&in, 8);
    hub->bytes = bytes_get_number(&in, 8);
    hub->first_time = bytes_get_number(&in, 8);
    hub->retention.events = bytes_get_number(&in, 8);
    hub->retention.seconds = bytes_get_number(&in, 8);
    hub->retention.bytes = bytes_get_number(&in, 8);
    return !in.short_of;
}

void history_encode_hub(const history_hub *hub, unsigned char raw[HISTORY_HUB_VALUE])
{
    bytes_out out = {raw, raw + HISTORY_HUB_VALUE, false};

    bytes_put_number(&out, hub->number, 4);
    bytes_put_number(&out, hub->head, 8);
    bytes_put_number(&out, hub->first, 8);
    bytes_put_number(&out, hub->bytes, 8);
    bytes_put_number(&out, hub->first_time, 8);
    bytes_put_number(&out, hub->retention.events, 8);
    bytes_put_number(&out, hub->retention.seconds, 8);
    bytes_put_number(&out, hub->retention.bytes, 8);
}

mercure_status history_get_hub(mercure_history *history, MDB_txn *txn, mercure_str name, history_hub *hub,
                               mercure_error *err)
{
    MDB_val key = {name.len, (void *)name.data}, value;
    mercure_status status = history_result(mdb_get(txn, history->hubs, &key, &value), "looking up a hub", err);

    if (status == MERCURE_OK && !history_decode_hub(value, hub)) {
        return mercure_fail(err, MERCURE_STORE, "the history's entry of a hub is damaged");
    }
    return status;
}

static int open_tables(mercure_history *history, MDB_txn *txn, unsigned flags)
{
    int rc;

    if ((rc = mdb_dbi_open(txn, "meta", flags, &history->meta)) != 0 ||
        (rc = mdb_dbi_open(txn, "hubs", flags, &history->hubs)) != 0 ||
        (rc = mdb_dbi_open(txn, "updates", flags, &history->updates)) != 0 ||
        (rc = mdb_dbi_open(txn, "ids", flags | MDB_DUPSORT | MDB_DUPFIXED, &history->ids)) != 0) {
        return rc;
    }
    return mdb_dbi_open(txn, "publications", flags, &history->publications);
}

/* Is this the format we write? A new history gets it. */
static mercure_status check_format(mercure_history *history, MDB_txn *txn, bool writer, mercure_error *err)
{
    unsigned char raw[4];
    MDB_val key = {6, "format"}, value;
    int rc = mdb_get(txn, history->meta, &key, &value);

    if (rc == MDB_NOTFOUND && writer) {
        history_put_big(raw, HISTORY_FORMAT, 4);
        value = (MDB_val){4, raw};
        return history_result(mdb_put(txn, history->meta, &key, &value, 0), "writing its format", err);
    }
    if (rc != 0) {
        return history_result(rc, "reading its format", err);
    }
    if (value.mv_size != 4 || history_get_big(value.mv_data, 4) != HISTORY_FORMAT) {
        return mercure_fail(err, MERCURE_STORE,
                            "the history was written by another version; this one reads format %d. "
                            "Move the directory away to start anew",
                            HISTORY_FORMAT);
    }
    return MERCURE_OK;
}

static mercure_status set_up(mercure_history *history, const char *directory, bool writer, bool durable,
                             mercure_error *err)
{
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (writer ? 0 : MDB_RDONLY) | (durable ? 0 : MDB_NOSYNC);
    mercure_status status;
    MDB_txn *txn;
    int rc;

    if ((rc = mdb_env_create(&history->env)) != 0 || (rc = mdb_env_set_maxdbs(history->env, 8)) != 0 ||
        (rc = mdb_env_set_maxreaders(history->env, MAX_READERS)) != 0 ||
        (rc = mdb_env_set_mapsize(history->env, (size_t)MERCURE_HISTORY_MAX_BYTES)) != 0 ||
        (rc = mdb_env_open(history->env, directory, flags, 0600)) != 0) {
        return mercure_fail(err, MERCURE_STORE, "cannot open the history in %s: %s", directory, mdb_strerror(rc));
    }
    if (stat(history->data_file, &history->opened) != 0) {
        return mercure_fail(err, MERCURE_STORE, "cannot look at %s: %s", history->data_file, strerror(errno));
    }
    if ((rc = mdb_txn_begin(history->env, NULL, writer ? 0 : MDB_RDONLY, &txn)) != 0) {
        return history_result(rc, "starting", err);
    }
    rc = open_tables(history, txn, writer ? MDB_CREATE : 0);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return mercure_fail(err, MERCURE_STORE, "the history in %s has no tables yet: %s", directory, mdb_strerror(rc));
    }
    status = check_format(history, txn, writer, err);
    if (status != MERCURE_OK) {
        mdb_txn_abort(txn);
        return status == MERCURE_NOT_FOUND ? MERCURE_STORE : status;
    }
    return history_result(mdb_txn_commit(txn), "starting", err);
}

static mercure_status open_history(const char *directory, bool writer, bool durable, mercure_history **result,
                                   mercure_error *err)
{
    mercure_history *history = calloc(1, sizeof(*history));
    mercure_status status;

    if (history == NULL || asprintf(&history->data_file, "%s/data.mdb", directory) < 0) {
        free(history);
        return mercure_fail(err, MERCURE_SYSTEM, "no memory to open the history");
    }
    status = set_up(history, directory, writer, durable, err);
    if (status != MERCURE_OK) {
        mercure_history_close(history);
        return status;
    }
    *result = history;
    return MERCURE_OK;
}

mercure_status mercure_history_open_writer(const char *directory, bool durable, mercure_history **history,
                                           mercure_error *err)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return mercure_fail(err, MERCURE_STORE, "cannot create the directory %s: %s", directory, strerror(errno));
    }
    return open_history(directory, true, durable, history, err);
}

mercure_status mercure_history_open_reader(const char *directory, mercure_history **history, mercure_error *err)
{
    return open_history(directory, false, true, history, err);
}

bool mercure_history_replaced(const mercure_history *history)
{
    struct stat now;

    return stat(history->data_file, &now) != 0 || now.st_ino != history->opened.st_ino ||
           now.st_dev != history->opened.st_dev;
}

void mercure_history_close(mercure_history *history)
{
    if (history == NULL) {
        return;
    }
    if (history->env != NULL) {
        mdb_env_close(history->env);
    }
    free(history->data_file);
    free(history);
}

mercure_status mercure_history_head(mercure_history *history, mercure_str name, uint64_t *head, mercure_error *err)
{
    history_hub hub;
    mercure_status status;
    MDB_txn *txn;
    int rc = mdb_txn_begin(history->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0) {
        return history_result(rc, "starting to read", err);
    }
    status = history_get_hub(history, txn, name, &hub, err);
    mdb_txn_abort(txn);
    *head = status == MERCURE_OK ? hub.head : 0;
    return status == MERCURE_NOT_FOUND ? MERCURE_OK : status;
}

/* The record of one update, inside a transaction. */
static mercure_status get_update(mercure_history *history, MDB_txn *txn, uint32_t hub, uint64_t sequence,
                                 mercure_record *record, mercure_error *err)
{
    unsigned char raw[HISTORY_KEY];
    MDB_val key = {sizeof(raw), raw}, value;
    mercure_status status;

    history_key(raw, hub, sequence);
    status = history_result(mdb_get(txn, history->updates, &key, &value), "reading an update", err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (value.mv_size < HISTORY_TIME_BYTES ||
        mercure_record_parse(
            (mercure_str){(char *)value.mv_data + HISTORY_TIME_BYTES, value.mv_size - HISTORY_TIME_BYTES}, record,
            err) != MERCURE_OK) {
        return mercure_fail(err, MERCURE_STORE, "the history's update %llu is damaged", (unsigned long long)sequence);
    }
    return MERCURE_OK;
}

static mercure_status find_in(mercure_history *history, MDB_txn *txn, mercure_str name, mercure_str id,
                              uint64_t *sequence, mercure_error *err)
{
    unsigned char raw[HISTORY_ID_KEY];
    MDB_val key = {sizeof(raw), raw}, value;
    mercure_record record;
    history_hub hub;
    mercure_status status = history_get_hub(history, txn, name, &hub, err);

    if (status != MERCURE_OK) {
        return status;
    }
    history_id_key(raw, hub.number, id);
    status = history_result(mdb_get(txn, history->ids, &key, &value), "looking up an id", err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (value.mv_size != 8) {
        return mercure_fail(err, MERCURE_STORE, "the history's table of ids is damaged");
    }
    *sequence = history_get_big(value.mv_data, 8);
    status = get_update(history, txn, hub.number, *sequence, &record, err);
    if (status == MERCURE_OK && !mercure_str_equal(record.id, id)) {
        return mercure_fail(err, MERCURE_NOT_FOUND, "another id has this digest");
    }
    return status;
}

mercure_status mercure_history_find(mercure_history *history, mercure_str hub, mercure_str id, uint64_t *sequence,
                                    mercure_error *err)
{
    mercure_status status;
    MDB_txn *txn;
    int rc = mdb_txn_begin(history->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0) {
        return history_result(rc, "starting to read", err);
    }
    status = find_in(history, txn, hub, id, sequence, err);
    mdb_txn_abort(txn);
    return status;
}

/* Walk the updates from `*last` + 1 to the hub's head. */
static mercure_status walk(MDB_cursor *cursor, const history_hub *hub, mercure_history_visit visit, void *context,
                           uint64_t *last, mercure_error *err)
{
    unsigned char raw[HISTORY_KEY];
    MDB_val key = {sizeof(raw), raw}, value;
    MDB_cursor_op op = MDB_SET_RANGE;

    history_key(raw, hub->number, *last + 1);
    while (*last < hub->head) {
        mercure_record record;
        mercure_str bytes;
        int rc = mdb_cursor_get(cursor, &key, &value, op);
        if (rc == MDB_NOTFOUND) {
            break;
        }
        if (rc != 0) {
            return history_result(rc, "reading updates", err);
        }
        if (key.mv_size != HISTORY_KEY || history_get_big(key.mv_data, 4) != hub->number) {
            break;
        }
        if (value.mv_size < HISTORY_TIME_BYTES) {
            return mercure_fail(err, MERCURE_STORE, "an update in the history is damaged");
        }
        bytes = (mercure_str){(char *)value.mv_data + HISTORY_TIME_BYTES, value.mv_size - HISTORY_TIME_BYTES};
        if (mercure_record_parse(bytes, &record, err) != MERCURE_OK) {
            return MERCURE_STORE;
        }
        *last = history_get_big((unsigned char *)key.mv_data + 4, 8);
        if (!visit(context, *last, &record, bytes)) {
            return MERCURE_OK;
        }
        op = MDB_NEXT;
    }
    if (*last < hub->head) {
        *last = hub->head;
    }
    return MERCURE_OK;
}

static mercure_status read_in(mercure_history *history, MDB_txn *txn, mercure_str name, mercure_history_visit visit,
                              void *context, mercure_history_reading *reading, mercure_error *err)
{
    history_hub hub;
    MDB_cursor *cursor;
    mercure_status status = history_get_hub(history, txn, name, &hub, err);
    int rc;

    if (status == MERCURE_NOT_FOUND) {
        reading->at_head = true;
        return MERCURE_OK;
    }
    if (status != MERCURE_OK) {
        return status;
    }
    rc = mdb_cursor_open(txn, history->updates, &cursor);
    if (rc != 0) {
        return history_result(rc, "reading updates", err);
    }
    reading->first = hub.first;
    status = walk(cursor, &hub, visit, context, &reading->last, err);
    mdb_cursor_close(cursor);
    reading->at_head = reading->last >= hub.head;
    return status;
}

mercure_status mercure_history_read(mercure_history *history, mercure_str hub, uint64_t after,
                                    mercure_history_visit visit, void *context, mercure_history_reading *reading,
                                    mercure_error *err)
{
    mercure_status status;
    MDB_txn *txn;
    int rc = mdb_txn_begin(history->env, NULL, MDB_RDONLY, &txn);

    *reading = (mercure_history_reading){after, 0, false};
    if (rc != 0) {
        return history_result(rc, "starting to read", err);
    }
    status = read_in(history, txn, hub, visit, context, reading, err);
    mdb_txn_abort(txn);
    return status;
}
