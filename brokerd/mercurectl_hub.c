/* mercurectl_hub.c - the hub that a token is shown to: whom it trusts, by options or by httpd's configuration.
 *
 * httpd's configuration is read line by line, for three directives. Sections, Include, Define and conditions are not
 * understood; what they may change is said.
 */
#include "mercurectl.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <strings.h>

#include "mercure/base.h"
#include "mercure/jwks.h"

#define CONFIG_MAX (4 << 20)

void ctl_hub_init(ctl_hub *hub, apr_pool_t *pool)
{
    *hub = (ctl_hub){.pool = pool,
                     .issuers = apr_array_make(pool, 4, sizeof(mercure_issuer)),
                     .unchecked = apr_array_make(pool, 4, sizeof(const char *))};
}

static apr_status_t free_key(void *key)
{
    mercure_key_free(key);
    return APR_SUCCESS;
}

static mercure_status read_key_set(ctl_hub *hub, const char *text, const char *root, unsigned algorithms,
                                   mercure_key **key, mercure_error *err)
{
    mercure_status status = mercure_jwks_check_algorithms(algorithms, err);
    mercure_str bytes;

    if (status == MERCURE_OK) {
        status = ctl_read_file(hub->pool, ctl_rooted(hub->pool, text, root), MERCURE_JWKS_MAX_BYTES, &bytes, err);
    }
    return status == MERCURE_OK ? mercure_jwks_parse(bytes, key, err) : status;
}

static mercure_status read_key(ctl_hub *hub, const char *text, const char *root, unsigned algorithms, mercure_key **key,
                               mercure_error *err)
{
    mercure_str bytes;
    mercure_status status;

    if (strncmp(text, "jwks:", 5) == 0) {
        return read_key_set(hub, text + 5, root, algorithms, key, err);
    }
    if (strcmp(text, "-") == 0) {
        return mercure_fail(err, MERCURE_INVALID, "- is no key of a MercureIssuer: use file:PATH or env:NAME");
    }
    status = ctl_find_key(hub->pool, text, root, &bytes, err);
    return status == MERCURE_OK ? mercure_key_make(bytes, algorithms, key, err) : status;
}

static bool parse_roles(const char *text, unsigned *roles)
{
    if (strcasecmp(text, "publisher") == 0) {
        *roles = MERCURE_ROLE_PUBLISHER;
    } else if (strcasecmp(text, "subscriber") == 0) {
        *roles = MERCURE_ROLE_SUBSCRIBER;
    } else if (strcasecmp(text, "both") == 0) {
        *roles = MERCURE_ROLE_PUBLISHER | MERCURE_ROLE_SUBSCRIBER;
    } else {
        return false;
    }
    return true;
}

/* Everything but the key, whose text is left in `key`. */
static mercure_status read_issuer(ctl_hub *hub, const char *words, mercure_issuer *issuer, const char **key,
                                  mercure_error *err)
{
    const char *iss = ctl_next_word(hub->pool, &words), *role = ctl_next_word(hub->pool, &words);
    const char *algorithms = ctl_next_word(hub->pool, &words);

    *key = ctl_next_word(hub->pool, &words);
    if (*key == NULL || ctl_next_word(hub->pool, &words) != NULL) {
        return mercure_fail(err, MERCURE_INVALID,
                            "four words are wanted: ISSUER publisher|subscriber|both ALGORITHM[,ALGORITHM] KEY");
    }
    if (!parse_roles(role, &issuer->roles)) {
        return mercure_fail(err, MERCURE_INVALID, "the second word must be publisher, subscriber or both");
    }
    issuer->iss = iss;
    if (mercure_algorithms_parse(mercure_str_of(algorithms), &issuer->algorithms, NULL) != MERCURE_OK) {
        /* What stands there instead may be the key, so it is not quoted. */
        return mercure_fail(err, MERCURE_INVALID, "the third word must be algorithms, such as HS256 or RS256,PS256");
    }
    return MERCURE_OK;
}

