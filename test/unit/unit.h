/* unit.h - what the unit tests share: cmocka and its headers, literals as mercure_str, and a random number generator
 * with a fixed seed, so that a failure comes back on the next run.
 */
#ifndef MERCURE_UNIT_H
#define MERCURE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_pools.h>

#include "mercure/error.h"
#include "mercure/str.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal, NUL bytes inside included. */
#define S(literal) ((mercure_str){literal, sizeof(literal) - 1})

#define assert_str(actual, literal)   unit_check_str((actual), S(literal), __FILE__, __LINE__)
#define assert_same(actual, expected) unit_check_str((actual), (expected), __FILE__, __LINE__)

static inline void unit_check_str(mercure_str actual, mercure_str expected, const char *file, int line)
{
    if (!mercure_str_equal(actual, expected)) {
        print_error("\"%.*s\" (%zu bytes) is not \"%.*s\" (%zu bytes)\n", (int)actual.len,
                    actual.data != NULL ? actual.data : "", actual.len, (int)expected.len, expected.data, expected.len);
        _fail(file, line);
    }
}

/* A copy on the heap that ends where its allocation ends, so that AddressSanitizer sees a read past it. */
static inline char *unit_exact(mercure_str text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);

    assert_non_null(copy);
    if (text.len == 0) {
        return realloc(copy, 1);
    }
    memcpy(copy, text.data, text.len);
    return copy;
}

/* splitmix64: a number below `below`. */
static inline uint32_t unit_draw(uint64_t *state, uint32_t below)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ (z >> 31)) % below);
}

#endif
