/*
 * load_stream.h - what those parts of the load client share that serve subscribers.
 *
 * load_spread.c   the processes and threads that the streams are spread over
 * load_stream.c   the life of a stream, over HTTP/1.1
 * load_h2.c       connections of HTTP/2, with several streams each
 * load_events.c   reading events, and checking what arrives
 */
#ifndef BENCH_LOAD_STREAM_H
#define BENCH_LOAD_STREAM_H

#include "load.h"

#include <pthread.h>

#define STREAM_READ_SIZE (256 * 1024)

/* Updates of a lane, by their place in it, that were passed over: [from, to) */
struct gap {
    uint32_t from;
    uint32_t to;
};

/* What one subscriber has seen of one publisher. */
struct track {
    uint32_t next; /* place in the lane that comes next */
    uint32_t gap_count;
    struct gap *gaps;
};

enum stream_state { STREAM_IDLE, STREAM_CONNECTING, STREAM_SENDING, STREAM_HEAD, STREAM_OPEN, STREAM_DONE };

struct update_mark {
    uint32_t publisher;
    uint32_t sequence;
    uint64_t sent_ns;
};

/*
 * Kept small: tens of thousands of these live in one process. What its pointers lead to belongs to the process that
 * serves the stream; the rest can be read by the main process too.
 */
struct stream {
    struct connection link;
    uint32_t number;
    uint32_t topic;
    uint8_t state;
    bool ever_open;
    bool chunked;
    uint16_t status;  /* HTTP/2: of the answer being read */
    int32_t id;       /* HTTP/2: 0 while there is none */
    bool has_mark;    /* the event being read is one of our updates */
    bool has_foreign; /* it has data, but not from this run */
    struct chunks chunks;
    struct bytes carry; /* the request to send, then a head or line that is not yet complete */
    struct update_mark mark;
    char *last_id;
    char *next_id; /* id of the event being read; counts only once that event is complete */
    struct track *tracks;
    struct stream *retry_next;
    uint64_t since_ns; /* when this connect began, or when the next one is due */
    uint64_t order_hash;
    uint64_t delivered;
};

struct stream_thread {
    pthread_t thread;
    bool started;
    int epoll_fd;
    struct stream *streams;
    uint32_t count;
    uint32_t next;      /* first stream not yet begun */
    uint32_t in_flight; /* connects whose answer is awaited */
    uint32_t connects;
    struct stream *retry_first, *retry_last;
    struct h2_client *clients; /* HTTP/2: one for opt.http2 streams */
    char *buffer;
    atomic_ullong settled, opened, open_now, delivered, last_open_ns, last_delivery_ns;
    struct stream_result result; /* read by others only after the thread has been joined */
};

/* ---- load_spread.c ---- */

/* All streams and threads; their memory is shared by the processes. */
extern struct stream *all_streams;
extern struct stream_thread *threads;
extern uint32_t thread_count;

/* ---- load_stream.c ---- */

void stream_begin(struct stream_thread *t, struct stream *s);
void stream_ready(struct stream_thread *t, struct stream *s);
/* An answer with status 200; last_event_id: where the hub says that the stream starts, "" when it does not. */
void stream_opened(struct stream_thread *t, struct stream *s, const char *last_event_id);
/* An attempt to open came to nothing. Closes the stream, like the next one. */
void stream_refused(struct stream_thread *t, struct stream *s, int outcome);
void stream_ended(struct stream_thread *t, struct stream *s);
/* A piece of the body has been read. Ends the stream when that is no longer one (its state is then STREAM_DONE). */
void stream_take(struct stream_thread *t, struct stream *s, const char *data, size_t len);
void stream_close(struct stream *s);

/* ---- load_h2.c ---- */

/* The connections of a thread, none of them open yet. */
void h2_start(struct stream_thread *t);
void h2_begin(struct stream_thread *t, struct stream *s);
void h2_ready(struct stream_thread *t, struct h2_client *client);
/* The time for the answer of this stream is over. */
void h2_expire(struct stream_thread *t, struct stream *s);
/* Closes and frees them. */
void h2_stop(struct stream_thread *t);

/* ---- load_events.c ---- */

/* A piece of an event stream, that came at the given time. False when a line of it is longer than any hub's. */
bool stream_text(struct stream_thread *t, struct stream *s, const char *p, size_t len, uint64_t at);
void stream_set_id(char **id, const char *text, size_t len);

#endif
