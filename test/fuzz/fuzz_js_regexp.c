/* fuzz_js_regexp.c - whatever the translator of regular expressions accepts, PCRE2 compiles, and it is ASCII.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude $(apr-1-config --cflags --cppflags --includes) \
 *       test/fuzz/fuzz_js_regexp.c lib/js_regexp*.c lib/topic.c lib/error.c -o build/fuzz_js_regexp \
 *       $(apr-1-config --link-ld --libs) -lpcre2-8
 *   build/fuzz_js_regexp -max_len=200 -max_total_time=60 /tmp/new test/fuzz/corpus/js_regexp
 */
#include "../../lib/js_regexp.h"
#include "mercure/topic.h"

#include <apr_general.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* PCRE2 may find an expression too large or a look-behind too complicated; neither is a matter of syntax. */
static int is_about_size(int error)
{
    return error == PCRE2_ERROR_PATTERN_TOO_LARGE || error == PCRE2_ERROR_LOOKBEHIND_TOO_COMPLICATED ||
           error == PCRE2_ERROR_PATTERN_TOO_COMPLICATED || error == PCRE2_ERROR_HEAP_FAILED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    mercure_str source = {(const char *)data, size};
    const char *pcre, *c;
    pcre2_code *code;
    PCRE2_SIZE offset;
    int error;

    if (pool == NULL) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    if (mercure_utf8_valid(source) && js_regexp_translate(pool, source, &pcre, NULL) == MERCURE_OK) {
        for (c = pcre; *c != '\0'; c++) {
            if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7E) {
                abort();
            }
        }
        code = pcre2_compile((PCRE2_SPTR)pcre, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_UNSET_BACKREF, &error,
                             &offset, NULL);
        if (code == NULL && !is_about_size(error)) {
            (void)fprintf(stderr, "error %d at %zu of %s\n", error, offset, pcre);
            abort();
        }
        pcre2_code_free(code);
    }
    apr_pool_clear(pool);
    return 0;
}
