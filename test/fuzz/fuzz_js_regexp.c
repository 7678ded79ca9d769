/* fuzz_js_regexp.c - whatever the translator of regular expressions accepts, PCRE2 compiles, and it is ASCII. */
#include "../../lib/js_regexp.h"
#include "mercure/topic.h"

#include <apr_general.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "fuzz.h"

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
            FUZZ_CHECK(*c >= 0x20 && *c <= 0x7E);
        }
        code = pcre2_compile((PCRE2_SPTR)pcre, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_UNSET_BACKREF, &error,
                             &offset, NULL);
        FUZZ_CHECK(code != NULL || is_about_size(error));
        pcre2_code_free(code);
    }
    apr_pool_clear(pool);
    return 0;
}
