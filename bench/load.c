/*
 * load.c - load client for a Mercure hub (or another SSE hub): options, and the phases of a run. See load.h for the other parts.
 *
 * A run: sample the server, open the streams, sample it again, hold, publish, wait until all
 * has arrived, sample, check, report. With --replay the updates are published before the
 * streams are opened.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct options opt = {
    .processes = 1,
    .threads = 1,
    .connects = 256,
    .publishers = 1,
    .size = 100,
    .topics = 1,
    .topic_prefix = "https://bench.example/topic/",
    .page_rate = 20,
    .reconnect_delay_ms = 100,
    .baseline_sends = 500000,
    .timeout = 120,
    .answer_timeout = 30,
    .drain = 5,
};
atomic_bool stop_requested;

/* Exit statuses */
enum { EXIT_CLEAN = 0, EXIT_FAULTS = 1, EXIT_TIMEOUT = 2, EXIT_USAGE = 3 };

/* ---- options ---- */

static const char help[] =
    "usage: bench-load --hub URL [options]\n"
    "\n"
    "where\n"
    "  --hub URL               Mercure hub: subscribe at URL?match={topic}, publish at URL\n"
    "  --subscribe-url TMPL    subscribe here instead; {topic} is replaced, percent-encoded\n"
    "  --publish-url TMPL      publish here instead; {topic} is replaced, percent-encoded\n"
    "  --publish-raw           the body is the data alone, not a form with topic= and data=\n"
    "  --publish-fields TEXT   more form fields, such as private=on\n"
    "  --token JWT             bearer token of the publishers (@FILE: read it from FILE)\n"
    "  --token-file FILE       tokens of the publishers, one a line: one for each update, by turns\n"
    "  --subscriber-token JWT  bearer token of the subscribers (@FILE: read it from FILE)\n"
    "  --header 'NAME: VALUE'  further header for all requests; may be repeated\n"
    "  --ports A,B,...         spread the streams over these ports of the subscribe host\n"
    "  --source-addresses N    connect from 127.0.0.1 to 127.0.0.N by turns\n"
    "streams\n"
    "  --streams N             streams to open (0)\n"
    "  --http2 M               over HTTP/2, M streams to a connection; N is then a multiple of M\n"
    "  --processes N           processes that serve them (1: this one): each has its own descriptors\n"
    "  --threads N             threads that serve them, in each process (1)\n"
    "  --connects N            streams that wait for their answer at once (256)\n"
    "  --hold SECONDS          then keep them open so long before anything is published\n"
    "  --reconnect             reopen a stream that ends, with the Last-Event-ID seen\n"
    "  --reconnect-delay MS    ... after so long (100)\n"
    "  --replay ID             publish first, then open the streams with Last-Event-ID: ID\n"
    "                          (\"earliest\"; \"none\": without the header), measure catching up\n"
    "updates\n"
    "  --updates M             updates to publish in all (0)\n"
    "  --duration SECONDS      stop publishing after so long; without --updates: no other bound\n"
    "  --publishers P          publishers, each with one connection (1)\n"
    "  --rate R                R updates a second in all, open loop; default: closed loop\n"
    "  --size BYTES            length of the data; at least that of its mark, some 40 (100)\n"
    "  --topics T              distinct topics; stream i subscribes to topic i mod T (1)\n"
    "  --topic-prefix TEXT     the topics are TEXT0, TEXT1, ... (https://bench.example/topic/)\n"
    "  --topic-mode MODE       roundrobin: publisher p's update k goes to topic (p+k) mod T\n"
    "                          one: publisher p keeps to topic p mod T (roundrobin)\n"
    "measures\n"
    "  --page URL              get this page meanwhile over HTTP/1.1 and, with --http2, over\n"
    "                          HTTP/2 as well, each over one connection\n"
    "  --page-rate R           ... R times a second each (20)\n"
    "  --pid PID               process of the server; may be repeated\n"
    "  --pid-tree PID          process of the server with all its descendants; may be repeated\n"
    "                          (memory per stream means something on a freshly started server\n"
    "                          only; CPU is counted in ticks of 10 ms: let runs take seconds)\n"
    "  --baseline-send         measure a bare loop of send() over as many loopback connections\n"
    "                          (at least 1), after the run or alone, without --hub\n"
    "  --baseline-sends N      ... so many sends in all (500000)\n"
    "  --event-bytes N         ... of so many bytes (default: as measured, else size + 58)\n"
    "  --drain SECONDS         give up waiting for deliveries after so long without one (5)\n"
    "  --answer-timeout S      limit for one answer, from connect to head (30)\n"
    "  --timeout SECONDS       limit for the whole run (120)\n"
    "  --json                  one JSON object in place of lines \"name value unit\"\n"
    "  --help                  this text\n"
    "\n"
    "Exit status: 0 all well; 1 updates lost, repeated or out of order, or streams or updates\n"
    "refused, or streams ended, or the page not had; 2 out of time (what there is has been reported); 3 bad usage.\n";

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(EXIT_USAGE);
}

