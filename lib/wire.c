/* wire.c - see wire.h. */
#include "mercure/wire.h"

#include <openssl/rand.h>

#include "bytes.h"

#define WIRE_PUBLICATION 1
#define WIRE_DELIVERY    2

bool mercure_peer_id_make(mercure_peer_id *id)
{
    if (RAND_bytes(id->bytes, sizeof(id->bytes)) != 1) {
        return false;
    }
    id->bytes[0] |= 1;
    return true;
}

static bytes_out begin(unsigned char *out, unsigned type)
{
    bytes_out to = {out, out + MERCURE_WIRE_MAX, false};

    bytes_put(&to, "MB", 2);
    bytes_put_number(&to, MERCURE_WIRE_VERSION, 1);
    bytes_put_number(&to, type, 1);
    return to;
}

static size_t finish(const bytes_out *to, const unsigned char *out)
{
    return (size_t)(to->at - out);
}

static void put_str(bytes_out *to, mercure_str text)
{
    bytes_put_number(to, text.len, 2);
    bytes_put(to, text.data, text.len);
}

/* The type of a frame of our version, 0 for anything else. */
static unsigned open_frame(mercure_str frame, bytes_in *in)
{
    mercure_str magic;
    uint64_t version, type;

    *in = bytes_reader(frame);
    magic = bytes_get(in, 2);
    version = bytes_get_number(in, 1);
    type = bytes_get_number(in, 1);
    if (in->short_of || memcmp(magic.data, "MB", 2) != 0 || version != MERCURE_WIRE_VERSION) {
        return 0;
    }
    return (unsigned)type;
}

static bool all_read(const bytes_in *in)
{
    return !in->short_of && in->at == in->end;
}

static mercure_str get_str(bytes_in *in)
{
    return bytes_get(in, bytes_get_number(in, 2));
}

static bool get_hub(bytes_in *in, mercure_str *hub)
{
    *hub = get_str(in);
    return hub->len > 0 && hub->len <= MERCURE_MAX_HUB_NAME;
}

static void get_peer(bytes_in *in, mercure_peer_id *peer)
{
    mercure_str raw = bytes_get(in, sizeof(peer->bytes));

    if (raw.len == sizeof(peer->bytes)) {
        memcpy(peer->bytes, raw.data, sizeof(peer->bytes));
    }
}

size_t mercure_wire_put_publication(const mercure_wire_publication *publication, unsigned char *out)
{
    bytes_out to = begin(out, WIRE_PUBLICATION);

    bytes_put(&to, publication->child.bytes, sizeof(publication->child.bytes));
    bytes_put_number(&to, publication->number, 8);
    bytes_put_number(&to, publication->floor, 8);
    bytes_put_number(&to, publication->retention.events, 8);
    bytes_put_number(&to, publication->retention.seconds, 8);
    bytes_put_number(&to, publication->retention.bytes, 8);
    put_str(&to, publication->hub);
    return finish(&to, out);
}

bool mercure_wire_get_publication(mercure_str frame, mercure_wire_publication *publication)
{
    bytes_in in;

    if (open_frame(frame, &in) != WIRE_PUBLICATION) {
        return false;
    }
    get_peer(&in, &publication->child);
    publication->number = bytes_get_number(&in, 8);
    publication->floor = bytes_get_number(&in, 8);
    publication->retention.events = bytes_get_number(&in, 8);
    publication->retention.seconds = bytes_get_number(&in, 8);
    publication->retention.bytes = bytes_get_number(&in, 8);
    return get_hub(&in, &publication->hub) && all_read(&in);
}

size_t mercure_wire_put_delivery(const mercure_wire_delivery *delivery, unsigned char *out)
{
    bytes_out to = begin(out, WIRE_DELIVERY);

    bytes_put_number(&to, delivery->session, 8);
    bytes_put_number(&to, delivery->number, 8);
    bytes_put_number(&to, delivery->sequence, 8);
    put_str(&to, delivery->hub);
    return finish(&to, out);
}

bool mercure_wire_get_delivery(mercure_str frame, mercure_wire_delivery *delivery)
{
    bytes_in in;

    if (open_frame(frame, &in) != WIRE_DELIVERY) {
        return false;
    }
    delivery->session = bytes_get_number(&in, 8);
    delivery->number = bytes_get_number(&in, 8);
    delivery->sequence = bytes_get_number(&in, 8);
    return get_hub(&in, &delivery->hub) && all_read(&in);
}

