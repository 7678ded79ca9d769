/* watch.h - whoever waits for events of a descriptor in the streamer's epoll. */
#ifndef MOD_MERCURE_WATCH_H
#define MOD_MERCURE_WATCH_H

struct streamer;

/* Part of what waits, which may free itself in `event`, but nobody else that waits. `events` are epoll's. */
typedef struct watch {
    void (*event)(struct streamer *st, struct watch *w, unsigned events);
} watch;

#endif
