/*
 * load_page.c - an ordinary visitor: asks for one page again and again, at a steady pace, while updates are published,
 * and measures how long the answer takes. One visitor for HTTP/1.1 and one for HTTP/2, each a thread with one
 * connection (libcurl) that was opened before the clock runs.
 */
#include "load.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct visitor {
    pthread_t thread;
    bool started;
    long version;        /* that the client asks for */
    long version_wanted; /* that the answer must have */
    CURL *curl;
    struct page_result *result;
};

static struct visitor visitors[2];
static atomic_bool leaving;

static size_t discard(char *data, size_t size, size_t count, void *user)
{
    (void)data;
    (void)user;
    return size * count;
}

static bool visitor_ask(const struct visitor *v)
{
    static atomic_bool said;
    long status = 0, version = 0;
    CURLcode rc = curl_easy_perform(v->curl);

    if (rc != CURLE_OK) {
        complain_once(&said, "the page cannot be had: %s", curl_easy_strerror(rc));
        return false;
    }
    curl_easy_getinfo(v->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(v->curl, CURLINFO_HTTP_VERSION, &version);
    if (status != 200 || version != v->version_wanted)
        complain_once(&said, "the page is answered with status %ld over %s", status,
                      version == CURL_HTTP_VERSION_2_0 ? "HTTP/2" : "HTTP/1");
    return status == 200 && version == v->version_wanted;
}

static void *visitor_run(void *argument)
{
    struct visitor *v = argument;
    uint64_t pace = (uint64_t)(1e9 / opt.page_rate), due = now_ns();

    while (!atomic_load(&leaving)) {
        uint64_t asked = now_ns();

        if (asked < due) {
            pause_ms((double)(due - asked) / 1e6);
            continue;
        }
        if (visitor_ask(v)) {
            histogram_add(&v->result->latency, now_ns() - asked);
            v->result->answered++;
        } else {
            v->result->failed++;
        }
        due += pace;
        if (due < now_ns())
            due = now_ns(); /* a page that takes longer than its pace is not asked for twice at once */
    }
    return NULL;
}

static bool visitor_prepare(struct visitor *v)
{
    v->curl = curl_easy_init();
    if (!v->curl)
        return false;
    curl_easy_setopt(v->curl, CURLOPT_URL, opt.page);
    curl_easy_setopt(v->curl, CURLOPT_HTTP_VERSION, v->version);
    curl_easy_setopt(v->curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(v->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(v->curl, CURLOPT_TIMEOUT_MS, (long)(opt.answer_timeout * 1000));
    curl_easy_setopt(v->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(v->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(v->curl, CURLOPT_WRITEFUNCTION, discard);
    v->result->used = true;
    if (!visitor_ask(v))
        v->result->failed++;
    return true;
}

void page_start(struct page_result results[2])
{
    bool tls;

    if (!opt.page)
        return;
    tls = strncmp(opt.page, "https:", 6) == 0;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    visitors[0] = (struct visitor){.version = CURL_HTTP_VERSION_1_1, .version_wanted = CURL_HTTP_VERSION_1_1};
    visitors[1] = (struct visitor){.version = tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
                                   .version_wanted = CURL_HTTP_VERSION_2_0};
    for (int i = 0; i < (opt.http2 ? 2 : 1); i++) {
        visitors[i].result = &results[i];
        if (visitor_prepare(&visitors[i]))
            visitors[i].started = pthread_create(&visitors[i].thread, NULL, visitor_run, &visitors[i]) == 0;
    }
}

void page_stop(void)
{
    atomic_store(&leaving, true);
    for (int i = 0; i < 2; i++) {
        if (visitors[i].started)
            pthread_join(visitors[i].thread, NULL);
        curl_easy_cleanup(visitors[i].curl);
        visitors[i] = (struct visitor){0};
    }
}