static double parse_real(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= 0) || value > 1e9)
        fail("--%s needs a number from 0 to 1e9, not \"%s\".", name, text);
    return value;
}

static uint64_t parse_count(const char *name, const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value < least || value > most)
        fail("--%s needs a whole number from %llu to %llu, not \"%s\".", name, (unsigned long long)least,
             (unsigned long long)most, text);
    return value;
}

static void parse_token(const char *text, char **into)
{
    char token[32768];
    FILE *file;
    size_t len;

    free(*into);
    *into = NULL;
    if (*text != '@') {
        *into = strdup(text);
        return;
    }
    file = fopen(text + 1, "re");
    if (!file)
        fail("cannot read the token file %s: %s.", text + 1, strerror(errno));
    len = fread(token, 1, sizeof(token) - 1, file);
    fclose(file);
    token[len] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    *into = strdup(token);
}

static void parse_token_file(const char *path)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t len;

    if (!file)
        fail("cannot read the token file %s: %s.", path, strerror(errno));
    while ((len = getline(&line, &room, file)) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        opt.publisher_tokens =
            must_alloc(opt.publisher_tokens, (opt.publisher_token_count + 1) * sizeof(*opt.publisher_tokens));
        opt.publisher_tokens[opt.publisher_token_count++] = line;
        line = NULL;
    }
    free(line);
    fclose(file);
    if (opt.publisher_token_count == 0)
        fail("the token file %s is empty.", path);
}

static void parse_ports(const char *text)
{
    char *copy = strdup(text), *rest = copy, *word;

    while ((word = strsep(&rest, ",")) != NULL) {
        if (opt.port_count == MAX_PORTS)
            fail("--ports takes at most %d ports.", MAX_PORTS);
        opt.ports[opt.port_count++] = (uint16_t)parse_count("ports", word, 1, 65535);
    }
    free(copy);
}

static void parse_url(const char *name, const char *text, struct url *url)
{
    free(url->path);
    if (!url_parse(text, url))
        fail("--%s needs an http:// or https:// URL, not \"%s\".", name, text);
}

static void parse_hub(const char *text)
{
    struct bytes template = {0};

    bytes_format(&template, "%s%cmatch={topic}", text, strchr(text, '?') ? '&' : '?');
    if (!opt.have_hub)
        parse_url("hub", template.data, &opt.subscribe);
    if (!opt.have_publish)
        parse_url("hub", text, &opt.publish);
    opt.have_hub = opt.have_publish = true;
    bytes_free(&template);
}

static void add_header(const char *text)
{
    size_t len = opt.headers ? strlen(opt.headers) : 0;

    opt.headers = must_alloc(opt.headers, len + strlen(text) + 3);
    sprintf(opt.headers + len, "%s\r\n", text);
}

static void add_pid(const char *name, pid_t *list, uint32_t *count, const char *text)
{
    if (*count == MAX_PIDS)
        fail("--%s may be given %d times at most.", name, MAX_PIDS);
    list[(*count)++] = (pid_t)parse_count(name, text, 1, INT32_MAX);
}

