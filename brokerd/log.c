/* log.c - see log.h. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static void write_line(const char *level, const char *format, va_list args)
{
    char line[1024], stamp[64];
    struct timespec now;
    struct tm local;
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(stamp, sizeof(stamp), "%a %b %d %H:%M:%S", &local);
    len = snprintf(line, sizeof(line), "[%s.%06ld %d] [mercure:%s] [pid %d] brokerd: ", stamp, now.tv_nsec / 1000,
                   local.tm_year + 1900, level, (int)getpid());
    if (len > 0 && len < (int)sizeof(line) - 2) {
        len += vsnprintf(line + len, sizeof(line) - (size_t)len - 1, format, args);
    }
    if (len > (int)sizeof(line) - 2) {
        len = (int)sizeof(line) - 2;
    }
    line[len++] = '\n';
    /* One write, so that lines of several processes do not mix. A log that cannot be written has nobody to tell. */
    if (write(STDERR_FILENO, line, (size_t)len) < 0) {
        return;
    }
}

void log_notice(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line("notice", format, args);
    va_end(args);
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line("error", format, args);
    va_end(args);
}

bool log_allowed(log_limit *limit)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (limit->last != 0 && now.tv_sec - limit->last < 60) {
        limit->suppressed++;
        return false;
    }
    limit->last = now.tv_sec;
    return true;
}
