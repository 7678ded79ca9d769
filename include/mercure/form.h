/* form.h - application/x-www-form-urlencoded, as the WHATWG URL standard parses it (section 5.1).
 *
 * The pairs are decoded in place, one at a time: a body of a mebibyte full of separators costs no memory.
 */
#ifndef MERCURE_FORM_H
#define MERCURE_FORM_H

#include "mercure/str.h"

typedef struct {
    char *next;
    char *end;
} mercure_form;

/* Begin to read `len` bytes at `text`, which is overwritten while it is read and must outlive the pairs.
 * `text` may be NULL when `len` is 0.
 */
void mercure_form_begin(mercure_form *form, char *text, size_t len);

/* The next pair, decoded: '+' is a space, %XX a byte, a stray '%' itself; no '=' means an empty value.
 * The bytes are not checked to be UTF-8. Returns false at the end.
 */
bool mercure_form_next(mercure_form *form, mercure_str *name, mercure_str *value);

#endif
