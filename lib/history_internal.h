/* history_internal.h - what the two halves of the history share: its tables and their encodings. Private to lib/.
 *
 *   hubs          name                        -> u32 hub, u64 head, u64 first, u64 bytes, u64 first's time, retention
 *   updates       u32 hub, u64 sequence       -> u64 time in ms, record
 *   ids           u32 hub, 16 bytes of the id's SHA-256 -> u64 sequence, several sorted ones when an id is used again
 *   publications  16 bytes publisher, u64 number -> u64 sequence, u64 time in ms
 *   meta          "format" -> u32; "hubs" -> u32, the last hub number given out
 *
 * Numbers in keys, and the values of `ids`, are big-endian, so that they sort; those in other values little-endian.
 */
#ifndef MERCURE_HISTORY_INTERNAL_H
#define MERCURE_HISTORY_INTERNAL_H

#include <lmdb.h>
#include <sys/stat.h>

#include "mercure/history.h"

#define HISTORY_FORMAT     1
#define HISTORY_KEY        12
#define HISTORY_ID_KEY     20
#define HISTORY_HUB_VALUE  60
#define HISTORY_TIME_BYTES 8

struct mercure_history {
    MDB_env *env;
    MDB_dbi hubs, updates, ids, publications, meta;
    char *data_file;
    struct stat opened; /* the data file as it was opened: see mercure_history_replaced() */
};

typedef struct {
    uint32_t number;
    uint64_t head;       /* newest sequence; 0: none yet */
    uint64_t first;      /* oldest that is kept; head + 1 when none is */
    uint64_t bytes;      /* of the records kept */
    uint64_t first_time; /* when the oldest was stored, in ms */
    mercure_retention retention;
} history_hub;

void history_put_big(unsigned char *out, uint64_t number, size_t width);
uint64_t history_get_big(const unsigned char *in, size_t width);
void history_key(unsigned char key[HISTORY_KEY], uint32_t hub, uint64_t sequence);
void history_id_key(unsigned char key[HISTORY_ID_KEY], uint32_t hub, mercure_str id);

/* Turn an LMDB result into a status: MDB_NOTFOUND is MERCURE_NOT_FOUND, any other failure MERCURE_STORE. */
mercure_status history_result(int rc, const char *doing, mercure_error *err);

mercure_status history_get_hub(mercure_history *history, MDB_txn *txn, mercure_str name, history_hub *hub,
                               mercure_error *err);
bool history_decode_hub(MDB_val value, history_hub *hub);
void history_encode_hub(const history_hub *hub, unsigned char out[HISTORY_HUB_VALUE]);

#endif
