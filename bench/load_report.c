/*
 * load_report.c - what a run has measured, as lines "name value unit" or one JSON object.
 */
#include "load.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static bool reported;

static void report(const char *name, const char *unit, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void report(const char *name, const char *unit, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (opt.json)
        printf("%s\n  \"%s\": ", reported ? "," : "{", name);
    else
        printf("%s ", name);
    vprintf(format, args);
    if (!opt.json)
        printf(" %s\n", unit);
    reported = true;
    va_end(args);
}

static void report_count(const char *name, const char *unit, uint64_t value)
{
    report(name, unit, "%llu", (unsigned long long)value);
}

static void report_real(const char *name, const char *unit, double value)
{
    if (isfinite(value))
        report(name, unit, "%.6g", value);
}

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0;
}

static void report_outcomes(const char *name, const char *unit, const uint64_t *outcomes)
{
    static const char *const own[] = {"0", "connect", "tls", "protocol", "timeout", "closed", "malformed"};
    uint64_t sum = 0;
    char text[96];

    for (int i = 0; i < OUTCOMES; i++)
        sum += outcomes[i];
    report_count(name, unit, sum);
    for (int i = 0; i < OUTCOMES; i++) {
        if (!outcomes[i])
            continue;
        if (i <= OUTCOME_MALFORMED)
            snprintf(text, sizeof(text), "%s_%s", name, own[i]);
        else
            snprintf(text, sizeof(text), "%s_%d", name, i);
        report_count(text, unit, outcomes[i]);
    }
}

static void report_streams(const struct run *run)
{
    double seconds = 0;

    if (run->totals.opened)
        seconds = (double)(run->totals.last_open_ns - run->totals.began_ns) / 1e9;
    report_count("streams_open", "streams", run->totals.opened);
    report_outcomes("streams_refused", "streams", run->received->refused);
    report_real("open_seconds", "s", seconds);
    report_real("streams_per_second", "1/s", per((double)run->totals.opened, seconds));
    if (opt.hold > 0)
        report_count("streams_held", "streams", run->streams_held);
    report_count("streams_open_at_end", "streams", run->totals.open_now);
    report_count("streams_ended", "streams", run->received->ended);
    if (opt.reconnect) {
        report_count("reconnects", "streams", run->received->reconnects);
        report_count("reconnects_refused", "streams", run->received->reconnects_refused);
    }
}

static void report_publishing(const struct publish_result *p)
{
    double seconds = (double)(p->ended_ns - p->began_ns) / 1e9;

    report_count("published", "updates", p->published);
    report_outcomes("publish_failed", "updates", p->outcomes);
    if (opt.rate > 0)
        report_count("publish_behind", "updates", p->behind);
    report_real("publish_seconds", "s", seconds);
    report_real("publishes_per_second", "1/s", per((double)p->published, seconds));
    report_real("publish_latency_p50", "ms", histogram_ms(&p->latency, 0.5));
    report_real("publish_latency_p99", "ms", histogram_ms(&p->latency, 0.99));
    report_real("publish_latency_max", "ms", histogram_ms(&p->latency, 1));
}

static void report_deliveries(const struct run *run)
{
    const struct stream_result *r = run->received;
    uint64_t delivered = run->totals.delivered;
    double seconds = 0;

    if (delivered && run->totals.last_delivery_ns > run->deliveries_began_ns)
        seconds = (double)(run->totals.last_delivery_ns - run->deliveries_began_ns) / 1e9;
    report_count("delivered", "events", delivered);
    report_count("expected", "events", r->expected);
    report_count("lost", "events", r->lost);
    report_count("repeated", "events", r->repeated);
    report_count("disordered", "events", r->disordered);
    report_count("misrouted", "events", r->misrouted);
    report_count("foreign", "events", r->foreign);
    report_count("order_disagrees", "streams", r->order_disagrees);
    if (delivered + r->lost > r->expected)
        report_count("delivered_unacknowledged", "events", delivered + r->lost - r->expected);
    report_real("delivery_seconds", "s", seconds);
    report_real(opt.replay ? "replay_events_per_second" : "deliveries_per_second", "1/s",
                per((double)delivered, seconds));
    report_real("bytes_per_delivery", "bytes", per((double)r->body_bytes, (double)delivered));
    if (opt.replay)
        return;
    report_real("delivery_latency_p50", "ms", histogram_ms(&r->latency, 0.5));
    report_real("delivery_latency_p90", "ms", histogram_ms(&r->latency, 0.9));
    report_real("delivery_latency_p99", "ms", histogram_ms(&r->latency, 0.99));
    report_real("delivery_latency_max", "ms", histogram_ms(&r->latency, 1));
}

static void report_pid(pid_t pid, const char *name, const char *unit, double value)
{
    char text[96];

    snprintf(text, sizeof(text), "pid_%d_%s", (int)pid, name);
    report(text, unit, "%.12g", value);
}

