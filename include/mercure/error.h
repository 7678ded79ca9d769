/* error.h - how the library says that something went wrong.
 *
 * A function that an input can make fail returns a mercure_status and puts one sentence for the admin into a
 * mercure_error. The sentence never holds a token, a key or another secret, so it may go to a log as it is.
 */
#ifndef MERCURE_ERROR_H
#define MERCURE_ERROR_H

typedef enum {
    MERCURE_OK = 0,
    MERCURE_INVALID,   /* the input breaks a rule of the protocol */
    MERCURE_LIMIT,     /* the input is well formed, but larger than a limit (PROTOCOL 9) */
    MERCURE_NOT_FOUND, /* what was asked for does not exist */
    MERCURE_STORE,     /* the storage refused: disk full, file damaged, ... */
    MERCURE_SYSTEM     /* the operating system refused: memory, descriptors, ... */
} mercure_status;

typedef struct {
    char reason[256]; /* one sentence, NUL-terminated, no final newline */
} mercure_error;

/* Note why something failed, and return `status`, so that a caller can write `return mercure_fail(...)`.
 *
 * err   where the sentence goes, truncated to fit; may be NULL when the caller does not want it
 */
mercure_status mercure_fail(mercure_error *err, mercure_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
