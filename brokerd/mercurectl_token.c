/* mercurectl_token.c - `mercurectl token`: make a token of protocol 1.0 (RFC 9068, PROTOCOL 5) or of an older dialect
 * (PROTOCOL 10 and 11).
 *
 * Before a token is printed it is shown to mercure_token_verify(), as a hub would that trusts its issuer: what a hub
 * refuses anyway is not made.
 */
#include "mercurectl.h"

#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mercure/base.h"
#include "mercure/claims.h"
#include "mercure/matcher.h"
#include "mercure/token_sign.h"
#include "mercure/update.h"

#define DETAIL_TYPE     "https://mercure.rocks/authorization-detail"
#define HEADER_LINE_MAX 8190 /* httpd's LimitRequestFieldSize, as it comes */
#define DEFAULT_SUBJECT "mercurectl"

const char ctl_token_usage[] =
    "Usage: mercurectl token --issuer ISS --audience URL --key KEY [options]\n"
    "       mercurectl token --inspect [TOKEN|-] [options]\n"
    "\n"
    "Makes a token and prints it.\n"
    "  --issuer ISS             the first word of the hub's MercureIssuer\n"
    "  --audience URL           the hub's URL (or its MercureResourceIdentifier); may be repeated\n"
    "  --publish TOPIC          lets publish on this topic; * is every topic\n"
    "  --publish-pattern P      ... on topics that match this URL Pattern\n"
    "  --subscribe TOPIC        lets read private updates on this topic; * is every topic\n"
    "  --subscribe-pattern P    ... on topics that match this URL Pattern. These four may be repeated and mixed\n"
    "  --payload JSON           an object that the hub shows with the token's subscriptions\n"
    "  --key KEY                what signs: file:PATH, env:NAME, - (standard input), or the key itself, which other\n"
    "                           users of the machine can then see. A secret, or a private key (PEM)\n"
    "  --algorithm ALG          HS256 (default), HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, "
    "ES384,\n"
    "                           ES512 or EdDSA\n"
    "  --kid KID                which key of the issuer it is\n"
    "  --subject SUB            whose token it is (default: mercurectl)\n"
    "  --client-id ID           the program that it is for (default: the subject)\n"
    "  --lifetime DURATION      such as 90s, 10m, 1h, 30d (default 1h); none: for ever, with 0.x only\n"
    "  --not-before DURATION    valid only after so long; the lifetime begins then\n"
    "  --dialect 0.x            a token of protocol 0.x: the same as --compatibility 8. --issuer and --audience may "
    "be\n"
    "                           missing; --publish and --subscribe take topics and URI Templates\n"
    "  --compatibility DIALECT  8 or targets, as the hub's MercureCompatibility: with targets, --publish and "
    "--subscribe\n"
    "                           name targets\n"
    "  --publish-public         with targets: may publish public updates, whatever --publish names\n"
    "\n"
    "With --inspect, explains a token (of standard input, when none is given). With a hub's options, says whether "
    "that\n"
    "hub would accept it.\n"
    "  --hub URL                the hub's URL\n"
    "  --trust 'ISS publisher|subscriber|both ALG[,ALG] KEY'\n"
    "                           what the hub's MercureIssuer says; may be repeated\n"
    "  --config FILE            takes MercureIssuer, MercureCompatibility and MercureResourceIdentifier from a file "
    "of\n"
    "                           httpd's configuration, or an .htaccess file\n"
    "  --compatibility DIALECT  8 or targets; may be repeated\n"
    "  --role ROLE              publisher or subscriber only (default: both are tried)\n"
    "  --topic TOPIC            ... and would it be allowed on this topic?\n"
    "Exit status: 0 accepted (in one role at least), 1 refused, 2 wrong options.\n";

typedef enum { PUBLISH, SUBSCRIBE } action;

/* What one --publish, --subscribe-pattern, ... grants. */
typedef struct {
    action action;
    bool is_pattern;
    const char *option;
    const char *text;
} grant;

/* Options that take a text, once. */
typedef enum { ISSUER, SUBJECT, CLIENT, KEY, ALGORITHM, KID, PAYLOAD, LIFETIME, NOT_BEFORE, TEXTS } text_option;

typedef struct {
    apr_pool_t *pool;
    const char *text[TEXTS];
    apr_array_header_t *audiences; /* of const char * */
    apr_array_header_t *grants;    /* of grant */
    bool publishes_public;
    unsigned dialects; /* 0: protocol 1.0 */
} token_options;

