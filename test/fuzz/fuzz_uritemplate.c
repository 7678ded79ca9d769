/* fuzz_uritemplate.c - input: a template, a newline, a topic. */
#include "mercure/limits.h"
#include "mercure/uritemplate.h"

#include "fuzz.h"

static void check_ends(mercure_uritemplate *template, mercure_str topic)
{
    mercure_str prefix = mercure_uritemplate_prefix(template), suffix = mercure_uritemplate_suffix(template);

    FUZZ_CHECK(topic.len >= prefix.len + suffix.len);
    FUZZ_CHECK(memcmp(topic.data, prefix.data, prefix.len) == 0);
    FUZZ_CHECK(memcmp(topic.data + topic.len - suffix.len, suffix.data, suffix.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mercure_str text, topic;
    mercure_uritemplate *template = NULL;
    mercure_error err;
    mercure_status status;
    char *exact_text, *exact_topic;
    bool matched;

    fuzz_split(data, size, &text, &topic);
    exact_text = fuzz_exact(text);
    exact_topic = fuzz_exact(topic);
    topic.data = exact_topic;
    status = mercure_uritemplate_make((mercure_str){exact_text, text.len}, &template, &err);
    free(exact_text);
    FUZZ_CHECK(status == MERCURE_OK || status == MERCURE_INVALID || status == MERCURE_LIMIT);
    FUZZ_CHECK((status == MERCURE_LIMIT) == (text.len > MERCURE_MAX_VALUE));
    if (status == MERCURE_OK) {
        matched = mercure_uritemplate_matches(template, topic);
        if (matched) {
            check_ends(template, topic);
        }
        FUZZ_CHECK(mercure_uritemplate_hold(template) == template);
        mercure_uritemplate_release(template);
        FUZZ_CHECK(mercure_uritemplate_matches(template, topic) == matched);
        /* Without expressions a template matches itself. */
        if (memchr(text.data, '{', text.len) == NULL) {
            FUZZ_CHECK(mercure_uritemplate_matches(template, text));
        }
        mercure_uritemplate_release(template);
    }
    free(exact_topic);
    return 0;
}