static void report_processes(const struct run *run)
{
    static const struct process_sample none;

    for (uint32_t i = 0; i < run->end.count; i++) {
        const struct process_sample *end = &run->end.processes[i];
        const struct process_sample *start = sample_find(&run->start, end->pid);
        const struct process_sample *idle = sample_find(&run->idle, end->pid);
        const struct process_sample *opened = sample_find(&run->opened, end->pid);
        pid_t pid = end->pid;

        start = start ? start : &none;
        idle = idle ? idle : &none;
        report_pid(pid, "cpu_user", "s", end->user - start->user);
        report_pid(pid, "cpu_system", "s", end->system - start->system);
        report_pid(pid, "rss_before", "bytes", (double)idle->rss);
        report_pid(pid, "pss_before", "bytes", (double)idle->pss);
        report_pid(pid, "private_dirty_before", "bytes", (double)idle->private_dirty);
        if (!opened)
            continue;
        report_pid(pid, "rss_after", "bytes", (double)opened->rss);
        report_pid(pid, "pss_after", "bytes", (double)opened->pss);
        report_pid(pid, "private_dirty_after", "bytes", (double)opened->private_dirty);
    }
}

/* RSS counts what processes share once for each of them; PSS and private memory do not. */
static void report_memory(const struct run *run)
{
    double rss = 0, pss = 0, dirty = 0, streams = (double)run->totals.opened;

    for (uint32_t i = 0; i < run->opened.count; i++) {
        rss += (double)run->opened.processes[i].rss;
        pss += (double)run->opened.processes[i].pss;
        dirty += (double)run->opened.processes[i].private_dirty;
    }
    for (uint32_t i = 0; i < run->idle.count; i++) {
        rss -= (double)run->idle.processes[i].rss;
        pss -= (double)run->idle.processes[i].pss;
        dirty -= (double)run->idle.processes[i].private_dirty;
    }
    report_real("memory_per_stream_bytes", "bytes", pss / streams);
    report_real("memory_per_stream_rss_bytes", "bytes", rss / streams);
    report_real("memory_per_stream_private_dirty_bytes", "bytes", dirty / streams);
    if (!opt.http2)
        return;
    report_real("memory_per_client_bytes", "bytes", pss / streams * opt.http2);
    report_real("memory_per_client_private_dirty_bytes", "bytes", dirty / streams * opt.http2);
}

static void report_server(const struct run *run)
{
    double cpu = sample_cpu(&run->start, &run->end);
    double per_delivery = per(cpu * 1e6, (double)run->totals.delivered);
    double per_send = per(run->baseline.cpu_seconds * 1e6, (double)run->baseline.sends);

    report_processes(run);
    report_real("server_cpu_seconds", "s", cpu);
    if (run->totals.delivered)
        report_real("cpu_per_delivery_us", "us", per_delivery);
    if (run->published->published && !opt.replay)
        report_real("cpu_per_publish_us", "us", cpu * 1e6 / (double)run->published->published);
    if (run->totals.opened && run->opened.count)
        report_memory(run);
    if (run->totals.delivered && run->has_baseline && per_send > 0)
        report_real("cpu_per_delivery_over_baseline", "ratio", per_delivery / per_send);
}

static void report_baseline(const struct baseline_result *b)
{
    report_count("baseline_connections", "connections", b->connections);
    report_count("baseline_event_bytes", "bytes", b->bytes);
    report_count("baseline_sends", "sends", b->sends);
    report_count("baseline_waits", "sends", b->waits);
    report_real("baseline_sends_per_second", "1/s", per((double)b->sends, b->elapsed));
    report_real("baseline_cpu_per_send_us", "us", per(b->cpu_seconds * 1e6, (double)b->sends));
}

static void report_page_value(const char *protocol, const char *name, const char *unit, double value)
{
    char text[96];

    snprintf(text, sizeof(text), "page_%s_%s", protocol, name);
    report_real(text, unit, value);
}

static void report_page(const struct page_result *p, const char *protocol)
{
    if (!p->used)
        return;
    report_page_value(protocol, "answered", "pages", (double)p->answered);
    report_page_value(protocol, "failed", "pages", (double)p->failed);
    report_page_value(protocol, "latency_p50", "ms", histogram_ms(&p->latency, 0.5));
    report_page_value(protocol, "latency_p99", "ms", histogram_ms(&p->latency, 0.99));
    report_page_value(protocol, "latency_max", "ms", histogram_ms(&p->latency, 1));
}

void report_run(const struct run *run)
{
    if (opt.have_hub || opt.have_publish) {
        report_streams(run);
        report_publishing(run->published);
        report_deliveries(run);
    }
    report_page(&run->pages[0], "http1");
    report_page(&run->pages[1], "http2");
    if (run->has_baseline)
        report_baseline(&run->baseline);
    if (opt.pid_count || opt.tree_count)
        report_server(run);
    report_real("elapsed", "s", (double)(now_ns() - run->began_ns) / 1e9);
    report_real("client_cpu_seconds", "s", client_cpu_seconds());
    report_real("client_cpu_publish_seconds", "s", run->client_cpu_end - run->client_cpu_start);
    report_count("timed_out", "flag", run->timed_out);
    if (opt.json)
        puts("\n}");
}