/* What the options come to. */
typedef struct {
    const token_options *options;
    json_t *payload;           /* NULL: none */
    mercure_base *base;        /* NULL: none */
    int64_t now, begins, ends; /* INT64_MAX: never */
} plan;

/* --- options --- */

enum {
    OPT_AUDIENCE = 256,
    OPT_PUBLISH,
    OPT_PUBLISH_PATTERN,
    OPT_SUBSCRIBE,
    OPT_SUBSCRIBE_PATTERN,
    OPT_PUBLISH_PUBLIC,
    OPT_DIALECT,
    OPT_COMPATIBILITY,
    OPT_HELP
};

static const struct option long_options[] = {
    {"issuer", required_argument, NULL, ISSUER},
    {"subject", required_argument, NULL, SUBJECT},
    {"client-id", required_argument, NULL, CLIENT},
    {"key", required_argument, NULL, KEY},
    {"algorithm", required_argument, NULL, ALGORITHM},
    {"kid", required_argument, NULL, KID},
    {"payload", required_argument, NULL, PAYLOAD},
    {"lifetime", required_argument, NULL, LIFETIME},
    {"not-before", required_argument, NULL, NOT_BEFORE},
    {"audience", required_argument, NULL, OPT_AUDIENCE},
    {"publish", required_argument, NULL, OPT_PUBLISH},
    {"publish-pattern", required_argument, NULL, OPT_PUBLISH_PATTERN},
    {"subscribe", required_argument, NULL, OPT_SUBSCRIBE},
    {"subscribe-pattern", required_argument, NULL, OPT_SUBSCRIBE_PATTERN},
    {"publish-public", no_argument, NULL, OPT_PUBLISH_PUBLIC},
    {"dialect", required_argument, NULL, OPT_DIALECT},
    {"compatibility", required_argument, NULL, OPT_COMPATIBILITY},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void add_grant(token_options *options, action which, bool is_pattern, const char *option)
{
    APR_ARRAY_PUSH(options->grants, grant) = (grant){which, is_pattern, option, optarg};
}

/* One option; a sentence when it is wrong, else NULL. */
static const char *take_option(token_options *options, int id)
{
    switch (id) {
    case OPT_AUDIENCE:
        APR_ARRAY_PUSH(options->audiences, const char *) = optarg;
        break;
    case OPT_PUBLISH:
        add_grant(options, PUBLISH, false, "--publish");
        break;
    case OPT_PUBLISH_PATTERN:
        add_grant(options, PUBLISH, true, "--publish-pattern");
        break;
    case OPT_SUBSCRIBE:
        add_grant(options, SUBSCRIBE, false, "--subscribe");
        break;
    case OPT_SUBSCRIBE_PATTERN:
        add_grant(options, SUBSCRIBE, true, "--subscribe-pattern");
        break;
    case OPT_PUBLISH_PUBLIC:
        options->publishes_public = true;
        break;
    case OPT_DIALECT:
        if (strcmp(optarg, "0.x") == 0) {
            options->dialects |= MERCURE_DIALECT_8;
        } else if (strcmp(optarg, "1.0") != 0) {
            return "--dialect is 1.0 or 0.x";
        }
        break;
    case OPT_COMPATIBILITY:
        if (!ctl_add_dialect(optarg, &options->dialects)) {
            return "--compatibility is 8 or targets";
        }
        break;
    default:
        options->text[id] = optarg;
    }
    return NULL;
}

/* Do the options go together? A sentence when they do not, else NULL. */
static const char *check_options(const token_options *options)
{
    const char *issuer = options->text[ISSUER];
    int i;

    if (options->text[KEY] == NULL) {
        return "--key is missing: file:PATH, env:NAME, - for standard input, or the key itself";
    }
    if (options->dialects == 0 && issuer == NULL) {
        return "--issuer is missing: the first word of the hub's MercureIssuer";
    }
    if (options->dialects == 0 && options->audiences->nelts == 0) {
        return "--audience is missing: the hub's URL";
    }
    if (issuer != NULL && strcmp(issuer, "*") == 0) {
        return options->dialects == 0 ? "--issuer * names nobody: a hub takes a 1.0 token by the name of its issuer"
                                      : "--issuer * names nobody: leave --issuer out";
    }
    if (options->publishes_public && !(options->dialects & MERCURE_DIALECT_TARGETS)) {
        return "--publish-public goes with --compatibility targets only";
    }
    for (i = 0; i < options->grants->nelts; i++) {
        if (options->dialects != 0 && APR_ARRAY_IDX(options->grants, i, grant).is_pattern) {
            return "the older dialects have no URL Patterns: use --publish and --subscribe, with URI Templates";
        }
    }
    return NULL;
}

/* --- the plan --- */

static apr_status_t release_json(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

static apr_status_t release_base(void *base)
{
    mercure_base_release(base);
    return APR_SUCCESS;
}

static mercure_status check_texts(const token_options *options, mercure_error *err)
{
    static const struct {
        text_option option;
        const char *name;
    } named[] = {{ISSUER, "--issuer"}, {SUBJECT, "--subject"}, {CLIENT, "--client-id"}, {KID, "--kid"}};
    mercure_status status = MERCURE_OK;
    size_t i;
    int n;

    for (i = 0; i < sizeof(named) / sizeof(named[0]) && status == MERCURE_OK; i++) {
        const char *text = options->text[named[i].option];
        if (text != NULL) {
            status = *text != '\0' ? mercure_value_check(named[i].name, mercure_str_of(text), err)
                                   : mercure_fail(err, MERCURE_INVALID, "%s is empty", named[i].name);
        }
    }
    for (n = 0; n < options->audiences->nelts && status == MERCURE_OK; n++) {
        status = mercure_value_check("--audience", mercure_str_of(APR_ARRAY_IDX(options->audiences, n, char *)), err);
    }
    return status;
}

/* Is each matcher well formed? Targets keep the same rules as selectors. */
static mercure_status check_grants(const plan *p, mercure_error *err)
{
    const token_options *options = p->options;
    int i;

    for (i = 0; i < options->grants->nelts; i++) {
        const grant *one = &APR_ARRAY_IDX(options->grants, i, grant);
        mercure_str text = mercure_str_of(one->text);
        mercure_matcher matcher;
        mercure_error why;
        mercure_status status = options->dialects != 0
                                    ? mercure_selector_make(text, &matcher, &why)
                                    : mercure_matcher_make(mercure_str_of(one->is_pattern ? "urlpattern" : "exact"),
                                                           text, p->base, &matcher, &why);
        if (status != MERCURE_OK) {
            return mercure_fail(err, status, "%s %.80s: %s", one->option,
                                mercure_value_check("", text, NULL) != MERCURE_INVALID ? one->text : "...", why.reason);
        }
        mercure_matcher_release(&matcher);
    }
    return MERCURE_OK;
}

static mercure_status read_payload(plan *p, mercure_error *err)
{
    const char *text = p->options->text[PAYLOAD];
    bool subscribes = false;
    json_error_t why;
    int i;

    if (text == NULL) {
        return MERCURE_OK;
    }
    p->payload = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (p->payload == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "--payload is no JSON: %.100s", why.text);
    }
    apr_pool_cleanup_register(p->options->pool, p->payload, release_json, apr_pool_cleanup_null);
    if (!json_is_object(p->payload)) {
        return mercure_fail(err, MERCURE_INVALID, "--payload must be a JSON object, such as {\"name\":\"Ada\"}");
    }
    for (i = 0; i < p->options->grants->nelts; i++) {
        subscribes = subscribes || APR_ARRAY_IDX(p->options->grants, i, grant).action == SUBSCRIBE;
    }
    if (!subscribes && p->options->dialects == 0) {
        return mercure_fail(err, MERCURE_INVALID, "--payload belongs to what --subscribe grants, and nothing is");
    }
    return MERCURE_OK;
}

static mercure_status plan_times(plan *p, mercure_error *err)
{
    const char *lifetime = p->options->text[LIFETIME], *delay = p->options->text[NOT_BEFORE];
    int64_t seconds = 0;

    p->now = p->begins = time(NULL);
    if (delay != NULL) {
        if (!ctl_parse_duration(delay, &seconds)) {
            return mercure_fail(err, MERCURE_INVALID, "--not-before is a duration from now on, such as 10m");
        }
        p->begins += seconds;
    }
    if (lifetime != NULL && strcmp(lifetime, "none") == 0) {
        p->ends = INT64_MAX;
        return p->options->dialects != 0
                   ? MERCURE_OK
                   : mercure_fail(err, MERCURE_INVALID, "--lifetime none: every 1.0 token ends some time");
    }
    if (!ctl_parse_duration(lifetime != NULL ? lifetime : "1h", &seconds) || seconds == 0) {
        return mercure_fail(err, MERCURE_INVALID,
                            "--lifetime is a duration such as 90s, 10m, 1h or 30d, at most a hundred years");
    }
    p->ends = p->begins + seconds;
    return MERCURE_OK;
}

/* The audience is the hub's URL, which relative patterns are relative to. One that is no URL has none. */
static mercure_status plan_all(plan *p, mercure_error *err)
{
    const token_options *options = p->options;
    mercure_status status = check_texts(options, err);

    if (status == MERCURE_OK && options->audiences->nelts > 0 &&
        mercure_base_make(options->pool, mercure_str_of(APR_ARRAY_IDX(options->audiences, 0, const char *)), &p->base,
                          NULL) == MERCURE_OK) {
        apr_pool_cleanup_register(options->pool, p->base, release_base, apr_pool_cleanup_null);
    }
    if (status == MERCURE_OK) {
        status = check_grants(p, err);
    }
    if (status == MERCURE_OK) {
        status = read_payload(p, err);
    }
    return status == MERCURE_OK ? plan_times(p, err) : status;
}

/* --- claims --- */

/* The topics of one action; NULL when there is none. */
static json_t *topics_of(const plan *p, action which)
{
    json_t *topics = NULL;
    int i;

    for (i = 0; i < p->options->grants->nelts; i++) {
        const grant *one = &APR_ARRAY_IDX(p->options->grants, i, grant);
        if (one->action != which) {
            continue;
        }
        topics = topics != NULL ? topics : json_array();
        if (p->options->dialects != 0) {
            json_array_append_new(topics, json_string(one->text));
        } else if (one->is_pattern) {
            json_array_append_new(topics, json_pack("{s:s, s:s}", "match", one->text, "match_type", "urlpattern"));
        } else {
            json_array_append_new(topics, json_pack("{s:s}", "match", one->text));
        }
    }
    return topics;
}

static void add_details(const plan *p, json_t *claims)
{
    json_t *publish = topics_of(p, PUBLISH), *subscribe = topics_of(p, SUBSCRIBE), *details = json_array();

    if (publish != NULL) {
        json_array_append_new(
            details, json_pack("{s:s, s:[s], s:o}", "type", DETAIL_TYPE, "actions", "publish", "topics", publish));
    }
    if (subscribe != NULL) {
        json_array_append_new(details, json_pack("{s:s, s:[s], s:o, s:O*}", "type", DETAIL_TYPE, "actions", "subscribe",
                                                 "topics", subscribe, "payload", p->payload));
    }
    json_object_set_new(claims, "authorization_details", details);
}

static void add_legacy_claim(const plan *p, json_t *claims)
{
    json_t *publish = topics_of(p, PUBLISH);

    if (publish == NULL && p->options->publishes_public) {
        publish = json_array(); /* present and empty (PROTOCOL 11) */
    }
    json_object_set_new(claims, "mercure",
                        json_pack("{s:o*, s:o*, s:O*}", "publish", publish, "subscribe", topics_of(p, SUBSCRIBE),
                                  "payload", p->payload));
}

static json_t *audience_of(const token_options *options)
{
    json_t *all;
    int i;

    if (options->audiences->nelts == 1) {
        return json_string(APR_ARRAY_IDX(options->audiences, 0, const char *));
    }
    all = json_array();
    for (i = 0; i < options->audiences->nelts; i++) {
        json_array_append_new(all, json_string(APR_ARRAY_IDX(options->audiences, i, const char *)));
    }
    return all;
}

static json_t *claims_of(const plan *p)
{
    const token_options *options = p->options;
    const char *subject = options->text[SUBJECT];
    char id[MERCURE_ID_LENGTH + 1];
    json_t *claims = json_object();

    if (options->text[ISSUER] != NULL) {
        json_object_set_new(claims, "iss", json_string(options->text[ISSUER]));
    }
    if (options->audiences->nelts > 0) {
        json_object_set_new(claims, "aud", audience_of(options));
    }
    if (subject == NULL && options->dialects == 0) {
        subject = DEFAULT_SUBJECT; /* RFC 9068 wants one */
    }
    if (subject != NULL) {
        json_object_set_new(claims, "sub", json_string(subject));
    }
    if (options->text[CLIENT] != NULL || options->dialects == 0) {
        json_object_set_new(claims, "client_id",
                            json_string(options->text[CLIENT] != NULL ? options->text[CLIENT] : subject));
    }
    json_object_set_new(claims, "iat", json_integer(p->now));
    if (options->text[NOT_BEFORE] != NULL) {
        json_object_set_new(claims, "nbf", json_integer(p->begins));
    }
    if (p->ends != INT64_MAX) {
        json_object_set_new(claims, "exp", json_integer(p->ends));
    }
    if (mercure_id_make(id)) { /* for logs: a hub does not ask for it */
        json_object_set_new(claims, "jti", json_string(id));
    }
    if (options->dialects == 0) {
        add_details(p, claims);
    } else {
        add_legacy_claim(p, claims);
    }
    return claims;
}

/* --- making --- */

/* Would a hub that trusts the issuer accept it, from its beginning on? */
static mercure_status try_token(const plan *p, const mercure_signing_key *key, const char *token, mercure_error *err)
{
    const token_options *options = p->options;
    mercure_issuer issuer = {options->text[ISSUER] != NULL ? options->text[ISSUER] : "*", MERCURE_ROLE_PUBLISHER,
                             MERCURE_ALGORITHM_BIT(mercure_signing_key_algorithm(key)), NULL};
    mercure_trust trust = {&issuer, 1, "", p->base, options->dialects};
    mercure_grants *grants = NULL;
    mercure_error why;
    mercure_key *verifier;
    mercure_status status = mercure_signing_key_verifier(key, &verifier, err);

    if (status != MERCURE_OK) {
        return status;
    }
    issuer.key = verifier;
    if (options->audiences->nelts > 0) {
        trust.audience = APR_ARRAY_IDX(options->audiences, 0, const char *);
    }
    status = mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, p->begins, &grants, &why);
    mercure_grants_release(grants);
    mercure_key_free(verifier);
    return status == MERCURE_OK ? status : mercure_fail(err, status, "a hub would refuse this token: %s", why.reason);
}

