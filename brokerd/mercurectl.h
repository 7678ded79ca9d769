/* mercurectl.h - what the subcommands of mercurectl share. It is a program of its own, beside brokerd.
 *
 * Everything is allocated in one pool that ends with the program; keys are freed, and so wiped, with it.
 */
#ifndef MERCURECTL_H
#define MERCURECTL_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <jansson.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/token.h"

/* Exit statuses. */
#define CTL_DONE    0
#define CTL_REFUSED 1 /* what was asked about is refused; or the output could not be written */
#define CTL_USAGE   2 /* the options, or what they name, are wrong */

/* One sentence on standard error; returns CTL_USAGE. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Something worth knowing, on standard error. */
void ctl_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The subcommands: argv[0] is the subcommand's name. They return the exit status. */
int ctl_token(apr_pool_t *pool, int argc, char **argv);

/* `mercurectl token --inspect`. */
int ctl_inspect(apr_pool_t *pool, int argc, char **argv);

extern const char ctl_token_usage[];

/* --- mercurectl_input.c --- */

/* All of standard input, at most `most` bytes. `what` names it in the sentence. */
mercure_status ctl_read_stdin(apr_pool_t *pool, const char *what, size_t most, mercure_str *bytes, mercure_error *err);

/* A regular file of 1 to `most` bytes. */
mercure_status ctl_read_file(apr_pool_t *pool, const char *path, size_t most, mercure_str *bytes, mercure_error *err);

/* The key that a text names, as MercureIssuer has it: file:PATH, env:NAME, or the key itself. One newline at a file's
 * end is not part of it.
 *
 * root   what a relative PATH is relative to; NULL: the current directory
 */
mercure_status ctl_find_key(apr_pool_t *pool, const char *text, const char *root, mercure_str *bytes,
                            mercure_error *err);

/* `path`, made absolute with `root` unless that is NULL. */
const char *ctl_rooted(apr_pool_t *pool, const char *path, const char *root);

/* A duration such as 90s, 10m, 1h or 30d in seconds, at most a hundred years. False when it is none. */
bool ctl_parse_duration(const char *text, int64_t *seconds);

/* The next word of a line of httpd's configuration: ended by white space, or in quotes with \ before a quote. NULL at
 * the line's end. `line` moves on.
 */
char *ctl_next_word(apr_pool_t *pool, const char **line);

/* Add an older dialect, "8" or "targets", to a set of bits. False when it is none. */
bool ctl_add_dialect(const char *text, unsigned *dialects);

/* --- mercurectl_hub.c --- */

/* The hub that a token is shown to. */
typedef struct {
    apr_pool_t *pool;
    const char *url;        /* NULL: not known */
    const char *identifier; /* MercureResourceIdentifier; NULL: the URL */
    unsigned dialects;
    apr_array_header_t *issuers;   /* of mercure_issuer; `key` is NULL when it could not be had */
    apr_array_header_t *unchecked; /* of const char *, one for each issuer: why there is no key, or NULL */
} ctl_hub;

void ctl_hub_init(ctl_hub *hub, apr_pool_t *pool);

/* Add what one MercureIssuer says: "ISS ROLE ALG[,ALG] KEY". MERCURE_INVALID with what is wrong. */
mercure_status ctl_hub_trust(ctl_hub *hub, const char *words, mercure_error *err);

/* Add what a file of httpd's configuration says about tokens, where it stands there literally. What does not is noted
 * on standard error.
 */
mercure_status ctl_hub_read(ctl_hub *hub, const char *path, mercure_error *err);

/* What mercure_token_verify() is to be given. It lives as long as the hub. */
mercure_status ctl_hub_finish(const ctl_hub *hub, mercure_trust *trust, mercure_error *err);

/* Why the token could not be checked with the keys of its issuer, after MERCURE_NOT_FOUND; NULL: it was. */
const char *ctl_hub_unchecked(const ctl_hub *hub, mercure_str token, unsigned role);

/* --- mercurectl_explain.c --- */

/* A time in words: "2026-01-31 12:00:00 UTC, in 59 minutes". */
const char *ctl_time_in_words(apr_pool_t *pool, int64_t seconds, int64_t now);

/* A JSON value on one line, harmless on a terminal. */
const char *ctl_value_in_words(apr_pool_t *pool, const json_t *value);

/* Print a token's header, claims and grants for a person to read.
 *
 * base   the hub's URL, for relative URL Patterns; NULL: taken from the token's `aud`
 */
void ctl_explain(apr_pool_t *pool, const json_t *header, json_t *claims, mercure_base *base, int64_t now);

#endif
