/* token.c - what a token costs, alone: one that was seen before, and a new one (signature, claims, and compiling what
 * it grants), for one algorithm of each kind; and how the grants' size counts.
 *
 *   build/bench-token [milliseconds for each figure]
 *   build/bench-token make COUNT ISS HUB ALGORITHM KEYFILE
 *
 * The second form prints so many tokens that publish everywhere, one a line, for bench-load's --token-file.
 */
#include <apr_general.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../mod_mercure/token_cache.h"
#include "mercure/token_sign.h"

#define ISS    "https://bench.example"
#define HUB    "https://bench.example/.well-known/mercure"
#define DETAIL "https://mercure.rocks/authorization-detail"
#define SECRET "a-secret-of-the-benchmark-only-32-bytes"
#define TOKENS 64   /* different ones, by turns */
#define CACHED 4096 /* as many as a child of httpd keeps */

static apr_pool_t *pool;
static mercure_base *base;
static double wanted = 0.5; /* seconds for each figure */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return memory;
}

static void check(mercure_status status, const mercure_error *err)
{
    if (status != MERCURE_OK) {
        fprintf(stderr, "%s\n", err->reason);
        exit(1);
    }
}

static EVP_PKEY *generate(const char *algorithm)
{
    if (algorithm[0] == 'H') {
        return NULL;
    }
    return must(algorithm[0] == 'E' && algorithm[1] == 'S' ? EVP_EC_gen("P-256")
                : algorithm[0] == 'E'                      ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                                           : EVP_RSA_gen(2048));
}

static mercure_signing_key *make_key(const char *algorithm)
{
    EVP_PKEY *private_key = generate(algorithm);
    mercure_str bytes = mercure_str_of(SECRET);
    BIO *bio = must(BIO_new(BIO_s_mem()));
    mercure_signing_key *key;
    mercure_error err;

    if (private_key != NULL) {
        char *pem;
        PEM_write_bio_PrivateKey(bio, private_key, NULL, NULL, 0, NULL, NULL);
        bytes.len = (size_t)BIO_get_mem_data(bio, &pem);
        bytes.data = pem;
    }
    check(mercure_signing_key_make(bytes, mercure_str_of(algorithm), &key, &err), &err);
    BIO_free(bio);
    EVP_PKEY_free(private_key);
    return key;
}

/* Claims as mercurectl makes them, that grant publish on `many` topics: exact ones, or URL Patterns. */
static json_t *make_claims(size_t many, bool patterns, size_t number)
{
    json_t *topics = json_array();
    char text[100];
    size_t i;

    for (i = 0; i < many; i++) {
        snprintf(text, sizeof(text),
                 patterns ? "https://bench.example/users/%zu/:what" : "https://bench.example/topic/%zu", i);
        json_array_append_new(topics, patterns ? json_pack("{s:s, s:s}", "match", text, "match_type", "urlpattern")
                                               : json_pack("{s:s}", "match", text));
    }
    snprintf(text, sizeof(text), "urn:uuid:00000000-0000-4000-8000-%012zu", number);
    return must(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:[{s:s, s:[s], s:o}]}", "iss", ISS, "aud", HUB, "sub",
                          "bench", "client_id", "bench", "iat", (json_int_t)time(NULL), "exp",
                          (json_int_t)time(NULL) + 86400, "jti", text, "authorization_details", "type", DETAIL,
                          "actions", "publish", "topics", topics));
}

/* --- what is measured, once for a token --- */

typedef struct {
    const mercure_signing_key *key;
    mercure_trust trust;
    token_cache *cache;
    json_t *claims;
    char *tokens[TOKENS];
} bench;

static void sign(bench *b, size_t number)
{
    mercure_error err;
    char *token;

    (void)number;
    check(mercure_token_sign(b->key, "at+jwt", NULL, b->claims, &token, &err), &err);
    free(token);
}

static void verify(bench *b, size_t number)
{
    mercure_grants *grants;
    mercure_error err;

    check(mercure_token_verify(mercure_str_of(b->tokens[number]), &b->trust, MERCURE_ROLE_PUBLISHER, time(NULL),
                               &grants, &err),
          &err);
    mercure_grants_release(grants);
}

static void compile(bench *b, size_t number)
{
    mercure_grants *grants;
    mercure_error err;

    (void)number;
    check(mercure_grants_make(b->claims, b->trust.base, INT64_MAX, &grants, &err), &err);
    mercure_grants_release(grants);
}

static void find(bench *b, size_t number)
{
    unsigned char digest[TOKEN_DIGEST];
    mercure_grants *grants = NULL;

    if (token_cache_digest(mercure_str_of(b->tokens[number]), &b->trust, MERCURE_ROLE_PUBLISHER, digest)) {
        grants = token_cache_find(b->cache, digest, time(NULL));
    }
    mercure_grants_release(must(grants));
}

