/* hash.c - see hash.h. The key is the one static of the library: it is written once, before the first use. */
#include "mercure/hash.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static uint64_t key[2];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void draw_key(void)
{
    /* Without random bytes nothing safe can run: the tables would be open to chosen collisions. */
    if (RAND_bytes((unsigned char *)key, sizeof(key)) != 1) {
        abort();
    }
}

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

uint64_t mercure_hash64(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t v[4], last = (uint64_t)len << 56;
    size_t i, whole = len & ~(size_t)7;

    pthread_once(&key_once, draw_key);
    v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
    v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
    v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
    v[3] = key[1] ^ UINT64_C(0x7465646279746573);
    for (i = 0; i < whole; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    for (i = whole; i < len; i++) {
        last |= (uint64_t)p[i] << (8 * (i - whole));
    }
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

unsigned int mercure_hash_apr(const char *text, apr_ssize_t *len)
{
    if (*len == APR_HASH_KEY_STRING) {
        *len = (apr_ssize_t)strlen(text);
    }
    return (unsigned int)mercure_hash64(text, (size_t)*len);
}
