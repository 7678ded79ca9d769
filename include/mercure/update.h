/* update.h - an update: what a publisher sends (PROTOCOL 4), and the one form in which it travels and is stored.
 *
 * The child of httpd that accepts a publication turns it into a *record* once: topics, id, the private mark, and the
 * finished SSE event. From then on the same bytes go to brokerd, into the history and to every subscriber; nobody
 * serialises an update again.
 *
 * A record, integers little-endian:
 *   u8 version (1) | u8 flags (1: private, 2: has targets) | u16 topics | u32 id length | u32 event length
 *   topics x (u16 length | bytes) | id | event
 *   with targets: each (u16 length | bytes), to the record's end
 */
#ifndef MERCURE_UPDATE_H
#define MERCURE_UPDATE_H

#include <apr_pools.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/form.h"
#include "mercure/str.h"
#include "mercure/topic.h"

/* What a publication says. The strings are borrowed from the form. */
typedef struct {
    const mercure_str *topics; /* the canonical topic first */
    size_t topic_count;
    mercure_str data;
    mercure_str id;    /* empty length: none was given */
    mercure_str type;  /* empty length: none */
    mercure_str retry; /* ASCII digits; empty length: none */
    bool is_private;
    const mercure_str *targets; /* an update with targets is private to those who may read one of them (PROTOCOL 11) */
    size_t target_count;
} mercure_update;

/* Read a publication from a form, keeping every rule of PROTOCOL 4 about its fields.
 *
 * pool   where the array of topics is allocated
 * hub    the hub's public URL: topics that address its path are refused
 * with_targets   does a field `target` mean something (PROTOCOL 11)?
 *
 * Returns MERCURE_OK; MERCURE_INVALID (answer 400) or MERCURE_LIMIT (answer 413) with the reason in `err`.
 */
mercure_status mercure_update_from_form(apr_pool_t *pool, mercure_form *form, const mercure_url *hub, bool with_targets,
                                        mercure_update *update, mercure_error *err);

/* A new event id: "urn:uuid:" and a random UUID (version 4), so that ids tell nothing about order or time.
 * Returns false when the system gives no random bytes.
 */
#define MERCURE_ID_LENGTH 45
bool mercure_id_make(char id[MERCURE_ID_LENGTH + 1]);

/* Encode an update, which has an id by now, as a record in `pool`. */
mercure_str mercure_update_encode(apr_pool_t *pool, const mercure_update *update);

/* A view into a record's bytes, which must outlive it. */
typedef struct {
    bool is_private;
    uint16_t topic_count;
    mercure_str topics; /* encoded; walk them with mercure_record_topic() */
    mercure_str id;
    mercure_str event;   /* the SSE event, final blank line included */
    mercure_str targets; /* encoded; empty: none; walk them with mercure_record_target() */
} mercure_record;

/* Check every length of a record and point into it. Returns MERCURE_OK or MERCURE_INVALID. */
mercure_status mercure_record_parse(mercure_str bytes, mercure_record *record, mercure_error *err);

/* The next topic; `at` begins as 0. Returns false after the last one. */
bool mercure_record_topic(const mercure_record *record, size_t *at, mercure_str *topic);

bool mercure_record_target(const mercure_record *record, size_t *at, mercure_str *target);

/* All topics, ready to be asked about by matchers: record->topic_count of them, in `pool`, for one thread. */
mercure_topic *mercure_record_topics(apr_pool_t *pool, const mercure_record *record);

#endif
