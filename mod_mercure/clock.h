/* clock.h - the monotonic clock in milliseconds: never the wall clock, which admins set back and forward. */
#ifndef MOD_MERCURE_CLOCK_H
#define MOD_MERCURE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
