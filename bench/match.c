/* match.c - what matching costs, alone: one update against many matchers through the index, with a plain loop over all
 * matchers beside it; and the worst that a pattern and a topic of the greatest length can do.
 *
 *   build/bench-match [exact matchers] [patterns]
 */
#include <apr_general.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mercure/index.h"
#include "mercure/limits.h"

#define BASE "https://example.com/.well-known/mercure"

static apr_pool_t *pool;
static mercure_base *base;

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

static mercure_matcher make(const char *type, const char *text)
{
    mercure_matcher matcher;
    mercure_error err;

    if (mercure_matcher_make(mercure_str_of(type), mercure_str_of(text), base, &matcher, &err) != MERCURE_OK) {
        fprintf(stderr, "%s: %s\n", text, err.reason);
        exit(1);
    }
    return matcher;
}

static void count(void *context, mercure_index_entry *entry)
{
    *(size_t *)context += entry->count;
}

static size_t loop(const mercure_matcher *matchers, size_t many, mercure_topic *topic)
{
    size_t found = 0, i;

    for (i = 0; i < many; i++) {
        found += mercure_matcher_matches(&matchers[i], topic);
    }
    return found;
}

/* Many matchers of one form, each with one member, and topics that match one of them each. */
static void measure(const char *title, const char *type, const char *form, const char *topic_form, size_t many)
{
    mercure_matcher *matchers = must(calloc(many, sizeof(*matchers)));
    mercure_index_member *members = must(calloc(many, sizeof(*members)));
    mercure_index *index = must(mercure_index_create());
    size_t rounds = 200000, slow_rounds = 20 + 1000000 / many, found = 0, i, memory;
    double start, made, added, indexed, looped, removed;
    char text[200];

    start = now();
    for (i = 0; i < many; i++) {
        char *copy;
        snprintf(text, sizeof(text), form, (int)i);
        copy = must(strdup(text));
        matchers[i] = make(type, copy);
    }
    made = now() - start;
    memory = mallinfo2().uordblks;
    start = now();
    for (i = 0; i < many; i++) {
        if (!mercure_index_add(index, &matchers[i], &members[i])) {
            exit(1);
        }
    }
    added = now() - start;
    memory = mallinfo2().uordblks - memory;
    start = now();
    for (i = 0; i < rounds; i++) {
        mercure_topic topic;
        snprintf(text, sizeof(text), topic_form, (int)(i * 7919 % many));
        topic = mercure_topic_of(pool, mercure_str_of(text));
        mercure_index_match(index, &topic, 1, count, &found);
        apr_pool_clear(pool);
    }
    indexed = now() - start;
    if (found != rounds) {
        fprintf(stderr, "%s: %zu matches instead of %zu\n", title, found, rounds);
        exit(1);
    }
    start = now();
    for (found = 0, i = 0; i < slow_rounds; i++) {
        mercure_topic topic;
        snprintf(text, sizeof(text), topic_form, (int)(i * 7919 % many));
        topic = mercure_topic_of(pool, mercure_str_of(text));
        found += loop(matchers, many, &topic);
        apr_pool_clear(pool);
    }
    looped = now() - start;
    if (found != slow_rounds) {
        fprintf(stderr, "%s: the loop finds %zu instead of %zu\n", title, found, slow_rounds);
        exit(1);
    }
    start = now();
    for (i = 0; i < many; i++) {
        mercure_index_remove(index, &members[i]);
    }
    removed = now() - start;
    printf("| %zu %s | %.2f us | %.1f us | %.2f | %.2f | %.2f us | %zu |\n", many, title,
           indexed / (double)rounds * 1e6, looped / (double)slow_rounds * 1e6, made / (double)many * 1e6,
           added / (double)many * 1e6, removed / (double)many * 1e6, memory / many);
    for (i = 0; i < many; i++) {
        free((void *)matchers[i].key.pattern.data);
        mercure_matcher_release(&matchers[i]);
    }
    mercure_index_destroy(index);
    free(matchers);
    free(members);
}

/* A pattern of the greatest length, made of one piece over and over, against a topic made the same way. */
static void pathological(const char *title, const char *head, const char *piece, const char *tail,
                         const char *topic_head, const char *topic_piece, const char *topic_tail)
{
    static char pattern[MERCURE_MAX_VALUE + 1], text[MERCURE_MAX_VALUE + 1];
    char *to = pattern + sprintf(pattern, "%s", head);
    mercure_matcher matcher;
    mercure_topic topic;
    double compiled, start;
    bool matches;
    size_t number;

    for (number = 0; *piece != '\0' && to + strlen(piece) + 8 + strlen(tail) < pattern + MERCURE_MAX_VALUE; number++) {
        char numbered[16];
        snprintf(numbered, sizeof(numbered), "%zx", number);
        for (const char *at = piece; *at != '\0'; at++) { /* a # stands for a number, so that names differ */
            to += *at == '#' ? sprintf(to, "%s", numbered) : sprintf(to, "%c", *at);
        }
    }
    strcpy(to, tail);
    to = text + sprintf(text, "%s", topic_head);
    while (to + strlen(topic_piece) + strlen(topic_tail) < text + MERCURE_MAX_VALUE) {
        to += sprintf(to, "%s", topic_piece);
    }
    strcpy(to, topic_tail);
    start = now();
    matcher = make("urlpattern", pattern);
    compiled = now() - start;
    topic = mercure_topic_of(pool, mercure_str_of(text));
    mercure_topic_resolve(&topic, base);
    start = now();
    matches = mercure_matcher_matches(&matcher, &topic);
    printf("| %s | %.2f ms | %.3f ms | %s |\n", title, compiled * 1e3, (now() - start) * 1e3, matches ? "yes" : "no");
    mercure_matcher_release(&matcher);
    apr_pool_clear(pool);
}

