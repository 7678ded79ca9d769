/* mercurectl_inspect.c - `mercurectl token --inspect`: what a token says, and whether a hub would accept it.
 *
 * The answer is the hub's own: mercure_token_verify() and what mod_mercure/auth.c and publish.c ask after it.
 */
#include "mercurectl.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "mercure/claims.h"
#include "mercure/limits.h"
#include "mercure/update.h"

typedef struct {
    apr_pool_t *pool;
    ctl_hub hub;
    bool has_hub;   /* an option describes one */
    unsigned roles; /* which are tried */
    const char *topic;
    mercure_str token;
    int64_t now;
} inspection;

/* --- options --- */

enum { OPT_INSPECT = 256, OPT_HUB, OPT_TRUST, OPT_CONFIG, OPT_COMPATIBILITY, OPT_ROLE, OPT_TOPIC, OPT_HELP };

static const struct option long_options[] = {
    {"inspect", no_argument, NULL, OPT_INSPECT},
    {"hub", required_argument, NULL, OPT_HUB},
    {"trust", required_argument, NULL, OPT_TRUST},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"compatibility", required_argument, NULL, OPT_COMPATIBILITY},
    {"role", required_argument, NULL, OPT_ROLE},
    {"topic", required_argument, NULL, OPT_TOPIC},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static mercure_status take_role(inspection *i, mercure_error *err)
{
    if (strcasecmp(optarg, "publisher") == 0) {
        i->roles = MERCURE_ROLE_PUBLISHER;
    } else if (strcasecmp(optarg, "subscriber") == 0) {
        i->roles = MERCURE_ROLE_SUBSCRIBER;
    } else {
        return mercure_fail(err, MERCURE_INVALID, "--role is publisher or subscriber");
    }
    return MERCURE_OK;
}

static mercure_status take_trust(inspection *i, mercure_error *err)
{
    mercure_error why;
    mercure_status status = ctl_hub_trust(&i->hub, optarg, &why);

    return status == MERCURE_OK ? status : mercure_fail(err, status, "--trust: %s", why.reason);
}

static mercure_status take_option(inspection *i, int id, mercure_error *err)
{
    switch (id) {
    case OPT_HUB:
        i->hub.url = optarg;
        return MERCURE_OK;
    case OPT_TRUST:
        i->has_hub = true;
        return take_trust(i, err);
    case OPT_CONFIG:
        i->has_hub = true;
        return ctl_hub_read(&i->hub, optarg, err);
    case OPT_COMPATIBILITY:
        return ctl_add_dialect(optarg, &i->hub.dialects)
                   ? MERCURE_OK
                   : mercure_fail(err, MERCURE_INVALID, "--compatibility is 8 or targets");
    case OPT_ROLE:
        return take_role(i, err);
    case OPT_TOPIC:
        i->topic = optarg;
        return MERCURE_OK;
    default: /* --inspect itself */
        return MERCURE_OK;
    }
}

/* --- the token --- */

/* Without white space around it, and without what a header has before it. */
static mercure_str trim(mercure_str text)
{
    while (text.len > 0 && apr_isspace(text.data[text.len - 1])) {
        text.len--;
    }
    while (text.len > 0 && apr_isspace(*text.data)) {
        text.data++;
        text.len--;
    }
    if (text.len > 7 && strncasecmp(text.data, "Bearer ", 7) == 0) {
        text.data += 7;
        text.len -= 7;
        return trim(text);
    }
    return text;
}

static mercure_status read_token(inspection *i, const char *argument, mercure_error *err)
{
    mercure_status status = MERCURE_OK;

    if (argument == NULL || strcmp(argument, "-") == 0) {
        status = ctl_read_stdin(i->pool, "the token on standard input", 1 << 20, &i->token, err);
    } else {
        i->token = mercure_str_of(argument);
    }
    i->token = status == MERCURE_OK ? trim(i->token) : i->token;
    return status;
}

/* --- the verdict --- */

/* The update that --topic stands for, with a hub's rules about topics. */
static mercure_status make_update(const inspection *i, const mercure_trust *trust, mercure_update *update,
                                  mercure_error *err)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = strlen(i->topic), at, to = 6;
    char *body = apr_palloc(i->pool, 6 + 3 * len);
    mercure_form form;

    memcpy(body, "topic=", 6);
    for (at = 0; at < len; at++) {
        unsigned char c = (unsigned char)i->topic[at];
        body[to++] = '%';
        body[to++] = digits[c >> 4];
        body[to++] = digits[c & 15];
    }
    mercure_form_begin(&form, body, to);
    return mercure_update_from_form(i->pool, &form, mercure_base_url(trust->base), false, update, err);
}

