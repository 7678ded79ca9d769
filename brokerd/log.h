/* log.h - brokerd's log: standard error, in the shape of httpd's error log, where it usually ends up. */
#ifndef BROKERD_LOG_H
#define BROKERD_LOG_H

#include <stdbool.h>
#include <time.h>

void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A clock that allows one line a minute for one kind of message, so that a peer cannot fill the disk with it. */
typedef struct {
    time_t last;
    unsigned long suppressed;
} log_limit;

/* May this message be written now? Otherwise it is counted in `suppressed`, which the caller reports next time. */
bool log_allowed(log_limit *limit);

#endif