static void note_surprises(const plan *p, const char *token)
{
    if (p->options->grants->nelts == 0 && !p->options->publishes_public) {
        ctl_note("the token grants nothing: it only lets a subscriber in who then gets public updates");
    }
    if (strlen("Authorization: Bearer ") + strlen(token) > HEADER_LINE_MAX) {
        ctl_note("the token has %zu bytes: httpd refuses header lines over %d unless LimitRequestFieldSize is raised",
                 strlen(token), HEADER_LINE_MAX);
    }
}

static mercure_status make_token(plan *p, mercure_error *err)
{
    const token_options *options = p->options;
    mercure_signing_key *key = NULL;
    char *token = NULL;
    json_t *claims;
    mercure_str bytes;
    mercure_status status = ctl_find_key(options->pool, options->text[KEY], NULL, &bytes, err);

    if (status == MERCURE_OK) {
        status = mercure_signing_key_make(
            bytes, mercure_str_of(options->text[ALGORITHM] != NULL ? options->text[ALGORITHM] : "HS256"), &key, err);
    }
    if (status != MERCURE_OK) {
        return status;
    }
    claims = claims_of(p);
    status =
        mercure_token_sign(key, options->dialects == 0 ? "at+jwt" : "JWT", options->text[KID], claims, &token, err);
    json_decref(claims);
    if (status == MERCURE_OK) {
        status = try_token(p, key, token, err);
    }
    if (status == MERCURE_OK) {
        note_surprises(p, token);
        puts(token);
    }
    mercure_signing_key_free(key);
    free(token);
    return status;
}

