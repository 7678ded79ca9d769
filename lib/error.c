/* error.c - see error.h. */
#include "mercure/error.h"

#include <stdarg.h>
#include <stdio.h>

mercure_status mercure_fail(mercure_error *err, mercure_status status, const char *format, ...)
{
    va_list args;

    if (err == NULL) {
        return status;
    }
    va_start(args, format);
    /* Truncation is the documented behaviour, so the length is of no interest. */
    (void)vsnprintf(err->reason, sizeof(err->reason), format, args);
    va_end(args);
    return status;
}
