/* history_write.c - appending to a history and discarding from it. One transaction a call, all or nothing; see
 * history.h, and history_internal.h for the tables.
 */
#include "bytes.h"
#include "history_internal.h"

/* Updates discarded in one transaction at most beyond those that came in: bounds how long publishers wait. */
#define DISCARD_AT_ONCE 5000

/* Find a hub, or give a new one the next number. */
static mercure_status find_or_create_hub(mercure_history *history, MDB_txn *txn, mercure_str name, history_hub *hub,
                                         mercure_error *err)
{
    mercure_status status = history_get_hub(history, txn, name, hub, err);
    unsigned char raw[4] = {0, 0, 0, 0};
    MDB_val key = {4, "hubs"}, value;
    int rc;

    if (status != MERCURE_NOT_FOUND) {
        return status;
    }
    rc = mdb_get(txn, history->meta, &key, &value);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return history_result(rc, "creating a hub", err);
    }
    memset(hub, 0, sizeof(*hub));
    hub->first = 1;
    hub->number = 1;
    if (rc == 0 && value.mv_size == 4) {
        hub->number = (uint32_t)history_get_big(value.mv_data, 4) + 1;
    }
    history_put_big(raw, hub->number, 4);
    value = (MDB_val){4, raw};
    return history_result(mdb_put(txn, history->meta, &key, &value, 0), "creating a hub", err);
}

static mercure_status save_hub(mercure_history *history, MDB_txn *txn, mercure_str name, const history_hub *hub,
                               mercure_error *err)
{
    unsigned char raw[HISTORY_HUB_VALUE];
    MDB_val key = {name.len, (void *)name.data}, value = {sizeof(raw), raw};

    history_encode_hub(hub, raw);
    return history_result(mdb_put(txn, history->hubs, &key, &value, 0), "updating a hub", err);
}

static uint64_t kept(const history_hub *hub)
{
    return hub->head + 1 - hub->first;
}

static bool over_retention(const history_hub *hub, uint64_t now_ms)
{
    const mercure_retention *keep = &hub->retention;

    if (kept(hub) == 0) {
        return false;
    }
    return (keep->events > 0 && kept(hub) > keep->events) ||
           (keep->bytes > 0 && hub->bytes > keep->bytes && kept(hub) > 1) ||
           (keep->seconds > 0 && now_ms > hub->first_time && (now_ms - hub->first_time - 1) / 1000 >= keep->seconds);
}

static mercure_status delete_id(mercure_history *history, MDB_txn *txn, const history_hub *hub, mercure_str id,
                                mercure_error *err)
{
    unsigned char raw_key[HISTORY_ID_KEY], raw[8];
    MDB_val key = {sizeof(raw_key), raw_key}, value = {sizeof(raw), raw};

    history_id_key(raw_key, hub->number, id);
    history_put_big(raw, hub->first, 8);
    return history_result(mdb_del(txn, history->ids, &key, &value), "discarding an id", err);
}

/* Set the time of the oldest update that is left. */
static mercure_status read_first_time(mercure_history *history, MDB_txn *txn, history_hub *hub, mercure_error *err)
{
    unsigned char raw[HISTORY_KEY];
    MDB_val key = {sizeof(raw), raw}, value;
    bytes_in in;
    int rc;

    hub->first_time = 0;
    if (kept(hub) == 0) {
        return MERCURE_OK;
    }
    history_key(raw, hub->number, hub->first);
    rc = mdb_get(txn, history->updates, &key, &value);
    if (rc != 0) {
        return history_result(rc, "reading the oldest update", err);
    }
    in = bytes_reader((mercure_str){value.mv_data, value.mv_size});
    hub->first_time = bytes_get_number(&in, HISTORY_TIME_BYTES);
    return MERCURE_OK;
}

static mercure_status discard_first(mercure_history *history, MDB_txn *txn, history_hub *hub, mercure_error *err)
{
    unsigned char raw[HISTORY_KEY];
    MDB_val key = {sizeof(raw), raw}, value;
    mercure_record record;
    mercure_status status;
    size_t size;

    history_key(raw, hub->number, hub->first);
    status = history_result(mdb_get(txn, history->updates, &key, &value), "discarding an update", err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (value.mv_size < HISTORY_TIME_BYTES) {
        return mercure_fail(err, MERCURE_STORE, "an update in the history is damaged");
    }
    size = value.mv_size - HISTORY_TIME_BYTES;
    status = mercure_record_parse((mercure_str){(char *)value.mv_data + HISTORY_TIME_BYTES, size}, &record, err);
    if (status != MERCURE_OK) {
        return MERCURE_STORE;
    }
    status = delete_id(history, txn, hub, record.id, err);
    if (status != MERCURE_OK) {
        return status;
    }
    status = history_result(mdb_del(txn, history->updates, &key, NULL), "discarding an update", err);
    hub->bytes -= size < hub->bytes ? size : hub->bytes;
    hub->first++;
    return status;
}

/* Discard the oldest updates of a hub until its retention holds or `budget` is used up. */
static mercure_status discard(mercure_history *history, MDB_txn *txn, history_hub *hub, uint64_t now_ms, size_t *budget,
                              mercure_error *err)
{
    while (*budget > 0 && over_retention(hub, now_ms)) {
        mercure_status status = discard_first(history, txn, hub, err);
        if (status == MERCURE_OK) {
            status = read_first_time(history, txn, hub, err);
        }
        if (status != MERCURE_OK) {
            return status == MERCURE_NOT_FOUND ? MERCURE_STORE : status;
        }
        (*budget)--;
    }
    return MERCURE_OK;
}

/* Delete what a publisher's floor settles. */
static mercure_status settle_publications(mercure_history *history, MDB_txn *txn, const unsigned char *publisher,
                                          uint64_t floor, mercure_error *err)
{
    unsigned char raw[24];
    MDB_val key = {sizeof(raw), raw}, value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, history->publications, &cursor);

    if (rc != 0) {
        return history_result(rc, "settling publications", err);
    }
    memcpy(raw, publisher, 16);
    memset(raw + 16, 0, 8);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == 24 && memcmp(key.mv_data, publisher, 16) == 0 &&
           history_get_big((unsigned char *)key.mv_data + 16, 8) < floor) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT); /* after a deletion: the one that moved up */
        }
    }
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? MERCURE_OK : history_result(rc, "settling publications", err);
}

