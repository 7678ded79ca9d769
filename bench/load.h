/*
 * load.h - what the parts of the load client share.
 *
 * load.c          options, the phases of a run
 * load_report.c   the report
 * load_net.c      URLs, non-blocking connections (plain and TLS), HTTP/1.1 answers
 * load_spread.c load_stream.c load_h2.c load_events.c   subscribers (load_stream.h)
 * load_publish.c  publishers: closed loop and fixed rate
 * load_page.c     an ordinary visitor meanwhile
 * load_measure.c  clock, latency histogram, /proc of the server, the bare send() reference
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define MAX_PIDS 256
#define MAX_PORTS 64
#define MAX_PROCESSES 64
#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS 1000000ull

/* Outcomes share one table with HTTP statuses; those below 100 are ours. */
enum {
    OUTCOME_CONNECT = 1,
    OUTCOME_TLS,
    OUTCOME_PROTOCOL,
    OUTCOME_TIMEOUT,
    OUTCOME_CLOSED,
    OUTCOME_MALFORMED,
    OUTCOMES = 1000
};

struct url {
    bool tls;
    char host[256];
    uint16_t port;
    char *path; /* path and query, "{topic}" not yet replaced */
    struct sockaddr_storage address;
    socklen_t address_len;
};

enum topic_mode { TOPIC_ROUNDROBIN, TOPIC_ONE };

struct options {
    struct url subscribe;
    struct url publish;
    bool have_hub;
    bool have_publish;
    char *publisher_token;
    char **publisher_tokens; /* one for each update, by turns; NULL: publisher_token */
    uint32_t publisher_token_count;
    char *subscriber_token;
    char *headers; /* further request headers, each ended by CRLF; NULL when none */
    const char *publish_fields;
    bool publish_raw;
    uint32_t streams;
    uint32_t http2; /* streams of one connection; 0: HTTP/1.1 */
    uint32_t processes;
    uint32_t threads; /* of each process */
    uint32_t connects;
    uint32_t publishers;
    uint64_t updates;
    double duration;
    double rate;
    uint32_t size;
    uint32_t topics;
    const char *topic_prefix;
    enum topic_mode topic_mode;
    const char *page; /* for an ordinary visitor; NULL: there is none */
    double page_rate;
    double hold;
    bool reconnect;
    uint32_t reconnect_delay_ms;
    const char *replay; /* Last-Event-ID to open with; "none" for no header; NULL: no replay */
    uint32_t source_addresses;
    uint16_t ports[MAX_PORTS];
    uint32_t port_count;
    bool baseline;
    uint64_t baseline_sends;
    uint32_t event_bytes;
    double timeout;
    double answer_timeout;
    double drain;
    bool json;
    pid_t pids[MAX_PIDS];
    uint32_t pid_count;
    pid_t trees[MAX_PIDS];
    uint32_t tree_count;
    uint32_t run; /* marks our updates, so that those of an earlier run are told apart */
    uint64_t deadline_ns;
    SSL_CTX *tls;
};

extern struct options opt;
extern atomic_bool stop_requested;

/* ---- load_measure.c ---- */

/* 128 buckets for each power of two: a value is reported with less than 1% error. */
#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t total;
    uint64_t max;
    uint64_t count[HISTOGRAM_BUCKETS];
};

struct process_sample {
    pid_t pid;
    double user;
    double system;
    double reaped; /* CPU of children that have ended and been waited for */
    uint64_t rss;
    uint64_t pss;
    uint64_t private_dirty;
};

struct sample {
    struct process_sample processes[MAX_PIDS];
    uint32_t count;
};

struct baseline_result {
    uint32_t connections;
    uint64_t sends;
    uint64_t waits;
    uint32_t bytes;
    double cpu_seconds;
    double elapsed;
};

uint64_t now_ns(void);
double client_cpu_seconds(void);
bool time_is_up(void);
void pause_ms(double ms);
void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_ms(const struct histogram *h, double quantile);
void sample_take(struct sample *s, bool memory);
double sample_cpu(const struct sample *from, const struct sample *to);
const struct process_sample *sample_find(const struct sample *s, pid_t pid);
bool baseline_run(struct baseline_result *result);

/* ---- load_net.c ---- */

struct connection {
    int fd;
    uint32_t watched; /* events that epoll knows of; 0 when not yet added */
    uint32_t wanted;  /* event that the last operation waits for */
    bool connected;
    SSL *ssl;
};

enum io { IO_DONE, IO_AGAIN, IO_FAILED };

/* read results below zero */
#define READ_AGAIN (-1)
#define READ_FAILED (-2)

struct bytes {
    char *data;
    uint32_t len;
    uint32_t cap;
};