enum option_id {
    OPT_HUB = 256, OPT_SUBSCRIBE_URL, OPT_PUBLISH_URL, OPT_PUBLISH_RAW, OPT_PUBLISH_FIELDS, OPT_TOKEN, OPT_TOKEN_FILE,
    OPT_SUBSCRIBER_TOKEN, OPT_HEADER, OPT_PORTS, OPT_SOURCE_ADDRESSES, OPT_STREAMS, OPT_HTTP2, OPT_PROCESSES, OPT_THREADS,
    OPT_PAGE, OPT_PAGE_RATE,
    OPT_CONNECTS, OPT_HOLD, OPT_RECONNECT, OPT_RECONNECT_DELAY, OPT_REPLAY, OPT_UPDATES, OPT_DURATION,
    OPT_PUBLISHERS, OPT_RATE, OPT_SIZE, OPT_TOPICS, OPT_TOPIC_PREFIX, OPT_TOPIC_MODE, OPT_PID,
    OPT_PID_TREE, OPT_BASELINE_SEND, OPT_BASELINE_SENDS, OPT_EVENT_BYTES, OPT_DRAIN,
    OPT_ANSWER_TIMEOUT, OPT_TIMEOUT, OPT_JSON, OPT_HELP
};

static const struct option long_options[] = {
    {"hub", required_argument, NULL, OPT_HUB},
    {"subscribe-url", required_argument, NULL, OPT_SUBSCRIBE_URL},
    {"publish-url", required_argument, NULL, OPT_PUBLISH_URL},
    {"publish-raw", no_argument, NULL, OPT_PUBLISH_RAW},
    {"publish-fields", required_argument, NULL, OPT_PUBLISH_FIELDS},
    {"token", required_argument, NULL, OPT_TOKEN},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
    {"subscriber-token", required_argument, NULL, OPT_SUBSCRIBER_TOKEN},
    {"header", required_argument, NULL, OPT_HEADER},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"source-addresses", required_argument, NULL, OPT_SOURCE_ADDRESSES},
    {"streams", required_argument, NULL, OPT_STREAMS},
    {"http2", required_argument, NULL, OPT_HTTP2},
    {"processes", required_argument, NULL, OPT_PROCESSES},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"connects", required_argument, NULL, OPT_CONNECTS},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"reconnect", no_argument, NULL, OPT_RECONNECT},
    {"reconnect-delay", required_argument, NULL, OPT_RECONNECT_DELAY},
    {"replay", required_argument, NULL, OPT_REPLAY},
    {"updates", required_argument, NULL, OPT_UPDATES},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"publishers", required_argument, NULL, OPT_PUBLISHERS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"size", required_argument, NULL, OPT_SIZE},
    {"topics", required_argument, NULL, OPT_TOPICS},
    {"topic-prefix", required_argument, NULL, OPT_TOPIC_PREFIX},
    {"topic-mode", required_argument, NULL, OPT_TOPIC_MODE},
    {"page", required_argument, NULL, OPT_PAGE},
    {"page-rate", required_argument, NULL, OPT_PAGE_RATE},
    {"pid", required_argument, NULL, OPT_PID},
    {"pid-tree", required_argument, NULL, OPT_PID_TREE},
    {"baseline-send", no_argument, NULL, OPT_BASELINE_SEND},
    {"baseline-sends", required_argument, NULL, OPT_BASELINE_SENDS},
    {"event-bytes", required_argument, NULL, OPT_EVENT_BYTES},
    {"drain", required_argument, NULL, OPT_DRAIN},
    {"answer-timeout", required_argument, NULL, OPT_ANSWER_TIMEOUT},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void parse_topic_mode(const char *text)
{
    if (strcmp(text, "one") == 0)
        opt.topic_mode = TOPIC_ONE;
    else if (strcmp(text, "roundrobin") == 0)
        opt.topic_mode = TOPIC_ROUNDROBIN;
    else
        fail("--topic-mode is \"one\" or \"roundrobin\", not \"%s\".", text);
}