/* Note that a publication is stored, or learn that it had been. */
static mercure_status note_publication(mercure_history *history, MDB_txn *txn, mercure_append *update, uint64_t next,
                                       uint64_t now_ms, mercure_error *err)
{
    unsigned char raw_key[24], raw[16];
    MDB_val key = {sizeof(raw_key), raw_key}, value = {sizeof(raw), raw};
    bytes_out out = {raw, raw + sizeof(raw), false};
    int rc;

    memcpy(raw_key, update->publisher, 16);
    history_put_big(raw_key + 16, update->number, 8);
    bytes_put_number(&out, next, 8);
    bytes_put_number(&out, now_ms, 8);
    rc = mdb_put(txn, history->publications, &key, &value, MDB_NOOVERWRITE);
    update->repeated = rc == MDB_KEYEXIST;
    update->sequence = next;
    if (update->repeated) {
        bytes_in in = bytes_reader((mercure_str){value.mv_data, value.mv_size});
        update->sequence = bytes_get_number(&in, 8);
        return MERCURE_OK;
    }
    return history_result(rc, "noting a publication", err);
}

static mercure_status put_update(mercure_history *history, MDB_txn *txn, const history_hub *hub,
                                 const mercure_append *update, uint64_t now_ms, mercure_error *err)
{
    unsigned char raw[HISTORY_KEY], raw_id[HISTORY_ID_KEY], sequence[8];
    MDB_val key = {sizeof(raw), raw}, value = {HISTORY_TIME_BYTES + update->record.len, NULL};
    mercure_record record;
    bytes_out out;
    int rc;

    if (mercure_record_parse(update->record, &record, err) != MERCURE_OK) {
        return MERCURE_STORE;
    }
    history_key(raw, hub->number, update->sequence);
    rc = mdb_put(txn, history->updates, &key, &value, MDB_RESERVE);
    if (rc != 0) {
        return history_result(rc, "appending an update", err);
    }
    out = (bytes_out){value.mv_data, (unsigned char *)value.mv_data + value.mv_size, false};
    bytes_put_number(&out, now_ms, HISTORY_TIME_BYTES);
    bytes_put(&out, update->record.data, update->record.len);
    history_id_key(raw_id, hub->number, record.id);
    history_put_big(sequence, update->sequence, 8);
    key = (MDB_val){sizeof(raw_id), raw_id};
    value = (MDB_val){sizeof(sequence), sequence};
    return history_result(mdb_put(txn, history->ids, &key, &value, 0), "appending an id", err);
}

