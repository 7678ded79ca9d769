/*
 * load_spread.c - the streams are spread over threads, and these over processes, because a process may have only so
 * many descriptors. The processes share the memory of the streams and threads; at the end each sends the main process
 * what it alone has, namely which updates its subscribers have seen. With --processes 1 the threads are the main
 * process's own.
 */
#include "load_stream.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 512

struct process {
    pid_t pid;
    int from; /* a pipe, with the tracks of its streams at the end */
    bool ended;
    double cpu; /* once it has ended */
};

struct stream *all_streams;
struct stream_thread *threads;
uint32_t thread_count;

static struct process processes[MAX_PROCESSES];
static uint32_t process_count; /* 0: the threads are our own */
static atomic_bool *stopping;
static uint64_t began_ns;

/* ---- threads ---- */

static void thread_begin_stream(struct stream_thread *t, struct stream *s)
{
    if (opt.http2)
        h2_begin(t, s);
    else
        stream_begin(t, s);
}

static void thread_begin_streams(struct stream_thread *t)
{
    uint64_t now;

    while (t->in_flight < t->connects && t->next < t->count)
        thread_begin_stream(t, &t->streams[t->next++]);
    if (!t->retry_first)
        return;
    now = now_ns();
    while (t->retry_first && t->in_flight < t->connects && t->retry_first->since_ns <= now) {
        struct stream *s = t->retry_first;

        t->retry_first = s->retry_next;
        if (!t->retry_first)
            t->retry_last = NULL;
        thread_begin_stream(t, s);
    }
}

static void thread_expire(struct stream_thread *t)
{
    uint64_t limit = (uint64_t)(opt.answer_timeout * 1e9), now = now_ns();

    for (uint32_t i = 0; t->in_flight && i < t->next; i++) {
        struct stream *s = &t->streams[i];
        bool waiting = s->state >= STREAM_CONNECTING && s->state <= STREAM_HEAD;

        if (!waiting || now - s->since_ns <= limit)
            continue;
        if (opt.http2)
            h2_expire(t, s);
        else
            stream_refused(t, s, OUTCOME_TIMEOUT);
    }
}

static void *thread_run(void *argument)
{
    struct stream_thread *t = argument;
    struct epoll_event events[EVENTS_PER_WAIT];
    uint64_t expired_ns = now_ns();

    while (!atomic_load_explicit(stopping, memory_order_relaxed)) {
        int n;

        thread_begin_streams(t);
        /* With connects that failed at once there is more to begin than to wait for. */
        n = epoll_wait(t->epoll_fd, events, EVENTS_PER_WAIT, t->in_flight < t->connects && t->next < t->count ? 0 : 20);
        for (int i = 0; i < n; i++) {
            if (opt.http2)
                h2_ready(t, events[i].data.ptr);
            else
                stream_ready(t, events[i].data.ptr);
        }
        if (now_ns() - expired_ns > NS_PER_SECOND) {
            thread_expire(t);
            expired_ns = now_ns();
        }
    }
    return NULL;
}

/* Each thread's share of the streams; those of one HTTP/2 connection stay together. */
static void thread_prepare(struct stream_thread *t, uint32_t number)
{
    uint32_t each = opt.http2 ? opt.http2 : 1, connections = opt.streams / each;
    uint32_t share = connections / thread_count, more = connections % thread_count;
    uint32_t first = share * number + (number < more ? number : more);

    t->streams = &all_streams[first * each];
    t->count = (share + (number < more)) * each;
    t->connects = (opt.connects + thread_count - 1) / thread_count;
    t->epoll_fd = -1;
}

static bool thread_start(struct stream_thread *t)
{
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->buffer = must_alloc(NULL, STREAM_READ_SIZE);
    if (opt.http2)
        h2_start(t);
    t->started = t->epoll_fd >= 0 && pthread_create(&t->thread, NULL, thread_run, t) == 0;
    if (!t->started)
        fprintf(stderr, "bench-load: cannot start a thread for the streams: %s\n", strerror(errno));
    return t->started;
}