static void parse_option(int id, const char *name, const char *arg)
{
    switch (id) {
    case OPT_HUB: parse_hub(arg); break;
    case OPT_SUBSCRIBE_URL: parse_url(name, arg, &opt.subscribe); opt.have_hub = true; break;
    case OPT_PUBLISH_URL: parse_url(name, arg, &opt.publish); opt.have_publish = true; break;
    case OPT_PUBLISH_RAW: opt.publish_raw = true; break;
    case OPT_PUBLISH_FIELDS: opt.publish_fields = arg; break;
    case OPT_TOKEN: parse_token(arg, &opt.publisher_token); break;
    case OPT_TOKEN_FILE: parse_token_file(arg); break;
    case OPT_SUBSCRIBER_TOKEN: parse_token(arg, &opt.subscriber_token); break;
    case OPT_HEADER: add_header(arg); break;
    case OPT_PORTS: parse_ports(arg); break;
    case OPT_SOURCE_ADDRESSES: opt.source_addresses = (uint32_t)parse_count(name, arg, 0, 254); break;
    case OPT_STREAMS: opt.streams = (uint32_t)parse_count(name, arg, 0, 1000000); break;
    case OPT_HTTP2: opt.http2 = (uint32_t)parse_count(name, arg, 1, 10000); break;
    case OPT_PROCESSES: opt.processes = (uint32_t)parse_count(name, arg, 1, MAX_PROCESSES); break;
    case OPT_THREADS: opt.threads = (uint32_t)parse_count(name, arg, 1, 64); break;
    case OPT_CONNECTS: opt.connects = (uint32_t)parse_count(name, arg, 1, 1000000); break;
    case OPT_HOLD: opt.hold = parse_real(name, arg); break;
    case OPT_RECONNECT: opt.reconnect = true; break;
    case OPT_RECONNECT_DELAY: opt.reconnect_delay_ms = (uint32_t)parse_count(name, arg, 0, 3600000); break;
    case OPT_REPLAY: opt.replay = arg; break;
    case OPT_UPDATES: opt.updates = parse_count(name, arg, 0, 1000000000); break;
    case OPT_DURATION: opt.duration = parse_real(name, arg); break;
    case OPT_PUBLISHERS: opt.publishers = (uint32_t)parse_count(name, arg, 1, 10000); break;
    case OPT_RATE: opt.rate = parse_real(name, arg); break;
    case OPT_SIZE: opt.size = (uint32_t)parse_count(name, arg, 0, 32 * 1024 * 1024); break;
    case OPT_TOPICS: opt.topics = (uint32_t)parse_count(name, arg, 1, 1000000); break;
    case OPT_TOPIC_PREFIX: opt.topic_prefix = arg; break;
    case OPT_TOPIC_MODE: parse_topic_mode(arg); break;
    case OPT_PAGE: opt.page = arg; break;
    case OPT_PAGE_RATE: opt.page_rate = parse_real(name, arg); break;
    case OPT_PID: add_pid(name, opt.pids, &opt.pid_count, arg); break;
    case OPT_PID_TREE: add_pid(name, opt.trees, &opt.tree_count, arg); break;
    case OPT_BASELINE_SEND: opt.baseline = true; break;
    case OPT_BASELINE_SENDS: opt.baseline_sends = parse_count(name, arg, 1, 1000000000); break;
    case OPT_EVENT_BYTES: opt.event_bytes = (uint32_t)parse_count(name, arg, 1, 32 * 1024 * 1024); break;
    case OPT_DRAIN: opt.drain = parse_real(name, arg); break;
    case OPT_ANSWER_TIMEOUT: opt.answer_timeout = parse_real(name, arg); break;
    case OPT_TIMEOUT: opt.timeout = parse_real(name, arg); break;
    case OPT_JSON: opt.json = true; break;
    case OPT_HELP: fputs(help, stdout); exit(0);
    default: fprintf(stderr, "bench-load: --help shows the options.\n"); exit(EXIT_USAGE);
    }
}

