/* bytes.h - little-endian integers and length-checked reading, for the encodings of update.h, wire.h and the history.
 * Private to lib/.
 */
#ifndef MERCURE_BYTES_H
#define MERCURE_BYTES_H

#include <stdint.h>

#include "mercure/str.h"

/* A place to write to. Past the end nothing is written and `overflow` stays set. */
typedef struct {
    unsigned char *at;
    unsigned char *end;
    bool overflow;
} bytes_out;

/* A place to read from. Past the end zeros are read and `short_of` stays set: check it once, at the end. */
typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    bool short_of;
} bytes_in;

static inline void bytes_put(bytes_out *out, const void *data, size_t len)
{
    if (out->overflow || (size_t)(out->end - out->at) < len) {
        out->overflow = true;
        return;
    }
    if (len > 0) {
        memcpy(out->at, data, len);
    }
    out->at += len;
}

static inline void bytes_put_number(bytes_out *out, uint64_t number, size_t width)
{
    unsigned char raw[8];
    size_t i;

    for (i = 0; i < width; i++) {
        raw[i] = (unsigned char)(number >> (8 * i));
    }
    bytes_put(out, raw, width);
}

static inline mercure_str bytes_get(bytes_in *in, size_t len)
{
    mercure_str piece = {"", 0};

    if (in->short_of || (size_t)(in->end - in->at) < len) {
        in->short_of = true;
        return piece;
    }
    piece.data = (const char *)in->at;
    piece.len = len;
    in->at += len;
    return piece;
}

static inline uint64_t bytes_get_number(bytes_in *in, size_t width)
{
    mercure_str raw = bytes_get(in, width);
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < raw.len; i++) {
        number |= (uint64_t)(unsigned char)raw.data[i] << (8 * i);
    }
    return number;
}

static inline bytes_in bytes_reader(mercure_str from)
{
    const unsigned char *start = (const unsigned char *)from.data;
    return (bytes_in){start, start + from.len, false};
}

#endif
