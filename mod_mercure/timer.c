/* timer.c - see timer.h. A timer further away than one turn of the wheel is passed over until its turn has come. */
#include "timer.h"

#include <stddef.h>

void timer_wheel_init(timer_wheel *wheel, uint64_t now_ms)
{
    int i;

    for (i = 0; i < TIMER_SLOTS; i++) {
        wheel->slots[i].next = &wheel->slots[i];
        wheel->slots[i].previous = &wheel->slots[i];
    }
    wheel->now = now_ms / TIMER_TICK_MS;
}

void timer_cancel(timer *t)
{
    if (t->next == NULL) {
        return;
    }
    t->next->previous = t->previous;
    t->previous->next = t->next;
    t->next = NULL;
    t->previous = NULL;
}

static void link_before(timer *t, timer *head)
{
    t->next = head;
    t->previous = head->previous;
    t->previous->next = t;
    head->previous = t;
}

void timer_arm(timer_wheel *wheel, timer *t, uint64_t due_ms)
{
    uint64_t due = (due_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS;

    timer_cancel(t);
    t->due = due > wheel->now ? due : wheel->now + 1;
    link_before(t, &wheel->slots[t->due % TIMER_SLOTS]);
}

static void turn_slot(timer_wheel *wheel, timer *head, void *context)
{
    timer all;

    if (head->next == head) {
        return;
    }
    /* Move the ring to a head of our own, so that timers armed meanwhile do not get in the way. */
    all = *head;
    all.next->previous = &all;
    all.previous->next = &all;
    head->next = head;
    head->previous = head;
    while (all.next != &all) {
        timer *t = all.next;
        timer_cancel(t);
        if (t->due <= wheel->now) {
            t->fire(context, t);
        } else {
            link_before(t, head);
        }
    }
}

void timer_wheel_turn(timer_wheel *wheel, uint64_t now_ms, void *context)
{
    uint64_t until = now_ms / TIMER_TICK_MS;

    while (wheel->now < until) {
        wheel->now++;
        turn_slot(wheel, &wheel->slots[wheel->now % TIMER_SLOTS], context);
    }
}
