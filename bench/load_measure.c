/*
 * load_measure.c - the clock, the latency histogram, what /proc says about the server's
 * processes, and the reference: a bare loop of send() over as many loopback connections.
 */
#include "load.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

double client_cpu_seconds(void)
{
    return (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9 + streams_cpu_seconds();
}

bool time_is_up(void)
{
    return atomic_load(&stop_requested) || now_ns() >= opt.deadline_ns;
}

void pause_ms(double ms)
{
    uint64_t ns = (uint64_t)(ms * 1e6);
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_SECOND), .tv_nsec = (long)(ns % NS_PER_SECOND)};

    nanosleep(&t, NULL);
}

/* ---- histogram ---- */

static unsigned histogram_bucket(uint64_t value)
{
    unsigned shift;

    if (value < (1u << HISTOGRAM_SUB_BITS))
        return (unsigned)value;
    shift = 63 - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(value);
    /* value >> shift has its top bit at HISTOGRAM_SUB_BITS, so the octaves follow one another */
    return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

static double histogram_middle(unsigned bucket)
{
    unsigned shift;
    uint64_t low;

    if (bucket < (2u << HISTOGRAM_SUB_BITS))
        return bucket;
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    low = (uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS)) << shift;
    return (double)low + (double)(1ull << shift) / 2;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count[histogram_bucket(value)]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->count[i] += from->count[i];
    into->total += from->total;
    if (from->max > into->max)
        into->max = from->max;
}

double histogram_ms(const struct histogram *h, double quantile)
{
    uint64_t rank = (uint64_t)(quantile * (double)h->total);
    uint64_t seen = 0;

    if (h->total == 0)
        return 0;
    if (rank >= h->total)
        return (double)h->max / 1e6;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->count[i];
        if (seen > rank) {
            double middle = histogram_middle(i);
            return (middle < (double)h->max ? middle : (double)h->max) / 1e6;
        }
    }
    return (double)h->max / 1e6;
}

/* ---- the server's processes ---- */

static bool read_text(pid_t pid, const char *name, char *buffer, size_t size)
{
    char path[64];
    FILE *file;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    file = fopen(path, "re");
    if (!file)
        return false;
    len = fread(buffer, 1, size - 1, file);
    fclose(file);
    buffer[len] = '\0';
    return len > 0;
}

static bool read_stat(pid_t pid, pid_t *parent, struct process_sample *p)
{
    double tick = (double)sysconf(_SC_CLK_TCK);
    unsigned long user, system;
    long reaped_user, reaped_system;
    char text[1024];
    const char *after;
    int ppid;

    if (!read_text(pid, "stat", text, sizeof(text)))
        return false;
    after = strrchr(text, ')'); /* the command's name may hold anything, parentheses too */
    if (!after || sscanf(after + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &ppid,
                         &user, &system, &reaped_user, &reaped_system) != 5)
        return false;
    *parent = ppid;
    p->pid = pid;
    p->user = (double)user / tick;
    p->system = (double)system / tick;
    p->reaped = (double)(reaped_user + reaped_system) / tick;
    return true;
}

static uint64_t rollup_bytes(const char *text, const char *field)
{
    const char *at = strstr(text, field);

    return at ? strtoull(at + strlen(field), NULL, 10) * 1024 : 0;
}

static void read_memory(struct process_sample *p)
{
    char text[4096];

    if (!read_text(p->pid, "smaps_rollup", text, sizeof(text)))
        return;
    p->rss = rollup_bytes(text, "\nRss:");
    p->pss = rollup_bytes(text, "\nPss:");
    p->private_dirty = rollup_bytes(text, "\nPrivate_Dirty:");
}

const struct process_sample *sample_find(const struct sample *s, pid_t pid)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->processes[i].pid == pid)
            return &s->processes[i];
    return NULL;
}

static void sample_add(struct sample *s, const struct process_sample *p)
{
    if (s->count < MAX_PIDS && !sample_find(s, p->pid))
        s->processes[s->count++] = *p;
}

struct process_table {
    struct process_sample *processes;
    pid_t *parents;
    uint32_t count;
};