static void add_issuer(ctl_hub *hub, const mercure_issuer *issuer, mercure_key *key, const char *unchecked)
{
    APR_ARRAY_PUSH(hub->issuers, mercure_issuer) = *issuer;
    APR_ARRAY_IDX(hub->issuers, hub->issuers->nelts - 1, mercure_issuer).key = key;
    APR_ARRAY_PUSH(hub->unchecked, const char *) = unchecked;
    if (key != NULL) {
        apr_pool_cleanup_register(hub->pool, key, free_key, apr_pool_cleanup_null);
    }
}

/* `forgiving`: a key that cannot be had is noted, and matters only when a token needs it. */
static mercure_status trust(ctl_hub *hub, const char *words, const char *root, bool forgiving, mercure_error *err)
{
    mercure_issuer issuer = {NULL, 0, 0, NULL};
    mercure_key *key = NULL;
    const char *text;
    mercure_status status = read_issuer(hub, words, &issuer, &text, err);

    if (status != MERCURE_OK) {
        return status;
    }
    if (strncmp(text, "jwks:", 5) == 0 && strstr(text, "://") != NULL) {
        status = mercure_jwks_check_algorithms(issuer.algorithms, err);
        if (status == MERCURE_OK) {
            add_issuer(hub, &issuer, NULL, "its keys are at a URL, which is not fetched here");
        }
        return status;
    }
    status = read_key(hub, text, root, issuer.algorithms, &key, err);
    if (status == MERCURE_OK) {
        add_issuer(hub, &issuer, key, NULL);
    } else if (forgiving) {
        add_issuer(hub, &issuer, NULL, apr_pstrdup(hub->pool, err->reason));
        status = MERCURE_OK;
    }
    return status;
}

mercure_status ctl_hub_trust(ctl_hub *hub, const char *words, mercure_error *err)
{
    return trust(hub, words, NULL, false, err);
}

/* --- httpd's configuration --- */

typedef struct {
    ctl_hub *hub;
    const char *path, *root;
    char *next;
    int number;          /* of the line read last */
    int section;         /* counts the beginnings and ends of sections */
    int issuers_section; /* where the first MercureIssuer stood; -1: none yet */
    bool noted_sections;
} config_reading;

/* The next line without white space at its beginning; those that end in \ go on in the next one. NULL at the end. */
static char *next_line(config_reading *r)
{
    char *line = r->next, *end = line;

    if (*line == '\0') {
        return NULL;
    }
    for (;;) {
        r->number++;
        end += strcspn(end, "\n");
        if (*end == '\0' || end == line || end[-1] != '\\') {
            break;
        }
        end[-1] = ' ';
        *end++ = ' ';
    }
    r->next = *end == '\0' ? end : end + 1;
    *end = '\0';
    while (apr_isspace(*line)) {
        line++;
    }
    return line;
}

static void note_section(config_reading *r)
{
    if (r->issuers_section >= 0 && r->issuers_section != r->section && !r->noted_sections) {
        r->noted_sections = true;
        ctl_note("%s: MercureIssuer stands in several sections; all of them are taken for one hub's", r->path);
    }
    if (r->issuers_section < 0) {
        r->issuers_section = r->section;
    }
}

static mercure_status read_compatibility(ctl_hub *hub, const char *words, mercure_error *err)
{
    char *word;

    hub->dialects = 0; /* a line replaces those of outer scopes, which stand before it as a rule */
    while ((word = ctl_next_word(hub->pool, &words)) != NULL) {
        if (strcasecmp(word, "Off") != 0 && !ctl_add_dialect(word, &hub->dialects)) {
            return mercure_fail(err, MERCURE_INVALID, "MercureCompatibility wants Off, 8, targets, or both of these");
        }
    }
    return MERCURE_OK;
}

