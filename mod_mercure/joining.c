/* joining.c - see joining.h. */
#include "joining.h"

#include <stdlib.h>

#define COLLECT_BYTES (64u << 10) /* of updates held back for one joining stream */

joining *joining_create(const mercure_matcher *matchers, size_t count, mercure_grants *grants)
{
    size_t size = sizeof(joining) + count * sizeof(mercure_matcher), i;
    joining *j;
    char *strings;

    for (i = 0; i < count; i++) {
        size += matchers[i].key.pattern.len;
    }
    j = calloc(1, size);
    if (j == NULL) {
        return NULL;
    }
    j->matchers = (mercure_matcher *)(j + 1);
    j->count = count;
    strings = (char *)(j->matchers + count);
    for (i = 0; i < count; i++) {
        j->matchers[i] = mercure_matcher_copy(&matchers[i], strings);
        strings += matchers[i].key.pattern.len;
    }
    j->grants = grants != NULL ? mercure_grants_hold(grants) : NULL;
    j->collecting = true;
    return j;
}

static void clear(joining *j)
{
    collected one;

    while (joining_take(j, &one)) {
        buffer_release(one.buffer);
    }
}

void joining_free(joining *j)
{
    size_t i;

    clear(j);
    for (i = 0; i < j->count; i++) {
        mercure_matcher_release(&j->matchers[i]);
    }
    mercure_grants_release(j->grants);
    free(j);
}

void joining_collect(joining *j, uint64_t sequence, buffer *b, mercure_str event)
{
    collected *one;

    if (!j->collecting) {
        return;
    }
    one = j->bytes + event.len <= COLLECT_BYTES ? malloc(sizeof(*one)) : NULL;
    if (one == NULL) {
        clear(j);
        j->collecting = false;
        j->must_read = true;
        return;
    }
    *one = (collected){NULL, sequence, buffer_hold(b), event};
    if (j->last != NULL) {
        j->last->next = one;
    } else {
        j->first = one;
    }
    j->last = one;
    j->bytes += event.len;
}

bool joining_take(joining *j, collected *taken)
{
    collected *one = j->first;

    if (one == NULL) {
        return false;
    }
    *taken = *one;
    j->first = one->next;
    if (j->first == NULL) {
        j->last = NULL;
    }
    j->bytes -= one->event.len;
    free(one);
    return true;
}
