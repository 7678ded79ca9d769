/* token_cache.c - see token_cache.h. Entries live in a ring, whose oldest is replaced; a hash table finds them. */
#include "token_cache.h"

#include <apr_hash.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct {
    unsigned char digest[TOKEN_DIGEST];
    mercure_grants *grants; /* NULL: empty */
} entry;

struct token_cache {
    pthread_mutex_t lock;
    apr_pool_t *pool;
    apr_hash_t *found; /* digest -> entry */
    size_t size, next;
    entry ring[];
};

token_cache *token_cache_create(size_t size)
{
    token_cache *cache = calloc(1, sizeof(*cache) + size * sizeof(entry));

    if (cache == NULL || apr_pool_create_unmanaged_ex(&cache->pool, NULL, NULL) != APR_SUCCESS) {
        free(cache);
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->found = apr_hash_make(cache->pool); /* digests cannot be made to collide */
    cache->size = size;
    return cache;
}

void token_cache_free(token_cache *cache)
{
    size_t i;

    if (cache == NULL) {
        return;
    }
    for (i = 0; i < cache->size; i++) {
        mercure_grants_release(cache->ring[i].grants);
    }
    apr_pool_destroy(cache->pool);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static void add_string(EVP_MD_CTX *digest, const char *text, size_t len)
{
    EVP_DigestUpdate(digest, &len, sizeof(len));
    EVP_DigestUpdate(digest, text, len);
}

bool token_cache_digest(mercure_str token, const mercure_trust *trust, unsigned role, unsigned char out[TOKEN_DIGEST])
{
    static const unsigned char no_key[MERCURE_FINGERPRINT];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool done;
    size_t i;

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return false;
    }
    add_string(digest, token.data, token.len);
    add_string(digest, trust->audience, strlen(trust->audience));
    if (trust->base != NULL) {
        mercure_str base = mercure_base_text(trust->base);
        add_string(digest, base.data, base.len);
    }
    EVP_DigestUpdate(digest, &role, sizeof(role));
    EVP_DigestUpdate(digest, &trust->dialects, sizeof(trust->dialects));
    for (i = 0; i < trust->issuer_count; i++) {
        const mercure_issuer *issuer = &trust->issuers[i];
        add_string(digest, issuer->iss, strlen(issuer->iss));
        EVP_DigestUpdate(digest, &issuer->roles, sizeof(issuer->roles));
        EVP_DigestUpdate(digest, &issuer->algorithms, sizeof(issuer->algorithms));
        if (issuer->key != NULL) {
            EVP_DigestUpdate(digest, mercure_key_fingerprint(issuer->key), MERCURE_FINGERPRINT);
        } else {
            EVP_DigestUpdate(digest, no_key, sizeof(no_key));
        }
    }
    done = EVP_DigestFinal_ex(digest, out, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done;
}

static void forget(token_cache *cache, entry *e)
{
    apr_hash_set(cache->found, e->digest, TOKEN_DIGEST, NULL);
    mercure_grants_release(e->grants);
    e->grants = NULL;
}

mercure_grants *token_cache_find(token_cache *cache, const unsigned char digest[TOKEN_DIGEST], int64_t now)
{
    mercure_grants *grants = NULL;
    entry *e;

    pthread_mutex_lock(&cache->lock);
    e = apr_hash_get(cache->found, digest, TOKEN_DIGEST);
    if (e != NULL && mercure_grants_expires(e->grants) <= now) {
        forget(cache, e);
    } else if (e != NULL) {
        grants = mercure_grants_hold(e->grants);
    }
    pthread_mutex_unlock(&cache->lock);
    return grants;
}

void token_cache_add(token_cache *cache, const unsigned char digest[TOKEN_DIGEST], mercure_grants *grants)
{
    entry *e;

    pthread_mutex_lock(&cache->lock);
    if (apr_hash_get(cache->found, digest, TOKEN_DIGEST) == NULL) {
        e = &cache->ring[cache->next++ % cache->size];
        if (e->grants != NULL) {
            forget(cache, e);
        }
        memcpy(e->digest, digest, TOKEN_DIGEST);
        e->grants = mercure_grants_hold(grants);
        apr_hash_set(cache->found, e->digest, TOKEN_DIGEST, e);
    }
    pthread_mutex_unlock(&cache->lock);
}
