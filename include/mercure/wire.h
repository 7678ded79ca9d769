/* wire.h - what httpd's children and brokerd say to each other over ZeroMQ.
 *
 * Three Unix sockets in a directory of mode 0700:
 *   publish   child PUB -> broker SUB       [publication header] [record]
 *   deliver   broker PUB -> child SUB       [child id] [delivery header] [record, or nothing: the hub's head]
 *   control   child DEALER <-> broker ROUTER  [control message]
 * A bracket is one frame. The child's id is 16 bytes, also its ZeroMQ routing id and its subscription prefix. Records
 * are those of update.h.
 *
 * Every header begins "MB", a version, a type; a receiver checks all lengths and drops what it does not understand.
 * Integers are little-endian.
 */
#ifndef MERCURE_WIRE_H
#define MERCURE_WIRE_H

#include <stdint.h>

#include "mercure/error.h"
#include "mercure/history.h"
#include "mercure/key_url.h"
#include "mercure/limits.h"
#include "mercure/matcher.h"
#include "mercure/str.h"

#define MERCURE_WIRE_VERSION 2
#define MERCURE_PEER_ID      16

/* A header or control message is never larger than this. */
#define MERCURE_WIRE_MAX (MERCURE_MAX_VALUE + MERCURE_MAX_BASE + MERCURE_MAX_HUB_NAME + 64)

#define MERCURE_SOCKET_PUBLISH "publish.sock"
#define MERCURE_SOCKET_DELIVER "deliver.sock"
#define MERCURE_SOCKET_CONTROL "control.sock"

typedef struct {
    unsigned char bytes[MERCURE_PEER_ID];
} mercure_peer_id;

/* A fresh random id. Its first byte is never 0, which ZeroMQ keeps for itself. Returns false without random bytes. */
bool mercure_peer_id_make(mercure_peer_id *id);

/* The header of a publication.
 *
 * `number` counts a child's publications. The child may send the same one again until it hears the acknowledgement;
 * all numbers below `floor` are settled and need no memory.
 */
typedef struct {
    mercure_peer_id child;
    uint64_t number;
    uint64_t floor;
    mercure_str hub;
    mercure_retention retention;
} mercure_wire_publication;

/* The header of a delivery. `number` counts the deliveries to one child since it said HELLO with `session`: a gap says
 * that something was lost.
 */
typedef struct {
    uint64_t session;
    uint64_t number;
    uint64_t sequence; /* the update's, in its hub */
    mercure_str hub;
} mercure_wire_delivery;

typedef enum {
    MERCURE_WIRE_HELLO = 10,  /* child: I am here, count from 1; `number` is the session, another one each time */
    MERCURE_WIRE_WELCOME,     /* broker: `peer` is my id, `number` your session; register now what you want */
    MERCURE_WIRE_REGISTER,    /* child: `hub`, `matcher`: from now on I want these; `nonce` is any number */
    MERCURE_WIRE_REGISTERED,  /* broker: the same, and `number`, the hub's newest sequence that was not forwarded; with
                                 another `status` than OK it is not registered, and will not be */
    MERCURE_WIRE_UNREGISTER,  /* child: no longer */
    MERCURE_WIRE_ACKNOWLEDGE, /* broker: publication `number` ended with `status` */
    MERCURE_WIRE_PING,        /* child: `number` deliveries have arrived */
    MERCURE_WIRE_PONG,        /* broker: `number` deliveries were sent */
    MERCURE_WIRE_UNKNOWN,     /* broker: I do not know you, say HELLO */
    MERCURE_WIRE_BYE,         /* child: I am leaving */

    MERCURE_WIRE_KEYS_WANTED,  /* child: I use the key set at `url`, keep it fresh; said again every few minutes */
    MERCURE_WIRE_KEYS_LACKING, /* child: a token names a key that the set at `url` lacks, or I have no set */
    MERCURE_WIRE_KEYS_FETCHED  /* broker: the file of `url` is as new as it will be for now, look at it */
} mercure_wire_type;

/* A control message. Fields that a type does not name are not sent; the decoder makes them 0. */
typedef struct {
    mercure_wire_type type;
    mercure_peer_id peer;
    mercure_str hub;
    mercure_matcher_key matcher;
    uint64_t number;
    uint64_t nonce;
    mercure_status status;
    mercure_str url;
} mercure_wire_control;

/* The encoders write to `out`, which has MERCURE_WIRE_MAX bytes, and return the length. */
size_t mercure_wire_put_publication(const mercure_wire_publication *publication, unsigned char *out);
size_t mercure_wire_put_delivery(const mercure_wire_delivery *delivery, unsigned char *out);
size_t mercure_wire_put_control(const mercure_wire_control *control, unsigned char *out);

/* The decoders return false for anything malformed or of another version. Strings are borrowed from `frame`. */
bool mercure_wire_get_publication(mercure_str frame, mercure_wire_publication *publication);
bool mercure_wire_get_delivery(mercure_str frame, mercure_wire_delivery *delivery);
bool mercure_wire_get_control(mercure_str frame, mercure_wire_control *control);

#endif
