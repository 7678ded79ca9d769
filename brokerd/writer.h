/* writer.h - the thread that commits publications to the history.
 *
 * The broker's thread queues publications and never waits for the disk. The writer takes all that have gathered while
 * the last commit was running and commits them together: many publishers share one wait for the disk. Results come
 * back in commit order, and an eventfd tells when there are some.
 */
#ifndef BROKERD_WRITER_H
#define BROKERD_WRITER_H

#include <zmq.h>

#include "mercure/history.h"
#include "mercure/wire.h"

typedef struct writer writer;

/* A publication on its way through the writer. Made by writer_job_create(), owned by the writer while it is queued,
 * handed back by writer_results(), freed by writer_job_free().
 */
typedef struct writer_job {
    struct writer_job *next;
    zmq_msg_t header; /* keeps the strings of `publication` alive */
    zmq_msg_t record;
    mercure_wire_publication publication;
    mercure_status status; /* out */
    uint64_t sequence;     /* out */
    bool repeated;         /* out: it had been stored before */
} writer_job;

/* Takes the contents of both messages, which are left empty. NULL without memory. */
writer_job *writer_job_create(zmq_msg_t *header, zmq_msg_t *record, const mercure_wire_publication *publication);
void writer_job_free(writer_job *job);

/* Start the thread on a history opened for writing.
 *
 * durable   false: also write to the disk once a second
 *
 * NULL when the system refuses.
 */
writer *writer_start(mercure_history *history, bool durable);

void writer_submit(writer *w, writer_job *job);

/* Readable when there are results. */
int writer_event(const writer *w);

/* The finished jobs, oldest first, as a list; NULL when there are none. The caller owns them. */
writer_job *writer_results(writer *w);

/* Commit what is queued, end the thread, free the writer. Results not yet fetched are returned, as by
 * writer_results().
 */
writer_job *writer_stop(writer *w);

#endif