/* Which fields a type of control message has: one table for both directions. */
#define HAS_PEER    1u
#define HAS_MATCHER 2u /* the hub and the matcher */
#define HAS_NUMBER  4u
#define HAS_STATUS  8u
#define HAS_NONCE   16u
#define HAS_URL     32u

static unsigned fields_of(unsigned type)
{
    switch (type) {
    case MERCURE_WIRE_HELLO:
    case MERCURE_WIRE_WELCOME:
        return HAS_PEER | HAS_NUMBER;
    case MERCURE_WIRE_REGISTER:
        return HAS_MATCHER | HAS_NONCE;
    case MERCURE_WIRE_UNREGISTER:
        return HAS_MATCHER;
    case MERCURE_WIRE_REGISTERED:
        return HAS_MATCHER | HAS_NUMBER | HAS_STATUS | HAS_NONCE;
    case MERCURE_WIRE_ACKNOWLEDGE:
        return HAS_NUMBER | HAS_STATUS;
    case MERCURE_WIRE_PING:
    case MERCURE_WIRE_PONG:
        return HAS_NUMBER;
    case MERCURE_WIRE_KEYS_WANTED:
    case MERCURE_WIRE_KEYS_LACKING:
    case MERCURE_WIRE_KEYS_FETCHED:
        return HAS_URL;
    default: /* UNKNOWN and BYE have none */
        return 0;
    }
}

size_t mercure_wire_put_control(const mercure_wire_control *control, unsigned char *out)
{
    unsigned fields = fields_of(control->type);
    bytes_out to = begin(out, control->type);

    if (fields & HAS_PEER) {
        bytes_put(&to, control->peer.bytes, sizeof(control->peer.bytes));
    }
    if (fields & HAS_MATCHER) {
        put_str(&to, control->hub);
        bytes_put_number(&to, control->matcher.kind, 1);
        put_str(&to, control->matcher.pattern);
        put_str(&to, control->matcher.base);
    }
    if (fields & HAS_NUMBER) {
        bytes_put_number(&to, control->number, 8);
    }
    if (fields & HAS_STATUS) {
        bytes_put_number(&to, control->status, 1);
    }
    if (fields & HAS_NONCE) {
        bytes_put_number(&to, control->nonce, 8);
    }
    if (fields & HAS_URL) {
        put_str(&to, control->url);
    }
    return finish(&to, out);
}

static bool get_matcher(bytes_in *in, mercure_matcher_key *matcher)
{
    matcher->kind = (mercure_match_kind)bytes_get_number(in, 1);
    matcher->pattern = get_str(in);
    matcher->base = get_str(in);
    if (matcher->pattern.len == 0 || matcher->pattern.len > MERCURE_MAX_VALUE) {
        return false;
    }
    switch (matcher->kind) {
    case MERCURE_MATCH_ALL:
    case MERCURE_MATCH_EXACT:
    case MERCURE_MATCH_URITEMPLATE:
        return matcher->base.len == 0;
    case MERCURE_MATCH_URLPATTERN:
        return matcher->base.len <= MERCURE_MAX_BASE;
    }
    return false;
}

bool mercure_wire_get_control(mercure_str frame, mercure_wire_control *control)
{
    bytes_in in;
    unsigned type = open_frame(frame, &in), fields;

    *control = (mercure_wire_control){.type = MERCURE_WIRE_HELLO};
    if (type < MERCURE_WIRE_HELLO || type > MERCURE_WIRE_KEYS_FETCHED) {
        return false;
    }
    control->type = (mercure_wire_type)type;
    fields = fields_of(type);
    if (fields & HAS_PEER) {
        get_peer(&in, &control->peer);
    }
    if ((fields & HAS_MATCHER) && (!get_hub(&in, &control->hub) || !get_matcher(&in, &control->matcher))) {
        return false;
    }
    if (fields & HAS_NUMBER) {
        control->number = bytes_get_number(&in, 8);
    }
    if (fields & HAS_STATUS) {
        control->status = (mercure_status)bytes_get_number(&in, 1);
        if (control->status > MERCURE_SYSTEM) {
            return false;
        }
    }
    if (fields & HAS_NONCE) {
        control->nonce = bytes_get_number(&in, 8);
    }
    if (fields & HAS_URL) {
        control->url = get_str(&in);
        if (control->url.len == 0 || control->url.len > MERCURE_KEY_URL_MAX) {
            return false;
        }
    }
    return all_read(&in);
}