static void check_options(void)
{
    struct rlimit limit;
    uint32_t connections = opt.http2 ? opt.streams / opt.http2 : opt.streams;
    uint64_t need;

    if (!opt.have_hub && !opt.have_publish && !opt.baseline)
        fail("nothing to do: give --hub URL, or --baseline-send; --help shows the options.");
    if (opt.streams && !opt.have_hub && !opt.baseline)
        fail("--streams needs --hub or --subscribe-url.");
    if ((opt.updates || opt.duration > 0) && !opt.have_publish)
        fail("--updates and --duration need --hub or --publish-url.");
    if (opt.replay && !opt.updates && !opt.duration)
        fail("--replay needs --updates: what is to be replayed is published first.");
    if (opt.rate > 0 && !opt.updates && !opt.duration)
        fail("--rate needs --updates or --duration.");
    if (strlen(opt.topic_prefix) > 480)
        fail("--topic-prefix may have 480 bytes at most.");
    if (opt.http2 && opt.streams % opt.http2)
        fail("--streams must be a multiple of --http2 %u.", opt.http2);
    if (opt.page && strncmp(opt.page, "http://", 7) != 0 && strncmp(opt.page, "https://", 8) != 0)
        fail("--page needs an http:// or https:// URL, not \"%s\".", opt.page);
    if (opt.page_rate <= 0)
        fail("--page-rate must be more than 0.");
    if (opt.processes > connections)
        opt.processes = connections ? connections : 1;
    if (opt.threads > connections / opt.processes)
        opt.threads = connections ? connections / opt.processes : 1;
    need = (uint64_t)connections / opt.processes + opt.publishers + opt.threads + 40;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (need > limit.rlim_cur)
            fail("%llu descriptors are needed, but this process may have %llu only (ulimit -n).",
                 (unsigned long long)need, (unsigned long long)limit.rlim_cur);
    }
    if ((opt.have_hub && !url_resolve(&opt.subscribe)) || (opt.have_publish && !url_resolve(&opt.publish)))
        exit(EXIT_USAGE);
}

static void parse_options(int argc, char **argv)
{
    int id, index = 0;

    while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1)
        parse_option(id, id == '?' ? "" : long_options[index].name, optarg);
    if (optind < argc)
        fail("the argument \"%s\" is not understood; --help shows the options.", argv[optind]);
    check_options();
}

/* ---- phases ---- */

static void on_stop_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&stop_requested, true);
}

/* The last resort, should anything hang in spite of all the limits. */
static void on_alarm(int signal_number)
{
    static const char text[] = "bench-load: still running long after the time limit; giving up.\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)signal_number;
    (void)ignored;
    _exit(EXIT_TIMEOUT);
}