/* Microseconds of CPU time for one. */
static double measure(void (*work)(bench *, size_t), bench *b)
{
    size_t done = 0, i;
    double start = now(), spent;

    do {
        for (i = 0; i < TOKENS; i++) {
            work(b, i);
        }
        done += TOKENS;
        spent = now() - start;
    } while (spent < wanted);
    return spent / (double)done * 1e6;
}

/* --- the tables --- */

static void remember(bench *b, size_t number)
{
    unsigned char digest[TOKEN_DIGEST];
    mercure_grants *grants;
    mercure_error err;

    check(mercure_token_verify(mercure_str_of(b->tokens[number]), &b->trust, MERCURE_ROLE_PUBLISHER, time(NULL),
                               &grants, &err),
          &err);
    if (token_cache_digest(mercure_str_of(b->tokens[number]), &b->trust, MERCURE_ROLE_PUBLISHER, digest)) {
        token_cache_add(b->cache, digest, grants);
    }
    mercure_grants_release(grants);
}

static void row(const char *title, const char *algorithm, size_t many, bool patterns)
{
    mercure_signing_key *key = make_key(algorithm);
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(mercure_signing_key_algorithm(key)),
                             NULL};
    bench b = {.key = key, .trust = {&issuer, 1, HUB, base, 0}, .cache = must(token_cache_create(CACHED))};
    mercure_key *verifier;
    mercure_error err;
    size_t i;

    check(mercure_signing_key_verifier(key, &verifier, &err), &err);
    issuer.key = verifier;
    for (i = 0; i < TOKENS; i++) {
        json_t *claims = make_claims(many, patterns, i);
        check(mercure_token_sign(key, "at+jwt", NULL, claims, &b.tokens[i], &err), &err);
        json_decref(claims);
        remember(&b, i);
    }
    b.claims = make_claims(many, patterns, 0);
    printf("| %s | %zu | %.2f us | %.1f us | %.1f us | %.1f us |\n", title, strlen(b.tokens[0]), measure(find, &b),
           measure(verify, &b), measure(compile, &b), measure(sign, &b));
    for (i = 0; i < TOKENS; i++) {
        free(b.tokens[i]);
    }
    json_decref(b.claims);
    token_cache_free(b.cache);
    mercure_key_free(verifier);
    mercure_signing_key_free(key);
}

static void head(const char *first)
{
    printf("| %s | bytes | seen before | new | of which grants | signing it |\n|---|---|---|---|---|---|\n", first);
}

/* --- many tokens --- */

static void print_tokens(size_t count, const char *iss, const char *hub, const char *algorithm, const char *path)
{
    char bytes[65536], *token;
    FILE *file = must(fopen(path, "re"));
    size_t len = fread(bytes, 1, sizeof(bytes), file), i;
    json_t *claims = make_claims(0, false, 0);
    mercure_signing_key *key;
    mercure_error err;

    fclose(file);
    check(mercure_signing_key_make((mercure_str){bytes, len}, mercure_str_of(algorithm), &key, &err), &err);
    json_object_set_new(claims, "iss", json_string(iss));
    json_object_set_new(claims, "aud", json_string(hub));
    json_object_set_new(
        claims, "authorization_details",
        json_pack("[{s:s, s:[s], s:[{s:s}]}]", "type", DETAIL, "actions", "publish", "topics", "match", "*"));
    for (i = 0; i < count; i++) {
        json_object_set_new(claims, "jti", json_integer((json_int_t)i));
        check(mercure_token_sign(key, "at+jwt", NULL, claims, &token, &err), &err);
        puts(token);
        free(token);
    }
    json_decref(claims);
    mercure_signing_key_free(key);
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "make") == 0) {
        print_tokens((size_t)atol(argv[2]), argv[3], argv[4], argv[5], argv[6]);
        return 0;
    }
    if (argc > 1) {
        wanted = atof(argv[1]) / 1000;
    }
    apr_initialize();
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS ||
        mercure_base_make(pool, mercure_str_of(HUB), &base, NULL) != MERCURE_OK) {
        return 1;
    }
    printf(
        "CPU time for one token that grants publish on one topic. The grants are part of what a new token costs.\n\n");
    head("algorithm");
    row("HS256", "HS256", 1, false);
    row("RS256, 2048 bits", "RS256", 1, false);
    row("PS256, 2048 bits", "PS256", 1, false);
    row("ES256", "ES256", 1, false);
    row("EdDSA", "EdDSA", 1, false);
    printf("\nWith HS256, by what is granted:\n\n");
    head("grants");
    row("10 topics", "HS256", 10, false);
    row("100 topics", "HS256", 100, false);
    row("1 URL Pattern", "HS256", 1, true);
    row("10 URL Patterns", "HS256", 10, true);
    row("100 URL Patterns", "HS256", 100, true);
    mercure_base_release(base);
    apr_terminate();
    return 0;
}