static void table_read(struct process_table *t)
{
    struct dirent *entry;
    uint32_t cap = 0;
    DIR *dir = opendir("/proc");

    *t = (struct process_table){0};
    while (dir && (entry = readdir(dir)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (t->count == cap) {
            cap = cap ? cap * 2 : 256;
            t->processes = must_alloc(t->processes, cap * sizeof(*t->processes));
            t->parents = must_alloc(t->parents, cap * sizeof(*t->parents));
        }
        t->processes[t->count] = (struct process_sample){0};
        if (read_stat((pid_t)atoi(entry->d_name), &t->parents[t->count], &t->processes[t->count]))
            t->count++;
    }
    if (dir)
        closedir(dir);
}

static void sample_add_trees(struct sample *s)
{
    struct process_table table;
    uint32_t before;

    table_read(&table);
    for (uint32_t i = 0; i < table.count; i++)
        for (uint32_t r = 0; r < opt.tree_count; r++)
            if (table.processes[i].pid == opt.trees[r])
                sample_add(s, &table.processes[i]);
    do { /* a pass for each generation of children */
        before = s->count;
        for (uint32_t i = 0; i < table.count; i++)
            if (sample_find(s, table.parents[i]))
                sample_add(s, &table.processes[i]);
    } while (s->count > before);
    free(table.processes);
    free(table.parents);
}

void sample_take(struct sample *s, bool memory)
{
    static atomic_bool said;

    s->count = 0;
    if (opt.tree_count)
        sample_add_trees(s);
    for (uint32_t i = 0; i < opt.pid_count; i++) {
        struct process_sample p = {0};
        pid_t parent;

        if (read_stat(opt.pids[i], &parent, &p))
            sample_add(s, &p);
        else
            complain_once(&said, "process %d cannot be read in /proc", (int)opt.pids[i]);
    }
    for (uint32_t i = 0; memory && i < s->count; i++)
        read_memory(&s->processes[i]);
}

/*
 * In a tree a process that ends between two samples leaves its time with its parent ("reaped"),
 * and one that starts counts in full. Of single processes only those in both samples count.
 */
double sample_cpu(const struct sample *from, const struct sample *to)
{
    double cpu = 0;

    for (uint32_t i = 0; i < to->count; i++) {
        const struct process_sample *p = &to->processes[i];
        const struct process_sample *was = sample_find(from, p->pid);

        if (!was && !opt.tree_count)
            continue;
        cpu += p->user + p->system + (opt.tree_count ? p->reaped : 0);
    }
    for (uint32_t i = 0; i < from->count; i++) {
        const struct process_sample *p = &from->processes[i];

        if (opt.tree_count || sample_find(to, p->pid))
            cpu -= p->user + p->system + (opt.tree_count ? p->reaped : 0);
    }
    return cpu > 0 ? cpu : 0;
}

/* ---- the reference: send() in a loop ---- */

/*
 * The other end, a process of its own, does what a subscriber does: connects, sends a request,
 * and then throws away all it gets. It must be the side that speaks first, as over a real
 * stream, for the kernel acknowledges otherwise (and the cost of a send includes that).
 */
static void baseline_say(int fd, const char *text)
{
    ssize_t ignored = send(fd, text, strlen(text), MSG_NOSIGNAL);

    (void)ignored;
}

static int baseline_connect(const struct sockaddr_in *address, uint32_t number)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Here connect() may wait a little for the other process to accept; that one has the clock. */
    if (fd < 0 || !source_bind(fd, number) ||
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        fprintf(stderr, "bench-load: baseline: connection %u failed: %s\n", number + 1, strerror(errno));
        _exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void baseline_drain(const struct sockaddr_in *address, uint32_t connections)
{
    static char buffer[65536];
    struct epoll_event events[256];
    int ep = epoll_create1(0);

    for (uint32_t i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = baseline_connect(address, i)};

        epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event);
        baseline_say(event.data.fd, "GET /hub?match=topic HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (;;) { /* until it is killed */
        int n = epoll_wait(ep, events, 256, -1);

        for (int i = 0; i < n; i++)
            if (recv(events[i].data.fd, buffer, sizeof(buffer), MSG_DONTWAIT) == 0)
                close(events[i].data.fd);
    }
}

static int baseline_listen(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && bind(fd, (struct sockaddr *)address, len) == 0 && listen(fd, 4096) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0)
        return fd;
    fprintf(stderr, "bench-load: baseline: cannot listen on loopback: %s\n", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Accepts, takes the request, answers with a head. Returns how many there are. */
static uint32_t baseline_accept(int listener, int *fds, uint32_t wanted, pid_t child)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    struct pollfd request = {.events = POLLIN};
    uint32_t count = 0;
    char buffer[512];
    int on = 1;

    while (count < wanted && !time_is_up()) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && errno != EAGAIN)
            break;
        if (fd < 0) {
            siginfo_t ended = {0};

            if (poll(&ready, 1, 100) == 0)
                waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT);
            if (ended.si_pid == child)
                break; /* the other end has given up, and has said why */
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        request.fd = fd;
        if (poll(&request, 1, 1000) == 1 && recv(fd, buffer, sizeof(buffer), 0) > 0)
            baseline_say(fd, head);
        fds[count++] = fd;
    }
    return count;
}

static bool baseline_send_all(const int *fds, struct baseline_result *r)
{
    char *event = must_alloc(NULL, r->bytes);
    uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), began = now_ns();
    uint64_t rounds = (opt.baseline_sends + r->connections - 1) / r->connections;
    bool ok = true;

    memset(event, 'x', r->bytes);
    for (uint64_t round = 0; ok && round < rounds && !time_is_up(); round++) {
        for (uint32_t i = 0; i < r->connections; i++) {
            ssize_t n = send(fds[i], event, r->bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

            if (n >= 0) {
                r->sends++;
                continue;
            }
            ok = errno == EAGAIN;
            if (!ok || time_is_up())
                break;
            r->waits++;
            pause_ms(1);
            i--;
        }
    }
    r->cpu_seconds = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e9;
    r->elapsed = (double)(now_ns() - began) / 1e9;
    free(event);
    return ok;
}

bool baseline_run(struct baseline_result *result)
{
    struct sockaddr_in address;
    int *fds, listener = baseline_listen(&address);
    uint32_t wanted = opt.streams ? opt.streams : 1;
    bool ok = false;
    pid_t child;

    *result = (struct baseline_result){.bytes = opt.event_bytes};
    if (listener < 0)
        return false;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the run */
        close(listener);
        baseline_drain(&address, wanted);
    }
    if (child < 0) {
        fprintf(stderr, "bench-load: baseline: fork failed: %s\n", strerror(errno));
        close(listener);
        return false;
    }
    fds = must_alloc(NULL, wanted * sizeof(*fds));
    result->connections = baseline_accept(listener, fds, wanted, child);
    close(listener);
    if (result->connections < wanted)
        fprintf(stderr, "bench-load: baseline: only %u of %u connections.\n", result->connections, wanted);
    else
        ok = baseline_send_all(fds, result);
    for (uint32_t i = 0; i < result->connections; i++)
        close(fds[i]);
    free(fds);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return ok;
}