static bool threads_start(uint32_t first)
{
    for (uint32_t i = first; i < first + opt.threads; i++)
        if (!thread_start(&threads[i]))
            return false;
    return true;
}

static void threads_join(uint32_t first)
{
    for (uint32_t i = first; i < first + opt.threads; i++)
        if (threads[i].started)
            pthread_join(threads[i].thread, NULL);
}

/* Closes the connections; what is known of the updates stays. */
static void threads_close(uint32_t first)
{
    for (uint32_t i = first; i < first + opt.threads; i++) {
        struct stream_thread *t = &threads[i];

        if (opt.http2)
            h2_stop(t);
        for (uint32_t k = 0; k < t->count; k++) {
            if (t->streams[k].state != STREAM_IDLE)
                stream_close(&t->streams[k]);
            free(t->streams[k].last_id);
            t->streams[k].last_id = NULL;
        }
        if (t->epoll_fd >= 0)
            close(t->epoll_fd);
        free(t->buffer);
        t->buffer = NULL;
    }
}

/* ---- processes ---- */

static void write_tracks(FILE *out, uint32_t first)
{
    for (uint32_t i = first; i < first + opt.threads; i++) {
        for (uint32_t k = 0; k < threads[i].count; k++) {
            struct stream *s = &threads[i].streams[k];

            if (!s->tracks)
                continue;
            fwrite(&s->number, sizeof(s->number), 1, out);
            fwrite(s->tracks, sizeof(*s->tracks), opt.publishers, out);
            for (uint32_t p = 0; p < opt.publishers; p++)
                if (s->tracks[p].gap_count)
                    fwrite(s->tracks[p].gaps, sizeof(struct gap), s->tracks[p].gap_count, out);
            s->tracks = NULL; /* a pointer of this process */
        }
    }
}

/* False when the other process broke off. */
static bool read_tracks(FILE *in)
{
    uint32_t number;

    while (fread(&number, sizeof(number), 1, in) == 1) {
        struct track *tracks = must_alloc(NULL, opt.publishers * sizeof(*tracks));

        if (fread(tracks, sizeof(*tracks), opt.publishers, in) != opt.publishers)
            return false;
        for (uint32_t p = 0; p < opt.publishers; p++) {
            uint32_t count = tracks[p].gap_count;

            tracks[p].gaps = count ? must_alloc(NULL, count * sizeof(struct gap)) : NULL;
            if (count && fread(tracks[p].gaps, sizeof(struct gap), count, in) != count)
                return false;
        }
        all_streams[number].tracks = tracks;
    }
    return true;
}

static void process_main(uint32_t number, int to, pid_t parent)
{
    uint32_t first = number * opt.threads;
    FILE *out = fdopen(to, "w");

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the run */
    if (getppid() != parent || !out)
        _exit(1);
    /* The publishers' connections are not ours: open here, they would not end when they end there. */
    close_range(3, (unsigned)to - 1, 0);
    close_range((unsigned)to + 1, ~0u, 0);
    if (!threads_start(first))
        _exit(1);
    threads_join(first);
    threads_close(first);
    write_tracks(out, first);
    _exit(fclose(out) == 0 ? 0 : 1);
}

static bool process_start(uint32_t number)
{
    struct process *p = &processes[number];
    pid_t parent = getpid();
    int ends[2];

    if (pipe(ends) < 0) {
        fprintf(stderr, "bench-load: cannot make a pipe: %s\n", strerror(errno));
        return false;
    }
    p->pid = fork();
    if (p->pid == 0)
        process_main(number, ends[1], parent);
    close(ends[1]);
    p->from = ends[0];
    if (p->pid > 0)
        return true;
    fprintf(stderr, "bench-load: cannot start a process for the streams: %s\n", strerror(errno));
    close(ends[0]);
    return false;
}