static void prepare_process(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_stop_signal);
    signal(SIGTERM, on_stop_signal);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)opt.timeout + 30);
    opt.run = (uint32_t)(now_ns() / 1000 ^ (uint64_t)getpid() << 16 ^ (uint64_t)time(NULL) << 8);
    if (!opt.subscribe.tls && !opt.publish.tls)
        return;
    opt.tls = SSL_CTX_new(TLS_client_method());
    if (!opt.tls)
        fail("OpenSSL gives no client context.");
    SSL_CTX_set_verify(opt.tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(opt.tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(opt.tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(opt.tls, SSL_SESS_CACHE_OFF);
}

static void phase_open(struct run *run)
{
    sample_take(&run->idle, true);
    if (!opt.have_hub || !opt.streams)
        return;
    if (opt.replay)
        run->deliveries_began_ns = now_ns();
    if (!streams_start())
        exit(EXIT_USAGE);
    while (streams_totals().settled < opt.streams && !time_is_up())
        pause_ms(2);
    if (opt.replay)
        return;
    pause_ms(200); /* let the server finish what the last stream gave it to do */
    sample_take(&run->opened, true);
}

static void phase_hold(struct run *run)
{
    uint64_t until = now_ns() + (uint64_t)(opt.hold * 1e9);

    while (now_ns() < until && !time_is_up())
        pause_ms(20);
    run->streams_held = streams_totals().open_now;
}

static void phase_publish(struct run *run)
{
    if (opt.updates || opt.duration > 0)
        publish_run(run->published);
}

/* Until all has arrived or nothing more comes. */
static void phase_drain(const struct run *run)
{
    uint64_t expected = streams_expected(run->published);
    uint64_t quiet_since = now_ns(), seen = 0;

    for (;;) {
        uint64_t delivered = streams_totals().delivered;

        if (delivered >= expected || time_is_up())
            return;
        if (delivered != seen) {
            seen = delivered;
            quiet_since = now_ns();
        }
        if (now_ns() - quiet_since > (uint64_t)(opt.drain * 1e9))
            return;
        pause_ms(2);
    }
}

static void mark_start(struct run *run)
{
    sample_take(&run->start, false);
    run->client_cpu_start = client_cpu_seconds();
}

static void mark_end(struct run *run)
{
    sample_take(&run->end, false);
    run->client_cpu_end = client_cpu_seconds();
}

static void run_live(struct run *run)
{
    phase_open(run);
    phase_hold(run);
    page_start(run->pages);
    mark_start(run);
    phase_publish(run);
    run->deliveries_began_ns = run->published->began_ns;
    phase_drain(run);
    mark_end(run);
    page_stop();
}

static void run_replay(struct run *run)
{
    phase_publish(run);
    pause_ms(200);
    mark_start(run);
    phase_open(run);
    phase_drain(run);
    mark_end(run);
    sample_take(&run->opened, true);
    phase_hold(run);
}

static void run_hub(struct run *run)
{
    if (!publish_prepare(run->published))
        exit(EXIT_USAGE);
    if (opt.replay)
        run_replay(run);
    else
        run_live(run);
    run->timed_out = time_is_up();
    if (run->published->published)
        pause_ms(200); /* whatever is delivered once too often comes now */
    run->totals = streams_totals();
    streams_stop();
    streams_check(run->received, run->published);
    /* With late stragglers the sum may have grown since. */
    run->totals.delivered = streams_totals().delivered;
    streams_free();
}

static void run_baseline(struct run *run)
{
    if (!opt.event_bytes && run->totals.delivered)
        opt.event_bytes = (uint32_t)(run->received->body_bytes / run->totals.delivered);
    if (!opt.event_bytes)
        opt.event_bytes = opt.size + 58; /* "id: urn:uuid:...", "data: " and the ends of lines */
    run->has_baseline = baseline_run(&run->baseline);
    run->timed_out |= time_is_up();
}

static int verdict(const struct run *run)
{
    const struct stream_result *r = run->received;
    uint64_t faults = r->lost + r->repeated + r->disordered + r->misrouted + r->order_disagrees;
    uint64_t asked = opt.have_hub ? opt.streams : 0;

    if (run->timed_out) {
        fprintf(stderr, "bench-load: stopped after %.1f s, before the run was complete.\n",
                (double)(now_ns() - run->began_ns) / 1e9);
        return EXIT_TIMEOUT;
    }
    faults += asked - run->totals.opened;
    faults += run->published->failed;
    faults += run->pages[0].failed + run->pages[1].failed;
    faults += opt.reconnect ? 0 : r->ended;
    faults += opt.baseline && !run->has_baseline;
    return faults ? EXIT_FAULTS : EXIT_CLEAN;
}

int main(int argc, char **argv)
{
    static struct publish_result published;
    static struct stream_result received;
    static struct page_result pages[2];
    static struct run run = {.published = &published, .received = &received, .pages = pages};
    int status;

    run.began_ns = now_ns();
    parse_options(argc, argv);
    opt.deadline_ns = run.began_ns + (uint64_t)(opt.timeout * 1e9);
    prepare_process();
    if (opt.have_hub || opt.have_publish)
        run_hub(&run);
    if (opt.baseline)
        run_baseline(&run);
    report_run(&run);
    status = verdict(&run);
    publish_free(&published);
    SSL_CTX_free(opt.tls);
    free(opt.subscribe.path);
    free(opt.publish.path);
    free(opt.headers);
    free(opt.publisher_token);
    for (uint32_t i = 0; i < opt.publisher_token_count; i++)
        free(opt.publisher_tokens[i]);
    free(opt.publisher_tokens);
    free(opt.subscriber_token);
    return status;
}
