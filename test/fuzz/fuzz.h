/* fuzz.h - what the fuzz targets share. A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput() and a corpus in
 * corpus/NAME/; nothing else need be told of it. `./build.sh fuzz` runs all of them under libFuzzer, replay.c runs
 * their corpora as tests.
 *
 * A target has no state but a pool it clears, so that each input does the same alone.
 */
#ifndef MERCURE_FUZZ_H
#define MERCURE_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mercure/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold. On failure: say so, and let the fuzzer keep the input. */
#define FUZZ_CHECK(truth) ((truth) ? (void)0 : fuzz_fail(#truth, __FILE__, __LINE__))

static inline void fuzz_fail(const char *truth, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, truth);
    abort();
}

/* Cut the input at its first newline; without one, the second half is empty. */
static inline void fuzz_split(const uint8_t *data, size_t size, mercure_str *first, mercure_str *second)
{
    const char *text = (const char *)data;
    const char *newline = size > 0 ? memchr(text, '\n', size) : NULL;
    size_t len = newline != NULL ? (size_t)(newline - text) : size;

    *first = (mercure_str){text, len};
    *second = newline != NULL ? (mercure_str){newline + 1, size - len - 1} : (mercure_str){text + size, 0};
}

/* A copy on the heap that ends where its allocation ends, so that AddressSanitizer sees a read past it. */
static inline char *fuzz_exact(mercure_str text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);

    if (copy == NULL) {
        abort();
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

#endif