static void process_finish(struct process *p)
{
    FILE *in = fdopen(p->from, "r");
    struct rusage used = {0};
    int status = 1;
    bool whole = in && read_tracks(in);

    if (in)
        fclose(in);
    if (wait4(p->pid, &status, 0, &used) != p->pid || status != 0 || !whole) {
        fprintf(stderr, "bench-load: a process with streams has failed: there is no result.\n");
        exit(3);
    }
    p->ended = true;
    p->cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

double streams_cpu_seconds(void)
{
    double sum = 0;

    for (uint32_t i = 0; i < process_count; i++) {
        struct timespec used;
        clockid_t clock;

        if (processes[i].ended)
            sum += processes[i].cpu;
        else if (clock_getcpuclockid(processes[i].pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
            sum += (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    }
    return sum;
}

/* ---- all of them ---- */

static void *shared_alloc(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        fprintf(stderr, "bench-load: out of memory (%zu bytes asked for)\n", size);
        exit(3);
    }
    return memory;
}

bool streams_start(void)
{
    thread_count = opt.threads * opt.processes;
    stopping = shared_alloc(sizeof(*stopping));
    all_streams = shared_alloc((opt.streams + 1) * sizeof(*all_streams));
    threads = shared_alloc(thread_count * sizeof(*threads));
    for (uint32_t i = 0; i < opt.streams; i++) {
        all_streams[i].link.fd = -1;
        all_streams[i].number = i;
        all_streams[i].topic = i % opt.topics;
    }
    for (uint32_t i = 0; i < thread_count; i++)
        thread_prepare(&threads[i], i);
    began_ns = now_ns();
    if (opt.processes == 1)
        return threads_start(0);
    while (process_count < opt.processes) {
        if (!process_start(process_count))
            return false; /* those that run end with this process */
        process_count++;
    }
    return true;
}

struct stream_totals streams_totals(void)
{
    struct stream_totals sum = {.began_ns = began_ns};

    for (uint32_t i = 0; i < thread_count; i++) {
        struct stream_thread *t = &threads[i];
        uint64_t open_ns = atomic_load(&t->last_open_ns), delivery_ns = atomic_load(&t->last_delivery_ns);

        sum.settled += atomic_load(&t->settled);
        sum.opened += atomic_load(&t->opened);
        sum.open_now += atomic_load(&t->open_now);
        sum.delivered += atomic_load(&t->delivered);
        if (open_ns > sum.last_open_ns)
            sum.last_open_ns = open_ns;
        if (delivery_ns > sum.last_delivery_ns)
            sum.last_delivery_ns = delivery_ns;
    }
    return sum;
}

/* Valid once all streams have settled: ever_open does not change after that. */
uint64_t streams_expected(const struct publish_result *published)
{
    uint64_t expected = 0;

    for (uint32_t i = 0; all_streams && i < opt.streams; i++)
        if (all_streams[i].ever_open)
            expected += published->per_topic[all_streams[i].topic];
    return expected;
}

void streams_stop(void)
{
    if (!threads)
        return;
    atomic_store(stopping, true);
    if (process_count == 0) {
        threads_join(0);
        threads_close(0);
    }
    for (uint32_t i = 0; i < process_count; i++)
        process_finish(&processes[i]);
}

void streams_free(void)
{
    for (uint32_t i = 0; all_streams && i < opt.streams; i++) {
        struct stream *s = &all_streams[i];

        for (uint32_t p = 0; s->tracks && p < opt.publishers; p++)
            free(s->tracks[p].gaps);
        free(s->tracks);
    }
    if (threads) {
        munmap(all_streams, (opt.streams + 1) * sizeof(*all_streams));
        munmap(threads, thread_count * sizeof(*threads));
        munmap(stopping, sizeof(*stopping));
    }
    thread_count = 0;
    all_streams = NULL;
    threads = NULL;
}