static bool try_publish(const inspection *i, const mercure_trust *trust, const mercure_grants *grants)
{
    mercure_topic topic = mercure_topic_of(i->pool, mercure_str_of(i->topic));
    mercure_update update;
    mercure_error err;
    const char *why = NULL;

    if (make_update(i, trust, &update, &err) != MERCURE_OK) {
        why = err.reason;
    } else if (!mercure_grants_may_publish(grants, false, &topic, 1, NULL, 0)) {
        why = "the token does not grant publish on every topic of the update";
    }
    if (why == NULL) {
        puts("    an update on the topic: accepted");
    } else {
        printf("    an update on the topic: refused: %s\n", why);
    }
    return why == NULL;
}

static bool try_read(const inspection *i, const mercure_grants *grants)
{
    mercure_topic topic = mercure_topic_of(i->pool, mercure_str_of(i->topic));
    const mercure_record record = {.is_private = true, .topic_count = 1};
    bool may = mercure_grants_may_read(grants, &record, &topic);

    puts(may ? "    a private update on the topic: sent to this subscriber"
             : "    a private update on the topic: not sent to this subscriber");
    return may;
}

static void print_refusal(const inspection *i, const char *title, mercure_status status, unsigned role,
                          const mercure_error *err)
{
    const char *unchecked = status == MERCURE_NOT_FOUND ? ctl_hub_unchecked(&i->hub, i->token, role) : NULL;

    if (unchecked != NULL) {
        printf("  %s: not checked: the token's issuer is trusted, but %s\n", title, unchecked);
    } else {
        printf("  %s: refused: %s\n", title, err->reason);
    }
}

/* Accepted in this role, and allowed on the topic if there is one? */
static bool try_role(const inspection *i, const mercure_trust *trust, unsigned role)
{
    const char *title = role == MERCURE_ROLE_PUBLISHER ? "publisher" : "subscriber";
    mercure_grants *grants = NULL;
    mercure_error err;
    mercure_status status = mercure_token_verify(i->token, trust, role, i->now, &grants, &err);
    bool good = true;

    if (status != MERCURE_OK) {
        print_refusal(i, title, status, role, &err);
        return false;
    }
    if (mercure_grants_expires(grants) == INT64_MAX) {
        printf("  %s: accepted, for ever\n", title);
    } else {
        printf("  %s: accepted, until %s\n", title, ctl_time_in_words(i->pool, mercure_grants_expires(grants), i->now));
    }
    if (i->topic != NULL) {
        good = role == MERCURE_ROLE_PUBLISHER ? try_publish(i, trust, grants) : try_read(i, grants);
    }
    mercure_grants_release(grants);
    return good;
}

static bool try_hub(const inspection *i, const mercure_trust *trust)
{
    bool good = false;

    printf("The hub %s\n", trust->audience);
    if (i->roles & MERCURE_ROLE_PUBLISHER) {
        good = try_role(i, trust, MERCURE_ROLE_PUBLISHER) || good;
    }
    if (i->roles & MERCURE_ROLE_SUBSCRIBER) {
        good = try_role(i, trust, MERCURE_ROLE_SUBSCRIBER) || good;
    }
    if (!good && trust->dialects == 0 && mercure_token_is_legacy(i->token)) {
        puts("  A token with a mercure claim is one of protocol 0.x, which MercureCompatibility 8 would accept.");
    }
    return good;
}

static int inspect(const inspection *i)
{
    mercure_trust trust = {.base = NULL};
    json_t *header, *claims;
    mercure_error err;
    bool good = true;

    if (i->has_hub && ctl_hub_finish(&i->hub, &trust, &err) != MERCURE_OK) {
        return ctl_fail("%s", err.reason);
    }
    if (mercure_token_decode(i->token, &header, &claims, &err) != MERCURE_OK) {
        printf("No token: %s\n", err.reason);
        good = false;
    } else {
        ctl_explain(i->pool, header, claims, trust.base, i->now);
        json_decref(header);
        json_decref(claims);
    }
    if (i->has_hub) {
        good = try_hub(i, &trust);
    }
    return good ? CTL_DONE : CTL_REFUSED;
}

int ctl_inspect(apr_pool_t *pool, int argc, char **argv)
{
    inspection i = {.pool = pool, .roles = MERCURE_ROLE_PUBLISHER | MERCURE_ROLE_SUBSCRIBER, .now = time(NULL)};
    mercure_error err;
    int id;

    ctl_hub_init(&i.hub, pool);
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id == OPT_HELP) {
            fputs(ctl_token_usage, stdout);
            return CTL_DONE;
        }
        if (id == '?') {
            return ctl_fail("mercurectl token --help tells the options");
        }
        if (take_option(&i, id, &err) != MERCURE_OK) {
            return ctl_fail("%s", err.reason);
        }
    }
    if (optind + 1 < argc) {
        return ctl_fail("one token at a time; mercurectl token --help tells the options");
    }
    if (!i.has_hub && (i.hub.url != NULL || i.hub.dialects != 0 || i.topic != NULL)) {
        return ctl_fail("whom does the hub trust? Say so with --trust or --config");
    }
    if (read_token(&i, optind < argc ? argv[optind] : NULL, &err) != MERCURE_OK) {
        return ctl_fail("%s", err.reason);
    }
    return inspect(&i);
}