static mercure_status read_line(config_reading *r, const char *line, mercure_error *err)
{
    apr_pool_t *pool = r->hub->pool;
    const char *name, *words = line;

    if (*line == '<') {
        r->section++;
        return MERCURE_OK;
    }
    if ((name = ctl_next_word(pool, &words)) == NULL) {
        return MERCURE_OK;
    }
    if (strncasecmp(name, "Include", 7) == 0) {
        ctl_note("%s, line %d: %s is not followed", r->path, r->number, name);
    } else if (strcasecmp(name, "ServerRoot") == 0) {
        r->root = ctl_next_word(pool, &words);
    } else if (strncasecmp(name, "Mercure", 7) != 0) {
        return MERCURE_OK; /* another module's, or a comment */
    } else if (strstr(words, "${") != NULL) {
        ctl_note("%s, line %d: left out, for ${...} is not replaced here", r->path, r->number);
    } else if (strcasecmp(name, "MercureIssuer") == 0) {
        note_section(r);
        return trust(r->hub, words, r->root, true, err);
    } else if (strcasecmp(name, "MercureCompatibility") == 0) {
        return read_compatibility(r->hub, words, err);
    } else if (strcasecmp(name, "MercureResourceIdentifier") == 0) {
        r->hub->identifier = ctl_next_word(pool, &words);
    }
    return MERCURE_OK;
}

mercure_status ctl_hub_read(ctl_hub *hub, const char *path, mercure_error *err)
{
    config_reading r = {.hub = hub, .path = path, .issuers_section = -1};
    mercure_error why;
    mercure_str bytes;
    mercure_status status = ctl_read_file(hub->pool, path, CONFIG_MAX, &bytes, err);
    char *line;

    if (status != MERCURE_OK) {
        return status;
    }
    r.next = apr_pstrmemdup(hub->pool, bytes.data, bytes.len);
    while ((line = next_line(&r)) != NULL) {
        status = read_line(&r, line, &why);
        if (status != MERCURE_OK) {
            return mercure_fail(err, status, "%.80s, line %d: %s", path, r.number, why.reason);
        }
    }
    if (r.issuers_section < 0) {
        return mercure_fail(err, MERCURE_INVALID, "%.150s has no MercureIssuer", path);
    }
    return MERCURE_OK;
}

/* --- the whole --- */

static apr_status_t release_base(void *base)
{
    mercure_base_release(base);
    return APR_SUCCESS;
}

mercure_status ctl_hub_finish(const ctl_hub *hub, mercure_trust *trusted, mercure_error *err)
{
    const char *url = hub->url != NULL ? hub->url : hub->identifier;
    mercure_status status;

    if (url == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "--hub URL is missing: a token's aud must hold it");
    }
    *trusted = (mercure_trust){.issuers = (const mercure_issuer *)hub->issuers->elts,
                               .issuer_count = (size_t)hub->issuers->nelts,
                               .audience = hub->identifier != NULL ? hub->identifier : hub->url,
                               .dialects = hub->dialects};
    status = mercure_base_make(hub->pool, mercure_str_of(url), &trusted->base, err);
    if (status != MERCURE_OK) {
        return mercure_fail(err, status, "--hub is no URL, such as https://example.com/.well-known/mercure");
    }
    apr_pool_cleanup_register(hub->pool, trusted->base, release_base, apr_pool_cleanup_null);
    return MERCURE_OK;
}

const char *ctl_hub_unchecked(const ctl_hub *hub, mercure_str token, unsigned role)
{
    int i;

    for (i = 0; i < hub->issuers->nelts; i++) {
        const mercure_issuer *issuer = &APR_ARRAY_IDX(hub->issuers, i, mercure_issuer);
        if (issuer->key == NULL && (issuer->roles & role) && mercure_token_claims_issuer(token, issuer->iss)) {
            return APR_ARRAY_IDX(hub->unchecked, i, const char *);
        }
    }
    return NULL;
}