/* A regular expression with `piece` in it `count` times, against a short topic; one that is too large is refused. */
static void short_regexp(const char *title, const char *format, const char *piece, int count)
{
    static const char topic_text[] = "https://e.co/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac";
    char pieces[MERCURE_MAX_VALUE] = "", pattern[MERCURE_MAX_VALUE];
    mercure_matcher matcher;
    mercure_topic topic;
    mercure_error err;
    double start, compiled;
    bool matches;
    int i;

    for (i = 0; i < count; i++) {
        strcat(pieces, piece);
    }
    snprintf(pattern, sizeof(pattern), format, pieces);
    start = now();
    if (mercure_matcher_make(mercure_str_of("urlpattern"), mercure_str_of(pattern), base, &matcher, &err) !=
        MERCURE_OK) {
        printf("| %s | %.2f ms | refused | |\n", title, (now() - start) * 1e3);
        return;
    }
    compiled = now() - start;
    topic = mercure_topic_of(pool, mercure_str_of(topic_text));
    mercure_topic_resolve(&topic, base);
    start = now();
    matches = mercure_matcher_matches(&matcher, &topic);
    printf("| %s | %.2f ms | %.3f ms | %s |\n", title, compiled * 1e3, (now() - start) * 1e3, matches ? "yes" : "no");
    mercure_matcher_release(&matcher);
    apr_pool_clear(pool);
}

int main(int argc, char **argv)
{
    size_t exact = argc > 1 ? (size_t)atol(argv[1]) : 100000, patterns = argc > 2 ? (size_t)atol(argv[2]) : 10000;

    apr_initialize();
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS ||
        mercure_base_make(pool, mercure_str_of(BASE), &base, NULL) != MERCURE_OK) {
        return 1;
    }
    printf(
        "CPU time. Per update through the index, and asking every matcher in a loop; per matcher: make (compile), add, "
        "remove; bytes of memory in the index.\n\n"
        "| distinct matchers | update | loop | make us | add us | remove | bytes |\n|---|---|---|---|---|---|---|\n");
    measure("exact", "exact", "https://example.com/books/%d", "https://example.com/books/%d", exact);
    measure("patterns /users/N/:what", "urlpattern", "https://example.com/users/%d/:what",
            "https://example.com/users/%d/books", patterns);
    measure("patterns /:section/N", "urlpattern", "https://example.com/:section/%d", "https://example.com/books/%d",
            patterns);
    measure("patterns https://siteN/*", "urlpattern", "https://site%d.example/*", "https://site%d.example/a/b",
            patterns);
    measure("patterns /users/N/(regular expression)", "urlpattern", "https://example.com/users/%d/(\\d+|me)",
            "https://example.com/users/%d/123", patterns);
    printf("\nPatterns and topics of 4 KiB:\n\n| pattern | make | match | matches |\n|---|---|---|---|\n");
    pathological("*a*a*a... against aaa...", BASE "/", "*a", "", BASE "/", "a", "");
    pathological("*a*a*a...b* against aaa...", BASE "/", "*a", "b*", BASE "/", "a", "");
    pathological("{a}?{a}?... against aaa...", BASE "/", "{a}?", "b*", BASE "/", "a", "");
    pathological("/:n1*/:n2*... against /a/a/a...", BASE, "/:n#*", "/b*", BASE, "/a", "");
    pathological("{/:n1-}*{/:n2-}*... against /a-/a-...", BASE, "{/:n#-}*", "/b*", BASE, "/a-", "");
    pathological("/:n1/:n2... against /a/a/a...", BASE, "/:n#", "/b*", BASE, "/a", "");
    pathological("aaa... against aaa...", BASE "/*", "a", "b*", BASE "/", "a", "");
    short_regexp("((a+)+)+[bd], 40 a", "https://e.co/a((?:(?:a+)+)+[bd])", "\\B", 0);
    short_regexp("((\\B x 20){300}(a|aa))+[bd], 40 a", "https://e.co/a((?:(?:%s){300}(?:a|aa))+[bd])", "\\B", 20);
    short_regexp("((\\B x 20){80}(a|aa))+[bd], 40 a", "https://e.co/a((?:(?:%s){80}(?:a|aa))+[bd])", "\\B", 20);
    short_regexp("(\\B x 900 (a|aa))+[bd], 40 a", "https://e.co/a((?:%s(?:a|aa))+[bd])", "\\B", 900);
    return 0;
}
