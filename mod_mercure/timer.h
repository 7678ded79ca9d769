/* timer.h - a wheel of timers: arming, moving and cancelling one costs O(1), whatever their number.
 *
 * The resolution is 100 ms, and a timer never fires early. Belongs to one thread.
 */
#ifndef MOD_MERCURE_TIMER_H
#define MOD_MERCURE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define TIMER_TICK_MS 100
#define TIMER_SLOTS   1024

typedef struct timer {
    struct timer *next, *previous; /* NULL: not armed */
    uint64_t due;                  /* in ticks */
    void (*fire)(void *context, struct timer *t);
} timer;

typedef struct {
    timer slots[TIMER_SLOTS]; /* heads of rings */
    uint64_t now;             /* in ticks: all before are fired */
} timer_wheel;

void timer_wheel_init(timer_wheel *wheel, uint64_t now_ms);

/* Arm, or arm anew, to fire at `due_ms` of the same clock. */
void timer_arm(timer_wheel *wheel, timer *t, uint64_t due_ms);
void timer_cancel(timer *t);

/* Fire what is due: each timer is cancelled first; its `fire` may arm it again or free it, and may cancel others. */
void timer_wheel_turn(timer_wheel *wheel, uint64_t now_ms, void *context);

#endif