struct http_head {
    int status;
    bool chunked;
    bool close;
    bool has_length;
    uint64_t length;
    char last_event_id[256];
};

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_DATA,
    CHUNK_DATA_END,
    CHUNK_TRAILER,
    CHUNK_END,
    CHUNK_BAD
};

struct chunks {
    uint8_t state;
    uint8_t digits;
    bool trailer_line; /* the trailer line being read is not empty */
    uint64_t left;
};

bool url_parse(const char *text, struct url *url);
bool url_resolve(struct url *url);
void topic_name(char *out, size_t size, uint32_t topic);
void percent_encode(struct bytes *out, const char *text);
void template_expand(struct bytes *out, const char *path, const char *topic);

void *must_alloc(void *memory, size_t size);
void bytes_append(struct bytes *b, const void *data, size_t len);
void bytes_format(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_free(struct bytes *b);

bool source_bind(int fd, uint32_t spread);
bool connection_open(struct connection *c, const struct url *url, uint16_t port, uint32_t spread);
enum io connection_ready(struct connection *c);
enum io connection_write(struct connection *c, const char *data, size_t len, size_t *sent);
ssize_t connection_read(struct connection *c, char *buffer, size_t size);
bool connection_pending(const struct connection *c);
void connection_watch(struct connection *c, int epoll_fd, uint32_t events, void *owner);
void connection_close(struct connection *c);

/* Length of the response head, 0 while it is incomplete, -1 when it is no HTTP. */
ssize_t http_parse_head(const char *data, size_t len, struct http_head *head);
/* Consumes at least one byte; a piece of body is put in *piece, *piece_len (0 when there is none). */
size_t chunks_step(struct chunks *c, const char *data, size_t len, const char **piece, size_t *piece_len);

void complain_once(atomic_bool *said, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- load_publish.c ---- */

struct publish_result {
    uint64_t published;
    uint64_t failed;
    uint64_t behind; /* fixed rate: begun more than 1 ms after their time */
    uint64_t outcomes[OUTCOMES];
    uint64_t *per_topic; /* accepted updates of each topic */
    uint64_t began_ns;
    uint64_t ended_ns;
    struct histogram latency;
};

bool publish_prepare(struct publish_result *result);
void publish_run(struct publish_result *result);
void publish_free(struct publish_result *result);
/* Number of updates publisher has begun, and whether the hub has accepted one of them. */
uint32_t publisher_sequence_end(uint32_t publisher);
bool publisher_accepted(uint32_t publisher, uint32_t sequence);

/* ---- load_events.c ---- */

/*
 * The updates of one publisher that go to one topic are those with sequence number
 * first, first + step, ... ; step is 0 when none does.
 */
struct lane {
    uint32_t first;
    uint32_t step;
};

struct lane lane_of(uint32_t publisher, uint32_t topic);
uint32_t update_topic(uint32_t publisher, uint32_t sequence);

struct stream_result {
    uint64_t refused[OUTCOMES];
    uint64_t ended;
    uint64_t reconnects;
    uint64_t reconnects_refused;
    uint64_t expected;
    uint64_t lost;
    uint64_t repeated;
    uint64_t disordered;
    uint64_t misrouted;
    uint64_t foreign;
    uint64_t order_disagrees;
    uint64_t body_bytes;
    struct histogram latency;
};

/* After streams_stop: checks what arrived against what was accepted. */
void streams_check(struct stream_result *result, const struct publish_result *published);

/* ---- load_spread.c ---- */

struct stream_totals {
    uint64_t began_ns;
    uint64_t settled; /* opened or refused for the first time */
    uint64_t opened;
    uint64_t open_now;
    uint64_t delivered;
    uint64_t last_open_ns;
    uint64_t last_delivery_ns;
};

bool streams_start(void);
struct stream_totals streams_totals(void);
uint64_t streams_expected(const struct publish_result *published);
/* CPU time of the processes that serve the streams, but of this one. */
double streams_cpu_seconds(void);
void streams_stop(void);
void streams_free(void);

/* ---- load_page.c ---- */

struct page_result {
    bool used;
    uint64_t answered;
    uint64_t failed;
    struct histogram latency;
};

/* Over HTTP/1.1 and, when the streams are HTTP/2's, that too. */
void page_start(struct page_result results[2]);
void page_stop(void);

/* ---- load_report.c ---- */

struct run {
    struct publish_result *published;
    struct stream_result *received;
    struct page_result *pages; /* two: HTTP/1.1, HTTP/2 */
    struct stream_totals totals;
    struct baseline_result baseline;
    struct sample idle, opened, start, end;
    uint64_t began_ns;
    uint64_t streams_held;
    uint64_t deliveries_began_ns;
    double client_cpu_start, client_cpu_end;
    bool timed_out;
    bool has_baseline;
};

void report_run(const struct run *run);

#endif
