/* fuzz_url.c - input: a base URL (empty: none), a newline, a URL. */
#include "mercure/url.h"

#include "fuzz.h"

typedef mercure_status canonicaliser(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                     mercure_error *err);

/* Of each, a canonical form must be its own canonical form. */
static canonicaliser *const canonicalisers[] = {
    mercure_url_canonicalise_protocol,        mercure_url_canonicalise_username,      mercure_url_canonicalise_password,
    mercure_url_canonicalise_hostname,        mercure_url_canonicalise_ipv6_hostname, mercure_url_canonicalise_pathname,
    mercure_url_canonicalise_opaque_pathname, mercure_url_canonicalise_search,        mercure_url_canonicalise_hash,
};

static apr_pool_t *pool;

/* A URL's serialisation parses, and serialises the same. */
static void check_serialisation(const mercure_url *url)
{
    const char *text = mercure_url_serialise(pool, url);
    mercure_url *again = NULL;

    FUZZ_CHECK(mercure_url_parse(pool, text, strlen(text), NULL, &again, NULL) == MERCURE_OK);
    FUZZ_CHECK(strcmp(mercure_url_serialise(pool, again), text) == 0);
    FUZZ_CHECK(strcmp(mercure_url_origin(pool, again), mercure_url_origin(pool, url)) == 0);
    for (; *text != '\0'; text++) {
        FUZZ_CHECK((unsigned char)*text < 0x80);
    }
}

static void call_getters(const mercure_url *url)
{
    FUZZ_CHECK(strlen(url->path) == url->path_len);
    FUZZ_CHECK(mercure_url_protocol(pool, url) != NULL);
    FUZZ_CHECK(mercure_url_host(pool, url) != NULL);
    FUZZ_CHECK(mercure_url_hostname(pool, url) != NULL);
    FUZZ_CHECK(mercure_url_port(pool, url) != NULL);
    FUZZ_CHECK(mercure_url_search(pool, url) != NULL);
    FUZZ_CHECK(mercure_url_hash(pool, url) != NULL);
}

static void check_canonical_forms(mercure_str text)
{
    const char *once, *twice;

    for (size_t i = 0; i < sizeof(canonicalisers) / sizeof(canonicalisers[0]); i++) {
        if (canonicalisers[i](pool, text.data, text.len, &once, NULL) == MERCURE_OK) {
            FUZZ_CHECK(text.len > 0 || *once == '\0');
            FUZZ_CHECK(canonicalisers[i](pool, once, strlen(once), &twice, NULL) == MERCURE_OK);
            FUZZ_CHECK(strcmp(once, twice) == 0);
        }
    }
    if (mercure_url_canonicalise_port(pool, text.data, text.len, "https", &once, NULL) == MERCURE_OK) {
        FUZZ_CHECK(strspn(once, "0123456789") == strlen(once));
        FUZZ_CHECK(strcmp(once, "443") != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char path[] = "/.well-known/mercure";
    mercure_str base_text, text;
    mercure_url *base = NULL, *url = NULL;
    mercure_error err;
    char *exact;

    if (pool == NULL) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    fuzz_split(data, size, &base_text, &text);
    exact = fuzz_exact(text);
    text.data = exact;
    if (base_text.len > 0 && mercure_url_parse(pool, base_text.data, base_text.len, NULL, &base, &err) == MERCURE_OK) {
        check_serialisation(base);
    }
    if (mercure_url_parse(pool, text.data, text.len, base, &url, &err) == MERCURE_OK) {
        call_getters(url);
        check_serialisation(url);
    } else {
        FUZZ_CHECK(!mercure_url_addresses_path(pool, text.data, text.len, base, path));
    }
    if (mercure_url_addresses_path(pool, text.data, text.len, base, path)) {
        const char *resolved = mercure_url_serialise(pool, url);
        FUZZ_CHECK(mercure_url_addresses_path(pool, resolved, strlen(resolved), NULL, path));
    }
    check_canonical_forms(text);
    free(exact);
    apr_pool_clear(pool);
    return 0;
}