static mercure_status append_one(mercure_history *history, MDB_txn *txn, history_hub *hub, mercure_append *update,
                                 uint64_t now_ms, size_t *budget, mercure_error *err)
{
    mercure_status status = settle_publications(history, txn, update->publisher, update->floor, err);

    hub->retention = update->retention;
    if (status == MERCURE_OK) {
        status = note_publication(history, txn, update, hub->head + 1, now_ms, err);
    }
    if (status != MERCURE_OK || update->repeated) {
        return status;
    }
    status = put_update(history, txn, hub, update, now_ms, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (kept(hub) == 0) {
        hub->first_time = now_ms;
    }
    hub->head = update->sequence;
    hub->bytes += update->record.len;
    (*budget)++;
    return discard(history, txn, hub, now_ms, budget, err);
}

static mercure_status append_all(mercure_history *history, MDB_txn *txn, mercure_append *updates, size_t count,
                                 uint64_t now_ms, mercure_error *err)
{
    size_t budget = DISCARD_AT_ONCE, i;

    for (i = 0; i < count; i++) {
        history_hub hub;
        mercure_status status = find_or_create_hub(history, txn, updates[i].hub, &hub, err);
        if (status == MERCURE_OK) {
            status = append_one(history, txn, &hub, &updates[i], now_ms, &budget, err);
        }
        if (status == MERCURE_OK) {
            status = save_hub(history, txn, updates[i].hub, &hub, err);
        }
        if (status != MERCURE_OK) {
            return status == MERCURE_NOT_FOUND ? MERCURE_STORE : status;
        }
    }
    return MERCURE_OK;
}

mercure_status mercure_history_append(mercure_history *history, mercure_append *updates, size_t count, uint64_t now_ms,
                                      mercure_error *err)
{
    mercure_status status;
    MDB_txn *txn;
    int rc = mdb_txn_begin(history->env, NULL, 0, &txn);

    if (rc != 0) {
        return history_result(rc, "starting to append", err);
    }
    status = append_all(history, txn, updates, count, now_ms, err);
    if (status != MERCURE_OK) {
        mdb_txn_abort(txn);
        return status;
    }
    return history_result(mdb_txn_commit(txn), "committing", err);
}

/* Trim one hub, whose name and value the cursor has just given. */
static mercure_status trim_hub(mercure_history *history, MDB_txn *txn, MDB_val name, MDB_val value, uint64_t now_ms,
                               size_t *budget, mercure_error *err)
{
    history_hub hub;
    mercure_status status;

    if (!history_decode_hub(value, &hub)) {
        return mercure_fail(err, MERCURE_STORE, "the history's entry of a hub is damaged");
    }
    if (!over_retention(&hub, now_ms)) {
        return MERCURE_OK;
    }
    status = discard(history, txn, &hub, now_ms, budget, err);
    if (status != MERCURE_OK) {
        return status;
    }
    return save_hub(history, txn, (mercure_str){name.mv_data, name.mv_size}, &hub, err);
}

static mercure_status trim_all(mercure_history *history, MDB_txn *txn, uint64_t now_ms, size_t *budget,
                               mercure_error *err)
{
    MDB_val name, value;
    MDB_cursor *cursor;
    mercure_status status = MERCURE_OK;
    int rc = mdb_cursor_open(txn, history->hubs, &cursor);

    if (rc != 0) {
        return history_result(rc, "trimming", err);
    }
    while (*budget > 0 && status == MERCURE_OK && (rc = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        /* save_hub() may move the page that `name` points into. */
        char copy[511];
        if (name.mv_size > sizeof(copy)) {
            continue;
        }
        memcpy(copy, name.mv_data, name.mv_size);
        name.mv_data = copy;
        status = trim_hub(history, txn, name, value, now_ms, budget, err);
    }
    mdb_cursor_close(cursor);
    if (status == MERCURE_OK && rc != 0 && rc != MDB_NOTFOUND) {
        return history_result(rc, "trimming", err);
    }
    return status;
}

mercure_status mercure_history_trim(mercure_history *history, uint64_t now_ms, bool *more, mercure_error *err)
{
    size_t budget = DISCARD_AT_ONCE;
    mercure_status status;
    MDB_txn *txn;
    int rc = mdb_txn_begin(history->env, NULL, 0, &txn);

    *more = false;
    if (rc != 0) {
        return history_result(rc, "starting to trim", err);
    }
    status = trim_all(history, txn, now_ms, &budget, err);
    if (status != MERCURE_OK || budget == DISCARD_AT_ONCE) {
        mdb_txn_abort(txn);
        return status;
    }
    *more = budget == 0;
    return history_result(mdb_txn_commit(txn), "committing a trim", err);
}

static mercure_status forget_publications(mercure_history *history, MDB_txn *txn, uint64_t before_ms, size_t *budget,
                                          mercure_error *err)
{
    MDB_val key, value;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, history->publications, &cursor);

    if (rc != 0) {
        return history_result(rc, "tidying", err);
    }
    while (*budget > 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        bytes_in in = bytes_reader((mercure_str){value.mv_data, value.mv_size});
        bytes_get_number(&in, 8);
        if (bytes_get_number(&in, 8) >= before_ms) {
            continue;
        }
        rc = mdb_cursor_del(cursor, 0);
        if (rc != 0) {
            break;
        }
        (*budget)--;
    }
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? MERCURE_OK : history_result(rc, "tidying", err);
}

mercure_status mercure_history_tidy(mercure_history *history, uint64_t now_ms, uint64_t seconds, mercure_error *err)
{
    uint64_t age = seconds < now_ms / 1000 ? seconds * 1000 : now_ms;
    size_t budget = DISCARD_AT_ONCE;
    mercure_status status;
    MDB_txn *txn;
    int dead, rc = mdb_reader_check(history->env, &dead);

    if (rc == 0) {
        rc = mdb_txn_begin(history->env, NULL, 0, &txn);
    }
    if (rc != 0) {
        return history_result(rc, "tidying", err);
    }
    status = forget_publications(history, txn, now_ms - age, &budget, err);
    if (status != MERCURE_OK || budget == DISCARD_AT_ONCE) {
        mdb_txn_abort(txn);
        return status;
    }
    return history_result(mdb_txn_commit(txn), "committing a tidy-up", err);
}

mercure_status mercure_history_sync(mercure_history *history, mercure_error *err)
{
    return history_result(mdb_env_sync(history->env, 1), "writing to the disk", err);
}