static bool asks_to_inspect(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--inspect") == 0) {
            return true;
        }
    }
    return false;
}

int ctl_token(apr_pool_t *pool, int argc, char **argv)
{
    token_options options = {.pool = pool,
                             .audiences = apr_array_make(pool, 1, sizeof(const char *)),
                             .grants = apr_array_make(pool, 4, sizeof(grant))};
    plan p = {.options = &options};
    const char *wrong;
    mercure_error err;
    int id;

    if (asks_to_inspect(argc, argv)) {
        return ctl_inspect(pool, argc, argv);
    }
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id == OPT_HELP) {
            fputs(ctl_token_usage, stdout);
            return CTL_DONE;
        }
        if (id == '?') {
            return ctl_fail("mercurectl token --help tells the options");
        }
        if ((wrong = take_option(&options, id)) != NULL) {
            return ctl_fail("%s", wrong);
        }
    }
    if (optind < argc) {
        return ctl_fail("a word that belongs to no option; mercurectl token --help tells the options");
    }
    if ((wrong = check_options(&options)) != NULL) {
        return ctl_fail("%s", wrong);
    }
    if (plan_all(&p, &err) != MERCURE_OK || make_token(&p, &err) != MERCURE_OK) {
        return ctl_fail("%s", err.reason);
    }
    return CTL_DONE;
}
